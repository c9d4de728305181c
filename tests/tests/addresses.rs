//! Addresses and interfaces that change under a running daemon.

use std::time::Duration;

use xvrrp_tests::{
    capture::Capture,
    netns::Lan,
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, cleanup_says, instance},
};

const LONG: Duration = Duration::from_secs(15);

#[test]
fn an_owner_keeps_its_own_address() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("owner");
    let host = &lan.hosts[0];
    let owner = instance(255, 0.1, "").replace("10.9.0.100/24", "10.9.0.1/24\n10.9.0.100/24");
    // A second router on the interface: its start makes the owner's addresses be added again.
    let other = instance(100, 0.1, "")
        .replace("instance VI", "instance OTHER")
        .replace("router_id 51", "router_id 52")
        .replace("10.9.0.100", "10.9.0.101");
    let config = owner + &other;
    let started = wall_ns();
    let capture = Capture::start(&lan.bridge, "br0", None);
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    let first = capture.wait_advert("the owner's first advert", 51, LONG, |advert| {
        advert.priority == 255
    });
    println!(
        "the owner advertises {} ms after the start",
        (first.at_ns - started) / 1_000_000
    );
    router.wait_state(host, "MASTER", LONG);
    wait_for("OTHER to be MASTER, from the owner's address", LONG, || {
        (router.instance(host, "OTHER")?["state"] == "MASTER").then_some(())
    });
    let shown = host.ip("address show dev eth0");
    assert!(
        shown.contains("10.9.0.100/24") && shown.contains("10.9.0.101/24"),
        "{shown}"
    );
    router.terminate();
    let shown = host.ip("address show dev eth0");
    assert!(shown.contains("10.9.0.1/24"), "its own stays: {shown}");
    assert!(!shown.contains("10.9.0.10"), "what it added goes: {shown}");
}

/// The machine's own address may be there after the daemon only, and outlives a crash.
#[test]
fn an_owner_s_address_that_comes_late_is_its_own() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("late-owner");
    let host = &lan.hosts[0];
    let owner = instance(255, 0.1, "").replace("10.9.0.100/24", "10.9.0.1/24\n10.9.0.100/24");
    host.ip("address del 10.9.0.1/24 dev eth0");
    let mut router = Xvrrp::with_config(host, &scratch, &owner);
    router.wait_state(host, "FAULT", LONG);
    host.ip("address add 10.9.0.1/24 dev eth0");
    router.wait_state(host, "MASTER", LONG);
    wait_for("the other address", LONG, || {
        let shown = host.ip("address show dev eth0");
        shown.contains("10.9.0.100/24").then_some(())
    });
    router.kill();
    cleanup_says(host, &scratch, &[], "eth0: 10.9.0.100/24 removed");
    let shown = host.ip("address show dev eth0");
    assert!(shown.contains("10.9.0.1/24"), "its own stays: {shown}");
    assert!(!shown.contains("10.9.0.100"), "what it added goes: {shown}");
}

/// A member of a sync group waits for the others, and an owner's address is there meanwhile.
#[test]
fn an_owner_in_a_sync_group_keeps_its_own_address() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("grouped-owner");
    let host = &lan.hosts[0];
    let flag = scratch.write("up", "");
    let check = format!(
        "vrrp_script up {{\n script \"/usr/bin/test -e {}\"\n interval 0.05\n weight 0\n}}\n\
         vrrp_sync_group G {{\n group {{\n  VI\n  OTHER\n }}\n}}\n",
        flag.display()
    );
    let owner = instance(255, 0.1, "").replace("10.9.0.100/24", "10.9.0.1/24\n10.9.0.100/24");
    let other = instance(100, 0.1, " track_script {\n  up\n }\n")
        .replace("instance VI", "instance OTHER")
        .replace("router_id 51", "router_id 52")
        .replace("10.9.0.100", "10.9.0.101");
    let mut router = Xvrrp::with_config(host, &scratch, &(check + &owner + &other));
    let own_stays = || {
        let shown = host.ip("address show dev eth0");
        assert!(shown.contains("10.9.0.1/24"), "its own stays: {shown}");
    };
    router.wait_state(host, "MASTER", LONG);
    own_stays();
    std::fs::remove_file(&flag).expect("the flag");
    router.wait_state(host, "FAULT", LONG);
    own_stays();
    scratch.write("up", "");
    router.wait_state(host, "MASTER", LONG);
    router.terminate();
    own_stays();
}

