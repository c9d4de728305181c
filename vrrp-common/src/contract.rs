//! Keys, values and sizes of the maps that kernel and user space share, the slot apart
//! ([`crate::slot`]).

use core::net::IpAddr;

use crate::{validate::Reject, vrrp::Source};

/// Slots in `MASTER_SEEN` unless the loader asks for more.
pub const DEFAULT_SLOTS: usize = 256;
/// Addresses in `VIPS` unless the loader asks for more.
pub const DEFAULT_VIPS: usize = 1024;
/// Unicast peers in `PEERS` unless the loader asks for more.
pub const DEFAULT_PEERS: usize = 256;
/// Interfaces that can carry instances, unless the loader asks for more.
pub const DEFAULT_INTERFACES: usize = 256;
/// Bytes of the doorbell ring; an event takes 16.
pub const RING_BYTES: usize = 1 << 16;
/// Layout of maps and pins. A kernel program that outlives its daemon is replaced whole, with its
/// maps; what changes this number is another way to find it again.
pub const ABI_VERSION: u32 = 2;

/// Address family of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Key of `VRIDS`: a virtual router.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VridKey {
    /// Interface index the advert arrives on.
    pub ifindex: u32,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// A [`Family`].
    pub family: u8,
    /// Virtual Router Identifier.
    pub vrid: u8,
}

impl VridKey {
    /// The key of a virtual router on a VLAN (0 = untagged) of the interface.
    #[inline(always)]
    #[must_use]
    pub const fn new(family: Family, ifindex: u32, vlan: u16, vrid: u8) -> Self {
        Self {
            ifindex,
            vlan,
            family: family as u8,
            vrid,
        }
    }
}

/// Value of `VRIDS`: which slot judges an advert.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VridTarget {
    /// Index into `MASTER_SEEN`.
    pub slot: u32,
    /// The row of the interface's counters; 0 = not known.
    pub row: u16,
    /// Zero.
    pub reserved: [u8; 2],
}

impl VridTarget {
    /// Leads to a slot, and to the row of the interface's counters (0 = not known).
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, row: u16) -> Self {
        Self {
            slot,
            row,
            reserved: [0; 2],
        }
    }
}

/// Key of `VIPS`: which slot answers for an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VipKey {
    /// Interface index the question arrives on.
    pub ifindex: u32,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// A [`Family`].
    pub family: u8,
    /// Zero.
    pub reserved: u8,
    /// The address, in network byte order; IPv4 in the first four bytes.
    pub address: [u8; 16],
}

impl VipKey {
    /// The key of an address on a VLAN (0 = untagged) of the interface.
    #[inline(always)]
    #[must_use]
    pub const fn new(family: Family, ifindex: u32, vlan: u16, address: Source) -> Self {
        Self {
            ifindex,
            vlan,
            family: family as u8,
            reserved: 0,
            address: address.as_v6(),
        }
    }
}

/// Value of `VIPS`: who answers for an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VipTarget {
    /// Index into `MASTER_SEEN`.
    pub slot: u32,
    /// The MAC of the interface, where the address is on another one than the adverts; zero where it
    /// is on the same, and the slot's MAC is told.
    pub mac: [u8; 6],
    /// The row of the interface's counters; 0 = not known.
    pub row: u16,
}

/// Key of `MACS`: which slot has a virtual MAC.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MacKey {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// The MAC.
    pub mac: [u8; 6],
}

impl MacKey {
    /// The key of a MAC on a VLAN (0 = untagged) of the interface.
    #[inline(always)]
    #[must_use]
    pub const fn new(ifindex: u32, vlan: u16, mac: [u8; 6]) -> Self {
        Self { ifindex, vlan, mac }
    }
}

/// Key of `PEERS`: who may advertise to a slot that checks its unicast peers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeerKey {
    /// The peer's address, as in [`VipKey`].
    pub address: [u8; 16],
    /// Index into `MASTER_SEEN`.
    pub slot: u32,
}

impl PeerKey {
    /// The key of a peer.
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, address: Source) -> Self {
        Self {
            address: address.as_v6(),
            slot,
        }
    }
}

/// Value of `PEERS`: how far a peer's adverts may have come (`min_ttl`, `max_ttl`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeerLimits {
    /// The lowest TTL.
    pub min_ttl: u8,
    /// The highest TTL.
    pub max_ttl: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// What happened to a frame that concerned us, one counter per interface and CPU each. The first
