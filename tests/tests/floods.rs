//! A third host that sends as much as the machine can, of everything there is: nobody's state changes,
//! the master keeps its rhythm, and does not amplify the flood. `cargo xtask test --full floods` makes each
//! last longer.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use serde_json::Value;
use xvrrp_tests::{
    LONG,
    capture::{Capture, Seen},
    flood::pour,
    frames::{AdvertSpec, Said, arp, arp_question, packet_v4, solicitation},
    modes::{Mode, pass_everything},
    ms,
    netns::Lan,
    process::Scratch,
    rounds, wait_for, wall_ns,
    xvrrp::{Xvrrp, instances},
};

const VRIDS: u8 = 10;
const INTERVAL_NS: u64 = 100_000_000;
const ATTACKER: u8 = 2;
/// At most one re-assertion in this time for each virtual router.
const REASSERTION: Duration = Duration::from_millis(10);

fn vip(vrid: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 1, vrid)
}

/// A frame for every virtual router.
fn for_all(build: impl Fn(u8) -> Vec<u8>) -> Vec<Vec<u8>> {
    (1..=VRIDS).map(build).collect()
}

/// Every kind of flood, and last all of them together.
fn floods(mac: [u8; 6], macs: [[u8; 6]; 2]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let own = Lan::address(ATTACKER);
    let advert = |vrid, priority| {
        let mut spec = AdvertSpec::new(mac, own, vrid, priority, vip(vrid));
        spec.interval_cs = 10;
        spec
    };
    let with = |vrid, change: fn(&mut AdvertSpec)| {
        let mut spec = advert(vrid, 254);
        change(&mut spec);
        spec.build()
    };
    let own_v6 = "fe80::abc".parse().expect("an address");
    let target_v6 = "2001:db8::1".parse().expect("an address");
    let mut list = vec![
        (
            "unknown VRID",
            for_all(|vrid| advert(vrid + 100, 254).build()),
        ),
        (
            "bad checksum",
            for_all(|vrid| with(vrid, |spec| spec.bad_checksum = true)),
        ),
        ("TTL 254", for_all(|vrid| with(vrid, |spec| spec.ttl = 254))),
        ("lower priority", for_all(|vrid| advert(vrid, 50).build())),
        (
            "priority 0 of a stranger",
            for_all(|vrid| advert(vrid, 0).build()),
        ),
        (
            "priority 0 in the master's name",
            for_all(|vrid| {
                with(vrid, |spec| {
                    spec.priority = 0;
                    spec.source = Lan::address(0);
                })
            }),
        ),
        (
            "ARP questions",
            for_all(|vrid| arp_question(mac, own, vip(vrid))),
        ),
        (
            "ARP claims",
            for_all(|vrid| arp(1, [0xff; 6], mac, vip(vrid), [0; 6], vip(vrid))),
        ),
        ("ND", vec![solicitation(mac, own_v6, target_v6)]),
        (
            "UDP to the addresses",
            for_all(|vrid| packet_v4((mac, macs[usize::from(vrid) % 2]), own, vip(vrid))),
        ),
    ];
    let all = list.iter().flat_map(|(_, frames)| frames.clone()).collect();
    list.push(("everything", all));
    list
}

fn moves(status: &Value) -> Vec<(String, u64, u64)> {
    let all = status["instances"].as_array().expect("instances");
    let count = |it: &Value, name: &str| it["counters"][name].as_u64().expect("a counter");
    all.iter()
        .map(|it| {
            let state = it["state"].as_str().expect("a state").to_owned();
            (
                state,
                count(it, "became_master"),
                count(it, "released_master"),
            )
        })
        .collect()
}

/// When each virtual router was advertised by the master.
fn adverts(seen: &[Seen]) -> BTreeMap<u8, Vec<u64>> {
    let mut list: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for entry in seen {
        if let Said::Advert {
            source,
            vrid,
            priority,
            ..
        } = &entry.said
        {
            assert_eq!(*source, Lan::address(0), "only the master speaks");
            assert!(*priority > 0, "and does not resign");
            list.entry(*vrid).or_default().push(entry.at_ns);
        }
    }
    list
}

/// Longest gap, and the most adverts of one virtual router beyond the regular ones.
fn measure(seen: &[Seen]) -> (u64, u64) {
    let (mut gap, mut most) = (0, 0);
    let by_vrid = adverts(seen);
    assert_eq!(by_vrid.len(), usize::from(VRIDS));
    for times in by_vrid.values() {
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gap = gap.max(gaps.max().unwrap_or_default());
        let regular = (times[times.len() - 1] - times[0]) / INTERVAL_NS + 1;
        most = most.max((times.len() as u64).saturating_sub(regular));
    }
    (gap, most)
}

