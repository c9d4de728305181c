//! A new daemon in the place of the old one, by `xvrrp upgrade` and by the service manager's restart,
//! again and again: no failover, no connection lost, the address answered all the time. `cargo xtask test
//! --full succession` does it until it is believed.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use xvrrp_tests::{
    LONG,
    asker::{Asker, asks_for, longest_wait},
    bpffs::BpfFs,
    capture::{Capture, Seen},
    duel::{self, Duel},
    frames::{Said, arp_question},
    manager::Manager,
    modes::{Cable, Mode},
    ms,
    netns::{Lan, Namespace},
    process::Scratch,
    rounds,
    stream::Stream,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, binary, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VRID: u8 = 51;
const OBSERVER: u8 = 2;
/// The longest time that a probe may wait for an answer; there is one every millisecond.
const UNANSWERED_NS: u64 = 10_000_000;

/// How the next daemon comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Upgrade,
    Restart,
    /// The old one is killed, and the next one is there before its lease is over.
    Crash,
}

/// A master under a service manager, a backup, and an observer.
struct Story {
    lan: Lan,
    scratch: Scratch,
    capture: Capture,
    master: Manager,
    backup: Xvrrp,
}

impl Story {
    fn start(name: &str, interval: f64) -> Self {
        let lan = Lan::new(3);
        let scratch = Scratch::new(name);
        let capture = Capture::start(&lan.bridge, "br0", None);
        // What the checks have said goes along: without it the priority would fall for a moment.
        let check = "vrrp_script always {\n  script /bin/true\n  interval 1\n  weight 50\n}\n";
        let notify = format!(
            "  track_script {{\n    always\n  }}\n  notify_master \"/bin/sh -c 'echo >> {}'\"",
            scratch.path("told").display()
        );
        let config = format!("{check}{}", instance(90, interval, &notify));
        let master = Manager::start(&lan.hosts[0], &scratch, &config);
        wait_for("the master", LONG, || {
            let instance = instance_of(&lan.hosts[0], &master)?;
            let weighed = instance["effective_priority"] == 140;
            (instance["state"] == "MASTER" && weighed).then_some(())
        });
        let backup = Xvrrp::with_config(&lan.hosts[1], &scratch, &instance(100, interval, ""));
        backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
        Self {
            lan,
            scratch,
            capture,
            master,
            backup,
        }
    }

    fn next_daemon(&mut self, way: Way) {
        let host = &self.lan.hosts[0];
        match way {
            Way::Upgrade => {
                let mut command = host.command(&binary());
                command
                    .args(["upgrade", "--run-dir"])
                    .arg(self.master.run_dir());
                let output = command.output().expect("run xvrrp upgrade");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "{output:?}");
                assert!(said.contains("(VI) MASTER -> MASTER"), "{said}");
                self.master.wait_told("READY=1");
            }
            Way::Restart => self.master.restart(host),
            Way::Crash => self.master.crash(host),
        }
        assert!(self.master.kept().is_empty(), "what was read is let go");
    }
}

