//! Whole Ethernet frames as they come from a packet socket, with what the kernel knows of them.

use std::{io::IoSliceMut, os::fd::AsRawFd as _, time::Duration};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg},
};
use socket2::Socket;
use vrrp_common::link::{CUSTOMER_TAG, Tag};

/// What the kernel knows of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Its bytes in the buffer.
    pub(crate) length: usize,
    /// The tag that was taken out of it; needs `PACKET_AUXDATA`.
    pub(crate) tag: Option<Tag>,
    /// When it came, in nanoseconds since 1970; needs `SO_TIMESTAMPNS`.
    pub(crate) at_ns: Option<u64>,
    /// This machine has sent it.
    pub(crate) is_outgoing: bool,
}

/// One frame.
pub(crate) fn receive(
    socket: &Socket,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> Result<Received, Errno> {
    let mut control = nix::cmsg_space!([u8; AUXILIARY_LEN], nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut received = Received {
        length: message.bytes,
        tag: None,
        at_ns: None,
        is_outgoing: message
            .address
            .is_some_and(|address| address.pkttype() == libc::PACKET_OUTGOING),
    };
    for entry in message.cmsgs()? {
        match entry {
            ControlMessageOwned::ScmTimestampns(at) => {
                received.at_ns = Duration::from(at).as_nanos().try_into().ok();
            }
            ControlMessageOwned::Unknown(data)
                if data.cmsg_header.cmsg_level == libc::SOL_PACKET
                    && data.cmsg_header.cmsg_type == libc::PACKET_AUXDATA =>
            {
                received.tag = auxiliary_tag(&data.data_bytes);
            }
            _ => {}
        }
    }
    Ok(received)
}

/// Bytes of `struct tpacket_auxdata`.
const AUXILIARY_LEN: usize = 20;

/// The tag in a `struct tpacket_auxdata`:
///
/// ```text
///  0 status  4 len  8 snaplen  12 mac  14 net  16 vlan_tci  18 vlan_tpid
/// ```
fn auxiliary_tag(data: &[u8]) -> Option<Tag> {
    let status = u32::from_ne_bytes(data.get(..4)?.try_into().ok()?);
    let half = |at: usize| Some(u16::from_ne_bytes(data.get(at..at + 2)?.try_into().ok()?));
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let protocol = if status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
        CUSTOMER_TAG
    } else {
        half(18)?
    };
    Some(Tag {
        protocol,
        tci: half(16)?,
    })
}
