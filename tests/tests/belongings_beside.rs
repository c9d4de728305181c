//! What a MASTER has, beside what the machine has of its own and what comes and goes there.

use std::net::Ipv4Addr;

use xvrrp_tests::{
    LONG,
    capture::Capture,
    frames::Said,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance},
};

fn lan() -> Lan {
    let lan = Lan::new(2);
    lan.add_second();
    lan
}

/// The way that packets to a host go.
fn way(host: &Namespace, to: &str) -> String {
    host.ip(&format!("route get {to}"))
}

/// The machine has a route to the same network already: ours comes before it, and it stays.
#[test]
fn a_route_comes_before_the_machine_s_own() {
    let lan = lan();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("own-route");
    host.ip("route add 192.0.2.0/24 via 10.9.0.9");
    let lines = " virtual_routes {\n  192.0.2.0/24 via 10.9.0.2\n }\n";
    let mut router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, lines));
    router.wait_state(host, "MASTER", LONG);
    wait_for("our way", LONG, || {
        way(host, "192.0.2.7")
            .contains("via 10.9.0.2")
            .then_some(())
    });
    router.terminate();
    assert!(
        way(host, "192.0.2.7").contains("via 10.9.0.9"),
        "the machine's own"
    );
}

/// The kernel drops IPv4 routes with a link and tells nobody. Nothing tracks this one.
#[test]
fn a_route_lost_with_a_link_is_put_back() {
    let lan = lan();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("lost-route");
    let lines = " virtual_routes {\n  192.0.2.0/24 via 10.8.0.2 no_track\n }\n";
    let config =
        instance(100, 0.1, lines) + "static_routes {\n 198.51.100.0/24 via 10.8.0.2 dev eth1\n}\n";
    let router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    let both = |what: &str| {
        wait_for(what.to_owned(), LONG, || {
            let all = ["192.0.2.7", "198.51.100.7"];
            // Without the route there is no way at all, and `ip` fails.
            let there = |to: &&str| host.try_ip(&format!("route get {to}"));
            all.iter().all(there).then_some(())
        });
    };
    both("both routes");
    host.ip("link set eth1 down");
    assert!(!host.try_ip("route get 192.0.2.7"), "gone with the link");
    host.ip("link set eth1 up");
    both("both routes again");
    let status = router.instance(host, "VI").expect("a status");
    assert_eq!(status["counters"]["released_master"], 0);
}

/// An address gets its interface after the promotion: only then can neighbours be told.
#[test]
fn an_address_is_announced_where_its_interface_comes_late() {
    let lan = lan();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("late-interface");
    host.ip("link set eth1 name late0 down");
    let lines = " virtual_ipaddress_excluded {\n 10.8.0.100/24 dev eth1 no_track\n }\n";
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, lines));
    router.wait_state(host, "MASTER", LONG);
    let capture = Capture::start(&lan.bridge, "br1", None);
    let began = wall_ns();
    host.ip("link set late0 name eth1 up");
    let (vip, mac) = (Ipv4Addr::new(10, 8, 0, 100), host.mac("eth1"));
    wait_for("an announcement", LONG, || {
        capture.seen().iter().find_map(|entry| match &entry.said {
            Said::Arp {
                sender,
                sender_mac,
                target,
                ..
            } if *sender == vip && *target == vip && *sender_mac == mac => Some(entry.at_ns),
            _ => None,
        })
    });
    let took = (wall_ns() - began) / 1_000_000;
    println!("announced {took} ms after the interface came");
    // The promotion's own second round comes after five seconds.
    assert!(took < 2000, "{took} ms");
    assert!(host.ip("address show dev eth1").contains("10.8.0.100/24"));
}

/// A crash leaves static addresses; they are still ours afterwards. One of the machine's own is not.
#[test]
fn static_addresses_are_known_after_a_crash() {
    let lan = lan();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("static-crash");
    let config = instance(100, 0.1, "")
        + "static_ipaddress {\n 10.8.0.77/24 dev eth1\n 10.8.0.1/24 dev eth1\n}\n";
    let there = |address: &str| host.ip("address show dev eth1").contains(address);
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    wait_for("the static address", LONG, || {
        there("10.8.0.77/24").then_some(())
    });
    router.kill();
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    wait_for("the static address again", LONG, || {
        there("10.8.0.77/24").then_some(())
    });
    router.terminate();
    assert!(!there("10.8.0.77/24"), "it goes with the daemon");
    assert!(there("10.8.0.1/24"), "the machine's own stays");
}

/// A virtual address that is really the machine's own, by mistake: the machine keeps it, and goes on
/// answering for it.
#[test]
fn the_machine_keeps_its_own_address() {
    let lan = lan();
    let (host, client) = (&lan.hosts[0], &lan.hosts[1]);
    let scratch = Scratch::new("own-address");
    host.ip("route add default via 10.9.0.254");
    let lines = " virtual_ipaddress_excluded {\n 10.9.0.1/32\n 10.8.0.1/32 dev eth1\n }\n";
    let mut router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, lines));
    let status = router.wait_state(host, "FAULT", LONG);
    let faults = status["instances"][0]["faults"].to_string();
    assert!(faults.contains("machine's own address"), "{faults}");
    for address in ["10.9.0.1", "10.8.0.1"] {
        let mut command = client.command("ping");
        let output = command.args(["-c", "1", "-W", "1", address]).output();
        assert!(
            output.expect("run ping").status.success(),
            "{address} answers"
        );
    }
    router.terminate();
    assert!(host.ip("address show dev eth0").contains("10.9.0.1/24"));
    assert!(host.ip("address show dev eth1").contains("10.8.0.1/24"));
    assert!(host.ip("route show default").contains("10.9.0.254"));
}
