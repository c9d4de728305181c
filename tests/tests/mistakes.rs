//! What neighbours do wrong is counted, logged once per cause and peer, and shown in `status`.

use std::net::Ipv4Addr;

use xvrrp_tests::{
    LONG,
    capture::Sender,
    frames::{AdvertSpec, arp_question},
    netns::Lan,
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VRID: u8 = 51;

/// Who does what, and the words that say so.
struct Row {
    words: &'static str,
    frame: Vec<u8>,
}

/// Rows with a sender of their own each.
fn rows(mac: [u8; 6]) -> Vec<Row> {
    let mut next = 20;
    let mut advert = |words, change: fn(&mut AdvertSpec)| {
        next += 1;
        let mut spec = AdvertSpec::new(mac, Ipv4Addr::new(10, 9, 0, next), VRID, 50, VIP);
        spec.interval_cs = 10;
        change(&mut spec);
        Row {
            words,
            frame: spec.build(),
        }
    };
    vec![
        advert(
            "10.9.0.21 advertises VRID 51 with other addresses",
            |spec| {
                spec.addresses = vec![Ipv4Addr::new(10, 9, 0, 101)];
            },
        ),
        advert("10.9.0.22 advertises every 0.5 s", |spec| {
            spec.interval_cs = 50;
        }),
        advert("10.9.0.23 sends the other form", |spec| {
            spec.message_only = true;
        }),
        advert("10.9.0.24 are rejected: their checksum", |spec| {
            spec.bad_checksum = true;
        }),
        advert("10.9.0.25 are rejected: their TTL", |spec| spec.ttl = 254),
        advert(
            "10.9.0.26 are rejected: they are of another VRRP version",
            |spec| {
                spec.version = 2;
                spec.version_2 = Some((1, *b"secret\0\0"));
            },
        ),
        Row {
            words: "claims one of our addresses",
            frame: arp_question(mac, VIP, VIP),
        },
    ]
}

#[test]
fn each_is_told_once_and_shown() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("mistakes");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &instance(200, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    let sender = Sender::new(&lan.hosts[1]);
    let rows = rows(lan.mac(1));
    let began = wall_ns();
    // Each gets its turn, although they come one right after the other.
    wait_for("every mistake to be shown", LONG, || {
        for row in &rows {
            sender.send(&row.frame);
        }
        let instance = router.instance(host, "VI")?;
        let mistakes = instance["mistakes"].to_string();
        rows.iter()
            .all(|row| mistakes.contains(row.words))
            .then_some(())
    });
    let took = (wall_ns() - began) / 1_000_000;
    wait_for("every line in the log", LONG, || {
        let log = router.process.log();
        rows.iter().all(|row| log.contains(row.words)).then_some(())
    });
    for _ in 0..50 {
        for row in &rows {
            sender.send(&row.frame);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let log = router.process.log();
    for row in &rows {
        let lines = log.lines().filter(|line| line.contains(row.words)).count();
        assert_eq!(lines, 1, "{}: {log}", row.words);
    }
    let instance = router.instance(host, "VI").expect("a status");
    assert_eq!(instance["state"], "MASTER");
    assert_eq!(instance["counters"]["released_master"], 0);
    println!("{} mistakes told within {took} ms, once each", rows.len());
}

/// A flood of made-up senders: a few lines, and nothing of it hurts.
#[test]
fn made_up_senders_are_not_all_told() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("made-up");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &instance(200, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    let sender = Sender::new(&lan.hosts[1]);
    let mac = lan.mac(1);
    for number in 0..20_000_u32 {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 20, 0, 0)) + number);
        let mut spec = AdvertSpec::new(mac, source, VRID, 50, Ipv4Addr::new(10, 9, 0, 7));
        spec.bad_checksum = number % 2 == 0;
        while !sender.try_send(&spec.build()) {}
    }
    let status = router.wait_state(host, "MASTER", LONG);
    let mistakes = status["instances"][0]["mistakes"].as_array().map(Vec::len);
    let lines = router
        .process
        .log()
        .lines()
        .filter(|line| line.contains("10.20."))
        .count();
    println!("20000 senders: {mistakes:?} remembered, {lines} lines");
    assert!(
        mistakes.is_some_and(|count| (1..=32).contains(&count)),
        "{mistakes:?}"
    );
    assert!((1..=40).contains(&lines), "{lines} lines");
    assert_eq!(status["instances"][0]["counters"]["released_master"], 0);
}
