//! The lab itself: its timeline for every case, and that nothing is left of it, however it ends.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Lines},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use xvrrp_tests::{
    bpffs::BpfFs,
    lab::{CASES, Entry},
    process::Scratch,
    wait_for,
};

/// Long enough for a case.
const CASE_LIMIT: Duration = Duration::from_secs(90);

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).process_group(0);
    command
}

fn entries(text: &str) -> Vec<Entry> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// Everything of the lab that can be left on a machine.
fn remains() -> BTreeSet<String> {
    let names = |directory: PathBuf, wanted: &str| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path().display().to_string())
            .filter(|path| path.contains(wanted))
            .collect()
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    let mounts = mounts
        .lines()
        .filter(|line| line.contains("xvrrp-lab-"))
        .map(str::to_owned);
    names("/run/netns".into(), "xvrrp-lab-")
        .into_iter()
        .chain(names("/run/xvrrp".into(), "netns-"))
        .chain(names(std::env::temp_dir(), "-lab"))
        .chain(mounts)
        .chain(processes())
        .collect()
}

/// Processes that live in a network namespace of the lab, or in one that has lost its name.
fn processes() -> Vec<String> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let here = namespace("self");
    let entries = fs::read_dir("/proc").expect("the processes").flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().into_string().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let is_program = command.contains("xvrrp") || command.contains("haproxy");
            let is_elsewhere = namespace(&pid).is_some_and(|found| Some(found) != here);
            (is_program && is_elsewhere).then(|| format!("{pid} {command}"))
        })
        .collect()
}

