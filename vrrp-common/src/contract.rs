//! Keys, values and sizes of the maps that kernel and user space share, the slot apart
//! ([`crate::slot`]).

use crate::validate::Reject;

/// Slots in `MASTER_SEEN` unless the loader asks for more.
pub const DEFAULT_SLOTS: usize = 256;
/// Addresses in `VIPS` unless the loader asks for more.
pub const DEFAULT_VIPS: usize = 1024;
/// Interfaces that can carry instances, unless the loader asks for more.
pub const DEFAULT_INTERFACES: usize = 256;
/// Bytes of the doorbell ring; an event takes 16.
pub const RING_BYTES: usize = 1 << 16;
/// Layout of maps and pins. A kernel program that outlives its daemon is replaced whole, with its
/// maps; what changes this number is another way to find it again.
pub const ABI_VERSION: u32 = 1;

/// Address family of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// Key of `VRIDS`: which slot judges an advert.
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
    /// The key of an IPv4 virtual router on a VLAN (0 = untagged) of the interface.
    #[inline(always)]
    #[must_use]
    pub const fn v4(ifindex: u32, vlan: u16, vrid: u8) -> Self {
        Self {
            ifindex,
            vlan,
            family: Family::V4 as u8,
            vrid,
        }
    }
}

/// Key of `VIPS`: which slot answers for an IPv4 address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VipKey {
    /// Interface index the question arrives on.
    pub ifindex: u32,
    /// The address, in network byte order.
    pub address: [u8; 4],
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// Zero.
    pub reserved: u16,
}

impl VipKey {
    /// The key of an address on a VLAN (0 = untagged) of the interface.
    #[inline(always)]
    #[must_use]
    pub const fn new(ifindex: u32, vlan: u16, address: [u8; 4]) -> Self {
        Self {
            ifindex,
            address,
            vlan,
            reserved: 0,
        }
    }
}

/// What happened to a frame that concerned us, one counter per interface and CPU each. The first
/// [`Reject::COUNT`] are the reject reasons in rung order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// Adverts consumed: valid and ours.
    Advert = 12,
    /// VRRP adverts for a VRID that is not ours on this interface: passed on.
    ForeignVrid = 13,
    /// ARP questions for our addresses that were answered.
    ArpAnswered = 14,
    /// ARP questions for our addresses that were silenced: not MASTER, lease over, or beaten.
    ArpSilenced = 15,
    /// Announcements and replies by others for our addresses, passed on.
    ArpClaim = 16,
    /// Doorbells rung.
    Ring = 17,
    /// Doorbells that found the ring full; nothing is lost, the slot has it.
    RingFull = 18,
}

impl Counter {
    /// Number of counters, the reject reasons included.
    pub const COUNT: usize = 19;

    /// Every counter that is not a reject reason.
    pub const ALL: [Self; Self::COUNT - Reject::COUNT] = [
        Self::Advert,
        Self::ForeignVrid,
        Self::ArpAnswered,
        Self::ArpSilenced,
        Self::ArpClaim,
        Self::Ring,
        Self::RingFull,
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
        }
    }
}

/// Value of `COUNTERS`, keyed by interface index.
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

const _: () = assert!(Reject::COUNT == Counter::Advert as usize);
const _: () = assert!(Counter::RingFull as usize + 1 == Counter::COUNT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_do_not_overlap_with_reasons() {
        let mut numbers: Vec<usize> = Reject::ALL.iter().map(|reject| *reject as usize).collect();
        numbers.extend(Counter::ALL.iter().map(|counter| *counter as usize));
        assert_eq!(numbers, (0..Counter::COUNT).collect::<Vec<_>>());
    }
}
