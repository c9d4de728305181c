//! Neighbour Discovery for IPv6 (RFC 4861): what a solicitation asks, the answer to it, and
//! unsolicited advertisements.

use network_types::{
    eth::{EthHdr, EtherType},
    ip::Ipv6Hdr,
};

use crate::{
    checksum,
    frame::{Frame, FrameMut, Way, Whole, Wire},
    link::{self, Link},
    slot::mac_number,
    vrrp::Source,
};

/// Next Header of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Every node of the link, `ff02::1`.
pub const ALL_NODES: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Ethernet address of [`ALL_NODES`].
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Length of an Ethernet frame with an advertisement and one option.
pub const FRAME_LEN: usize = EthHdr::LEN + size_of::<AdvertisementPacket>();

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// The only Hop Limit that is accepted (RFC 4861 7.1).
const HOP_LIMIT: u8 = 255;
/// Router, Solicited and Override flags (RFC 4861 4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Option type Source Link-Layer Address.
const SOURCE_LINK_LAYER: u8 = 1;
/// Option type Target Link-Layer Address.
const TARGET_LINK_LAYER: u8 = 2;
/// ICMPv6 message types 133 to 137 are Neighbour Discovery.
const FIRST_TYPE: u8 = 133;
const LAST_TYPE: u8 = 137;

/// The fixed part of a solicitation or an advertisement; options follow it.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | type 135, 136 |    code 0     |           checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |R|S|O|                     reserved                            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                   target address (16 bytes)                   |
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
struct Body {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    flags: [u8; 4],
    target: [u8; 16],
}

/// An advertisement with the link-layer address of its target, from the IPv6 header on.
///
/// ```text
///  0 IPv6 header   40 body   64 option: type 2, length 1, MAC (6)
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
struct AdvertisementPacket {
    ip: Ipv6Hdr,
    body: Body,
    option: [u8; 8],
}

// SAFETY: bytes only, no padding (24 and 72 bytes).
unsafe impl Wire for Body {}
// SAFETY: as above.
unsafe impl Wire for AdvertisementPacket {}
const _: () = assert!(size_of::<AdvertisementPacket>() == 72 && size_of::<Body>() == 24);

/// A solicitation or an advertisement, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nd {
    /// Ethernet source of the frame.
    pub sender_mac: [u8; 6],
    /// IPv6 source; unspecified for Duplicate Address Detection.
    pub sender: Source,
    /// The address it is about.
    pub target: Source,
    /// What it is.
    pub kind: Kind,
}

/// What a message of Neighbour Discovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// "Who has the target?"
    Solicitation {
        /// Whether a host that keeps to RFC 4861 7.1.1 may take it for one.
        valid: bool,
    },
    /// "The target is here."
    Advertisement,
}

/// Reads a solicitation or an advertisement behind an IPv6 header; `None` for anything else.
#[inline(always)]
pub fn read<F: Frame + ?Sized>(frame: &F, link: &Link, ip: &Ipv6Hdr) -> Option<Nd> {
    let at = link.payload + Ipv6Hdr::LEN;
    let body = frame.load::<Body>(at)?;
    let sender = Source::v6(ip.src_addr);
    let kind = match body.kind {
        SOLICITATION => Kind::Solicitation {
            valid: body.code == 0 && ip.hop_limit == HOP_LIMIT && sums(frame, at, ip),
        },
        ADVERTISEMENT => Kind::Advertisement,
        _ => return None,
    };
    Some(Nd {
        sender_mac: frame.load(link::SOURCE)?,
        sender,
        target: Source::v6(body.target),
        kind,
    })
}

/// Whether an ICMPv6 message belongs to Neighbour Discovery, which Accept_Mode never drops
/// (RFC 9568 6.1).
#[inline(always)]
pub fn is_neighbour_discovery<F: Frame + ?Sized>(frame: &F, link: &Link) -> bool {
    frame
        .load::<[u8; 1]>(link.payload + Ipv6Hdr::LEN)
        .is_some_and(|[kind]| (FIRST_TYPE..=LAST_TYPE).contains(&kind))
}

/// The address that an advertisement is about; `None` for any other message.
#[inline(always)]
pub fn advertised<F: Frame + ?Sized>(frame: &F, link: &Link) -> Option<Source> {
    let body = frame.load::<Body>(link.payload + Ipv6Hdr::LEN)?;
    (body.kind == ADVERTISEMENT).then(|| Source::v6(body.target))
}

/// The most options that are looked at. What the kernel sends has one or two; a router advertisement
/// has its link-layer address behind prefixes, routes and name servers.
const MAX_OPTIONS: usize = 16;

/// Puts `new` in the place of `old` in the first link-layer address option of a message of Neighbour
/// Discovery, and mends the checksum (RFC 1624, equation 3).
#[inline(always)]
pub fn rewrite_link_layer<F: FrameMut + ?Sized>(
    frame: &F,
    link: &Link,
    old: [u8; 6],
    new: [u8; 6],
) {
    let at = link.payload + Ipv6Hdr::LEN;
    let Some([kind, _, sum_high, sum_low]) = frame.load::<[u8; 4]>(at) else {
        return;
    };
    let mut option = at + options_offset(kind);
    for _ in 0..MAX_OPTIONS {
        let Some([kind, units]) = frame.load::<[u8; 2]>(option) else {
            return;
        };
        let is_address = kind == SOURCE_LINK_LAYER || kind == TARGET_LINK_LAYER;
        if is_address
            && let Some(told) = frame.load::<[u8; 6]>(option + 2)
            && mac_number(told) == mac_number(old)
        {
            let sum = u16::from_be_bytes([sum_high, sum_low]);
            let sum = checksum::replaced(sum, mac_sum(old), mac_sum(new));
            frame.store(option + 2, new);
            frame.store(at + 2, sum.to_be_bytes());
            return;
        }
        if units == 0 {
            return;
        }
        option += usize::from(units) * 8;
    }
}

