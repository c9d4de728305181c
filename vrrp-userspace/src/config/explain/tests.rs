//! What is said of whole configurations.

use std::path::Path;

use super::*;
use crate::config::Reader;

fn read(text: &str) -> Config {
    let reader = Reader::new(Some("node1"));
    let loaded = reader.load_text(Path::new("a.conf"), text.to_owned());
    let lines = loaded.diagnostics.lines(&loaded.sources);
    let is_error = |line: &&(_, String)| line.1.contains(": error: ");
    assert_eq!(lines.iter().find(is_error), None);
    loaded.config
}

fn pair(priority: u8, more: &str) -> String {
    format!(
        "vrrp_script haproxy {{\n script \"/usr/bin/killall -0 haproxy\"\n weight -30\n fall 2\n}}\n\
         vrrp_instance VI_1 {{\n version 3\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
         virtual_ipaddress {{ 10.7.3.202/16 }}\n track_script {{ haproxy }}\n {more}\n}}\n"
    )
}

#[test]
fn a_pair_is_told_with_its_times_and_priorities() {
    let told = explain(&read(&pair(110, "")));
    for line in [
        "VI_1: virtual router 51 on eth0, VRRPv3, IPv4",
        "every 1 s to 224.0.0.18, from the interface's first address",
        "priority 110; starts as BACKUP and listens for 3.57 s before it takes over",
        "a MASTER that falls silent is succeeded after 3.57 s (3 adverts and Skew_Time), one that resigns \
         after 0.57 s",
        "the kernel stops answering within 3 s",
        "haproxy: `/usr/bin/killall -0 haproxy` every 1 s; 2 runs in a row to be down, 1 run to be up again",
        "priority 110 while it passes, 80 while it fails; at 80 every router with more than 80 takes over",
        "with every check failed the priority is 80",
        "announces each address 5 times, and again after 5 s",
    ] {
        assert!(told.contains(line), "{line} in:\n{told}");
    }
}

#[test]
fn weights_say_what_they_do() {
    let weight = |text: &str| {
        let told = explain(&read(&pair(100, "").replace("weight -30", text)));
        let line = told
            .lines()
            .find(|line| line.contains("  when it") || line.contains("while it passes"));
        line.expect("a line").trim().to_owned()
    };
    assert_eq!(
        weight("weight 20"),
        "priority 120 while it passes, 100 while it fails; at 100 every router with more than 100 takes over"
    );
    assert_eq!(
        weight("weight 20 reverse"),
        "priority 80 while it passes, 100 while it fails; at 80 every router with more than 80 takes over"
    );
    assert_eq!(
        weight("weight 0"),
        "when it fails, FAULT: the addresses are released at once"
    );
    assert_eq!(
        weight("weight 0 reverse"),
        "when it passes, FAULT: the addresses are released at once"
    );
}

#[test]
fn machines_are_compared() {
    let (one, two) = (read(&pair(110, "")), read(&pair(100, "")));
    let compare = |one: &Config, two: &Config| {
        differences(&[
            Node {
                name: "a",
                config: one,
            },
            Node {
                name: "b",
                config: two,
            },
        ])
    };
    assert_eq!(
        compare(&one, &two),
        ["virtual router 51, IPv4: a (110) wins, then b (100)"]
    );
    let odd = read(&pair(
        110,
        "advert_int 2\nvirtual_ipaddress { 10.7.3.203/16 }",
    ));
    let told = compare(&one, &odd);
    assert!(
        told[1].ends_with("a and b have advert_int 1 and 2"),
        "{told:?}"
    );
    assert!(told[2].contains("different virtual addresses"), "{told:?}");
    assert!(
        told[3].contains("a and b have the same priority 110"),
        "{told:?}"
    );
    let other = read(&pair(90, "").replace("router_id 51", "router_id 52"));
    assert_eq!(
        compare(&one, &other),
        [
            "virtual router 51, IPv4: only a has it",
            "virtual router 52, IPv4: only b has it"
        ]
    );
}

#[test]
fn arbiters_say_how_long_a_failover_takes() {
    let quorum = "vrrp_arbiter w {\n target icmp 10.0.0.9\n target tcp 10.0.0.8:80\n interval 0.5\n fall 2\n}\n";
    let etcd = |more: &str| {
        format!("vrrp_arbiter w {{\n etcd http://10.0.0.9:2379\n ttl 6\n {more}\n}}\n")
    };
    let told = |arbiter: &str| {
        let text = pair(100, "track_arbiter { w }");
        explain(&read(&format!("{arbiter}{text}")))
    };
    let rows = [
        (
            quorum.to_owned(),
            "2 of icmp 10.0.0.9, tcp 10.0.0.8:80 must pass, asked every 0.5 s",
        ),
        (
            quorum.to_owned(),
            "a router that is cut off has given up after 1.5 s at most",
        ),
        (quorum.to_owned(), "when it fails, FAULT"),
        (
            etcd(""),
            "a lease of 6 s in etcd (http://10.0.0.9:2379), below the key xvrrp/w",
        ),
        (etcd(""), "within 9.609 s"),
        (
            etcd(""),
            "a MASTER that is cut off has given up after 6 s at most",
        ),
        (
            etcd("on_unreachable keep"),
            "two routers may be MASTER then",
        ),
    ];
    for (arbiter, line) in rows {
        let told = told(&arbiter);
        assert!(told.contains(line), "{line} in:\n{told}");
    }
}

#[test]
fn files_and_processes_are_told() {
    let text = pair(
        100,
        "track_file { points weight 2 }\n track_process { ssh }",
    );
    let definitions = "track_file points {\n file /run/points\n}\n\
                       vrrp_track_process ssh {\n process sshd\n quorum 2\n weight 5\n}\n";
    let told = explain(&read(&format!("{definitions}{text}")));
    for line in [
        "points: the number in /run/points",
        "times 2 is added to the priority; -254 and less mean FAULT",
        "ssh: at least 2 of `sshd`",
        "priority 105 while it passes, 100 while it fails",
    ] {
        assert!(told.contains(line), "{line} in:\n{told}");
    }
}
