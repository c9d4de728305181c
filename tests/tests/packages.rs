//! The packages: what is in them, that they install on a clean Debian, and that nothing is left when they have
//! gone.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use xvrrp_tests::{
    LONG,
    documents::project,
    machine::{Machine, Shared, both},
    netns::Lan,
    ping::Pinger,
    process::Scratch,
    wait_for,
    xvrrp::instance,
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

fn package(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    path.map_or_else(
        || panic!("{variable} names a package; run `cargo xtask test [FILTER]`"),
        PathBuf::from,
    )
}

/// What a program prints that must succeed.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("run {program}: {error}"));
    assert!(output.status.success(), "{program}: {}", both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A machine that sees the .deb in `/packages`.
fn machine(lan: &Lan, scratch: &Scratch) -> Machine {
    let deb = package("XVRRP_DEB");
    let shared = Shared {
        what: deb.parent().expect("a directory"),
        at: "/packages",
    };
    let machine = Machine::boot(&lan.hosts[0], scratch, &[shared]);
    // What the kernel gives it by itself comes a little later.
    wait_for("its link-local address", LONG, || {
        let address = machine.run("ip -6 -o address show dev eth0 scope link -tentative");
        (!address.is_empty()).then_some(())
    });
    machine
}

/// Everything that could be left of a package: files, but for what dpkg, systemd and the log keep of their own;
/// what is pinned, attached, or on an interface.
fn everything(machine: &Machine) -> BTreeSet<String> {
    let files = machine.run(
        "find / -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /var/cache -prune \
         -o -path /var/lib/apt -prune -o -path /root -prune -o -print; find /run/xvrrp* /sys/fs/bpf 2>/dev/null || true; \
         ls /run/systemd/system /run/systemd/transient 2>/dev/null || true",
    );
    // Its own lines begin with a number that counts up.
    let network = machine.run(
        "ip -o address show | sed 's/valid_lft.*//'; ip -o link show | grep -o 'prog/[a-z]*' || true; tc qdisc show; \
         tc filter show dev eth0 ingress; ip rule; ip route show table all",
    );
    let lines = files.lines().chain(network.lines());
    lines.map(str::to_owned).collect()
}

fn configure(machine: &Machine) {
    let config = instance(100, 0.1, "");
    machine.run(&format!("echo '{config}' > /etc/xvrrp/xvrrp.conf"));
}

#[test]
fn the_deb_comes_runs_is_renewed_and_leaves_nothing() {
    let scratch = Scratch::new("deb");
    let lan = Lan::new(2);
    let machine = machine(&lan, &scratch);
    let before = everything(&machine);

    machine.run("dpkg --install /packages/*.deb");
    for (question, answer) in [
        ("systemctl is-enabled xvrrp", "disabled"),
        ("systemctl is-active xvrrp", "inactive"),
    ] {
        let output = machine.shell(question).output().expect("ask systemd");
        assert_eq!(both(&output).trim(), answer, "{question}");
    }
    let version = machine.run("xvrrp --version");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    machine.run("xvrrp check --strict /etc/xvrrp/xvrrp.conf");
    let files = machine.run("dpkg --listfiles xvrrp");
    for file in [
        "/usr/share/man/man8/xvrrp.8.gz",
        "/usr/share/man/man5/xvrrp.conf.5.gz",
        "/usr/share/bash-completion/completions/xvrrp",
        "/usr/share/doc/xvrrp/copyright",
    ] {
        assert!(files.lines().any(|line| line == file), "{file} in\n{files}");
    }

    configure(&machine);
    machine.run("systemctl enable --now xvrrp");
    wait_for("the address", LONG, || {
        machine.has_address(ADDRESS).then_some(())
    });
    let pins = machine.run("find /sys/fs/bpf -type f");
    assert!(pins.contains("xvrrp"), "{pins}");

    // The same version again is what any other would be: the old one's prerm, the new one's postinst.
    let pinger = Pinger::start(
        &lan.hosts[1],
        IpAddr::V4(ADDRESS),
        Duration::from_millis(10),
    );
    let pid = machine.run("systemctl show --property MainPID xvrrp");
    let lost = pinger.lost_during(|| {
        machine.run("dpkg --install /packages/*.deb");
        wait_for("the new daemon", LONG, || {
            let now = machine.run("systemctl show --property MainPID xvrrp");
            (now != pid && !now.contains("=0")).then_some(())
        });
        machine.run("xvrrp status");
    });
    assert!(
        lost <= 1,
        "{lost} pings were lost as the package was renewed"
    );
    assert!(machine.has_address(ADDRESS));
    drop(pinger);

    machine.run("dpkg --purge xvrrp");
    assert_eq!(left(&machine, &before), Vec::<String>::new());
}

#[test]
fn a_daemon_without_a_service_manager_is_seen_to_as_well() {
    let scratch = Scratch::new("deb-by-hand");
    let lan = Lan::new(1);
    let machine = machine(&lan, &scratch);
    let before = everything(&machine);
    machine.run("dpkg --install /packages/*.deb");
    configure(&machine);
    let mut daemon = machine.shell("exec xvrrp run --config /etc/xvrrp/xvrrp.conf");
    let mut daemon = daemon
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("start it");
    wait_for("the address", LONG, || {
        machine.has_address(ADDRESS).then_some(())
    });

    let output = machine
        .shell("dpkg --remove xvrrp")
        .output()
        .expect("run dpkg");
    let text = both(&output);
    assert!(
        !output.status.success() && text.contains("see to it"),
        "{text}"
    );
    assert!(
        machine.has_address(ADDRESS),
        "nothing is torn from a daemon that runs"
    );

    machine.run("killall -KILL xvrrp");
    daemon.wait().expect("its end");
    assert!(machine.has_address(ADDRESS), "a crash leaves it");
    machine.run("dpkg --purge xvrrp");
    assert_eq!(left(&machine, &before), Vec::<String>::new());
}

/// What was not there before.
fn left(machine: &Machine, before: &BTreeSet<String>) -> Vec<String> {
    let now = everything(machine);
    now.difference(before).cloned().collect()
}

/// The recipe's own lines, as far as they are not the builder's: what it copies, runs, and starts.
#[test]
fn the_recipe_of_the_container_makes_a_master() {
    let recipe = project().join("packaging/Containerfile");
    let recipe = std::fs::read_to_string(recipe).expect("the recipe");
    let of = |word: &str| {
        let line = recipe.lines().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_else(|| panic!("{word} in the recipe"))
            .trim()
    };
    let words =
        |word: &str| -> Vec<String> { serde_json::from_str(of(word)).expect("a list of words") };
    let scratch = Scratch::new("container");
    let lan = Lan::new(1);
    let machine = machine(&lan, &scratch);
    assert_eq!(of("COPY"), "target/package/deb/*.deb /tmp/");
    machine.run("cp /packages/*.deb /tmp/");
    machine.run(of("RUN"));
    configure(&machine);
    let capabilities = recipe.split("--cap-add ").nth(1).expect("the capabilities");
    let capabilities = capabilities.split_whitespace().next().unwrap_or_default();
    let bound = capabilities.to_lowercase().replace(',', ",+");
    let line = [words("ENTRYPOINT"), words("CMD")].concat().join(" ");
    let line = format!("exec setpriv --bounding-set=-all,+{bound} {line}");
    let mut daemon = machine.shell(&line).spawn().expect("start it");
    wait_for("the address", LONG, || {
        machine.has_address(ADDRESS).then_some(())
    });
    let status = machine.run("xvrrp status --json");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["instances"][0]["state"], "MASTER");
    machine.run("killall -TERM xvrrp");
    assert!(daemon.wait().expect("its end").success());
    assert!(!machine.has_address(ADDRESS));
}

