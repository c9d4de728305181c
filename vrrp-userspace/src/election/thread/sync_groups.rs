//! Sync groups on the election thread: their members looked at together, and given the same order.

use vrrp_common::election::{Event, group};

use super::{Entry, Group, Router, Routers};
use crate::election::{GroupSpec, RouterId};

impl Routers {
    /// Lets the members of sync groups act together. Each order can call for another.
    pub(super) fn settle_groups(&mut self) {
        while let Some(index) = self.stirred.pop_first() {
            if let Some(order) = self.order_for(index) {
                self.give(index, order);
            }
        }
    }

    /// A group whose members go on as MASTER has been promoted before.
    pub(super) fn resume_group(&mut self, id: RouterId) {
        let Some(group) = self.group_of.get(&id) else {
            return;
        };
        let is_master = |entry: &Entry| entry.router.stance() == group::Stance::Master;
        if let Some(group) = self.groups.get_mut(*group)
            && group.epoch == 0
            && self.by_id.get(&id).is_some_and(is_master)
        {
            group.epoch = 1;
            if let Some(slot) = self.tools.slots.get(group.spec.slot) {
                slot.store_epoch(group.epoch);
            }
        }
    }

    fn order_for(&mut self, index: usize) -> Option<group::Order> {
        let members = self.groups.get(index)?.spec.members.clone();
        let mut routers = members.iter().filter_map(|id| self.by_id.get(id));
        if routers.any(|entry| entry.router.awaits_inheritance()) {
            return None;
        }
        let decide = |routers: &Self| {
            let stances = members
                .iter()
                .filter_map(|id| Some(routers.by_id.get(id)?.router.stance()));
            group::decide(&stances)
        };
        let order = decide(self)?;
        if order != group::Order::Promote {
            return Some(order);
        }
        // Whoever waits for the group has not looked since its own time was out.
        for id in &members {
            self.with(*id, Router::look);
        }
        self.stirred.remove(&index);
        decide(self)
    }

    fn give(&mut self, index: usize, order: group::Order) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        if order == group::Order::Promote {
            group.epoch += 1;
            if let Some(slot) = self.tools.slots.get(group.spec.slot) {
                slot.store_epoch(group.epoch);
            }
        }
        for id in group.spec.members.clone() {
            self.with(id, |router, tools| {
                router.handle(Event::Group(order), tools);
                router.look(tools);
            });
        }
    }

    /// Other groups than before. One that has the slot it had goes on counting its promotions.
    pub(super) fn regroup(&mut self, specs: Vec<GroupSpec>) {
        let before = std::mem::take(&mut self.groups);
        for id in std::mem::take(&mut self.group_of).into_keys() {
            let slot = self.by_id.get(&id).map(|entry| entry.router.slot());
            let stays = specs.iter().any(|spec| spec.members.contains(&id));
            if let Some(slot) = slot.filter(|_| !stays)
                && let Some(slot) = self.tools.slots.get(slot)
            {
                slot.join_group(None);
            }
        }
        self.stirred.clear();
        for spec in specs {
            let known = before.iter().find(|group| group.spec.slot == spec.slot);
            self.add_group(spec, known.map_or(0, |group| group.epoch));
            self.stirred.insert(self.groups.len() - 1);
        }
    }

    /// The members go on as they stand: a group whose members are MASTER has been promoted before.
    fn add_group(&mut self, spec: GroupSpec, epoch: u64) {
        let index = self.groups.len();
        let is_master = |id: &RouterId| {
            let entry = self.by_id.get(id);
            entry.is_some_and(|entry| entry.router.stance() == group::Stance::Master)
        };
        let epoch = epoch.max(u64::from(spec.members.iter().any(is_master)));
        // The epoch first: a group that was never promoted counts as beaten.
        if let Some(slot) = self.tools.slots.get(spec.slot) {
            slot.store_epoch(epoch);
        }
        for id in &spec.members {
            self.group_of.insert(*id, index);
            let slot = self.by_id.get(id).map(|entry| entry.router.slot());
            if let Some(slot) = slot.and_then(|slot| self.tools.slots.get(slot)) {
                slot.join_group(Some(spec.slot));
            }
        }
        self.groups.push(Group { spec, epoch });
    }
}
