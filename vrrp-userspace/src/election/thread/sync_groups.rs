//! Sync groups on the election thread: their members looked at together, and given the same order.

use vrrp_common::{
    arbiter,
    election::{Event, group},
};

use super::routers::Routers;
use crate::{
    clock,
    election::{GroupSpec, Notice, RouterId, router::Router},
};

pub(super) struct Group {
    spec: GroupSpec,
    /// Counts promotions.
    epoch: u64,
    /// What the arbiter was told last.
    told: Told,
    /// The number of that.
    number: u64,
    /// The end of its permit has been dealt with.
    is_over: bool,
}

/// What an arbiter was told that a group wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// Nothing yet.
    #[default]
    Nothing,
    /// To be MASTER, as a candidate of this priority.
    Wants(u8),
    /// Nothing of it.
    Declines,
}

impl Routers {
    /// Lets the members of sync groups act together. Each order can call for another.
    pub(super) fn settle_groups(&mut self) {
        while let Some(index) = self.stirred.pop_first() {
            if let Some(order) = self.order_for(index) {
                self.give(index, order);
            }
            self.ask_for_permit(index);
        }
    }

    /// A group whose members go on as MASTER has been promoted before.
    pub(super) fn resume_group(&mut self, id: RouterId) {
        let Some(group) = self.group_of.get(&id) else {
            return;
        };
        let entry = self.by_id.get(id);
        let is_master = entry.is_some_and(|it| it.router.stance() == group::Stance::Master);
        if let Some(group) = self.groups.get_mut(*group)
            && group.epoch == 0
            && is_master
        {
            group.epoch = 1;
            if let Some(slot) = self.tools.slots.get(group.spec.slot) {
                slot.store_epoch(group.epoch);
            }
        }
    }

    /// When the next permit of an arbiter ends.
    pub(super) fn permit_deadline(&self) -> Option<u64> {
        let running = self.groups.iter().filter(|group| !group.is_over);
        let ends = running.filter_map(|group| group.spec.permit_until_ns);
        ends.filter(|until| *until != arbiter::FOREVER).min()
    }

    /// Whose permit is over must look at itself.
    pub(super) fn end_permits(&mut self, now_ns: u64) {
        for (index, group) in self.groups.iter_mut().enumerate() {
            let until = group.spec.permit_until_ns;
            if !group.is_over && until.is_some_and(|until| until <= now_ns) {
                group.is_over = true;
                self.stirred.insert(index);
            }
        }
    }

    /// An arbiter has answered. The kernel knows before anybody is promoted.
    pub(super) fn permit(&mut self, slot: u32, until_ns: u64, number: u64) {
        let found = self.groups.iter_mut().enumerate();
        let Some((index, group)) = found
            .filter(|(_, group)| group.spec.permit_until_ns.is_some())
            .find(|(_, group)| group.spec.slot == slot)
        else {
            return;
        };
        // Whoever has declined since has no permit, whatever the arbiter did not know yet.
        if number >= group.number {
            self.bind(index, until_ns);
            self.stirred.insert(index);
        }
    }

    fn bind(&mut self, index: usize, until_ns: u64) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        group.spec.permit_until_ns = Some(until_ns);
        group.is_over = until_ns <= clock::now_ns();
        for id in group.spec.members.clone() {
            self.with(id, |router, tools| router.bound_by(until_ns, tools));
        }
    }

    /// Tells the arbiter what the group wants, where that is new. One that declines is silent before that is
    /// told: the lease may be somebody else's from then on.
    fn ask_for_permit(&mut self, index: usize) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        if group.spec.permit_until_ns.is_none() {
            return;
        }
        let members = group.spec.members.iter();
        let members = members.filter_map(|id| self.by_id.get(*id));
        // Who has not taken up yet where the daemon before left off wants what that one wanted.
        if members
            .clone()
            .any(|entry| entry.router.awaits_inheritance())
        {
            return;
        }
        let stances = members.clone().map(|entry| entry.router.stance());
        let priorities = members.map(|entry| entry.router.candidacy());
        let wanted = group::wants_permit(&stances).then(|| priorities.min().unwrap_or(0));
        let told = wanted.map_or(Told::Declines, Told::Wants);
        if group.told == told {
            return;
        }
        self.wants += 1;
        group.told = told;
        group.number = self.wants;
        let (slot, number) = (group.spec.slot, group.number);
        if wanted.is_none() {
            self.bind(index, 0);
        }
        self.tools.notify(Notice::Wants {
            slot,
            priority: wanted,
            number,
        });
    }

    fn order_for(&mut self, index: usize) -> Option<group::Order> {
        let Group { spec, .. } = self.groups.get(index)?;
        let members = spec.members.clone();
        let permit = spec.permit_until_ns;
        let mut routers = members.iter().filter_map(|id| self.by_id.get(*id));
        if routers.any(|entry| entry.router.awaits_inheritance()) {
            return None;
        }
        let decide = |routers: &Self| {
            let stances = members
                .iter()
                .filter_map(|id| Some(routers.by_id.get(*id)?.router.stance()));
            match permit {
                Some(until) => group::decide_with_permit(&stances, clock::now_ns() < until),
                None => group::decide(&stances),
            }
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
            let slot = self.by_id.get(id).map(|entry| entry.router.slot());
            let stays = specs.iter().any(|spec| spec.members.contains(&id));
            if let Some(slot) = slot.filter(|_| !stays)
                && let Some(slot) = self.tools.slots.get(slot)
            {
                slot.join_group(None);
            }
            if !stays {
                self.with(id, |router, tools| router.bound_by(arbiter::FOREVER, tools));
            }
        }
        self.stirred.clear();
        for spec in specs {
            let known = before.iter().find(|group| group.spec.slot == spec.slot);
            let mut spec = spec;
            if let Some(until) = known.and_then(|group| group.spec.permit_until_ns)
                && spec.permit_until_ns.is_some()
            {
                spec.permit_until_ns = Some(until);
            }
            let epoch = known.map_or(0, |group| group.epoch);
            let told = known.map_or((Told::Nothing, 0), |group| (group.told, group.number));
            self.add_group(spec, epoch, told);
            self.stirred.insert(self.groups.len() - 1);
        }
    }

    /// The members go on as they stand: a group whose members are MASTER has been promoted before.
    fn add_group(&mut self, spec: GroupSpec, epoch: u64, (told, number): (Told, u64)) {
        let index = self.groups.len();
        let is_master = |id: &RouterId| {
            let entry = self.by_id.get(*id);
            entry.is_some_and(|entry| entry.router.stance() == group::Stance::Master)
        };
        let epoch = epoch.max(u64::from(spec.members.iter().any(is_master)));
        // The epoch first: a group that was never promoted counts as beaten.
        if let Some(slot) = self.tools.slots.get(spec.slot) {
            slot.store_epoch(epoch);
        }
        for id in &spec.members {
            self.group_of.insert(*id, index);
            let slot = self.by_id.get(*id).map(|entry| entry.router.slot());
            if let Some(slot) = slot.and_then(|slot| self.tools.slots.get(slot)) {
                slot.join_group(Some(spec.slot));
            }
        }
        let until_ns = spec.permit_until_ns.unwrap_or(arbiter::FOREVER);
        for id in spec.members.clone() {
            self.with(id, |router, tools| router.bound_by(until_ns, tools));
        }
        self.groups.push(Group {
            spec,
            epoch,
            told,
            number,
            is_over: false,
        });
    }
}
