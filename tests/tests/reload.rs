//! A changed configuration while everything runs: what differs changes, and nothing else does.

use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use serde_json::Value;
use xvrrp_tests::{
    LONG,
    capture::Capture,
    frames::Said,
    ms,
    netns::{Lan, Namespace},
    process::Scratch,
    rounds, spend, wait_for,
    xvrrp::{Xvrrp, binary, instances},
};

const INTERVAL: f64 = 0.1;

fn one(name: &str, vrid: u8, priority: u8, addresses: &[&str], more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n version 3\n interface eth0\n virtual_router_id {vrid}\n priority {priority}\n \
         advert_int {INTERVAL}\n virtual_ipaddress {{\n{}\n}}\n{more}\n}}\n",
        addresses.join("\n")
    )
}

fn a() -> String {
    one("A", 1, 200, &["10.9.1.1/24"], "")
}

fn b(priority: u8) -> String {
    one("B", 2, priority, &["10.9.1.2/24"], "")
}

fn wait_master(router: &Xvrrp, host: &Namespace, name: &str) -> Value {
    wait_for(format!("{name} to be MASTER"), LONG, || {
        let instance = router.instance(host, name)?;
        (instance["state"] == "MASTER").then_some(instance)
    })
}

fn became_master(router: &Xvrrp, host: &Namespace, name: &str) -> u64 {
    let instance = router.instance(host, name).expect("the instance");
    instance["counters"]["became_master"]
        .as_u64()
        .expect("a count")
}

fn has(host: &Namespace, address: &str) -> bool {
    host.ip("-4 address show dev eth0")
        .contains(&format!("inet {address}/"))
}

/// The longest silence of a virtual router, in milliseconds.
fn longest_gap(capture: &Capture, vrid: u8) -> f64 {
    let adverts = capture.adverts(vrid);
    assert!(adverts.len() > 3, "adverts of {vrid}");
    let gaps = adverts.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns);
    ms(gaps.max().expect("a gap"))
}

#[test]
fn what_differs_changes_and_nothing_else() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload");
    let told = scratch.path("told");
    let notify = format!(
        "notify \"/bin/sh -c 'echo $1 $2 $3 $4 >> {}' sh\"",
        told.display()
    );
    let c = one("C", 3, 200, &["10.9.1.3/24"], &notify);
    let router = Xvrrp::with_config(host, &scratch, &[a(), b(200), c.clone()].concat());
    for name in ["A", "B", "C"] {
        wait_master(&router, host, name);
    }
    let capture = Capture::start(&lan.bridge, "br0", None);
    let reload = |config: &[String]| router.reloads(host, &scratch, &config.concat());

    assert_eq!(reload(&[a(), b(200), c.clone()]), "3 instances unchanged\n");

    let wider = one("A", 1, 200, &["10.9.1.1/24", "10.9.1.11/24"], "");
    assert_eq!(
        reload(&[wider, b(200), c.clone()]),
        "2 instances unchanged, changed A\n"
    );
    assert!(has(host, "10.9.1.11") && has(host, "10.9.1.1"));
    let new = Ipv4Addr::new(10, 9, 1, 11);
    wait_for("the new address to be announced", LONG, || {
        let seen = capture.seen();
        let says = |said: &Said| matches!(said, Said::Arp { sender, target, .. } if *sender == new && *target == new);
        seen.iter().any(|it| says(&it.said)).then_some(())
    });
    reload(&[a(), b(200), c.clone()]);
    assert!(!has(host, "10.9.1.11") && has(host, "10.9.1.1"));

    reload(&[a(), b(150), c.clone()]);
    capture.wait_advert("the lower priority", 2, LONG, |advert| {
        advert.priority == 150
    });

    let d = one("D", 4, 200, &["10.9.1.4/24"], "");
    assert_eq!(
        reload(&[a(), b(150), d]),
        "2 instances unchanged, added D, removed C\n"
    );
    capture.wait_advert("the resignation", 3, LONG, |advert| advert.priority == 0);
    assert!(!has(host, "10.9.1.3"));
    wait_master(&router, host, "D");
    wait_for("the script of what was removed", LONG, || {
        let text = std::fs::read_to_string(&told).ok()?;
        text.contains("INSTANCE C FAULT 200").then_some(())
    });

    for (name, vrid) in [("A", 1), ("B", 2)] {
        assert_eq!(became_master(&router, host, name), 1, "{name}");
        let gap = longest_gap(&capture, vrid);
        assert!(gap < 200.0, "{name}: {gap} ms");
    }
    let status = router.status(host).expect("a status");
    assert_eq!(status["reloads"]["applied"], 5);
}

