//! Finding the VRRP message in a frame.

use network_types::{
    eth::EtherType,
    ip::{Ipv4Hdr, Ipv6Hdr},
};

use super::Reject;
use crate::{
    contract::Family,
    frame::Frame,
    link,
    vrrp::{self, Source, VrrpHeader},
};

/// A VRRP message found in a frame, not yet judged.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// Family of the packet that carries it.
    pub family: Family,
    /// Where the IP header begins.
    pub(super) start: usize,
    /// Where the VRRP message begins.
    pub(super) offset: usize,
    /// Bytes of the message, by the IP header.
    pub(super) length: u16,
    /// The Virtual Router Identifier: the key of the lookup that tells whether it is ours.
    pub vrid: u8,
}

impl Candidate {
    /// The sender, by the IP header; unspecified where that cannot be read.
    #[inline(always)]
    #[must_use]
    pub fn sender<F: Frame + ?Sized>(&self, frame: &F) -> Source {
        let sender = match self.family {
            Family::V4 => frame
                .load::<Ipv4Hdr>(self.start)
                .map(|ip| Source::v4(ip.src_addr)),
            Family::V6 => frame
                .load::<Ipv6Hdr>(self.start)
                .map(|ip| Source::v6(ip.src_addr)),
        };
        sender.unwrap_or_default()
    }

    /// Where it was sent to, and its TTL or Hop Limit, by the IP header.
    #[must_use]
    pub fn way<F: Frame + ?Sized>(&self, frame: &F) -> Option<(Source, u8)> {
        match self.family {
            Family::V4 => frame
                .load::<Ipv4Hdr>(self.start)
                .map(|ip| (Source::v4(ip.dst_addr), ip.ttl)),
            Family::V6 => frame
                .load::<Ipv6Hdr>(self.start)
                .map(|ip| (Source::v6(ip.dst_addr), ip.hop_limit)),
        }
    }

    /// The VRRP message within `frame`, whatever it says.
    #[must_use]
    pub fn message<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        frame.get(self.offset..self.offset + usize::from(self.length))
    }
}

/// What [`locate`] found.
pub enum Located {
    /// Not VRRP, or so short that nobody can say whose it is: let it pass.
    NotVrrp,
    /// A VRRP packet whose VRID cannot be read: counted, and passed on because it may be
    /// somebody else's.
    Unreadable(Reject),
    /// A message with a VRID; ask whether it is ours, then [`super::validate`].
    Found(Candidate),
}

/// Finds the VRRP message in an untagged `frame`.
#[inline(always)]
pub fn locate<F: Frame + ?Sized>(frame: &F) -> Located {
    match link::read(frame, None) {
        Some(link) if link.vlan != 0 => Located::NotVrrp,
        Some(link) if link.ether_type == u16::from(EtherType::Ipv4) => {
            locate_in_ipv4(frame, link.payload)
        }
        Some(link) if link.ether_type == u16::from(EtherType::Ipv6) => {
            locate_in_ipv6(frame, link.payload)
        }
        _ => Located::NotVrrp,
    }
}

/// [`locate`] for a frame whose IPv4 header begins at `start`.
#[inline(always)]
pub fn locate_in_ipv4<F: Frame + ?Sized>(frame: &F, start: usize) -> Located {
    let Some(ip) = frame.load::<Ipv4Hdr>(start) else {
        return Located::NotVrrp;
    };
    if ip.proto != vrrp::IP_PROTOCOL {
        return Located::NotVrrp;
    }
    let header_length = usize::from(ip.vihl & 0x0f) * 4;
    if ip.vihl >> 4 != 4 || header_length < Ipv4Hdr::LEN {
        return Located::Unreadable(Reject::IpHeader);
    }
    if u16::from_be_bytes(ip.frags) & FRAGMENT_OFFSET != 0 {
        return Located::Unreadable(Reject::Fragment);
    }
    let total = usize::from(u16::from_be_bytes(ip.tot_len));
    if total < header_length || start + total > frame.length() {
        return Located::Unreadable(Reject::IpHeader);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "not above the 16-bit total length"
    )]
    let length = (total - header_length) as u16;
    message(frame, Family::V4, start, start + header_length, length)
}

/// [`locate`] for a frame whose IPv6 header begins at `start`. VRRP follows it directly
/// (RFC 9568 5.1.2.4).
#[inline(always)]
pub fn locate_in_ipv6<F: Frame + ?Sized>(frame: &F, start: usize) -> Located {
    let Some(ip) = frame.load::<Ipv6Hdr>(start) else {
        return Located::NotVrrp;
    };
    if ip.next_hdr != vrrp::IP_PROTOCOL {
        return Located::NotVrrp;
    }
    let length = u16::from_be_bytes(ip.payload_len);
    let offset = start + Ipv6Hdr::LEN;
    if ip.version() != 6 || offset + usize::from(length) > frame.length() {
        return Located::Unreadable(Reject::IpHeader);
    }
    message(frame, Family::V6, start, offset, length)
}

#[inline(always)]
fn message<F: Frame + ?Sized>(
    frame: &F,
    family: Family,
    start: usize,
    offset: usize,
    length: u16,
) -> Located {
    if usize::from(length) < size_of::<[u8; 2]>() {
        return Located::Unreadable(Reject::Length);
    }
    let Some([_, vrid]) = frame.load::<[u8; 2]>(offset) else {
        return Located::Unreadable(Reject::Length);
    };
    Located::Found(Candidate {
        family,
        start,
        offset,
        length,
        vrid,
    })
}

impl Candidate {
    /// The fixed part of the message, where it is long enough.
    #[inline(always)]
    #[must_use]
    pub fn header<F: Frame + ?Sized>(&self, frame: &F) -> Option<VrrpHeader> {
        if usize::from(self.length) < VrrpHeader::LEN {
            return None;
        }
        frame.load(self.offset)
    }
}

/// Fragment offset bits of the IPv4 flags word.
const FRAGMENT_OFFSET: u16 = 0x1fff;
