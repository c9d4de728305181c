//! ARP (RFC 826): what a frame asks, the answer to it, and announcements (RFC 5227).

use network_types::{
    arp::ArpHdr,
    eth::{EthHdr, EtherType},
};

use crate::{
    frame::{Frame, FrameMut, Way, Whole},
    link::Link,
};

/// Length of an Ethernet frame with an ARP packet for IPv4, unpadded.
pub const FRAME_LEN: usize = EthHdr::LEN + ArpHdr::LEN;
/// The Ethernet broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

const HARDWARE_ETHERNET: [u8; 2] = [0x00, 0x01];
const PROTOCOL_IPV4: [u8; 2] = [0x08, 0x00];
const OPERATION_REQUEST: [u8; 2] = [0x00, 0x01];
const OPERATION_REPLY: [u8; 2] = [0x00, 0x02];

/// An ARP packet, read.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   hardware type 1 (Ethernet)  |   protocol type 0x0800 (IPv4) |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | hw length 6   | proto length 4|  operation: 1 request 2 reply |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  sender hardware address (SHA, 6) ...         | SPA (4) ...   |
/// |  target hardware address (THA, 6) ...         | TPA (4)       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Sender hardware address.
    pub sender_mac: [u8; 6],
    /// Sender protocol address.
    pub sender: [u8; 4],
    /// Target protocol address.
    pub target: [u8; 4],
    /// What the packet is for.
    pub kind: Kind,
}

/// What an ARP packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// "Who has the target address?", probes (sender 0.0.0.0) included.
    Question,
    /// "The sender address is at the sender's MAC": sender and target address are the same
    /// (RFC 5227 announcement, gratuitous ARP). Never answered, never dropped.
    Announcement,
    /// A reply to somebody.
    Reply,
}

/// Reads an Ethernet/IPv4 ARP packet; `None` for anything else.
#[inline(always)]
pub fn read<F: Frame + ?Sized>(frame: &F, link: &Link) -> Option<Arp> {
    if link.ether_type != u16::from(EtherType::Arp) {
        return None;
    }
    let arp = frame.load::<ArpHdr>(link.payload)?;
    let [h0, h1] = arp.htype;
    let [p0, p1] = arp.ptype;
    let [o0, o1] = arp.oper;
    let shape = [h0, h1, p0, p1, arp.hlen, arp.plen];
    let expected = {
        let [h0, h1] = HARDWARE_ETHERNET;
        let [p0, p1] = PROTOCOL_IPV4;
        [h0, h1, p0, p1, 6, 4]
    };
    if shape != expected {
        return None;
    }
    let kind = match u16::from_be_bytes([o0, o1]) {
        _ if u32::from_ne_bytes(arp.spa) == u32::from_ne_bytes(arp.tpa) => Kind::Announcement,
        1 => Kind::Question,
        2 => Kind::Reply,
        _ => return None,
    };
    Some(Arp {
        sender_mac: arp.sha,
        sender: arp.spa,
        target: arp.tpa,
        kind,
    })
}

/// Turns the frame with a question into the answer "the target you asked for is at `mac`". Ethernet
/// source is the same `mac`; a VLAN tag between the two stays. False where the frame is too short.
#[inline(always)]
pub fn write_answer<F: FrameMut + ?Sized>(
    frame: &F,
    link: &Link,
    question: &Arp,
    mac: [u8; 6],
) -> bool {
    let answer = ArpHdr {
        htype: HARDWARE_ETHERNET,
        ptype: PROTOCOL_IPV4,
        hlen: 6,
        plen: 4,
        oper: OPERATION_REPLY,
        sha: mac,
        spa: question.target,
        tha: question.sender_mac,
        tpa: question.sender,
    };
    let way = Way {
        destination: question.sender_mac,
        source: mac,
    };
    frame.answer(link, way, answer)
}

