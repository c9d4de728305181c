//! What a MASTER has: addresses, routes and rules, with the interfaces they are on found.

use std::{fmt, net::IpAddr};

use netlink_packet_route::RouteNetlinkMessage;

use super::{Change, Route, Rule, VirtualAddress};

/// Something that comes and goes with mastership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// An address on an interface.
    Address {
        /// Interface index.
        ifindex: u32,
        /// The MAC that the address is at.
        mac: [u8; 6],
        /// The address.
        entry: VirtualAddress,
    },
    /// A route.
    Route {
        /// The route.
        route: Route,
        /// The interface of each hop; 0 where the kernel chooses it.
        hops: Vec<u32>,
    },
    /// A rule.
    Rule(Rule),
}

impl Belonging {
    /// Interface and address, if it is one.
    #[must_use]
    pub const fn address(&self) -> Option<(u32, IpAddr)> {
        match self {
            Self::Address { ifindex, entry, .. } => Some((*ifindex, entry.address)),
            Self::Route { .. } | Self::Rule(_) => None,
        }
    }

    /// Whether two stand for one thing in the kernel, whatever the MAC it is at.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.address(), other.address()) {
            (Some(here), Some(there)) => here == there,
            _ => self == other,
        }
    }

    /// Whether the kernel has nothing to do to get from one to the other.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Address { ifindex, entry, .. },
                Self::Address {
                    ifindex: there,
                    entry: other,
                    ..
                },
            ) => ifindex == there && entry == other,
            _ => self == other,
        }
    }

    /// What netlink is told.
    pub(super) fn message(&self, change: Change) -> RouteNetlinkMessage {
        match (self, change) {
            (Self::Address { ifindex, entry, .. }, Change::Add) => {
                RouteNetlinkMessage::NewAddress(entry.message(*ifindex))
            }
            (Self::Address { ifindex, entry, .. }, Change::Remove) => {
                RouteNetlinkMessage::DelAddress(entry.message(*ifindex))
            }
            (Self::Route { route, hops }, Change::Add) => {
                RouteNetlinkMessage::NewRoute(route.message(hops))
            }
            (Self::Route { route, hops }, Change::Remove) => {
                RouteNetlinkMessage::DelRoute(route.message(hops))
            }
            (Self::Rule(rule), Change::Add) => RouteNetlinkMessage::NewRule(rule.message()),
            (Self::Rule(rule), Change::Remove) => RouteNetlinkMessage::DelRule(rule.message()),
        }
    }
}

impl fmt::Display for Belonging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { entry, .. } => entry.address.fmt(f),
            Self::Route { route, .. } => write!(f, "route {route}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
        }
    }
}