/// The paths of a package's files, without its documents and what only one of them has.
fn program_files<'l>(paths: impl Iterator<Item = &'l str>) -> BTreeSet<String> {
    let own = |path: &&str| {
        !path.ends_with('/')
            && !path.contains("/doc/")
            && !path.contains("/zsh/")
            && !Path::new(path).is_dir()
    };
    // Debian's man pages are compressed, and its units may be below /lib.
    let plain = |path: &str| {
        let path = path.trim_start_matches('.').trim_end_matches(".gz");
        path.strip_prefix("/lib/")
            .map_or_else(|| path.to_owned(), |rest| format!("/usr/lib/{rest}"))
    };
    paths.filter(own).map(plain).collect()
}

#[test]
fn the_rpm_has_the_same_and_says_what_it_does() {
    let rpm = package("XVRRP_RPM").display().to_string();
    let deb = package("XVRRP_DEB").display().to_string();
    let query = |options: &[&str]| {
        said(
            "rpm",
            &[&["--query", "--package"], options, &[&rpm]].concat(),
        )
    };
    let digests = said("rpm", &["--checksig", "--nosignature", &rpm]);
    assert!(digests.contains("OK"), "{digests}");

    let listed = query(&["--list"]);
    let contents = said("dpkg-deb", &["--contents", &deb]);
    let in_deb = contents
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    assert_eq!(program_files(listed.lines()), program_files(in_deb));
    assert_eq!(query(&["--configfiles"]).trim(), "/etc/xvrrp/xvrrp.conf");
    let format = "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]";
    let modes = query(&["--queryformat", format]);
    for line in [
        "-rwxr-xr-x root /usr/bin/xvrrp",
        "-rw-r--r-- root /etc/xvrrp/xvrrp.conf",
    ] {
        assert!(modes.lines().any(|it| it == line), "{line} in\n{modes}");
    }
    let needs = query(&["--requires"]);
    assert!(
        needs.contains("libc.so.6") && needs.contains("systemd"),
        "{needs}"
    );

    let scratch = Scratch::new("rpm");
    let scripts = query(&["--scripts"]);
    for (name, words) in [
        ("postinstall", "try-restart xvrrp"),
        ("preuninstall", "xvrrp cleanup"),
        ("postuninstall", "rm -rf /run/xvrrp"),
    ] {
        let after = scripts.split(&format!("{name} scriptlet")).nth(1);
        let script = after.unwrap_or_else(|| panic!("{name} in\n{scripts}"));
        let script = script.split_once('\n').expect("its lines").1;
        let script = script.split("scriptlet (using").next().unwrap_or_default();
        let body: Vec<&str> = script.lines().collect();
        // The heading of the next one.
        let body = if scripts.ends_with(script) {
            &body[..]
        } else {
            &body[..body.len() - 1]
        };
        assert!(script.contains(words), "{name}: {script}");
        let path = scratch.write(name, &body.join("\n"));
        said("sh", &["-n", &path.display().to_string()]);
    }

    // Into a root of its own, and out again.
    let root = scratch.path("root").display().to_string();
    let common = ["--root", &root, "--nodeps", "--noscripts"];
    said("rpm", &[&common[..], &["--install", &rpm]].concat());
    said(
        "rpm",
        &[
            "--root",
            &root,
            "--verify",
            "--nodeps",
            "--noscripts",
            "xvrrp",
        ],
    );
    let version = said(&format!("{root}/usr/bin/xvrrp"), &["--version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    said("rpm", &[&common[..], &["--erase", "xvrrp"]].concat());
    // Directories are for its script, which needs a shell.
    let left = said("find", &[&root, "-name", "*xvrrp*", "-not", "-type", "d"]);
    assert_eq!(left, "");
}
