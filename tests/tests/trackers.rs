//! What instances track beside the service's script: built-in checks, files, processes, and scripts that
//! misbehave.

use std::{
    fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path, process::Command, thread,
    time::Duration,
};

use serde_json::Value;
use xvrrp_tests::{
    capture::Capture,
    netns::{Lan, Namespace},
    process::{Process, Scratch},
    stalls::unless_stalled,
    wait_for,
    xvrrp::{Xvrrp, instance},
};

const LONG: Duration = Duration::from_secs(20);

/// One router, alone on its LAN, with these checks.
struct Router {
    lan: Lan,
    scratch: Scratch,
    daemon: Xvrrp,
}

impl Router {
    fn start(name: &str, definitions: impl FnOnce(&Scratch) -> String, tracks: &str) -> Self {
        let lan = Lan::new(2);
        let scratch = Scratch::new(name);
        let config = definitions(&scratch) + &instance(100, 0.1, tracks);
        let daemon = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
        Self {
            lan,
            scratch,
            daemon,
        }
    }

    fn host(&self) -> &Namespace {
        &self.lan.hosts[0]
    }

    fn instance(&self) -> Option<Value> {
        self.daemon.instance(self.host(), "VI")
    }

    /// What `status` says of a check.
    fn check(&self, name: &str) -> Option<Value> {
        let status = self.daemon.status(self.host())?;
        let mut all = status["scripts"].as_array()?.iter();
        all.find(|entry| entry["name"] == name).cloned()
    }

    fn wait_check(&self, name: &str, up: bool) -> Value {
        wait_for(format!("{name} to be up: {up}"), LONG, || {
            self.check(name).filter(|entry| entry["up"] == up)
        })
    }

    fn wait_priority(&self, priority: u64) {
        wait_for(format!("priority {priority}"), LONG, || {
            let now = self.instance()?["effective_priority"].as_u64()?;
            (now == priority).then_some(())
        });
    }

    fn wait_state(&self, state: &str) -> Value {
        self.daemon.wait_state(self.host(), state, LONG)
    }
}

fn last(check: &Value) -> String {
    check["last"].as_str().unwrap_or_default().to_owned()
}

/// A web server that answers with this status and text. It lives as long as the process.
fn serve(namespace: &Namespace, port: u16, status: &'static str, text: &'static str) {
    let listener = namespace.enter(|| TcpListener::bind(("0.0.0.0", port)).expect("a server"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read as _, Write as _};
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = stream.read(&mut [0; 2048]);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
        }
    });
}

#[test]
fn checks_that_are_built_in() {
    let peer = Lan::address(1);
    let own = Lan::address(0);
    let cases = [
        ("open", format!("tcp {peer}:81"), true, "connected"),
        ("closed", format!("tcp {peer}:80"), false, "refused"),
        ("good", format!("http http://{peer}:81/x"), true, "200"),
        ("bad", format!("http http://{peer}:82/"), false, "503"),
        (
            "expected",
            format!("http http://{peer}:82/ expect 503"),
            true,
            "503",
        ),
        (
            "text",
            format!("http http://{peer}:81/ expect \"all is well\""),
            true,
            "200",
        ),
        (
            "no_text",
            format!("http http://{peer}:81/ expect \"all is bad\""),
            false,
            "without",
        ),
        (
            "refused",
            format!("http http://{peer}:83/"),
            false,
            "refused",
        ),
        ("alive", format!("icmp {peer}"), true, "answered"),
        ("itself", format!("icmp {own}"), true, "answered"),
        ("dead", "icmp 10.9.0.77".to_owned(), false, "timeout"),
        ("v6", "icmp ::1".to_owned(), true, "answered"),
        (
            "no_haproxy",
            "haproxy /nowhere.sock".to_owned(),
            false,
            "No such file",
        ),
        (
            "no_stats",
            format!("haproxy {peer}:81"),
            false,
            "stats socket",
        ),
        ("unit", "systemd no-such-unit.service".to_owned(), false, ""),
    ];
    let definitions = |_: &Scratch| {
        let blocks = cases.iter().map(|(name, check, _, _)| {
            format!("vrrp_script {name} {{\n check {check}\n interval 0.2\n timeout 0.15\n weight 1\n}}\n")
        });
        blocks.collect()
    };
    let names: Vec<&str> = cases.iter().map(|(name, ..)| *name).collect();
    let tracks = format!(" track_script {{\n  {}\n }}\n", names.join("\n  "));
    let router = Router::start("built-in", definitions, &tracks);
    router.host().ip("link set lo up");
    serve(&router.lan.hosts[1], 81, "200 OK", "here all is well");
    serve(&router.lan.hosts[1], 82, "503 Service Unavailable", "");
    for (name, _, up, said) in &cases {
        let check = router.wait_check(name, *up);
        assert!(last(&check).contains(said), "{name}: {check}");
    }
    let passing = cases.iter().filter(|(_, _, up, _)| *up).count();
    router.wait_priority(100 + u64::try_from(passing).expect("few"));
}

