//! Going on where the daemon before left off.

use std::time::Duration;

use vrrp_common::{
    contract::Family,
    election::{State, Tenure},
    vrrp::PRIORITY_OWNER,
};

use super::{Daemon, service_manager, supervisor::Supervised};
use crate::{
    clock,
    config::model::Instance,
    dataplane::SlotTable,
    election::Command,
    handover::{self, Handover, InstanceLeft, Parcel, Way},
    net::InterfaceTable,
    remains::Placed,
    run_dir::{self, Claim},
};

/// What is older than this tells nothing of the present: only counters go on.
const FRESH: Duration = Duration::from_secs(20);

impl Daemon {
    /// The addresses that stay, because whoever has them goes on as MASTER, and has them just so.
    pub(super) fn inherited(&self, placed: &Placed, table: &InterfaceTable) -> bool {
        let interface = table.by_name(&placed.interface);
        let prefix = interface.and_then(|it| it.prefix_of(placed.address));
        let mut masters = self.supervised.values().filter(|it| it.inherits());
        masters.any(|supervised| {
            let is_placed = supervised
                .placed(table)
                .any(|it| it.interface == placed.interface && it.address == placed.address);
            let mut addresses = supervised.addresses();
            is_placed
                && addresses.any(|it| it.address == placed.address && Some(it.prefix) == prefix)
        })
    }

    /// The programs that were there are replaced by now: what their slots heard last is not lost.
    pub(super) fn end_succession(&mut self) {
        if !std::mem::take(&mut self.succeeds) {
            return;
        }
        self.election.send(Command::CatchUp);
        for supervised in self.supervised.values_mut() {
            supervised.inheritance = None;
        }
    }
}

impl Supervised {
    /// Goes on with what was left of the same instance, if something was.
    pub(super) fn take_up(&mut self, left: &[InstanceLeft], ifindex: Option<u32>) {
        // Out by hand is whoever has the name, whatever else it is by now.
        let mut namesakes = left.iter().filter(|left| left.name == self.instance.name);
        self.drained = namesakes.any(|left| left.drained);
        let same = left.iter().find(|left| is_same(left, &self.instance));
        if let Some(left) = same {
            self.priority_by_hand = left.priority_by_hand;
        }
        let Some(left) = same.filter(|left| Some(left.ifindex) == ifindex) else {
            return;
        };
        let Some(inheritance) = &left.inheritance else {
            return;
        };
        self.inheritance = Some(inheritance.clone());
        if inheritance.tenure.is_none() {
            return;
        }
        self.last_transition = left.transition.map(|mut transition| {
            transition.id = self.id;
            transition
        });
        let own = left.own.iter().copied();
        let listed: Vec<_> = self.addresses().map(|entry| entry.address).collect();
        self.own.extend(own.filter(|own| listed.contains(own)));
        if let Some(inheritance) = &mut self.inheritance {
            inheritance.told = left.transition.map(|transition| transition.state);
            inheritance.announces = left.addresses != listed;
        }
        self.told_already(left.priority);
    }

    /// Whether it goes on as MASTER.
    pub(super) fn inherits(&self) -> bool {
        self.tenure().is_some_and(|tenure| tenure.reign.is_some())
    }

    /// The timers that it goes on with.
    pub(super) fn tenure(&self) -> Option<&Tenure> {
        self.inheritance.as_ref()?.tenure.as_ref()
    }
}

/// What is the same virtual router on the wire goes on; anything else is another one.
fn is_same(left: &InstanceLeft, instance: &Instance) -> bool {
    left.name == instance.name
        && left.interface == instance.interface
        && left.vrid == instance.vrid
        && left.version == instance.version as u8
        && left.is_v6 == (instance.family() == Family::V6)
        && left.virtual_mac == instance.virtual_mac
        && (left.priority == PRIORITY_OWNER) == (instance.priority == PRIORITY_OWNER)
}

/// What was handed over, with the slots as the programs of the daemon before write them.
pub(super) fn unpack(
    parcel: Option<Parcel>,
    claim: &Claim,
) -> (Option<Handover>, Option<SlotTable>) {
    run_dir::forget_restart(claim.directory());
    let Some(mut parcel) = parcel else {
        return (None, None);
    };
    let slots = parcel.slots.map(SlotTable::of_another);
    let slots = slots.and_then(|slots| {
        slots
            .inspect_err(|error| tracing::warn!("the slots of the daemon before: {error}"))
            .ok()
    });
    let now_ns = clock::now_ns();
    let Handover {
        version, made_ns, ..
    } = &parcel.handover;
    let age = Duration::from_nanos(now_ns.saturating_sub(*made_ns));
    match parcel.way {
        Way::Crash => {
            tracing::warn!("xvrrp {version} did not end in order; going on with what it has left");
            for left in &mut parcel.handover.instances {
                left.look_at_the_slot(slots.as_ref(), now_ns);
            }
        }
        Way::Stored => {
            service_manager::let_go(&[handover::STORED_STATE, handover::STORED_SLOTS]);
            tracing::info!(
                "going on where xvrrp {version} left off {} ms ago",
                age.as_millis()
            );
        }
        Way::Exec => {
            tracing::info!(
                "going on where xvrrp {version} left off {} ms ago",
                age.as_millis()
            );
        }
    }
    let handover = &mut parcel.handover;
    if age > FRESH && parcel.way != Way::Crash {
        for left in &mut handover.instances {
            if let Some(inheritance) = &mut left.inheritance {
                inheritance.tenure = None;
            }
        }
    }
    let goes_on = |left: &InstanceLeft| left.inheritance.as_ref()?.tenure;
    if handover.instances.iter().find_map(goes_on).is_none() {
        // What a check has said belongs to its time.
        handover.checks.clear();
    }
    (Some(parcel.handover), slots)
}

impl InstanceLeft {
    /// After a crash the slot says what is true: who was MASTER, at which priority.
    fn look_at_the_slot(&mut self, slots: Option<&SlotTable>, now_ns: u64) {
        let Some(inheritance) = &mut self.inheritance else {
            return;
        };
        let told = self
            .transition
            .is_some_and(|transition| transition.state == State::Master);
        let slot = slots.and_then(|slots| slots.get(inheritance.slot));
        let Some(slot) = slot else {
            return;
        };
        inheritance.tenure = Tenure::of_a_crash(slot, self.down_timer_adverts, told, now_ns);
        if inheritance.tenure.is_some() {
            inheritance.state = State::Master;
            self.priority = slot.published().priority;
            tracing::info!(
                "({}) still MASTER: the lease is not over, and nobody has beaten us",
                self.name
            );
        }
    }
}
