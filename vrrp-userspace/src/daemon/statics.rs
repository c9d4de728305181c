//! `static_ipaddress`, `static_routes`, `static_rules`: there while the daemon runs, whatever the state
//! of any instance.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use tokio::sync::oneshot;

use super::{home::collect, reload::Known, restore::Restore};
use crate::{
    config::model,
    election::Settled,
    net::{Belonging, Change, InterfaceTable, Job, Refused, Removed, VirtualAddress, Worker},
    remains::Placed,
};

/// What is kept in place.
pub(super) struct Statics {
    wanted: model::Statics,
    worker: Worker<Settled>,
    placed: Arc<[Belonging]>,
    own: BTreeSet<IpAddr>,
    pub(super) restore: Restore,
}

impl Statics {
    pub(super) fn new(wanted: model::Statics, worker: Worker<Settled>) -> Self {
        Self {
            wanted,
            worker,
            placed: Arc::new([]),
            own: BTreeSet::new(),
            restore: Restore::default(),
        }
    }

    /// Follows another configuration: what is no longer wanted goes; the rest comes with the next review.
    /// Addresses that are known to be ours are not the machine's own.
    pub(super) async fn change(
        &mut self,
        wanted: model::Statics,
        table: &InterfaceTable,
        known_before: &Known,
    ) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        let known = |entry: &VirtualAddress| {
            let mut all = before.addresses.iter();
            all.any(|it| it.address == entry.address && it.interface == entry.interface)
        };
        let there = |entry: &&VirtualAddress| {
            let interface = entry.interface.as_deref();
            let interface = interface.and_then(|name| table.by_name(name));
            interface.is_some_and(|interface| interface.carries(entry.address))
        };
        let addresses = self.wanted.addresses.iter();
        let is_ours = |entry: &&VirtualAddress| {
            let interface = entry.interface.as_deref().unwrap_or_default();
            known_before.is_ours(entry.address, interface)
        };
        let own = addresses.filter(|entry| !known(entry)).filter(there);
        let own = own.filter(|entry| !is_ours(entry));
        self.own.extend(own.map(|entry| entry.address));
        let found = self.found(table);
        let is_gone = |it: &&Belonging| !found.iter().any(|kept| kept.is_alike(it));
        let gone: Arc<[Belonging]> = self.placed.iter().filter(is_gone).cloned().collect();
        if !gone.is_empty() {
            let kept = std::mem::replace(&mut self.placed, gone);
            self.take_away().await;
            self.placed = kept.iter().filter(|it| !is_gone(it)).cloned().collect();
        }
        let wanted: BTreeSet<IpAddr> = self.wanted.addresses.iter().map(|it| it.address).collect();
        self.own.retain(|address| wanted.contains(address));
    }

    /// Whether an address that a daemon before has put in place is still wanted there.
    pub(super) fn want(&self, placed: &Placed) -> bool {
        self.wanted.addresses.iter().any(|entry| {
            entry.address == placed.address && entry.interface.as_deref() == Some(&placed.interface)
        })
    }

    /// Notices addresses that are there before the daemon has put any in place, and that none before it
    /// has put there: they are the machine's own.
    pub(super) fn notice_own(&mut self, table: &InterfaceTable, before: &BTreeSet<Placed>) {
        let there = |entry: &&VirtualAddress| {
            let interface = entry.interface.as_deref();
            let interface = interface.and_then(|name| table.by_name(name));
            interface.is_some_and(|interface| interface.carries(entry.address))
        };
        let is_left = |entry: &&VirtualAddress| {
            before.iter().any(|placed| {
                placed.address == entry.address
                    && Some(&*placed.interface) == entry.interface.as_deref()
            })
        };
        let own = self.wanted.addresses.iter().filter(there);
        let own = own.filter(|entry| !is_left(entry));
        self.own = own.map(|entry| entry.address).collect();
    }

    /// Addresses that are the machine's own.
    pub(super) const fn own(&self) -> &BTreeSet<IpAddr> {
        &self.own
    }

    /// The addresses that it may leave.
    pub(super) fn placed(&self, table: &InterfaceTable) -> Vec<Placed> {
        let addresses = self.wanted.addresses.iter();
        let addresses = addresses.filter(|entry| !self.own.contains(&entry.address));
        let placed = addresses.filter_map(|entry| {
            let interface = entry.interface.clone()?;
            Some(Placed {
                ifindex: table.by_name(&interface).map_or(0, |found| found.index),
                interface,
                address: entry.address,
            })
        });
        placed.collect()
    }

    /// Whether there is a route or a rule that somebody could remove.
    pub(super) const fn has_routes(&self) -> bool {
        !self.wanted.routes.is_empty() || !self.wanted.rules.is_empty()
    }

    /// Puts in place what its interfaces are there for, and notices addresses that are missing.
    pub(super) fn review(&mut self, table: &InterfaceTable) {
        let found = self.found(table);
        if found != self.placed {
            self.placed = found;
            self.put_in_place();
            return;
        }
        let is_missing = |(ifindex, address)| {
            let interface = table.by_index(ifindex);
            interface.is_some_and(|interface| !interface.carries(address))
        };
        if self
            .placed
            .iter()
            .filter_map(Belonging::address)
            .any(is_missing)
        {
            self.restore.ask();
        }
    }

    /// A route or a rule went.
    pub(super) fn look_for(&mut self, removed: &Removed) {
        let model::Statics { routes, rules, .. } = &self.wanted;
        let is_ours = removed.may_be_of(routes, rules);
        if is_ours {
            self.restore.ask();
        }
    }

    /// Puts everything in place; what is there already stays as it is.
    pub(super) fn put_in_place(&self) {
        if self.placed.is_empty() {
            return;
        }
        self.submit(Change::Add, |refused| {
            for Refused { what, error } in refused {
                tracing::error!("cannot add static {what}: {error}");
            }
        });
    }

    /// Takes everything away, and waits for that.
    pub(super) async fn take_away(&self) {
        let (sender, receiver) = oneshot::channel();
        self.submit(Change::Remove, move |refused| {
            for Refused { what, error } in refused {
                tracing::error!("cannot remove static {what}: {error}");
            }
            // Whoever waited may have given up.
            let _ = sender.send(());
        });
        // An error means that the worker has ended.
        let _ = receiver.await;
    }

    /// Takes routes and rules away, and waits for that: nobody but us knows them.
    pub(super) async fn take_routes_away(&mut self) {
        let is_route = |it: &&Belonging| it.address().is_none();
        let all = std::mem::replace(&mut self.placed, Arc::new([]));
        self.placed = all.iter().filter(is_route).cloned().collect();
        self.take_away().await;
        self.placed = all;
        // Where no other daemon comes after all, they come back.
        self.restore.ask();
    }

    fn submit(&self, change: Change, done: impl FnOnce(Vec<Refused>) + Send + 'static) {
        self.worker.submit(Job {
            change,
            belongings: self.placed.clone(),
            // What was there before us is the machine's own.
            keep_own: true,
            virtual_mac: None,
            done: Box::new(|refused| {
                done(refused);
                None
            }),
        });
    }

    fn found(&self, table: &InterfaceTable) -> Arc<[Belonging]> {
        let address = |entry: &VirtualAddress| {
            let interface = table.by_name(entry.interface.as_deref()?)?;
            Some(Belonging::Address {
                ifindex: interface.index,
                mac: interface.mac,
                entry: entry.clone(),
            })
        };
        let addresses = self.wanted.addresses.iter().filter_map(address);
        collect(addresses, &self.wanted.routes, &self.wanted.rules, table)
    }
}
