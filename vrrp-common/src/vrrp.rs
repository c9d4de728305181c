//! The wire format of `VRRPv3` (RFC 9568 section 5.2) and `VRRPv2` (RFC 3768 section 5.3).

use core::net::IpAddr;

/// IP protocol number of VRRP (RFC 9568 5.1.1.4).
pub const IP_PROTOCOL: u8 = 112;
/// The only accepted TTL (RFC 9568 5.1.1.3).
pub const TTL: u8 = 255;
/// Multicast group of IPv4 adverts (RFC 9568 5.1.1.2).
pub const GROUP_V4: [u8; 4] = [224, 0, 0, 18];
/// Ethernet address of [`GROUP_V4`].
pub const GROUP_V4_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];
/// Multicast group of IPv6 adverts, `ff02::12` (RFC 9568 5.1.2.2).
pub const GROUP_V6: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];
/// The only message type there is (RFC 9568 5.2.2).
pub const TYPE_ADVERTISEMENT: u8 = 1;
/// Bytes of the authentication data behind the addresses of a `VRRPv2` message (RFC 3768 5.3.10).
pub const AUTHENTICATION_LEN: usize = 8;
/// Authentication Type of a `VRRPv2` message without a password (RFC 3768 5.3.6).
pub const NO_AUTHENTICATION: u8 = 0;
/// Authentication Type of a `VRRPv2` message with a password in the clear (RFC 2338 5.3.6).
pub const SIMPLE_PASSWORD: u8 = 1;
/// The priority that resigns (RFC 9568 5.2.4).
pub const PRIORITY_RESIGN: u8 = 0;
/// The priority of the address owner (RFC 9568 5.2.4).
pub const PRIORITY_OWNER: u8 = 255;
/// Largest Max Advertise Interval: 12 bits of centiseconds (RFC 9568 5.2.7).
pub const MAX_INTERVAL_CS: u16 = 0x0fff;

/// Protocol version of a virtual router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Version {
    /// RFC 3768: IPv4 only, whole seconds, every router with the same interval.
    V2 = 2,
    /// RFC 9568.
    #[default]
    V3 = 3,
}

impl Version {
    /// First byte of an advertisement: version and type.
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        (self as u8) << 4 | TYPE_ADVERTISEMENT
    }
}

/// The fixed part of an advertisement; the virtual addresses follow it, and in `VRRPv2` eight bytes
/// of authentication data follow those.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version| Type  | Virtual Rtr ID|    Priority   |  Addr Count   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Reserve|  Max Advertise Intvl  |           Checksum            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                   address 1 .. Addr Count                     |
///
/// VRRPv2 has another third word:
/// |   Auth Type   |   Adver Int   |           Checksum            |
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct VrrpHeader {
    /// Version in the high nibble, type in the low one.
    pub version_type: u8,
    /// Virtual Router Identifier, 1 to 255.
    pub vrid: u8,
    /// 0 resigns, 255 owns the addresses, backups use 1 to 254.
    pub priority: u8,
    /// Number of addresses that follow.
    pub count: u8,
    /// Four reserved bits, then Max Advertise Interval in centiseconds, big endian.
    pub interval: [u8; 2],
    /// Checksum over the message, with or without a pseudo header.
    pub checksum: [u8; 2],
}

impl VrrpHeader {
    /// Length of the fixed part in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// The protocol version.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_type >> 4
    }

    /// Unfolded ones' complement sum of the fixed part.
    #[inline(always)]
    #[must_use]
    pub fn sum(&self) -> u32 {
        sum_of_word(u64::from_be_bytes(bytemuck::cast(*self)))
    }

    /// The message type; 1 is the only one there is.
    #[must_use]
    pub const fn message_type(&self) -> u8 {
        self.version_type & 0x0f
    }

    /// Max Advertise Interval in centiseconds; the reserved nibble is ignored (RFC 9568 5.2.6).
    #[must_use]
    pub const fn interval_cs(&self) -> u16 {
        u16::from_be_bytes(self.interval) & MAX_INTERVAL_CS
    }

    /// Authentication Type of a `VRRPv2` message.
    #[must_use]
    pub const fn authentication_type(&self) -> u8 {
        let [kind, _] = self.interval;
        kind
    }

    /// Advertisement Interval of a `VRRPv2` message in seconds.
    #[must_use]
    pub const fn interval_s(&self) -> u8 {
        let [_, seconds] = self.interval;
        seconds
    }
}

