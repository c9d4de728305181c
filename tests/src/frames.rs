//! Adverts over IPv4 and ARP, built, and everything else read, from the RFCs alone: nothing here uses the daemon's code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;

/// An advert to be built, good unless told otherwise.
#[derive(Clone, Debug)]
pub struct AdvertSpec {
    /// Ethernet and IPv4 source.
    pub mac: [u8; 6],
    /// IPv4 source.
    pub source: Ipv4Addr,
    /// IPv4 destination; the group unless set.
    pub destination: Option<Ipv4Addr>,
    /// Version nibble.
    pub version: u8,
    /// Type nibble.
    pub kind: u8,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// The count on the wire; the real one unless set.
    pub count: Option<u8>,
    /// Interval in centiseconds.
    pub interval_cs: u16,
    /// TTL.
    pub ttl: u8,
    /// Addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Checksum over the message alone instead of with the pseudo header.
    pub message_only: bool,
    /// Flips a bit of the checksum.
    pub bad_checksum: bool,
    /// Sets More Fragments.
    pub fragment: bool,
    /// Cuts the message to this many bytes.
    pub truncate: Option<usize>,
    /// The layout of VRRPv2, with this type of authentication and this data.
    pub version_2: Option<(u8, [u8; 8])>,
}

impl AdvertSpec {
    /// A good advert.
    pub fn new(mac: [u8; 6], source: Ipv4Addr, vrid: u8, priority: u8, vip: Ipv4Addr) -> Self {
        Self {
            mac,
            source,
            destination: None,
            version: 3,
            kind: 1,
            vrid,
            priority,
            count: None,
            interval_cs: 100,
            ttl: 255,
            addresses: vec![vip],
            message_only: false,
            bad_checksum: false,
            fragment: false,
            truncate: None,
            version_2: None,
        }
    }

    /// The frame.
    pub fn build(&self) -> Vec<u8> {
        let mut message = self.message();
        if let Some(length) = self.truncate {
            message.truncate(length);
        }
        let builder = PacketBuilder::ethernet2(self.mac, [0x01, 0, 0x5e, 0, 0, 0x12]).ipv4(
            self.source.octets(),
            self.to(),
            self.ttl,
        );
        let mut frame = Vec::new();
        builder
            .write(&mut frame, etherparse::IpNumber(112), &message)
            .expect("build");
        if self.fragment {
            frame[20] |= 0x20;
            frame[24..26].fill(0);
            let sum = !ones_complement(&frame[14..34], 0);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        frame
    }

    fn message(&self) -> Vec<u8> {
        let count = self
            .count
            .unwrap_or(u8::try_from(self.addresses.len()).expect("at most 255"));
        let [high, low] = self.interval_cs.to_be_bytes();
        let first = self.version << 4 | self.kind;
        let mut message = vec![first, self.vrid, self.priority, count, high, low, 0, 0];
        for address in &self.addresses {
            message.extend(address.octets());
        }
        if let Some((kind, data)) = self.version_2 {
            let seconds = u8::try_from(self.interval_cs / 100).expect("at most 255 s");
            message[4..6].copy_from_slice(&[kind, seconds]);
            message.extend(data);
        }
        let seed = if self.message_only || self.version_2.is_some() {
            0
        } else {
            self.pseudo_header(message.len())
        };
        let mut sum = !ones_complement(&message, seed);
        if self.bad_checksum {
            sum ^= 0x0100;
        }
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        message
    }

    fn to(&self) -> [u8; 4] {
        self.destination.map_or([224, 0, 0, 18], |to| to.octets())
    }

    fn pseudo_header(&self, length: usize) -> u32 {
        let mut bytes = self.source.octets().to_vec();
        bytes.extend(self.to());
        bytes.extend([0, 112]);
        bytes.extend(u16::try_from(length).expect("short").to_be_bytes());
        u32::from(ones_complement(&bytes, 0))
    }
}

pub(crate) fn ones_complement(bytes: &[u8], seed: u32) -> u16 {
    let mut sum = seed;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).expect("folded")
}

