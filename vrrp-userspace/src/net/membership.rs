//! Multicast membership: the NIC lets the group through, and switches that snoop hear of it.
//!
//! Two memberships each: one of the IP layer, whose IGMP or MLD reports tell switches, and one of
//! the link layer, which holds the NIC's filter open while the first is renewed.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use nix::sys::socket::setsockopt;
use socket2::{Domain, InterfaceIndexOrAddress, SockFilter, Socket, Type};
use vrrp_common::vrrp::GROUP_V4;

use super::packet::PacketAddMembership;

/// The group adverts are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// 224.0.0.18 (RFC 9568 5.1.1.2).
    V4,
    /// `ff02::12` (RFC 9568 5.1.2.2).
    V6,
}

/// `ff02::12`.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Membership of a VRRP group on one interface, left when dropped.
#[derive(Debug)]
pub struct Membership {
    ifindex: u32,
    group: Group,
    reports: Socket,
    _filter: Socket,
}

impl Membership {
    /// Joins the group on the interface; the kernel sends the report.
    ///
    /// # Errors
    ///
    /// What the kernel says, `ENODEV` for an interface that is gone.
    pub fn join(ifindex: u32, group: Group) -> io::Result<Self> {
        let membership = Self {
            ifindex,
            group,
            reports: reports_socket(group)?,
            _filter: open_filter(ifindex, group)?,
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
            Group::V4 => self
                .reports
                .join_multicast_v4_n(&Ipv4Addr::from(GROUP_V4), &self.interface()),
            Group::V6 => self.reports.join_multicast_v6(&GROUP_V6, self.ifindex),
        }
    }

    fn leave(&self) -> io::Result<()> {
        match self.group {
            Group::V4 => self
                .reports
                .leave_multicast_v4_n(&Ipv4Addr::from(GROUP_V4), &self.interface()),
            Group::V6 => self.reports.leave_multicast_v6(&GROUP_V6, self.ifindex),
        }
    }

    const fn interface(&self) -> InterfaceIndexOrAddress {
        InterfaceIndexOrAddress::Index(self.ifindex)
    }
}

impl Group {
    /// The Ethernet address that frames to the group are sent to (RFC 1112 6.4, RFC 2464 7).
    const fn mac(self) -> [u8; 6] {
        match self {
            Self::V4 => [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12],
            Self::V6 => [0x33, 0x33, 0x00, 0x00, 0x00, 0x12],
        }
    }
}

/// The socket is never bound, and its filter accepts nothing: adverts are received elsewhere.
fn reports_socket(group: Group) -> io::Result<Socket> {
    let domain = match group {
        Group::V4 => Domain::IPV4,
        Group::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
    Ok(socket)
}

/// `PACKET_MR_MULTICAST`.
const MULTICAST: libc::c_ushort = 0;

fn open_filter(ifindex: u32, group: Group) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let [a, b, c, d, e, f] = group.mac();
    let request = libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: MULTICAST,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    setsockopt(&socket, PacketAddMembership, &request)?;
    Ok(socket)
}
