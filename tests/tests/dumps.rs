//! keepalived's dumps by its signals, in its formats and places.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::sys::signal::Signal;
use serde_json::Value;
use xvrrp_tests::{
    LONG,
    netns::Lan,
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, instance},
};

/// What a file says, once it is there.
fn dumped(path: &Path) -> String {
    wait_for(path.display(), LONG, || {
        fs::read_to_string(path)
            .ok()
            .filter(|text| !text.is_empty())
    })
}

fn number_after(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(name));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{name} in {text}"))
}

/// A MASTER whose dumps go where no other test looks.
struct Router {
    lan: Lan,
    scratch: Scratch,
    daemon: Xvrrp,
}

const INSTANCE: &str =
    " track_script {\n  fine\n }\n virtual_ipaddress_excluded {\n  10.9.0.200/32\n }\n";

impl Router {
    fn start(name: &str) -> Self {
        let lan = Lan::pair();
        let scratch = Scratch::new(name);
        let daemon = Xvrrp::with_config(&lan.hosts[0], &scratch, &config(&scratch, ""));
        daemon.wait_state(&lan.hosts[0], "MASTER", LONG);
        Self {
            lan,
            scratch,
            daemon,
        }
    }

    fn reload(&self, config: &str) {
        self.daemon
            .reloads(&self.lan.hosts[0], &self.scratch, config);
    }
}

fn config(scratch: &Scratch, global: &str) -> String {
    let path = |name| scratch.path(name).display().to_string();
    format!(
        "global_defs {{\n state_dump_file {}\n stats_dump_file {}\n json_dump_file {}\n{global}}}\n\
         vrrp_script fine {{\n script \"/bin/true\"\n interval 1\n weight 5\n}}\n{}",
        path("data"),
        path("stats"),
        path("json"),
        instance(120, 0.1, INSTANCE)
    )
}

#[test]
fn signals_dump_data_and_statistics() {
    let router = Router::start("dumps");
    let (daemon, data) = (&router.daemon, router.scratch.path("data"));
    // Somebody has put a link there: what it points to is not touched.
    let precious = router.scratch.write("precious", "untouched");
    symlink(&precious, &data).expect("a link");
    daemon.process.signal(Signal::SIGUSR1);
    let text = wait_for("the data", LONG, || {
        let text = fs::read_to_string(&data).ok()?;
        text.contains("VRRP Topology").then_some(text)
    });
    assert!(!data.is_symlink());
    assert_eq!(fs::read_to_string(&precious).expect("a file"), "untouched");
    for line in [
        "------< VRRP Topology >------",
        " VRRP Instance = VI",
        "   VRRP Version = 3",
        "   State = MASTER",
        "   Wantstate = BACKUP",
        "   Interface = eth0",
        "   Gratuitous ARP delay = 5",
        "   Virtual Router ID = 51",
        "   Priority = 120",
        "   Effective priority = 125",
        "   Advert interval = 100 milli-sec",
        "   Virtual IP (1):",
        "     10.9.0.100/24 dev eth0 scope global set",
        "   Virtual IP Excluded (1):",
        "     10.9.0.200 dev eth0 scope global set",
        "   Tracked scripts :",
        "     fine weight 5",
        "------< VRRP Scripts >------",
        " VRRP Script = fine",
        "   Status = GOOD",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    daemon.process.signal(Signal::SIGUSR2);
    let text = dumped(&router.scratch.path("stats"));
    let head = "VRRP Instance: VI\n  Advertisements:\n    Received: 0\n    Sent: ";
    assert!(text.starts_with(head), "{text}");
    assert!(number_after(&text, "Sent:") > 0);
    assert_eq!(number_after(&text, "Became master:"), 1);
    assert_eq!(number_after(&text, "Released master:"), 0);
}

#[test]
fn a_signal_dumps_json_in_both_layouts() {
    let router = Router::start("dumps-json");
    let json = router.scratch.path("json");
    let signal = || {
        let pid = i32::try_from(router.daemon.process.pid()).expect("a process id");
        // SAFETY: no memory is passed.
        let done = unsafe { libc::kill(pid, libc::SIGRTMIN() + 2) };
        assert_eq!(done, 0, "send SIGRTMIN+2");
    };
    signal();
    let parsed: Value = serde_json::from_str(&dumped(&json)).expect("JSON");
    let first = &parsed[0];
    assert_eq!(first["data"]["iname"], "VI");
    assert_eq!(
        (&first["data"]["state"], &first["data"]["wantstate"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        first["data"]["vips"][0],
        "10.9.0.100/24 dev eth0 scope global set"
    );
    assert_eq!(
        first["data"]["evips"][0],
        "10.9.0.200 dev eth0 scope global set"
    );
    assert_eq!(first["data"]["track_script"][0], "fine");
    assert_eq!(first["stats"]["become_master"], 1);
    let sent = first["stats"]["advert_sent"].as_u64();
    assert!(sent.is_some_and(|count| count > 0));
    // The other layout, after a reload.
    router.reload(&config(&router.scratch, " json_version 2\n"));
    fs::remove_file(&json).expect("the first dump");
    signal();
    let parsed: Value = serde_json::from_str(&dumped(&json)).expect("JSON");
    assert_eq!(parsed["vrrp"][0]["data"]["iname"], "VI");
}

/// It is told, and nothing else happens.
#[test]
fn a_place_that_cannot_be_written_harms_nobody() {
    let router = Router::start("dumps-nowhere");
    let place = router.scratch.path("data").display().to_string();
    let elsewhere = config(&router.scratch, "").replace(&place, "/proc/nowhere");
    router.reload(&elsewhere);
    router.daemon.process.signal(Signal::SIGUSR1);
    wait_for("a line in the log", LONG, || {
        let log = router.daemon.process.log();
        log.contains("dump to /proc/nowhere").then_some(())
    });
    let now = router
        .daemon
        .status(&router.lan.hosts[0])
        .expect("a status");
    assert_eq!(now["instances"][0]["counters"]["became_master"], 1);
}
