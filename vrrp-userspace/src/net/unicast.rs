//! Adverts to unicast peers: the kernel knows the way to them, so it makes the IP and Ethernet headers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use vrrp_common::vrrp::IP_PROTOCOL;

/// The sending end of one virtual router.
pub struct UnicastSocket {
    socket: Socket,
}

/// Internet control, CS6, as a Type of Service or Traffic Class.
const CS6: u32 = 0xc0;

impl UnicastSocket {
    /// Opens a socket that sends from `source` through the interface.
    ///
    /// # Errors
    ///
    /// What the kernel says: `EADDRNOTAVAIL` for a source that is not there.
    pub fn open(ifindex: u32, source: IpAddr, ttl: u8) -> io::Result<Self> {
        let domain = match source {
            IpAddr::V4(_) => Domain::IPV4,
            IpAddr::V6(_) => Domain::IPV6,
        };
        let protocol = Protocol::from(i32::from(IP_PROTOCOL));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        // Adverts are received elsewhere.
        socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
        socket.set_nonblocking(true)?;
        let interface = NonZeroU32::new(ifindex);
        match source {
            IpAddr::V4(_) => {
                socket.bind_device_by_index_v4(interface)?;
                socket.set_ttl_v4(u32::from(ttl))?;
                socket.set_tos_v4(CS6)?;
            }
            IpAddr::V6(_) => {
                socket.bind_device_by_index_v6(interface)?;
                socket.set_unicast_hops_v6(u32::from(ttl))?;
                socket.set_tclass_v6(CS6)?;
            }
        }
        socket.bind(&SocketAddr::new(source, 0).into())?;
        Ok(Self { socket })
    }

    /// Sends a message to a peer.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn send(&self, peer: IpAddr, message: &[u8]) -> io::Result<()> {
        self.socket
            .send_to(message, &SocketAddr::new(peer, 0).into())
            .map(drop)
    }
}
