//! What happens to a frame that leaves: where the kernel speaks for one of our addresses it does so
//! with the virtual MAC (RFC 9568 7.2, 8.1.2, 8.2.2), and only while this router may answer for it. And
//! an advert of ours leaves only while nothing newer than the decision behind it was heard: a process
//! that is stopped may go on at any instruction, the one that sends included.
//!
//! Without this the kernel's own questions, asked in the name of an address, would tell every neighbour
//! the MAC of the interface.

use network_types::{
    arp::ArpHdr,
    eth::EtherType,
    ip::{Ipv4Hdr, Ipv6Hdr},
};

use crate::{
    arp,
    contract::{Counter, Family, VridKey},
    frame::FrameMut,
    link, nd,
    slot::{mac_number, mac_of},
    tables::{Arrival, Found, Place, Tables, count, find, may_answer},
    vrrp::{self, PRIORITY_RESIGN, Source},
};

/// Where the sender's hardware address is in an ARP packet.
const SENDER_MAC: usize = 8;
const _: () = assert!(core::mem::offset_of!(ArpHdr, sha) == SENDER_MAC);

/// Handles one frame; false where it must not leave.
#[inline(always)]
pub fn handle<F: FrameMut + ?Sized, T: Tables>(frame: &F, way: Arrival, tables: &T) -> bool {
    let Some(link) = link::read(frame, way.tag) else {
        return true;
    };
    let place = Place {
        ifindex: way.ifindex,
        link: &link,
    };
    if link.ether_type == u16::from(EtherType::Ipv4) {
        ipv4(frame, place, tables)
    } else if link.ether_type == u16::from(EtherType::Arp) {
        arp(frame, place, tables)
    } else if link.ether_type == u16::from(EtherType::Ipv6) {
        ipv6(frame, place, tables)
    } else {
        true
    }
}

#[inline(always)]
fn ipv4<F: FrameMut + ?Sized, T: Tables>(frame: &F, place: Place<'_>, tables: &T) -> bool {
    let Some(ip) = frame.load::<Ipv4Hdr>(place.link.payload) else {
        return true;
    };
    if ip.proto == vrrp::IP_PROTOCOL {
        // Ours have no options.
        let sender = Sender::new(Family::V4, Source::v4(ip.src_addr), Ipv4Hdr::LEN);
        return advert(frame, place, &sender, tables);
    }
    match find(place, Family::V4, Source::v4(ip.src_addr), tables) {
        Some(vip) => speak_for(frame, place, &vip, tables),
        None => true,
    }
}

/// Who sends an advert.
struct Sender {
    family: Family,
    address: Source,
    /// Bytes of the IP header before the message.
    header: usize,
}

impl Sender {
    #[inline(always)]
    const fn new(family: Family, address: Source, header: usize) -> Self {
        Self {
            family,
            address,
            header,
        }
    }
}

/// Adverts say themselves where they come from, so nothing is rewritten. A resignation may always leave:
/// nobody is unseated by it but ourselves. Those of another daemon on this machine are its own business.
#[inline(always)]
fn advert<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    sender: &Sender,
    tables: &T,
) -> bool {
    let message = place.link.payload + sender.header;
    let Some([_, vrid, priority]) = frame.load::<[u8; 3]>(message) else {
        return true;
    };
    if priority == PRIORITY_RESIGN {
        return true;
    }
    let key = VridKey::new(sender.family, place.ifindex, place.link.vlan, vrid);
    let Some(slot) = tables.vrid(key).and_then(|target| tables.slot(target.slot)) else {
        return true;
    };
    if slot.own_source() != sender.address || slot.may_advertise(tables.now_ns()) {
        return true;
    }
    count(tables, place.ifindex, Counter::AdvertFenced);
    false
}

#[inline(always)]
fn arp<F: FrameMut + ?Sized, T: Tables>(frame: &F, place: Place<'_>, tables: &T) -> bool {
    let Some(arp) = arp::read(frame, place.link) else {
        return true;
    };
    let Some(vip) = find(place, Family::V4, Source::v4(arp.sender), tables) else {
        return true;
    };
    if !speak_for(frame, place, &vip, tables) {
        return false;
    }
    if vip.is_virtual() && mac_number(arp.sender_mac) == vip.port {
        frame.store(place.link.payload + SENDER_MAC, mac_of(vip.mac));
    }
    true
}

/// A message of Neighbour Discovery speaks for its source, or as an advertisement for its target.
#[inline(always)]
fn ipv6<F: FrameMut + ?Sized, T: Tables>(frame: &F, place: Place<'_>, tables: &T) -> bool {
    let Some(ip) = frame.load::<Ipv6Hdr>(place.link.payload) else {
        return true;
    };
    if ip.next_hdr == vrrp::IP_PROTOCOL {
        let sender = Sender::new(Family::V6, Source::v6(ip.src_addr), Ipv6Hdr::LEN);
        return advert(frame, place, &sender, tables);
    }
    let mut address = Source::v6(ip.src_addr);
    let discovers = ip.next_hdr == nd::ICMPV6 && nd::is_neighbour_discovery(frame, place.link);
    if discovers && let Some(target) = nd::advertised(frame, place.link) {
        address = target;
    }
    let Some(vip) = find(place, Family::V6, address, tables) else {
        return true;
    };
    if !speak_for(frame, place, &vip, tables) {
        return false;
    }
    if discovers && vip.is_virtual() {
        nd::rewrite_link_layer(frame, place.link, mac_of(vip.port), mac_of(vip.mac));
    }
    true
}

/// Whether the kernel may speak for an address; where it may, it does so from the virtual MAC. What an
/// owner's own address says is never held back: the machine has it whatever the election says.
#[inline(always)]
fn speak_for<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    vip: &Found<'_>,
    tables: &T,
) -> bool {
    // A guest on top of this interface, or a packet that is only forwarded, speaks for itself.
    let source = frame.load::<[u8; 6]>(link::SOURCE).map(mac_number);
    if source != Some(vip.port) && source != Some(vip.mac) {
        return true;
    }
    if !may_answer(vip.slot, tables) {
        if vip.slot.is_owner() {
            return true;
        }
        count(tables, place.ifindex, Counter::SentSilenced);
        return false;
    }
    if vip.is_virtual() {
        frame.store(link::SOURCE, mac_of(vip.mac));
    }
    true
}

impl Found<'_> {
    #[inline(always)]
    const fn is_virtual(&self) -> bool {
        self.mac != self.port
    }
}
