//! The main job, black box: one MASTER, the address on its interface, ARP answered once by the
//! kernel program, and the next router taking over when it goes.

use std::{net::Ipv4Addr, time::Duration};

use xvrrp_tests::{
    capture::{Capture, Sender},
    frames::{AdvertSpec, Said, arp_question},
    ms,
    netns::Lan,
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const DEFAULT_VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 213);
const LONG: Duration = Duration::from_secs(15);
const MS: u64 = 1_000_000;

fn kernel_counter(status: &serde_json::Value, name: &str) -> u64 {
    status["interfaces"][0]["kernel"][name]
        .as_u64()
        .expect("a kernel counter")
}

/// Asks who has the address and returns the MACs of everybody who answers within 300 ms.
fn who_has(lan: &Lan, client: u8, vip: Ipv4Addr) -> Vec<[u8; 6]> {
    let host = &lan.hosts[usize::from(client)];
    let capture = Capture::start(host, "eth0", None);
    Sender::new(host).send(&arp_question(lan.mac(client), Lan::address(client), vip));
    let answers = || -> Vec<[u8; 6]> {
        let seen = capture.seen();
        seen.iter()
            .filter_map(|entry| match entry.said {
                Said::Arp {
                    operation: 2,
                    sender_mac,
                    sender,
                    ..
                } if sender == vip => Some(sender_mac),
                _ => None,
            })
            .collect()
    };
    // A second answer, if there is one, comes from a router as near as the first.
    let end = wall_ns() + 300 * MS;
    wait_for("the time for answers", LONG, || {
        (wall_ns() >= end).then_some(())
    });
    answers()
}

#[test]
fn the_embedded_default_elects_one_master_and_fails_over() {
    let lan = Lan::new(3);
    let scratch = Scratch::new("default");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let mut routers: Vec<Xvrrp> = (0..2)
        .map(|host| Xvrrp::run(&lan.hosts[host], &scratch, &["--iface", "eth0"]))
        .collect();
    let master = wait_for("a master", LONG, || {
        (0..2).find(|&host| {
            let status = routers[host].status(&lan.hosts[host]);
            status.is_some_and(|status| status["instances"][0]["state"] == "MASTER")
        })
    });
    let backup = 1 - master;
    routers[backup].wait_state(&lan.hosts[backup], "BACKUP", LONG);

    let shown = lan.hosts[master].ip("address show dev eth0");
    assert!(shown.contains("inet 192.0.2.213/32"), "{shown}");
    assert!(
        !lan.hosts[backup]
            .ip("address show dev eth0")
            .contains("192.0.2.213")
    );

    let number = u8::try_from(master).expect("small");
    let mac = lan.mac(number);
    let announced = |entry: &xvrrp_tests::capture::Seen| {
        matches!(entry.said, Said::Arp { sender, target, sender_mac, .. }
            if sender == DEFAULT_VIP && target == DEFAULT_VIP && sender_mac == mac)
    };
    wait_for("a gratuitous ARP", LONG, || {
        capture.seen().iter().find(|e| announced(e)).cloned()
    });

    let status =
        |routers: &[Xvrrp], host: usize| routers[host].status(&lan.hosts[host]).expect("a status");
    let before = kernel_counter(&status(&routers, master), "arp_answered");
    assert_eq!(
        who_has(&lan, 2, DEFAULT_VIP),
        [mac],
        "one answer, from the master"
    );
    let after = status(&routers, master);
    assert_eq!(
        kernel_counter(&after, "arp_answered"),
        before + 1,
        "by the kernel program"
    );
    assert_eq!(kernel_counter(&status(&routers, backup), "arp_silenced"), 1);

    let other = Lan::address(u8::try_from(backup).expect("small"));
    routers[master].kill();
    let died = capture
        .last_advert(213, Lan::address(number))
        .expect("adverts of the master");
    let first = capture.wait_advert("the takeover", 213, LONG, |advert| advert.source == other);
    println!(
        "embedded default: takeover {:.1} ms after the last advert",
        ms(first.at_ns - died.at_ns)
    );
    routers[backup].wait_state(&lan.hosts[backup], "MASTER", LONG);
    let shown = lan.hosts[backup].ip("address show dev eth0");
    assert!(shown.contains("192.0.2.213"), "{shown}");

    // The dead one comes back and finds its place: behind the other, without the address.
    routers[master] = Xvrrp::run(&lan.hosts[master], &scratch, &["--iface", "eth0"]);
    routers[master].wait_state(&lan.hosts[master], "BACKUP", LONG);
    wait_for("the address to be gone", LONG, || {
        let shown = lan.hosts[master].ip("address show dev eth0");
        (!shown.contains("192.0.2.213")).then_some(())
    });
    routers[backup].wait_state(&lan.hosts[backup], "MASTER", LONG);
}

