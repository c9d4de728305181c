//! Where an instance lives: its interface found and lost, its MAC, and what it has on which interface.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    sync::Arc,
};

use vrrp_common::{
    contract::{Family, PeerLimits},
    election::State,
    vrrp::PRIORITY_OWNER,
};

use super::{
    ports::Ports,
    reload::Known,
    supervisor::{Supervised, VirtualAddresses},
};
use crate::{
    dataplane::{Attachment, Dataplane, DataplaneError, Elsewhere, Place, Routed},
    election::{Command, ElectionHandle, Home},
    net::{Belonging, Interface, InterfaceTable, Route, Rule, VirtualAddress},
    remains::Placed,
};

impl Supervised {
    /// Notices addresses of an owner that are there before it takes part: they are the machine's own.
    /// Says whether there are new ones.
    pub(super) fn notice_own(&mut self, table: &InterfaceTable) -> bool {
        if self.instance.priority != PRIORITY_OWNER || self.told.started {
            return false;
        }
        let known = self.own.len();
        let there = |entry: &&VirtualAddress| {
            let interface = table.by_name(self.device_of(entry));
            let is_there = interface.is_some_and(|interface| interface.carries(entry.address));
            is_there && !self.not_own.contains(&entry.address)
        };
        let found: Vec<IpAddr> = self
            .addresses()
            .filter(there)
            .map(|entry| entry.address)
            .collect();
        self.own.extend(found);
        self.own.len() > known
    }

    /// At the start, when nothing is left of a daemon before: an address of another prefix length is not
    /// what a daemon has put there, but this machine's own. Only an owner may have that.
    pub(super) fn notice_own_of_others(&mut self, table: &InterfaceTable) {
        if self.inherits() || self.is_owner() {
            return;
        }
        let addresses = self.addresses();
        let found = addresses.filter(|entry| self.is_found_as_own(entry, table));
        let own: Vec<IpAddr> = found.map(|entry| entry.address).collect();
        self.own.extend(own);
    }

