//! What happens to a frame that arrives, the same code in every place it can be seen: XDP, TC
//! ingress, and user space where no kernel program could be attached. A place lends its clock and
//! its maps as [`Tables`].

use network_types::{
    eth::EtherType,
    ip::{Ipv4Hdr, Ipv6Hdr},
};

use crate::{
    arp::{self, Arp},
    contract::{Counter, Family, MacKey, PeerKey, VridKey, VridTarget},
    frame::{Frame, FrameMut},
    link,
    nd::{self, Nd},
    slot::{Slot, Transport, mac_number, mac_of},
    tables::{Arrival, Place, Tables, count, count_in, count_reject, find, may_answer, ring},
    validate::{self, Candidate, Located, Reject, Valid},
    vrrp::{self, Source},
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
    /// It is for this machine, although it was sent to a virtual MAC: the kernel must take it for its
    /// own.
    Accept,
}

/// Handles one frame.
#[inline(always)]
pub fn handle<F: FrameMut + ?Sized, T: Tables>(frame: &F, arrival: Arrival, tables: &T) -> Verdict {
    let Some(link) = link::read(frame, arrival.tag) else {
        return Verdict::Pass;
    };
    let place = Place {
        ifindex: arrival.ifindex,
        link: &link,
    };
    if link.ether_type == u16::from(EtherType::Ipv4) {
        ipv4(frame, place, tables)
    } else if link.ether_type == u16::from(EtherType::Arp) {
        arp(frame, place, tables)
    } else if link.ether_type == u16::from(EtherType::Ipv6) {
        ipv6(frame, place, tables)
    } else {
        Verdict::Pass
    }
}

/// What becomes of a frame that [`handle`] let pass and that was sent to a virtual MAC of ours: while
/// we may answer it is for this machine, to deliver or to forward (RFC 9568 6.4.3). A backup must not
/// take it (6.4.2), nor what a switch that has forgotten the MAC floods to every port.
#[inline(always)]
pub fn accept<F: Frame + ?Sized, T: Tables>(frame: &F, arrival: Arrival, tables: &T) -> Verdict {
    let Some((destination, link)) = link::read_whole(frame, arrival.tag) else {
        return Verdict::Pass;
    };
    let [first, ..] = destination;
    if first & 1 == 1 {
        return Verdict::Pass;
    }
    let key = MacKey::new(arrival.ifindex, link.vlan, destination);
    let Some(slot) = tables.mac(key).and_then(|index| tables.slot(index)) else {
        return Verdict::Pass;
    };
    if !may_answer(slot, tables) {
        count(tables, arrival.ifindex, Counter::TrafficSilenced);
        return Verdict::Drop;
    }
    Verdict::Accept
}

#[inline(always)]
fn ipv4<F: FrameMut + ?Sized, T: Tables>(frame: &F, place: Place<'_>, tables: &T) -> Verdict {
    let Some(ip) = frame.load::<Ipv4Hdr>(place.link.payload) else {
        return Verdict::Pass;
    };
    if ip.proto == vrrp::IP_PROTOCOL {
        let located = validate::locate_in_ipv4(frame, place.link.payload);
        return advert(frame, place, &located, tables);
    }
    let [first, ..] = ip.dst_addr;
    if first >= FIRST_MULTICAST {
        return Verdict::Pass;
    }
    traffic(
        frame,
        place,
        Family::V4,
        Source::v4(ip.dst_addr),
        false,
        tables,
    )
}

/// The first byte of 224.0.0.0/4 and all that is above.
const FIRST_MULTICAST: u8 = 224;

#[inline(always)]
fn ipv6<F: FrameMut + ?Sized, T: Tables>(frame: &F, place: Place<'_>, tables: &T) -> Verdict {
    let Some(ip) = frame.load::<Ipv6Hdr>(place.link.payload) else {
        return Verdict::Pass;
    };
    if ip.next_hdr == vrrp::IP_PROTOCOL {
        let located = validate::locate_in_ipv6(frame, place.link.payload);
        return advert(frame, place, &located, tables);
    }
    let mut discovers = false;
    if ip.next_hdr == nd::ICMPV6 {
        if let Some(nd) = nd::read(frame, place.link, &ip)
            && let Some(verdict) = neighbour(frame, place, &nd, tables)
        {
            return verdict;
        }
        discovers = nd::is_neighbour_discovery(frame, place.link);
    }
    let [first, ..] = ip.dst_addr;
    if first == 0xff {
        return Verdict::Pass;
    }
    traffic(
        frame,
        place,
        Family::V6,
        Source::v6(ip.dst_addr),
        discovers,
        tables,
    )
}

