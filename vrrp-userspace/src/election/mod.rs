//! The election thread: runs every virtual router's machine from `vrrp-common` and carries out
//! what it asks for. It waits for the doorbell, one timer, the netlink worker's reports and its mailbox,
//! and for nothing else: no files, no DNS, no log output, and netlink itself is the worker's business.

mod frames;
mod mistakes;
mod outbox;
mod pacer;
mod router;
mod scheduling;
mod thread;

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use vrrp_common::{
    election::{Cause, Event, Settings, State, Tenure},
    slot::{Facts, Heard, Rules},
    vrrp::ChecksumForm,
};

use crate::net::{Belonging, VirtualMac};
pub use mistakes::{Mistake, Noticed, address_of, reason};
pub use pacer::Pace;
pub use scheduling::Scheduling;
pub use thread::{Parts, start};

/// Names a virtual router towards the election thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouterId(pub u32);

/// Where a virtual router lives on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Interface index; 0 while the interface does not exist.
    pub ifindex: u32,
    /// Counts how often the interface with that index was made anew.
    pub generation: u32,
    /// The MAC that its addresses are at: the interface's, or a virtual one.
    pub mac: [u8; 6],
    /// MAC of the interface.
    pub port: [u8; 6],
    /// Whether the interface is a bridge.
    pub is_bridge: bool,
    /// Source of adverts: the interface's primary address, unless another is configured.
    pub source: Option<IpAddr>,
}

impl Home {
    /// Whether this is the same interface, whatever its addresses.
    #[must_use]
    pub const fn is_on(&self, other: &Self) -> bool {
        self.ifindex == other.ifindex && self.generation == other.generation
    }

    /// The virtual MAC, if it has one.
    #[must_use]
    pub fn virtual_mac(&self) -> Option<VirtualMac> {
        (self.mac != self.port).then_some(VirtualMac {
            ifindex: self.ifindex,
            mac: self.mac,
            on_bridge: self.is_bridge,
        })
    }
}

/// Everything the election thread needs of a virtual router.
#[derive(Clone, Debug)]
pub struct RouterSpec {
    /// Its name here.
    pub id: RouterId,
    /// Its slot in `MASTER_SEEN`.
    pub slot: u32,
    /// Where it lives.
    pub home: Home,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Effective priority to begin with.
    pub priority: u8,
    /// What it accepts, and so what it sends: version, interval, password, group.
    pub rules: Rules,
    /// Timers and preemption.
    pub settings: Settings,
    /// Checksum form to send.
    pub form: ChecksumForm,
    /// Whom adverts are sent to.
    pub audience: Audience,
    /// Adverts leave with the interface's MAC, whatever the addresses have (`vmac_xmit_base`).
    pub sends_from_port: bool,
    /// Addresses carried in adverts (`virtual_ipaddress`), in configured order.
    pub advertised: Vec<IpAddr>,
    /// The pauses between its announcements.
    pub pace: Pace,
    /// What it has as MASTER: addresses, the excluded ones too, routes and rules.
    pub belongings: Arc<[Belonging]>,
    /// The address owner: an address that is on the interface anyway stays there.
    pub owner: bool,
    /// What the daemon before has handed over of it.
    pub inheritance: Option<Inheritance>,
}

/// What a daemon hands over of a virtual router to the one that takes its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inheritance {
    /// Its slot, in the slots that are handed over with it.
    pub slot: u32,
    /// Its timers; `None` where it does not take part, or where the daemon crashed and nobody vouches
    /// for it any longer: then only what was counted goes on.
    pub tenure: Option<Tenure>,
    /// Its state.
    pub state: State,
    /// Why it is in that state.
    pub cause: Option<Cause>,
    /// Since when, in nanoseconds of `CLOCK_BOOTTIME`.
    pub since_ns: u64,
    /// What was counted.
    pub tally: Tally,
    /// The state that people were told last; another one is news to them.
    #[serde(default)]
    pub told: Option<State>,
    /// It has other addresses now, which nobody has heard of.
    #[serde(default)]
    pub announces: bool,
}

/// Whom adverts are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every member of a multicast group.
    Group(IpAddr),
    /// Each of these, with this TTL.
    Peers(Vec<IpAddr>, u8),
}

/// A sync group as the election thread holds it.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its slot in `MASTER_SEEN`.
    pub slot: u32,
    /// Its members.
    pub members: Vec<RouterId>,
    /// Until when an arbiter lets it be MASTER, in nanoseconds of `CLOCK_BOOTTIME`; `None` where it needs
    /// nobody's permit. One that has one already keeps it.
    pub permit_until_ns: Option<u64>,
}

/// The belongings of a virtual router are in place, or the kernel refused some.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// Whose.
    pub id: RouterId,
    /// The promotion they were added for.
    pub epoch: u64,
    /// How many the kernel refused.
    pub refused: u32,
}

