//! What runs short: disk, descriptors, the kernel's queue of network news. The election goes on, somebody
//! is told, and everything is well again by itself.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use xvrrp_tests::{
    LONG,
    capture::Capture,
    ms,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance},
};

const VRID: u8 = 51;
const INTERVAL_NS: u64 = 100_000_000;

/// Longest time between the router's adverts since then.
fn longest_gap(capture: &Capture, since_ns: u64) -> u64 {
    let times: Vec<u64> = capture
        .adverts(VRID)
        .iter()
        .map(|advert| advert.at_ns)
        .filter(|at| *at > since_ns)
        .collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().expect("adverts")
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {output:?}");
}

/// A tiny file system; unmounted when dropped.
struct Tiny(String);

impl Tiny {
    fn mount(scratch: &Scratch) -> Self {
        let path = scratch.path("run");
        fs::create_dir_all(&path).expect("a mount point");
        let path = path.display().to_string();
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "tiny", &path]);
        Self(path)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let done = Command::new("umount").args(["-l", &self.0]).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", self.0);
        }
    }
}

#[test]
fn a_full_disk_is_told_once_and_moves_nobody() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let capture = Capture::start(&lan.bridge, "br0", None);
    let scratch = Scratch::new("disk");
    let _tiny = Tiny::mount(&scratch);
    let trouble = scratch.path("trouble");
    let config = format!(
        "vrrp_script works {{\n  script \"/usr/bin/test ! -e {}\"\n  interval 0.1\n  rise 1\n  fall 1\n  \
         weight 10\n}}\n{}",
        trouble.display(),
        instance(100, 0.1, "  track_script {\n    works\n  }")
    );
    let router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    let filled_ns = wall_ns();
    let full = scratch.path("run/full");
    // What no longer fits is what is wanted.
    let _ = fs::write(&full, vec![0_u8; 1 << 20]);
    let priority = |wanted: u64| {
        wait_for("the priority", LONG, || {
            let instance = router.instance(host, "VI")?;
            (instance["effective_priority"] == wanted).then_some(())
        });
    };
    for _ in 0..5 {
        fs::write(&trouble, "").expect("trouble");
        priority(100);
        fs::remove_file(&trouble).expect("no trouble");
        priority(110);
    }
    let told = |text: &str| router.process.log().matches(text).count();
    assert_eq!(told("write the state down"), 1, "{}", router.process.log());
    assert!(longest_gap(&capture, filled_ns) < 2 * INTERVAL_NS);
    fs::remove_file(&full).expect("room again");
    fs::write(&trouble, "").expect("trouble");
    priority(100);
    // What is written down again is whole: a crash now loses nothing.
    let state = || {
        let entries = fs::read_dir(scratch.path("run")).ok()?.flatten();
        let mut files = entries.map(|entry| entry.path().join("state.json"));
        let text = fs::read_to_string(files.find(|path| path.exists())?).ok()?;
        let state: serde_json::Value = serde_json::from_str(&text).ok()?;
        (state["checks"]["works"] == false).then_some(())
    };
    wait_for("the state, written down", LONG, state);
}

#[test]
fn without_descriptors_the_election_goes_on() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let capture = Capture::start(&lan.bridge, "br0", None);
    let scratch = Scratch::new("descriptors");
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    let pid = router.process.pid().to_string();
    let limit = |soft: &str| run("prlimit", &["--pid", &pid, &format!("--nofile={soft}:")]);
    let taken_ns = wall_ns();
    limit("3");
    for _ in 0..3 {
        // Nobody answers, and whoever asks gives up.
        let asked = xvrrp_status(host, &scratch);
        assert!(!asked, "there is no descriptor for another connection");
    }
    limit("1024");
    wait_for("answers again", LONG, || router.status(host));
    let gap = longest_gap(&capture, taken_ns);
    println!(
        "without descriptors: longest gap between adverts {:.1} ms",
        ms(gap)
    );
    assert!(gap < 2 * INTERVAL_NS, "{:.1} ms", ms(gap));
    assert_eq!(
        router.instance(host, "VI").expect("a status")["counters"]["became_master"],
        1
    );
}

/// Asks for the status with a second's patience.
fn xvrrp_status(host: &Namespace, scratch: &Scratch) -> bool {
    let mut command = host.command("timeout");
    command
        .args(["1", &xvrrp_tests::xvrrp::binary(), "status", "--run-dir"])
        .arg(scratch.path("run"));
    command.output().expect("run timeout").status.success()
}

/// More news than the kernel keeps for a process that does not read them: everything is read anew.
#[test]
fn lost_news_of_the_network_are_made_up_for() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("news");
    let router = Xvrrp::with_config(host, &scratch, &instance(100, 0.1, ""));
    router.wait_state(host, "MASTER", LONG);
    router.process.signal(Signal::SIGSTOP);
    let lines: Vec<String> = (0..20_000)
        .map(|number| {
            let address = format!("10.77.{}.{}/32 dev lo", number / 250 % 250, number % 250);
            format!("address add {address}\naddress del {address}\n")
        })
        .collect();
    let mut batches = 0;
    while drops(host, router.process.pid()) == 0 {
        batches += 1;
        assert!(
            batches < 50,
            "the kernel keeps everything: the test shows nothing"
        );
        change(host, &lines.concat());
    }
    // The last news, which nobody keeps.
    host.ip("link set eth0 down");
    let dropped = drops(host, router.process.pid());
    assert!(
        dropped > 0,
        "the kernel has kept everything: the test shows nothing"
    );
    router.process.signal(Signal::SIGCONT);
    router.wait_state(host, "FAULT", LONG);
    host.ip("link set eth0 up");
    router.wait_state(host, "MASTER", LONG);
    println!("{dropped} news were lost, and nothing with them");
}

/// Lets `ip` carry out these lines.
fn change(host: &Namespace, lines: &str) {
    let mut command = host.command("ip");
    let mut ip = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip");
    let mut input = ip.stdin.take().expect("its input");
    input.write_all(lines.as_bytes()).expect("the batch");
    drop(input);
    assert!(ip.wait().expect("its end").success());
}

/// Messages that netlink sockets of this namespace have lost.
fn drops(host: &Namespace, pid: u32) -> u64 {
    let path = format!("/proc/{pid}/net/netlink");
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", host.name()));
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok())
        .sum()
}