#[test]
fn what_is_refused_changes_nothing() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-refused");
    let router = Xvrrp::with_config(host, &scratch, &[a(), b(200)].concat());
    wait_master(&router, host, "A");
    wait_master(&router, host, "B");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let elsewhere = a().replace("eth0", "eth9");
    let rows = [
        (
            a().replace("priority 200", "priority 900"),
            4,
            ":5:11: error: priority cannot be 900",
        ),
        (
            a().replace("priority", "prioritie"),
            4,
            "unknown keyword prioritie (did you mean priority?",
        ),
        (
            a().replace("router_id 1", "router_id 999"),
            3,
            "virtual_router_id cannot be 999",
        ),
        ("vrrp_instance A {\n".to_owned(), 3, "never closed"),
        (String::new(), 3, ""),
        (elsewhere, 3, "(A) there is no interface eth9"),
        (
            ["net_namespace other\n", &a()].concat(),
            3,
            "net_namespace cannot be changed",
        ),
    ];
    let count = rounds(14, 100);
    for (config, code, what) in rows.iter().cycle().take(count) {
        // What is whole beside it does not count either.
        let config = if *code == 4 {
            [config.clone(), b(200)].concat()
        } else {
            config.clone()
        };
        let output = router.reload(host, &scratch, &config);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{config}\n{said}");
        assert!(said.contains(what), "{what} in {said}");
    }
    let before = capture.adverts(2).len();
    wait_for("more adverts", LONG, || {
        (capture.adverts(2).len() > before + 4).then_some(())
    });
    for (name, vrid) in [("A", 1), ("B", 2)] {
        let instance = wait_master(&router, host, name);
        assert_eq!(instance["base_priority"], 200);
        assert_eq!(became_master(&router, host, name), 1, "{name}");
        let gap = longest_gap(&capture, vrid);
        assert!(gap < 200.0, "{name}: {gap} ms");
    }
    let status = router.status(host).expect("a status");
    assert_eq!(status["reloads"]["applied"], 0);
    assert_eq!(status["reloads"]["refused"], count);
    println!("{count} broken files changed nothing");
}

/// Whoever waits for somebody to write into a FIFO waits for ever.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-fifo");
    let mut router = Xvrrp::with_config(host, &scratch, &a());
    wait_master(&router, host, "A");
    let path = scratch.path(&format!("{}.conf", host.name()));
    std::fs::remove_file(&path).expect("remove the file");
    mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
    let refused = router.reload_as_it_is(host);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("is no regular file; nothing is changed"),
        "{said}"
    );
    std::fs::remove_file(&path).expect("remove the FIFO");
    router.reloads(host, &scratch, &a());
    assert_eq!(became_master(&router, host, "A"), 1);
    router.terminate();
}

