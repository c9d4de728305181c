//! The ladder every advert climbs (RFC 9568 section 7.1, RFC 3768 section 7.1), cheapest check first.
//!
//! [`locate`] finds the VRRP message in a frame; whoever calls it then looks up whether the
//! (interface, VLAN, family, VRID) is ours, because a stranger's advert is neither judged nor touched;
//! [`validate`] climbs the rungs. One rung, one [`Reject`], one counter. What a virtual router accepts
//! beyond that is in its [`Rules`].

mod locate;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

pub use locate::{Candidate, Located, locate, locate_in_ipv4, locate_in_ipv6};

use crate::{
    checksum,
    contract::Family,
    frame::Frame,
    link,
    slot::{Rules, Transport, mac_number},
    vrrp::{self, Advert, ChecksumForm, Source, Version, VrrpHeader},
};

/// Why an advert was dropped. The numbers are the rungs' order and the counters' index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// The IP header is broken: its own checksum, its length, or it ends beyond the frame.
    IpHeader = 0,
    /// A fragment; adverts are never fragmented.
    Fragment = 1,
    /// Not sent to the VRRP group, or where unicast is configured, not to us.
    Destination = 2,
    /// TTL or Hop Limit is not 255: it crossed a router (RFC 9568 5.1.1.3, 5.1.2.3); for a unicast
    /// peer, outside its `min_ttl` and `max_ttl`.
    Ttl = 3,
    /// The message is shorter or longer than its address count says.
    Length = 4,
    /// Not the version that is configured.
    Version = 5,
    /// Not an advertisement.
    Type = 6,
    /// No addresses (RFC 9568 5.2.5, erratum 8299).
    Count = 7,
    /// Interval 0: Master_Down would be nothing (erratum 8301). In `VRRPv2` any but ours
    /// (RFC 3768 7.1).
    Interval = 8,
    /// Neither checksum form matches (RFC 9568 5.2.8).
    Checksum = 9,
    /// `VRRPv2`: another Authentication Type, or another password (RFC 2338 7.1).
    Authentication = 10,
    /// IPv6 under `strict_mode`: the first address is not link-local (erratum 8300).
    FirstAddress = 11,
    /// A sender nobody can be: unspecified, loopback, multicast or broadcast; over IPv6 any but a
    /// link-local address, unless unicast is configured.
    Sender = 12,
    /// Our own address: a looped frame or a second router with it.
    OwnAddress = 13,
    /// Not one of the configured unicast peers.
    Peer = 14,
}

impl Reject {
    /// Number of reasons.
    pub const COUNT: usize = 15;

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
        Self::Authentication,
        Self::FirstAddress,
        Self::Sender,
        Self::OwnAddress,
        Self::Peer,
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
            Self::Authentication => "authentication",
            Self::FirstAddress => "first_address",
            Self::Sender => "sender",
            Self::OwnAddress => "own_address",
            Self::Peer => "peer",
        }
    }
}

/// What the IP header of an advert says.
struct Packet {
    source: Source,
    destination: Source,
    ttl: u8,
}

/// An advert that passed, and the TTL it arrived with: unicast peers have limits of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valid {
    /// What it says.
    pub advert: Advert,
    /// TTL or Hop Limit.
    pub ttl: u8,
}

/// A rung that does not hold. Hides the reason from the compiler, which would otherwise have each rung's reason
/// written to the stack before the rung is tried, for the adverts that pass as well.
#[inline(always)]
pub(crate) fn reject<T>(reason: Reject) -> Result<T, Reject> {
    Err(core::hint::black_box(reason))
}

/// Climbs the ladder. `own` is the address this router sends its own adverts from.
///
/// # Errors
///
/// The first rung that does not hold.
#[inline(always)]
pub fn validate<F: Frame + ?Sized>(
    frame: &F,
    candidate: &Candidate,
    rules: &Rules,
    own: Source,
) -> Result<Valid, Reject> {
    let packet = match candidate.family {
        Family::V4 => read_ipv4(frame, candidate)?,
        Family::V6 => read_ipv6(frame, candidate)?,
    };
    check_way(&packet, rules, own)?;
    let Some(header) = candidate.header(frame) else {
        return reject(Reject::Length);
    };
    let interval_cs = check_header(&header, candidate, rules)?;
    let Some((form, behind)) = checksum_form(frame, candidate, &packet, &header, rules.version)
    else {
        return reject(Reject::Checksum);
    };
    let trailer = check_authentication(frame, candidate, &header, rules)?;
    if rules.strict && candidate.family as u8 == Family::V6 as u8 {
        check_first_address(frame, candidate)?;
    }
    if !may_send(candidate.family, packet.source, rules.transport) {
        return reject(Reject::Sender);
    }
    if packet.source == own {
        return reject(Reject::OwnAddress);
    }
    let advert = Advert {
        vrid: header.vrid,
        priority: header.priority,
        count: header.count,
        interval_cs,
        form,
        addresses_sum: addresses_in(behind, trailer),
        source: packet.source,
        mac: frame.load::<[u8; 6]>(link::SOURCE).map_or(0, mac_number),
    };
    Ok(Valid {
        advert,
        ttl: packet.ttl,
    })
}

