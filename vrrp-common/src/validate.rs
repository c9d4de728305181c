//! The ladder every advert climbs (RFC 9568 section 7.1), cheapest check first.
//!
//! [`locate`] finds the VRRP message in a frame; whoever calls it then looks up whether the
//! (interface, family, VRID) is ours, because a stranger's advert is neither judged nor touched;
//! [`validate`] climbs the rungs. One rung, one [`Reject`], one counter.

use network_types::{eth::EtherType, ip::Ipv4Hdr};

use crate::{
    checksum,
    frame::Frame,
    link,
    vrrp::{self, Advert, ChecksumForm, Source, VrrpHeader},
};

/// Why an advert was dropped. The numbers are the rungs' order and the counters' index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// The IPv4 header is broken: its own checksum, its length, or it ends beyond the frame.
    IpHeader = 0,
    /// A fragment; adverts are never fragmented.
    Fragment = 1,
    /// Not sent to the VRRP group.
    Destination = 2,
    /// TTL is not 255: it crossed a router (RFC 9568 5.1.1.3).
    Ttl = 3,
    /// The message is shorter or longer than its address count says.
    Length = 4,
    /// Not version 3.
    Version = 5,
    /// Not an advertisement.
    Type = 6,
    /// No addresses (RFC 9568 5.2.5, erratum 8299).
    Count = 7,
    /// Max Advertise Interval 0: Master_Down would be nothing (erratum 8301).
    Interval = 8,
    /// Neither checksum form matches (RFC 9568 5.2.8).
    Checksum = 9,
    /// A sender nobody can be: unspecified, loopback, multicast or broadcast.
    Sender = 10,
    /// Our own address: a looped frame or a second router with it.
    OwnAddress = 11,
}

impl Reject {
    /// Number of reasons.
    pub const COUNT: usize = 12;

    /// Every reason, in rung order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::IpHeader,
        Self::Fragment,
        Self::Destination,
        Self::Ttl,
        Self::Length,
        Self::Version,
        Self::Type,
        Self::Count,
        Self::Interval,
        Self::Checksum,
        Self::Sender,
        Self::OwnAddress,
    ];

    /// The name shown in `status` and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IpHeader => "ip_header",
            Self::Fragment => "fragment",
            Self::Destination => "destination",
            Self::Ttl => "ttl",
            Self::Length => "length",
            Self::Version => "version",
            Self::Type => "type",
            Self::Count => "count",
            Self::Interval => "interval",
            Self::Checksum => "checksum",
            Self::Sender => "sender",
            Self::OwnAddress => "own_address",
        }
    }
}

/// A VRRP message found in a frame, not yet judged.
#[derive(Clone, Copy)]
pub struct Candidate {
    ip: Ipv4Hdr,
    /// Where the IPv4 header begins.
    start: usize,
    /// Where the VRRP message begins.
    offset: usize,
    length: u16,
    header: Option<VrrpHeader>,
    /// The Virtual Router Identifier: the key of the lookup that tells whether it is ours.
    pub vrid: u8,
}

impl Candidate {
    /// The VRRP message within `frame`, whatever it says.
    #[must_use]
    pub fn message<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        frame.get(self.offset..self.offset + usize::from(self.length))
    }
}

/// What [`locate`] found.
pub enum Located {
    /// Not VRRP over IPv4, or so short that nobody can say whose it is: let it pass.
    NotVrrp,
    /// A VRRP packet whose VRID cannot be read: counted, and passed on because it may be
    /// somebody else's.
    Unreadable(Reject),
    /// A message with a VRID; ask whether it is ours, then [`validate`].
    Found(Candidate),
}

/// Finds the VRRP message in an untagged `frame`.
#[inline(always)]
pub fn locate<F: Frame + ?Sized>(frame: &F) -> Located {
    match link::read(frame, None) {
        Some(link) if link.vlan == 0 && link.ether_type == u16::from(EtherType::Ipv4) => {
            locate_in_ipv4(frame, link.payload)
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
    let offset = start + header_length;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "not above the 16-bit total length"
    )]
    let length = (total - header_length) as u16;
    let header = if usize::from(length) < VrrpHeader::LEN {
        None
    } else {
        frame.load(offset)
    };
    let vrid = match header {
        Some(VrrpHeader { vrid, .. }) => vrid,
        None if length < 2 => return Located::Unreadable(Reject::Length),
        None => match frame.load::<[u8; 2]>(offset) {
            Some([_, vrid]) => vrid,
            None => return Located::Unreadable(Reject::Length),
        },
    };
    Located::Found(Candidate {
        ip,
        start,
        offset,
        length,
        header,
        vrid,
    })
}

/// Fragment offset bits of the IPv4 flags word.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// More Fragments bit of the IPv4 flags word.
const MORE_FRAGMENTS: u16 = 0x2000;