/// [`Reject::COUNT`] are the reject reasons in rung order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// Adverts consumed: valid and ours.
    Advert = 15,
    /// VRRP adverts for a VRID that is not ours on this interface: passed on.
    ForeignVrid = 16,
    /// ARP questions for our addresses that were answered.
    ArpAnswered = 17,
    /// ARP questions for our addresses that were silenced: not MASTER, lease over, or beaten.
    ArpSilenced = 18,
    /// Announcements and replies by others for our addresses, passed on.
    ArpClaim = 19,
    /// Doorbells rung.
    Ring = 20,
    /// Doorbells that found the ring full; nothing is lost, the slot has it.
    RingFull = 21,
    /// Neighbour solicitations for our addresses that were answered.
    NdAnswered = 22,
    /// Neighbour solicitations for our addresses that were silenced, as for ARP.
    NdSilenced = 23,
    /// Neighbour advertisements by others for our addresses, passed on.
    NdClaim = 24,
    /// Packets to our addresses or our virtual MAC that were dropped: not MASTER, lease over, or beaten.
    TrafficSilenced = 25,
    /// Packets to our addresses that were dropped because of Accept_Mode.
    NotAccepted = 26,
    /// Frames of this machine with one of our addresses as sender that were held back: not MASTER,
    /// lease over, or beaten.
    SentSilenced = 27,
    /// Adverts of ours that came too late to leave: something newer than the decision behind them had
    /// been heard.
    AdvertFenced = 28,
}

impl Counter {
    /// Number of counters, the reject reasons included.
    pub const COUNT: usize = 29;

    /// Every counter that is not a reject reason.
    pub const ALL: [Self; Self::COUNT - Reject::COUNT] = [
        Self::Advert,
        Self::ForeignVrid,
        Self::ArpAnswered,
        Self::ArpSilenced,
        Self::ArpClaim,
        Self::Ring,
        Self::RingFull,
        Self::NdAnswered,
        Self::NdSilenced,
        Self::NdClaim,
        Self::TrafficSilenced,
        Self::NotAccepted,
        Self::SentSilenced,
        Self::AdvertFenced,
    ];

    /// The name shown in `status` and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Advert => "adverts",
            Self::ForeignVrid => "foreign_vrid",
            Self::ArpAnswered => "arp_answered",
            Self::ArpSilenced => "arp_silenced",
            Self::ArpClaim => "arp_claims",
            Self::Ring => "doorbells",
            Self::RingFull => "doorbells_lost",
            Self::NdAnswered => "nd_answered",
            Self::NdSilenced => "nd_silenced",
            Self::NdClaim => "nd_claims",
            Self::TrafficSilenced => "traffic_silenced",
            Self::NotAccepted => "traffic_not_accepted",
            Self::SentSilenced => "sent_silenced",
            Self::AdvertFenced => "adverts_fenced",
        }
    }
}

/// Value of `COUNTERS`, a row for each interface; `ROWS` has which.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct InterfaceCounters {
    /// Indexed by [`Reject`] and [`Counter`].
    pub counts: [u64; Counter::COUNT],
}

impl Default for InterfaceCounters {
    fn default() -> Self {
        Self {
            counts: [0; Counter::COUNT],
        }
    }
}

impl InterfaceCounters {
    /// How often an advert was rejected for `reason`.
    #[must_use]
    pub const fn rejects(&self, reason: Reject) -> u64 {
        self.counts[reason as usize]
    }

    /// The value of `counter`.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }

    /// Adds another CPU's counts.
    pub fn add(&mut self, other: &Self) {
        for (to, from) in self.counts.iter_mut().zip(other.counts) {
            *to += from;
        }
    }
}

/// A doorbell event: look at this slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Doorbell {
    /// Index into `MASTER_SEEN`.
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
}

/// Words of `VIP_FILTER`.
pub const FILTER_WORDS: usize = 1024;

/// 2^64 divided by the golden ratio: spreads what differs in few bits (Knuth, TAOCP 6.4).
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where `VIP_FILTER` says whether an address can be one of ours: the word, and the bit in it. Most
/// traffic is to none, and one look tells.
#[inline(always)]
#[must_use]
pub const fn filter_place(address: Source) -> (u32, u64) {
    const _: () = assert!(FILTER_WORDS == 1 << 10);
    let hash = (address.high ^ address.low.rotate_left(32)).wrapping_mul(SPREAD);
    ((hash >> 54) as u32, 1 << ((hash >> 48) & 63))
}

const _: () = assert!(Reject::COUNT == Counter::Advert as usize);
const _: () = assert!(Counter::AdvertFenced as usize + 1 == Counter::COUNT);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::Ipv4Addr};

    use super::*;

    #[test]
    fn neighbouring_addresses_fill_the_filter_evenly() {
        let first = u32::from(Ipv4Addr::new(10, 100, 0, 0));
        let addresses = (first..first + 4080).map(|it| Source::v4(it.to_be_bytes()));
        let places: BTreeSet<(u32, u64)> = addresses.map(filter_place).collect();
        assert!(places.len() > 3900, "{} of 4080", places.len());
        let words: BTreeSet<u32> = places.iter().map(|(word, _)| *word).collect();
        assert_eq!(words.last(), Some(&1023));
    }

    #[test]
    fn counters_do_not_overlap_with_reasons() {
        let mut numbers: Vec<usize> = Reject::ALL.iter().map(|reject| *reject as usize).collect();
        numbers.extend(Counter::ALL.iter().map(|counter| *counter as usize));
        assert_eq!(numbers, (0..Counter::COUNT).collect::<Vec<_>>());
    }
}
