//! ARP for our virtual addresses: answered while the lease is fresh, silenced otherwise, so that
//! neither we nor the kernel behind us answers for an address that may be somebody else's by now.

use vrrp_common::{
    arp::{self, Arp, Kind},
    contract::{Counter, VipKey},
    slot::{Slot, mac_number, mac_of},
};

use crate::{Verdict, maps, packet::XdpFrame};

/// Handles an untagged ARP frame.
#[inline(always)]
pub fn arp(frame: &XdpFrame<'_>) -> Verdict {
    let Some(arp) = arp::read(frame) else {
        return Verdict::Pass;
    };
    let ifindex = frame.ifindex();
    match arp.kind {
        Kind::Question => question(frame, ifindex, &arp),
        Kind::Announcement | Kind::Reply => {
            claim(ifindex, &arp);
            Verdict::Pass
        }
    }
}

#[inline(always)]
fn question(frame: &XdpFrame<'_>, ifindex: u32, arp: &Arp) -> Verdict {
    let Some((_, slot)) = slot_of(ifindex, arp.target) else {
        // Whoever asks with one of our addresses as its own sender claims it.
        claim(ifindex, arp);
        return Verdict::Pass;
    };
    let mac = slot.own_mac();
    if !is_for(arp.destination, mac) {
        return Verdict::Pass;
    }
    if !slot.may_answer(maps::now_ns()) {
        maps::count(ifindex, Counter::ArpSilenced);
        return Verdict::Drop;
    }
    if !frame.write(arp::answer(arp, mac_of(mac))) {
        return Verdict::Pass;
    }
    slot.record_answer();
    maps::count(ifindex, Counter::ArpAnswered);
    Verdict::Transmit
}

/// Somebody says that one of our addresses is at their MAC. Their frame passes: it is news for the
/// whole LAN and the stack may learn from it. A MASTER hears of it.
#[inline(always)]
fn claim(ifindex: u32, arp: &Arp) {
    let Some((index, slot)) = slot_of(ifindex, arp.sender) else {
        return;
    };
    let mac = mac_number(arp.sender_mac);
    if mac == slot.own_mac() {
        return;
    }
    maps::count(ifindex, Counter::ArpClaim);
    if slot.record_claim(mac, maps::now_ns()) {
        maps::ring(ifindex, index);
    }
}

#[inline(always)]
fn slot_of(ifindex: u32, address: [u8; 4]) -> Option<(u32, &'static Slot)> {
    // SAFETY: the value is one aligned word, written by user space as a whole.
    let index = *unsafe { maps::VIPS.get(VipKey::untagged(ifindex, address)) }?;
    Some((index, maps::MASTER_SEEN.get(index)?))
}

/// Broadcast, multicast or our MAC. A question to somebody else's MAC, seen on a promiscuous
/// interface, is not ours to answer or to silence.
#[inline(always)]
fn is_for(destination: [u8; 6], own: u64) -> bool {
    let [first, ..] = destination;
    first & 1 == 1 || mac_number(destination) == own
}