/// Adverts: ours are judged, counted and consumed; everybody else's pass untouched.
#[inline(always)]
fn advert<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    located: &Located,
    tables: &T,
) -> Verdict {
    let candidate = match located {
        Located::NotVrrp => return Verdict::Pass,
        Located::Unreadable(reason) => {
            count_reject(tables, place.ifindex, *reason);
            return Verdict::Pass;
        }
        Located::Found(candidate) => candidate,
    };
    let Place { ifindex, link } = place;
    let key = VridKey::new(candidate.family, ifindex, link.vlan, candidate.vrid);
    let Some(VridTarget {
        slot: index, row, ..
    }) = tables.vrid(key)
    else {
        count(tables, ifindex, Counter::ForeignVrid);
        return Verdict::Pass;
    };
    let Some(slot) = tables.slot(index) else {
        return Verdict::Pass;
    };
    let judged = judge(frame, candidate, index, slot, tables);
    // Once for each frame, for on some machines nothing here takes longer; and as late as can be: what is
    // heard counts from this moment, and not before it can be read.
    let now_ns = tables.now_ns();
    match judged {
        Ok(valid) => {
            let is_news = slot.record_advert(&valid.advert, now_ns);
            count_in(tables, ifindex, row, Counter::Advert);
            if is_news {
                ring(tables, ifindex, index);
            }
            tell_group(slot, tables);
        }
        Err(reason) => {
            count_reject(tables, ifindex, reason);
            if slot.samples_rejects(now_ns)
                && slot.record_reject(reason, candidate.sender(frame), now_ns)
            {
                ring(tables, ifindex, index);
            }
        }
    }
    if tables.is_attended(now_ns) {
        Verdict::Drop
    } else {
        Verdict::Pass
    }
}

/// The ladder, and for listed routers (`unicast_peer`, `accept_from`) their own limits.
#[inline(always)]
fn judge<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    candidate: &Candidate,
    index: u32,
    slot: &Slot,
    tables: &T,
) -> Result<Valid, Reject> {
    let rules = slot.rules();
    let valid = validate::validate(frame, candidate, &rules, slot.own_source())?;
    if rules.listed_only || rules.transport == (Transport::Unicast { checks_peers: true }) {
        let key = PeerKey::new(index, valid.advert.source);
        let Some(limits) = tables.peer(key) else {
            return validate::reject(Reject::Peer);
        };
        if valid.ttl < limits.min_ttl || valid.ttl > limits.max_ttl {
            return validate::reject(Reject::Ttl);
        }
    }
    Ok(valid)
}

/// A sync group that loses one member loses all, before user space has run.
#[inline(always)]
fn tell_group<T: Tables>(slot: &Slot, tables: &T) {
    if slot.loses_lease()
        && let Some(group) = slot.group()
        && let Some(group) = tables.slot(group)
    {
        group.record_beaten_member();
    }
}

/// Packets to our addresses: only while we may answer (RFC 9568 6.4.2), and with Accept_Mode false
/// none to an address (6.4.3). What is for the MAC of somebody else, such as a guest on top of this
/// interface, is not ours.
#[inline(always)]
fn traffic<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    family: Family,
    destination: Source,
    discovers: bool,
    tables: &T,
) -> Verdict {
    if !T::FENCES {
        return Verdict::Pass;
    }
    if let Some(vip) = find(place, family, destination, tables)
        && vip.is_meant(frame)
    {
        if !may_answer(vip.slot, tables) {
            count(tables, place.ifindex, Counter::TrafficSilenced);
            return Verdict::Drop;
        }
        if !vip.slot.accepts_packets() && !discovers {
            count(tables, place.ifindex, Counter::NotAccepted);
            return Verdict::Drop;
        }
    }
    Verdict::Pass
}

