//! The Ethernet header and the VLAN a frame belongs to.
//!
//! ```text
//!  0                   6                  12        14  (+4 with an 802.1Q tag)
//!  +-------------------+-------------------+---------+----------------
//!  |    destination    |      source       |  type   | payload ...
//!  +-------------------+-------------------+---------+----------------
//!  with a tag:                             | 0x8100  | TCI  | type | payload ...
//! ```

use network_types::eth::EthHdr;

use crate::frame::Frame;

/// `EtherType` of a customer tag (802.1Q).
pub const CUSTOMER_TAG: u16 = 0x8100;
/// `EtherType` of a service tag (802.1ad).
pub const SERVICE_TAG: u16 = 0x88a8;
/// The VLAN id within a Tag Control Information word.
const VLAN_ID: u16 = 0x0fff;
/// Where the destination of an Ethernet header is.
const DESTINATION: usize = 0;
/// Where the source of an Ethernet header is.
pub(crate) const SOURCE: usize = 6;
/// Where the type of an Ethernet header is.
const ETHER_TYPE: usize = 12;
const _: () = assert!(
    core::mem::offset_of!(EthHdr, dst_addr) == DESTINATION
        && core::mem::offset_of!(EthHdr, src_addr) == SOURCE
        && core::mem::offset_of!(EthHdr, ether_type) == ETHER_TYPE
);
/// Bytes of a tag.
const TAG_LEN: usize = 4;

/// A VLAN tag that travels beside the frame: the hardware or the kernel took it out of the bytes
/// (`skb->vlan_tci`, `PACKET_AUXDATA`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`CUSTOMER_TAG`] or [`SERVICE_TAG`].
    pub protocol: u16,
    /// Tag Control Information; the VLAN id is its low 12 bits.
    pub tci: u16,
}

/// The link layer of a frame, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// `EtherType` of the payload, as [`EthHdr`] has it.
    pub ether_type: u16,
    /// VLAN id; 0 = untagged. A priority tag (VLAN id 0) belongs to no VLAN, and the kernel treats
    /// it as untagged too.
    pub vlan: u16,
    /// Where the payload begins, in bytes from the start of the frame.
    pub payload: usize,
}

/// Ethernet destination. Apart from [`Link`], for the programs that see every frame want it of few.
#[inline(always)]
pub(crate) fn destination<F: Frame + ?Sized>(frame: &F) -> Option<[u8; 6]> {
    frame.load(DESTINATION)
}

/// Reads the link layer. `None` for a runt, for a service tag and for more than one tag: such a
/// frame never belongs to an instance.
#[inline(always)]
pub fn read<F: Frame + ?Sized>(frame: &F, beside: Option<Tag>) -> Option<Link> {
    let ether_type = u16::from_ne_bytes(frame.load(ETHER_TYPE)?);
    behind(frame, ether_type, beside)
}

/// [`read`] and [`destination`] of a frame that both are wanted of, in one piece.
#[inline(always)]
pub(crate) fn read_whole<F: Frame + ?Sized>(
    frame: &F,
    beside: Option<Tag>,
) -> Option<([u8; 6], Link)> {
    let ethernet = frame.load::<EthHdr>(0)?;
    let link = behind(frame, ethernet.ether_type, beside)?;
    Some((ethernet.dst_addr, link))
}

/// What is behind an Ethernet header of this type.
#[inline(always)]
fn behind<F: Frame + ?Sized>(frame: &F, mut ether_type: u16, beside: Option<Tag>) -> Option<Link> {
    let (mut payload, mut vlan) = (EthHdr::LEN, 0);
    if let Some(tag) = beside {
        if tag.protocol != CUSTOMER_TAG {
            return None;
        }
        vlan = tag.tci & VLAN_ID;
    } else if ether_type == CUSTOMER_TAG.to_be() {
        let [high, low, type_high, type_low] = frame.load::<[u8; 4]>(EthHdr::LEN)?;
        vlan = u16::from_be_bytes([high, low]) & VLAN_ID;
        ether_type = u16::from_ne_bytes([type_high, type_low]);
        payload = EthHdr::LEN + TAG_LEN;
    }
    if ether_type == CUSTOMER_TAG.to_be() || ether_type == SERVICE_TAG.to_be() {
        return None;
    }
    Some(Link {
        ether_type,
        vlan,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(types: &[u8]) -> Vec<u8> {
        [&[2; 6][..], &[4; 6], types, &[0; 30]].concat()
    }

    #[test]
    fn a_tag_in_the_frame_and_beside_it_mean_the_same() {
        let bare = frame(&[8, 0]);
        let tagged = frame(&[0x81, 0, 0x60, 20, 8, 0]);
        let beside = |protocol, tci| Some(Tag { protocol, tci });
        let rows = [
            ("untagged", &bare, None, Some((0, 14))),
            ("in the frame", &tagged, None, Some((20, 18))),
            (
                "beside",
                &bare,
                beside(CUSTOMER_TAG, 0x6014),
                Some((20, 14)),
            ),
            (
                "priority tag beside",
                &bare,
                beside(CUSTOMER_TAG, 0x6000),
                Some((0, 14)),
            ),
            ("service tag beside", &bare, beside(SERVICE_TAG, 20), None),
            ("two tags", &tagged, beside(CUSTOMER_TAG, 20), None),
        ];
        for (description, frame, tag, expected) in rows {
            let link = read(frame.as_slice(), tag);
            let place = link.map(|link| (link.vlan, link.payload));
            assert_eq!(place, expected, "{description}");
            if let Some(link) = link {
                assert_eq!(
                    link.ether_type.to_ne_bytes(),
                    [8, 0],
                    "{description}: the inner type"
                );
            }
        }
    }

    #[test]
    fn stacked_tags_and_runts_belong_to_nobody() {
        let rows: [(&str, Vec<u8>); 4] = [
            (
                "two customer tags",
                frame(&[0x81, 0, 0, 10, 0x81, 0, 0, 20]),
            ),
            ("service tag", frame(&[0x88, 0xa8, 0, 10, 8, 0])),
            ("service inside", frame(&[0x81, 0, 0, 10, 0x88, 0xa8])),
            ("a tag cut off", frame(&[])[..12].to_vec()),
        ];
        for (description, frame) in rows {
            assert_eq!(read(frame.as_slice(), None), None, "{description}");
        }
    }
}
