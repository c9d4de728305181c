//! Multicast membership: the NIC lets the group through and switches that snoop hear of it.

use std::{io, net::Ipv4Addr};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use vrrp_common::vrrp::GROUP_V4;

/// Membership of the VRRP group on one interface, left when dropped. The socket is never bound and
/// receives nothing: adverts are the XDP program's.
pub struct Membership {
    _socket: Socket,
}

impl Membership {
    /// Joins 224.0.0.18 on the interface; the kernel sends the IGMP report.
    ///
    /// # Errors
    ///
    /// What the kernel says, `ENODEV` for an interface that is gone.
    pub fn join(ifindex: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        let group = Ipv4Addr::from(GROUP_V4);
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex))?;
        Ok(Self { _socket: socket })
    }
}
