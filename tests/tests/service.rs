//! xvrrp under a service manager: what it says to systemd, and that the unit's own commands do what
//! the unit needs them for.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::sys::signal::Signal;
use xvrrp_tests::{
    LONG,
    netns::Lan,
    process::{Process, Scratch},
    wait_for,
    xvrrp::{binary, instance, status},
};

/// The unit as it is shipped.
fn unit() -> String {
    std::fs::read_to_string(packaging().join("xvrrp.service")).expect("the unit")
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// The values of a key in the unit.
fn values(key: &str) -> Vec<String> {
    let start = format!("{key}=");
    let unit = unit();
    let lines = unit.lines().filter_map(|line| line.strip_prefix(&start));
    lines.map(str::to_owned).collect()
}

/// The words of a command line of the unit, with this build's binary and these paths.
fn words(line: &str, config: &Path) -> Vec<String> {
    line.replace("/usr/bin/xvrrp", &binary())
        .replace("/etc/xvrrp/xvrrp.conf", &config.display().to_string())
        .split(' ')
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_service_manager_is_told_and_the_unit_cleans_up() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("service");
    let config = scratch.write("xvrrp.conf", &instance(100, 0.1, ""));
    let path = scratch.path("notify");
    let manager = UnixDatagram::bind(&path).expect("the manager's socket");
    manager.set_nonblocking(true).expect("non-blocking");
    let mut told = String::new();
    let mut wait_told = |what: &str| {
        wait_for(what.to_owned(), LONG, || {
            let mut buffer = [0; 512];
            while let Ok(length) = manager.recv(&mut buffer) {
                told.push_str(&String::from_utf8_lossy(&buffer[..length]));
                told.push('\n');
            }
            let (before, after) = told.split_once(what)?;
            assert!(!before.contains("STOPPING=1"));
            told = after.to_owned();
            Some(())
        });
    };

    let line = values("ExecStart").concat();
    let run_dir = scratch.path("run").display().to_string();
    let start = || {
        let words = words(&line, &config);
        let mut command = host.command(&words[0]);
        command
            .args(&words[1..])
            .args(["--run-dir", &run_dir])
            .env("NOTIFY_SOCKET", &path);
        Process::start(command, &scratch.path("service.log"))
    };
    assert_eq!(values("Type"), ["notify"]);
    let mut daemon = start();
    wait_told("READY=1");
    let answer = status(host, &scratch.path("run"), &[]);
    assert!(answer.status.success(), "ready means that it answers");
    daemon.signal(Signal::SIGHUP);
    wait_told("RELOADING=1");
    wait_told("READY=1");
    let reload = words(&values("ExecReload").concat(), &config);
    let mut reload_command = host.command(&reload[0]);
    reload_command
        .args(&reload[1..])
        .args(["--run-dir", &run_dir]);
    let reloaded = reload_command.output().expect("run ExecReload");
    assert!(reloaded.status.success(), "{}", text(&reloaded));
    wait_told("RELOADING=1");
    wait_told("READY=1");
    assert!(daemon.runs(), "a reload ends nobody");

    let has_address = || host.ip("address show dev eth0").contains("10.9.0.100");
    wait_for("the address", LONG, || has_address().then_some(()));
    daemon.signal(Signal::SIGKILL);
    daemon.wait(LONG);
    assert!(has_address(), "a crash leaves it");
    let stop_post = words(&values("ExecStopPost").concat(), &config);
    let stop_post = |result: &str| {
        let cleaned = host
            .command(&stop_post[0])
            .args(&stop_post[1..])
            .args(["--run-dir", &run_dir])
            .env("SERVICE_RESULT", result)
            .output()
            .expect("run ExecStopPost");
        assert!(cleaned.status.success(), "{}", text(&cleaned));
        text(&cleaned)
    };
    let said = stop_post("signal");
    assert!(
        has_address(),
        "left to the daemon that is restarted: {said}"
    );
    let said = stop_post("success");
    assert!(!has_address(), "{said}");

    daemon = start();
    wait_told("READY=1");
    daemon.signal(Signal::SIGTERM);
    wait_told("STOPPING=1");
    assert!(daemon.wait(LONG).success());
}

#[test]
fn the_sample_configuration_and_the_unit_are_valid() {
    let sample = packaging().join("xvrrp.conf");
    let output = Command::new(binary())
        .args(["check", "--strict"])
        .arg(&sample)
        .output()
        .expect("run xvrrp check");
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("0 errors, 0 warnings"),
        "{}",
        text(&output)
    );

    // systemd's own opinion.
    let scratch = Scratch::new("unit");
    let installed = unit().replace("/usr/bin/xvrrp", &binary());
    let path = scratch.write("xvrrp.service", &installed);
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .expect("run systemd-analyze; `cargo xtask setup` installs it");
    // It loads other units along, which are not ours to judge.
    let complaints = text(&output);
    let ours = complaints
        .lines()
        .filter(|line| line.contains("xvrrp.service"));
    let ours: Vec<&str> = ours.collect();
    assert!(output.status.success() && ours.is_empty(), "{complaints}");
}

/// systemd's figure for how much a service is exposed, from 0 to 10: as shipped, where scripts can still do
/// their work, and with the drop-in for routers that run none.
#[test]
fn the_unit_is_hardened() {
    let scratch = Scratch::new("exposure");
    let installed = unit().replace("/usr/bin/xvrrp", &binary());
    scratch.write("xvrrp.service", &installed);
    let shipped = exposure(&scratch);
    let dropins = scratch.path("xvrrp.service.d");
    std::fs::create_dir(&dropins).expect("a directory");
    let strict = packaging().join("strict.conf");
    std::fs::copy(strict, dropins.join("strict.conf")).expect("the drop-in");
    let strict = exposure(&scratch);
    println!("exposure {shipped} as shipped, {strict} with strict.conf");
    assert!(shipped <= 8.0 && strict <= 4.5, "{shipped} {strict}");
}

fn exposure(scratch: &Scratch) -> f64 {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "xvrrp.service"])
        .env(
            "SYSTEMD_UNIT_PATH",
            format!("{}:", scratch.path("").display()),
        )
        .output()
        .expect("run systemd-analyze; `cargo xtask setup` installs it");
    let said = text(&output);
    let line = said.lines().find(|line| line.contains("Overall exposure"));
    let words = line.unwrap_or_else(|| panic!("{said}")).split(' ');
    let mut figures = words.filter_map(|word| word.parse().ok());
    figures.next().unwrap_or_else(|| panic!("{said}"))
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
