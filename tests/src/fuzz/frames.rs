//! Made-up frames through XDP, TC ingress and TC egress, and through the same code on the host.

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv6Addr},
};

use vrrp_common::{
    contract::{Counter, Family, MacKey, VipKey, VridKey},
    receive,
    slot::{Heard, Rules, Slot, Standing},
    tables::Arrival,
    transmit,
    vrrp::{GROUP_V6, Source},
};
use vrrp_userspace::clock;

use super::mirror::{Buffer, Mirror};
use crate::{
    bench::{
        Bench, Entry, IFINDEX, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, RULES, VIP, VIRTUAL_MAC, VRID,
        Verdict,
    },
    frames::{
        AdvertSpec, advert_v6, arp, arp_question, neighbour_advertisement, ones_complement,
        packet_v4, ping_v6, solicitation,
    },
};

const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// The longest frame that is tried.
const MAX_LEN: usize = 1500;
/// How often a disagreement must show: the clock is read at two moments.
const TRIES: usize = 3;

/// What frames are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Adverts.
    Advert,
    /// ARP, and what else travels over IPv4.
    Arp,
    /// Neighbour Discovery, and what else travels over IPv6.
    Nd,
}

/// The programs and their images on the host, for both families.
pub struct Twins {
    families: [Twin; 2],
}

struct Twin {
    benches: [Bench; 3],
    mirror: Mirror,
    rules: Rules,
    own: IpAddr,
    epoch: u64,
}

const ENTRIES: [Entry; 3] = [Entry::Xdp, Entry::Tc, Entry::Egress];

/// What a frame did.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    verdict: Verdict,
    /// The frame afterwards, where it goes on.
    frame: Option<Vec<u8>>,
    counted: Vec<usize>,
    heard: Heard,
}

impl Default for Twins {
    fn default() -> Self {
        Self::new()
    }
}

impl Twins {
    /// Loads the programs; as root.
    #[must_use]
    pub fn new() -> Self {
        let v6 = Rules::multicast(Source::v6(GROUP_V6));
        Self {
            families: [
                Twin::new(RULES, OUR_ADDRESS.into(), VIP.into()),
                Twin::new(v6, OWN_V6.into(), VIP_V6.into()),
            ],
        }
    }

    /// Makes a router and frames of the bytes, and lets everybody judge them.
    ///
    /// ```text
    ///  0 family, checksums, role   1 floor   2 priority   3.. edits of one frame, 0xff, of the next, …
    /// ```
    pub fn judge(&mut self, kind: Kind, bytes: &[u8]) {
        let [flags, floor, priority, rest @ ..] = bytes else {
            return;
        };
        let is_v6 = match kind {
            Kind::Advert => flags & 1 != 0,
            Kind::Arp => false,
            Kind::Nd => true,
        };
        let frames: Vec<Vec<u8>> = rest
            .split(|byte| *byte == 0xff)
            .take(3)
            .map(|edits| build(kind, is_v6, *flags, edits))
            .filter(|frame| is_tried(frame))
            .collect();
        let twin = &mut self.families[usize::from(is_v6)];
        let mut last = None;
        for _ in 0..TRIES {
            match twin.compare(*flags, *floor, *priority, &frames) {
                Ok(()) => return,
                Err(disagreement) => last = Some(disagreement),
            }
        }
        panic!("kernel and host disagree: {last:#?}");
    }
}

impl Twin {
    fn new(rules: Rules, own: IpAddr, vip: IpAddr) -> Self {
        let benches = ENTRIES.map(|entry| {
            let mut bench = Bench::new(entry);
            bench.attend();
            bench.use_virtual_mac();
            bench.serve(0, &rules, own, vip, &[]);
            bench
        });
        let family = Family::of(own);
        let mirror = Mirror::new(
            VridKey::new(family, IFINDEX, 0, VRID),
            VipKey::new(family, IFINDEX, 0, Source::of(vip)),
            MacKey::new(IFINDEX, 0, VIRTUAL_MAC),
        );
        Self {
            benches,
            mirror,
            rules,
            own,
            epoch: 1,
        }
    }

