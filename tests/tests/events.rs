//! `xvrrp events`, `watch` and `status INSTANCE`: what has happened, and the chain of its causes.

use std::fs;

use serde_json::Value;
use xvrrp_tests::{
    LONG,
    netns::{Lan, Namespace},
    process::{Process, Scratch},
    wait_for,
    xvrrp::{Xvrrp, binary, instance},
};

/// Two routers; the better one has a check that costs it the mastership.
struct Pair {
    lan: Lan,
    scratches: [Scratch; 2],
    routers: [Xvrrp; 2],
}

impl Pair {
    fn start(name: &str) -> Self {
        let lan = Lan::pair();
        let scratches = [0, 1].map(|number| Scratch::new(&format!("{name}-{number}")));
        let down = scratches[0].path("down");
        let script = format!(
            "vrrp_script backend {{\n script \"/bin/sh -c 'test ! -e {} || {{ echo nobody listens; exit 3; }}'\"\n \
             interval 0.2\n fall 1\n rise 1\n weight -60\n}}\n",
            down.display()
        );
        let track = " track_script {\n  backend\n }\n";
        let configs = [script + &instance(150, 0.1, track), instance(100, 0.1, "")];
        let routers = [0, 1].map(|number: usize| {
            Xvrrp::with_config(&lan.hosts[number], &scratches[number], &configs[number])
        });
        let pair = Self {
            lan,
            scratches,
            routers,
        };
        pair.wait("MASTER");
        pair
    }

    fn wait(&self, state: &str) {
        self.routers[0].wait_state(&self.lan.hosts[0], state, LONG);
    }

