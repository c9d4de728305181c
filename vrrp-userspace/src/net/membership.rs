//! Multicast membership: the NIC lets the group through, and switches that snoop hear of it.
//!
//! Two memberships each: one of the IP layer, whose IGMP or MLD reports tell switches, and one of
//! the link layer, which holds the NIC's filter open while the first is renewed.

use std::{io, net::IpAddr};

use nix::sys::socket::setsockopt;
use socket2::{Domain, InterfaceIndexOrAddress, SockFilter, Socket, Type};
use vrrp_common::encode::multicast_mac;

use super::packet::PacketAddMembership;

/// Membership of a VRRP group on one interface, left when dropped.
#[derive(Debug)]
pub struct Membership {
    ifindex: u32,
    group: IpAddr,
    reports: Socket,
    _filter: Socket,
}

impl Membership {
    /// Joins the group on the interface; the kernel sends the report.
    ///
    /// # Errors
    ///
    /// What the kernel says, `ENODEV` for an interface that is gone.
    pub fn join(ifindex: u32, group: IpAddr) -> io::Result<Self> {
        let membership = Self {
            ifindex,
            group,
            reports: reports_socket(group)?,
            _filter: open_filter(ifindex, MULTICAST, multicast_mac(group))?,
        };
        membership.enter()?;
        Ok(membership)
    }

    /// Leaves and joins again, so that a new report is sent: a switch port that lost its link, or
    /// an interface whose address changed, is told anew. The NIC's filter stays open meanwhile.
    ///
    /// # Errors
    ///
    /// What the kernel says to the join.
    pub fn renew(&self) -> io::Result<()> {
        // Not being a member is where this wants to get to.
        let _ = self.leave();
        self.enter()
    }

    fn enter(&self) -> io::Result<()> {
        match self.group {
            IpAddr::V4(group) => self.reports.join_multicast_v4_n(&group, &self.interface()),
            IpAddr::V6(group) => self.reports.join_multicast_v6(&group, self.ifindex),
        }
    }

    fn leave(&self) -> io::Result<()> {
        match self.group {
            IpAddr::V4(group) => self.reports.leave_multicast_v4_n(&group, &self.interface()),
            IpAddr::V6(group) => self.reports.leave_multicast_v6(&group, self.ifindex),
        }
    }

    const fn interface(&self) -> InterfaceIndexOrAddress {
        InterfaceIndexOrAddress::Index(self.ifindex)
    }
}

/// The socket is never bound, and its filter accepts nothing: adverts are received elsewhere.
fn reports_socket(group: IpAddr) -> io::Result<Socket> {
    let domain = match group {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
    Ok(socket)
}

/// `PACKET_MR_MULTICAST`.
const MULTICAST: libc::c_ushort = 0;
/// `PACKET_MR_UNICAST`.
const UNICAST: libc::c_ushort = 3;

/// Makes the device take frames for one more MAC, until it is dropped.
#[derive(Debug)]
pub struct MacFilter {
    _socket: Socket,
}

impl MacFilter {
    /// Opens the filter of the interface for the MAC.
    ///
    /// # Errors
    ///
    /// What the kernel or the driver says.
    pub fn open(ifindex: u32, mac: [u8; 6]) -> io::Result<Self> {
        let socket = open_filter(ifindex, UNICAST, mac)?;
        Ok(Self { _socket: socket })
    }

    /// Opens it for a multicast group, of which nobody is told: no report is sent.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn open_group(ifindex: u32, group: IpAddr) -> io::Result<Self> {
        let socket = open_filter(ifindex, MULTICAST, multicast_mac(group))?;
        Ok(Self { _socket: socket })
    }
}

fn open_filter(ifindex: u32, kind: libc::c_ushort, mac: [u8; 6]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let [a, b, c, d, e, f] = mac;
    let request = libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: kind,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    setsockopt(&socket, PacketAddMembership, &request)?;
    Ok(socket)
}