#[test]
fn strangers_are_avoided_and_yielded_to() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("strangers");
    let (mac, address) = (lan.mac(1), Lan::address(1));
    let stranger = Sender::new(&lan.hosts[1]);
    let on = |vrid, version| {
        let spec = AdvertSpec::new(mac, address, vrid, 50, Ipv4Addr::new(10, 9, 0, 77));
        AdvertSpec { version, ..spec }.build()
    };
    let mut router = Xvrrp::run(
        &lan.hosts[0],
        &scratch,
        &["--iface", "eth0", "--advert-int", "0.1"],
    );
    // While it listens, strangers use 213 with version 2 and 214 with version 3.
    wait_for("the daemon to have listened", LONG, || {
        stranger.send(&on(213, 2));
        stranger.send(&on(214, 3));
        router.process.log().contains("VRID 215").then_some(())
    });
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let capture = Capture::start(&lan.bridge, "br0", None);
    capture.wait_advert("adverts on 215", 215, LONG, |advert| advert.priority == 100);
    // A stranger appears on 215, with a lower priority: the default still makes room.
    stranger.send(&on(215, 3));
    let resigned = capture.wait_advert("a resignation", 215, LONG, |advert| advert.priority == 0);
    router.wait_state(&lan.hosts[0], "FAULT", LONG);
    assert!(
        !lan.hosts[0]
            .ip("address show dev eth0")
            .contains("192.0.2.213")
    );
    let later = capture
        .adverts(215)
        .into_iter()
        .filter(|advert| advert.source == Lan::address(0) && advert.at_ns > resigned.at_ns);
    assert_eq!(later.count(), 0, "for good");
    router.terminate();
}

#[test]
fn labels_and_secondaries_look_as_linux_shows_them() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("labels");
    let config = "vrrp_instance VI {\n state BACKUP\n version 3\n interface eth0\n virtual_router_id 7\n \
                  priority 100\n advert_int 0.1\n virtual_ipaddress {\n  10.7.3.202/16 brd +\n  \
                  10.7.3.201/16 dev eth0 label eth0:db\n  10.7.3.200/16 scope global\n  10.7.4.1/32 scope link\n }\n}\n";
    let mut router = Xvrrp::with_config(&lan.hosts[0], &scratch, config);
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let shown = lan.hosts[0].ip("address show dev eth0");
    let lines: Vec<&str> = shown
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("inet 10.7."))
        .collect();
    assert_eq!(
        lines,
        [
            // The kernel lists primary addresses of a narrower scope first.
            "inet 10.7.4.1/32 scope link eth0",
            "inet 10.7.3.202/16 brd 10.7.255.255 scope global eth0",
            "inet 10.7.3.201/16 scope global secondary eth0:db",
            "inet 10.7.3.200/16 scope global secondary eth0",
        ]
    );
    router.terminate();
    assert!(
        !lan.hosts[0].ip("address show dev eth0").contains("10.7."),
        "all removed"
    );
}

#[test]
fn a_stopped_master_hands_over_after_skew() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("handover");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let mut high = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(200, 0.5, ""));
    let low = Xvrrp::with_config(&lan.hosts[1], &scratch, &instance(100, 0.5, ""));
    high.wait_state(&lan.hosts[0], "MASTER", LONG);
    low.wait_state(&lan.hosts[1], "BACKUP", LONG);
    capture.wait_advert("a second advert", 51, LONG, |advert| advert.priority == 200);
    high.terminate();
    let adverts = capture.adverts(51);
    let last = adverts
        .iter()
        .rfind(|advert| advert.source == Lan::address(0))
        .expect("adverts");
    assert_eq!(
        last.priority, 0,
        "the last word of a master is its resignation"
    );
    assert!(
        !lan.hosts[0]
            .ip("address show dev eth0")
            .contains("10.9.0.100")
    );
    let first = capture.wait_advert("the takeover", 51, LONG, |advert| {
        advert.source == Lan::address(1)
    });
    let waited = first.at_ns - last.at_ns;
    let skew = (256 - 100) * 500 * MS / 256;
    println!(
        "priority 0 handover: {:.2} ms, skew {:.2} ms",
        ms(waited),
        ms(skew)
    );
    assert!(
        waited + MS >= skew && waited <= skew + 50 * MS,
        "{} ms",
        ms(waited)
    );
    low.wait_state(&lan.hosts[1], "MASTER", LONG);
}