/// A log that nobody reads any longer ends no election.
#[test]
fn a_log_without_a_reader_ends_nobody() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-log");
    let config = scratch.write("a.conf", &a());
    let run_dir = scratch.path("run").display().to_string();
    let mut command = host.command(&binary());
    command
        .args(["run", "--run-dir", &run_dir, "--bpffs"])
        .arg(scratch.path("none"));
    command.arg("--config").arg(config).stderr(Stdio::piped());
    let mut daemon = command.spawn().expect("start it");
    let mut log = BufReader::new(daemon.stderr.take().expect("its log")).lines();
    let is_master = |line: &std::io::Result<String>| {
        line.as_ref()
            .is_ok_and(|line| line.contains("Entering MASTER STATE"))
    };
    assert!(log.any(|line| is_master(&line)));
    drop(log);
    for _ in 0..3 {
        let mut reload = host.command(&binary());
        let done = reload
            .args(["reload", "--run-dir", &run_dir])
            .output()
            .expect("run xvrrp reload");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    assert!(daemon.try_wait().expect("its state").is_none());
    let pid = i32::try_from(daemon.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("end it");
    assert!(daemon.wait().expect("its end").success());
}

#[test]
fn a_thousand_reloads_disturb_nobody() {
    const SHARED: u8 = 49;
    let lan = Lan::new(2);
    let scratch = Scratch::new("reload-thousand");
    let shared = |priority| instances(SHARED, priority, 0.01, "");
    let last =
        |vrid: u8, address: &str| one("LAST", vrid, 200, &[address], "").replace("0.1\n", "0.01\n");
    // The one that they do not share: another address, then another router altogether.
    let files = [
        [shared(200), last(200, "10.9.2.1/32")].concat(),
        [shared(200), last(200, "10.9.2.2/32")].concat(),
        [shared(200), last(201, "10.9.2.1/32")].concat(),
    ];
    let master = Xvrrp::with_config(&lan.hosts[0], &scratch, &files[0]);
    for vrid in [1, SHARED] {
        wait_master(&master, &lan.hosts[0], &format!("V{vrid}"));
    }
    wait_master(&master, &lan.hosts[0], "LAST");
    let backup = Xvrrp::with_config(&lan.hosts[1], &scratch, &shared(100));
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let capture = Capture::start(&lan.bridge, "br0", None);
    let count = rounds(100, 1000);
    for file in files.iter().cycle().skip(1).take(count) {
        master.reloads(&lan.hosts[0], &scratch, file);
    }
    let mut longest = 0.0_f64;
    for vrid in 1..=SHARED {
        longest = longest.max(longest_gap(&capture, vrid));
        let name = format!("V{vrid}");
        assert_eq!(became_master(&master, &lan.hosts[0], &name), 1, "{name}");
        assert_eq!(became_master(&backup, &lan.hosts[1], &name), 0, "{name}");
    }
    let status = master.status(&lan.hosts[0]).expect("a status");
    println!(
        "{count} reloads, {SHARED} instances that all files share: no transition, longest gap between \
         adverts {longest:.1} ms (advert_int 10 ms); the last reload took {:.1} ms",
        1000.0 * status["reloads"]["last_seconds"].as_f64().expect("a time")
    );
    assert!(longest <= 30.0, "{longest} ms");
}

#[test]
fn a_priority_that_is_raised_takes_over() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("reload-priority");
    let master = Xvrrp::with_config(&lan.hosts[0], &scratch, &b(150));
    wait_master(&master, &lan.hosts[0], "B");
    let nopreempt = |priority| one("B", 2, priority, &["10.9.1.2/24"], "nopreempt");
    let backup = Xvrrp::with_config(&lan.hosts[1], &scratch, &nopreempt(200));
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let capture = Capture::start(&lan.bridge, "br0", None);
    let text = |config: &str| {
        scratch.write(&format!("{}.conf", lan.hosts[1].name()), config);
        backup.process.signal(Signal::SIGHUP);
    };
    // By signal this time.
    text(&nopreempt(220));
    wait_for("the reload", LONG, || {
        let status = backup.status(&lan.hosts[1])?;
        (status["reloads"]["applied"] == 1).then_some(())
    });
    let before = capture.adverts(2).len();
    wait_for("more adverts", LONG, || {
        (capture.adverts(2).len() > before + 8).then_some(())
    });
    assert_eq!(
        became_master(&backup, &lan.hosts[1], "B"),
        0,
        "nopreempt holds"
    );
    text(&b(220));
    wait_master(&backup, &lan.hosts[1], "B");
    wait_for("the other to give way", LONG, || {
        let instance = master.instance(&lan.hosts[0], "B")?;
        (instance["state"] == "BACKUP").then_some(())
    });
}

/// Whoever knows the old interval only would take a master for dead that simply slows down.
#[test]
fn a_master_that_slows_down_is_not_taken_for_dead() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("reload-slower");
    let every = |seconds: &str, priority| b(priority).replace("0.1\n", &format!("{seconds}\n"));
    let master = Xvrrp::with_config(&lan.hosts[0], &scratch, &every("0.1", 200));
    wait_master(&master, &lan.hosts[0], "B");
    let backup = Xvrrp::with_config(&lan.hosts[1], &scratch, &every("0.1", 100));
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let capture = Capture::start(&lan.bridge, "br0", None);
    for seconds in ["0.5", "0.1", "1", "0.05", "0.6"] {
        master.reloads(&lan.hosts[0], &scratch, &every(seconds, 200));
        let from = capture.adverts(2).len();
        wait_for("adverts at the new pace", LONG, || {
            (capture.adverts(2).len() >= from + 6).then_some(())
        });
    }
    assert_eq!(became_master(&backup, &lan.hosts[1], "B"), 0);
    assert_eq!(became_master(&master, &lan.hosts[0], "B"), 1);
    let last = capture.last_advert(2, Lan::address(0)).expect("an advert");
    assert_eq!(last.interval_cs, 60);
}

