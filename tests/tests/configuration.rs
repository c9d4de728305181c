//! Broken and partial configurations, as an operator meets them.

use std::time::Duration;

use xvrrp_tests::{
    netns::Lan,
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, check, instance},
};

const LONG: Duration = Duration::from_secs(15);

const BROKEN: &str = "vrrp_instance BAD_VRID {
  version 3
  interface eth0
  virtual_router_id 999
  virtual_ipaddress { 10.9.0.101/24 }
}
vrrp_instance BAD_ADDRESS {
  version 3
  interface eth0
  virtual_router_id 2
  virtual_ipaddress { 10.0.0.300 }
}
vrrp_instance UNCLOSED {
  version 3
  interface eth0
  virtual_router_id 3
  virtual_ipaddress { 10.9.0.103/24 }

vrrp_instance WHOLE {
  version 3
  interface eth0
  virtual_router_id 4
  advert_int 0.1
  virtual_ipaddress { 10.9.0.104/24 }
}
vrrp_instance DUPLICATE {
  version 3
  interface eth0
  virtual_router_id 4
  virtual_ipaddress { 10.9.0.105/24 }
}
";

#[test]
fn check_names_every_problem_where_it_stands() {
    let scratch = Scratch::new("check");
    let output = check(&scratch, BROKEN, &[]);
    assert_eq!(output.status.code(), Some(4));
    let shown = String::from_utf8_lossy(&output.stdout);
    println!("{shown}");
    for place in [
        "check.conf:4:21: virtual_router_id cannot be 999",
        "check.conf:11:23: 10.0.0.300 is not an IP address",
        "check.conf:13:24: this block is never closed",
        "check.conf:26:15: virtual_router_id 4 on eth0 is already that of WHOLE",
    ] {
        assert!(shown.contains(place), "{place} in:\n{shown}");
    }
    // Each with the text underlined and a hint.
    assert!(
        shown.matches("help: ").count() >= 4 && shown.contains("───"),
        "{shown}"
    );
    assert!(
        shown.contains("1 instances can be served, 4 errors"),
        "{shown}"
    );
}

#[test]
fn check_is_content_with_a_whole_file_and_strict_is_not_with_warnings() {
    let scratch = Scratch::new("strict");
    let whole = instance(100, 1.0, "");
    assert!(check(&scratch, &whole, &[]).status.success());
    let warned = instance(100, 1.0, " use_vmac\n");
    assert!(check(&scratch, &warned, &[]).status.success());
    assert_eq!(
        check(&scratch, &warned, &["--strict"]).status.code(),
        Some(4)
    );
}

#[test]
fn the_examples_are_whole() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).expect("the examples") {
        let path = entry.expect("an example").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        let scratch = Scratch::new("examples");
        let output = check(&scratch, &text, &["--strict"]);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}:\n{shown}", path.display());
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn run_serves_what_is_whole() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("partial");
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, BROKEN);
    let status = router.wait_state(&lan.hosts[0], "MASTER", LONG);
    let names: Vec<&str> = status["instances"]
        .as_array()
        .expect("instances")
        .iter()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert_eq!(names, ["WHOLE"]);
    let shown = lan.hosts[0].ip("address show dev eth0");
    assert!(
        shown.contains("10.9.0.104/24") && !shown.contains("10.9.0.101"),
        "{shown}"
    );
    assert!(
        router
            .process
            .log()
            .contains(":4:21: error: virtual_router_id cannot be 999")
    );
}

#[test]
fn run_exits_when_nothing_is_left() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("nothing");
    let broken = instance(100, 1.0, "").replace("virtual_router_id 51", "virtual_router_id 999");
    let mut router = Xvrrp::with_config(&lan.hosts[0], &scratch, &broken);
    assert!(!router.process.wait(LONG).success());
    assert!(
        router
            .process
            .log()
            .contains("no vrrp_instance can be served")
    );
    let missing = instance(100, 1.0, "").replace("interface eth0", "interface eth7");
    let mut router = Xvrrp::with_config(&lan.hosts[0], &scratch, &missing);
    assert!(!router.process.wait(LONG).success());
    let log = router.process.log();
    assert!(
        log.contains("there is no interface eth7") && log.contains("dynamic_interfaces"),
        "{log}"
    );
}