/// Where the options of a message begin (RFC 4861 4.1 to 4.5).
const fn options_offset(kind: u8) -> usize {
    match kind {
        133 => 8,
        134 => 16,
        137 => 40,
        _ => size_of::<Body>(),
    }
}

/// Unfolded sum of the three words of a MAC.
#[inline(always)]
const fn mac_sum(mac: [u8; 6]) -> u32 {
    let [a, b, c, d, e, f] = mac;
    u16::from_be_bytes([a, b]) as u32
        + u16::from_be_bytes([c, d]) as u32
        + u16::from_be_bytes([e, f]) as u32
}

/// Length and checksum. Options come in units of eight bytes.
#[inline(always)]
fn sums<F: Frame + ?Sized>(frame: &F, at: usize, ip: &Ipv6Hdr) -> bool {
    let length = u16::from_be_bytes(ip.payload_len);
    if !length.is_multiple_of(8) || usize::from(length) < size_of::<Body>() {
        return false;
    }
    let pseudo = pseudo_header(Source::v6(ip.src_addr), Source::v6(ip.dst_addr), length);
    frame
        .sum(at, usize::from(length))
        .is_some_and(|sum| checksum::fold(u32::from(sum) + pseudo) == 0xffff)
}

#[inline(always)]
const fn pseudo_header(source: Source, destination: Source, length: u16) -> u32 {
    source.sum() + destination.sum() + ICMPV6 as u32 + length as u32
}

/// Turns the frame with a solicitation into the answer "the target you asked for is at `mac`, and it
/// is a router" (RFC 9568 6.4.3). Whoever probes for a duplicate has no address to be answered at:
/// everybody hears it then. False where the frame cannot be made long enough.
#[inline(always)]
pub fn write_answer<F: FrameMut + ?Sized>(
    frame: &F,
    link: &Link,
    question: &Nd,
    mac: [u8; 6],
) -> bool {
    let probes = question.sender.is_unspecified();
    let (destination, destination_mac, flags) = if probes {
        (Source::v6(ALL_NODES), ALL_NODES_MAC, ROUTER | OVERRIDE)
    } else {
        (
            question.sender,
            question.sender_mac,
            ROUTER | SOLICITED | OVERRIDE,
        )
    };
    let packet = advertisement(question.target, destination, mac, flags);
    let way = Way {
        destination: destination_mac,
        source: mac,
    };
    frame.resize(link.payload + size_of::<AdvertisementPacket>()) && frame.answer(link, way, packet)
}

#[inline(always)]
fn advertisement(
    target: Source,
    destination: Source,
    mac: [u8; 6],
    flags: u8,
) -> AdvertisementPacket {
    /// The body and one option.
    const LENGTH: u16 = 32;
    const _: () = assert!(size_of::<Body>() + 8 == LENGTH as usize);
    let [a, b, c, d, e, f] = mac;
    let [length_high, length_low] = LENGTH.to_be_bytes();
    let sum = pseudo_header(target, destination, LENGTH)
        + u32::from(u16::from_be_bytes([ADVERTISEMENT, 0]))
        + u32::from(u16::from_be_bytes([flags, 0]))
        + target.sum()
        + u32::from(u16::from_be_bytes([TARGET_LINK_LAYER, 1]))
        + mac_sum(mac);
    AdvertisementPacket {
        ip: Ipv6Hdr {
            vcf: [0x60, 0, 0, 0],
            payload_len: [length_high, length_low],
            next_hdr: ICMPV6,
            hop_limit: HOP_LIMIT,
            src_addr: target.as_v6(),
            dst_addr: destination.as_v6(),
        },
        body: Body {
            kind: ADVERTISEMENT,
            code: 0,
            checksum: checksum::finish(sum).to_be_bytes(),
            flags: [flags, 0, 0, 0],
            target: target.as_v6(),
        },
        option: [TARGET_LINK_LAYER, 1, a, b, c, d, e, f],
    }
}

/// An unsolicited advertisement "`address` is at `mac` now", to every node (RFC 9568 6.4.1: Router and
/// Override set, Solicited clear).
#[must_use]
pub fn announcement(address: [u8; 16], mac: [u8; 6]) -> [u8; FRAME_LEN] {
    let packet = advertisement(
        Source::v6(address),
        Source::v6(ALL_NODES),
        mac,
        ROUTER | OVERRIDE,
    );
    let way = Way {
        destination: ALL_NODES_MAC,
        source: mac,
    };
    // SAFETY: a packed struct of bytes and one u16: no padding, every bit a byte.
    unsafe { core::mem::transmute(Whole::unasked(way, EtherType::Ipv6.into(), packet)) }
}
