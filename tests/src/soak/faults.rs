//! What happens to a router, and how long nobody may answer because of it.

use std::{process::Command, time::Duration};

use nix::sys::signal::Signal;

use super::{ATTACKER, INTERVAL_NS, MASTER_DOWN_NS, SKEW_NS, VIPS, VRIDS};
use crate::{
    flood::pour,
    frames::{AdvertSpec, arp_question},
    netns::{Lan, Namespace},
    spend,
    xvrrp::Xvrrp,
};

/// What happens to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its process is stopped, and goes on.
    Stop,
    /// Its process is killed, and started again.
    Kill,
    /// It ends in order, and is started again.
    Restart,
    /// Another binary takes its place.
    Upgrade,
    /// Its check fails.
    Check,
    /// Its cable is out.
    Cable,
    /// Its interface is set down.
    LinkDown,
    /// Somebody removes the addresses by hand.
    Removal,
    /// Adverts do not reach it.
    Deaf,
    /// Its adverts reach nobody.
    Mute,
    /// A third of the adverts from and to it are lost.
    Loss,
    /// A third host sends as much as it can.
    Flood,
}

pub(super) const ALL: [Fault; 12] = [
    Fault::Stop,
    Fault::Kill,
    Fault::Restart,
    Fault::Upgrade,
    Fault::Check,
    Fault::Cable,
    Fault::LinkDown,
    Fault::Removal,
    Fault::Deaf,
    Fault::Mute,
    Fault::Loss,
    Fault::Flood,
];

/// For whatever is not the protocol's: netlink, the scheduler, the observer.
const MARGIN_NS: u64 = 60_000_000;

impl Fault {
    /// Whether routers do not hear each other: then VRRP itself has two masters, and only what follows is
    /// judged.
    pub(super) const fn parts(self) -> bool {
        matches!(self, Self::Deaf | Self::Mute | Self::Loss)
    }

    /// How long nobody may answer; `None` where only what follows is judged.
    pub(super) const fn bound_ns(self) -> Option<u64> {
        Some(match self {
            // The kernel answers until the lease is over, the next router after Skew_Time more; one that
            // comes back just then is in nobody's way for one interval.
            Self::Stop | Self::Kill => SKEW_NS + INTERVAL_NS + MARGIN_NS,
            Self::Restart => SKEW_NS + MARGIN_NS,
            Self::Upgrade | Self::Check | Self::Removal | Self::Flood => MARGIN_NS,
            Self::Cable | Self::LinkDown => MASTER_DOWN_NS + MARGIN_NS,
            Self::Deaf | Self::Mute | Self::Loss => return None,
        })
    }
}

/// Those that come from outside the process.
pub(super) fn outside(fault: Fault, lan: &Lan, router: &Xvrrp, victim: usize, lasts: Duration) {
    let host = &lan.hosts[victim];
    let number = u8::try_from(victim).expect("few routers");
    match fault {
        Fault::Stop => {
            router.process.signal(Signal::SIGSTOP);
            spend(lasts);
            router.process.signal(Signal::SIGCONT);
        }
        Fault::Cable => {
            lan.cable(number, false);
            spend(lasts);
            lan.cable(number, true);
        }
        Fault::LinkDown => {
            host.ip("link set eth0 down");
            spend(lasts);
            host.ip("link set eth0 up");
        }
        Fault::Removal => {
            for vip in VIPS {
                // Whoever is no MASTER does not have it.
                host.try_ip(&format!("address del {vip}/24 dev eth0"));
            }
            spend(lasts);
        }
        Fault::Deaf => filtered(&lan.bridge, number, &["egress"], "", lasts),
        Fault::Mute => filtered(&lan.bridge, number, &["ingress"], "", lasts),
        Fault::Loss => {
            let some = "numgen random mod 3 == 0";
            filtered(&lan.bridge, number, &["ingress", "egress"], some, lasts);
        }
        Fault::Flood => flood(lan, lasts),
        Fault::Kill | Fault::Restart | Fault::Upgrade | Fault::Check => {}
    }
}

/// Drops adverts at the bridge's port of a router.
fn filtered(bridge: &Namespace, number: u8, ways: &[&str], which: &str, lasts: Duration) {
    let drops = ways.iter().map(|way| {
        format!(
            "add chain netdev soak {way} {{ type filter hook {way} device p{number} priority 0; }}\n\
             add rule netdev soak {way} ip protocol 112 {which} drop\n"
        )
    });
    let script: String = std::iter::once("add table netdev soak\n".to_owned())
        .chain(drops)
        .collect();
    nft(bridge, &script);
    spend(lasts);
    nft(bridge, "delete table netdev soak");
}

fn nft(namespace: &Namespace, script: &str) {
    let mut command: Command = namespace.command("nft");
    let output = command
        .arg(script)
        .output()
        .expect("run nft; `cargo xtask setup` installs it");
    assert!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn flood(lan: &Lan, lasts: Duration) {
    let mac = lan.mac(ATTACKER);
    let own = Lan::address(ATTACKER);
    let mut frames = Vec::new();
    for (vrid, vip) in VRIDS.into_iter().zip(VIPS) {
        let advert = |priority| {
            let mut spec = AdvertSpec::new(mac, own, vrid, priority, vip);
            spec.interval_cs = 10;
            spec
        };
        let mut bad = advert(254);
        bad.bad_checksum = true;
        let mut far = advert(254);
        far.ttl = 254;
        frames.extend([bad.build(), far.build(), advert(0).build()]);
        frames.push(arp_question(mac, own, vip));
    }
    pour(
        &lan.hosts[usize::from(ATTACKER)],
        &frames,
        lasts.min(Duration::from_secs(1)),
    );
}