/// More Fragments bit of the IPv4 flags word.
const MORE_FRAGMENTS: u16 = 0x2000;

/// The kernel's own IP layer never sees a consumed advert, so the checks it would have made are made
/// here.
#[inline(always)]
fn read_ipv4<F: Frame + ?Sized>(frame: &F, candidate: &Candidate) -> Result<Packet, Reject> {
    let Some(ip) = frame.load::<Ipv4Hdr>(candidate.start) else {
        return reject(Reject::IpHeader);
    };
    let (source, destination) = (Source::v4(ip.src_addr), Source::v4(ip.dst_addr));
    let is_right = match candidate.offset - candidate.start {
        Ipv4Hdr::LEN => checksum::is_right(ip),
        with_options => frame.sum(candidate.start, with_options) == Some(0xffff),
    };
    if !is_right {
        return reject(Reject::IpHeader);
    }
    if u16::from_be_bytes(ip.frags) & MORE_FRAGMENTS != 0 {
        return reject(Reject::Fragment);
    }
    Ok(Packet {
        source,
        destination,
        ttl: ip.ttl,
    })
}

/// IPv6 has no checksum of its own, and an extension header in between is none of ours.
#[inline(always)]
fn read_ipv6<F: Frame + ?Sized>(frame: &F, candidate: &Candidate) -> Result<Packet, Reject> {
    let Some(ip) = frame.load::<Ipv6Hdr>(candidate.start) else {
        return reject(Reject::IpHeader);
    };
    Ok(Packet {
        source: Source::v6(ip.src_addr),
        destination: Source::v6(ip.dst_addr),
        ttl: ip.hop_limit,
    })
}

/// Where it was sent to, and how far it came. What a unicast peer's TTL may be is that peer's limit.
#[inline(always)]
fn check_way(packet: &Packet, rules: &Rules, own: Source) -> Result<(), Reject> {
    match rules.transport {
        Transport::Multicast(group) => {
            if packet.destination != group {
                return reject(Reject::Destination);
            }
            if packet.ttl != vrrp::TTL {
                return reject(Reject::Ttl);
            }
        }
        Transport::Unicast { .. } => {
            if packet.destination != own {
                return reject(Reject::Destination);
            }
        }
    }
    Ok(())
}

/// The fixed part. Returns the sender's interval in centiseconds.
#[inline(always)]
fn check_header(header: &VrrpHeader, candidate: &Candidate, rules: &Rules) -> Result<u16, Reject> {
    if header.version() != rules.version as u8 {
        return reject(Reject::Version);
    }
    if header.message_type() != vrrp::TYPE_ADVERTISEMENT {
        return reject(Reject::Type);
    }
    if header.count == 0 {
        return reject(Reject::Count);
    }
    let address_length = match candidate.family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let (trailer, interval_cs) = match rules.version {
        Version::V2 => (
            vrrp::AUTHENTICATION_LEN,
            u16::from(header.interval_s()) * 100,
        ),
        Version::V3 => (0, header.interval_cs()),
    };
    let length = VrrpHeader::LEN + usize::from(header.count) * address_length + trailer;
    if usize::from(candidate.length) != length {
        return reject(Reject::Length);
    }
    let mismatch = matches!(rules.version, Version::V2) && interval_cs != rules.interval_cs;
    if interval_cs == 0 || mismatch {
        return reject(Reject::Interval);
    }
    Ok(interval_cs)
}

