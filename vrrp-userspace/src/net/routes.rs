//! `virtual_routes` and `static_routes`: a route, and the message that puts it in place.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric,
        RouteNextHop, RouteNextHopFlags, RouteProtocol, RouteScope, RouteType,
    },
};

use super::Scope;

/// Number of the main routing table.
pub const MAIN_TABLE: u32 = 254;
/// `RTPROT_KEEPALIVED`: routes are shown as `proto keepalived`, as users know them.
pub(super) const PROTOCOL: u8 = 18;

/// A network: an address and a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

impl Network {
    /// Whether nothing is set behind the prefix.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let (bits, width) = match self.address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let host_bits = u32::from(width - self.prefix.min(width));
        let mask = 1_u128
            .checked_shl(host_bits)
            .map_or(u128::MAX, |bit| bit - 1);
        bits & mask == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == 0 {
            return f.write_str("default");
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What a route does with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends them on.
    #[default]
    Unicast,
    /// Drops them without a word.
    Blackhole,
    /// Says that the destination cannot be reached.
    Unreachable,
    /// Says that it is prohibited.
    Prohibit,
    /// Goes on in the next table.
    Throw,
}

/// One way of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The gateway (`via`); the destination itself is on the link where there is none.
    pub via: Option<IpAddr>,
    /// The interface (`dev`).
    pub interface: Option<String>,
    /// Its share among several, 1 to 256 (`weight`).
    pub weight: u16,
    /// The gateway is on the link, whatever the addresses say (`onlink`).
    pub onlink: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Network,
    /// What it does.
    pub kind: RouteKind,
    /// The ways; none for a route that sends nothing on.
    pub hops: Vec<Hop>,
    /// `src`: the address that packets of this machine come from.
    pub source: Option<IpAddr>,
    /// `metric`.
    pub metric: Option<u32>,
    /// `table`.
    pub table: u32,
    /// `scope`.
    pub scope: Option<Scope>,
    /// `mtu`.
    pub mtu: Option<u32>,
    /// Whether its interfaces must be up (`no_track` says no).
    pub tracked: bool,
}

impl Route {
    /// The names of its interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.hops.iter().filter_map(|hop| hop.interface.as_deref())
    }

    pub(super) fn message(&self, indices: &[u32]) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: match self.destination.address {
                IpAddr::V4(_) => AddressFamily::Inet,
                IpAddr::V6(_) => AddressFamily::Inet6,
            },
            destination_prefix_length: self.destination.prefix,
            table: u8::try_from(self.table).unwrap_or_default(),
            protocol: RouteProtocol::from(PROTOCOL),
            scope: self.scope_on_the_wire(),
            kind: match self.kind {
                RouteKind::Unicast => RouteType::Unicast,
                RouteKind::Blackhole => RouteType::BlackHole,
                RouteKind::Unreachable => RouteType::Unreachable,
                RouteKind::Prohibit => RouteType::Prohibit,
                RouteKind::Throw => RouteType::Throw,
            },
            ..RouteHeader::default()
        };
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(self.table));
        if self.destination.prefix > 0 {
            let destination = RouteAddress::from(self.destination.address);
            attributes.push(RouteAttribute::Destination(destination));
        }
        let source = self.source.map(RouteAddress::from);
        attributes.extend(source.map(RouteAttribute::PrefSource));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        let mtu = self.mtu.map(|mtu| vec![RouteMetric::Mtu(mtu)]);
        attributes.extend(mtu.map(RouteAttribute::Metrics));
        let index_of = |at: usize| indices.get(at).copied().unwrap_or_default();
        match &self.hops[..] {
            [] => {}
            [hop] => {
                attributes.extend(hop.gateway());
                let index = Some(index_of(0)).filter(|index| *index != 0);
                attributes.extend(index.map(RouteAttribute::Oif));
                if hop.onlink {
                    message.header.flags = RouteFlags::Onlink;
                }
            }
            hops => {
                let hops = hops.iter().enumerate();
                let hops = hops.map(|(at, hop)| hop.among_others(index_of(at)));
                attributes.push(RouteAttribute::MultiPath(hops.collect()));
            }
        }
        message
    }

    /// As iproute2: without a gateway the destination is on the link.
    fn scope_on_the_wire(&self) -> RouteScope {
        match self.scope {
            Some(Scope::Global) => RouteScope::Universe,
            Some(Scope::Site) => RouteScope::Site,
            Some(Scope::Link) => RouteScope::Link,
            Some(Scope::Host) => RouteScope::Host,
            Some(Scope::Nowhere) => RouteScope::NoWhere,
            None => {
                let is_v4 = self.destination.address.is_ipv4();
                let on_link = matches!(&self.hops[..], [hop] if hop.via.is_none());
                if is_v4 && on_link {
                    RouteScope::Link
                } else {
                    RouteScope::Universe
                }
            }
        }
    }
}

impl Hop {
    fn gateway(&self) -> Option<RouteAttribute> {
        let gateway = self.via.map(RouteAddress::from);
        gateway.map(RouteAttribute::Gateway)
    }

    fn among_others(&self, ifindex: u32) -> RouteNextHop {
        let mut hop = RouteNextHop::default();
        if self.onlink {
            hop.flags = RouteNextHopFlags::Onlink;
        }
        hop.hops = u8::try_from(self.weight.saturating_sub(1)).unwrap_or(u8::MAX);
        hop.interface_index = ifindex;
        hop.attributes.extend(self.gateway());
        hop
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => f.write_str("blackhole ")?,
            RouteKind::Unreachable => f.write_str("unreachable ")?,
            RouteKind::Prohibit => f.write_str("prohibit ")?,
            RouteKind::Throw => f.write_str("throw ")?,
        }
        self.destination.fmt(f)?;
        for hop in &self.hops {
            if let Some(via) = hop.via {
                write!(f, " via {via}")?;
            }
            if let Some(interface) = &hop.interface {
                write!(f, " dev {interface}")?;
            }
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

/// Everywhere, in IPv4: what `default` means until something says otherwise.
pub const EVERYWHERE: Network = Network {
    address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    prefix: 0,
};
