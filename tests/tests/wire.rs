//! `xvrrp tap` and `xvrrp observe`: they show what is on the wire, name what is wrong, and send nothing.

use std::{fs, net::Ipv4Addr, process::Output, thread, time::Duration};

use serde_json::Value;
use xvrrp_tests::{
    LONG,
    capture::{Capture, Sender},
    frames::AdvertSpec,
    keepalived::Keepalived,
    netns::{Lan, Namespace},
    process::Scratch,
    spend, wait_for,
    xvrrp::{Xvrrp, binary, instance},
};

const OBSERVER: usize = 3;
const MISCONFIGURED: usize = 2;
const OTHER_VRID: u8 = 52;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

fn run(host: &Namespace, words: &[&str]) -> Output {
    let mut command = host.command(&binary());
    command.args(words).output().expect("run xvrrp")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// xvrrp with VRID 51, keepalived with VRID 52, and somebody who sends adverts for 51 that are wrong.
struct Scene {
    lan: Lan,
    _scratches: [Scratch; 2],
    _ours: Xvrrp,
    _theirs: Keepalived,
}

impl Scene {
    fn set(name: &str) -> Self {
        let lan = Lan::new(4);
        let scratches = [0, 1].map(|number| Scratch::new(&format!("{name}-{number}")));
        let ours = Xvrrp::with_config(&lan.hosts[0], &scratches[0], &instance(150, 0.1, ""));
        let other = instance(120, 0.2, "")
            .replace(
                "virtual_router_id 51",
                &format!("virtual_router_id {OTHER_VRID}"),
            )
            .replace("10.9.0.100", "10.9.0.101");
        let theirs = Keepalived::start(&lan.hosts[1], &scratches[1], &other);
        ours.wait_state(&lan.hosts[0], "MASTER", LONG);
        wait_for("keepalived to be MASTER", LONG, || {
            theirs.log().contains("Entering MASTER STATE").then_some(())
        });
        Self {
            lan,
            _scratches: scratches,
            _ours: ours,
            _theirs: theirs,
        }
    }

    /// Sends adverts for a time that no router counts.
    fn misbehave(&self, time: Duration) {
        let source = Lan::address(u8::try_from(MISCONFIGURED).expect("a small number"));
        let mac = self
            .lan
            .mac(u8::try_from(MISCONFIGURED).expect("a small number"));
        let mut spec = AdvertSpec::new(mac, source, 51, 100, VIP);
        spec.interval_cs = 10;
        spec.ttl = 64;
        let frame = spec.build();
        let sender = Sender::new(&self.lan.hosts[MISCONFIGURED]);
        for _ in 0..time.as_millis() / 100 {
            sender.send(&frame);
            spend(Duration::from_millis(100));
        }
    }
}

#[test]
fn observe_finds_everybody_and_what_is_wrong() {
    let scene = Scene::set("observe");
    let observer = &scene.lan.hosts[OBSERVER];
    let capture = Capture::every_frame(&scene.lan.bridge, "br0");
    let output = thread::scope(|scope| {
        scope.spawn(|| scene.misbehave(Duration::from_secs(2)));
        run(
            observer,
            &["observe", "--iface", "eth0", "--seconds", "2", "--json"],
        )
    });
    assert_eq!(
        output.status.code(),
        Some(1),
        "something is wrong: {output:?}"
    );
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = answer["virtual_routers"].as_array().expect("a list");
    let of = |vrid: u64| {
        all.iter()
            .find(|it| it["vrid"] == vrid)
            .expect("a virtual router")
    };
    let router = |vrid: u64, source: &str| of(vrid)["routers"][source].clone();
    let ours = router(51, "10.9.0.1");
    assert_eq!(
        (&ours["priority"], &ours["interval_cs"]),
        (&150.into(), &10.into())
    );
    assert_eq!(ours["addresses"], serde_json::json!(["10.9.0.100"]));
    let theirs = router(u64::from(OTHER_VRID), "10.9.0.2");
    assert_eq!(
        (&theirs["priority"], &theirs["interval_cs"]),
        (&120.into(), &20.into())
    );
    assert!(
        theirs["adverts"].as_u64().is_some_and(|count| count >= 5),
        "{theirs}"
    );
    let findings: Vec<&str> = answer["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["what"].as_str())
        .collect();
    let rejected = findings
        .iter()
        .find(|it| it.contains("adverts of 10.9.0.3 are rejected"));
    assert!(
        rejected.is_some_and(|it| it.contains("TTL")),
        "{findings:?}"
    );
    // Whoever observes is silent.
    let mac = scene
        .lan
        .mac(u8::try_from(OBSERVER).expect("a small number"));
    let is_word = |frame: &[u8]| {
        let kind = frame.get(12..14).unwrap_or_default();
        // ARP, IGMP, VRRP.
        kind == [0x08, 0x06] || (kind == [0x08, 0x00] && matches!(frame.get(23), Some(2 | 112)))
    };
    let seen = capture.seen();
    let own = seen
        .iter()
        .filter(|it| it.frame.get(6..12) == Some(mac.as_slice()) && is_word(&it.frame));
    assert_eq!(own.count(), 0, "words of the observer");
    let shown = text(&run(
        observer,
        &["observe", "--iface", "eth0", "--seconds", "1"],
    ));
    assert!(
        shown.contains("10.9.0.1") && !shown.contains("rejected"),
        "{shown}"
    );
    let output = run(observer, &["observe", "--iface", "eth7", "--seconds", "1"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("there is no interface eth7"), "{errors}");
}

/// Two that do not hear each other are both MASTER.
#[test]
fn observe_finds_two_masters() {
    let lan = Lan::new(4);
    let capture = Capture::start(&lan.bridge, "br0", None);
    for host in [0, 1] {
        capture.excuse(51, Lan::address(host), "it is made deaf");
    }
    let scratches = [0, 1].map(|number| Scratch::new(&format!("split-{number}")));
    // Each takes the other's adverts for those of somebody who is not in its list.
    let deaf = " accept_from {\n  10.9.0.99\n }\n";
    let routers: Vec<Xvrrp> = [(0, 150), (1, 100)]
        .into_iter()
        .map(|(number, priority): (usize, u8)| {
            let config = instance(priority, 0.1, deaf);
            Xvrrp::with_config(&lan.hosts[number], &scratches[number], &config)
        })
        .collect();
    for (router, host) in routers.iter().zip(&lan.hosts) {
        router.wait_state(host, "MASTER", LONG);
    }
    let observer = &lan.hosts[OBSERVER];
    let shown = text(&run(
        observer,
        &["observe", "--iface", "eth0", "--seconds", "1"],
    ));
    assert!(
        shown.contains("10.9.0.1 (prio 150) and 10.9.0.2 (prio 100) are MASTER at the same time"),
        "{shown}"
    );
}

#[test]
fn tap_shows_every_advert_and_writes_it_down() {
    let scene = Scene::set("tap");
    let observer = &scene.lan.hosts[OBSERVER];
    let scratch = Scratch::new("tap");
    let pcap = scratch.path("adverts.pcap");
    let output = thread::scope(|scope| {
        scope.spawn(|| scene.misbehave(Duration::from_secs(1)));
        let path = pcap.display().to_string();
        run(
            observer,
            &[
                "tap",
                "--iface",
                "eth0",
                "--seconds",
                "1.5",
                "--pcap",
                &path,
            ],
        )
    });
    let shown = text(&output);
    assert!(output.status.success(), "{output:?}");
    let has = |words: &[&str]| {
        shown
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(
        has(&[
            "10.9.0.1 > 224.0.0.18 VRRPv3 VRID 51 prio 150, every 0.1 s, 10.9.0.100",
            "[ok"
        ]),
        "{shown}"
    );
    assert!(
        has(&["10.9.0.2 > 224.0.0.18", "VRID 52", "prio 120"]),
        "{shown}"
    );
    assert!(
        has(&["10.9.0.3 >", "VRID 51", "[REJECTED: ttl 64]"]),
        "{shown}"
    );
    // A file of nanoseconds and Ethernet frames, as many as lines.
    let file = fs::read(&pcap).expect("the pcap file");
    let word = |at: usize| {
        let bytes = file.get(at..at + 4).expect("a word");
        usize::try_from(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .expect("a length")
    };
    assert_eq!((word(0), word(20)), (0xa1b2_3c4d, 1));
    let mut at = 24;
    let mut frames = 0;
    while at < file.len() {
        let length = word(at + 8);
        assert_eq!(length, word(at + 12), "nothing is cut off");
        at += 16 + length;
        frames += 1;
    }
    assert_eq!(frames, shown.lines().count());
    // One virtual router, and so many.
    let one = text(&run(
        observer,
        &["tap", "-i", "eth0", "--vrid", "52", "-n", "3", "--json"],
    ));
    let vrids: Vec<u64> = one
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["vrid"].as_u64())
        .collect();
    assert_eq!(vrids, [52; 3]);
}