/// What was there before is somebody else's.
fn assert_left_nothing(before: &BTreeSet<String>) {
    let now = remains();
    let left: Vec<&String> = now.difference(before).collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

#[test]
fn every_case_ends_as_the_table_says_and_leaves_nothing() {
    let before = remains();
    let output = lab(&["--json"]).output().expect("run the lab");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told = entries(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(told.len(), CASES.len() * 6, "six steps each");
    for case in CASES {
        let steps: Vec<&Entry> = told
            .iter()
            .filter(|entry| entry.case == case.name)
            .collect();
        let holders: Vec<&str> = steps.iter().map(|entry| entry.holder.as_str()).collect();
        let wanted = [
            0,
            0,
            case.holders.proxy_dead,
            case.holders.proxy_back,
            case.holders.node_cut,
            case.holders.node_back,
        ]
        .map(|router| format!("r{}", router + 1));
        assert_eq!(holders, wanted, "{}", case.name);
        for (number, step) in steps.iter().enumerate() {
            judge(number, step);
        }
        let cut = steps[4];
        println!(
            "{:18} cut off: failover {:.0} ms, {} pings lost, {} requests lost, longest gap {:.0} ms",
            case.name,
            cut.failover_ms.unwrap_or_default(),
            cut.pings_lost,
            cut.requests_lost,
            cut.longest_gap_ms
        );
    }
    assert_left_nothing(&before);
}

/// What a step may cost. The protocol's share of a failover is three intervals of 0.1 s and
/// `skew_time`; a failed check takes two runs of 0.1 s before that; the rest is room for the machine.
fn judge(number: usize, step: &Entry) {
    let what = format!("{} {step:?}", step.case);
    // One every 10 ms, and one that was under way at either end.
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let lost_ms = step.pings_lost as f64 * 10.0;
    assert_eq!(step.states.len(), 3, "{what}");
    let masters = step.states.iter().filter(|state| *state == "MASTER");
    assert_eq!(masters.count(), 1, "{what}");
    assert!(!step.why.is_empty(), "{what}");
    let Some(failover_ms) = step.failover_ms else {
        assert!(!step.moved, "{what}");
        assert_eq!(step.pings_lost, 0, "{what}");
        // An address that stays without its HAProxy serves nobody until that returns.
        if !HAPROXY_DIES.contains(&number) {
            assert_eq!(step.requests_lost, 0, "{what}");
            assert!(step.longest_gap_ms < 400.0, "{what}");
        }
        return;
    };
    assert!(step.moved, "{what}");
    assert!(lost_ms <= failover_ms + 20.0, "{what}");
    let limit_ms = if number == NODE_IS_CUT_OFF {
        500.0
    } else {
        900.0
    };
    assert!(failover_ms <= limit_ms, "{what}");
    assert!(step.longest_gap_ms <= failover_ms + 400.0, "{what}");
    if number == NODE_IS_CUT_OFF {
        assert!(step.requests_lost > 0, "{what}: an outage loses something");
        // Each of the three addresses has its own moment within an interval.
        assert!(lost_ms + 150.0 >= failover_ms, "{what}: and it is seen");
    }
}

/// Where it dies and returns; if the address stays, requests are lost between.
const HAPROXY_DIES: [usize; 2] = [2, 3];
/// The step with the pulled cables.
const NODE_IS_CUT_OFF: usize = 4;

/// A running lab; ended when dropped.
struct Running {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = lab(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start the lab");
        let out = child.stdout.take().expect("its output");
        Self {
            child,
            lines: Some(BufReader::new(out).lines()),
        }
    }

    /// Waits until it has told a step.
    fn wait_step(&mut self) {
        let lines = self.lines.as_mut().expect("its output");
        let first = lines.next().expect("a step").expect("a line");
        assert_eq!(entries(&first).len(), 1);
    }

    /// As a terminal does it: to the whole process group.
    fn end(&mut self, signal: Signal) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        killpg(Pid::from_raw(pid), signal).expect("signal the lab");
        wait_for("the end of the lab", CASE_LIMIT, || {
            self.child.try_wait().ok().flatten()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end(Signal::SIGINT);
        }
    }
}

#[test]
fn ctrl_c_puts_everything_away_at_any_time() {
    let before = remains();
    let case = CASES[0].name;
    // In the middle of a story, and then again from the start: what the first left would be in the
    // second one's way.
    for signal in [
        Signal::SIGINT,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
    ] {
        let mut running = Running::start(&["--json", "--case", case]);
        running.wait_step();
        assert_eq!(running.end(signal).code(), Some(130), "{signal}");
        assert_left_nothing(&before);
    }
    // While it is still being built: one namespace after the other.
    for name in ["switch", "host", "web2", "r1", "r3"] {
        let mut running = Running::start(&["--json"]);
        wait_for("a namespace", CASE_LIMIT, || {
            fs::exists(format!("/run/netns/xvrrp-lab-{name}"))
                .ok()
                .filter(|there| *there)
        });
        assert_eq!(running.end(Signal::SIGINT).code(), Some(130), "{name}");
        assert_left_nothing(&before);
    }
    // And when whoever reads has gone.
    let mut running = Running::start(&["--json", "--case", case]);
    running.wait_step();
    running.lines = None;
    assert_eq!(running.end(Signal::SIGINT).code(), Some(130));
    assert_left_nothing(&before);
}

#[test]
fn pins_go_with_the_lab() {
    let before = remains();
    let scratch = Scratch::new("pins-of-a-l-a-b");
    let bpffs = BpfFs::mount(&scratch);
    let path = bpffs.path().display().to_string();
    let mut running = Running::start(&["--json", "--case", CASES[0].name, "--bpffs", &path]);
    running.wait_step();
    assert_eq!(
        bpffs.files().len(),
        18,
        "three routers, two interfaces each, three programs on each"
    );
    running.end(Signal::SIGINT);
    assert!(bpffs.files().is_empty());
    assert_left_nothing(&before);
}

#[test]
fn held_it_goes_on_until_ctrl_c_and_says_how_to_look_around() {
    let before = remains();
    let scratch = Scratch::new("held");
    let log = scratch.path("held.log");
    let file = fs::File::create(&log).expect("a file");
    let mut child = lab(&["--hold", "--case", CASES[1].name])
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .spawn()
        .expect("start the lab");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    let hint = "ip netns exec xvrrp-lab-host ping 10.77.0.10";
    wait_for("the end of the story", CASE_LIMIT, || {
        assert!(matches!(child.try_wait(), Ok(None)), "{}", text());
        text().contains(hint).then_some(())
    });
    println!("{}", text());
    let entered = Command::new("ip")
        .args(["netns", "exec", "xvrrp-lab-client", "ip", "address"])
        .output()
        .expect("enter a namespace");
    assert!(String::from_utf8_lossy(&entered.stdout).contains("10.9.0.4/24"));
    let rows: Vec<String> = text().lines().map(str::to_owned).collect();
    let cut = rows
        .iter()
        .find(|row| row.contains("both cables of r1 are pulled"));
    let cut = cut.expect("the row");
    assert!(cut.contains("-> r2") && cut.contains("F  M  B"), "{cut}");
    let pid = i32::try_from(child.id()).expect("a pid");
    killpg(Pid::from_raw(pid), Signal::SIGINT).expect("Ctrl-C");
    let status = wait_for("the end", CASE_LIMIT, || child.try_wait().ok().flatten());
    assert_eq!(status.code(), Some(130));
    assert_left_nothing(&before);
}

#[test]
fn one_lab_at_a_time_and_a_killed_one_is_cleared_away() {
    let before = remains();
    let case = CASES[0].name;
    let mut first = Running::start(&["--json", "--case", case]);
    first.wait_step();
    let second = lab(&["--json"]).output().expect("run a second lab");
    let words = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success() && words.contains("another lab"),
        "{words}"
    );
    first.end(Signal::SIGKILL);
    let left = remains();
    assert!(
        left.difference(&before).count() > 0,
        "nobody could put anything away"
    );
    let mut next = Running::start(&["--json", "--case", case]);
    next.wait_step();
    next.end(Signal::SIGINT);
    assert_left_nothing(&before);
}
