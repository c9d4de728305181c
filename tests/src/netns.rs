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

use crate::orphans;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace; removed when dropped.
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace whose name contains `role`.
    pub fn new(role: &str) -> Self {
        orphans::watch();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::named(orphans::namespace(&format!("{number}-{role}")))
    }

    /// Makes a namespace of this name.
    pub fn named(name: String) -> Self {
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
            .process_group(0)
            .output();
        status.is_ok_and(|output| output.status.success())
    }

    /// The MAC of a device inside.
    pub fn mac(&self, device: &str) -> [u8; 6] {
        let text = self.ip(&format!("-o link show dev {device}"));
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

    /// A command that will run inside, in a process group of its own: Ctrl-C is for us alone.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.process_group(0);
        let fd = self.handle.as_raw_fd();
        let enter = move || {
            // Whoever starts it may be killed; nothing it started may live on.
            // SAFETY: both calls are async-signal-safe, and the descriptor is inherited.
            let done = unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == 0
                    && libc::setns(fd, libc::CLONE_NEWNET) == 0
            };
            if done {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        };
        // SAFETY: `enter` calls nothing else between fork and exec.
        unsafe { command.pre_exec(enter) };
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let done = Command::new("ip")
            .args(["netns", "del", &self.name])
            .process_group(0)
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

    /// Two hosts on one cable, without a bridge: the namespace of the bridge is empty.
    pub fn pair() -> Self {
        let bridge = Namespace::new("none");
        let hosts: Vec<Namespace> = (0..2)
            .map(|number| Namespace::new(&format!("e{number}")))
            .collect();
        ip(&format!(
            "link add eth0 netns {} type veth peer name eth0 netns {}",
            hosts[0].name, hosts[1].name
        ));
        for (number, host) in (0..).zip(&hosts) {
            host.ip(&format!(
                "address add {}/24 dev eth0",
                Self::address(number)
            ));
            host.ip("link set eth0 up");
        }
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

    /// A second LAN between the hosts: the bridge `br1` with their `eth1`, 10.8.0.0/24.
    pub fn add_second(&self) {
        let bridge = &self.bridge;
        bridge.ip("link add br1 type bridge forward_delay 0 mcast_snooping 0");
        bridge.ip("link set br1 up promisc on");
        for (number, host) in (0_u8..).zip(&self.hosts) {
            ip(&format!(
                "link add q{number} netns {} type veth peer name eth1 netns {}",
                bridge.name, host.name
            ));
            bridge.ip(&format!("link set q{number} master br1 up"));
            let address = Ipv4Addr::new(10, 8, 0, number + 1);
            host.ip(&format!("address add {address}/24 dev eth1"));
            host.ip("link set eth1 up");
        }
    }

    /// The address of a host.
    pub const fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 0, number + 1)
    }

    /// A wire between two hosts, beside the LAN; it has this name at both ends.
    pub fn wire(&self, between: [usize; 2], device: &str) {
        let [one, other] = between.map(|number| &self.hosts[number]);
        let peer = other.name();
        one.ip(&format!(
            "link add {device} type veth peer name {device} netns {peer}"
        ));
        for host in [one, other] {
            host.ip(&format!("link set {device} up"));
        }
    }

    /// The MAC of a host.
    pub fn mac(&self, number: u8) -> [u8; 6] {
        self.hosts[usize::from(number)].mac("eth0")
    }

    /// Takes a host's cable out, or puts it back: its carrier goes with it.
    pub fn cable(&self, number: u8, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        self.bridge.ip(&format!("link set p{number} {state}"));
    }
}

/// Runs `ip` with these words and returns what it prints.
pub fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split(' '))
        .process_group(0)
        .output()
        .expect("start ip");
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
