//! The world compared with what the instances want of it: interfaces found and lost, programs
//! attached, faults weighed.

use std::{collections::BTreeMap, time::Duration};

use tokio::time;
use vrrp_common::vrrp::PRIORITY_OWNER;

use super::{
    Daemon,
    ports::Wanted,
    supervisor::{Supervised, VirtualAddresses},
};
use crate::net::{self, InterfaceTable, Removed};

/// How long a review waits for the election.
const IDLE_PATIENCE: Duration = Duration::from_millis(200);

impl Daemon {
    /// Compares every instance with the world and tells the election what changed.
    pub(super) async fn review(&mut self) {
        let table = self.interfaces.borrow_and_update().clone();
        self.leave_interfaces(&table).await;
        self.notice_own_addresses(&table);
        let vips = self.virtual_addresses();
        for supervised in self.supervised.values_mut() {
            supervised.follow_interface(&table, &mut self.dataplane, &vips);
            supervised.announce_home(&table, &self.ports, &self.election);
        }
        let wanted = self.wanted_interfaces(&table);
        if self.ports.lacks(&wanted) {
            // The slots say who we are then, and what was left on the interfaces is gone: a program
            // that is attached now finds its maps filled and nothing to hide.
            self.election.idle().await;
        }
        self.ports
            .review(&wanted, &table, &mut self.dataplane)
            .await;
        for supervised in self.supervised.values_mut() {
            supervised.choose_mac(&table, &self.dataplane);
            supervised.weigh(&table, &self.ports, &self.checks, &self.election);
        }
        self.look_for_removed(&table).await;
        self.statics.review(&table);
        if self.links.have_changed(&table) {
            self.look_for_routes(&Removed::Anything);
        }
    }

    /// Notices what somebody else has removed. What the election takes off takes others along in the kernel, and
    /// for a moment those are gone until it has put them back: so the kernel is asked once more when it has.
    /// Where that takes long, what comes then is a reason to look again.
    async fn look_for_removed(&mut self, table: &InterfaceTable) {
        let mut now = None;
        if self.supervised.values().any(|it| it.misses(table)) {
            let is_idle = time::timeout(IDLE_PATIENCE, self.election.idle()).await;
            if is_idle.is_err() {
                return;
            }
            now = net::read().await.ok();
            // Who has resigned meanwhile misses nothing.
            while let Ok(notice) = self.notices.try_recv() {
                self.notice(&notice);
            }
        }
        let table = now.as_ref().unwrap_or(table);
        for supervised in self.supervised.values_mut() {
            supervised.reconcile(table);
        }
    }

    /// Who has to leave an interface resigns and takes its addresses off before the fence goes. All
    /// leave before any arrives: one may get the other's interface.
    async fn leave_interfaces(&mut self, table: &InterfaceTable) {
        let mut leaving = Vec::new();
        for supervised in self.supervised.values_mut() {
            if supervised.leaves_interface(table, &self.election) {
                leaving.push(supervised.slot);
            }
        }
        if leaving.is_empty() {
            return;
        }
        self.election.idle().await;
        for slot in leaving {
            self.dataplane.unroute(slot);
        }
    }

    /// The interfaces that carry instances.
    fn wanted_interfaces(&self, table: &InterfaceTable) -> BTreeMap<u32, Wanted> {
        let mut list: BTreeMap<u32, Wanted> = BTreeMap::new();
        for supervised in self.supervised.values() {
            let Supervised { home, instance, .. } = supervised;
            for elsewhere in &supervised.routed_elsewhere {
                let ifindex = elsewhere.place.ifindex;
                let generation = table.by_index(ifindex).map(|it| it.generation);
                let wanted = list.entry(ifindex).or_default();
                wanted.generation = generation.unwrap_or_default();
            }
            if home.ifindex == 0 {
                continue;
            }
            let wanted = list.entry(home.ifindex).or_default();
            wanted.generation = home.generation;
            if instance.unicast.is_none() {
                wanted.groups.insert(instance.group);
                wanted.sources.extend(home.source);
            }
        }
        list
    }

    fn virtual_addresses(&self) -> VirtualAddresses {
        let mut vips = VirtualAddresses::default();
        for supervised in self.supervised.values() {
            for entry in supervised.addresses() {
                vips.all.insert(entry.address);
                if supervised.instance.priority == PRIORITY_OWNER {
                    vips.owned.insert(entry.address);
                }
            }
        }
        vips
    }
}
