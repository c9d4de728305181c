//! Interfaces and their addresses, read once and kept up to date by netlink.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, channel::mpsc::UnboundedReceiver};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use netlink_sys::SocketAddr;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::watch;
use vrrp_common::contract::Family;

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
    /// Counts how often it has lost that: it may be back before anybody looks.
    pub losses: u32,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Addresses in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// Whether it is reachable from other hosts (scope global or site).
    pub global: bool,
    /// Whether it can be used: the kernel has made sure that nobody else has it.
    pub usable: bool,
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
            // What was lost of its links is not known: perhaps one.
            let losses = before.by_index.get(index).map_or(0, |it| it.losses);
            interface.losses = losses + 1;
        }
    }

    /// Says whether something is different now.
    fn apply(&mut self, message: &RouteNetlinkMessage) -> bool {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.apply_link(link),
            // A bridge reports a leaving port with the same message, in its own family.
            RouteNetlinkMessage::DelLink(link)
                if link.header.interface_family == AddressFamily::Unspec =>
            {
                self.by_index.remove(&link.header.index);
                *self.gone.entry(link.header.index).or_default() += 1;
                true
            }
            RouteNetlinkMessage::NewAddress(address) => self.apply_address(address, true),
            RouteNetlinkMessage::DelAddress(address) => self.apply_address(address, false),
            _ => false,
        }
    }

    fn apply_link(&mut self, link: &LinkMessage) -> bool {
        if link.header.interface_family != AddressFamily::Unspec {
            return false;
        }
        let index = link.header.index;
        let generation = self.gone.get(&index).copied().unwrap_or_default();
        let interface = self.by_index.entry(index).or_default();
        // There may be thousands, and none of them is touched.
        let addresses = std::mem::take(&mut interface.addresses);
        let before = interface.clone();
        interface.index = index;
        interface.generation = generation;
        let flags = link.header.flags;
        interface.running = flags.contains(LinkFlags::Up | LinkFlags::Running);
        interface.losses += u32::from(before.running && !interface.running);
        interface.take_attributes(link);
        let changed = *interface != before;
        interface.addresses = addresses;
        changed
    }

    fn apply_address(&mut self, message: &AddressMessage, present: bool) -> bool {
        let Some(interface) = self.by_index.get_mut(&message.header.index) else {
            return false;
        };
        let Some(address) = own_address(message) else {
            return false;
        };
        let prefix = message.header.prefix_len;
        let usable = !message.attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Flags(flags)
                if flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed))
        });
        let known = interface
            .addresses
            .iter()
            .position(|entry| entry.address == address && entry.prefix == prefix);
        match (known, present) {
            (Some(at), false) => {
                interface.addresses.remove(at);
                true
            }
            (None, true) => {
                let scope = message.header.scope;
                let global = matches!(scope, AddressScope::Universe | AddressScope::Site);
                interface.addresses.push(InterfaceAddress {
                    address,
                    prefix,
                    global,
                    usable,
                });
                true
            }
            (Some(at), true) => {
                let entry = interface.addresses.get_mut(at);
                entry.is_some_and(|entry| {
                    let before = std::mem::replace(&mut entry.usable, usable);
                    before != usable
                })
            }
            (None, false) => false,
        }
    }
}

impl Interface {
    fn take_attributes(&mut self, link: &LinkMessage) {
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => self.name.clone_from(name),
                LinkAttribute::Address(mac) => {
                    self.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => self.mtu = *mtu,
                LinkAttribute::Link(parent) => self.parent = Some(*parent),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            self.kind = kind.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// The address a message is about: of a peer-to-peer one our end, which IPv6 names only where there
/// are two.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    local.or_else(|| {
        let attributes = message.attributes.iter();
        attributes
            .into_iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
                _ => None,
            })
    })
}