    /// Whether an address that is there is the machine's own; one that may be a left-over is told.
    fn is_found_as_own(&self, entry: &VirtualAddress, table: &InterfaceTable) -> bool {
        let (name, device, address) = (&self.instance.name, self.device_of(entry), entry.address);
        let interface = table.by_name(device);
        match interface.and_then(|interface| interface.prefix_of(address)) {
            Some(prefix) if prefix == entry.prefix => {
                tracing::warn!(
                    "({name}) {address} is on {device} already: it is taken for a left-over, and comes and \
                     goes with mastership from now on"
                );
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// On a reload: addresses that are new to it are the machine's own where they are there although nobody
    /// of us has put them there. What is no longer there is nobody's.
    pub(super) fn notice_own_anew(
        &mut self,
        table: &InterfaceTable,
        known: &Known,
        before: &BTreeSet<IpAddr>,
    ) {
        let carries = |entry: &VirtualAddress| {
            let interface = table.by_name(self.device_of(entry));
            interface.is_some_and(|interface| interface.carries(entry.address))
        };
        let mut own = BTreeSet::new();
        for entry in self.addresses().filter(|entry| carries(entry)) {
            let address = entry.address;
            let is_known = self.own.contains(&address);
            let is_new = !before.contains(&address)
                && !known.is_ours(address, self.device_of(entry))
                && (self.is_owner()
                    || known.own.contains(&address)
                    || self.is_found_as_own(entry, table));
            if is_known || is_new {
                own.insert(address);
            }
        }
        if self.is_owner() {
            self.own.extend(own);
        } else {
            self.own = own;
        }
        let addresses = self.addresses();
        let ours = addresses.filter(|it| known.is_ours(it.address, self.device_of(it)));
        self.not_own = ours.map(|it| it.address).collect();
    }

    /// On a reload: gives up what it no longer has, before anybody takes anything. Says whether there was
    /// something.
    pub(super) fn give_up(&mut self, table: &InterfaceTable, election: &ElectionHandle) -> bool {
        let wanted = self.belongings(table);
        let is_kept = |it: &&Belonging| wanted.iter().any(|wanted| wanted.is_alike(it));
        let kept: Arc<[Belonging]> = self
            .told
            .belongings
            .iter()
            .filter(is_kept)
            .cloned()
            .collect();
        if kept.len() == self.told.belongings.len() {
            return false;
        }
        // Nobody else takes off what it gives up.
        let stays: BTreeSet<_> = kept.iter().filter_map(Belonging::address).collect();
        self.present.retain(|it| stays.contains(it));
        self.told.belongings = kept.clone();
        election.send(Command::Move(self.id, self.told.home, kept));
        true
    }

    /// Why it cannot take part: it names an address that is this machine's own.
    pub(super) fn conflict(&self) -> Option<String> {
        let address = self.own.first().filter(|_| !self.is_owner())?;
        Some(format!(
            "{address} is this machine's own address: only priority 255 may have it"
        ))
    }

    fn is_owner(&self) -> bool {
        self.instance.priority == PRIORITY_OWNER
    }

    /// The addresses that are its to put in place and to guard.
    fn served(&self) -> impl Iterator<Item = &VirtualAddress> {
        let all = self.addresses();
        all.filter(|entry| self.is_owner() || !self.own.contains(&entry.address))
    }

    /// The addresses that it may leave on its interface.
    pub(super) fn placed(&self, table: &InterfaceTable) -> impl Iterator<Item = Placed> {
        self.addresses()
            .filter(move |entry| !self.own.contains(&entry.address))
            .map(move |entry| {
                let device = self.device_of(entry);
                let interface = table.by_name(device);
                Placed {
                    interface: device.to_owned(),
                    ifindex: interface.map_or(0, |interface| interface.index),
                    address: entry.address,
                }
            })
    }

    /// The interface that an address is on.
    fn device_of<'a>(&'a self, entry: &'a VirtualAddress) -> &'a str {
        entry
            .interface
            .as_deref()
            .unwrap_or(&self.instance.interface)
    }

    /// The other interfaces that it has something on, and whether each must be up.
    pub(super) fn other_interfaces(&self) -> BTreeMap<&str, bool> {
        let mut list = BTreeMap::new();
        let addresses = self.addresses();
        let addresses = addresses.filter_map(|it| Some((it.interface.as_deref()?, it.tracked)));
        let routes = self.instance.routes.iter();
        let routes = routes.flat_map(|it| it.interfaces().map(|name| (name, it.tracked)));
        for (name, tracked) in addresses.chain(routes) {
            if name != self.instance.interface {
                *list.entry(name).or_default() |= tracked;
            }
        }
        list
    }

    /// What it has as MASTER, as far as the interfaces are there.
    fn belongings(&self, table: &InterfaceTable) -> Arc<[Belonging]> {
        let address = |entry: &VirtualAddress| {
            let (ifindex, mac) = match &entry.interface {
                None => (self.home.ifindex, self.home.mac),
                Some(name) => table.by_name(name).map(|it| (it.index, it.mac))?,
            };
            (ifindex != 0).then(|| Belonging::Address {
                ifindex,
                mac,
                entry: entry.clone(),
            })
        };
        let addresses = self.served().filter_map(address);
        collect(
            addresses,
            &self.instance.routes,
            &self.instance.rules,
            table,
        )
    }

    /// Whether its interface is no longer the one it lives on. It resigns there then, and takes its
    /// addresses off.
    pub(super) fn leaves_interface(
        &mut self,
        table: &InterfaceTable,
        election: &ElectionHandle,
    ) -> bool {
        let found = table.by_name(&self.instance.interface);
        let stays = found.is_some_and(|interface| {
            interface.index == self.home.ifindex && interface.generation == self.home.generation
        });
        let leaves = self.home.ifindex != 0 && !stays;
        if leaves {
            self.raise_fault(election);
        }
        leaves
    }

    /// Finds the interface, and makes the dataplane judge frames there. The program is attached
    /// afterwards, so that it never sees an interface without knowing what is ours on it.
    pub(super) fn follow_interface(
        &mut self,
        table: &InterfaceTable,
        dataplane: &mut Dataplane,
        vips: &VirtualAddresses,
    ) {
        let interface = table.by_name(&self.instance.interface);
        let home = interface.map_or(Home::default(), |interface| Home {
            ifindex: interface.index,
            generation: interface.generation,
            mac: self.mac_on(interface, dataplane),
            port: interface.mac,
            is_bridge: interface.kind == "bridge",
            source: self.source_on(interface, vips),
        });
        let moved = !home.is_on(&self.home);
        self.home = home;
        let elsewhere = self.elsewhere(table);
        let anew = std::mem::take(&mut self.is_routed_anew);
        if moved || anew || self.route_error.is_some() || elsewhere != self.routed_elsewhere {
            self.route_error = self
                .route(dataplane, elsewhere.clone())
                .err()
                .map(|error| error.to_string());
            self.routed_elsewhere = elsewhere;
        }
        if moved && self.instance.promote_secondaries && self.home.ifindex != 0 {
            self.promote_secondaries();
        }
    }

    /// Its addresses on other interfaces than the one of the adverts.
    fn elsewhere(&self, table: &InterfaceTable) -> Vec<Elsewhere> {
        let found = |entry: &VirtualAddress| {
            let interface = table.by_name(entry.interface.as_deref()?)?;
            Some(Elsewhere {
                place: Place {
                    ifindex: interface.index,
                    vlan: 0,
                },
                mac: interface.mac,
                address: entry.address,
            })
        };
        self.served().filter_map(found).collect()
    }

    /// `promote_secondaries` is the one sysctl that is ever set, because it is asked for by name.
    pub(super) fn promote_secondaries(&self) {
        let interface = &self.instance.interface;
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries");
        if let Err(error) = fs::write(&path, "1") {
            tracing::warn!("({}) set {path}: {error}", self.instance.name);
        }
    }

    /// The virtual MAC where it can be kept, else the interface's.
    fn mac_on(&self, interface: &Interface, dataplane: &Dataplane) -> [u8; 6] {
        let attachment = dataplane.attachment(interface.index);
        let possible = attachment.is_none_or(|it| it.no_virtual_mac().is_none());
        let virtual_mac = self.instance.virtual_mac.filter(|_| possible);
        virtual_mac.unwrap_or(interface.mac)
    }

    /// Once the interface is attached it is known whether a virtual MAC can be kept there.
    pub(super) fn choose_mac(&mut self, table: &InterfaceTable, dataplane: &Dataplane) {
        let Some(interface) = table.by_index(self.home.ifindex) else {
            return;
        };
        let mac = self.mac_on(interface, dataplane);
        let attachment = dataplane.attachment(interface.index);
        let why = attachment.and_then(Attachment::no_virtual_mac);
        if self.instance.virtual_mac.is_some()
            && self.home.mac != mac
            && let Some(why) = why
        {
            tracing::warn!(
                "({}) use_vmac: no virtual MAC on {}: {why}; the interface's own is used",
                self.instance.name,
                interface.name
            );
        }
        self.home.mac = mac;
    }

    fn route(
        &self,
        dataplane: &mut Dataplane,
        elsewhere: Vec<Elsewhere>,
    ) -> Result<(), DataplaneError> {
        if self.home.ifindex == 0 {
            dataplane.unroute(self.slot);
            return Ok(());
        }
        let unicast = self.instance.unicast.as_ref();
        let checked = unicast.filter(|unicast| unicast.checks_peers);
        let peers = checked.into_iter().flat_map(|unicast| &unicast.peers);
        let listed = self.instance.accept_from.iter();
        let limits = |min_ttl, max_ttl| PeerLimits {
            min_ttl,
            max_ttl,
            reserved: [0; 2],
        };
        let routed = Routed {
            place: Place {
                ifindex: self.home.ifindex,
                vlan: 0,
            },
            family: self.instance.family(),
            vrid: self.instance.vrid,
            vips: self
                .served()
                .filter(|entry| entry.interface.is_none())
                .map(|entry| entry.address)
                .collect(),
            elsewhere,
            virtual_mac: self.instance.virtual_mac,
            peers: peers
                .map(|peer| (peer.address, limits(peer.min_ttl, peer.max_ttl)))
                .chain(listed.map(|address| (*address, limits(0, u8::MAX))))
                .collect(),
        };
        dataplane.route(self.slot, routed)
    }

    /// The address adverts come from: the configured one while it is there; else not a virtual one,
    /// unless all there is on the interface is the address of an owner, which is this machine's own.
    fn source_on(&self, interface: &Interface, vips: &VirtualAddresses) -> Option<IpAddr> {
        if let Some(configured) = self.instance.source {
            return interface.has(configured).then_some(configured);
        }
        let family = self.instance.family();
        interface
            .primary_address(family, |address| vips.all.contains(&address))
            .or_else(|| {
                interface.primary_address(family, |address| {
                    vips.all.contains(&address) && !vips.owned.contains(&address)
                })
            })
    }

    /// What a MASTER has is desired state: an address that somebody removes is put back.
    pub(super) fn reconcile(&mut self, table: &InterfaceTable) {
        if !self.is_master() {
            self.present.clear();
            return;
        }
        let name = self.instance.name.clone();
        for (ifindex, address) in self.told.belongings.iter().filter_map(Belonging::address) {
            let Some(interface) = table.by_index(ifindex) else {
                continue;
            };
            if interface.carries(address) {
                self.present.insert((ifindex, address));
            } else if self.present.remove(&(ifindex, address)) {
                let device = &interface.name;
                tracing::warn!(
                    "({name}) somebody removed {address} from {device}; putting it back"
                );
                self.restore.ask();
            }
        }
    }

    /// Whether an address that was there is not in the table.
    pub(super) fn misses(&self, table: &InterfaceTable) -> bool {
        let mut belongings = self.told.belongings.iter().filter_map(Belonging::address);
        self.is_master()
            && belongings.any(|(ifindex, address)| {
                let interface = table.by_index(ifindex);
                self.present.contains(&(ifindex, address))
                    && interface.is_some_and(|interface| !interface.carries(address))
            })
    }

    pub(super) fn is_master(&self) -> bool {
        self.last_transition
            .is_some_and(|entered| entered.state == State::Master)
    }

    /// Says where the instance is, before anything is attached there.
    pub(super) fn announce_home(
        &mut self,
        table: &InterfaceTable,
        ports: &Ports,
        election: &ElectionHandle,
    ) {
        self.look_for_faults(table, ports);
        self.tell_home(table, election);
    }

    /// A fault first: what is to be said and removed belongs to the old home. An interface that was
    /// made anew counts as one, however fast.
    pub(super) fn tell_home(&mut self, table: &InterfaceTable, election: &ElectionHandle) {
        let made_anew = self.told.home.ifindex != 0 && !self.home.is_on(&self.told.home);
        if !self.faults.is_empty() || made_anew {
            self.raise_fault(election);
        }
        let belongings = self.belongings(table);
        if self.home != self.told.home || belongings != self.told.belongings {
            self.told.home = self.home;
            self.told.belongings = belongings.clone();
            election.send(Command::Move(self.id, self.home, belongings));
        }
    }

    pub(super) fn no_source(&self, interface: &str) -> String {
        match (self.instance.source, self.instance.family()) {
            (Some(address), _) => format!("{address} is not on interface {interface}"),
            (None, Family::V4) => format!("interface {interface} has no IPv4 address of its own"),
            (None, Family::V6) => {
                format!("interface {interface} has no link-local IPv6 address of its own yet")
            }
        }
    }
}

/// Addresses, then routes whose interfaces are there, then rules: the order in which they are added.
pub(super) fn collect(
    addresses: impl Iterator<Item = Belonging>,
    routes: &[Route],
    rules: &[Rule],
    table: &InterfaceTable,
) -> Arc<[Belonging]> {
    let routes = routes.iter().filter_map(|route| found_route(route, table));
    let rules = rules.iter().cloned().map(Belonging::Rule);
    addresses.chain(routes).chain(rules).collect()
}

/// A route with its interfaces; `None` while one of them is not there.
fn found_route(route: &Route, table: &InterfaceTable) -> Option<Belonging> {
    let index_of = |name: &Option<String>| match name {
        None => Some(0),
        Some(name) => table.by_name(name).map(|interface| interface.index),
    };
    let hops = route.hops.iter().map(|hop| index_of(&hop.interface));
    Some(Belonging::Route {
        route: route.clone(),
        hops: hops.collect::<Option<_>>()?,
    })
}