#[test]
fn carrier_loss_is_a_fault_and_ends() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("carrier");
    let high = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(200, 0.1, ""));
    let low = Xvrrp::with_config(&lan.hosts[1], &scratch, &instance(100, 0.1, ""));
    high.wait_state(&lan.hosts[0], "MASTER", LONG);
    low.wait_state(&lan.hosts[1], "BACKUP", LONG);
    lan.cable(0, false);
    let status = high.wait_state(&lan.hosts[0], "FAULT", LONG);
    let fault = status["instances"][0]["faults"][0]
        .as_str()
        .expect("a reason");
    assert!(fault.contains("carrier"), "{fault}");
    assert!(
        !lan.hosts[0]
            .ip("address show dev eth0")
            .contains("10.9.0.100")
    );
    low.wait_state(&lan.hosts[1], "MASTER", LONG);
    lan.cable(0, true);
    high.wait_state(&lan.hosts[0], "MASTER", LONG);
    low.wait_state(&lan.hosts[1], "BACKUP", LONG);
}

/// A steady 110 holds down a backup at 100 until a check adds 20.
#[test]
fn a_priority_that_rises_preempts_a_steady_master() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("rising");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let flag = scratch.path("flag");
    let check = format!(
        "vrrp_script flag {{\n script \"/usr/bin/test -e {}\"\n interval 0.05\n weight 20\n}}\n",
        flag.display()
    );
    let master = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(110, 0.2, ""));
    master.wait_state(&lan.hosts[0], "MASTER", LONG);
    let config = check + &instance(100, 0.2, " track_script {\n  flag\n }\n");
    let rising = Xvrrp::with_config(&lan.hosts[1], &scratch, &config);
    rising.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let steady = capture.adverts(51).len();
    wait_for("ten steady adverts", LONG, || {
        (capture.adverts(51).len() >= steady + 10).then_some(())
    });
    assert!(
        capture
            .adverts(51)
            .iter()
            .all(|advert| advert.source == Lan::address(0))
    );

    scratch.write("flag", "");
    let noticed = wait_for("priority 120", LONG, || {
        let entry = rising.instance(&lan.hosts[1], "VI")?;
        (entry["effective_priority"] == 120).then(wall_ns)
    });
    let first = capture.wait_advert("the preemption", 51, LONG, |advert| advert.priority == 120);
    let down = 3 * 200 * MS + (256 - 120) * 200 * MS / 256;
    let took = first.at_ns.saturating_sub(noticed);
    println!(
        "preempted {:.1} ms after the priority rose, Master_Down {:.1} ms",
        ms(took),
        ms(down)
    );
    assert!(took <= down + 50 * MS);
    master.wait_state(&lan.hosts[0], "BACKUP", LONG);
    let second = capture
        .adverts(51)
        .into_iter()
        .filter(|advert| advert.source == Lan::address(0) && advert.priority > 0)
        .filter(|advert| advert.at_ns > first.at_ns + 200 * MS);
    assert_eq!(second.count(), 0, "the loser is silent");
}

#[test]
fn preempt_delay_runs_out_and_preempts() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("delay");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let low = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 0.2, ""));
    low.wait_state(&lan.hosts[0], "MASTER", LONG);
    let high = Xvrrp::with_config(
        &lan.hosts[1],
        &scratch,
        &instance(200, 0.2, " preempt_delay 3\n"),
    );
    high.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let started = wall_ns();
    let first = capture.wait_advert("the preemption", 51, LONG, |advert| advert.priority == 200);
    let took = first.at_ns - started;
    let down = 3 * 200 * MS + (256 - 200) * 200 * MS / 256;
    println!("preempt_delay 3 s: preempted after {:.1} ms", ms(took));
    // The delay starts with the first advert heard, up to an interval after the start.
    assert!(
        took >= 3000 * MS - 100 * MS,
        "not before the delay: {}",
        ms(took)
    );
    assert!(
        took <= 3000 * MS + 200 * MS + down + 50 * MS,
        "within Master_Down of it: {}",
        ms(took)
    );
}