/// An ARP packet to be built.
pub fn arp(
    operation: u8,
    destination: [u8; 6],
    sender_mac: [u8; 6],
    sender: Ipv4Addr,
    target_mac: [u8; 6],
    target: Ipv4Addr,
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(destination);
    frame.extend(sender_mac);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(sender_mac);
    frame.extend(sender.octets());
    frame.extend(target_mac);
    frame.extend(target.octets());
    frame
}

/// "Who has `target`?", broadcast.
pub fn arp_question(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(1, [0xff; 6], mac, sender, [0; 6], target)
}

/// What a frame says, as far as the tests care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A VRRP advert.
    Advert {
        /// Its sender.
        source: IpAddr,
        /// Protocol version.
        version: u8,
        /// Virtual Router Identifier.
        vrid: u8,
        /// Priority.
        priority: u8,
        /// Interval in centiseconds.
        interval_cs: u16,
        /// Addresses.
        addresses: Vec<IpAddr>,
    },
    /// An ARP packet.
    Arp {
        /// 1 request, 2 reply.
        operation: u8,
        /// Sender hardware address.
        sender_mac: [u8; 6],
        /// Sender protocol address.
        sender: Ipv4Addr,
        /// Target protocol address.
        target: Ipv4Addr,
    },
    /// A neighbour advertisement.
    Neighbour {
        /// Ethernet destination.
        destination: [u8; 6],
        /// The address it is about.
        target: Ipv6Addr,
        /// Router, Solicited and Override flags.
        flags: u8,
        /// The link-layer address it names.
        mac: [u8; 6],
        /// Whether Hop Limit and checksum are good.
        good: bool,
    },
    /// Something else.
    Other,
}

/// Reads a frame.
pub fn read(frame: &[u8]) -> Said {
    let address = |at: usize| {
        frame
            .get(at..at + 4)
            .map(|b| Ipv4Addr::new(b[0], b[1], b[2], b[3]))
    };
    match frame.get(12..14) {
        Some([8, 6]) if frame.len() >= 42 => Said::Arp {
            operation: frame[21],
            sender_mac: frame[22..28].try_into().unwrap_or_default(),
            sender: address(28).unwrap_or(Ipv4Addr::UNSPECIFIED),
            target: address(38).unwrap_or(Ipv4Addr::UNSPECIFIED),
        },
        Some([8, 0]) if frame.len() >= 42 && frame[23] == 112 && frame[14] == 0x45 => {
            let source = address(26).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let list = (0..usize::from(frame[37])).filter_map(|n| address(42 + n * 4));
            advert(source.into(), &frame[34..], list.map(IpAddr::V4).collect())
        }
        Some([0x86, 0xdd]) if frame.len() >= 62 && frame[20] == 112 => {
            let list = (0..usize::from(frame[57])).filter_map(|n| address_v6(frame, 62 + n * 16));
            let source = address_v6(frame, 22).unwrap_or(Ipv6Addr::UNSPECIFIED);
            advert(source.into(), &frame[54..], list.map(IpAddr::V6).collect())
        }
        Some([0x86, 0xdd]) if frame.len() >= 86 && frame[20] == 58 && frame[54] == 136 => {
            Said::Neighbour {
                destination: frame[..6].try_into().unwrap_or_default(),
                target: address_v6(frame, 62).unwrap_or(Ipv6Addr::UNSPECIFIED),
                flags: frame[58],
                mac: frame[80..86].try_into().unwrap_or_default(),
                good: frame[21] == 255 && sums_v6(frame, 58),
            }
        }
        _ => Said::Other,
    }
}

fn advert(source: IpAddr, message: &[u8], addresses: Vec<IpAddr>) -> Said {
    let version = message[0] >> 4;
    let interval_cs = if version == 2 {
        u16::from(message[5]) * 100
    } else {
        u16::from_be_bytes([message[4], message[5]]) & 0xfff
    };
    Said::Advert {
        source,
        version,
        vrid: message[1],
        priority: message[2],
        interval_cs,
        addresses,
    }
}

fn address_v6(frame: &[u8], at: usize) -> Option<Ipv6Addr> {
    let bytes: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(bytes))
}