    /// Both sides begin from the same slot, and must end there.
    fn compare(
        &mut self,
        flags: u8,
        floor: u8,
        priority: u8,
        frames: &[Vec<u8>],
    ) -> Result<(), String> {
        for (at, entry) in ENTRIES.into_iter().enumerate() {
            // What beat the image on the host in front of one program counts no longer.
            self.epoch += 1;
            let now = clock::now_ns();
            let standing = Standing {
                mac: if flags & 2 == 0 { OUR_MAC } else { VIRTUAL_MAC },
                floor,
                priority,
                source: Source::of(self.own),
                epoch: self.epoch,
            };
            let lease = match flags >> 2 & 3 {
                0 | 1 => 0,
                2 => now + 1_000_000_000_000,
                _ => now.saturating_sub(1_000_000_000),
            };
            let begin = |slot: &Slot| {
                slot.inherit(&Slot::new());
                slot.publish_rules(&self.rules);
                slot.publish_port(OUR_MAC);
                slot.publish(&standing);
                slot.store_lease(lease);
                slot.store_decided(now);
            };
            self.benches[at].with_slot(begin);
            begin(&self.mirror.slot);
            for frame in frames {
                let kernel = by_kernel(&mut self.benches[at], frame);
                let host = self.by_host(entry, frame);
                if kernel != host {
                    return Err(format!(
                        "{entry:?} {standing:?} lease {lease} (now {now})\nframe {frame:02x?}\nkernel \
                         {kernel:?}\nhost   {host:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn by_host(&self, entry: Entry, frame: &[u8]) -> Outcome {
        let before = self.mirror.counts();
        let buffer = Buffer(RefCell::new(frame.to_vec()));
        let arrival = Arrival {
            ifindex: IFINDEX,
            tag: None,
        };
        let verdict = if entry == Entry::Egress {
            if transmit::handle(&buffer, arrival, &self.mirror) {
                Verdict::Pass
            } else {
                Verdict::Drop
            }
        } else {
            match receive::handle(&buffer, arrival, &self.mirror) {
                receive::Verdict::Pass | receive::Verdict::Accept => Verdict::Pass,
                receive::Verdict::Drop => Verdict::Drop,
                receive::Verdict::Transmit => Verdict::Transmit,
            }
        };
        let heard = comparable(self.mirror.slot.heard());
        outcome(
            verdict,
            buffer.0.into_inner(),
            &before,
            &self.mirror.counts(),
            heard,
        )
    }
}

fn by_kernel(bench: &mut Bench, frame: &[u8]) -> Outcome {
    let before = bench.counters().counts;
    let (verdict, frame) = bench.run(frame);
    let heard = comparable(bench.heard());
    outcome(verdict, frame, &before, &bench.counters().counts, heard)
}

fn outcome(
    verdict: Verdict,
    frame: Vec<u8>,
    before: &[u64; Counter::COUNT],
    after: &[u64; Counter::COUNT],
    heard: Heard,
) -> Outcome {
    // Whether the doorbell rings hangs on when the last reject was written down.
    let rings = [Counter::Ring as usize, Counter::RingFull as usize];
    Outcome {
        verdict,
        frame: (verdict != Verdict::Drop).then_some(frame),
        counted: (0..Counter::COUNT)
            .filter(|at| after[*at] != before[*at] && !rings.contains(at))
            .collect(),
        heard,
    }
}

/// Without what hangs on the moment.
fn comparable(heard: Heard) -> Heard {
    Heard {
        seen_ns: u64::from(heard.seen_ns > 0),
        other_ns: u64::from(heard.other_ns > 0),
        claim_ns: u64::from(heard.claim_ns > 0),
        beaten: 0,
        news_seq: 0,
        reject_ns: 0,
        reject_reason: 0,
        reject_source: Source::default(),
        ..heard
    }
}

/// `BPF_PROG_TEST_RUN` takes no frame without a payload, and none that ends within the IP header.
fn is_tried(frame: &[u8]) -> bool {
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 15,
    };
    frame.len() >= least
}

/// A good frame, with some bytes changed: pairs of place and value. A last single byte cuts it there, and
/// place 0xfe adds the value at the end.
fn build(kind: Kind, is_v6: bool, flags: u8, edits: &[u8]) -> Vec<u8> {
    let (first, edits) = edits.split_first().unwrap_or((&0, &[]));
    if *first == 0xfd {
        return edits.to_vec();
    }
    let mut frame = good(kind, is_v6, *first);
    for pair in edits.chunks(2) {
        match *pair {
            [0xfe, value] => frame.push(value),
            [place, value] => {
                if let Some(byte) = frame.get_mut(usize::from(place)) {
                    *byte = value;
                }
            }
            [length] => frame.truncate(usize::from(length)),
            _ => {}
        }
    }
    frame.truncate(MAX_LEN);
    if flags & 0x10 != 0 {
        mend(&mut frame);
    }
    frame
}

fn good(kind: Kind, is_v6: bool, which: u8) -> Vec<u8> {
    match (kind, which % 4) {
        (Kind::Advert, 0 | 1) if is_v6 => advert_v6(PEER_MAC, PEER_V6, VRID, 150, VIP_V6),
        (Kind::Advert, _) if is_v6 => advert_v6(OUR_MAC, OWN_V6, VRID, 100, VIP_V6),
        (Kind::Advert, 0 | 1) => AdvertSpec::new(PEER_MAC, PEER, VRID, 150, VIP).build(),
        (Kind::Advert, _) => AdvertSpec::new(OUR_MAC, OUR_ADDRESS, VRID, 100, VIP).build(),
        (Kind::Arp, 0) => arp_question(PEER_MAC, PEER, VIP),
        (Kind::Arp, 1) => arp(2, OUR_MAC, PEER_MAC, VIP, OUR_MAC, OUR_ADDRESS),
        (Kind::Arp, 2) => arp_question(OUR_MAC, VIP, PEER),
        (Kind::Arp, _) => packet_v4((PEER_MAC, OUR_MAC), PEER, VIP),
        (Kind::Nd, 0) => solicitation(PEER_MAC, PEER_V6, VIP_V6),
        (Kind::Nd, 1) => neighbour_advertisement(PEER_MAC, VIP_V6),
        (Kind::Nd, 2) => solicitation(OUR_MAC, VIP_V6, PEER_V6),
        (Kind::Nd, _) => ping_v6((PEER_MAC, OUR_MAC), PEER_V6, VIP_V6),
    }
}

/// Makes the checksums good again, so that what lies behind them is reached.
fn mend(frame: &mut [u8]) {
    match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.len() >= 42 => {
            let header = 14 + usize::from(frame[14] & 0x0f) * 4;
            if header < 34 || frame.len() < header + 8 {
                return;
            }
            put_sum(frame, 24, 14..header, 0);
            if frame[23] == 112 {
                let length = u32::try_from(frame.len() - header).expect("short");
                let pseudo = u32::from(ones_complement(&frame[26..34], 112 + length));
                let seed = if frame[header] >> 4 == 2 { 0 } else { pseudo };
                put_sum(frame, header + 6, header..frame.len(), seed);
            }
        }
        Some([0x86, 0xdd]) if frame.len() >= 62 => {
            let length = u32::try_from(frame.len() - 54).expect("short");
            let seed = u32::from(ones_complement(
                &frame[22..54],
                length + u32::from(frame[20]),
            ));
            match frame[20] {
                112 => put_sum(frame, 60, 54..frame.len(), seed),
                58 => put_sum(frame, 56, 54..frame.len(), seed),
                _ => {}
            }
        }
        _ => {}
    }
}

fn put_sum(frame: &mut [u8], at: usize, range: std::ops::Range<usize>, seed: u32) {
    frame[at..at + 2].fill(0);
    let sum = !ones_complement(&frame[range], seed);
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
