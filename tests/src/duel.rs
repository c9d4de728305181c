//! Two routers and an observer who asks all the time who has the address: by ARP and Neighbour
//! Discovery, and by ping.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{
    LONG,
    asker::Asker,
    capture::{Capture, Seen},
    frames::{Said, arp_question, ping_v6, solicitation},
    netns::Lan,
    ping::Pinger,
    process::Scratch,
    wait_for,
    xvrrp::Xvrrp,
};

/// VRID of both virtual routers, over IPv4 and IPv6.
pub const VRID: u8 = 51;
/// The address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
/// The other one.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// The host that asks.
const OBSERVER: u8 = 2;
/// How often it asks.
const PERIOD: Duration = Duration::from_millis(1);

/// Two routers, of which neither takes the address back from the other, and an observer.
pub struct Duel {
    /// The routers are the first two hosts.
    pub lan: Lan,
    /// What is on the wire.
    pub capture: Capture,
    /// The daemons.
    pub routers: Vec<Xvrrp>,
    scratch: Scratch,
    interval_ns: u64,
    macs: [[u8; 6]; 2],
    _asker: Asker,
    _pinger: Pinger,
}

impl Duel {
    /// Starts both routers, with adverts so many centiseconds apart.
    pub fn start(name: &str, interval_cs: u16) -> Self {
        let lan = Lan::new(3);
        let observer = &lan.hosts[usize::from(OBSERVER)];
        let capture = Capture::every_frame(&lan.bridge, "br0");
        let mac = lan.mac(OBSERVER);
        let macs = [lan.mac(0), lan.mac(1)];
        let own_v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xabc);
        let mut questions = vec![
            arp_question(mac, Lan::address(OBSERVER), VIP),
            solicitation(mac, own_v6, VIP_V6),
        ];
        // To whoever once had the address: a node that is no longer MASTER must not answer.
        questions.extend(macs.map(|to| ping_v6((mac, to), own_v6, VIP_V6)));
        let asker = Asker::start(observer, questions, PERIOD);
        let pinger = Pinger::start(observer, VIP.into(), 5 * PERIOD);
        let mut duel = Self {
            capture,
            macs,
            _asker: asker,
            routers: Vec::new(),
            scratch: Scratch::new(name),
            interval_ns: u64::from(interval_cs) * 10_000_000,
            _pinger: pinger,
            lan,
        };
        for number in 0..2 {
            let host = &duel.lan.hosts[number];
            wait_for("a link-local address", LONG, || {
                let shown = host.ip("-6 address show dev eth0 scope link");
                (shown.contains("fe80:") && !shown.contains("tentative")).then_some(())
            });
            let router = duel.run(number);
            duel.routers.push(router);
            let state = if number == 0 { "MASTER" } else { "BACKUP" };
            duel.routers[number].wait_state(&duel.lan.hosts[number], state, LONG);
        }
        duel
    }

    /// The interval between adverts.
    pub const fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// Starts a router.
    fn run(&self, number: usize) -> Xvrrp {
        let priority = 200 - 100 * number;
        let centiseconds = self.interval_ns / 10_000_000;
        let interval = format!("{}.{:02}", centiseconds / 100, centiseconds % 100);
        let one = |name: &str, address: IpAddr| {
            format!(
                "vrrp_instance {name} {{\n  state BACKUP\n  nopreempt\n  version 3\n  interface eth0\n  \
                 virtual_router_id {VRID}\n  priority {priority}\n  advert_int {interval}\n  \
                 virtual_ipaddress {{\n    {address}\n  }}\n}}\n"
            )
        };
        let group = "vrrp_sync_group BOTH {\n  group {\n    V4\n    V6\n  }\n}\n";
        let config = one("V4", VIP.into()) + &one("V6", VIP_V6.into()) + group;
        Xvrrp::with_config(&self.lan.hosts[number], &self.scratch, &config)
    }

    /// Starts a router again that was ended.
    pub fn restart(&mut self, number: usize) {
        self.routers[number] = self.run(number);
    }

    /// Waits until a router, and nobody else, has advertised both addresses for some intervals.
    pub fn wait_master(&self, number: usize) {
        let interval = Duration::from_nanos(self.interval_ns);
        let what = format!("router {number} to be the only MASTER");
        wait_for(what, LONG, || {
            let from = self.capture.count();
            crate::spend(6 * interval);
            let seen = self.capture.seen_from(from);
            let speakers: Vec<usize> = seen
                .iter()
                .filter_map(|entry| self.speaker(entry))
                .collect();
            let alone = speakers.iter().all(|speaker| *speaker == number);
            (alone && speakers.len() >= 8).then_some(())
        });
    }

    /// Whether a frame is about the address of this family: 4 or 6.
    pub fn is_of(seen: &Seen, family: u8) -> bool {
        (seen.frame.get(12..14) == Some(&[0x86, 0xdd])) == (family == 6)
    }

    /// Which router sent an advert; `None` for a resignation and for other frames.
    pub fn speaker(&self, seen: &Seen) -> Option<usize> {
        match seen.said {
            Said::Advert { priority, .. } if priority > 0 => self.sender(seen),
            _ => None,
        }
    }

    /// Which router sent a frame.
    fn sender(&self, seen: &Seen) -> Option<usize> {
        let source = seen.frame.get(6..12)?;
        self.macs.iter().position(|mac| mac == source)
    }

    /// Which router speaks for one of the addresses: an answer to ARP or Neighbour Discovery, an
    /// announcement, a reply to a ping, anything with it as source.
    pub fn claimant(&self, seen: &Seen) -> Option<usize> {
        let source = match seen.frame.get(12..14)? {
            [8, 6] => seen.frame.get(28..32)? == VIP.octets(),
            [8, 0] => seen.frame.get(26..30)? == VIP.octets(),
            [0x86, 0xdd] => {
                let is_source = seen.frame.get(22..38)? == VIP_V6.octets();
                let is_target =
                    matches!(seen.said, Said::Neighbour { target, .. } if target == VIP_V6);
                is_source || is_target
            }
            _ => false,
        };
        source.then(|| self.sender(seen)).flatten()
    }
}
