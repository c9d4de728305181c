//! The Internet checksum (RFC 1071), as VRRP, IPv4 and ICMPv6 use it.

use crate::vrrp::Source;

/// Unfolded ones' complement sum of `bytes` as big-endian 16-bit words; an odd last byte is padded
/// with zero. Good for up to 128 KiB before the accumulator could overflow.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut total: u32 = 0;
    for word in &mut words {
        if let [high, low] = word {
            total += u32::from(u16::from_be_bytes([*high, *low]));
        }
    }
    if let [last] = words.remainder() {
        total += u32::from(*last) << 8;
    }
    total
}

/// Folds a 32-bit sum to 16 bits, carries included. Three steps are enough for any `u32`.
#[inline(always)]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "after folding the sum fits 16 bits"
)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum field for data whose folded sum (field taken as zero) is `sum`.
#[inline(always)]
#[must_use]
pub const fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// The checksum field after words that summed up to `old` were replaced by ones that sum up to `new`
/// (RFC 1624, equation 3).
#[inline(always)]
#[must_use]
pub const fn replaced(field: u16, old: u32, new: u32) -> u16 {
    finish((!field) as u32 + (!fold(old)) as u32 + fold(new) as u32)
}

/// Sum of the pseudo header of either family: source, destination, protocol 112 and message length
/// (RFC 8200 8.1; for IPv4 RFC 5798 5.2.8, which RFC 9568 leaves out).
#[inline(always)]
#[must_use]
pub const fn pseudo_header(source: Source, destination: Source, length: u16) -> u32 {
    source.sum() + destination.sum() + crate::vrrp::IP_PROTOCOL as u32 + length as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
    }

    #[test]
    fn odd_length_pads_with_zero() {
        assert_eq!(sum(&[0x12]), 0x1200);
        assert_eq!(sum(&[0, 1, 0x12]), 0x1201);
    }

    #[test]
    fn fold_carries_to_the_end() {
        assert_eq!(fold(u32::MAX), 0xffff);
        assert_eq!(fold(0x0001_ffff), 1);
    }
}