fn attack(mode: Mode) {
    let lan = Lan::new(3);
    let scratch = Scratch::new(&format!("floods-{}", mode.name));
    let ports: &[&str] = if mode == Mode::NATIVE {
        &["p0", "p1"]
    } else {
        &[]
    };
    let _passing: Vec<_> = ports
        .iter()
        .map(|port| pass_everything(&lan.bridge, port))
        .collect();
    let mac = lan.mac(ATTACKER);
    let capture = Capture::start(&lan.bridge, "br0", Some(mac));
    let run = |host: usize, priority| {
        let config = instances(VRIDS, priority, 0.1, "");
        let path = scratch.write(&format!("{host}.conf"), &config);
        let path = path.display().to_string();
        let options = ["--config", &path, "--xdp-mode", mode.option];
        Xvrrp::run(&lan.hosts[host], &scratch, &options)
    };
    let master = run(0, 200);
    master.wait_state(&lan.hosts[0], "MASTER", LONG);
    let backup = run(1, 100);
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    wait_for("the backup to hear all", LONG, || {
        let status = backup.status(&lan.hosts[1])?;
        let heard = |it: &Value| it["counters"]["adverts_accepted"].as_u64() > Some(2);
        status["instances"]
            .as_array()?
            .iter()
            .all(heard)
            .then_some(())
    });

    let time = Duration::from_millis(rounds(500, 5000) as u64);
    for (kind, frames) in floods(mac, [lan.mac(0), lan.mac(1)]) {
        let from = capture.count();
        let poured = pour(&lan.hosts[usize::from(ATTACKER)], &frames, time);
        let over = wall_ns();
        wait_for("adverts behind the flood", LONG, || {
            let seen = capture.seen_from(from);
            let last = adverts(&seen);
            (last.len() == usize::from(VRIDS)
                && last
                    .values()
                    .all(|times| times[times.len() - 1] > over + INTERVAL_NS))
            .then_some(())
        });
        let (gap, extra) = measure(&capture.seen_from(from));
        println!(
            "{:8} {kind:32} {:>7} frames/s: longest gap {:.1} ms, {extra} re-assertions in {:.1} s",
            mode.name,
            poured.rate(),
            ms(gap),
            poured.took.as_secs_f64()
        );
        assert!(gap <= INTERVAL_NS * 3 / 2, "{kind}: {} ms", ms(gap));
        // One more at each end, where a regular one falls just outside.
        let limit = poured.took.as_millis() / REASSERTION.as_millis() + 2;
        assert!(u128::from(extra) <= limit, "{kind}: {extra} re-assertions");
    }
    let status = master.status(&lan.hosts[0]).expect("a status");
    for each in moves(&status) {
        assert_eq!(each, ("MASTER".to_owned(), 1, 0), "the master never left");
    }
    let status = backup.status(&lan.hosts[1]).expect("a status");
    for each in moves(&status) {
        assert_eq!(
            each,
            ("BACKUP".to_owned(), 0, 0),
            "the backup never took over"
        );
    }
    let log = master.process.log().lines().count() + backup.process.log().lines().count();
    assert!(log < 200, "{log} lines of log");
}

#[test]
fn native() {
    attack(Mode::NATIVE);
}

#[test]
fn tc() {
    attack(Mode::TC);
}

#[test]
fn generic() {
    attack(Mode::GENERIC);
}

/// One flooded interface does not starve the election on another.
#[test]
fn another_interface() {
    let lan = Lan::new(3);
    lan.add_second();
    let scratch = Scratch::new("floods-other");
    let mac = lan.mac(ATTACKER);
    let capture = Capture::start(&lan.bridge, "br1", None);
    let run = |host: usize, priority| {
        let config = instances(VRIDS, priority, 0.1, "");
        let quiet = config
            .replace("eth0", "eth1")
            .replace("vrrp_instance V", "vrrp_instance Q");
        let quiet = quiet.replace("10.9.1.", "10.8.1.");
        Xvrrp::with_config(&lan.hosts[host], &scratch, &(config + &quiet))
    };
    let master = run(0, 200);
    master.wait_state(&lan.hosts[0], "MASTER", LONG);
    let backup = run(1, 100);
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let quiet = |entry: &Seen| match &entry.said {
        Said::Advert { vrid, .. } => Some((*vrid, entry.at_ns)),
        _ => None,
    };
    wait_for("the quiet side", LONG, || {
        let seen = capture.seen();
        let vrids: std::collections::BTreeSet<u8> =
            seen.iter().filter_map(|it| Some(quiet(it)?.0)).collect();
        (vrids.len() == usize::from(VRIDS)).then_some(())
    });
    let from = capture.count();
    let frames: Vec<Vec<u8>> = floods(mac, [lan.mac(0), lan.mac(1)])
        .pop()
        .expect("everything")
        .1;
    let time = Duration::from_secs(rounds(2, 10) as u64);
    let poured = pour(&lan.hosts[usize::from(ATTACKER)], &frames, time);
    let mut times: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for (vrid, at) in capture.seen_from(from).iter().filter_map(quiet) {
        times.entry(vrid).or_default().push(at);
    }
    let gaps = times
        .values()
        .flat_map(|of| of.windows(2).map(|pair| pair[1] - pair[0]));
    let gap = gaps.max().expect("adverts");
    println!(
        "{} frames/s on one interface: longest gap on the other {:.1} ms",
        poured.rate(),
        ms(gap)
    );
    assert!(gap <= INTERVAL_NS * 3 / 2, "{:.1} ms", ms(gap));
    for (router, host, state) in [(&master, 0, "MASTER"), (&backup, 1, "BACKUP")] {
        let status = router.status(&lan.hosts[host]).expect("a status");
        assert!(moves(&status).iter().all(|(it, ..)| it == state), "{state}");
    }
}
