//! What the machine asks for, in order.

use super::State;
use crate::slot::Standing;

/// One effect. The order in which they are returned is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store who we are in the slot, and advertise this priority from now on. Look at the slot
    /// again afterwards: what arrived just before was judged by the old rules.
    Publish(Standing),
    /// Store the lease; 0 silences the kernel within nanoseconds.
    Lease(u64),
    /// Send one advert. Report [`super::Event::Advertised`] if the kernel took it and the priority
    /// is not 0.
    Advertise {
        /// Our priority, or 0 to resign.
        priority: u8,
    },
    /// Put the addresses on the interface and report [`super::Event::Settled`] with this epoch.
    AddAddresses {
        /// The promotion they belong to.
        epoch: u64,
    },
    /// Take the addresses off the interface.
    RemoveAddresses,
    /// Announce every address this many times.
    Announce {
        /// Announcements per address.
        repeat: u32,
    },
    /// Tell people: an advert that loses was heard (`notify_master_rx_lower_pri`).
    HeardLesser,
    /// Tell people: a new state, and why.
    Entered(State, Cause),
}

/// Why a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cause {
    /// The daemon started.
    Startup,
    /// The daemon stops.
    Shutdown,
    /// Priority 255: the address owner does not wait.
    Owner,
    /// No advert that holds us down for Master_Down_Interval.
    MasterTimeout,
    /// The master resigned with priority 0.
    MasterResigned,
    /// An advert with a higher priority, or an equal one from a higher address.
    Beaten,
    /// We did not run for so long that another router may have taken over.
    Overslept,
    /// A tracked thing failed.
    FaultRaised,
    /// Nothing tracked fails any longer.
    FaultCleared,
    /// The arbiter does not allow to be MASTER any longer.
    Arbiter,
    /// Another member of the sync group left MASTER, or is in FAULT.
    Group,
}

/// The most actions one event can cause.
const CAPACITY: usize = 12;

/// An ordered list of actions, without allocation.
#[derive(Clone, Copy, Debug)]
pub struct Actions {
    list: [Option<Action>; CAPACITY],
    len: usize,
}

impl Actions {
    pub(super) const fn new() -> Self {
        Self {
            list: [None; CAPACITY],
            len: 0,
        }
    }

    /// Appends an action. The machine never produces more than fit; the tests would see one lost.
    pub(super) fn push(&mut self, action: Action) {
        debug_assert!(
            self.len < CAPACITY,
            "an event caused more actions than ever foreseen"
        );
        if let Some(place) = self.list.get_mut(self.len) {
            *place = Some(action);
            self.len += 1;
        }
    }

    /// The actions, in the order in which to carry them out.
    pub fn iter(&self) -> impl Iterator<Item = Action> + '_ {
        self.list.iter().flatten().copied()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
