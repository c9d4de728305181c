//! keepalived's command line: a packager can put xvrrp behind the name.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xvrrp_tests::{
    LONG,
    capture::Capture,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::{binary, instance, status},
};

/// The program under keepalived's name.
fn keepalived(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("keepalived");
    if !path.exists() {
        symlink(binary(), &path).expect("a link");
    }
    path
}

fn run(scratch: &Scratch, words: &[&str]) -> Output {
    let mut command = Command::new(keepalived(scratch));
    command.args(words).output().expect("run it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Dumps go where no other test looks.
fn with_dumps(scratch: &Scratch, config: &str) -> String {
    let [data, stats] = ["data", "stats"].map(|name| scratch.path(name));
    format!(
        "global_defs {{\n state_dump_file {}\n stats_dump_file {}\n}}\n{config}",
        data.display(),
        stats.display()
    )
}

#[test]
fn it_says_what_keepalived_says() {
    let scratch = Scratch::new("names");
    // The same as keepalived itself.
    for name in ["STOP", "RELOAD", "DATA", "STATS", "STATS_CLEAR", "JSON"] {
        let option = format!("--signum={name}");
        let theirs = Command::new("keepalived")
            .arg(&option)
            .output()
            .expect("run keepalived");
        assert_eq!(run(&scratch, &[&option]).stdout, theirs.stdout, "{name}");
    }
    assert!(!run(&scratch, &["--signum=TEA"]).status.success());
    let whole = scratch.write("whole.conf", &instance(100, 1.0, ""));
    let broken = scratch.write("broken.conf", &instance(100, 1.0, "garp_master_repeat x\n"));
    let file = |path: &Path| path.display().to_string();
    let tested = run(&scratch, &["-t", "-f", &file(&whole)]);
    assert_eq!(
        (tested.status.code(), text(&tested.stderr)),
        (Some(0), String::new())
    );
    let tested = run(&scratch, &["-t", "-f", &file(&broken)]);
    assert_eq!(tested.status.code(), Some(4));
    assert!(
        text(&tested.stderr).contains("garp_master_repeat cannot be x"),
        "{}",
        text(&tested.stderr)
    );
    let out = scratch.path("out");
    let to_file = run(
        &scratch,
        &[
            &format!("--config-test={}", out.display()),
            "-f",
            &file(&broken),
        ],
    );
    assert_eq!(
        (to_file.status.code(), text(&to_file.stderr)),
        (Some(4), String::new())
    );
    assert!(
        fs::read_to_string(&out)
            .expect("the file")
            .contains("cannot be x")
    );
    let missing = scratch.write(
        "missing.conf",
        &["include nothing.conf\n", &instance(100, 1.0, "")].concat(),
    );
    assert_eq!(
        run(&scratch, &["-t", "-f", &file(&missing)]).status.code(),
        Some(0)
    );
    assert_eq!(
        run(&scratch, &["-t", "-e", "-f", &file(&missing)])
            .status
            .code(),
        Some(4)
    );
    assert!(
        !run(&scratch, &["-C", "-f", &file(&whole)]).status.success(),
        "load balancing alone"
    );
}

/// Starts it in the background, as a script of the year 2005 does, and returns its process.
fn start(host: &Namespace, scratch: &Scratch, config: &Path, words: &[&str]) -> Pid {
    let pid_file = scratch.path("pid");
    let mut command = host.command(&keepalived(scratch).display().to_string());
    command.args(["-P", "-D", "-p"]).arg(&pid_file);
    command.arg("-r").arg(scratch.path("vrrp-pid"));
    command
        .arg("-g")
        .arg(scratch.path("log"))
        .args(words)
        .arg("-f")
        .arg(config);
    assert!(command.status().expect("start it").success());
    wait_for("its process id", LONG, || {
        let text = fs::read_to_string(&pid_file).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    })
}

/// Ends the daemon when a test ends early.
struct Ends(Pid);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

fn is_gone(pid: Pid) {
    wait_for("its end", LONG, || kill(pid, None).is_err().then_some(()));
}

fn has_address(host: &Namespace) -> bool {
    host.ip("address show dev eth0").contains("10.9.0.100")
}

#[test]
fn it_runs_in_the_background_and_hears_its_signals() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("background");
    let config = scratch.write(
        "a.conf",
        &["@one ", &with_dumps(&scratch, &instance(100, 0.1, ""))]
            .concat()
            .replace("@one global", "global"),
    );
    let pid = start(host, &scratch, &config, &["-i", "one"]);
    let ends = Ends(pid);
    let log = || fs::read_to_string(scratch.path("log")).unwrap_or_default();
    wait_for("the address", LONG, || has_address(host).then_some(()));
    let run_dir = Path::new("/run/xvrrp");
    assert!(status(host, run_dir, &[]).status.success(), "{}", log());
    assert_eq!(
        fs::read_to_string(scratch.path("vrrp-pid"))
            .expect("a file")
            .trim(),
        pid.to_string()
    );
    // Whoever collects figures sends these without asking who listens.
    for (signal, file) in [(Signal::SIGUSR1, "data"), (Signal::SIGUSR2, "stats")] {
        kill(pid, signal).expect("a signal");
        wait_for(file, LONG, || scratch.path(file).exists().then_some(()));
    }
    scratch.write("a.conf", &with_dumps(&scratch, &instance(120, 0.1, "")));
    kill(pid, Signal::SIGHUP).expect("a signal");
    wait_for("the reload", LONG, || {
        log()
            .contains("effective priority 100 -> 120")
            .then_some(())
    });
    kill(pid, Signal::SIGTERM).expect("a signal");
    is_gone(pid);
    std::mem::forget(ends);
    assert!(!has_address(host));
    assert!(!scratch.path("pid").exists() && !scratch.path("vrrp-pid").exists());
}

#[test]
fn it_leaves_the_addresses_where_they_are_if_told_so() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("keep");
    let config = scratch.write("a.conf", &instance(100, 0.1, ""));
    let capture = Capture::start(&lan.bridge, "br0", None);
    let pid = start(host, &scratch, &config, &["-V"]);
    let ends = Ends(pid);
    capture.wait_advert("an advert", 51, LONG, |advert| advert.priority == 100);
    wait_for("the address", LONG, || has_address(host).then_some(()));
    kill(pid, Signal::SIGTERM).expect("a signal");
    is_gone(pid);
    std::mem::forget(ends);
    assert!(has_address(host));
    let adverts = capture.adverts(51);
    assert!(
        adverts.iter().all(|advert| advert.priority == 100),
        "nobody resigned"
    );
}

