//! What a MASTER has beside the addresses on its own interface: addresses on others, routes, rules; and
//! what is there whoever is MASTER.

use std::net::Ipv4Addr;

use xvrrp_tests::{
    LONG,
    capture::{Capture, Sender},
    frames::{AdvertSpec, Said, arp_question},
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, instance},
};

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 100);

const BELONGINGS: &str = "
  virtual_ipaddress_excluded {
    10.8.0.100/24 dev eth1 label eth1:vip
  }
  virtual_routes {
    src 10.9.0.100 192.0.2.0/24 via 10.9.0.2
    198.51.100.0/24 via 10.8.0.2 dev eth1 metric 7
    203.0.113.0/24 dev eth1 scope link
    blackhole 203.0.113.77/32
    203.0.113.128/25 nexthop via 10.9.0.2 weight 3 nexthop via 10.8.0.2 dev eth1
    default via 10.8.0.2 table 100
    2001:db8:7::/48 dev eth1
  }
  virtual_rules {
    from 10.8.0.0/24 table 100 priority 700
    to 192.0.2.9 iif eth1 prohibit
    inet6 fwmark 0x7/0xff lookup 100
  }
";

const STATICS: &str = "
static_ipaddress {
  10.8.0.77/24 dev eth1
}
static_routes {
  192.0.2.128/25 via 10.8.0.2 dev eth1
}
static_rules {
  from 10.8.0.77 table 200
}
";

/// The routes that carry our mark, one in each line.
fn routes(host: &Namespace) -> Vec<String> {
    let shown = host.ip("-4 route show table all proto keepalived")
        + &host.ip("-6 route show table all proto keepalived");
    // The hops of a route with several ways follow it.
    let joined = shown.replace("\n\t", " ");
    let mut lines: Vec<String> = joined
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort();
    lines
}

