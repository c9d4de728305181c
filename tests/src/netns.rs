//! Network namespaces, and a LAN of them: hosts with an `eth0` each, joined by a bridge in a
//! namespace of its own. Everything goes when it is dropped.

use std::{
    fs::File,
    net::Ipv4Addr,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace; removed when dropped.
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace whose name contains `role`.
    pub fn new(role: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xvrrp-{}-{number}-{role}", std::process::id());
        ip(&format!("netns add {name}"));
        let handle = File::open(format!("/run/netns/{name}")).expect("open the namespace");
        let namespace = Self { name, handle };
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name, for `ip -n`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these words inside and returns what it prints.
    pub fn ip(&self, words: &str) -> String {
        ip(&format!("-n {} {words}", self.name))
    }

    /// Runs `ip` inside; false where it fails.
    pub fn try_ip(&self, words: &str) -> bool {
        let status = Command::new("ip")
            .args(["-n", &self.name])
            .args(words.split(' '))
            .output();
        status.is_ok_and(|output| output.status.success())
    }

    /// Runs a closure in a thread inside.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                    work()
                })
                .join()
                .expect("the closure inside the namespace")
        })
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let fd = self.handle.as_raw_fd();
        // SAFETY: only setns is called between fork and exec, and it is async-signal-safe; the
        // descriptor is inherited by the child.
        unsafe {
            command.pre_exec(move || match libc::setns(fd, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let done = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("could not remove the namespace {}", self.name);
        }
    }
}

/// A bridge and its hosts.
pub struct Lan {
    /// The hosts; the first has the address 10.9.0.1.
    pub hosts: Vec<Namespace>,
    /// Where the bridge `br0` is, and the hosts' ports `p0`, `p1`, ….
    pub bridge: Namespace,
}

impl Lan {
    /// A LAN of `count` hosts.
    pub fn new(count: u8) -> Self {
        let bridge = Namespace::new("lan");
        bridge.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0");
        // Promiscuous, so that a capture on the bridge sees what hosts say to each other.
        bridge.ip("link set br0 up promisc on");
        let hosts = (0..count)
            .map(|number| Self::plug(&bridge, number))
            .collect();
        Self { hosts, bridge }
    }

    fn plug(bridge: &Namespace, number: u8) -> Namespace {
        let host = Namespace::new(&format!("h{number}"));
        let (lan, name) = (&bridge.name, &host.name);
        ip(&format!(
            "link add p{number} netns {lan} type veth peer name eth0 netns {name}"
        ));
        bridge.ip(&format!("link set p{number} master br0 up"));
        host.ip(&format!(
            "address add {}/24 dev eth0",
            Self::address(number)
        ));
        host.ip("link set eth0 up");
        host
    }

    /// The address of a host.
    pub const fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 0, number + 1)
    }

    /// The MAC of a host.
    pub fn mac(&self, number: u8) -> [u8; 6] {
        let text = self.hosts[usize::from(number)].ip("-o link show dev eth0");
        let mac = text
            .split("link/ether ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let mut bytes = [0; 6];
        for (byte, hex) in bytes.iter_mut().zip(mac.expect("a MAC").split(':')) {
            *byte = u8::from_str_radix(hex, 16).expect("hex");
        }
        bytes
    }

    /// Takes a host's cable out, or puts it back: its carrier goes with it.
    pub fn cable(&self, number: u8, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        self.bridge.ip(&format!("link set p{number} {state}"));
    }
}

fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .expect("start ip");
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
