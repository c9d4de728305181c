//! `use_vmac` in places that are not just an interface with multicast: a bridge, unicast peers, and
//! where no program can be attached.

use std::net::Ipv4Addr;

use xvrrp_tests::{
    LONG,
    capture::Capture,
    frames::Said,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, instance},
};

const VIRTUAL_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const SHOWN: &str = "00:00:5e:00:01:33";
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

fn ping(host: &Namespace) -> Option<()> {
    let mut command = host.command("ping");
    command.args(["-c", "1", "-W", "1", "10.9.0.100"]);
    let output = command.output().expect("run ping");
    output.status.success().then_some(())
}

fn forwarding_table(host: &Namespace) -> String {
    let mut command = host.command("bridge");
    let output = command.args(["fdb", "show", "br", "lan0"]).output();
    String::from_utf8_lossy(&output.expect("run bridge").stdout).into_owned()
}

/// Puts the host's `eth0` below a bridge that has its address.
fn bridge(host: &Namespace) {
    host.ip("link add lan0 type bridge forward_delay 0 mcast_snooping 0");
    host.ip("address del 10.9.0.1/24 dev eth0");
    host.ip("link set eth0 master lan0");
    host.ip("link set lan0 up");
    host.ip("address add 10.9.0.1/24 dev lan0");
}

#[test]
fn a_bridge_takes_the_virtual_mac_for_its_own() {
    let lan = Lan::new(2);
    let [host, client] = &lan.hosts[..] else {
        panic!("two hosts")
    };
    bridge(host);
    let scratch = Scratch::new("vmac-bridge");
    let config = instance(100, 0.1, " use_vmac\n").replace("interface eth0", "interface lan0");
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    let status = router.wait_state(host, "MASTER", LONG);
    assert_eq!(status["instances"][0]["mac"], SHOWN);
    wait_for("an answer to ping", LONG, || ping(client));
    let known = client.ip("neigh show 10.9.0.100 dev eth0");
    assert!(known.contains(SHOWN), "{known}");
    let table = forwarding_table(host);
    let entry = table.lines().find(|line| line.contains(SHOWN));
    assert!(
        entry.is_some_and(|line| line.contains("permanent")),
        "{table}"
    );
    router.terminate();
    let table = forwarding_table(host);
    assert!(!table.contains(SHOWN), "after the end: {table}");
}

/// Unicast adverts leave with the interface's MAC: the virtual one is announced again and again, so that
/// switches do not forget it.
#[test]
fn unicast_announces_the_virtual_mac_again_and_again() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("vmac-unicast");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let lines = " use_vmac\n garp_master_refresh 1\n unicast_src_ip 10.9.0.1\n unicast_peer {\n 10.9.0.2\n }\n";
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 0.1, lines));
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let announced = || {
        let seen = capture.seen();
        let with_it = seen.iter().filter(|entry| {
            let is_announcement = matches!(&entry.said, Said::Arp { sender, target, sender_mac, .. }
                if *sender == VIP && *target == VIP && *sender_mac == VIRTUAL_MAC);
            is_announcement && entry.frame[6..12] == VIRTUAL_MAC
        });
        with_it.count()
    };
    // Five within some milliseconds, then one a second.
    wait_for("two refreshes", LONG, || (announced() >= 7).then_some(()));
    let own = lan.mac(0);
    let seen = capture.seen();
    let mut adverts = seen
        .iter()
        .filter(|entry| matches!(entry.said, Said::Advert { .. }));
    assert!(
        adverts.all(|entry| entry.frame[6..12] == own),
        "adverts carry the interface's"
    );
    wait_for("an answer to ping", LONG, || ping(&lan.hosts[1]));
    let known = lan.hosts[1].ip("neigh show 10.9.0.100 dev eth0");
    assert!(known.contains(SHOWN), "{known}");
}

#[test]
fn without_a_program_the_interface_s_own_mac_is_used_and_it_is_said() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("vmac-off");
    let config = scratch.write("off.conf", &instance(100, 0.1, " use_vmac\n"));
    let config = config.display().to_string();
    let arguments = ["--config", &config, "--xdp-mode", "off"];
    let router = Xvrrp::run(&lan.hosts[0], &scratch, &arguments);
    let status = router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let own = lan.mac(0).map(|byte| format!("{byte:02x}")).join(":");
    assert_eq!(status["instances"][0]["mac"], own);
    assert!(
        router.process.log().contains("no virtual MAC on eth0"),
        "{}",
        router.process.log()
    );
    wait_for("an answer to ping", LONG, || ping(&lan.hosts[1]));
    let known = lan.hosts[1].ip("neigh show 10.9.0.100 dev eth0");
    assert!(known.contains(&own), "{known}");
}
