//! One lab at a time, and nothing left of one that was killed.

use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr, UnixListener},
            process::CommandExt as _,
        },
    },
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::xvrrp::binary;

/// How long a remnant may take to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every namespace of the lab is called first.
pub(super) const PREFIX: &str = "xvrrp-lab-";
/// The last part of the name of the lab's directory.
pub(super) const SCRATCH: &str = "lab";
/// The name of the lock.
const LOCK: &str = "xvrrp-lab";

/// The right to run the lab on this machine; given up when dropped. Abstract sockets vanish with
/// their process.
pub struct Lock {
    _socket: UnixListener,
}

impl Lock {
    /// Takes it, and removes what a lab that was killed has left.
    ///
    /// # Errors
    ///
    /// When another lab is running, or this is not root.
    pub fn take() -> io::Result<Self> {
        if !geteuid().is_root() {
            let words =
                "the lab makes network namespaces and must be root; `cargo xtask lab` asks sudo";
            return Err(io::Error::other(words));
        }
        let name = SocketAddr::from_abstract_name(LOCK)?;
        let socket = UnixListener::bind_addr(&name).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::other("another lab is running on this machine"),
            _ => error,
        })?;
        remove_namespaces();
        remove_scratch();
        Ok(Self { _socket: socket })
    }
}

/// Ends every process inside a namespace of the lab, and removes it with what they left.
fn remove_namespaces() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        if !name.starts_with(PREFIX) {
            continue;
        }
        eprintln!("removing {name}, left behind by a lab that was killed");
        end_processes(&name);
        if !clean_up(&name) {
            eprintln!("`xvrrp cleanup` did not work in {name}; removing it all the same");
        }
        let deleted = Command::new("ip")
            .args(["netns", "del", &name])
            .process_group(0)
            .status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("could not remove {name}");
        }
    }
}

/// The last thread of a daemon may still be ending, and hold the namespace until it has.
fn clean_up(namespace: &str) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        let cleaned = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .args([&binary(), "cleanup"])
            .process_group(0)
            .output();
        if cleaned.is_ok_and(|output| output.status.success()) {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// The lab's directory is named after its process; this one has not made its own yet.
fn remove_scratch() {
    let entries = fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let name = entry.file_name().display().to_string();
        if name.starts_with("xvrrp-test-") && name.ends_with(&format!("-{SCRATCH}")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn end_processes(namespace: &str) {
    let pids = || -> Vec<i32> {
        let output = Command::new("ip")
            .args(["netns", "pids", namespace])
            .process_group(0)
            .output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect()
    };
    for pid in pids() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let end = Instant::now() + PATIENCE;
    while !pids().is_empty() && Instant::now() < end {
        thread::park_timeout(Duration::from_millis(5));
    }
}
