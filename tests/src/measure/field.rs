//! Two routers, and an observer where one is needed, joined by as many bridges as they have interfaces.

use std::{fmt::Write as _, fs, io::ErrorKind, net::Ipv4Addr, process::Command};

use crate::{
    netns::{Namespace, ip},
    process::Scratch,
};

/// Who is connected to every bridge, by the letter of the ports.
const PORTS: [char; 3] = ['a', 'b', 'c'];

/// The machines of a measurement.
pub(super) struct Field {
    /// The first one is the better router.
    pub(super) routers: [Namespace; 2],
    /// Who listens, where somebody does: frames to it cost their sender time.
    pub(super) observer: Option<Namespace>,
    bridge: Namespace,
    pub(super) interfaces: u8,
}

impl Field {
    pub(super) fn new(interfaces: u8) -> Self {
        Self::with_observer(interfaces, None)
    }

    pub(super) fn observed(interfaces: u8) -> Self {
        Self::with_observer(interfaces, Some(Namespace::new("observer")))
    }

    fn with_observer(interfaces: u8, observer: Option<Namespace>) -> Self {
        let field = Self {
            routers: ["first", "second"].map(Namespace::new),
            observer,
            bridge: Namespace::new("bridges"),
            interfaces,
        };
        field.be_a_switch();
        for number in 0..interfaces {
            field.join(number);
        }
        field
    }

    /// The bridges do what a switch does: none lets each frame through a firewall, and on veth it is the sender who
    /// pays for that.
    fn be_a_switch(&self) {
        self.bridge.enter(|| {
            for family in ["iptables", "ip6tables", "arptables"] {
                let setting = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
                match fs::write(&setting, "0") {
                    // Without the kernel's module no bridge does that.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    done => done.expect("a sysctl"),
                }
            }
        });
    }

    fn join(&self, number: u8) {
        let bridge = &self.bridge;
        bridge.ip(&format!(
            "link add br{number} type bridge forward_delay 0 mcast_snooping 0"
        ));
        bridge.ip(&format!("link set br{number} up"));
        let hosts = self.routers.iter().chain(&self.observer);
        for ((host, port), last) in hosts.zip(PORTS).zip(1..) {
            let (lan, name) = (bridge.name(), host.name());
            ip(&format!(
                "link add {port}{number} netns {lan} type veth peer name eth{number} netns {name}"
            ));
            bridge.ip(&format!("link set {port}{number} master br{number} up"));
            let address = Self::address(number, last);
            host.ip(&format!("address add {address}/24 dev eth{number}"));
            host.ip(&format!("link set eth{number} up"));
        }
    }

    const fn address(interface: u8, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 50 + interface, 0, last)
    }

    /// The observer's own address.
    pub(super) const fn observer_address(interface: u8) -> Ipv4Addr {
        Self::address(interface, 3)
    }

    /// The second router knows the observer's MAC, and need not ask for it before it answers.
    pub(super) fn introduce(&self) {
        let observer = self.observer.as_ref().expect("an observer");
        for interface in 0..self.interfaces {
            let mac = observer
                .mac(&format!("eth{interface}"))
                .map(|it| format!("{it:02x}"));
            let (address, mac) = (Self::observer_address(interface), mac.join(":"));
            self.routers[1].ip(&format!(
                "neighbour replace {address} lladdr {mac} dev eth{interface} nud permanent"
            ));
        }
    }

    /// The first router's ports let nothing through any longer, or again. Their carrier stays.
    pub(super) fn darken(&self, scratch: &Scratch, dark: bool) {
        let state = if dark { 0 } else { 3 };
        let mut lines = String::new();
        for number in 0..self.interfaces {
            let _ = writeln!(lines, "link set dev a{number} state {state}");
        }
        let batch = scratch.write("ports", &lines);
        let done = Command::new("bridge")
            .args(["-n", self.bridge.name(), "-batch"])
            .arg(batch)
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "change the ports"
        );
    }

    /// Frames that the first router has sent so far.
    pub(super) fn sent(&self) -> u64 {
        received(&self.bridge, PORTS[0])
    }

    /// Frames that have come to the observer so far.
    pub(super) fn heard(&self) -> u64 {
        self.observer.as_ref().map_or(0, |it| received(it, 'e'))
    }

    /// How many virtual addresses are on a router's interfaces.
    pub(super) fn addresses(&self, router: usize) -> usize {
        let shown = self.routers[router].ip("-o -4 address show");
        shown
            .lines()
            .filter(|line| line.contains(" 10.100."))
            .count()
    }
}

/// Packets that have come to a machine's interfaces whose names begin so.
fn received(namespace: &Namespace, first: char) -> u64 {
    let text = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    let text = text.expect("the counters of the interfaces");
    let ports = text.lines().filter_map(|line| {
        let (name, numbers) = line.trim().split_once(':')?;
        let packets = numbers.split_whitespace().nth(1)?;
        name.starts_with(first)
            .then(|| packets.parse::<u64>().ok())?
    });
    ports.sum()
}
