//! Hears of routes and rules that go.

use std::{
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol},
};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use socket2::{SockFilter, SockRef};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    Rule,
    routes::{EVERYWHERE, Network, PROTOCOL, Route},
};

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A route of ours.
    Route {
        /// Its table.
        table: u32,
        /// Where it led.
        destination: Network,
    },
    /// A rule; whose is not known.
    Rule,
    /// Nobody knows: events were lost.
    Anything,
}

impl Removed {
    /// Whether it may have been one of these.
    #[must_use]
    pub fn may_be_of(&self, routes: &[Route], rules: &[Rule]) -> bool {
        routes.iter().any(|route| self.may_be(route)) || (self.may_be_a_rule() && !rules.is_empty())
    }

    /// Whether it may have been this route.
    fn may_be(&self, route: &Route) -> bool {
        match self {
            Self::Route { table, destination } => {
                *table == route.table && *destination == route.destination
            }
            Self::Rule => false,
            Self::Anything => true,
        }
    }

    /// Whether it may have been one of our rules.
    const fn may_be_a_rule(&self) -> bool {
        matches!(self, Self::Rule | Self::Anything)
    }
}

/// Watches routes of ours, and every rule.
///
/// # Errors
///
/// When netlink cannot be opened.
pub fn watch_routes() -> Result<UnboundedReceiver<Removed>> {
    let groups = [
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];
    let (mut connection, _, mut messages) =
        new_multicast_connection(&groups).context("open a netlink socket")?;
    listen_for_ours(connection.socket_mut().as_raw_fd());
    tokio::spawn(connection);
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Some((message, _)) = messages.next().await {
            let ended = removed(&message.payload).is_some_and(|it| sender.send(it).is_err());
            if ended {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Room for events that come faster than they are read, in bytes.
const EVENT_ROOM: usize = 4 << 20;

/// A router with a full table has thousands of changes a second: only removals of our routes and of rules
/// get through. Without the filter everything works, at a higher price.
fn listen_for_ours(socket: RawFd) {
    // SAFETY: the caller's connection owns the socket.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    let room = setsockopt(&socket, RcvBufForce, &EVENT_ROOM);
    let filter = SockRef::from(&socket).attach_filter(&FILTER);
    if let Err(error) = filter.and(room.map_err(Into::into)) {
        tracing::debug!("the watch for routes: {error}");
    }
}

/// `RTM_DELROUTE` and `RTM_DELRULE` as a filter loads them: it reads the host's order as big endian.
const DELETE_ROUTE: u32 = u16::from_be_bytes(25_u16.to_ne_bytes()) as u32;
const DELETE_RULE: u32 = u16::from_be_bytes(33_u16.to_ne_bytes()) as u32;

const FILTER: [SockFilter; 7] = [
    SockFilter::new(0x28, 0, 0, 4), // ldh [4], the message's type
    SockFilter::new(0x15, 3, 0, DELETE_RULE), // a rule: accept
    SockFilter::new(0x15, 0, 3, DELETE_ROUTE), // a route: next, else drop
    SockFilter::new(0x30, 0, 0, 21), // ldb [21], who made it
    SockFilter::new(0x15, 0, 1, PROTOCOL as u32), // ours: accept, else drop
    SockFilter::new(0x06, 0, 0, u32::MAX), // accept
    SockFilter::new(0x06, 0, 0, 0), // drop
];

fn removed(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Removed> {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => removed_route(route),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRule(_)) => Some(Removed::Rule),
        NetlinkPayload::Overrun(_) => Some(Removed::Anything),
        _ => None,
    }
}

fn removed_route(message: &RouteMessage) -> Option<Removed> {
    let header = &message.header;
    if header.protocol != RouteProtocol::from(PROTOCOL) {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut address = match header.address_family {
        AddressFamily::Inet => EVERYWHERE.address,
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(found)) => address = (*found).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(found)) => address = (*found).into(),
            _ => {}
        }
    }
    Some(Removed::Route {
        table,
        destination: Network {
            address,
            prefix: header.destination_prefix_length,
        },
    })
}
