//! What a stranger does who has nothing but the documents: every command in them is run, on machines of
//! their own where it changes one.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use xvrrp_tests::{
    LONG,
    client::Client,
    documents::{Document, all, project},
    machine::{Machine, Shared, both},
    netns::{Lan, Namespace},
    ping::Pinger,
    process::{Process, Scratch},
    spend, wait_for, wall_ns,
    xvrrp::{binary, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 7, 3, 202);
/// Building comes first where nothing was built.
const BUILD: Duration = Duration::from_mins(10);
/// How long the commands that go on by themselves are let go on.
const A_MOMENT: Duration = Duration::from_secs(3);

/// A machine that has the project in `/src`, as it was built here.
fn stranger(network: &Namespace, scratch: &Scratch) -> Machine {
    let built = std::path::PathBuf::from(binary());
    let deb = std::env::var("XVRRP_DEB").expect("XVRRP_DEB; run `cargo xtask test [FILTER]`");
    let packages = std::path::Path::new(&deb).parent().expect("a directory");
    let (readme, docs, packaging) = (
        project().join("README.md"),
        project().join("docs"),
        project().join("packaging"),
    );
    let shared = [
        (readme.as_path(), "/src/README.md"),
        (docs.as_path(), "/src/docs"),
        (packaging.as_path(), "/src/packaging"),
        (built.as_path(), "/src/target/release/xvrrp"),
        (packages, "/src/target/package/deb"),
    ];
    let shared = shared.map(|(what, at)| Shared { what, at });
    Machine::boot(network, scratch, &shared)
}

/// A line of shell at the project's root, inside a namespace.
fn here(host: &Namespace, line: &str) -> Command {
    let mut command = host.command("sh");
    // The arguments of the test program are not those of the commands.
    command
        .args(["-c", &format!("exec {line}")])
        .current_dir(project());
    // Root's own path need not have it.
    let cargo = std::env::var("CARGO").expect("cargo runs the tests");
    let cargo = std::path::Path::new(&cargo).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", cargo.display()));
    command
}

/// Starts something that goes on by itself, waits until it has said this, and ends it as Ctrl-C does.
fn until_it_says(command: Command, scratch: &Scratch, words: &str, limit: Duration) {
    let mut process = Process::start(command, &scratch.path("goes-on.log"));
    wait_for(format!("{words:?} to be said"), limit, || {
        assert!(
            process.runs() || process.log().contains(words),
            "{}",
            process.log()
        );
        process.log().contains(words).then_some(())
    });
    // To all of its group, as from a keyboard; it may have come to its end.
    let group = Pid::from_raw(-i32::try_from(process.pid()).expect("a pid"));
    let _ = kill(group, Signal::SIGINT);
    process.end(Signal::SIGINT, LONG);
}

#[test]
fn the_readme_leads_to_a_pair_of_haproxies() {
    let mut readme = Document::open("README.md");
    let scratch = Scratch::new("readme");
    let lan = Lan::new(3);
    let client = &lan.hosts[2];
    client.ip("address add 10.7.0.3/16 dev eth0");

    // On the machine that builds.
    let package = here(client, readme.take("cargo xtask package"));
    until_it_says(package, &scratch, ".rpm", BUILD);
    let machines = [0, 1].map(|number| stranger(&lan.hosts[number], &scratch));
    for (machine, priority) in machines.iter().zip([110, 100]) {
        // What the two machines run already.
        machine.run(
            "printf 'defaults\\n mode http\\n timeout client 5s\\n timeout server 5s\\n timeout connect 1s\\nfrontend web\\n \
             bind *:80\\n http-request return status 200\\n' > /etc/haproxy/haproxy.cfg && systemctl restart haproxy",
        );
        for command in [
            "sudo apt install ./target/package/deb/xvrrp_*.deb",
            "sudo cp docs/examples/haproxy.conf /etc/xvrrp/xvrrp.conf",
        ] {
            machine.run(readme.take(command));
        }
        // "Then make it yours."
        let own = format!("s/priority 110 .*/priority {priority}/");
        machine.run(&format!("sed -i '{own}' /etc/xvrrp/xvrrp.conf"));
        machine.run(readme.take("xvrrp check /etc/xvrrp/xvrrp.conf"));
        machine.run(readme.take("sudo systemctl enable --now xvrrp"));
        let said = machine.run(readme.take("xvrrp status"));
        assert!(said.contains("VI_1"), "{said}");
    }
    wait_for("the better one to be MASTER", LONG, || {
        machines[0].has_address(VIP).then_some(())
    });
    let asker = Client::start(client, VIP, 80, Duration::from_millis(50));
    let served = || {
        let from = wall_ns();
        wait_for("answers", LONG, || {
            let answers = asker.answers();
            (answers.iter().filter(|at| **at > from).count() > 5).then_some(())
        });
    };
    served();
    machines[0].run("systemctl stop haproxy");
    wait_for("the address on the other one", LONG, || {
        (machines[1].has_address(VIP) && !machines[0].has_address(VIP)).then_some(())
    });
    served();
    machines[0].run("systemctl start haproxy");
    wait_for("the address back", LONG, || {
        machines[0].has_address(VIP).then_some(())
    });
    served();
    look_around(&mut readme, &machines[0], &scratch);
    change_without_notice(&mut readme, &machines[0], client);
    drop(machines);
    without_packages(&mut readme, &lan.hosts[0], &scratch);
    try_it_out(&mut readme, &lan.hosts[1], &scratch);
    readme.finish();
}