#[test]
fn checks_go_on_or_begin_anew() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-checks");
    let runs = scratch.path("runs");
    let check = |weight: i32, interval: f64| {
        format!(
            "vrrp_script s {{\n script \"/bin/sh -c 'echo x >> {}'\"\n interval {interval}\n weight {weight}\n}}\n",
            runs.display()
        )
    };
    let tracked = one("A", 1, 100, &["10.9.1.1/24"], "track_script { s }");
    // Once and never again.
    let config = |weight| [check(weight, 600.0), tracked.clone()].concat();
    let router = Xvrrp::with_config(host, &scratch, &config(10));
    let priority = |wanted: u64| {
        wait_for(format!("priority {wanted}"), LONG, || {
            let instance = router.instance(host, "A")?;
            (instance["effective_priority"] == wanted).then_some(())
        });
    };
    priority(110);
    let count = || std::fs::read_to_string(&runs).map_or(0, |text| text.lines().count());
    router.reloads(host, &scratch, &config(30));
    priority(130);
    assert_eq!(count(), 1, "the weight is no reason to run it again");
    router.reloads(host, &scratch, &[check(30, 0.2), tracked.clone()].concat());
    wait_for("another pace", LONG, || (count() > 3).then_some(()));
    priority(130);
    router.reloads(host, &scratch, &one("A", 1, 100, &["10.9.1.1/24"], ""));
    priority(100);
    let before = count();
    spend(Duration::from_millis(500));
    assert!(count() <= before + 1, "it is not run any more");
    let status = router.status(host).expect("a status");
    assert_eq!(status["scripts"].as_array().map(Vec::len), Some(0));
}

/// `IP/PREFIX` of every address on eth0, the namespace's own left out.
fn addresses(host: &Namespace) -> Vec<String> {
    let shown = host.ip("-4 -o address show dev eth0");
    let words = shown
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    let others = words.filter(|address| !address.starts_with("10.9.0."));
    let mut list: Vec<String> = others.map(str::to_owned).collect();
    list.sort();
    list
}

#[test]
fn addresses_go_from_one_to_another_and_get_other_lengths() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-moved");
    let two = |a: &[&str], b: &[&str]| [one("A", 1, 200, a, ""), one("B", 2, 200, b, "")].concat();
    let router = Xvrrp::with_config(
        host,
        &scratch,
        &two(&["10.9.1.1/24", "10.9.1.9/24"], &["10.9.1.2/24"]),
    );
    wait_master(&router, host, "A");
    wait_master(&router, host, "B");
    let rows: [(&[&str], &[&str]); 5] = [
        (&["10.9.1.1/24"], &["10.9.1.2/24", "10.9.1.9/24"]),
        (&["10.9.1.1/24", "10.9.1.9/32"], &["10.9.1.2/24"]),
        (&["10.9.1.1/32", "10.9.1.9/24"], &["10.9.1.2/24"]),
        // The primary address of a subnet goes; the others are there again at once.
        (&["10.9.1.9/24"], &["10.9.1.2/24", "10.9.1.1/24"]),
        (&["10.9.1.2/24"], &["10.9.1.9/24"]),
    ];
    for (a, b) in rows {
        router.reloads(host, &scratch, &two(a, b));
        let mut wanted: Vec<String> = a.iter().chain(b).map(|it| (*it).to_owned()).collect();
        wanted.sort();
        wait_for(format!("{wanted:?}"), LONG, || {
            (addresses(host) == wanted).then_some(())
        });
        for name in ["A", "B"] {
            assert_eq!(became_master(&router, host, name), 1, "{name}");
        }
    }
    let log = router.process.log();
    assert!(
        !log.contains("somebody removed") && !log.contains("left-over"),
        "{log}"
    );
    // Names can be swapped: whoever is another router now starts anew.
    router.reloads(host, &scratch, &one("C", 1, 200, &["10.9.1.2/24"], ""));
    wait_master(&router, host, "C");
    assert_eq!(addresses(host), ["10.9.1.2/24"]);
}

