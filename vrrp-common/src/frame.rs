//! Bounds-checked reading of a frame: one trait for packet memory in the kernel and slices on the
//! host, so that the parsers exist once.

use network_types::{
    arp::ArpHdr,
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
};

use crate::{checksum, link::Link, vrrp::VrrpHeader};

/// A header that may be copied out of a frame byte by byte.
///
/// # Safety
///
/// Every bit pattern must be a valid value of the type, and the type must have no padding.
pub unsafe trait Wire: Copy {}

// SAFETY: integers and byte arrays only, no padding (14, 20, 40, 28 and 8 bytes).
unsafe impl Wire for EthHdr {}
// SAFETY: as above.
unsafe impl Wire for Ipv4Hdr {}
// SAFETY: as above.
unsafe impl Wire for Ipv6Hdr {}
// SAFETY: as above.
unsafe impl Wire for ArpHdr {}
// SAFETY: as above.
unsafe impl Wire for VrrpHeader {}
// SAFETY: plain bytes.
unsafe impl<const N: usize> Wire for [u8; N] {}

/// Read access to one Ethernet frame.
pub trait Frame {
    /// The header at `offset` bytes from the start, or `None` where the frame ends before it does.
    fn load<T: Wire>(&self, offset: usize) -> Option<T>;

    /// Length of the frame in bytes.
    fn length(&self) -> usize;

    /// Folded ones' complement sum of `len` bytes at `offset`; `None` beyond the frame.
    fn sum(&self, offset: usize, len: usize) -> Option<u16>;
}

/// Write access to one Ethernet frame.
pub trait FrameMut: Frame {
    /// Overwrites the bytes at `offset`; false where the frame ends before them.
    fn store<T: Wire>(&self, offset: usize, value: T) -> bool;

    /// Makes the frame this long; what is new at the end is to be overwritten. False where that
    /// cannot be.
    fn resize(&self, length: usize) -> bool;

    /// Overwrites the Ethernet addresses and what follows the link layer, an answer to what was there; false
    /// where the frame ends before that.
    #[inline(always)]
    fn answer<T: Wire>(&self, link: &Link, way: Way, packet: T) -> bool {
        answer_in_parts(self, link, way, packet)
    }
}

/// The Ethernet addresses of a frame, as they lie in it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Way {
    /// Who is to hear it.
    pub destination: [u8; 6],
    /// Whose it is.
    pub source: [u8; 6],
}

// SAFETY: bytes only, no padding.
unsafe impl Wire for Way {}

/// A frame whose payload is directly behind the Ethernet header.
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub struct Whole<T> {
    way: Way,
    ether_type: u16,
    packet: T,
}

// SAFETY: packed, and every part is valid whatever its bytes.
unsafe impl<T: Wire> Wire for Whole<T> {}

impl<T: Wire> Whole<T> {
    /// A frame that nobody asked for. `ether_type` as it lies in the frame.
    #[must_use]
    pub const fn unasked(way: Way, ether_type: u16, packet: T) -> Self {
        Self {
            way,
            ether_type,
            packet,
        }
    }

    /// The frame with that answer; `None` where a tag is in front of the payload.
    #[inline(always)]
    pub fn new(link: &Link, way: Way, packet: T) -> Option<Self> {
        (link.payload == EthHdr::LEN).then_some(Self {
            way,
            ether_type: link.ether_type,
            packet,
        })
    }
}

/// [`FrameMut::answer`], where what is stored need not be in one piece.
#[inline(always)]
pub fn answer_in_parts<F: FrameMut + ?Sized, T: Wire>(
    frame: &F,
    link: &Link,
    way: Way,
    packet: T,
) -> bool {
    frame.store(0, way) && frame.store(link.payload, packet)
}

impl Frame for [u8] {
    #[inline]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let bytes = self.get(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: `bytes` is exactly `size_of::<T>()` long and `Wire` allows every bit pattern.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    #[inline]
    fn length(&self) -> usize {
        self.len()
    }

    #[inline]
    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        let bytes = self.get(offset..offset.checked_add(len)?)?;
        Some(checksum::fold(checksum::sum(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_stops_at_the_end() {
        let frame: &[u8] = &[1, 2, 3, 4];
        assert_eq!(frame.load::<[u8; 4]>(0), Some([1, 2, 3, 4]));
        assert_eq!(frame.load::<[u8; 2]>(3), None);
        assert_eq!(frame.load::<[u8; 2]>(usize::MAX), None);
    }

    #[test]
    fn sum_is_in_network_order() {
        let frame: &[u8] = &[0xff, 0x12, 0x34, 0x00, 0x01];
        assert_eq!(frame.sum(1, 4), Some(0x1235));
        assert_eq!(frame.sum(1, 5), None);
    }
}
