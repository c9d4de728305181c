//! Whole Ethernet frames through `AF_PACKET` sockets: one to send with, whose protocol is 0 so that
//! it receives nothing, and the options that receiving ones take.

use std::{
    io,
    marker::PhantomData,
    mem,
    ops::Range,
    os::fd::{AsRawFd as _, RawFd},
};

use nix::{
    setsockopt_impl, sockopt_impl,
    sys::socket::{setsockopt, sockopt::SndBufForce},
};
use socket2::{Domain, SockAddr, Socket, Type};

/// The sending end of every interface.
pub struct PacketSocket {
    socket: Socket,
}

/// Frames the kernel did not take.
#[derive(Debug)]
pub struct SendFailure {
    /// Which of those that were to be sent.
    pub frames: Range<usize>,
    /// What the kernel said.
    pub error: io::Error,
}

/// For some ten thousand frames.
const SEND_BUFFER: usize = 8 << 20;
/// The most messages `sendmmsg` takes at once (`UIO_MAXIOV`).
const MAX_BATCH: usize = 1024;

impl PacketSocket {
    /// Opens the socket; needs `CAP_NET_RAW`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        // Everybody's adverts go at once. Where more is not allowed, what the system has must do.
        let _ = setsockopt(&socket, SndBufForce, &SEND_BUFFER);
        Ok(Self { socket })
    }

    /// Sends frames, each to its interface. One that fails keeps back no other: the kernel stops at the first
    /// failure, so the rest is sent without it. Only where the interface itself is the reason, all frames for
    /// it that follow at once are skipped too.
    #[must_use]
    pub fn send(&self, frames: &[(u32, &[u8])]) -> Vec<SendFailure> {
        let mut failures = Vec::new();
        let mut batch = Batch::new(frames);
        let mut at = 0;
        while let Some(&(ifindex, _)) = frames.get(at) {
            match batch.send(self.socket.as_raw_fd(), at) {
                Ok(sent) => at += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let rest = frames.get(at..).unwrap_or_default();
                    let same = rest.iter().take_while(|(index, _)| *index == ifindex);
                    let count = if is_about_interface(&error) {
                        same.count()
                    } else {
                        1
                    };
                    let frames = at..at + count;
                    at = frames.end;
                    failures.push(SendFailure { frames, error });
                }
            }
        }
        failures
    }
}

/// Whether no other frame would leave that way either.
fn is_about_interface(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code.is_some_and(|code| matches!(code, libc::ENETDOWN | libc::ENODEV | libc::ENXIO))
}

/// What `sendmmsg` wants to know of frames.
struct Batch<'f> {
    _targets: Vec<libc::sockaddr_ll>,
    _parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
    _frames: PhantomData<&'f [u8]>,
}

impl<'f> Batch<'f> {
    fn new(frames: &[(u32, &'f [u8])]) -> Self {
        let mut targets: Vec<libc::sockaddr_ll> = frames
            .iter()
            .map(|(index, _)| link_address(*index, 0))
            .collect();
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|(_, bytes)| libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            })
            .collect();
        let messages = targets
            .iter_mut()
            .zip(&mut parts)
            .map(|(target, part)| {
                // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
                let mut header: libc::msghdr = unsafe { mem::zeroed() };
                header.msg_name = (&raw mut *target).cast();
                header.msg_namelen = LINK_ADDRESS_LEN;
                header.msg_iov = &raw mut *part;
                header.msg_iovlen = 1;
                libc::mmsghdr {
                    msg_hdr: header,
                    msg_len: 0,
                }
            })
            .collect();
        Self {
            _targets: targets,
            _parts: parts,
            messages,
            _frames: PhantomData,
        }
    }

    /// Hands frames to the kernel, from this one on, and returns how many it took.
    fn send(&mut self, fd: RawFd, from: usize) -> io::Result<usize> {
        let rest = self.messages.get_mut(from..).unwrap_or_default();
        let count = libc::c_uint::try_from(rest.len().min(MAX_BATCH)).unwrap_or(1);
        // SAFETY: the messages point into what this batch owns and into frames that outlive it, and at least
        // `count` of them are there; the kernel reads the frames and writes only `msg_len`.
        let sent = unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

sockopt_impl!(
    /// Hands over what the kernel took out of the frame, VLAN tags among it (`PACKET_AUXDATA`).
    PacketAuxiliaryData,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_AUXDATA,
    bool
);

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`.
const IGNORE_OUTGOING: libc::c_int = 23;

sockopt_impl!(
    /// Leaves out what this machine sends.
    PacketIgnoreOutgoing,
    SetOnly,
    libc::SOL_PACKET,
    IGNORE_OUTGOING,
    bool
);

sockopt_impl!(
    /// Sets a filter of the device for as long as the socket lives (`PACKET_ADD_MEMBERSHIP`).
    PacketAddMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_ADD_MEMBERSHIP,
    libc::packet_mreq
);

/// Length of a `sockaddr_ll`.
const LINK_ADDRESS_LEN: libc::socklen_t = 20;

const _: () = assert!(size_of::<libc::sockaddr_ll>() == LINK_ADDRESS_LEN as usize);

/// The address that binds a packet socket to an interface and a protocol (host order).
///
/// # Errors
///
/// Never in practice: the address fits.
pub(crate) fn packet_address(ifindex: u32, protocol: u16) -> io::Result<SockAddr> {
    // SAFETY: the closure writes a whole sockaddr_ll, which is smaller than the storage, and its
    // length.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage
                .cast::<libc::sockaddr_ll>()
                .write(link_address(ifindex, protocol));
            *length = LINK_ADDRESS_LEN;
            Ok(())
        })
    }?;
    Ok(address)
}

/// The address of an interface, for a packet socket of this protocol (host order; 0 receives
/// nothing).
fn link_address(ifindex: u32, protocol: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}