impl Interface {
    /// The address adverts come from: for IPv4 the first that other hosts can reach and that is not a
    /// virtual one, for IPv6 the first link-local one (RFC 9568 5.1.2.1).
    #[must_use]
    pub fn primary_address(
        &self,
        family: Family,
        is_virtual: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let own = |entry: &&InterfaceAddress| {
            Family::of(entry.address) == family && entry.usable && !is_virtual(entry.address)
        };
        let mut own = self.addresses.iter().filter(own).peekable();
        let first = own.peek().copied();
        let found = match family {
            Family::V4 => own.find(|entry| entry.global).or(first),
            Family::V6 => own.find(|entry| is_link_local(entry.address)),
        };
        found.map(|entry| entry.address)
    }

    /// Whether the address is here, usable or not.
    #[must_use]
    pub fn carries(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|entry| entry.address == address)
    }

    /// The prefix length that the address has here.
    #[must_use]
    pub fn prefix_of(&self, address: IpAddr) -> Option<u8> {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|entry| entry.address == address);
        found.map(|entry| entry.prefix)
    }

    /// Whether the address is here and can be used.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|entry| entry.address == address && entry.usable)
    }
}

/// `fe80::/10`.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Reads every interface and goes on watching. The receiver sees each change once it is complete.
///
/// # Errors
///
/// When netlink cannot be opened or read.
pub async fn watch() -> Result<watch::Receiver<InterfaceTable>> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (mut connection, handle, mut messages) =
        new_multicast_connection(&groups).context("open a netlink socket")?;
    let socket = connection.socket_mut().as_raw_fd();
    // SAFETY: the connection owns the socket, and lives here.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    if let Err(errno) = setsockopt(&socket, RcvBufForce, &EVENT_ROOM) {
        tracing::debug!("room for netlink events: {errno}");
    }
    tokio::spawn(connection);
    let table = dump(&handle).await?;
    let (sender, receiver) = watch::channel(table);
    tokio::spawn(async move {
        while let Some((message, _)) = messages.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    sender.send_if_modified(|table| table.apply(&inner));
                }
                NetlinkPayload::Overrun(_) => match read_anew(&handle, &mut messages).await {
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

/// What the kernel tells of its own accord, as `rtnetlink` hands it on.
type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Reads everything after events were lost. Those that are still queued are older than the lost ones
/// and must not be applied on top: they have all arrived when a first dump has, and are thrown away
/// before a second one. Events that come in later are applied to it in their order.
async fn read_anew(handle: &Handle, messages: &mut Messages) -> Result<InterfaceTable> {
    dump(handle).await?;
    while messages.try_recv().is_ok() {}
    dump(handle).await
}

/// Room for events that come faster than they are read, in bytes: an interface with its addresses
/// takes about 5 kB.
const EVENT_ROOM: usize = 16 << 20;

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

    fn entry(address: &str, global: bool) -> InterfaceAddress {
        InterfaceAddress {
            address: address.parse().unwrap(),
            prefix: 24,
            global,
            usable: true,
        }
    }

    #[test]
    fn virtual_addresses_are_never_the_source() {
        let interface = Interface {
            addresses: vec![
                entry("10.0.0.1", true),
                entry("10.0.0.9", false),
                entry("10.0.0.2", true),
            ],
            ..Interface::default()
        };
        let vip: IpAddr = "10.0.0.1".parse().unwrap();
        let primary = interface.primary_address(Family::V4, |address| address == vip);
        assert_eq!(primary, "10.0.0.2".parse().ok());
        assert_eq!(interface.primary_address(Family::V4, |_| true), None);
        assert_eq!(interface.primary_address(Family::V6, |_| false), None);
    }

    #[test]
    fn ipv6_adverts_come_from_a_link_local_address_that_is_really_ours() {
        let mut tentative = entry("fe80::1", false);
        tentative.usable = false;
        let mut interface = Interface {
            addresses: vec![entry("2001:db8::1", true), tentative],
            ..Interface::default()
        };
        let source = |interface: &Interface| interface.primary_address(Family::V6, |_| false);
        assert_eq!(source(&interface), None, "not yet");
        interface.addresses[1].usable = true;
        assert_eq!(source(&interface), "fe80::1".parse().ok());
    }
}