/// The kernel takes the secondary addresses of a subnet along with its primary one; those of the
/// other instance are put back.
#[test]
fn one_instance_does_not_take_another_s_address_along() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("neighbours");
    let host = &lan.hosts[0];
    let flag = scratch.write("up", "");
    let check = format!(
        "vrrp_script up {{\n script \"/usr/bin/test -e {}\"\n interval 0.05\n weight 0\n}}\n",
        flag.display()
    );
    let one =
        instance(100, 0.1, " track_script {\n  up\n }\n").replace("10.9.0.100/24", "10.7.0.1/16");
    let two = instance(100, 0.1, "")
        .replace("instance VI", "instance TWO")
        .replace("router_id 51", "router_id 52")
        .replace("10.9.0.100/24", "10.7.0.2/16");
    let router = Xvrrp::with_config(host, &scratch, &(check + &one + &two));
    let both = |first: bool| {
        wait_for(
            format!("10.7.0.1 there: {first}, 10.7.0.2 there"),
            LONG,
            || {
                let shown = host.ip("address show dev eth0");
                (shown.contains("10.7.0.1/16") == first && shown.contains("10.7.0.2/16"))
                    .then_some(())
            },
        );
    };
    both(true);
    std::fs::remove_file(&flag).expect("remove the flag");
    wait_for("VI in FAULT", LONG, || {
        (router.instance(host, "VI")?["state"] == "FAULT").then_some(())
    });
    both(false);
    assert_eq!(
        router.instance(host, "TWO").expect("TWO")["state"],
        "MASTER"
    );
}

/// What a MASTER carries is desired state: it stays MASTER and puts the address back.
#[test]
fn an_address_that_somebody_removes_is_put_back() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("removed");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    for round in 1..=3 {
        host.ip("address del 10.9.0.100/24 dev eth0");
        wait_for("the address to be back", LONG, || {
            host.ip("address show dev eth0")
                .contains("10.9.0.100/24")
                .then_some(())
        });
        wait_for("a word about it", LONG, || {
            let said = router
                .process
                .log()
                .matches("somebody removed 10.9.0.100")
                .count();
            (said >= round).then_some(())
        });
    }
    let counters = router.instance(host, "VI").expect("VI")["counters"].clone();
    assert_eq!(
        (&counters["became_master"], &counters["released_master"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn a_renamed_interface_is_let_go() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("rename");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    host.ip("link set eth0 name other0");
    router.wait_state(host, "FAULT", LONG);
    wait_for("the address to go", LONG, || {
        (!host.ip("address show dev other0").contains("10.9.0.100")).then_some(())
    });
    host.ip("link set other0 name eth0");
    router.wait_state(host, "MASTER", LONG);
}

#[test]
fn the_source_follows_the_interface() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("source");
    let host = &lan.hosts[0];
    let capture = Capture::start(&lan.bridge, "br0", None);
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    host.ip("address add 10.9.0.77/24 dev eth0");
    // Without its primary address it has nothing to advertise from: it resigns and comes back with
    // the other one.
    host.ip("address del 10.9.0.1/24 dev eth0");
    host.ip("address replace 10.9.0.77/24 dev eth0");
    let source = std::net::Ipv4Addr::new(10, 9, 0, 77);
    capture.wait_advert("adverts from the new address", 51, LONG, |advert| {
        advert.source == source
    });
    router.wait_state(host, "MASTER", LONG);
}

/// An interface that we are not attached to, where the kernel answers for every address of the machine.
#[test]
fn interfaces_outside_the_fence_are_named() {
    let lan = Lan::new(1);
    lan.add_second();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("outside");
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    let status = router.wait_state(host, "MASTER", LONG);
    assert_eq!(
        status["instances"][0]["unfenced"],
        serde_json::json!(["eth1"])
    );
    host.enter(|| {
        std::fs::write("/proc/sys/net/ipv4/conf/eth1/arp_ignore", "1").expect("a sysctl");
    });
    let instance = router.instance(host, "VI").expect("a status");
    assert_eq!(instance["unfenced"], serde_json::json!([]));
}
