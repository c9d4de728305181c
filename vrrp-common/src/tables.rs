//! The maps and the clock of the place where a frame is handled, and what every handler asks of them.

use crate::{
    contract::{
        Counter, Family, MacKey, PeerKey, PeerLimits, VipKey, VipTarget, VridKey, VridTarget,
    },
    frame::Frame,
    link::{self, Link, Tag},
    slot::{Slot, mac_number},
    validate::Reject,
    vrrp::Source,
};

/// Where a frame came in, or goes out.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Interface index.
    pub ifindex: u32,
    /// A VLAN tag that is not in the frame.
    pub tag: Option<Tag>,
}

/// The maps and the clock of the place where a frame is handled.
pub trait Tables {
    /// Whether this place can keep a frame from the kernel and send one in its stead. Without that
    /// questions for our addresses are the kernel's to answer.
    const FENCES: bool;

    /// The slot that judges adverts of this virtual router.
    fn vrid(&self, key: VridKey) -> Option<VridTarget>;
    /// Whether this can be one of our addresses, in any place; false is certain.
    fn may_be_vip(&self, address: Source) -> bool;
    /// Who answers for this address.
    fn vip(&self, key: VipKey) -> Option<VipTarget>;
    /// The slot that has this virtual MAC.
    fn mac(&self, key: MacKey) -> Option<u32>;
    /// How far adverts of a unicast peer may have come; `None` for a stranger.
    fn peer(&self, key: PeerKey) -> Option<PeerLimits>;
    /// A slot.
    fn slot(&self, index: u32) -> Option<&Slot>;
    /// Adds one to a counter or a [`Reject`] of the interface. `row` saves looking for it, unless it is 0.
    fn count(&self, ifindex: u32, row: u16, index: usize);
    /// Rings the doorbell for a slot.
    fn ring(&self, ifindex: u32, slot: u32);
    /// `CLOCK_BOOTTIME` in nanoseconds.
    fn now_ns(&self) -> u64;
    /// Whether a daemon is alive to act on what is recorded. Adverts are consumed only then, so
    /// that after a crash another daemon on this machine can hear them.
    fn is_attended(&self, now_ns: u64) -> bool;
}

/// Where a frame was seen.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) ifindex: u32,
    pub(crate) link: &'a Link,
}

/// A virtual address of ours, found.
#[derive(Clone, Copy)]
pub(crate) struct Found<'t> {
    pub(crate) index: u32,
    pub(crate) slot: &'t Slot,
    /// The row of the interface's counters.
    pub(crate) row: u16,
    /// The MAC that is told for the address, in the low 48 bits.
    pub(crate) mac: u64,
    /// The interface's own MAC.
    pub(crate) port: u64,
}

impl Found<'_> {
    /// Broadcast, multicast or our MAC, virtual or not. A question to somebody else's MAC, seen on a
    /// promiscuous interface, is not ours to answer or to silence.
    #[inline(always)]
    pub(crate) fn is_meant<F: Frame + ?Sized>(&self, frame: &F) -> bool {
        let Some(destination) = link::destination(frame) else {
            return false;
        };
        let [first, ..] = destination;
        let number = mac_number(destination);
        first & 1 == 1 || number == self.mac || number == self.port
    }
}

/// Whether a router may answer for its addresses now: its lease is fresh, and neither it nor a member
/// of its sync group has been beaten.
#[inline(always)]
pub(crate) fn may_answer<T: Tables>(slot: &Slot, tables: &T) -> bool {
    slot.may_answer(tables.now_ns())
        && slot
            .group()
            .and_then(|group| tables.slot(group))
            .is_none_or(|group| !group.is_beaten())
}

/// Looks a virtual address up. On an interface of its own (`dev`) it is told with that one's MAC.
#[inline(always)]
pub(crate) fn find<'t, T: Tables>(
    place: Place<'_>,
    family: Family,
    address: Source,
    tables: &'t T,
) -> Option<Found<'t>> {
    if !tables.may_be_vip(address) {
        return None;
    }
    let key = VipKey::new(family, place.ifindex, place.link.vlan, address);
    let target = tables.vip(key)?;
    let slot = tables.slot(target.slot)?;
    let elsewhere = mac_number(target.mac);
    let (mac, port) = if elsewhere == 0 {
        (slot.own_mac(), slot.port_mac())
    } else {
        (elsewhere, elsewhere)
    };
    Some(Found {
        index: target.slot,
        slot,
        row: target.row,
        mac,
        port,
    })
}

#[inline(always)]
pub(crate) fn ring<T: Tables>(tables: &T, ifindex: u32, slot: u32) {
    count(tables, ifindex, Counter::Ring);
    tables.ring(ifindex, slot);
}

#[inline(always)]
pub(crate) fn count<T: Tables>(tables: &T, ifindex: u32, counter: Counter) {
    count_in(tables, ifindex, 0, counter);
}

/// [`count`], where the row of the interface's counters is known.
#[inline(always)]
pub(crate) fn count_in<T: Tables>(tables: &T, ifindex: u32, row: u16, counter: Counter) {
    tables.count(ifindex, row, counter as usize);
}

#[inline(always)]
pub(crate) fn count_reject<T: Tables>(tables: &T, ifindex: u32, reason: Reject) {
    // The compiler knows that no reason is beyond the counters, and leaves out the comparison by which the
    // verifier of an older kernel knows it.
    tables.count(ifindex, 0, core::hint::black_box(reason as usize));
}