#[test]
fn a_number_in_a_file() {
    let definitions = |scratch: &Scratch| {
        let path = scratch.path("number");
        format!(
            "track_file points {{\n file {0}\n weight 2\n init_file 5\n}}\n\
             track_file stop {{\n file {0}.stop\n weight 0\n}}\n",
            path.display()
        )
    };
    let tracks = " track_file {\n  points\n  stop\n }\n";
    let router = Router::start("file", definitions, tracks);
    let path = router.scratch.path("number");
    router.wait_state("MASTER");
    assert_eq!(fs::read_to_string(&path).expect("init_file").trim(), "5");
    router.wait_priority(110);
    fs::write(&path, "-20").expect("write");
    router.wait_priority(60);
    // As editors do it: another file takes the name.
    let draft = router.scratch.path("draft");
    fs::write(&draft, "0x10 apples\n").expect("write");
    fs::rename(&draft, &path).expect("rename");
    router.wait_priority(132);
    fs::write(&path, "-127").expect("write");
    let status = router.wait_state("FAULT");
    assert_eq!(status["instances"][0]["faults"][0], "file points says -127");
    fs::remove_file(&path).expect("remove");
    router.wait_state("MASTER");
    router.wait_priority(100);
    let stop = router.scratch.path("number.stop");
    fs::write(&stop, "1\n").expect("write");
    router.wait_state("FAULT");
    fs::write(&stop, "0\n").expect("write");
    router.wait_state("MASTER");
}

#[test]
fn processes_are_counted() {
    let program = |scratch: &Scratch| {
        let path = scratch.path("a-tracked-thing");
        fs::copy("/bin/sleep", &path).expect("copy sleep");
        path
    };
    let definitions = |scratch: &Scratch| {
        program(scratch);
        "vrrp_track_process one {\n process a-tracked-thing\n weight 10\n}\n\
         vrrp_track_process two {\n process a-tracked-thing\n quorum 2\n weight 20\n}\n\
         vrrp_track_process none {\n process a-tracked-thing 97\n quorum_max 0\n weight 40\n}\n"
            .to_owned()
    };
    let tracks = " track_process {\n  one\n  two\n  none\n }\n";
    let router = Router::start("process", definitions, tracks);
    let path = router.scratch.path("a-tracked-thing");
    router.wait_state("MASTER");
    router.wait_priority(140);
    let start = |time: &str, log: &str| {
        let mut command = Command::new(&path);
        command.arg(time);
        Process::start(command, &router.scratch.path(log))
    };
    let mut first = start("98", "first");
    router.wait_priority(150);
    let second = start("97", "second");
    router.wait_priority(130);
    first.signal(nix::sys::signal::Signal::SIGKILL);
    first.wait(LONG);
    router.wait_priority(110);
    drop(second);
    router.wait_priority(140);
}

/// In the first network namespace the kernel tells of processes; nothing is sent there.
#[test]
fn the_kernel_tells_of_processes() {
    use vrrp_userspace::health::{
        ProcessRule,
        processes::{Processes, watch},
    };
    let scratch = Scratch::new("connector");
    let path = scratch.path("told-by-kernel");
    fs::copy("/bin/sleep", &path).expect("copy sleep");
    let rule = ProcessRule {
        words: vec!["told-by-kernel".to_owned()],
        ..ProcessRule::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (changed, mut turned) = tokio::sync::mpsc::unbounded_channel();
        let (sender, state) = tokio::sync::watch::channel(Processes::default());
        tokio::spawn(watch(vec![("p".to_owned(), rule)], sender, changed));
        let mut next = async || {
            let turned = tokio::time::timeout(LONG, turned.recv()).await;
            turned.expect("in time").expect("the watch goes on");
            let state = state.borrow();
            (state.rules["p"], state.source.clone())
        };
        let (standing, source) = next().await;
        assert_eq!((standing.count, standing.up), (0, false));
        assert_eq!(source, "the kernel tells");
        let mut child = Command::new(&path).arg("99").spawn().expect("start it");
        let (standing, _) = next().await;
        assert_eq!((standing.count, standing.up), (1, true));
        child.kill().expect("end it");
        let (standing, _) = next().await;
        assert_eq!((standing.count, standing.up), (0, false));
        child.wait().expect("bury it");
    });
}