#[test]
fn a_dynamic_interface_is_waited_for() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("dynamic");
    let config = "global_defs {\n dynamic_interfaces\n}\n".to_owned()
        + &instance(100, 0.1, "").replace("interface eth0", "interface eth7");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &config);
    let status = router.wait_state(host, "FAULT", LONG);
    assert_eq!(
        status["instances"][0]["faults"][0],
        "interface eth7 does not exist"
    );
    host.ip("link add eth7 type veth peer name far7");
    host.ip("address add 10.9.0.7/24 dev eth7");
    host.ip("link set far7 up");
    host.ip("link set eth7 up");
    let status = router.wait_state(host, "MASTER", LONG);
    assert_eq!(status["interfaces"][0]["attached"], "tc");
    assert!(host.ip("address show dev eth7").contains("10.9.0.100/24"));
    // It goes and comes back under another index.
    host.ip("link del eth7");
    router.wait_state(host, "FAULT", LONG);
    host.ip("link add eth7 type veth peer name far7");
    host.ip("address add 10.9.0.7/24 dev eth7");
    host.ip("link set far7 up");
    host.ip("link set eth7 up");
    router.wait_state(host, "MASTER", LONG);
    wait_for("the address to be back", LONG, || {
        host.ip("address show dev eth7")
            .contains("10.9.0.100/24")
            .then_some(())
    });
}

#[test]
fn a_forced_mode_is_used_and_shown() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("mode");
    let path = scratch.write("mode.conf", &instance(100, 0.1, ""));
    let path = path.display().to_string();
    // A native program stays after a clean stop; whoever wants another mode then takes it off.
    for mode in ["native", "tc", "native", "generic", "native", "off"] {
        let mut router = Xvrrp::run(
            &lan.hosts[0],
            &scratch,
            &["--config", &path, "--xdp-mode", mode],
        );
        let status = router.wait_state(&lan.hosts[0], "MASTER", LONG);
        let interface = &status["interfaces"][0];
        let shown = if mode == "off" { "userspace" } else { mode };
        assert_eq!(interface["attached"], shown);
        let reason = interface["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("asked for by --xdp-mode"), "{reason}");
        let has_xdp = lan.hosts[0].ip("link show dev eth0").contains("xdp");
        assert_eq!(has_xdp, matches!(mode, "native" | "generic"), "{mode}");
        router.terminate();
    }
}

/// A check that cannot be run has failed; whatever does not depend on it is served.
#[test]
fn a_check_that_cannot_run_counts_as_failed() {
    let lan = Lan::new(1);
    let scratch = Scratch::new("unrunnable");
    let scripts = "vrrp_script nobody {\n script /bin/true\n user no-such-user-here\n weight 0\n}\n\
                   vrrp_script missing {\n script /no/such/program\n interval 0.1\n weight -20\n}\n\
                   vrrp_script endless {\n script \"/bin/sh -c 'trap : TERM; while :; do sleep 1; done'\"\n \
                   interval 0.2\n timeout 0.2\n fall 2\n weight -30\n}\n";
    let held = instance(100, 0.1, " track_script {\n  nobody\n }\n");
    let free = instance(100, 0.1, " track_script {\n  missing\n  endless\n }\n")
        .replace("instance VI", "instance FREE")
        .replace("router_id 51", "router_id 52")
        .replace("10.9.0.100", "10.9.0.101");
    let host = &lan.hosts[0];
    let router = Xvrrp::with_config(host, &scratch, &(scripts.to_owned() + &held + &free));
    wait_for("FREE to be MASTER with both checks down", LONG, || {
        let entry = router.instance(host, "FREE")?;
        (entry["state"] == "MASTER" && entry["effective_priority"] == 50).then_some(())
    });
    assert_eq!(router.instance(host, "VI").expect("VI")["state"], "FAULT");
    let status = router.status(host).expect("a status");
    let last = |name: &str| {
        let scripts = status["scripts"].as_array().expect("scripts");
        let script = scripts
            .iter()
            .find(|script| script["name"] == name)
            .expect("the script");
        script["last"].as_str().unwrap_or_default().to_owned()
    };
    assert!(
        last("nobody").contains("there is no user no-such-user-here"),
        "{}",
        last("nobody")
    );
    assert!(
        last("missing").contains("could not be started"),
        "{}",
        last("missing")
    );
    assert_eq!(last("endless"), "took longer than its timeout");
}