/// What the rest of the daemon asks of the election thread.
pub enum Command {
    /// Takes a virtual router in, in INIT.
    Add(Box<RouterSpec>),
    /// Something happened to a virtual router.
    Tell(RouterId, Event),
    /// Its interface, MAC or source address changed, or where its belongings are.
    Move(RouterId, Home, Arc<[Belonging]>),
    /// Answers when everything asked for before has been done, addresses included. What follows here from an address
    /// that is in place may come a moment later.
    Idle(oneshot::Sender<()>),
    /// Reports every virtual router.
    Snapshot(oneshot::Sender<Vec<RouterSnapshot>>),
    /// Somebody removed a belonging of a MASTER: put it back.
    Restore(RouterId),
    /// The configuration of a virtual router changed; it is the same router on the same interface.
    Change(Box<RouterSpec>),
    /// From now on these are the sync groups.
    Regroup(Vec<GroupSpec>),
    /// An arbiter lets a group be MASTER.
    Permit {
        /// The group's slot.
        slot: u32,
        /// Until then; 0 = not.
        until_ns: u64,
        /// The last [`Notice::Wants`] that it knows of: an answer to an earlier one means nothing.
        number: u64,
    },
    /// Resigns one virtual router for good.
    Retire(RouterId),
    /// Vouches once more for every MASTER, then does nothing until [`Command::GoOn`], and says how
    /// everything stands.
    HandOver(oneshot::Sender<Vec<(RouterId, Inheritance)>>),
    /// Nobody took over: go on.
    GoOn,
    /// The programs of the daemon before have been replaced: look at what its slots heard last.
    CatchUp,
    /// Resigns everywhere, takes the addresses off and answers when the kernel has done so.
    Stop(oneshot::Sender<()>),
}

/// What the election thread reports on its own.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A virtual router entered a state.
    Entered(Transition),
    /// A group wants an arbiter's permit to be MASTER, or does not any longer.
    Wants {
        /// The group's slot.
        slot: u32,
        /// As a candidate of this priority; 0 = nobody needs to give way to it.
        priority: Option<u8>,
        /// Counts what was wanted, in all groups.
        number: u64,
    },
    /// An advert that loses was heard as MASTER.
    HeardLesser {
        /// The virtual router.
        id: RouterId,
        /// Its effective priority.
        priority: u8,
    },
    /// A neighbour does something wrong.
    Mistake {
        /// The virtual router.
        id: RouterId,
        /// Who, and what.
        noticed: Noticed,
    },
    /// The kernel refused to add or remove an address, a route or a rule.
    Refused {
        /// The virtual router.
        id: RouterId,
        /// Which, and what the kernel said.
        what: String,
    },
    /// The kernel did not take a frame.
    SendFailed {
        /// The virtual router.
        id: RouterId,
        /// What the kernel said.
        what: String,
    },
}

/// A state entered, with what led to it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// The virtual router.
    pub id: RouterId,
    /// The state entered.
    pub state: State,
    /// Why.
    pub cause: Cause,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub at_ns: u64,
    /// Effective priority at that moment.
    pub priority: u8,
    /// The last advert that held us down, beat us, or no longer holds us down.
    pub master: Facts,
    /// When the last advert came that held us down; 0 = never.
    #[serde(default)]
    pub seen_ns: u64,
}

/// A virtual router as it stands.
#[derive(Clone, Debug)]
pub struct RouterSnapshot {
    /// The virtual router.
    pub id: RouterId,
    /// State.
    pub state: State,
    /// Why it is in that state.
    pub cause: Option<Cause>,
    /// Since when, in nanoseconds of `CLOCK_BOOTTIME`.
    pub since_ns: u64,
    /// When this snapshot was taken.
    pub now_ns: u64,
    /// Effective priority.
    pub priority: u8,
    /// Adverts with this priority or more hold us down.
    pub floor: u8,
    /// Where it lives.
    pub home: Home,
    /// Lease; 0 = not MASTER.
    pub lease_ns: u64,
    /// The next deadline.
    pub deadline_ns: Option<u64>,
    /// What the kernel heard.
    pub heard: Heard,
    /// What was sent and how often states changed.
    pub tally: Tally,
    /// What neighbours did wrong, the latest first.
    pub mistakes: Vec<Noticed>,
}

/// Counters of a virtual router in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Adverts the kernel took, priority 0 included.
    pub adverts_sent: u64,
    /// Priority-0 adverts among them.
    pub priority_zero_sent: u64,
    /// Adverts that came too late: something newer than the decision behind them had been heard.
    pub adverts_fenced: u64,
    /// Frames the kernel did not take.
    pub send_failures: u64,
    /// Announcements (gratuitous ARP) sent.
    pub announcements_sent: u64,
    /// Times MASTER was entered.
    pub became_master: u64,
    /// Times MASTER was left.
    pub released_master: u64,
    /// Addresses, routes and rules that the kernel refused.
    pub refused: u64,
    /// Times that belongings were put in place again: somebody had removed one, or a link was lost.
    pub restored: u64,
    /// Times that MASTER was entered because the one before had resigned.
    pub resignations_heard: u64,
}

/// The way to the election thread. Never blocks.
#[derive(Clone)]
pub struct ElectionHandle {
    mailbox: mpsc::UnboundedSender<Command>,
}

impl ElectionHandle {
    /// Sends a command. When the thread is gone the process is ending, and nobody is left to care.
    pub fn send(&self, command: Command) {
        let _ = self.mailbox.send(command);
    }

    /// Tells a virtual router what happened.
    pub fn tell(&self, id: RouterId, event: Event) {
        self.send(Command::Tell(id, event));
    }

    /// Reports every virtual router; empty when the thread has ended.
    pub async fn snapshot(&self) -> Vec<RouterSnapshot> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Snapshot(sender));
        receiver.await.unwrap_or_default()
    }

    /// Stops every virtual router as it stands, and says how; empty when the thread has ended.
    pub async fn hand_over(&self) -> Vec<(RouterId, Inheritance)> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::HandOver(sender));
        receiver.await.unwrap_or_default()
    }

    /// Waits until everything asked for before has been done, addresses included.
    pub async fn idle(&self) {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Idle(sender));
        // An error means that the thread has ended.
        let _ = receiver.await;
    }

    /// Resigns everywhere and waits until the addresses are gone.
    pub async fn stop(&self) {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Stop(sender));
        // An error means that the thread has ended already.
        let _ = receiver.await;
    }
}