/// Climbs the ladder. `own` is the address this router sends its own adverts from.
///
/// # Errors
///
/// The first rung that does not hold.
#[inline(always)]
pub fn validate<F: Frame + ?Sized>(
    frame: &F,
    candidate: &Candidate,
    own: Source,
) -> Result<Advert, Reject> {
    let ip = &candidate.ip;
    if !ip_header_sums(frame, candidate) {
        return Err(Reject::IpHeader);
    }
    if u16::from_be_bytes(ip.frags) & MORE_FRAGMENTS != 0 {
        return Err(Reject::Fragment);
    }
    if u32::from_ne_bytes(ip.dst_addr) != u32::from_ne_bytes(vrrp::GROUP_V4) {
        return Err(Reject::Destination);
    }
    if ip.ttl != vrrp::TTL {
        return Err(Reject::Ttl);
    }
    let header = candidate.header.ok_or(Reject::Length)?;
    if header.version() != 3 {
        return Err(Reject::Version);
    }
    if header.message_type() != 1 {
        return Err(Reject::Type);
    }
    if header.count == 0 {
        return Err(Reject::Count);
    }
    if usize::from(candidate.length) != VrrpHeader::LEN + usize::from(header.count) * 4 {
        return Err(Reject::Length);
    }
    if header.interval_cs() == 0 {
        return Err(Reject::Interval);
    }
    let (form, message_sum) = checksum_form(frame, candidate).ok_or(Reject::Checksum)?;
    if !may_send(ip.src_addr) {
        return Err(Reject::Sender);
    }
    let source = Source::v4(ip.src_addr);
    if source == own {
        return Err(Reject::OwnAddress);
    }
    Ok(Advert {
        vrid: header.vrid,
        priority: header.priority,
        count: header.count,
        interval_cs: header.interval_cs(),
        form,
        addresses_sum: without_header(message_sum, &header),
        source,
    })
}

/// The IPv4 header checksum. The kernel's own IP layer never sees a consumed advert, so the check
/// it would have made is made here.
#[inline(always)]
fn ip_header_sums<F: Frame + ?Sized>(frame: &F, candidate: &Candidate) -> bool {
    let ip = &candidate.ip;
    if candidate.offset != candidate.start + Ipv4Hdr::LEN {
        return frame.sum(candidate.start, candidate.offset - candidate.start) == Some(0xffff);
    }
    let [a, b, c, d] = ip.src_addr;
    let [e, f, g, h] = ip.dst_addr;
    let total = u32::from(u16::from_be_bytes([ip.vihl, ip.tos]))
        + u32::from(u16::from_be_bytes(ip.tot_len))
        + u32::from(u16::from_be_bytes(ip.id))
        + u32::from(u16::from_be_bytes(ip.frags))
        + u32::from(u16::from_be_bytes([ip.ttl, ip.proto]))
        + u32::from(u16::from_be_bytes(ip.check))
        + u32::from(u16::from_be_bytes([a, b]))
        + u32::from(u16::from_be_bytes([c, d]))
        + u32::from(u16::from_be_bytes([e, f]))
        + u32::from(u16::from_be_bytes([g, h]));
    checksum::fold(total) == 0xffff
}

/// The form whose checksum matches, with the folded sum of the message.
#[inline(always)]
fn checksum_form<F: Frame + ?Sized>(
    frame: &F,
    candidate: &Candidate,
) -> Option<(ChecksumForm, u16)> {
    let message = frame.sum(candidate.offset, usize::from(candidate.length))?;
    if message == 0xffff {
        return Some((ChecksumForm::MessageOnly, message));
    }
    let Candidate { ip, length, .. } = candidate;
    let pseudo = checksum::pseudo_header_v4(ip.src_addr, ip.dst_addr, *length);
    if checksum::fold(u32::from(message) + pseudo) == 0xffff {
        return Some((ChecksumForm::PseudoHeader, message));
    }
    None
}

/// Takes the fixed header out of the sum of a whole message: what is left is the address list.
#[inline(always)]
fn without_header(message: u16, header: &VrrpHeader) -> u16 {
    let fixed = u32::from(u16::from_be_bytes([header.version_type, header.vrid]))
        + u32::from(u16::from_be_bytes([header.priority, header.count]))
        + u32::from(u16::from_be_bytes(header.interval))
        + u32::from(u16::from_be_bytes(header.checksum));
    canonical(checksum::fold(
        u32::from(message) + u32::from(!checksum::fold(fixed)),
    ))
}

/// Ones' complement has two zeros; one of them is enough to compare.
#[inline(always)]
const fn canonical(sum: u16) -> u16 {
    if sum == 0xffff { 0 } else { sum }
}

/// The sum [`Advert::addresses_sum`] has for this list of addresses.
#[must_use]
pub fn addresses_sum(addresses: impl IntoIterator<Item = [u8; 4]>) -> u16 {
    let total: u32 = addresses
        .into_iter()
        .map(|address| checksum::sum(&address))
        .sum();
    canonical(checksum::fold(total))
}

/// Whether an IPv4 address can be somebody's own.
#[inline(always)]
const fn may_send([first, ..]: [u8; 4]) -> bool {
    first != 0 && first != 127 && first < 224
}
