//! `xvrrp doctor` on a host where everything is as it should be, and on one where little is.

use std::{process::Output, thread, time::Duration};

use serde_json::Value;
use xvrrp_tests::{
    LONG,
    capture::Sender,
    frames::AdvertSpec,
    netns::{Lan, Namespace},
    process::Scratch,
    spend,
    xvrrp::{Xvrrp, binary, instance},
};

fn doctor(host: &Namespace, config: &str, run_dir: &str, more: &[&str]) -> Output {
    let mut command = host.command(&binary());
    command.args([
        "doctor",
        "--config",
        config,
        "--run-dir",
        run_dir,
        "--seconds",
        "1",
    ]);
    command.args(more).output().expect("run xvrrp doctor")
}

fn findings(output: &Output) -> Vec<Value> {
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    all.as_array().expect("a list").clone()
}

fn sysctl(host: &Namespace, name: &str, value: &str) {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    host.enter(|| std::fs::write(path, value))
        .expect("a sysctl");
}

#[test]
fn a_healthy_host_has_nothing_wrong() {
    let lan = Lan::pair();
    let scratches = [0, 1].map(|number| Scratch::new(&format!("healthy-{number}")));
    let routers = [(0, 150), (1, 100)].map(|(number, priority): (usize, u8)| {
        let config = instance(priority, 0.1, "");
        Xvrrp::with_config(&lan.hosts[number], &scratches[number], &config)
    });
    for (number, state) in [(0, "MASTER"), (1, "BACKUP")] {
        routers[number].wait_state(&lan.hosts[number], state, LONG);
    }
    let host = &lan.hosts[1];
    sysctl(host, "net.ipv4.ip_nonlocal_bind", "1");
    let config = scratches[1].path(&format!("{}.conf", host.name()));
    let run_dir = routers[1].run_dir().display().to_string();
    let output = doctor(host, &config.display().to_string(), &run_dir, &["--json"]);
    let all = findings(&output);
    let wrong: Vec<&Value> = all.iter().filter(|it| it["level"] == "wrong").collect();
    assert!(wrong.is_empty() && output.status.success(), "{wrong:#?}");
    let says = |words: &str| {
        all.iter()
            .any(|it| it["what"].as_str().is_some_and(|it| it.contains(words)))
    };
    for words in [
        "Linux ",
        "runs",
        "it is BACKUP",
        "heard 10.9.0.1 (prio 150)",
        "with a fence",
        "net.ipv4.ip_nonlocal_bind",
    ] {
        assert!(says(words), "{words} in {all:#?}");
    }
    let shown = doctor(host, &config.display().to_string(), &run_dir, &[]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\n0 wrong, "), "{shown}");
}

#[test]
fn a_broken_host_is_told_what_to_do() {
    let lan = Lan::new(3);
    let scratch = Scratch::new("broken");
    let host = &lan.hosts[0];
    sysctl(host, "net.ipv4.ip_nonlocal_bind", "0");
    sysctl(host, "net.ipv4.conf.eth0.rp_filter", "1");
    lan.wire([0, 1], "eth9");
    let nowhere = instance(100, 0.1, "")
        .replace("vrrp_instance VI", "vrrp_instance VN")
        .replace("interface eth0", "interface eth7")
        .replace("virtual_router_id 51", "virtual_router_id 52")
        .replace("10.9.0.100", "10.9.0.101");
    let config =
        "global_defs {\n dynamic_interfaces\n}\n".to_owned() + &instance(150, 0.1, "") + &nowhere;
    let daemon = Xvrrp::with_config(host, &scratch, &config);
    daemon.wait_state(host, "MASTER", LONG);
    let path = scratch
        .path(&format!("{}.conf", host.name()))
        .display()
        .to_string();
    let run_dir = daemon.run_dir().display().to_string();
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            // Somebody whose adverts come from far away.
            let mut spec =
                AdvertSpec::new(lan.mac(2), Lan::address(2), 51, 90, [10, 9, 0, 100].into());
            spec.ttl = 64;
            spec.interval_cs = 10;
            let frame = spec.build();
            let sender = Sender::new(&lan.hosts[2]);
            for _ in 0..15 {
                sender.send(&frame);
                spend(Duration::from_millis(100));
            }
        });
        doctor(host, &path, &run_dir, &["--json"])
    });
    assert_eq!(output.status.code(), Some(1));
    let all = findings(&output);
    let finds = |level: &str, what: &str, fix: &str| {
        let found = all
            .iter()
            .find(|it| it["what"].as_str().is_some_and(|it| it.contains(what)));
        let found = found.unwrap_or_else(|| panic!("{what} in {all:#?}"));
        assert_eq!(found["level"], level, "{found}");
        let told = found["fix"].as_str().unwrap_or_default();
        assert!(told.contains(fix), "{fix} in {told}");
    };
    finds(
        "note",
        "cannot start while this machine is BACKUP",
        "sysctl -w net.ipv4.ip_nonlocal_bind=1",
    );
    finds(
        "note",
        "strict reverse path filtering",
        "net.ipv4.conf.eth0.rp_filter=2",
    );
    finds("wrong", "there is no such interface", "dynamic_interfaces");
    finds(
        "wrong",
        "on eth9 too, outside the fence",
        "sysctl -w net.ipv4.conf.eth9.arp_ignore=1",
    );
    finds(
        "wrong",
        "adverts of 10.9.0.3 are rejected: their TTL is not 255",
        "",
    );
    drop(daemon);
    let output = doctor(host, &path, &run_dir, &["--json"]);
    let all = findings(&output);
    let daemon = all
        .iter()
        .find(|it| it["about"] == "daemon")
        .expect("a finding");
    assert_eq!(daemon["level"], "wrong");
    let what = daemon["what"].as_str().expect("what was found");
    assert!(what.contains("cannot connect"), "{what}");
}