/// A gratuitous ARP: a broadcast request with sender and target address `address`
/// (RFC 9568 6.4.1, errata 7947 and 7949: the target hardware address is the router's).
#[must_use]
pub fn announcement(address: [u8; 4], mac: [u8; 6]) -> [u8; FRAME_LEN] {
    let packet = ArpHdr {
        htype: HARDWARE_ETHERNET,
        ptype: PROTOCOL_IPV4,
        hlen: 6,
        plen: 4,
        oper: OPERATION_REQUEST,
        sha: mac,
        spa: address,
        tha: mac,
        tpa: address,
    };
    let way = Way {
        destination: BROADCAST,
        source: mac,
    };
    // SAFETY: a packed struct of bytes and one u16: no padding, every bit a byte.
    unsafe { core::mem::transmute(Whole::unasked(way, EtherType::Arp.into(), packet)) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{frame::Wire, link};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const VIP: [u8; 4] = [10, 0, 0, 1];

    /// A frame that can be rewritten.
    struct Buffer(RefCell<[u8; FRAME_LEN]>);

    impl Frame for Buffer {
        fn load<T: Wire>(&self, offset: usize) -> Option<T> {
            self.0.borrow().as_slice().load(offset)
        }

        fn length(&self) -> usize {
            FRAME_LEN
        }

        fn sum(&self, offset: usize, len: usize) -> Option<u16> {
            self.0.borrow().as_slice().sum(offset, len)
        }
    }

    impl FrameMut for Buffer {
        fn resize(&self, length: usize) -> bool {
            length == FRAME_LEN
        }

        fn store<T: Wire>(&self, offset: usize, value: T) -> bool {
            let mut bytes = self.0.borrow_mut();
            let Some(place) = bytes.get_mut(offset..offset + size_of::<T>()) else {
                return false;
            };
            // SAFETY: the place is as long as the value.
            unsafe { place.as_mut_ptr().cast::<T>().write_unaligned(value) };
            true
        }
    }

    fn question(sender: [u8; 4]) -> [u8; FRAME_LEN] {
        let mut frame = announcement(VIP, PEER);
        frame[28..32].copy_from_slice(&sender);
        frame[32..38].copy_from_slice(&[0; 6]);
        frame
    }

    fn read_frame(frame: &[u8]) -> Option<Arp> {
        read(frame, &link::read(frame, None)?)
    }

    #[test]
    fn a_question_is_answered_to_its_sender() {
        let frame = question([10, 0, 0, 9]);
        let asked = read_frame(&frame).unwrap();
        assert_eq!(asked.kind, Kind::Question);
        let buffer = Buffer(RefCell::new(frame));
        let link = link::read(&buffer, None).unwrap();
        assert!(write_answer(&buffer, &link, &asked, MAC));
        let bytes = buffer.0.into_inner();
        assert_eq!((&bytes[..6], &bytes[6..12]), (&PEER[..], &MAC[..]));
        let answered = read_frame(&bytes).unwrap();
        assert_eq!(answered.kind, Kind::Reply);
        assert_eq!((answered.sender, answered.sender_mac), (VIP, MAC));
        assert_eq!(answered.target, [10, 0, 0, 9]);
    }

    #[test]
    fn a_probe_is_a_question_and_an_announcement_is_not() {
        assert_eq!(read_frame(&question([0; 4])).unwrap().kind, Kind::Question);
        let announced = announcement(VIP, MAC);
        assert_eq!(read_frame(&announced).unwrap().kind, Kind::Announcement);
        assert_eq!(announced[..6], BROADCAST);
    }

    #[test]
    fn other_shapes_are_nobodys() {
        let whole = question([10, 0, 0, 9]);
        for (offset, value) in [(12, 0x81), (14, 9), (16, 9), (18, 8), (19, 16), (21, 9)] {
            let mut frame = whole;
            frame[offset] = value;
            assert_eq!(read_frame(&frame), None, "byte {offset} = {value}");
        }
        assert_eq!(read_frame(&whole[..FRAME_LEN - 1]), None);
    }
}
