//! VRRP as it is on the wire, by whomever: for those who watch and take no part.

use std::{io, net::IpAddr, time::Duration};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, setsockopt, sockopt},
};
use socket2::{Domain, SockFilter, Socket, Type};
use vrrp_common::{
    link::Tag,
    vrrp::{GROUP_V4, GROUP_V6},
};

use super::{
    MacFilter,
    packet::{PacketAuxiliaryData, packet_address},
    receive::receive,
};

/// Receives every VRRP frame of an interface, and sends nothing.
pub struct Sniffer {
    socket: Socket,
    /// They let the groups through.
    _groups: [Option<MacFilter>; 2],
}

/// A frame.
#[derive(Clone, Debug)]
pub struct Sniffed {
    /// When it came, in nanoseconds since 1970, by the kernel.
    pub at_ns: u64,
    /// Without its outermost tag.
    pub frame: Vec<u8>,
    /// That tag.
    pub tag: Option<Tag>,
    /// This machine has sent it.
    pub is_outgoing: bool,
}

/// The longest advert, 255 IPv6 addresses, with a tag.
const ROOM: usize = 4608;
/// `ETH_P_ALL`: what is for one protocol has lost its tag.
const EVERY_PROTOCOL: u16 = 0x0003;

impl Sniffer {
    /// Needs `CAP_NET_RAW`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.attach_filter(&FILTER)?;
        setsockopt(&socket, PacketAuxiliaryData, &true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.bind(&packet_address(ifindex, EVERY_PROTOCOL)?)?;
        let groups = [IpAddr::from(GROUP_V4), IpAddr::from(GROUP_V6)];
        Ok(Self {
            socket,
            // A device without such a filter lets everything through.
            _groups: groups.map(|group| MacFilter::open_group(ifindex, group).ok()),
        })
    }

    /// The next frame; `None` where none comes in this time.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn next(&self, patience: Duration) -> io::Result<Option<Sniffed>> {
        // No time at all would be for ever.
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience))?;
        let mut buffer = [0; ROOM];
        match receive(&self.socket, &mut buffer, MsgFlags::empty()) {
            Ok(received) => Ok(Some(Sniffed {
                at_ns: received.at_ns.unwrap_or_default(),
                frame: buffer.get(..received.length).unwrap_or_default().to_vec(),
                tag: received.tag,
                is_outgoing: received.is_outgoing,
            })),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Sniffed {
    /// The frame as it was on the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> Vec<u8> {
        let (Some(tag), Some((addresses, rest))) = (self.tag, self.frame.split_at_checked(12))
        else {
            return self.frame.clone();
        };
        let tag = [tag.protocol.to_be_bytes(), tag.tci.to_be_bytes()].concat();
        [addresses, &tag, rest].concat()
    }

    /// Its VLAN; 0 = none.
    #[must_use]
    pub fn vlan(&self) -> u16 {
        self.tag.map_or(0, |tag| tag.tci & 0x0fff)
    }
}

/// VRRP of both families.
const FILTER: [SockFilter; 9] = [
    SockFilter::new(0x28, 0, 0, 12),     // ldh [12], the EtherType
    SockFilter::new(0x15, 0, 2, 0x0800), // IPv4: next, else +2
    SockFilter::new(0x30, 0, 0, 23),     // ldb [23], the protocol
    SockFilter::new(0x15, 3, 4, 112),    // VRRP: accept, else drop
    SockFilter::new(0x15, 0, 3, 0x86dd), // IPv6: next, else drop
    SockFilter::new(0x30, 0, 0, 20),     // ldb [20], the next header
    SockFilter::new(0x15, 0, 1, 112),    // VRRP: accept, else drop
    SockFilter::new(0x06, 0, 0, 0xffff), // accept
    SockFilter::new(0x06, 0, 0, 0),      // drop
];