#[test]
fn a_backup_sleeps_while_adverts_are_steady() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("steady");
    let backup = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 1.0, ""));
    backup.wait_state(&lan.hosts[0], "BACKUP", LONG);
    let sender = Sender::new(&lan.hosts[1]);
    let spec = AdvertSpec::new(lan.mac(1), Lan::address(1), 51, 200, VIP);
    let frame = spec.build();
    sender.send(&frame);
    wait_for("the first advert", LONG, || {
        let entry = backup.instance(&lan.hosts[0], "VI")?;
        (entry["counters"]["adverts_accepted"] == 1).then_some(())
    });
    let status = backup.status(&lan.hosts[0]).expect("a status");
    let rings = kernel_counter(&status, "doorbells");
    // What the start has left to do is done.
    wait_for("rest", LONG, || {
        let before = voluntary_switches(backup.process.pid());
        xvrrp_tests::spend(Duration::from_millis(300));
        (voluntary_switches(backup.process.pid()) == before).then_some(())
    });
    let before = voluntary_switches(backup.process.pid());
    let start = wall_ns();
    for number in 1..=1000_u64 {
        wait_for("the next 10 ms", LONG, || {
            (wall_ns() >= start + number * 10 * MS).then_some(())
        });
        sender.send(&frame);
    }
    let took = wall_ns() - start;
    let switches = voluntary_switches(backup.process.pid()) - before;
    let status = backup.status(&lan.hosts[0]).expect("a status");
    let counters = &status["instances"][0]["counters"];
    assert_eq!(counters["adverts_accepted"], 1001);
    assert_eq!(kernel_counter(&status, "doorbells"), rings, "no doorbell");
    let downs = took / 3_609_375_000 + 1;
    println!(
        "1000 adverts in {:.1} s: {switches} voluntary switches, {downs} Master_Down",
        ms(took) / 1000.0
    );
    assert!(
        switches <= downs,
        "{switches} wake-ups in {downs} Master_Down"
    );
}

/// Voluntary context switches of every thread of a process.
fn voluntary_switches(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .filter_map(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt_switches"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

#[test]
fn two_daemons_coexist_and_a_second_in_one_namespace_is_refused() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("coexist");
    let first = Xvrrp::with_default_options(&lan.hosts[0], &scratch, &instance(200, 0.1, ""));
    let second = Xvrrp::with_default_options(&lan.hosts[1], &scratch, &instance(100, 0.1, ""));
    first.wait_state(&lan.hosts[0], "MASTER", LONG);
    second.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let pid = |router: &Xvrrp, host: usize| {
        router.status(&lan.hosts[host]).expect("a status")["pid"].as_u64()
    };
    assert_eq!(pid(&first, 0), Some(u64::from(first.process.pid())));
    assert_eq!(pid(&second, 1), Some(u64::from(second.process.pid())));
    let mut third = Xvrrp::with_default_options(&lan.hosts[0], &scratch, &instance(50, 0.1, ""));
    assert!(!third.process.wait(LONG).success());
    let log = third.process.log();
    assert!(
        log.contains("another xvrrp") && log.contains(&first.process.pid().to_string()),
        "{log}"
    );
    assert_eq!(
        pid(&first, 0),
        Some(u64::from(first.process.pid())),
        "the first goes on"
    );
}

#[test]
fn notify_scripts_get_keepalived_s_arguments_in_order() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("notify");
    let out = scratch.path("calls");
    let script = scratch.write(
        "notify.sh",
        &format!("#!/bin/sh\necho \"$*\" >> {}\n", out.display()),
    );
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).expect("make it executable");
    let script = script.display();
    let more = format!(
        " notify_master \"{script} m\"\n notify_backup \"{script} b\" root\n notify_fault \"{script} f\"\n \
         notify_stop \"{script} s\"\n notify {script}\n"
    );
    let mut router = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 0.1, &more));
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    lan.cable(0, false);
    router.wait_state(&lan.hosts[0], "FAULT", LONG);
    lan.cable(0, true);
    router.wait_state(&lan.hosts[0], "MASTER", LONG);
    router.terminate();
    let calls = std::fs::read_to_string(&out).expect("calls");
    let expected = [
        "b",
        "INSTANCE VI BACKUP 100",
        "m",
        "INSTANCE VI MASTER 100",
        "f",
        "INSTANCE VI FAULT 100",
        "b",
        "INSTANCE VI BACKUP 100",
        "m",
        "INSTANCE VI MASTER 100",
        "s",
        "INSTANCE VI STOP 100",
    ];
    assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
}
