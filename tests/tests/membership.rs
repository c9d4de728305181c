//! Group membership as others see it: IGMP and MLD reports on the wire, filters on the NIC, both
//! again when the link or the address changed.

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp_userspace::net::Membership;
use xvrrp_tests::{
    LONG,
    capture::Capture,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance},
};

/// Group and NIC address of VRRP for IPv4.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const NIC_V4: &str = "link  01:00:5e:00:00:12";
const NIC_V6: &str = "link  33:33:00:00:00:12";

/// Whether the frame is an `IGMPv3` report that its sender now listens to the group: the record
/// types "is exclude" and "change to exclude" with no sources.
fn joins_v4(frame: &[u8]) -> bool {
    let Some([0x08, 0x00]) = frame.get(12..14) else {
        return false;
    };
    let header = usize::from(frame.get(14).map_or(0, |first| first & 0x0f)) * 4;
    let Some(igmp) = frame.get(14 + header..) else {
        return false;
    };
    let records = igmp.get(8..).unwrap_or_default();
    frame.get(23) == Some(&2)
        && igmp.first() == Some(&0x22)
        && records
            .windows(8)
            .any(|record| matches!(record[0], 2 | 4) && record[4..8] == GROUP.octets())
}

/// The same for `MLDv2` and `ff02::12`.
fn joins_v6(frame: &[u8]) -> bool {
    let group: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];
    let is_report = frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(62) == Some(&143);
    let records = frame.get(70..).unwrap_or_default();
    is_report
        && records
            .windows(20)
            .any(|record| matches!(record[0], 2 | 4) && record[4..20] == group)
}

/// Waits for a report after a point in time.
fn wait_report(capture: &Capture, after: u64, what: &str, joins: impl Fn(&[u8]) -> bool) -> u64 {
    wait_for(what, LONG, || {
        let seen = capture.seen();
        let report = seen
            .iter()
            .find(|entry| entry.at_ns > after && joins(&entry.frame))?;
        Some(report.at_ns)
    })
}

fn filters(host: &Namespace) -> String {
    host.ip("maddress show dev eth0")
}

#[test]
fn reports_are_sent_at_first_and_after_every_change() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("membership");
    let host = &lan.hosts[0];
    let capture = Capture::every_frame(&lan.hosts[1], "eth0");
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    wait_report(&capture, 0, "the first report", joins_v4);
    router.wait_state(host, "MASTER", LONG);
    assert!(filters(host).contains(NIC_V4), "{}", filters(host));
    let groups = || filters(host).contains("inet  224.0.0.18");
    assert!(groups());

    quiet(&capture);
    lan.cable(0, false);
    router.wait_state(host, "FAULT", LONG);
    let before = wall_ns();
    lan.cable(0, true);
    wait_report(&capture, before, "a report after a flap", joins_v4);
    router.wait_state(host, "MASTER", LONG);

    quiet(&capture);
    let before = wall_ns();
    // Another subnet: the kernel would take the secondary address of one along.
    host.ip("address add 10.9.0.77/25 dev eth0");
    host.ip("address del 10.9.0.1/24 dev eth0");
    wait_report(&capture, before, "a report after a new address", joins_v4);
    router.wait_state(host, "MASTER", LONG);

    quiet(&capture);
    host.ip("link set eth0 down");
    router.wait_state(host, "FAULT", LONG);
    let before = wall_ns();
    host.ip("link set eth0 up");
    wait_report(&capture, before, "a report after down and up", joins_v4);
    wait_for("group and filter", LONG, || {
        (groups() && filters(host).contains(NIC_V4)).then_some(())
    });
    drop(router);
    assert!(!filters(host).contains(NIC_V4), "both go with the daemon");
    assert!(!groups());
}

/// Waits until the kernel has done with repeating a report, which it does within a second: what is
/// seen from then on is news.
fn quiet(capture: &Capture) {
    wait_for("the end of repetitions", LONG, || {
        let seen = capture.seen();
        let reports = seen.iter().filter(|entry| joins_v4(&entry.frame));
        let last = reports.map(|entry| entry.at_ns).max().unwrap_or(0);
        (wall_ns() > last + 1_500_000_000).then_some(())
    });
}

#[test]
fn the_ipv6_group_is_reported_too() {
    let lan = Lan::new(2);
    let host = &lan.hosts[0];
    let capture = Capture::every_frame(&lan.hosts[1], "eth0");
    wait_for("a usable link-local address", LONG, || {
        let shown = host.ip("-6 address show dev eth0 scope link");
        (shown.contains("fe80") && !shown.contains("tentative")).then_some(())
    });
    let membership = host.enter(|| {
        let index = nix::net::if_::if_nametoindex("eth0").expect("eth0");
        Membership::join(index, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into())
            .expect("join ff02::12")
    });
    let first = wait_report(&capture, 0, "an MLD report", joins_v6);
    assert!(filters(host).contains(NIC_V6), "{}", filters(host));
    host.enter(|| membership.renew().expect("join again"));
    wait_report(&capture, first, "another MLD report", joins_v6);
    drop(membership);
    assert!(!filters(host).contains(NIC_V6));
}