/// What takes long at the end is no pause that a MASTER steps down after.
#[test]
fn it_leaves_them_there_however_long_the_end_takes() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("keep-long");
    let script = scratch.path("told");
    let told = format!(
        "notify_stop \"/bin/sh -c 'sleep 0.5; touch {}'\"",
        script.display()
    );
    let config = scratch.write("a.conf", &instance(100, 0.01, &told));
    let capture = Capture::start(&lan.bridge, "br0", None);
    let pid = start(host, &scratch, &config, &["-V"]);
    let ends = Ends(pid);
    wait_for("the address", LONG, || has_address(host).then_some(()));
    kill(pid, Signal::SIGTERM).expect("a signal");
    wait_for("the script", LONG, || script.exists().then_some(()));
    let so_far = capture.adverts(51).len();
    assert!(so_far > 0, "it was MASTER");
    is_gone(pid);
    std::mem::forget(ends);
    assert!(has_address(host));
    assert_eq!(
        capture.adverts(51).len(),
        so_far,
        "it had stopped saying anything"
    );
}

#[test]
fn it_runs_in_another_namespace() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("namespace");
    let config = |more: &str| scratch.write("a.conf", &[more, &instance(100, 0.1, "")].concat());
    let inside = format!("net_namespace {}\n", host.name());
    let rows = [
        (config(""), vec!["--netns", host.name()]),
        (config(&inside), vec![]),
    ];
    for (path, words) in rows {
        // Started outside.
        let mut command = Command::new(binary());
        command
            .args(["run", "--run-dir"])
            .arg(scratch.path("run"))
            .args(&words);
        command.arg(format!("--bpffs={}", scratch.path("none").display()));
        command.arg("--config").arg(&path);
        let mut daemon =
            xvrrp_tests::process::Process::start(command, &scratch.path("namespace.log"));
        wait_for("the address", Duration::from_secs(10), || {
            has_address(host).then_some(())
        });
        let answer = Command::new(binary())
            .args(["status", "--netns", host.name(), "--run-dir"])
            .arg(scratch.path("run"))
            .output()
            .expect("run xvrrp status");
        assert!(answer.status.success(), "{}", text(&answer.stderr));
        daemon.signal(Signal::SIGTERM);
        daemon.wait(LONG);
    }
}

/// A page for each command, one for the configuration, and completions that a shell reads.
#[test]
fn there_are_manual_pages_and_completions() {
    let scratch = Scratch::new("manual");
    let pages = scratch.path("pages");
    let xvrrp = |words: &[&str]| {
        let output = Command::new(binary())
            .args(words)
            .output()
            .expect("run xvrrp");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    xvrrp(&["manual", &pages.display().to_string()]);
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect(name);
    let whole = page("xvrrp.8");
    for command in [
        "run", "check", "status", "events", "watch", "top", "tap", "observe", "doctor", "upgrade",
    ] {
        assert!(whole.contains(command), "{command} in xvrrp(8)");
        assert!(
            page(&format!("xvrrp-{command}.8")).contains(".SH OPTIONS"),
            "{command}"
        );
    }
    let configuration = page("xvrrp.conf.5");
    for keyword in [
        "virtual_router_id",
        "advert_int",
        "accept_from",
        "state_dump_file",
    ] {
        assert!(
            configuration.contains(&keyword.replace('-', "\\-")),
            "{keyword} in xvrrp.conf(5)"
        );
    }
    let completions = scratch.write("completions", &xvrrp(&["completions", "bash"]));
    let read = Command::new("bash")
        .arg("-n")
        .arg(&completions)
        .status()
        .expect("run bash");
    assert!(read.success(), "bash cannot read the completions");
}