/// The form whose checksum matches, with the folded sum of what is behind the fixed part.
#[inline(always)]
fn checksum_form<F: Frame + ?Sized>(
    frame: &F,
    candidate: &Candidate,
    packet: &Packet,
    header: &VrrpHeader,
    version: Version,
) -> Option<(ChecksumForm, u16)> {
    let length = usize::from(candidate.length).saturating_sub(VrrpHeader::LEN);
    let behind = frame.sum(candidate.offset + VrrpHeader::LEN, length)?;
    let message = header.sum() + u32::from(behind);
    let is_ipv4 = matches!(candidate.family, Family::V4);
    if is_ipv4 && checksum::fold(message) == 0xffff {
        return Some((ChecksumForm::MessageOnly, behind));
    }
    if matches!(version, Version::V2) {
        return None;
    }
    let pseudo = checksum::pseudo_header(packet.source, packet.destination, candidate.length);
    if checksum::fold(message + pseudo) == 0xffff {
        return Some((ChecksumForm::PseudoHeader, behind));
    }
    None
}

/// All bits of the longest `VRRPv2` message: 255 addresses, 1036 bytes.
const MAX_V2_LEN: usize = 0x7ff;

/// Authentication of a `VRRPv2` message. Returns the sum of the data behind its addresses. Without a
/// password the data is ignored (RFC 3768 5.3.10).
#[inline(always)]
fn check_authentication<F: Frame + ?Sized>(
    frame: &F,
    candidate: &Candidate,
    header: &VrrpHeader,
    rules: &Rules,
) -> Result<u32, Reject> {
    if matches!(rules.version, Version::V3) {
        return Ok(0);
    }
    // The mask tells the BPF verifier what the address count has been found to guarantee: a frame is
    // read at a small offset.
    let length = core::hint::black_box(usize::from(candidate.length)) & MAX_V2_LEN;
    let at = candidate.offset + length.saturating_sub(vrrp::AUTHENTICATION_LEN);
    let Some(data) = frame.load::<[u8; vrrp::AUTHENTICATION_LEN]>(at) else {
        return reject(Reject::Length);
    };
    let data = u64::from_be_bytes(data);
    let (kind, matches) = match rules.password {
        Some(password) => (vrrp::SIMPLE_PASSWORD, password == data),
        None => (vrrp::NO_AUTHENTICATION, true),
    };
    if header.authentication_type() != kind || !matches {
        return reject(Reject::Authentication);
    }
    Ok(vrrp::sum_of_word(data))
}

#[inline(always)]
fn check_first_address<F: Frame + ?Sized>(frame: &F, candidate: &Candidate) -> Result<(), Reject> {
    let Some(first) = frame.load::<[u8; 2]>(candidate.offset + VrrpHeader::LEN) else {
        return reject(Reject::Length);
    };
    if is_link_local(first) {
        Ok(())
    } else {
        reject(Reject::FirstAddress)
    }
}

/// `fe80::/10`, by the first two bytes.
#[inline(always)]
const fn is_link_local([first, second]: [u8; 2]) -> bool {
    first == 0xfe && second & 0xc0 == 0x80
}

/// Takes what is behind the addresses out of the sum of all that is behind the fixed part: what is left is
/// the address list.
#[inline(always)]
fn addresses_in(behind: u16, trailer: u32) -> u16 {
    // Nothing is behind them in version 3, and that is nearly every advert.
    if trailer == 0 {
        return canonical(behind);
    }
    let without = u32::from(behind) + u32::from(!checksum::fold(trailer));
    canonical(checksum::fold(without))
}

/// Ones' complement has two zeros; one of them is enough to compare.
#[inline(always)]
const fn canonical(sum: u16) -> u16 {
    if sum == 0xffff { 0 } else { sum }
}

/// The sum [`Advert::addresses_sum`] has for this list of addresses.
#[must_use]
pub fn addresses_sum(addresses: impl IntoIterator<Item = Source>) -> u16 {
    let total: u32 = addresses
        .into_iter()
        .map(|address| u32::from(checksum::fold(address.sum())))
        .sum();
    canonical(checksum::fold(total))
}

/// Whether an address can be the sender of adverts (RFC 9568 5.1.1.1, 5.1.2.1).
#[inline(always)]
const fn may_send(family: Family, source: Source, transport: Transport) -> bool {
    let [first, second, ..] = source.high.to_be_bytes();
    match (family, transport) {
        (Family::V4, _) => first != 0 && first != 127 && first < 224,
        (Family::V6, Transport::Multicast(_)) => is_link_local([first, second]),
        (Family::V6, Transport::Unicast { .. }) => {
            first != 0xff && !(source.high == 0 && source.low <= 1)
        }
    }
}