/// Whether the checksum behind an IPv6 header is good (RFC 8200 8.1).
pub(crate) fn sums_v6(frame: &[u8], protocol: u8) -> bool {
    let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let mut bytes = frame[22..54].to_vec();
    bytes.extend([frame[18], frame[19], 0, protocol]);
    let pseudo = u32::from(ones_complement(&bytes, 0));
    frame
        .get(54..54 + length)
        .is_some_and(|payload| ones_complement(payload, pseudo) == 0xffff)
}

/// An IPv6 packet in a frame, its checksum at this offset of the payload filled in.
fn ipv6(
    macs: ([u8; 6], [u8; 6]),
    source: Ipv6Addr,
    destination: Ipv6Addr,
    (protocol, checksum_at): (u8, usize),
    payload: &[u8],
) -> Vec<u8> {
    let (from, to) = macs;
    let mut frame = to.to_vec();
    frame.extend(from);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
    frame.extend([protocol, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(payload);
    let mut pseudo = frame[22..54].to_vec();
    pseudo.extend([frame[18], frame[19], 0, protocol]);
    let seed = u32::from(ones_complement(&pseudo, 0));
    let sum = !ones_complement(payload, seed);
    frame[54 + checksum_at..56 + checksum_at].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A good VRRPv3 advert over IPv6, one every second.
pub fn advert_v6(mac: [u8; 6], source: Ipv6Addr, vrid: u8, priority: u8, vip: Ipv6Addr) -> Vec<u8> {
    adverts_v6(mac, source, vrid, priority, 100, &[vip])
}

/// The same with any interval (centiseconds) and any number of addresses.
pub fn adverts_v6(
    mac: [u8; 6],
    source: Ipv6Addr,
    vrid: u8,
    priority: u8,
    interval_cs: u8,
    vips: &[Ipv6Addr],
) -> Vec<u8> {
    let count = u8::try_from(vips.len()).expect("few addresses");
    let mut message = vec![0x31, vrid, priority, count, 0, interval_cs, 0, 0];
    message.extend(vips.iter().flat_map(Ipv6Addr::octets));
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
    let macs = (mac, [0x33, 0x33, 0, 0, 0, 0x12]);
    ipv6(macs, source, group, (112, 6), &message)
}

/// "Who has `target`?", to the solicited-node group of the target (RFC 4861 4.3).
pub fn solicitation(mac: [u8; 6], source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&[a, b, c]);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !source.is_unspecified() {
        message.extend([1, 1]);
        message.extend(mac);
    }
    let macs = (mac, [0x33, 0x33, 0xff, a, b, c]);
    ipv6(macs, source, group.into(), (58, 2), &message)
}

/// "`target` is at `mac`", to every node.
pub fn neighbour_advertisement(mac: [u8; 6], target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(mac);
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    ipv6(
        (mac, [0x33, 0x33, 0, 0, 0, 1]),
        target,
        all,
        (58, 2),
        &message,
    )
}

/// An echo request.
pub fn ping_v6(macs: ([u8; 6], [u8; 6]), source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    ipv6(macs, source, target, (58, 2), &[128, 0, 0, 0, 0, 7, 0, 1])
}

/// A message of Neighbour Discovery to every node.
pub fn neighbour_discovery(mac: [u8; 6], source: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    ipv6(
        (mac, [0x33, 0x33, 0, 0, 0, 1]),
        source,
        all,
        (58, 2),
        message,
    )
}

/// The same IPv4 packet with so many words of options that say nothing.
pub fn with_ip_options(frame: &[u8], words: usize) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(etherparse::Ethernet2Header::LEN);
    let (mut header, message) = etherparse::Ipv4Header::from_slice(packet).expect("an IPv4 packet");
    let options = vec![1; 4 * words];
    header.options = options.as_slice().try_into().expect("ten words at most");
    header.total_len += u16::try_from(4 * words).expect("ten words at most");
    header.header_checksum = header.calc_header_checksum();
    [ethernet, &header.to_bytes(), message].concat()
}

/// A packet of a protocol, without content.
pub fn packet_v4(macs: ([u8; 6], [u8; 6]), source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let (from, to) = macs;
    let builder = etherparse::PacketBuilder::ethernet2(from, to)
        .ipv4(source.octets(), target.octets(), 64)
        .icmpv4_echo_request(7, 1);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("build");
    frame
}
