//! What the daemon's threads may do, what its scripts may do, and who may ask it for what.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output},
};

use xvrrp_tests::{
    LONG,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, binary, instance},
};

/// Numbers of capabilities (capabilities(7)).
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const BPF: u32 = 39;
/// Modules, raw devices, reboot, the clock, other processes' memory, audit.
const NEVER: [u32; 7] = [16, 17, 22, 25, 19, 30, 33];

/// The effective and the permitted capabilities of each thread, by its name.
fn capabilities(pid: u32) -> BTreeMap<String, (u64, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    tasks
        .map(|task| {
            let path = task.expect("a thread").path();
            let status = fs::read_to_string(path.join("status")).expect("its status");
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.expect("the field").trim().to_owned()
            };
            let set = |name| u64::from_str_radix(&field(name), 16).expect("hex");
            (field("Name:"), (set("CapEff:"), set("CapPrm:")))
        })
        .collect()
}

#[test]
fn threads_keep_what_they_need() {
    let lan = Lan::pair();
    let scratch = Scratch::new("privileges");
    let host = &lan.hosts[0];
    let told = scratch.path("told");
    fs::write(&told, "").expect("a file");
    let made = Command::new("chmod").arg("666").arg(&told).status();
    assert!(made.expect("chmod").success());
    let more = format!(
        "  notify_master \"/bin/sh -c 'grep CapEff /proc/self/status >> {}'\" nobody\n",
        told.display()
    );
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, &more));
    router.wait_state(host, "MASTER", LONG);
    for after in ["the start", "an upgrade"] {
        let threads = capabilities(router.process.pid());
        let network = 1 << NET_ADMIN | 1 << NET_RAW | 1_u64 << BPF;
        for name in ["xvrrp-election", "xvrrp-netlink"] {
            assert_eq!(threads[name], (network, network), "{name} after {after}");
        }
        for (name, (effective, permitted)) in &threads {
            let has = |number: &&u32| (effective | permitted) >> **number & 1 == 1;
            let found: Vec<&u32> = NEVER.iter().filter(has).collect();
            assert!(found.is_empty(), "{name} has {found:?} after {after}");
        }
        // It goes on doing its work with them.
        let output = router.upgrade(host);
        assert!(output.status.success(), "{output:?}");
        router.wait_state(host, "MASTER", LONG);
    }
    let told = wait_for("the script of a user", LONG, || {
        let text = fs::read_to_string(&told).ok()?;
        (!text.is_empty()).then_some(text)
    });
    assert_eq!(told.trim(), "CapEff:\t0000000000000000");
}

/// Runs the command line of xvrrp as nobody.
fn as_nobody(host: &Namespace, scratch: &Scratch, words: &[&str]) -> Output {
    let mut command = host.command("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(binary())
        .args(words)
        .arg("--run-dir")
        .arg(scratch.path("run"));
    command.output().expect("run setpriv")
}

#[test]
fn members_of_a_group_may_ask_and_nothing_else() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    for (options, may_ask) in [(&[][..], false), (&["--control-group", "nogroup"], true)] {
        let scratch = Scratch::new("control-group");
        let config = scratch.write("group.conf", &instance(100, 0.1, ""));
        let config = config.display().to_string();
        let arguments = [&["--config", &config], options].concat();
        let mut router = Xvrrp::run(host, &scratch, &arguments);
        let before = router.wait_state(host, "MASTER", LONG);
        let asked = as_nobody(host, &scratch, &["status", "--json"]);
        assert_eq!(asked.status.success(), may_ask, "{asked:?}");
        let changed = as_nobody(host, &scratch, &["upgrade"]);
        assert!(!changed.status.success());
        if may_ask {
            let said = String::from_utf8_lossy(&changed.stderr).into_owned();
            assert!(said.contains("only root"), "{said}");
        }
        let after = router.wait_state(host, "MASTER", LONG);
        assert_eq!(before["started_ns"], after["started_ns"]);
        router.terminate();
    }
}