fn rules(host: &Namespace) -> Vec<String> {
    let shown = host.ip("-4 rule show") + &host.ip("-6 rule show");
    let lines = shown
        .lines()
        .filter(|line| line.contains("proto keepalived"));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn lan() -> Lan {
    let lan = Lan::new(2);
    lan.add_second();
    lan
}

/// The advert of a router with a higher priority, which is not heard again for two minutes.
fn better_advert(lan: &Lan) -> Vec<u8> {
    let vip = Ipv4Addr::new(10, 9, 0, 100);
    let mut spec = AdvertSpec::new(lan.mac(1), Lan::address(1), 51, 200, vip);
    spec.interval_cs = 4095;
    spec.build()
}

/// Waits until there are this many routes and rules of ours, static ones included.
fn wait_counts(host: &Namespace, what: &str, expected: (usize, usize)) {
    let seen = || (routes(host), rules(host));
    wait_for(
        format!("{what}: {expected:?}, now {:?}", seen()),
        LONG,
        || {
            let (routes, rules) = seen();
            ((routes.len(), rules.len()) == expected).then_some(())
        },
    );
}

const WITH_STATICS: (usize, usize) = (8, 4);
const STATICS_ONLY: (usize, usize) = (1, 1);

#[test]
fn they_come_and_go_with_mastership() {
    let lan = lan();
    let (host, peer) = (&lan.hosts[0], Sender::new(&lan.hosts[1]));
    let scratch = Scratch::new("belongings");
    let config = instance(100, 0.1, BELONGINGS) + STATICS;
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    wait_counts(host, "as MASTER", WITH_STATICS);
    let shown = routes(host);
    for expected in [
        "192.0.2.0/24 via 10.9.0.2 dev eth0 src 10.9.0.100",
        "198.51.100.0/24 via 10.8.0.2 dev eth1 metric 7",
        "203.0.113.0/24 dev eth1 scope link",
        "blackhole 203.0.113.77",
        "203.0.113.128/25 nexthop via 10.9.0.2 dev eth0 weight 3 nexthop via 10.8.0.2 dev eth1 weight 1",
        "default via 10.8.0.2 dev eth1 table 100",
        "2001:db8:7::/48 dev eth1 metric 1024 pref medium",
        "192.0.2.128/25 via 10.8.0.2 dev eth1",
    ] {
        assert!(
            shown.iter().any(|line| line == expected),
            "{expected}: {shown:#?}"
        );
    }
    let shown = rules(host);
    for expected in [
        "700: from 10.8.0.0/24 lookup 100 proto keepalived",
        "from all to 192.0.2.9 iif eth1 prohibit proto keepalived",
        "from all fwmark 0x7/0xff lookup 100 proto keepalived",
        "from 10.8.0.77 lookup 200 proto keepalived",
    ] {
        assert!(
            shown.iter().any(|line| line.contains(expected)),
            "{expected}: {shown:#?}"
        );
    }
    let addresses = host.ip("address show dev eth1");
    assert!(
        addresses.contains("10.8.0.100/24 scope global secondary eth1:vip"),
        "{addresses}"
    );
    assert!(addresses.contains("10.8.0.77/24"), "{addresses}");

    let better = better_advert(&lan);
    peer.send(&better);
    router.wait_state(host, "BACKUP", LONG);
    wait_counts(host, "as BACKUP", STATICS_ONLY);
    let addresses = host.ip("address show dev eth1");
    assert!(!addresses.contains("10.8.0.100"), "{addresses}");
    assert!(addresses.contains("10.8.0.77/24"), "{addresses}");
    router.terminate();
    wait_counts(host, "after the end", (0, 0));
    let addresses = host.ip("address show dev eth1");
    assert!(
        addresses.contains("10.8.0.1/24") && !addresses.contains("10.8.0.77"),
        "{addresses}"
    );
}

#[test]
fn what_a_crash_leaves_goes_with_the_next_start() {
    let lan = lan();
    let (host, peer) = (&lan.hosts[0], Sender::new(&lan.hosts[1]));
    let scratch = Scratch::new("belongings-crash");
    let config = instance(100, 0.1, BELONGINGS);
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    wait_counts(host, "as MASTER", (7, 3));
    router.kill();
    wait_counts(host, "after the crash", (7, 3));
    let better = better_advert(&lan);
    let router = Xvrrp::with_config(host, &scratch, &config);
    wait_for("the advert to be heard", LONG, || {
        peer.send(&better);
        let instance = router.instance(host, "VI")?;
        instance["counters"]["adverts_accepted"]
            .as_u64()
            .filter(|count| *count > 0)
    });
    wait_counts(host, "as BACKUP after the crash", (0, 0));
    assert!(!host.ip("address show dev eth1").contains("10.8.0.100"));
}

/// The address on the other interface is told with that one's MAC, announced there, and guarded there.
#[test]
fn an_address_on_another_interface_is_answered_for_there() {
    let lan = lan();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("elsewhere");
    let capture = Capture::start(&lan.bridge, "br1", None);
    let second = lan.hosts[1].enter(|| Sender::on("eth1"));
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, BELONGINGS));
    router.wait_state(host, "MASTER", LONG);
    let (mac, asker) = (host.mac("eth1"), lan.hosts[1].mac("eth1"));
    let told = |operation: u8| {
        capture
            .seen()
            .iter()
            .filter(|entry| {
                matches!(
                    &entry.said,
                    Said::Arp { operation: seen, sender, sender_mac, .. }
                        if *seen == operation && *sender == ELSEWHERE && *sender_mac == mac
                )
            })
            .count()
    };
    wait_for("an announcement from eth1", LONG, || {
        (told(1) > 0).then_some(())
    });
    let question = arp_question(asker, Ipv4Addr::new(10, 8, 0, 2), ELSEWHERE);
    second.send(&question);
    wait_for("an answer from eth1", LONG, || (told(2) > 0).then_some(()));
    let status = router.status(host).expect("a status");
    let interfaces = status["interfaces"].as_array().expect("interfaces");
    let other = interfaces
        .iter()
        .find(|it| it["name"] == "eth1")
        .expect("eth1 is there");
    assert!(
        other["kernel"]["arp_answered"].as_u64() > Some(0),
        "by the program: {other}"
    );

    // Not by a backup, whatever the interface.
    let better = better_advert(&lan);
    let before = told(2);
    Sender::new(&lan.hosts[1]).send(&better);
    for _ in 0..100 {
        second.send(&question);
    }
    router.wait_state(host, "BACKUP", LONG);
    for _ in 0..100 {
        second.send(&question);
    }
    wait_for("the questions to be seen", LONG, || {
        let status = router.status(host)?;
        let other = status["interfaces"]
            .as_array()?
            .iter()
            .find(|it| it["name"] == "eth1")?;
        (other["kernel"]["arp_silenced"].as_u64()? >= 200).then_some(())
    });
    assert_eq!(told(2), before, "answers after it was beaten");
}