    /// The backend goes, or comes.
    fn backend(&self, is_there: bool) {
        let down = self.scratches[0].path("down");
        if is_there {
            fs::remove_file(down).expect("the backend comes");
        } else {
            fs::write(down, "").expect("the backend goes");
        }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.lan.hosts[0].command(&binary());
        command
            .args(words)
            .arg("--run-dir")
            .arg(self.routers[0].run_dir());
        command
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("run xvrrp");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn events(&self, words: &[&str]) -> Vec<Value> {
        parse(&self.says(&[&["events", "--json"], words].concat()))
    }
}

fn parse(lines: &str) -> Vec<Value> {
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn because(event: &Value) -> Vec<&str> {
    let all = event["because"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

#[test]
fn a_transition_names_the_chain_of_its_causes() {
    let pair = Pair::start("events");
    pair.backend(false);
    pair.wait("BACKUP");
    let last = pair.events(&["VI", "-n", "1"]);
    let event = last.first().expect("an event");
    assert_eq!(event["kind"], "transition");
    assert_eq!(
        (&event["before"], &event["state"]),
        (&"MASTER".into(), &"BACKUP".into())
    );
    assert_eq!(
        (&event["cause"], &event["priority"]),
        (&"beaten".into(), &90.into())
    );
    assert_eq!(
        because(event),
        [
            "it preempted us",
            "our priority is 90: 150 configured",
            "script backend adds -60: exited with 3, saying \"nobody listens\"",
        ]
    );
    // What led to it comes before it.
    let all = pair.events(&["-n", "100"]);
    let at = |is: &dyn Fn(&Value) -> bool| all.iter().position(is).expect("an event");
    let check = at(&|it| {
        it["kind"] == "check" && it["what"].as_str().is_some_and(|it| it.contains("is down"))
    });
    let transition = at(&|it| it["state"] == "BACKUP" && it["before"] == "MASTER");
    assert!(check < transition, "{all:#?}");
    let numbers: Vec<u64> = all.iter().filter_map(|it| it["number"].as_u64()).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    pair.backend(true);
    pair.wait("MASTER");
    let last = pair.events(&["VI", "-n", "1"]);
    let event = last.first().expect("an event");
    assert_eq!(event["cause"], "master_timeout");
    let what = event["what"].as_str().expect("a sentence");
    assert_eq!(what, "our priority 150 is higher than 10.9.0.2's 100");
    // The same for people, and with the instance in depth.
    let shown = pair.says(&["events", "VI", "-n", "1"]);
    assert!(
        shown.contains("(VI) BACKUP -> MASTER: our priority 150"),
        "{shown}"
    );
    let shown = pair.says(&["status", "VI"]);
    for wanted in [
        "VRID 51 on eth0, VRRPv3",
        "150 (base 150)",
        "because it preempted us",
        "lease",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    let output = pair.command(&["status", "VX"]).output().expect("run xvrrp");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("there is no instance VX (there are VI)"),
        "{errors}"
    );
}

/// Whoever watches sees each event once, in order, also those of the daemon after an upgrade.
#[test]
fn watch_goes_on_over_an_upgrade() {
    let pair = Pair::start("watch");
    let path = pair.scratches[0].path("watched");
    let _watching = Process::start(pair.command(&["watch", "--json", "-n", "1"]), &path);
    // While the daemon is replaced it says that it waits.
    let watched = || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines: Vec<&str> = whole.lines().filter(|line| line.starts_with('{')).collect();
        parse(&lines.join("\n"))
    };
    let wait = |what: &str, is: &dyn Fn(&Value) -> bool| {
        wait_for(what, LONG, || watched().iter().any(is).then_some(()));
    };
    wait("what was there", &|it| {
        it["kind"] == "transition" || it["kind"] == "check"
    });
    let output = pair.routers[0].upgrade(&pair.lan.hosts[0]);
    assert!(output.status.success(), "{output:?}");
    pair.says(&["drain", "VI"]);
    wait("the drain", &|it| {
        it["kind"] == "hand" && it["subject"] == "VI"
    });
    wait("its effect", &|it| {
        it["state"] == "FAULT" && because(it).iter().any(|it| it.contains("drained by hand"))
    });
    let numbers: Vec<u64> = watched()
        .iter()
        .filter_map(|it| it["number"].as_u64())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    // What happened before the upgrade is known after it.
    let first = pair.events(&["-n", "1000"]);
    let what = first.first().map(|it| it["what"].to_string());
    assert!(
        what.is_some_and(|it| it.contains("has started")),
        "{first:#?}"
    );
    let reload = pair.says(&["reload"]);
    let last = pair.events(&["-n", "1"]);
    assert_eq!(last[0]["kind"], "reload", "{reload}");
}

/// A sync group's members say what the other one did.
#[test]
fn a_member_of_a_group_names_the_other_one() {
    let lan = Lan::pair();
    let scratch = Scratch::new("events-group");
    let host: &Namespace = &lan.hosts[0];
    lan.wire([0, 1], "eth9");
    let member = |name: &str, vrid: u8, more: &str| {
        instance(100, 0.1, more)
            .replace("vrrp_instance VI", &format!("vrrp_instance {name}"))
            .replace("virtual_router_id 51", &format!("virtual_router_id {vrid}"))
            .replace("10.9.0.100/24", &format!("10.9.0.{vrid}/24"))
    };
    let config = member("VA", 61, " track_interface {\n  eth9\n }\n")
        + &member("VB", 62, "")
        + "vrrp_sync_group VG {\n group {\n  VA\n  VB\n }\n}\n";
    let router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    host.ip("link set eth9 down");
    let event = wait_for("VB to leave MASTER", LONG, || {
        let mut command = host.command(&binary());
        command.args(["events", "VB", "--json", "-n", "1", "--run-dir"]);
        let output = command.arg(router.run_dir()).output().expect("run xvrrp");
        let last = parse(&String::from_utf8_lossy(&output.stdout));
        last.into_iter()
            .find(|it| it["cause"] == "group" && it["before"] == "MASTER")
    });
    let because = because(&event).join("\n");
    assert!(
        because.contains("VA of sync group VG entered FAULT"),
        "{because}"
    );
    assert!(because.contains("interface eth9 is down"), "{because}");
}
