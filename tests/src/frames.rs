//! Adverts and ARP, built and read from the RFCs alone: nothing here uses the daemon's code.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;

/// An advert to be built, good unless told otherwise.
#[derive(Clone, Debug)]
pub struct AdvertSpec {
    /// Ethernet and IPv4 source.
    pub mac: [u8; 6],
    /// IPv4 source.
    pub source: Ipv4Addr,
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
}

impl AdvertSpec {
    /// A good advert.
    pub fn new(mac: [u8; 6], source: Ipv4Addr, vrid: u8, priority: u8, vip: Ipv4Addr) -> Self {
        Self {
            mac,
            source,
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
            [224, 0, 0, 18],
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
        let seed = if self.message_only {
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

    fn pseudo_header(&self, length: usize) -> u32 {
        let mut bytes = self.source.octets().to_vec();
        bytes.extend([224, 0, 0, 18, 0, 112]);
        bytes.extend(u16::try_from(length).expect("short").to_be_bytes());
        u32::from(ones_complement(&bytes, 0))
    }
}

fn ones_complement(bytes: &[u8], seed: u32) -> u16 {
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
        /// IPv4 source.
        source: Ipv4Addr,
        /// Virtual Router Identifier.
        vrid: u8,
        /// Priority.
        priority: u8,
        /// Interval in centiseconds.
        interval_cs: u16,
        /// Addresses.
        addresses: Vec<Ipv4Addr>,
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
            Said::Advert {
                source: address(26).unwrap_or(Ipv4Addr::UNSPECIFIED),
                vrid: frame[35],
                priority: frame[36],
                interval_cs: u16::from_be_bytes([frame[38], frame[39]]) & 0xfff,
                addresses: (0..usize::from(frame[37]))
                    .filter_map(|n| address(42 + n * 4))
                    .collect(),
            }
        }
        _ => Said::Other,
    }
}