/// Somebody removes a route, a rule and an address of a MASTER: they are back at once.
#[test]
fn what_somebody_removes_is_put_back() {
    let lan = lan();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("restore");
    let config = instance(100, 0.1, BELONGINGS) + STATICS;
    let router = Xvrrp::with_config(host, &scratch, &config);
    let before = router.wait_state(host, "MASTER", LONG);
    wait_counts(host, "as MASTER", WITH_STATICS);
    for removal in [
        "route del 192.0.2.0/24",
        "route del default table 100",
        "rule del priority 700",
        "route del 192.0.2.128/25",
        "-6 route del 2001:db8:7::/48",
    ] {
        host.ip(removal);
        wait_counts(host, removal, WITH_STATICS);
    }
    host.ip("address del 10.8.0.100/24 dev eth1");
    wait_for("the address on eth1", LONG, || {
        host.ip("address show dev eth1")
            .contains("10.8.0.100")
            .then_some(())
    });
    let restored = || {
        let instance = router.instance(host, "VI")?;
        instance["counters"]["restored"].as_u64()
    };
    assert!(restored() >= Some(5), "{:?}", restored());
    // A fight: removed as fast as it can be.
    let (from, began) = (restored().expect("a count"), std::time::Instant::now());
    let mut removals: u64 = 0;
    while began.elapsed() < std::time::Duration::from_secs(1) {
        removals += u64::from(host.try_ip("route del 192.0.2.0/24"));
    }
    let tenths = u64::try_from(began.elapsed().as_millis() / 100).expect("a short time");
    let fought = restored().expect("a count") - from;
    println!("{removals} removals in a second, put back {fought} times");
    assert!(removals > 3 && fought <= tenths + 2, "{removals} {fought}");
    wait_counts(host, "after the fight", WITH_STATICS);
    let after = router.status(host).expect("a status");
    let transitions =
        |status: &serde_json::Value| status["instances"][0]["counters"]["became_master"].clone();
    assert_eq!(
        transitions(&after),
        transitions(&before),
        "never left MASTER"
    );
    assert_eq!(after["instances"][0]["counters"]["released_master"], 0);
}

/// An interface that carries an address must be up, unless that one is not tracked.
#[test]
fn the_other_interface_counts_too() {
    for (untracked, expected) in [("", "FAULT"), (" no_track", "MASTER")] {
        let lan = lan();
        let host = &lan.hosts[0];
        let scratch = Scratch::new("track-elsewhere");
        let line =
            format!("virtual_ipaddress_excluded {{\n 10.8.0.100/24 dev eth1{untracked}\n }}\n");
        let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, &line));
        router.wait_state(host, "MASTER", LONG);
        lan.bridge.ip("link set q0 down");
        wait_for("the carrier to go", LONG, || {
            host.ip("link show dev eth1")
                .contains("NO-CARRIER")
                .then_some(())
        });
        if expected == "FAULT" {
            let status = router.wait_state(host, "FAULT", LONG);
            let faults = status["instances"][0]["faults"].to_string();
            assert!(faults.contains("eth1"), "{faults}");
        }
        lan.bridge.ip("link set q0 up");
        let status = router.wait_state(host, "MASTER", LONG);
        let left = &status["instances"][0]["counters"]["released_master"];
        assert_eq!(*left, u64::from(expected == "FAULT"), "{untracked}");
    }
}