/// Which bytes a sender's checksum covers. Both forms are accepted for IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumForm {
    /// The VRRP message alone (RFC 9568 5.2.8).
    MessageOnly,
    /// The message and an IPv4 pseudo header (RFC 5798 5.2.8); what keepalived and FRR send.
    PseudoHeader,
}

/// An advertisement that passed the ladder of [`crate::validate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// The sender's priority.
    pub priority: u8,
    /// Number of virtual addresses.
    pub count: u8,
    /// The sender's Advertisement_Interval in centiseconds, never 0.
    pub interval_cs: u16,
    /// The checksum form the sender uses.
    pub form: ChecksumForm,
    /// Folded sum of the address list: equal lists have equal sums, whatever their order.
    pub addresses_sum: u16,
    /// The sender.
    pub source: Source,
    /// Ethernet source of its frame, in the low 48 bits.
    pub mac: u64,
}

/// The address an advert was sent from, in a form both families fit; IPv4 fills the first four
/// bytes. Compared as unsigned integers in network byte order (RFC 9568 6.4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Source {
    /// The first eight bytes of the address as a big-endian number.
    pub high: u64,
    /// The last eight bytes; 0 for IPv4.
    pub low: u64,
}

impl Source {
    /// The source for an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: [u8; 4]) -> Self {
        Self {
            high: (u32::from_be_bytes(address) as u64) << 32,
            low: 0,
        }
    }

    /// The source for an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn v6(address: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
        Self {
            high: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// The source for an address of either family.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
        }
    }

    /// The IPv4 address, meaningful where the instance is an IPv4 one.
    #[must_use]
    pub const fn as_v4(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.high.to_be_bytes();
        [a, b, c, d]
    }

    /// The IPv6 address, meaningful where the instance is an IPv6 one.
    #[inline(always)]
    #[must_use]
    pub const fn as_v6(self) -> [u8; 16] {
        ((self.high as u128) << 64 | self.low as u128).to_be_bytes()
    }

    /// Unfolded ones' complement sum of the address.
    #[inline(always)]
    #[must_use]
    pub const fn sum(self) -> u32 {
        sum_of_word(self.high) + sum_of_word(self.low)
    }

    /// No sender yet.
    #[must_use]
    pub const fn is_unspecified(self) -> bool {
        self.high == 0 && self.low == 0
    }
}

/// Unfolded ones' complement sum of the four 16-bit words of a number.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "four 16-bit words")]
pub(crate) const fn sum_of_word(word: u64) -> u32 {
    ((word >> 48) + (word >> 32 & 0xffff) + (word >> 16 & 0xffff) + (word & 0xffff)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_source_keeps_its_bytes() {
        let mut bytes = [0; 16];
        for (number, byte) in (1..).zip(&mut bytes) {
            *byte = number * 15;
        }
        let source = Source::v6(bytes);
        assert_eq!(source.as_v6(), bytes);
        assert_eq!(source.sum(), crate::checksum::sum(&bytes));
        let half = |byte| Source::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, byte, 0, 0, 0, 0, 0, 0, 1]);
        assert!(half(0x80) > half(0x01), "compared unsigned");
    }

    #[test]
    fn sources_compare_unsigned_and_in_network_order() {
        assert!(Source::v4([10, 0, 0, 10]) > Source::v4([10, 0, 0, 9]));
        assert!(Source::v4([200, 0, 0, 1]) > Source::v4([10, 0, 0, 1]));
        assert_eq!(Source::v4([10, 1, 2, 3]).as_v4(), [10, 1, 2, 3]);
    }

    #[test]
    fn the_reserved_nibble_is_ignored() {
        let header = VrrpHeader {
            version_type: Version::V3.first_byte(),
            vrid: 1,
            priority: 100,
            count: 1,
            interval: [0xf0, 0x64],
            checksum: [0, 0],
        };
        assert_eq!(header.interval_cs(), 100);
        assert_eq!((header.version(), header.message_type()), (3, 1));
    }
}