fn instance_of(host: &Namespace, master: &Manager) -> Option<serde_json::Value> {
    let output = xvrrp_tests::xvrrp::status(host, master.run_dir(), &["--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(status["instances"][0].clone())
}

/// Longest time between two of these.
fn longest(times: impl Iterator<Item = u64> + Clone) -> u64 {
    let next = times.clone().skip(1);
    let gaps = times.zip(next).map(|(one, next)| next - one);
    gaps.max().expect("two of them")
}

fn answers(seen: &[Seen]) -> impl Iterator<Item = u64> + Clone {
    seen.iter().filter_map(|it| match it.said {
        Said::Arp {
            operation: 2,
            sender,
            ..
        } if sender == VIP => Some(it.at_ns),
        _ => None,
    })
}

fn again_and_again(name: &str, interval: f64, way: Way, times: usize) {
    let mut story = Story::start(name, interval);
    let hosts = &story.lan.hosts;
    let stream = Stream::start(&hosts[0], &hosts[2], VIP, Duration::from_millis(2));
    let question = arp_question(story.lan.mac(OBSERVER), Lan::address(OBSERVER), VIP);
    let _asker = Asker::start(&hosts[2], vec![question], Duration::from_millis(1));
    wait_for("a message through the address", LONG, || {
        (stream.shown().echoes > 10).then_some(())
    });
    let before = instance_of(&story.lan.hosts[0], &story.master).expect("a status");
    let begun = story.capture.count();
    for _ in 0..times {
        story.next_daemon(way);
        // A whole interval of the new one before the next comes.
        let from = story.capture.count();
        wait_for("adverts of the new daemon", LONG, || {
            let seen = story.capture.seen_from(from);
            let adverts = seen
                .iter()
                .filter(|it| matches!(it.said, Said::Advert { .. }));
            (adverts.count() >= 2).then_some(())
        });
    }
    let ended = wall_ns();
    wait_for("messages behind the last one", LONG, || {
        let echoes = stream.shown().echoes;
        (echoes > 10 && wall_ns() > ended + 50_000_000).then_some(())
    });

    let seen = story.capture.seen_from(begun);
    let adverts = story.capture.adverts(VRID);
    let of_master = adverts.iter().filter(|it| it.source == Lan::address(0));
    assert!(
        of_master.clone().all(|it| it.priority > 0),
        "it never resigns"
    );
    let first = seen.first().expect("frames").at_ns;
    let priorities = of_master.clone().filter(|it| it.at_ns > first);
    assert!(
        priorities.clone().all(|it| it.priority == 140),
        "what the checks said goes along"
    );
    assert!(
        adverts.iter().all(|it| it.source == Lan::address(0)),
        "the backup never speaks"
    );
    let advert_gap = longest(priorities.map(|it| it.at_ns));
    let questions = seen.iter().filter(|it| asks_for(it, VIP.into()));
    let unanswered = longest_wait(questions.map(|it| it.at_ns), answers(&seen));
    let shown = stream.shown();
    assert_eq!(shown.broken, None, "the connection lives on");
    println!(
        "{way:?} {times} times at {interval} s: a probe waited for an answer for {:.1} ms at most, longest between adverts {:.1} \
         ms, {} messages through one connection, the slowest took {:.1} ms",
        ms(unanswered),
        ms(advert_gap),
        shown.echoes,
        shown.slowest.as_secs_f64() * 1000.0
    );
    assert!(unanswered <= UNANSWERED_NS, "{:.1} ms", ms(unanswered));
    let after = instance_of(&story.lan.hosts[0], &story.master).expect("a status");
    for counter in ["became_master", "released_master"] {
        assert_eq!(after["counters"][counter], before["counters"][counter]);
    }
    for counter in ["adverts_sent", "questions_answered"] {
        let count = |status: &serde_json::Value| status["counters"][counter].as_u64();
        assert!(count(&after) > count(&before), "{counter} goes on");
    }
    let backup = story.backup.instance(&story.lan.hosts[1], "VI");
    let backup = backup.expect("a status");
    assert_eq!(backup["counters"]["became_master"], 0);
    let told = std::fs::read_to_string(story.scratch.path("told")).expect("notify_master ran");
    assert_eq!(told.lines().count(), 1, "nobody is told what is no news");
}

#[test]
fn upgrade_at_a_tenth_of_a_second() {
    again_and_again("upgrade-100", 0.1, Way::Upgrade, rounds(5, 50));
}

#[test]
fn upgrade_at_a_second() {
    again_and_again("upgrade-1000", 1.0, Way::Upgrade, rounds(2, 50));
}

#[test]
fn restart_at_a_tenth_of_a_second() {
    again_and_again("restart-100", 0.1, Way::Restart, rounds(5, 50));
}

#[test]
fn restart_at_a_second() {
    again_and_again("restart-1000", 1.0, Way::Restart, rounds(2, 50));
}

/// Killed, and restarted at once.
#[test]
fn crash_at_a_second() {
    again_and_again("crash-1000", 1.0, Way::Crash, rounds(2, 50));
}

/// Both families, in a sync group, the master and the backup in turn.
#[test]
fn a_group_of_both_families() {
    let duel = Duel::start("upgrade-group", 5);
    duel.wait_master(0);
    let begun = duel.capture.count();
    for number in [0, 1, 0, 1] {
        let host = &duel.lan.hosts[number];
        let output = duel.routers[number].upgrade(host);
        assert!(output.status.success(), "{output:?}");
        let state = if number == 0 { "MASTER" } else { "BACKUP" };
        duel.routers[number].wait_state(host, state, LONG);
        duel.wait_master(0);
    }
    let seen = duel.capture.seen_from(begun);
    let second = seen.iter().position(|it| duel.speaker(it) == Some(1));
    if let Some(at) = second {
        let before: Vec<String> = seen[..=at]
            .iter()
            .filter_map(|it| Some((duel.speaker(it)?, it)))
            .map(|(who, it)| format!("{who} at {:.1} ms", ms(it.at_ns - seen[0].at_ns)))
            .collect();
        panic!("the backup speaks: {before:#?}");
    }
    for (family, address) in [(4, IpAddr::from(duel::VIP)), (6, duel::VIP_V6.into())] {
        let of_family = seen.iter().filter(|it| Duel::is_of(it, family));
        let claims = of_family.filter(|it| duel.claimant(it) == Some(0));
        let questions = seen.iter().filter(|it| asks_for(it, address));
        let wait = longest_wait(questions.map(|it| it.at_ns), claims.map(|it| it.at_ns));
        println!(
            "IPv{family}: a probe waited for an answer for {:.1} ms at most",
            ms(wait)
        );
        assert!(wait <= UNANSWERED_NS, "IPv{family}: {:.1} ms", ms(wait));
    }
    // The backup has not forgotten whom it heard, and takes over when that one goes.
    duel.routers[0]
        .process
        .signal(nix::sys::signal::Signal::SIGSTOP);
    duel.wait_master(1);
}

#[test]
fn pinned_programs_and_a_virtual_mac_in_every_mode() {
    for mode in Mode::KERNEL {
        let cable = Cable::new(mode);
        let scratch = Scratch::new("upgrade-modes");
        let bpffs = BpfFs::mount(&scratch);
        let config = instance(100, 0.1, "  use_vmac\n");
        let router = cable.run(&scratch, mode, &config, &[&bpffs.option()]);
        let host = &cable.lan.hosts[0];
        let before = router.wait_state(host, "MASTER", LONG);
        for _ in 0..3 {
            let output = router.upgrade(host);
            assert!(output.status.success(), "{}: {output:?}", mode.name);
        }
        let after = router.wait_state(host, "MASTER", LONG);
        assert_ne!(before["started_ns"], after["started_ns"]);
        assert_eq!(before["pid"], after["pid"]);
        assert_eq!(after["interfaces"][0]["attached"], mode.name);
        assert_eq!(after["interfaces"][0]["held_by"], "pinned");
        let instance = &after["instances"][0];
        assert_eq!(instance["mac"], "00:00:5e:00:01:33");
        assert_eq!(instance["counters"]["became_master"], 1, "{}", mode.name);
    }
}

#[test]
fn an_upgrade_that_cannot_be_changes_nothing() {
    let lan = Lan::pair();
    let scratch = Scratch::new("upgrade-refused");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    let before = router.wait_state(host, "MASTER", LONG);
    scratch.write(
        &format!("{}.conf", host.name()),
        "vrrp_instance VI {\n  priority 300\n}\n",
    );
    let output = router.upgrade(host);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("priority cannot be 300"), "{said}");
    let after = router.wait_state(host, "MASTER", LONG);
    assert_eq!(before["started_ns"], after["started_ns"]);
    assert_eq!(after["instances"][0]["counters"]["became_master"], 1);
}

/// What the next daemon cannot go on with must not stay behind.
#[test]
fn a_successor_that_fails_leaves_nothing() {
    let lan = Lan::pair();
    let scratch = Scratch::new("successor");
    let host = &lan.hosts[0];
    let mut service = Manager::start(host, &scratch, &instance(100, 0.1, ""));
    wait_for("the master", LONG, || {
        (instance_of(host, &service)?["state"] == "MASTER").then_some(())
    });
    service.leave();
    let has_address = || host.ip("address show dev eth0").contains("10.9.0.100");
    assert!(has_address(), "left to the next one");
    let log = service.start_in_vain(host, "vrrp_instance VI {\n  priority 300\n}\n");
    assert!(!has_address(), "{log}");
    assert!(log.contains("left by the daemon before"), "{log}");
}

/// An instance that the new configuration does not have resigns; the others go on.
#[test]
fn what_changes_resigns_and_the_rest_goes_on() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let capture = Capture::start(&lan.bridge, "br0", None);
    let scratch = Scratch::new("changes");
    let goes = instance(100, 0.1, "").replace("instance VI", "instance GOES");
    let goes = goes
        .replace("router_id 51", "router_id 52")
        .replace("10.9.0.100", "10.9.0.101");
    let router = Xvrrp::with_config(host, &scratch, &(instance(100, 0.1, "") + &goes));
    wait_for("both masters", LONG, || {
        let status = router.status(host)?;
        let all = status["instances"].as_array()?;
        all.iter().all(|it| it["state"] == "MASTER").then_some(())
    });
    // One stays, with another address; the other one goes.
    let more = instance(100, 0.1, "").replace("10.9.0.100/24", "10.9.0.100/24\n    10.9.0.102/24");
    scratch.write(&format!("{}.conf", host.name()), &more);
    let upgraded_ns = wall_ns();
    let output = router.upgrade(host);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("(VI) MASTER -> MASTER"), "{output:?}");
    assert!(said.contains("(GOES) MASTER -> gone"), "{said}");
    let of = |vrid| {
        let adverts = capture.adverts(vrid).into_iter();
        adverts.filter(move |advert| advert.at_ns > upgraded_ns)
    };
    assert!(of(52).any(|advert| advert.priority == 0), "it resigns");
    assert!(of(51).all(|advert| advert.priority == 100));
    wait_for("the new address, announced", LONG, || {
        let seen = capture.seen();
        let new = Ipv4Addr::new(10, 9, 0, 102);
        let mut announced = seen.iter().filter(|it| {
            matches!(it.said, Said::Arp { sender, target, .. } if sender == new && target == new)
        });
        announced.next().map(|_| ())
    });
    let addresses = host.ip("address show dev eth0");
    assert!(
        addresses.contains("10.9.0.102") && !addresses.contains("10.9.0.101"),
        "{addresses}"
    );
}