/// ARP for our virtual addresses: answered while the lease is fresh, silenced otherwise, so that
/// neither we nor the kernel behind us answers for an address that may be somebody else's by now.
#[inline(always)]
fn arp<F: FrameMut + ?Sized, T: Tables>(frame: &F, place: Place<'_>, tables: &T) -> Verdict {
    let Some(arp) = arp::read(frame, place.link) else {
        return Verdict::Pass;
    };
    match arp.kind {
        arp::Kind::Question => arp_question(frame, place, &arp, tables),
        arp::Kind::Announcement | arp::Kind::Reply => {
            arp_claim(place, &arp, tables);
            Verdict::Pass
        }
    }
}

#[inline(always)]
fn arp_question<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    arp: &Arp,
    tables: &T,
) -> Verdict {
    let target = Source::v4(arp.target);
    let Some(vip) = find(place, Family::V4, target, tables) else {
        // Whoever asks with one of our addresses as its own sender claims it.
        arp_claim(place, arp, tables);
        return Verdict::Pass;
    };
    if !T::FENCES || !vip.is_meant(frame) {
        return Verdict::Pass;
    }
    if !may_answer(vip.slot, tables) {
        count(tables, place.ifindex, Counter::ArpSilenced);
        return Verdict::Drop;
    }
    if !arp::write_answer(frame, place.link, arp, mac_of(vip.mac)) {
        return Verdict::Pass;
    }
    vip.slot.record_answer();
    count_in(tables, place.ifindex, vip.row, Counter::ArpAnswered);
    Verdict::Transmit
}

#[inline(always)]
fn arp_claim<T: Tables>(place: Place<'_>, arp: &Arp, tables: &T) {
    let claim = Claim {
        family: Family::V4,
        address: Source::v4(arp.sender),
        mac: arp.sender_mac,
        counter: Counter::ArpClaim,
    };
    record_claim(place, &claim, tables);
}

/// Neighbour Discovery for our virtual addresses, as ARP is handled. `None` where it is none of our
/// business.
#[inline(always)]
fn neighbour<F: FrameMut + ?Sized, T: Tables>(
    frame: &F,
    place: Place<'_>,
    nd: &Nd,
    tables: &T,
) -> Option<Verdict> {
    let vip = find(place, Family::V6, nd.target, tables)?;
    let nd::Kind::Solicitation { valid } = nd.kind else {
        let claim = Claim {
            family: Family::V6,
            address: nd.target,
            mac: nd.sender_mac,
            counter: Counter::NdClaim,
        };
        record_claim(place, &claim, tables);
        return None;
    };
    if !T::FENCES || !vip.is_meant(frame) {
        return Some(Verdict::Pass);
    }
    if !valid || !may_answer(vip.slot, tables) {
        count(tables, place.ifindex, Counter::NdSilenced);
        return Some(Verdict::Drop);
    }
    if !nd::write_answer(frame, place.link, nd, mac_of(vip.mac)) {
        return Some(Verdict::Drop);
    }
    vip.slot.record_answer();
    count_in(tables, place.ifindex, vip.row, Counter::NdAnswered);
    Some(Verdict::Transmit)
}

/// Somebody says that an address is at their MAC.
struct Claim {
    family: Family,
    address: Source,
    mac: [u8; 6],
    counter: Counter,
}

/// A claim to one of our addresses. The frame passes: it is news for the whole LAN and the stack may
/// learn from it. A MASTER hears of it.
#[inline(always)]
fn record_claim<T: Tables>(place: Place<'_>, claim: &Claim, tables: &T) {
    let Some(vip) = find(place, claim.family, claim.address, tables) else {
        return;
    };
    let mac = mac_number(claim.mac);
    if mac == vip.mac {
        return;
    }
    count(tables, place.ifindex, claim.counter);
    if vip.slot.record_claim(mac, tables.now_ns()) {
        ring(tables, place.ifindex, vip.index);
    }
}
