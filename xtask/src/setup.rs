//! `cargo xtask setup`: finds what building and testing need, and installs what is missing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    bpf_toolchain::{self, BPF_LINKER_VERSION, OBJECT_VARIABLE, RECIPES, RUST_VERSION},
    build,
    command::{as_root, cargo, check, exists},
};

/// Programs the lab is made of, and the Debian packages they come in.
const LAB_PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("haproxy", "haproxy"),
    ("nsenter", "util-linux"),
];

/// What the tests run against besides.
const TEST_PROGRAMS: &[(&str, &str)] = &[
    ("tc", "iproute2"),
    ("ping", "iputils-ping"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("keepalived", "keepalived"),
    ("systemd-analyze", "systemd"),
    ("nft", "nftables"),
    ("etcd", "etcd-server"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("debootstrap", "debootstrap"),
    ("rpm", "rpm"),
];

/// What packages are made with: crates of programs of the same name, and their versions.
const PACKAGERS: &[(&str, &str)] = &[("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];

pub(crate) fn everything() -> Result<()> {
    for_building()?;
    for_testing()?;
    debian_root()?;
    if let Some(compiler) = bpf_toolchain::find_compiler() {
        let (rustc, sysroot) = (compiler.rustc.display(), compiler.sysroot.display());
        println!("setup: the BPF program is built by {rustc}, with the sources in {sysroot}");
    }
    println!("setup: everything is there");
    Ok(())
}

/// The BPF compiler and linker, unless a prebuilt object is named.
pub(crate) fn for_building() -> Result<()> {
    if std::env::var_os(OBJECT_VARIABLE).is_some() {
        return Ok(());
    }
    if bpf_toolchain::find_compiler().is_none() {
        install_compiler()?;
    }
    if bpf_toolchain::bpf_linker_version().is_none() {
        install_linker()?;
    }
    Ok(())
}

pub(crate) fn for_lab() -> Result<()> {
    install(LAB_PROGRAMS)
}

pub(crate) fn for_testing() -> Result<()> {
    install(&[LAB_PROGRAMS, TEST_PROGRAMS].concat())?;
    for_packaging()
}

pub(crate) fn for_packaging() -> Result<()> {
    // Finds which packages of Debian a binary needs.
    install(&[("dpkg-shlibdeps", "dpkg-dev"), ("strip", "binutils")])?;
    for (program, version) in PACKAGERS {
        if !exists(program) {
            cargo_install(&[program, "--version", version])?;
        }
    }
    Ok(())
}

/// What Debian's keepalived package says about its configuration: samples and the manual. An installed
/// package may lack them.
pub(crate) fn keepalived_documents() -> Result<PathBuf> {
    let documents = build::target_directory().join("keepalived-documents");
    if documents.join("usr/share/man/man5").exists() {
        return Ok(documents);
    }
    let draft = documents.with_extension("draft");
    // What an attempt before has left.
    let _ = fs::remove_dir_all(&draft);
    fs::create_dir_all(&draft).context("make a directory for keepalived's documents")?;
    println!("setup: apt-get download keepalived (its samples and its manual)");
    let download = || {
        let mut command = Command::new("apt-get");
        check(
            command
                .current_dir(&draft)
                .args(["download", "--quiet", "keepalived"]),
        )
    };
    if download().is_err() {
        check(as_root("apt-get").args(["update", "--quiet"]))?;
        download()?;
    }
    let packages: Vec<PathBuf> = fs::read_dir(&draft)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    let package = packages.first().context("apt-get has downloaded nothing")?;
    check(Command::new("dpkg-deb").arg("-x").arg(package).arg(&draft))?;
    fs::rename(&draft, &documents).context("keep keepalived's documents")?;
    Ok(documents)
}

/// What the machines of the tests have beside Debian's own minimum.
const MACHINE_PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "iproute2",
    "iputils-ping",
    "psmisc",
    "sudo",
    "haproxy",
    "keepalived",
];

/// A clean Debian root for the machines of the tests, of the release that this machine has and from where it
/// gets its own packages.
pub(crate) fn debian_root() -> Result<PathBuf> {
    let root = build::target_directory().join("debian-root");
    if root.exists() {
        return Ok(root);
    }
    let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release has no VERSION_CODENAME")?;
    if package_site(codename)?.is_none() {
        check(as_root("apt-get").args(["update", "--quiet"]))?;
    }
    let site = package_site(codename)?
        .with_context(|| format!("apt-get knows no source of {codename}"))?;
    let draft = root.with_extension("draft");
    // What an attempt before has left.
    check(as_root("rm").arg("-rf").arg(&draft))?;
    println!("setup: debootstrap {codename} (a clean root for the machines of the tests)");
    check(
        as_root("debootstrap")
            .args(["--variant=minbase", "--include"])
            .arg(MACHINE_PACKAGES.join(","))
            .arg(codename)
            .arg(&draft)
            .arg(site)
            .stdout(std::process::Stdio::null()),
    )?;
    check(as_root("mv").arg(&draft).arg(&root))?;
    Ok(root)
}

/// Where this release's own packages come from, once lists of them were fetched.
fn package_site(codename: &str) -> Result<Option<String>> {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(ORIGIN) $(CODENAME) $(SITE)"])
        .output()
        .context("ask apt-get where packages come from")?;
    let targets = String::from_utf8_lossy(&targets.stdout).into_owned();
    let wanted = ["Debian", "Ubuntu"].map(|origin| format!("{origin} {codename} "));
    let of_release = |line: &str| {
        let mut wanted = wanted.iter();
        wanted.find_map(|start| line.strip_prefix(start).map(str::to_owned))
    };
    Ok(targets.lines().find_map(of_release))
}

pub(crate) fn for_fuzzing() -> Result<()> {
    install(&[("g++", "g++")])?;
    let nightly = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        println!("setup: rustup toolchain install nightly --profile minimal");
        check(Command::new("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
        ]))?;
    }
    if !exists("cargo-fuzz") {
        cargo_install(&["cargo-fuzz"])?;
    }
    Ok(())
}

/// Installs the packages of the programs that are missing.
fn install(programs: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !exists(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !exists("apt-get") {
        bail!(
            "this needs {}; please install what is missing",
            missing.join(", ")
        );
    }
    apt_install(&missing)
}

/// rustup's compiler with its sources, where rustup can reach its server; else Debian's.
fn install_compiler() -> Result<()> {
    if exists("rustup") && rustup_sources() && bpf_toolchain::find_compiler().is_some() {
        return Ok(());
    }
    if exists("apt-get") {
        apt_install(&["rustc-web", "rust-web-src"])?;
    }
    if bpf_toolchain::find_compiler().is_none() {
        bail!("{RECIPES}");
    }
    Ok(())
}

fn rustup_sources() -> bool {
    let arguments = [
        "toolchain",
        "install",
        RUST_VERSION,
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ];
    println!("setup: rustup {}", arguments.join(" "));
    let done = Command::new("rustup").args(arguments).status();
    let done = done.is_ok_and(|status| status.success());
    if !done {
        println!("setup: rustup could not do that here");
    }
    done
}

fn install_linker() -> Result<()> {
    cargo_install(&["bpf-linker", "--version", BPF_LINKER_VERSION])
}

/// Installs a program from its crate.
fn cargo_install(arguments: &[&str]) -> Result<()> {
    println!("setup: cargo install {} --locked", arguments.join(" "));
    check(cargo().args(["install", "--locked"]).args(arguments))
}

/// Installs Debian packages. Services among them are not started: the tests run their own.
fn apt_install(packages: &[&str]) -> Result<()> {
    println!(
        "setup: apt-get install {} (services are not started)",
        packages.join(" ")
    );
    let _guard = NoServices::start()?;
    let mut update = as_root("apt-get");
    check(update.args(["update", "--quiet"]))?;
    let mut install = as_root("env");
    check(
        install
            .args([
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "--yes",
                "--quiet",
            ])
            .arg("--no-install-recommends")
            .args(packages),
    )
}

/// Debian asks `policy-rc.d` whether a package may start its service. While this lives, no.
struct NoServices {
    made: Option<PathBuf>,
}

impl NoServices {
    fn start() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self { made: None });
        }
        let draft = std::env::temp_dir().join(format!("policy-rc.d.{}", std::process::id()));
        fs::write(&draft, "#!/bin/sh\nexit 101\n").context("write policy-rc.d")?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))
            .context("write policy-rc.d")?;
        let moved = check(as_root("mv").arg(&draft).arg(path));
        moved.map(|()| Self {
            made: Some(path.to_path_buf()),
        })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.made
            && let Err(error) = check(as_root("rm").arg("-f").arg(path))
        {
            eprintln!(
                "setup: remove {} by hand, or no service will start: {error:#}",
                path.display()
            );
        }
    }
}