/// Each of them gets a clear status, and does no harm to the rest.
#[test]
fn scripts_that_misbehave() {
    let definitions = |scratch: &Scratch| {
        let script = |name: &str, text: &str, mode: u32| {
            let path = scratch.write(name, &format!("#!/bin/sh\n{text}\n"));
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            path
        };
        let pid = scratch.path("left.pid");
        let paths = [
            ("good", script("good", "echo all is well", 0o755)),
            (
                "endless",
                script("endless", "trap '' TERM\nwhile :; do sleep 1; done", 0o755),
            ),
            (
                "forks",
                script(
                    "forks",
                    &format!(
                        "[ -e {0} ] && exit 0\nsleep 100 & echo $! > {0}\nexit 0",
                        pid.display()
                    ),
                    0o755,
                ),
            ),
            (
                "floods",
                script(
                    "floods",
                    "head -c 1000000000 /dev/zero\necho the end",
                    0o755,
                ),
            ),
            ("no_x", script("no_x", "exit 0", 0o644)),
            ("others", script("others", "exit 0", 0o700)),
            ("missing", scratch.path("missing")),
            ("killed", script("killed", "kill -9 $$", 0o755)),
            (
                "speaks",
                script("speaks", "echo disk is full >&2; exit 3", 0o755),
            ),
        ];
        let block = |(name, path): &(&str, std::path::PathBuf)| {
            let user = match *name {
                "others" => " user nobody nogroup\n",
                _ => "",
            };
            // What floods needs time for it.
            let timeout = if *name == "floods" { "20" } else { "0.3" };
            format!(
                "vrrp_script {name} {{\n script \"{}\"\n interval 0.4\n timeout {timeout}\n weight 1\n{user}}}\n",
                path.display()
            )
        };
        paths.iter().map(block).collect()
    };
    let names = "good endless forks floods no_x others missing killed speaks";
    let tracks = format!(" track_script {{\n  {}\n }}\n", names.replace(' ', "\n  "));
    let router = Router::start("misbehave", definitions, &tracks);
    let capture = Capture::start(&router.lan.bridge, "br0", None);
    let expected = [
        ("good", true, "exited with 0"),
        ("endless", false, "longer than its timeout"),
        ("forks", true, "exited with 0"),
        ("floods", true, "exited with 0"),
        ("no_x", false, "ermission denied"),
        ("others", false, "ermission denied"),
        ("missing", false, "No such file"),
        ("killed", false, "signal 9"),
        ("speaks", false, "exited with 3"),
    ];
    for (name, up, said) in expected {
        let check = router.wait_check(name, up);
        assert!(last(&check).contains(said), "{name}: {check}");
    }
    let output = |name: &str| router.check(name).map(|it| it["output"].clone());
    assert_eq!(output("good"), Some("all is well".into()));
    assert_eq!(output("speaks"), Some("disk is full".into()));
    let flood = output("floods").expect("a status");
    let flood = flood.as_str().expect("a text");
    assert!(
        flood.ends_with("the end") && flood.len() <= 1024,
        "{}",
        flood.len()
    );
    router.wait_state("MASTER");
    router.wait_priority(103);
    // What a script leaves behind goes on.
    let pid = fs::read_to_string(router.scratch.path("left.pid")).expect("what it left");
    assert!(Path::new(&format!("/proc/{}", pid.trim())).exists());
    let _ = Command::new("kill").arg(pid.trim()).status();
    // The election has not noticed any of it.
    let adverts = wait_for("steady adverts", LONG, || {
        let adverts = capture.adverts(51);
        (adverts.len() > 20).then_some(adverts)
    });
    let own: Vec<u64> = adverts.iter().map(|advert| advert.at_ns).collect();
    let longest = own.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest.is_some_and(|gap| gap < 300_000_000), "{longest:?}");
}