/// "See what happens".
fn look_around(readme: &mut Document, machine: &Machine, scratch: &Scratch) {
    let said = machine.run(readme.take("xvrrp events"));
    assert!(
        said.contains("MASTER -> BACKUP") && said.contains("because"),
        "{said}"
    );
    for (command, words) in [
        ("xvrrp observe --iface eth0", "10.7.3.202"),
        ("xvrrp tap --iface eth0", "VRID 51"),
    ] {
        until_it_says(machine.shell(readme.take(command)), scratch, words, LONG);
    }
    let watch = machine.shell(readme.take("xvrrp watch"));
    let watch = Process::start(watch, &scratch.path("watch.log"));
    wait_for("something to be told", LONG, || {
        machine.run("xvrrp priority VI_1 111");
        watch.log().contains("(VI_1)").then_some(())
    });
    drop(watch);
    // Whether something is wrong with the machine is for it to say.
    let output = machine.shell(readme.take("xvrrp doctor")).output();
    let said = both(&output.expect("run the doctor"));
    assert!(said.contains("eth0"), "{said}");
    // A terminal of its own: `script` is part of every Debian.
    let top = readme.take("xvrrp top");
    let line = format!(
        "timeout --signal INT 3 script --quiet --command 'stty rows 24 cols 80; {top}' /dev/null"
    );
    let output = machine.shell(&line).stdin(Stdio::null()).output();
    let said = both(&output.expect("run top"));
    assert!(said.contains("VI_1"), "{said}");
}

/// "Nobody notices a new version or a changed configuration".
fn change_without_notice(readme: &mut Document, machine: &Machine, client: &Namespace) {
    let pinger = Pinger::start(client, IpAddr::V4(VIP), Duration::from_millis(10));
    let lost = pinger.lost_during(|| {
        for command in [
            "sudo xvrrp reload",
            "sudo install target/release/xvrrp /usr/bin/ && sudo xvrrp upgrade",
            "sudo systemctl restart xvrrp",
        ] {
            machine.run(readme.take(command));
        }
    });
    assert!(
        lost <= 1,
        "{lost} pings were lost on the way of a new version"
    );
    let said = machine.run("xvrrp status VI_1");
    assert!(said.contains("MASTER"), "{said}");
}

/// "As a service", from the build alone.
fn without_packages(readme: &mut Document, network: &Namespace, scratch: &Scratch) {
    let machine = stranger(network, scratch);
    for command in [
        "sudo install target/release/xvrrp /usr/bin/",
        "sudo install -D -m 644 packaging/xvrrp.conf /etc/xvrrp/xvrrp.conf",
        "sudo install -D -m 644 packaging/xvrrp.service /etc/systemd/system/xvrrp.service",
        "sudo systemctl daemon-reload",
        "sudo systemctl enable --now xvrrp",
    ] {
        machine.run(readme.take(command));
    }
    wait_for("the address of the sample", LONG, || {
        machine
            .has_address(Ipv4Addr::new(192, 0, 2, 10))
            .then_some(())
    });
}

/// "Two commands", and the lab.
fn try_it_out(readme: &mut Document, host: &Namespace, scratch: &Scratch) {
    let default = here(host, readme.take("cargo xtask run --iface eth0"));
    until_it_says(default, scratch, "Entering MASTER STATE", BUILD);
    let own = here(
        host,
        readme.take("cargo xtask run --config docs/examples/haproxy.conf"),
    );
    until_it_says(own, scratch, "Entering MASTER STATE", BUILD);
    let lab = readme.take("cargo xtask lab --case preempt-30 --picture lab.svg");
    let picture = scratch.path("lab.svg");
    // Elsewhere than in the project.
    let line = lab.replace("lab.svg", &picture.display().to_string());
    let output = here(host, &line).output().expect("play the lab");
    assert!(output.status.success(), "{}", both(&output));
    let drawn = std::fs::read_to_string(picture).expect("the picture");
    assert!(drawn.contains("HAProxy on r1 dies"), "{drawn}");
    // This is what runs us: it must only be a command.
    let test = readme.take("cargo xtask test");
    let output = here(host, &format!("{test} --help"))
        .output()
        .expect("ask for help");
    assert!(output.status.success(), "{}", both(&output));
}

