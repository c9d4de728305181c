//! The places where frames can be judged, each on a pair of Ethernet ends: a router with the daemon
//! and a peer that talks to it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde_json::Value;
use vrrp_userspace::dataplane::{Dataplane, Device, ModeRequest, Plan};

use crate::{
    capture::{Capture, Sender},
    frames::{AdvertSpec, Said},
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::Xvrrp,
};

/// A place where frames can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// As `status` names it.
    pub name: &'static str,
    /// As `--xdp-mode` names it.
    pub option: &'static str,
    /// Whether the kernel is kept from answering without a lease.
    pub fence: bool,
}

impl Mode {
    /// XDP in the driver.
    pub const NATIVE: Self = Self::new("native", "native", true);
    /// TC ingress.
    pub const TC: Self = Self::new("tc", "tc", true);
    /// XDP on socket buffers.
    pub const GENERIC: Self = Self::new("generic", "generic", true);
    /// A packet socket.
    pub const USER_SPACE: Self = Self::new("userspace", "off", false);
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NATIVE, Self::TC, Self::GENERIC, Self::USER_SPACE];
    /// Those with a kernel program.
    pub const KERNEL: [Self; 3] = [Self::NATIVE, Self::TC, Self::GENERIC];

    const fn new(name: &'static str, option: &'static str, fence: bool) -> Self {
        Self {
            name,
            option,
            fence,
        }
    }
}

/// A router (`hosts[0]`) and a peer (`hosts[1]`) on a cable between them.
pub struct Cable {
    /// The two ends; no bridge between them.
    pub lan: Lan,
    /// On the peer's end native XDP lets everything pass: without it a veth end does not take what
    /// the other end's native XDP sends.
    _pass: Option<Dataplane>,
    /// What the peer sees.
    pub seen: Capture,
    /// What the peer says.
    pub say: Sender,
    /// The router's MAC.
    pub router_mac: [u8; 6],
    /// The peer's MAC.
    pub peer_mac: [u8; 6],
}

impl Cable {
    /// Two ends, ready for a mode.
    pub fn new(mode: Mode) -> Self {
        let lan = Lan::pair();
        let pass = (mode == Mode::NATIVE).then(|| pass_everything(&lan.hosts[1], "eth0"));
        let peer_mac = lan.mac(1);
        Self {
            seen: Capture::start(&lan.hosts[1], "eth0", Some(peer_mac)),
            say: Sender::new(&lan.hosts[1]),
            router_mac: lan.mac(0),
            peer_mac,
            lan,
            _pass: pass,
        }
    }

    /// Starts the daemon on the router.
    pub fn run(&self, scratch: &Scratch, mode: Mode, config: &str, extra: &[&str]) -> Xvrrp {
        let path = scratch.write("modes.conf", config).display().to_string();
        let options = ["--config", &path, "--xdp-mode", mode.option];
        Xvrrp::run(&self.lan.hosts[0], scratch, &[&options[..], extra].concat())
    }

    /// The peer's adverts.
    pub fn advert(&self, vrid: u8, priority: u8, vip: Ipv4Addr) -> AdvertSpec {
        AdvertSpec::new(self.peer_mac, Lan::address(1), vrid, priority, vip)
    }

    /// How many answers about an address the peer has got so far, and from which MACs.
    pub fn answers(&self, address: Ipv4Addr) -> Vec<[u8; 6]> {
        let seen = self.seen.seen();
        seen.iter()
            .filter_map(|entry| match &entry.said {
                Said::Arp {
                    operation: 2,
                    sender,
                    sender_mac,
                    ..
                } if *sender == address => Some(*sender_mac),
                _ => None,
            })
            .collect()
    }

    /// When the peer got answers about an address, in nanoseconds of the wall clock.
    pub fn answer_times(&self, address: Ipv4Addr) -> Vec<u64> {
        self.times(
            |said| matches!(said, Said::Arp { operation: 2, sender, .. } if *sender == address),
        )
    }

    /// When an address was announced.
    pub fn announcement_times(&self, address: Ipv4Addr) -> Vec<u64> {
        self.times(|said| {
            matches!(said, Said::Arp { operation: 1, sender, target, .. }
                if *sender == address && *target == address)
        })
    }

    fn times(&self, wanted: impl Fn(&Said) -> bool) -> Vec<u64> {
        let seen = self.seen.seen();
        let matching = seen.iter().filter(|entry| wanted(&entry.said));
        matching.map(|entry| entry.at_ns).collect()
    }

    /// Makes sure that the daemon's side has seen everything said so far: an advert for a VRID that
    /// nobody has goes the same way, behind it.
    pub fn settle(&self, router: &Xvrrp) -> Counts {
        let before = self.counts(router);
        let marker = self.advert(MARKER_VRID, 1, Ipv4Addr::new(198, 51, 100, 1));
        self.say.send(&marker.build());
        wait_for("the marker to be counted", crate::LONG, || {
            let now = self.counts(router);
            (now["kernel foreign_vrid"] > before["kernel foreign_vrid"]).then_some(now)
        })
    }

    /// Every counter of the interface and of the first instance.
    pub fn counts(&self, router: &Xvrrp) -> Counts {
        let status = wait_for("a status", crate::LONG, || {
            router.status(&self.lan.hosts[0])
        });
        let interface = &status["interfaces"][0];
        let parts = [
            ("kernel", &interface["kernel"]),
            ("reject", &interface["rejects"]),
            ("instance", &status["instances"][0]["counters"]),
        ];
        parts
            .into_iter()
            .flat_map(|(part, values)| {
                let values = values.as_object().into_iter().flatten();
                values.map(move |(name, value)| (format!("{part} {name}"), number(value)))
            })
            .collect()
    }
}

/// Counters by name.
pub type Counts = BTreeMap<String, u64>;

/// A VRID that no test gives to an instance.
const MARKER_VRID: u8 = 250;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Which program is attached where, as iproute2 shows it; `None` where there is none.
pub fn program_id(router: &Namespace, mode: Mode) -> Option<u64> {
    let mut command;
    let id: fn(&Value) -> Option<u64> = if mode == Mode::TC {
        command = router.command("tc");
        command.args(["-json", "filter", "show", "dev", "eth0", "ingress"]);
        |shown| {
            let filters = shown.as_array()?;
            filters
                .iter()
                .find_map(|filter| filter["options"]["prog"]["id"].as_u64())
        }
    } else {
        command = router.command("ip");
        command.args(["-json", "link", "show", "dev", "eth0"]);
        |shown| shown[0]["xdp"]["prog"]["id"].as_u64()
    };
    let output = command.output().expect("iproute2");
    id(&serde_json::from_slice(&output.stdout).ok()?)
}

/// Our own program with nothing to do, in native mode.
pub fn pass_everything(namespace: &Namespace, device: &str) -> Dataplane {
    namespace.enter(|| {
        let plan = Plan {
            routers: 1,
            addresses: 1,
            peers: 0,
            interfaces: 1,
            request: ModeRequest::Native,
            pins: None,
        };
        let mut dataplane = Dataplane::load(&plan).expect("load the object");
        let index = nix::net::if_::if_nametoindex(device).expect("the device");
        let device = Device {
            index,
            name: device.to_owned(),
            ..Device::default()
        };
        dataplane.attach(&device).expect("native XDP on veth");
        dataplane
    })
}