#[test]
fn an_address_of_the_machine_stays_whoever_claims_it() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-owner");
    host.ip("address add 10.9.1.1/24 dev eth0");
    let a = |priority| one("A", 1, priority, &["10.9.1.1/24"], "");
    let mut router = Xvrrp::with_config(host, &scratch, &a(255));
    wait_master(&router, host, "A");
    router.reloads(host, &scratch, &a(100));
    let fault = wait_for("FAULT", LONG, || {
        let instance = router.instance(host, "A")?;
        (instance["state"] == "FAULT").then_some(instance)
    });
    assert!(
        fault["faults"]
            .to_string()
            .contains("this machine's own address"),
        "{fault}"
    );
    assert_eq!(addresses(host), ["10.9.1.1/24"]);
    router.reloads(host, &scratch, &a(255));
    wait_master(&router, host, "A");
    // What it has put there itself is not the machine's own, though it becomes an owner.
    let b = |priority| one("B", 2, priority, &["10.9.1.2/24"], "");
    router.reloads(host, &scratch, &[a(255), b(100)].concat());
    wait_master(&router, host, "B");
    router.reloads(host, &scratch, &[a(255), b(255)].concat());
    wait_master(&router, host, "B");
    router.terminate();
    assert_eq!(addresses(host), ["10.9.1.1/24"]);
}

#[test]
fn what_is_static_comes_and_goes() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-static");
    let with = |statics: &str| [statics, &a()].concat();
    let first = "static_ipaddress { 10.9.7.1/24 dev eth0 }\nstatic_routes { 10.77.0.0/16 via 10.9.7.9 dev eth0 }\n";
    let second = "static_ipaddress {\n10.9.7.1/25 dev eth0\n10.9.8.1/24 dev eth0\n}\n";
    let mut router = Xvrrp::with_config(host, &scratch, &with(first));
    wait_master(&router, host, "A");
    let wait = |wanted: &[&str], routes: usize| {
        wait_for(format!("{wanted:?} and {routes} routes"), LONG, || {
            let found = host.ip("route show").matches("10.77.0.0/16").count();
            (addresses(host) == wanted && found == routes).then_some(())
        });
    };
    wait(&["10.9.1.1/24", "10.9.7.1/24"], 1);
    router.reloads(host, &scratch, &with(second));
    wait(&["10.9.1.1/24", "10.9.7.1/25", "10.9.8.1/24"], 0);
    router.reloads(host, &scratch, &with(first));
    wait(&["10.9.1.1/24", "10.9.7.1/24"], 1);
    assert_eq!(became_master(&router, host, "A"), 1);
    router.terminate();
    wait(&[], 0);
}

#[test]
fn groups_are_made_and_undone() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-groups");
    let group = "vrrp_sync_group G { group { A B } }\n".to_owned();
    let broken = one("B", 2, 200, &["10.9.1.2/24"], "track_interface { eth7 }");
    let router = Xvrrp::with_config(host, &scratch, &[a(), b(200)].concat());
    wait_master(&router, host, "A");
    wait_master(&router, host, "B");
    let state = |name: &str, wanted: &str| {
        wait_for(format!("{name} {wanted}"), LONG, || {
            let instance = router.instance(host, name)?;
            (instance["state"] == wanted).then_some(())
        });
    };
    router.reloads(host, &scratch, &[a(), b(200), group.clone()].concat());
    assert_eq!(
        became_master(&router, host, "A"),
        1,
        "masters become a group as they are"
    );
    router.reloads(host, &scratch, &[a(), broken.clone(), group].concat());
    state("A", "FAULT");
    router.reloads(host, &scratch, &[a(), broken].concat());
    state("A", "MASTER");
    state("B", "FAULT");
}

#[test]
fn what_outgrows_the_maps_goes_on_as_a_new_process() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reload-outgrown");
    let router = Xvrrp::with_config(host, &scratch, &a());
    wait_master(&router, host, "A");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let many: Vec<String> = (2..=4)
        .map(|vrid| {
            let addresses: Vec<String> = (1..=200)
                .map(|host| format!("10.9.{}.{host}/32", 10 + vrid))
                .collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            one(&format!("M{vrid}"), vrid, 200, &addresses, "")
        })
        .collect();
    let said = router.reloads(host, &scratch, &[a(), many.concat()].concat());
    assert_eq!(said, "4 instances, as a new process\n");
    wait_master(&router, host, "M4");
    assert_eq!(became_master(&router, host, "A"), 1);
    let resigned = capture.adverts(1).iter().any(|advert| advert.priority == 0);
    assert!(!resigned, "A goes on");
}
