//! Announcements with a pause between them, and instances that wait: for peers, for the machine.

use std::{fmt::Write as _, net::Ipv4Addr};

use xvrrp_tests::{
    LONG,
    capture::{Capture, Sender},
    frames::{AdvertSpec, Said},
    ms,
    netns::Lan,
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance},
};

const MS: u64 = 1_000_000;
const PAUSE: u64 = 50 * MS;
const ADDRESSES: u8 = 10;

/// When which address was announced.
fn announcements(capture: &Capture) -> Vec<(u64, Ipv4Addr)> {
    let seen = capture.seen();
    let announced = seen.iter().filter_map(|entry| match &entry.said {
        Said::Arp {
            operation: 1,
            sender,
            target,
            ..
        } if sender == target => Some((entry.at_ns, *sender)),
        _ => None,
    });
    announced.collect()
}

fn config(more: &str) -> String {
    let mut addresses = String::new();
    for last in 0..ADDRESSES {
        let _ = writeln!(addresses, "    10.9.0.{}/24", 100 + last);
    }
    let instance = instance(100, 0.1, " garp_master_repeat 2\n garp_master_delay 60\n");
    more.to_owned() + &instance.replace("    10.9.0.100/24\n", &addresses)
}

fn check_gaps(times: &[(u64, Ipv4Addr)]) {
    for pair in times.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap + 5 * MS >= PAUSE, "{} ms between two", ms(gap));
    }
}

#[test]
fn announcements_are_sent_one_by_one() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("pacing");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let config = config("global_defs {\n vrrp_garp_interval 0.05\n}\n");
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let rounds = usize::from(2 * ADDRESSES);
    wait_for("two rounds", LONG, || {
        (announcements(&capture).len() >= rounds).then_some(())
    });
    let times = announcements(&capture);
    check_gaps(&times);
    let first: std::collections::BTreeSet<Ipv4Addr> = times
        .iter()
        .take(usize::from(ADDRESSES))
        .map(|(_, address)| *address)
        .collect();
    assert_eq!(
        first.len(),
        usize::from(ADDRESSES),
        "every address before any twice"
    );
    let status = router.instance(&lan.hosts[0], "VI").expect("a status");
    assert_eq!(status["counters"]["announcements_sent"], rounds);
    println!(
        "{rounds} announcements within {:.0} ms",
        ms(times[rounds - 1].0 - times[0].0)
    );
}

/// Without a pause of their own they are repeated at once, though nothing else happens for a second.
#[test]
fn each_address_is_announced_as_often_as_configured() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("pacing-none");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let lines = " garp_master_repeat 5\n garp_master_delay 60\n";
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 1.0, lines));
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    wait_for("every announcement", LONG, || {
        (announcements(&capture).len() >= 5).then_some(())
    });
    let adverts = || {
        let seen = capture.seen();
        let adverts = seen.into_iter().filter_map(|entry| match entry.said {
            Said::Advert { .. } => Some(entry.at_ns),
            _ => None,
        });
        adverts.collect::<Vec<_>>()
    };
    wait_for("two more adverts", LONG, || {
        (adverts().len() >= 3).then_some(())
    });
    let (times, adverts) = (announcements(&capture), adverts());
    assert_eq!(times.len(), 5, "announcements of one address");
    assert!(
        times[4].0 < adverts[1],
        "the last {:.0} ms after the first",
        ms(times[4].0 - times[0].0)
    );
    let status = router.instance(&lan.hosts[0], "VI").expect("a status");
    assert_eq!(status["counters"]["announcements_sent"], 5);
}

/// Who is beaten does not go on announcing.
#[test]
fn what_waits_is_not_sent_by_a_backup() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("pacing-beaten");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let config = config("global_defs {\n vrrp_garp_interval 0.05\n}\n");
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
    wait_for("the first announcements", LONG, || {
        (announcements(&capture).len() >= 3).then_some(())
    });
    let vip = Ipv4Addr::new(10, 9, 0, 100);
    let mut better = AdvertSpec::new(lan.mac(1), Lan::address(1), 51, 200, vip);
    better.interval_cs = 4095;
    Sender::new(&lan.hosts[1]).send(&better.build());
    let beaten = wall_ns();
    router.wait_state(&lan.hosts[0], "BACKUP", LONG);
    wait_for("ten pauses", LONG, || {
        (wall_ns() > beaten + 10 * PAUSE).then_some(())
    });
    let late = announcements(&capture)
        .iter()
        .filter(|(at, _)| *at > beaten + MS)
        .count();
    assert_eq!(late, 0, "announced after it was beaten");
}

/// Interfaces of a group take turns, those of nobody do not.
#[test]
fn interfaces_of_a_group_take_turns() {
    let lan = Lan::new(1);
    lan.add_second();
    let scratch = Scratch::new("pacing-group");
    let captures = ["br0", "br1"].map(|bridge| Capture::start(&lan.bridge, bridge, None));
    let group = "garp_group {\n garp_interval 0.05\n interfaces {\n  eth0 eth1\n }\n}\n";
    let other = instance(100, 0.1, " garp_master_repeat 2\n garp_master_delay 60\n")
        .replace("instance VI", "instance OTHER")
        .replace("interface eth0", "interface eth1")
        .replace("10.9.0.100", "10.8.0.100");
    let config = config(group) + &other;
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let all = || {
        let mut times = captures.each_ref().map(announcements).concat();
        times.sort_unstable();
        times
    };
    wait_for("everything on both", LONG, || {
        (all().len() >= usize::from(2 * ADDRESSES + 2)).then_some(())
    });
    assert!(!announcements(&captures[1]).is_empty());
    check_gaps(&all());
}

/// `unicast_fault_no_peer`: without a peer there is nobody to be elected among.
#[test]
fn an_instance_without_peers_is_in_fault() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("no-peer");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let config = instance(100, 0.1, " unicast_fault_no_peer\n unicast_peer {\n }\n");
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
    let status = router.wait_state(&lan.hosts[0], "FAULT", LONG);
    let faults = status["instances"][0]["faults"].to_string();
    assert!(faults.contains("unicast_peer names nobody"), "{faults}");
    assert!(capture.adverts(51).is_empty(), "no multicast instead");
}