#[test]
fn keepalived_hands_a_pair_over_and_nobody_notices() {
    let mut page = Document::open("docs/migrate.md");
    let scratch = Scratch::new("migrate");
    let lan = Lan::new(3);
    let address = Ipv4Addr::new(10, 9, 0, 100);
    let [lb1, lb2] = [0, 1].map(|number| stranger(&lan.hosts[number], &scratch));
    for (machine, priority) in [(&lb1, 110), (&lb2, 100)] {
        let config =
            instance(priority, 1.0, "").replace("vrrp_instance VI ", "vrrp_instance VI_1 ");
        machine.run(&format!(
            "echo '{config}' > /etc/keepalived/keepalived.conf"
        ));
        machine.run("systemctl enable --now keepalived");
        wait_for("somebody to be MASTER", LONG, || {
            lb1.has_address(address).then_some(())
        });
    }
    let pinger = Pinger::start(
        &lan.hosts[2],
        IpAddr::V4(address),
        Duration::from_millis(10),
    );
    wait_for("pings to be answered", LONG, || {
        pinger.is_answered().then_some(())
    });
    let from = wall_ns();

    for machine in [&lb1, &lb2] {
        for command in [
            "sudo apt install ./target/package/deb/xvrrp_*.deb",
            "xvrrp check /etc/keepalived/keepalived.conf",
            "xvrrp explain /etc/keepalived/keepalived.conf",
            "sudo cp /etc/keepalived/keepalived.conf /etc/xvrrp/xvrrp.conf",
        ] {
            machine.run(page.take(command));
        }
    }
    let change = |page: &mut Document, machine: &Machine| {
        machine.run(page.take("sudo systemctl disable --now keepalived"));
        machine.run(page.take("sudo systemctl enable --now xvrrp"));
    };
    change(&mut page, &lb2);
    let said = lb2.run(page.take("xvrrp status"));
    assert!(said.contains("BACKUP"), "{said}");
    let output = lb2.shell(page.take("xvrrp doctor")).output();
    assert!(both(&output.expect("run the doctor")).contains("eth0"));
    lb2.run(page.take("sudo xvrrp priority VI_1 254"));
    wait_for("the address on lb2 alone", LONG, || {
        (lb2.has_address(address) && !lb1.has_address(address)).then_some(())
    });
    let said = lb2.run(page.take("xvrrp events"));
    assert!(said.contains("BACKUP -> MASTER"), "{said}");
    change(&mut page, &lb1);
    lb2.run(page.take("sudo xvrrp reload"));
    wait_for("the address on lb1 alone", LONG, || {
        (lb1.has_address(address) && !lb2.has_address(address)).then_some(())
    });
    // Whatever there is to lose is lost by then.
    spend(A_MOMENT);
    let span = from..wall_ns();
    wait_for("the last answers", LONG, || {
        Pinger::has_judged(span.end).then_some(())
    });
    let lost = pinger.lost(&span);
    println!(
        "lost {lost} of {} pings",
        (span.end - span.start) / 10_000_000
    );
    // One on its way for each of the two moves.
    assert!(lost <= 2, "{lost} pings were lost");

    // And back.
    lb2.run(page.take("sudo systemctl disable --now xvrrp"));
    lb2.run(page.take("sudo systemctl enable --now keepalived"));
    assert_eq!(lb2.run("systemctl is-active keepalived").trim(), "active");
    page.finish();
}

#[test]
fn every_command_about_configurations_and_speed_is_run() {
    let scratch = Scratch::new("documents");
    let network = Namespace::new("documents");
    let mut page = Document::open("docs/configuration.md");
    let config = scratch.write("FILE", &instance(100, 1.0, ""));
    scratch.write("node1.conf", &instance(110, 1.0, ""));
    scratch.write("node2.conf", &instance(100, 1.0, ""));
    for command in [
        "xvrrp check FILE",
        "xvrrp check --strict --json FILE",
        "xvrrp check node1.conf node2.conf",
        "xvrrp explain FILE",
        "xvrrp explain --keyword advert_int",
        "xvrrp fmt --write FILE",
    ] {
        let line = page.take(command).replacen("xvrrp", &binary(), 1);
        let mut command = here(&network, &line);
        let output = command
            .current_dir(config.parent().expect("a directory"))
            .output();
        let output = output.expect("run xvrrp");
        assert!(output.status.success(), "{line}\n{}", both(&output));
    }
    // With a daemon beside it: in the walk of the README.
    page.take("xvrrp reload");
    page.finish();

    let mut page = Document::open("docs/performance.md");
    let line = page.take("cargo xtask bench --only xvrrp kernel");
    let line = format!("{line} --out {}", scratch.path("bench").display());
    let output = here(&network, &line).output().expect("run the bench");
    assert!(output.status.success(), "{}", both(&output));
    page.finish();

    let walked = [
        "README.md",
        "docs/configuration.md",
        "docs/migrate.md",
        "docs/performance.md",
    ];
    assert_eq!(
        all(),
        walked,
        "a document with commands that nobody walks through"
    );
}