/// One that ignores SIGTERM does not either: the next daemon would run it beside its own.
#[test]
fn no_script_outlives_its_daemon() {
    let definitions = |scratch: &Scratch| {
        let pids = scratch.path("pids");
        let text = format!(
            "#!/bin/sh\ntrap '' TERM\necho $$ >> {}\nwhile :; do sleep 1; done\n",
            pids.display()
        );
        let path = scratch.write("endless", &text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        format!(
            "vrrp_script endless {{\n script \"{}\"\n interval 60\n timeout 50\n weight 1\n}}\n",
            path.display()
        )
    };
    let mut router = Router::start("outlives", definitions, " track_script {\n  endless\n }\n");
    let run = |number: usize| {
        wait_for(format!("run {number} of the script"), LONG, || {
            let pids = fs::read_to_string(router.scratch.path("pids")).ok()?;
            let pid = pids.lines().nth(number)?;
            Some(Path::new("/proc").join(pid))
        })
    };
    let before = run(0);
    let output = router.daemon.upgrade(router.host());
    assert!(output.status.success(), "{output:?}");
    let after = run(1);
    assert!(!before.exists(), "{} after an upgrade", before.display());
    assert!(after.exists(), "the next daemon runs it");
    router.daemon.terminate();
    assert!(!after.exists(), "{} after a stop", after.display());
}

/// An unweighted script holds its instance out until its first result; `init_fail` until it passes.
#[test]
fn out_until_the_first_result() {
    let definitions = |scratch: &Scratch| {
        let go = scratch.path("go");
        format!(
            "vrrp_script slow {{\n script \"/bin/sh -c 'while [ ! -e {} ]; do sleep 0.05; done'\"\n \
             interval 30\n weight 0\n}}\n",
            go.display()
        )
    };
    let router = Router::start("first", definitions, " track_script {\n  slow\n }\n");
    let status = router.wait_state("INIT");
    let why = status["instances"][0]["why"].as_str().expect("a reason");
    assert!(why.contains("first result"), "{why}");
    // Another router becomes MASTER meanwhile, for it hears nobody.
    let other = Scratch::new("first-other");
    let backup = Xvrrp::with_config(&router.lan.hosts[1], &other, &instance(50, 0.1, ""));
    backup.wait_state(&router.lan.hosts[1], "MASTER", LONG);
    router.wait_state("INIT");
    fs::write(router.scratch.path("go"), "").expect("let it go");
    router.wait_state("MASTER");
}

/// A gateway that answers on other addresses is nobody's business here.
#[test]
fn a_quorum_of_targets() {
    let peer = Lan::address(1);
    let definitions = |_: &Scratch| {
        format!(
            "vrrp_arbiter world {{\n target icmp {peer}\n target tcp {peer}:81\n target tcp {peer}:82\n \
             quorum 2\n interval 0.1\n timeout 0.1\n}}\n"
        )
    };
    let router = Router::start("quorum", definitions, " track_arbiter {\n  world\n }\n");
    let status = router.wait_state("FAULT");
    assert_eq!(status["instances"][0]["faults"][0], "arbiter world is down");
    let check = router.wait_check("world", false);
    assert!(last(&check).contains("1 of 3 pass, 2 needed"), "{check}");
    serve(&router.lan.hosts[1], 82, "200 OK", "");
    router.wait_state("MASTER");
    // Nobody at all answers.
    router.lan.cable(1, false);
    let check = wait_for("the arbiter to be down", LONG, || {
        router
            .check("world")
            .filter(|it| last(it).contains("nobody answers"))
    });
    assert_eq!(check["up"], false, "{check}");
    router.wait_state("FAULT");
    router.lan.cable(1, true);
    router.wait_state("MASTER");
}

/// A thousand checks a second on two cores, beside a master and a backup with adverts each 10 ms.
#[test]
fn a_thousand_scripts_do_not_disturb_the_election() {
    const CHECKS: usize = 1000;
    let lan = Lan::new(2);
    let (scratch, peer) = (Scratch::new("thousand"), Scratch::new("thousand-peer"));
    let names: Vec<String> = (0..CHECKS).map(|number| format!("c{number}")).collect();
    let block = |name: &String| {
        format!(
            "vrrp_script {name} {{\n script /bin/true\n interval 1\n timeout 10\n weight 0\n}}\n"
        )
    };
    let blocks: String = names.iter().map(block).collect();
    let tracks = format!(" track_script {{\n  {}\n }}\n", names.join("\n  "));
    let config = blocks + &instance(100, 0.01, &tracks);
    let router = Xvrrp::with_config(&lan.hosts[0], &scratch, &config);
    router.wait_state(&lan.hosts[0], "MASTER", LONG * 3);
    let backup = Xvrrp::with_config(&lan.hosts[1], &peer, &instance(50, 0.01, ""));
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let entered = |router: &Xvrrp, host: usize| {
        let entry = router.instance(&lan.hosts[host], "VI").expect("a status");
        entry["counters"]["became_master"].as_u64()
    };
    let both = || (entered(&router, 0), entered(&backup, 1));
    assert_eq!(both(), (Some(1), Some(0)));
    let measure = || {
        let before = both();
        let capture = Capture::start(&lan.bridge, "br0", None);
        wait_for("ten seconds of adverts", LONG * 2, || {
            (capture.adverts(51).len() >= 1000).then_some(())
        });
        let adverts = capture.adverts(51);
        let gaps = adverts.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns);
        let longest = gaps.max().expect("adverts");
        println!("longest gap between adverts: {} us", longest / 1000);
        (longest, before == both())
    };
    // A backup waits three intervals and Skew_Time.
    let holds = |(longest, _): &(u64, bool)| *longest < 30_000_000;
    let seen = unless_stalled(Duration::from_millis(20), measure, holds);
    assert!(
        holds(&seen) && seen.1,
        "longest gap, and whether nobody took over: {seen:?}"
    );
}
