//! Who is told of what happens: scripts in order, FIFOs, mails, webhooks; and what is done by hand.

use std::{
    fs::{self, OpenOptions},
    io::Read as _,
    net::Ipv4Addr,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use xvrrp_tests::{
    capture::Sender,
    frames::AdvertSpec,
    netns::Lan,
    process::Scratch,
    sinks::{Sink, Taken},
    wait_for,
    xvrrp::{Xvrrp, binary, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const LONG: Duration = Duration::from_secs(20);
/// How often the check turns.
const FLAPS: usize = 200;

/// A script that appends its arguments to a file.
fn recorder(scratch: &Scratch, name: &str) -> (PathBuf, PathBuf) {
    let log = scratch.path(&format!("{name}.log"));
    let text = format!("#!/bin/sh\necho \"$@\" >> {}\n", log.display());
    let script = scratch.write(&format!("{name}.sh"), &text);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    (script, log)
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The state in a script's line or a FIFO's.
fn state(line: &str) -> &str {
    line.split_whitespace().nth(2).unwrap_or_default()
}

/// A check that passes while a file is there.
fn switch(scratch: &Scratch, weight: &str) -> (String, PathBuf) {
    let path = scratch.write("well", "");
    let config = format!(
        "vrrp_script well {{\n script \"/usr/bin/test -e {}\"\n interval 0.01\n timeout 1\n \
         weight {weight}\n}}\n",
        path.display()
    );
    (config, path)
}

fn flip(path: &Path, up: bool) {
    if up {
        fs::write(path, "").expect("make the file");
    } else {
        fs::remove_file(path).expect("remove the file");
    }
}

#[test]
fn fast_flaps_are_told_in_order_and_the_last_is_true() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("flaps");
    let (script, log) = recorder(&scratch, "notify");
    let (reader, reader_log) = recorder(&scratch, "reader");
    let (check, path) = switch(&scratch, "0");
    let fifo = scratch.path("fifo");
    let config = format!(
        "global_defs {{\n notify_fifo {0}\n vrrp_notify_fifo {0}.second\n \
         vrrp_notify_fifo_script {1}\n}}\n{check}{2}",
        fifo.display(),
        reader.display(),
        instance(
            100,
            0.01,
            &format!(
                " track_script {{\n  well\n }}\n notify {}\n",
                script.display()
            )
        )
    );
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    assert!(fs::metadata(&fifo).expect("a FIFO").file_type().is_fifo());
    let mut open = OpenOptions::new();
    let pipe = open.read(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
    let mut pipe = pipe.expect("open the FIFO");
    let mut told = String::new();
    for flap in 0..FLAPS {
        let up = flap % 2 == 1;
        flip(&path, up);
        router.wait_state(host, if up { "MASTER" } else { "FAULT" }, LONG);
    }
    let last = router.wait_state(host, "MASTER", LONG);
    let of_the_end = wait_for("the last script", LONG, || {
        let script = router.instance(host, "VI")?["last_script"].clone();
        let text = script.as_str()?;
        text.contains("INSTANCE VI MASTER 100: exited with 0")
            .then_some(())?;
        // One line for each flap, and BACKUP and MASTER at the start and after each FAULT.
        let lines = lines(&log);
        (lines.len() == 2 + FLAPS / 2 * 3).then_some(lines)
    });
    assert_eq!(last["instances"][0]["state"], "MASTER");
    assert_eq!(state(of_the_end.last().expect("a line")), "MASTER");
    // Reads what is there; the pipe never ends, for the daemon holds it.
    let _ = pipe.read_to_string(&mut told);
    let of_fifo: Vec<&str> = told.lines().collect();
    let expected: Vec<String> = of_the_end
        .iter()
        .map(|line| format!("INSTANCE \"VI\" {} 100", state(line)))
        .collect();
    assert_eq!(of_fifo, expected, "the FIFO has every line in order");
    let path = format!("{}.second", fifo.display());
    assert_eq!(
        lines(&reader_log).first(),
        Some(&path),
        "the reader's argument"
    );
    let status = router.status(host).expect("a status");
    let first = &status["told"][0];
    assert_eq!(first["sent"], expected.len(), "{first}");
    assert_eq!(first["lost"], 0, "{first}");
    router.terminate();
    assert_eq!(state(lines(&log).last().expect("a line")), "STOP");
    let mut rest = String::new();
    let _ = pipe.read_to_string(&mut rest);
    assert_eq!(rest, "INSTANCE \"VI\" STOP 100\n");
    assert!(!fifo.exists(), "what the daemon has made goes with it");
}

/// A reader takes its time; the daemon ends only after it has read the end.
#[test]
fn who_reads_a_fifo_reads_its_end() {
    let lan = Lan::new(1);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("reader");
    let log = scratch.path("read.log");
    let text = format!(
        "#!/bin/sh\nwhile read -r line; do sleep 0.1; echo \"$line\" >> {}; done < \"$1\"\n",
        log.display()
    );
    let reader = scratch.write("reader.sh", &text);
    fs::set_permissions(&reader, fs::Permissions::from_mode(0o755)).expect("chmod");
    let config = format!(
        "global_defs {{\n vrrp_notify_fifo {}\n vrrp_notify_fifo_script {}\n}}\n{}",
        scratch.path("fifo").display(),
        reader.display(),
        instance(100, 0.1, "")
    );
    let mut router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    router.terminate();
    let lines = lines(&log);
    let states: Vec<&str> = lines.iter().map(|line| state(line)).collect();
    assert_eq!(states, ["BACKUP", "MASTER", "STOP"]);
}

#[test]
fn mails_and_webhooks_wait_for_those_who_take_them() {
    let lan = Lan::new(2);
    let (host, other) = (&lan.hosts[0], &lan.hosts[1]);
    other.ip("link set lo up");
    let scratch = Scratch::new("mails");
    let (check, path) = switch(&scratch, "0");
    let peer = Lan::address(1);
    let config = |port: u16| {
        format!(
            "global_defs {{\n router_id lb1\n notification_email {{\n  a@example.org\n  b@example.org\n }}\n \
             notification_email_from lb1@example.org\n smtp_server {peer} {port}\n smtp_connect_timeout 2\n \
             smtp_alert\n webhook http://{peer}:8088/events\n}}\n{check}{}",
            instance(100, 0.1, " track_script {\n  well\n }\n")
        )
    };
    let router = Xvrrp::with_config(host, &scratch, &config(2524));
    router.wait_state(host, "MASTER", LONG);
    // Nobody listens yet; the events wait.
    wait_for("mails to wait", LONG, || {
        let status = router.status(host)?;
        let waiting = |at: usize| status["told"][at]["waiting"].as_u64();
        (waiting(0)? == 2 && waiting(1)? == 2).then_some(())
    });
    // What waits goes to the server that a reload names.
    router.reloads(host, &scratch, &config(2525));
    flip(&path, false);
    router.wait_state(host, "FAULT", LONG);
    let (mails, posts) = (Taken::default(), Taken::default());
    let sinks = (
        Sink::mail(other, 2525, &mails),
        Sink::web(other, 8088, &posts),
    );
    let count = |taken: &Taken| taken.lock().expect("a lock").len();
    let wait_count = |wanted: usize| {
        wait_for(format!("{wanted} messages"), LONG * 2, || {
            (count(&mails) >= wanted && count(&posts) >= wanted).then_some(())
        });
    };
    wait_count(3);
    // They are away once more.
    drop(sinks);
    flip(&path, true);
    router.wait_state(host, "MASTER", LONG);
    let _sinks = (
        Sink::mail(other, 2525, &mails),
        Sink::web(other, 8088, &posts),
    );
    wait_count(5);
    let words = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"];
    let posts: Vec<Value> = posts
        .lock()
        .expect("a lock")
        .iter()
        .map(|text| serde_json::from_str(text).expect("JSON"))
        .collect();
    let states: Vec<&Value> = posts.iter().map(|post| &post["state"]).collect();
    assert_eq!(states, words);
    assert_eq!(posts[2]["router"], "lb1");
    assert_eq!(posts[2]["why"], "something it tracks failed");
    let mails = mails.lock().expect("a lock");
    assert_eq!(mails.len(), words.len(), "each once: {mails:#?}");
    for (mail, word) in mails.iter().zip(words) {
        let subject = format!("Subject: [lb1] VRRP Instance VI - Entering {word} state");
        assert!(mail.contains(&subject), "{mail}");
        assert!(mail.contains("From: lb1@example.org"), "{mail}");
        assert!(mail.contains("a@example.org, b@example.org"), "{mail}");
    }
}

#[test]
fn losing_adverts_and_other_priorities_are_told() {
    let lan = Lan::new(2);
    let host = &lan.hosts[0];
    let scratch = Scratch::new("losing");
    let (script, log) = recorder(&scratch, "loser");
    let (check, path) = switch(&scratch, "-10");
    let fifo = scratch.path("fifo");
    let config = format!(
        "global_defs {{\n vrrp_notify_fifo {}\n vrrp_notify_priority_changes\n}}\n{check}{}",
        fifo.display(),
        instance(
            100,
            0.1,
            &format!(
                " track_script {{\n  well\n }}\n notify_master_rx_lower_pri \"{} lower\"\n",
                script.display()
            )
        )
    );
    let router = Xvrrp::with_config(host, &scratch, &config);
    router.wait_state(host, "MASTER", LONG);
    let mut open = OpenOptions::new();
    let pipe = open.read(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
    let mut pipe = pipe.expect("open the FIFO");
    let mut told = String::new();
    let mut wait_line = |line: &str| {
        wait_for(format!("the line {line}"), LONG, || {
            let _ = pipe.read_to_string(&mut told);
            told.lines().any(|known| known == line).then_some(())
        });
    };
    wait_line("INSTANCE \"VI\" MASTER 100");
    flip(&path, false);
    wait_line("INSTANCE \"VI\" MASTER_PRIORITY 90");
    // Somebody who does not hear us believes to be MASTER.
    let mac = lan.hosts[1].mac("eth0");
    let mut advert = AdvertSpec::new(mac, Lan::address(1), 51, 50, VIP);
    advert.interval_cs = 10;
    Sender::new(&lan.hosts[1]).send(&advert.build());
    wait_line("INSTANCE \"VI\" MASTER_RX_LOWER_PRI 90");
    wait_for("the script", LONG, || {
        (lines(&log).first()? == "lower").then_some(())
    });
}

fn by_hand(router: &Xvrrp, host: &xvrrp_tests::netns::Namespace, words: &[&str]) -> (bool, String) {
    let mut command = host.command(&binary());
    command.args(words).arg("--run-dir").arg(router.run_dir());
    let output = command.output().expect("run xvrrp");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn by_hand_out_and_in_again_and_another_priority() {
    let lan = Lan::new(2);
    let [first_host, second_host] = [&lan.hosts[0], &lan.hosts[1]];
    let (first_dir, second_dir) = (Scratch::new("hand-1"), Scratch::new("hand-2"));
    let first_config = instance(100, 0.1, "");
    let first = Xvrrp::with_config(first_host, &first_dir, &first_config);
    first.wait_state(first_host, "MASTER", LONG);
    let second = Xvrrp::with_config(second_host, &second_dir, &instance(90, 0.1, ""));
    second.wait_state(second_host, "BACKUP", LONG);
    let (done, said) = by_hand(&first, first_host, &["drain", "VI"]);
    assert!(done, "{said}");
    second.wait_state(second_host, "MASTER", LONG);
    let status = first.wait_state(first_host, "FAULT", LONG);
    let faults = status["instances"][0]["faults"].to_string();
    assert!(faults.contains("drained by hand"), "{faults}");
    // It stays out: over a reload, and over an upgrade.
    first.reloads(
        first_host,
        &first_dir,
        &instance(100, 0.1, " garp_master_delay 1\n"),
    );
    first.wait_state(first_host, "FAULT", LONG);
    let upgraded = first.upgrade(first_host);
    assert!(upgraded.status.success(), "{}", first.process.log());
    let status = first.wait_state(first_host, "FAULT", LONG);
    assert_eq!(status["instances"][0]["drained"], true);
    // And as another virtual router of the same name, even.
    let other = first_config.replace("virtual_router_id 51", "virtual_router_id 52");
    for config in [&other, &first_config] {
        first.reloads(first_host, &first_dir, config);
        first.wait_state(first_host, "FAULT", LONG);
    }
    let (done, said) = by_hand(&first, first_host, &["undrain", "--all"]);
    assert!(done, "{said}");
    first.wait_state(first_host, "MASTER", LONG);
    second.wait_state(second_host, "BACKUP", LONG);
    // Another priority until the next reload.
    let (done, said) = by_hand(&first, first_host, &["priority", "VI", "80"]);
    assert!(done, "{said}");
    second.wait_state(second_host, "MASTER", LONG);
    let status = first.wait_state(first_host, "BACKUP", LONG);
    assert_eq!(status["instances"][0]["priority_by_hand"], 80);
    first.reloads(first_host, &first_dir, &first_config);
    first.wait_state(first_host, "MASTER", LONG);
    for (words, complaint) in [
        (
            &["drain", "VX"][..],
            "there is no instance VX (there are VI)",
        ),
        (&["priority", "VI", "255"], "1..=254"),
        (&["drain"], "required"),
    ] {
        let (done, said) = by_hand(&first, first_host, words);
        assert!(!done && said.contains(complaint), "{words:?}: {said}");
    }
    first.wait_state(first_host, "MASTER", LONG);
}
