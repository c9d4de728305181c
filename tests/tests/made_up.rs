//! A short look with made-up input, without anybody to guide it; `cargo xtask fuzz` does it for as long as
//! one likes, guided by what the code does.

use xvrrp_tests::{
    fuzz::{self, Kind, Twins},
    sim::Random,
};

/// Bytes that look a little like what is expected: short edits, and words of the language.
fn bytes(random: &mut Random, longest: u64) -> Vec<u8> {
    let length = random.below(longest);
    (0..length)
        .map(|_| u8::try_from(random.below(256)).expect("a byte"))
        .collect()
}

#[test]
fn the_programs_and_the_host_agree() {
    let mut twins = Twins::new();
    let mut random = Random::new(1);
    for kind in [Kind::Advert, Kind::Arp, Kind::Nd] {
        for _ in 0..3000 {
            twins.judge(kind, &bytes(&mut random, 20));
        }
    }
}

#[test]
fn configurations_are_read_or_refused() {
    const WORDS: &[&str] = &[
        "vrrp_instance",
        "vrrp_script",
        "vrrp_sync_group",
        "global_defs",
        "{",
        "}",
        "\n",
        "A",
        "interface",
        "eth0",
        "state",
        "MASTER",
        "BACKUP",
        "virtual_router_id",
        "51",
        "priority",
        "255",
        "0",
        "-1",
        "advert_int",
        "0.01",
        "1e9",
        "virtual_ipaddress",
        "10.0.0.1/24",
        "fe80::1/64",
        "dev",
        "label",
        "eth0:1",
        "track_script",
        "weight",
        "nopreempt",
        "preempt_delay",
        "authentication",
        "auth_type",
        "PASS",
        "auth_pass",
        "\"",
        "!",
        "#",
        "unicast_peer",
        "virtual_routes",
        "via",
        "virtual_rules",
        "from",
        "table",
        "accept_from",
        "lease",
        "peer",
        "version",
        "3",
        "2",
        "use_vmac",
        "00:00:5e:00:01:33",
        "garp_master_delay",
        "notify_master",
        "group",
        "\u{fffd}",
    ];
    let mut random = Random::new(2);
    for _ in 0..20_000 {
        let count = random.below(60);
        let text: Vec<&str> = (0..count).map(|_| random.pick(WORDS)).collect();
        fuzz::config(text.join(" ").as_bytes());
    }
}

#[test]
fn requests_are_answered_or_refused() {
    const PARTS: &[&str] = &[
        "GET",
        "POST",
        " ",
        "/status",
        "/upgrade",
        "/",
        " HTTP/1.1",
        "\r\n",
        "\r\n\r\n",
        "host: x",
        "content-length: 5",
        "transfer-encoding: chunked",
        "5\r\nhello\r\n",
        "{\"format\":1",
        "}",
        "\"instances\":[]",
        ",",
        "\u{0}",
        "\u{fffd}",
    ];
    let mut random = Random::new(3);
    for _ in 0..2000 {
        let count = random.below(12);
        let text: Vec<&str> = (0..count).map(|_| random.pick(PARTS)).collect();
        let kind = u8::try_from(random.below(2)).expect("a bit");
        fuzz::control(&[&[kind], text.concat().as_bytes()].concat());
    }
}
