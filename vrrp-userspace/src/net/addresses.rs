//! A virtual address as it should stand on an interface, and the message that puts it there.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::{
    AddressFamily,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
    },
};
use serde::Serialize;

/// An address of a virtual router as it should stand on the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Another interface than the one that the adverts are on (`dev`).
    pub interface: Option<String>,
    /// Whether that one must be up (`no_track` says no).
    pub tracked: bool,
    /// Label, as `ip address` shows it (`eth0:db`); IPv4 only.
    pub label: Option<String>,
    /// Broadcast address (`brd`); IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// Scope.
    pub scope: Scope,
    /// `preferred_lft` in seconds, `u32::MAX` for ever: with 0 it is no source for packets of this
    /// machine.
    pub preferred_s: Option<u32>,
    /// Whether the kernel adds a route to the network (`noprefixroute` says no).
    pub prefix_route: bool,
}

/// Address scope, as iproute2 names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Valid everywhere.
    #[default]
    Global,
    /// Valid on this site.
    Site,
    /// Valid on this link.
    Link,
    /// Valid on this host.
    Host,
    /// Valid nowhere.
    Nowhere,
}

impl Scope {
    /// The scope of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "global" => Self::Global,
            "site" => Self::Site,
            "link" => Self::Link,
            "host" => Self::Host,
            "nowhere" => Self::Nowhere,
            _ => return None,
        })
    }
}

impl From<Scope> for AddressScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Universe,
            Scope::Site => Self::Site,
            Scope::Link => Self::Link,
            Scope::Host => Self::Host,
            Scope::Nowhere => Self::Nowhere,
        }
    }
}

impl VirtualAddress {
    /// An address with a network, and nothing special about it.
    #[must_use]
    pub const fn new(address: IpAddr, prefix: u8) -> Self {
        Self {
            address,
            prefix,
            interface: None,
            tracked: true,
            label: None,
            broadcast: None,
            scope: Scope::Global,
            preferred_s: None,
            prefix_route: true,
        }
    }

    /// An IPv6 address without a network is for whoever asks for it, and no source for packets of this
    /// machine, unless somebody says otherwise (keepalived's default for /128).
    fn lifetime(&self) -> Option<AddressAttribute> {
        let is_lone = self.address.is_ipv6() && self.prefix == 128;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = self.preferred_s.or(is_lone.then_some(0))?;
        lifetime.ifa_valid = u32::MAX;
        Some(AddressAttribute::CacheInfo(lifetime))
    }

    /// What netlink is told of it.
    pub(super) fn message(&self, ifindex: u32) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.prefix_len = self.prefix;
        message.header.index = ifindex;
        let ip = self.address;
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        match ip {
            IpAddr::V4(_) => {
                message.header.family = AddressFamily::Inet;
                message.header.scope = self.scope.into();
            }
            IpAddr::V6(_) => {
                message.header.family = AddressFamily::Inet6;
                // The kernel must not look for duplicates first: the master before us may still be
                // there.
                message.header.flags = AddressHeaderFlags::Nodad;
            }
        }
        message.attributes.extend(self.lifetime());
        if !self.prefix_route {
            let flags = AddressFlags::Noprefixroute
                | match ip {
                    IpAddr::V4(_) => AddressFlags::empty(),
                    IpAddr::V6(_) => AddressFlags::Nodad,
                };
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        let broadcast = self.broadcast.map(AddressAttribute::Broadcast);
        message.attributes.extend(broadcast);
        let label = self.label.clone().map(AddressAttribute::Label);
        message.attributes.extend(label);
        message
    }
}