/// A member that changes takes its sync group along, in order: nobody waits for Master_Down.
#[test]
fn a_group_with_a_member_that_changes_resigns_as_one() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let capture = Capture::start(&lan.bridge, "br0", None);
    let scratch = Scratch::new("group-changes");
    let other = instance(100, 0.1, "").replace("instance VI", "instance OTHER");
    let other = other
        .replace("router_id 51", "router_id 52")
        .replace("10.9.0.100", "10.9.0.101");
    let group = "vrrp_sync_group BOTH {\n  group {\n    VI\n    OTHER\n  }\n}\n";
    let config = |more: &str| instance(100, 0.1, more) + &other + group;
    let route = "  virtual_routes {\n    10.77.0.0/16 via 10.9.0.9 dev eth0\n  }\n";
    let router = Xvrrp::with_config(host, &scratch, &config(route));
    let masters = || {
        let status = router.status(host)?;
        let all = status["instances"].as_array()?;
        all.iter().all(|it| it["state"] == "MASTER").then_some(())
    };
    wait_for("both masters", LONG, masters);
    assert!(host.ip("route show").contains("10.77.0.0/16"));
    scratch.write(&format!("{}.conf", host.name()), &config(""));
    let upgraded_ns = wall_ns();
    let output = router.upgrade(host);
    assert!(output.status.success(), "{output:?}");
    wait_for("both masters again", LONG, masters);
    for vrid in [51, 52] {
        let adverts = capture.adverts(vrid).into_iter();
        let mut after = adverts.filter(|advert| advert.at_ns > upgraded_ns);
        assert!(after.any(|advert| advert.priority == 0), "{vrid} resigns");
    }
    assert!(
        !host.ip("route show").contains("10.77.0.0/16"),
        "nobody else knows it"
    );
}
