//! Interfaces and their IPv4 addresses, read once and kept up to date by netlink.

use std::{collections::BTreeMap, net::IpAddr, net::Ipv4Addr};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::watch;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Interface index; changes when the interface is made anew.
    pub index: u32,
    /// Counts how often the interface with this index was made anew: an index may be given again.
    pub generation: u32,
    /// Name.
    pub name: String,
    /// Ethernet address; zero where the device has none.
    pub mac: [u8; 6],
    /// Kind as `ip -d link` shows it (`veth`, `vlan`, `bridge`, …); empty for hardware.
    pub kind: String,
    /// The interface that this one is on top of, such as the parent of a VLAN device.
    pub parent: Option<u32>,
    /// Whether it is up and has a carrier.
    pub running: bool,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// IPv4 addresses in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// An IPv4 address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// Whether it is reachable from other hosts (scope global or site).
    pub global: bool,
}

/// Every interface of the network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceTable {
    by_index: BTreeMap<u32, Interface>,
    /// How many interfaces with an index have gone.
    gone: BTreeMap<u32, u32>,
}

impl InterfaceTable {
    /// The interface of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Interface> {
        self.by_index
            .values()
            .find(|interface| interface.name == name)
    }

    /// The interface with this index.
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Interface> {
        self.by_index.get(&index)
    }

    /// Every interface.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.by_index.values()
    }

    /// A VLAN device on top of this interface.
    #[must_use]
    pub fn vlan_child(&self, index: u32) -> Option<&Interface> {
        self.iter()
            .find(|interface| interface.kind == "vlan" && interface.parent == Some(index))
    }

    /// The names there are, for messages.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self
            .by_index
            .values()
            .map(|interface| &*interface.name)
            .collect();
        names.join(", ")
    }

    /// A table that was read anew knows nothing of what has gone.
    fn keep_generations_of(&mut self, before: &Self) {
        self.gone.clone_from(&before.gone);
        for (index, interface) in &mut self.by_index {
            interface.generation = self.gone.get(index).copied().unwrap_or_default();
        }
    }

    fn apply(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.apply_link(link),
            // A bridge reports a leaving port with the same message, in its own family.
            RouteNetlinkMessage::DelLink(link)
                if link.header.interface_family == AddressFamily::Unspec =>
            {
                self.by_index.remove(&link.header.index);
                *self.gone.entry(link.header.index).or_default() += 1;
            }
            RouteNetlinkMessage::NewAddress(address) => self.apply_address(address, true),
            RouteNetlinkMessage::DelAddress(address) => self.apply_address(address, false),
            _ => {}
        }
    }

    fn apply_link(&mut self, link: &LinkMessage) {
        if link.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = link.header.index;
        let generation = self.gone.get(&index).copied().unwrap_or_default();
        let interface = self.by_index.entry(index).or_default();
        interface.index = index;
        interface.generation = generation;
        interface.running = link
            .header
            .flags
            .contains(LinkFlags::Up | LinkFlags::Running);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Address(mac) => {
                    interface.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::Link(parent) => interface.parent = Some(*parent),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            interface.kind = kind.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn apply_address(&mut self, message: &AddressMessage, present: bool) {
        let Some(interface) = self.by_index.get_mut(&message.header.index) else {
            return;
        };
        let local = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
        let Some(address) = local else { return };
        let prefix = message.header.prefix_len;
        let known = interface
            .addresses
            .iter()
            .position(|entry| entry.address == address && entry.prefix == prefix);
        match (known, present) {
            (Some(at), false) => {
                interface.addresses.remove(at);
            }
            (None, true) => {
                let scope = message.header.scope;
                let global = matches!(scope, AddressScope::Universe | AddressScope::Site);
                interface.addresses.push(InterfaceAddress {
                    address,
                    prefix,
                    global,
                });
            }
            (Some(_), true) | (None, false) => {}
        }
    }
}

impl Interface {
    /// The address adverts come from: the first that other hosts can reach and that is not a
    /// virtual one.
    #[must_use]
    pub fn primary_address(&self, is_virtual: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let own = |entry: &&InterfaceAddress| !is_virtual(entry.address);
        let first_global = self.addresses.iter().filter(own).find(|entry| entry.global);
        first_global
            .or_else(|| self.addresses.iter().find(own))
            .map(|entry| entry.address)
    }
}

/// Reads every interface and goes on watching. The receiver sees each change once it is complete.
///
/// # Errors
///
/// When netlink cannot be opened or read.
pub async fn watch() -> Result<watch::Receiver<InterfaceTable>> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
    let (connection, handle, mut messages) =
        new_multicast_connection(&groups).context("open a netlink socket")?;
    tokio::spawn(connection);
    let table = dump(&handle).await?;
    let (sender, receiver) = watch::channel(table);
    tokio::spawn(async move {
        while let Some((message, _)) = messages.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    sender.send_if_modified(|table| {
                        let before = table.clone();
                        table.apply(&inner);
                        *table != before
                    });
                }
                NetlinkPayload::Overrun(_) => match dump(&handle).await {
                    Ok(mut table) => {
                        table.keep_generations_of(&sender.borrow());
                        tracing::warn!("netlink lost events; interfaces were read anew");
                        sender.send_replace(table);
                    }
                    Err(error) => tracing::error!(
                        "netlink lost events and reading interfaces anew failed: {error:#}"
                    ),
                },
                _ => {}
            }
        }
    });
    Ok(receiver)
}

/// Reads every interface once.
///
/// # Errors
///
/// When netlink cannot be opened or read.
pub async fn read() -> Result<InterfaceTable> {
    let (connection, handle, _) = new_connection().context("open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let table = dump(&handle).await;
    connection.abort();
    table
}

async fn dump(handle: &Handle) -> Result<InterfaceTable> {
    let mut table = InterfaceTable::default();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.context("read interfaces")? {
        table.apply_link(&link);
    }
    let mut addresses = handle.address().get().execute();
    while let Some(address) = addresses.try_next().await.context("read addresses")? {
        table.apply_address(&address, true);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_addresses_are_never_the_source() {
        let entry = |last, global| InterfaceAddress {
            address: Ipv4Addr::new(10, 0, 0, last),
            prefix: 24,
            global,
        };
        let interface = Interface {
            addresses: vec![entry(1, true), entry(9, false), entry(2, true)],
            ..Interface::default()
        };
        let vip = Ipv4Addr::new(10, 0, 0, 1);
        let primary = interface.primary_address(|address| address == vip);
        assert_eq!(primary, Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(interface.primary_address(|_| true), None);
    }
}
