//! The Internet checksum (RFC 1071), as VRRP, IPv4 and ICMPv6 use it.

use network_types::ip::Ipv4Hdr;

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

/// Folds a 32-bit sum to 16 bits, end-around carry included: of the sum and itself rotated by half, added up,
/// the upper half is the sum of both halves and of what they carry. 0 only where the sum is.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// [`fold`] from 64 bits to 32.
#[inline(always)]
#[must_use]
pub const fn fold_wide(sum: u64) -> u32 {
    (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32
}

/// Whether the checksum of an IPv4 header without options is right. All of it has been read, so no memory is gone
/// through again.
#[inline(always)]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a sum of five words, in two pieces"
)]
pub fn is_right(header: Ipv4Hdr) -> bool {
    // SAFETY: twenty bytes without padding, and any of them make a word.
    let [a, b, c, d, e]: [u32; 5] = unsafe { core::mem::transmute(header) };
    let total = u64::from(a) + u64::from(b) + u64::from(c) + u64::from(d) + u64::from(e);
    // Two pieces are enough for less than 36 bits. In either byte order what has to come out is the same.
    fold((total & 0xffff) as u32 + (total >> 16) as u32) == 0xffff
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
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame as _;

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
    fn a_header_is_right_as_its_bytes_are() {
        let mut bytes: [u8; 20] = [
            0x45, 0xc0, 0, 0x20, 0x12, 0x34, 0, 0, 255, 112, 0, 0, 192, 0, 2, 1, 224, 0, 0, 18,
        ];
        let check = finish(sum(&bytes)).to_be_bytes();
        bytes[10..12].copy_from_slice(&check);
        let header = |bytes: &[u8; 20]| bytes.as_slice().load(0).expect("a header");
        assert!(is_right(header(&bytes)));
        for bit in 0..160 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_right(header(&broken)), "bit {bit}");
        }
    }

    #[test]
    fn fold_carries_to_the_end() {
        assert_eq!(fold(0), 0);
        assert_eq!(fold(u32::MAX), 0xffff);
        assert_eq!(fold(0x0001_ffff), 1);
        assert_eq!(fold(0xffff_0001), 1);
        assert_eq!(fold_wide(0), 0);
        assert_eq!(fold_wide(u64::MAX), u32::MAX);
        assert_eq!(fold_wide(0x0000_0001_ffff_ffff), 1);
    }

    proptest! {
        /// What a folded sum leaves over divided by 0xffff is what the sum does; and only nothing is 0.
        #[test]
        fn a_folded_sum_is_the_same_number_to_ones_complement(sum: u32, wide: u64) {
            prop_assert_eq!(u32::from(fold(sum)) % 0xffff, sum % 0xffff);
            prop_assert_eq!(fold(sum) == 0, sum == 0);
            prop_assert_eq!(u64::from(fold_wide(wide)) % 0xffff_ffff, wide % 0xffff_ffff);
            prop_assert_eq!(fold_wide(wide) == 0, wide == 0);
        }

        /// A packet of which a part is replaced, and its checksum with it, is right.
        #[test]
        fn a_replaced_checksum_is_right(rest: u16, old: [u16; 3], new: [u16; 3]) {
            let sum = |words: [u16; 3]| words.into_iter().map(u32::from).sum::<u32>();
            let field = finish(u32::from(rest) + sum(old));
            let field = replaced(field, sum(old), sum(new));
            let total = u32::from(rest) + sum(new) + u32::from(field);
            // Of nothing but zeros there is no other sum.
            prop_assert!(total == 0 || fold(total) == 0xffff);
        }
    }
}
