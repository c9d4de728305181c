//! What happens to a frame that arrives, the same code in every place it can be seen: XDP, TC
//! ingress, and user space where no kernel program could be attached. A place lends its clock and
//! its maps as [`Tables`].

use network_types::eth::EtherType;

use crate::{
    arp::{self, Arp, Kind},
    contract::{Counter, VipKey, VridKey},
    frame::FrameMut,
    link::{self, Link, Tag},
    slot::{Slot, mac_number, mac_of},
    validate::{self, Located, Reject},
};

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not our business, or not only ours.
    Pass,
    /// Consumed.
    Drop,
    /// Rewritten into an answer: send it back where it came from.
    Transmit,
}

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Interface index.
    pub ifindex: u32,
    /// A VLAN tag that is no longer in the frame.
    pub tag: Option<Tag>,
}

/// The maps and the clock of the place where a frame is handled.
pub trait Tables {
    /// Whether this place can keep a frame from the kernel and send one in its stead. Without that
    /// questions for our addresses are the kernel's to answer.
    const FENCES: bool;

    /// The slot that judges adverts of this virtual router.
    fn vrid(&self, key: VridKey) -> Option<u32>;
    /// The slot that answers for this address.
    fn vip(&self, key: VipKey) -> Option<u32>;
    /// A slot.
    fn slot(&self, index: u32) -> Option<&Slot>;
    /// Adds one to a counter or a [`Reject`] of the interface.
    fn count(&self, ifindex: u32, index: usize);
    /// Rings the doorbell for a slot.
    fn ring(&self, ifindex: u32, slot: u32);
    /// `CLOCK_BOOTTIME` in nanoseconds.
    fn now_ns(&self) -> u64;
    /// Whether a daemon is alive to act on what is recorded. Adverts are consumed only then, so
    /// that after a crash another daemon on this machine can hear them.
    fn is_attended(&self) -> bool;
}

/// Handles one frame.
#[inline(always)]
pub fn handle<F: FrameMut + ?Sized, T: Tables>(frame: &F, arrival: Arrival, tables: &T) -> Verdict {
    let Some(link) = link::read(frame, arrival.tag) else {
        return Verdict::Pass;
    };
    if link.ether_type == u16::from(EtherType::Ipv4) {
        advert(frame, arrival.ifindex, &link, tables)
    } else if link.ether_type == u16::from(EtherType::Arp) {
        arp(frame, arrival.ifindex, &link, tables)
    } else {
        Verdict::Pass
    }
}

/// Adverts: ours are judged, counted and consumed; everybody else's pass untouched.
#[inline(always)]
fn advert<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    ifindex: u32,
    link: &Link,
    tables: &T,
) -> Verdict {
    let candidate = match validate::locate_in_ipv4(frame, link.payload) {
        Located::NotVrrp => return Verdict::Pass,
        Located::Unreadable(reason) => {
            count_reject(tables, ifindex, reason);
            return Verdict::Pass;
        }
        Located::Found(candidate) => candidate,
    };
    let key = VridKey::v4(ifindex, link.vlan, candidate.vrid);
    let Some(index) = tables.vrid(key) else {
        count(tables, ifindex, Counter::ForeignVrid);
        return Verdict::Pass;
    };
    let Some(slot) = tables.slot(index) else {
        return Verdict::Pass;
    };
    match validate::validate(frame, &candidate, slot.own_source()) {
        Ok(advert) => {
            count(tables, ifindex, Counter::Advert);
            if slot.record_advert(&advert, tables.now_ns()) {
                count(tables, ifindex, Counter::Ring);
                tables.ring(ifindex, index);
            }
        }
        Err(reason) => count_reject(tables, ifindex, reason),
    }
    if tables.is_attended() {
        Verdict::Drop
    } else {
        Verdict::Pass
    }
}

/// ARP for our virtual addresses: answered while the lease is fresh, silenced otherwise, so that
/// neither we nor the kernel behind us answers for an address that may be somebody else's by now.
#[inline(always)]
fn arp<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    ifindex: u32,
    link: &Link,
    tables: &T,
) -> Verdict {
    let Some(arp) = arp::read(frame, link) else {
        return Verdict::Pass;
    };
    let place = Place { ifindex, link };
    match arp.kind {
        Kind::Question => question(frame, place, &arp, tables),
        Kind::Announcement | Kind::Reply => {
            claim(place, &arp, tables);
            Verdict::Pass
        }
    }
}

/// Where an ARP packet was heard.
#[derive(Clone, Copy)]
struct Place<'a> {
    ifindex: u32,
    link: &'a Link,
}

#[inline(always)]
fn question<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    arp: &Arp,
    tables: &T,
) -> Verdict {
    let Some((_, slot)) = slot_of(place, arp.target, tables) else {
        // Whoever asks with one of our addresses as its own sender claims it.
        claim(place, arp, tables);
        return Verdict::Pass;
    };
    let mac = slot.own_mac();
    if !T::FENCES || !is_for(arp.destination, mac) {
        return Verdict::Pass;
    }
    if !slot.may_answer(tables.now_ns()) {
        count(tables, place.ifindex, Counter::ArpSilenced);
        return Verdict::Drop;
    }
    if !arp::write_answer(frame, place.link, arp, mac_of(mac)) {
        return Verdict::Pass;
    }
    slot.record_answer();
    count(tables, place.ifindex, Counter::ArpAnswered);
    Verdict::Transmit
}

/// Somebody says that one of our addresses is at their MAC. Their frame passes: it is news for the
/// whole LAN and the stack may learn from it. A MASTER hears of it.
#[inline(always)]
fn claim<T: Tables>(place: Place<'_>, arp: &Arp, tables: &T) {
    let Some((index, slot)) = slot_of(place, arp.sender, tables) else {
        return;
    };
    let mac = mac_number(arp.sender_mac);
    if mac == slot.own_mac() {
        return;
    }
    count(tables, place.ifindex, Counter::ArpClaim);
    if slot.record_claim(mac, tables.now_ns()) {
        count(tables, place.ifindex, Counter::Ring);
        tables.ring(place.ifindex, index);
    }
}

#[inline(always)]
fn slot_of<'t, T: Tables>(
    place: Place<'_>,
    address: [u8; 4],
    tables: &'t T,
) -> Option<(u32, &'t Slot)> {
    let index = tables.vip(VipKey::new(place.ifindex, place.link.vlan, address))?;
    Some((index, tables.slot(index)?))
}

/// Broadcast, multicast or our MAC. A question to somebody else's MAC, seen on a promiscuous
/// interface, is not ours to answer or to silence.
#[inline(always)]
fn is_for(destination: [u8; 6], own: u64) -> bool {
    let [first, ..] = destination;
    first & 1 == 1 || mac_number(destination) == own
}

#[inline(always)]
fn count<T: Tables>(tables: &T, ifindex: u32, counter: Counter) {
    tables.count(ifindex, counter as usize);
}

#[inline(always)]
fn count_reject<T: Tables>(tables: &T, ifindex: u32, reason: Reject) {
    tables.count(ifindex, reason as usize);
}
