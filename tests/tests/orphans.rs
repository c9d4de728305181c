//! A run that is ended by a signal leaves nothing, and what a killed one leaves goes with the next.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xvrrp_tests::{LONG, netns::Namespace, process::Scratch, wait_for, xvrrp::binary};

/// A measurement that has begun, and is long from its end.
fn bench(out: &Path) -> Child {
    let bench = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--only", "xvrrp", "--rounds", "100", "life 255", "--out"])
        .arg(out)
        .env("XVRRP_BIN", binary())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the bench");
    wait_for("its namespaces and its directory", LONG, || {
        let all = remains(bench.id());
        let has = |part: &str| all.iter().any(|path| path.starts_with(part));
        (has("/run/netns") && has(&std::env::temp_dir().display().to_string())).then_some(())
    });
    bench
}

/// Every namespace and directory of a process.
fn remains(pid: u32) -> Vec<String> {
    let places = [Path::new("/run/netns").to_owned(), std::env::temp_dir()];
    let entries = places
        .iter()
        .flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let paths = entries.map(|entry| entry.path().display().to_string());
    let marks = [format!("/xvrrp-{pid}-"), format!("/xvrrp-test-{pid}-")];
    paths
        .filter(|path| marks.iter().any(|mark| path.contains(mark)))
        .collect()
}

fn end(mut bench: Child, signal: Signal) -> u32 {
    let pid = bench.id();
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("a signal");
    let status = bench.wait().expect("its end");
    assert!(!status.success(), "{status}");
    pid
}

/// In one process and in this order: only the first namespace of a process looks for what others have left.
#[test]
fn nothing_stays_of_a_run_that_was_ended() {
    let out = Scratch::new("out");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let pid = end(bench(&out.path("out")), signal);
        assert_eq!(remains(pid), Vec::<String>::new(), "after {signal}");
    }
    let killed = end(bench(&out.path("out")), Signal::SIGKILL);
    assert_ne!(remains(killed), Vec::<String>::new(), "nobody cleans up");
    let _first = Namespace::new("sweep");
    assert_eq!(remains(killed), Vec::<String>::new(), "the next run does");
}
