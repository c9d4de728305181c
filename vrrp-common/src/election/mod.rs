//! The election of one virtual router (RFC 9568 section 6.4): event and time in, ordered actions
//! out. No IO, no clock, no allocation.
//!
//! ```text
//!            Startup                 Master_Down, nobody newer heard
//!   INIT ──────────────► BACKUP ───────────────────────────────────► MASTER
//!    ▲  ▲                 │ ▲ ▲        beaten / overslept             │ │ │
//!    │  │  Shutdown       │ │ └──────────────────────────────────────┘ │ │
//!    │  └─────────────────┘ │ FaultCleared                             │ │
//!    │                      │                        FaultRaised       │ │
//!    │                    FAULT ◄──────────────────────────────────────┘ │
//!    └───────────────────────────────────── Shutdown (priority 0) ────────┘
//! ```
//!
//! Adverts do not arrive here one by one. The kernel stamps them into the [`crate::slot`]; the
//! machine looks at the slot when the doorbell rings or a deadline falls due ([`Event::Look`]), and
//! decides from what the slot says and what time it is.

mod actions;
mod backup;
pub mod group;
mod master;
mod tenure;
#[cfg(test)]
mod tests;

pub use actions::{Action, Actions, Cause};
use backup::Backup;
use group::Stance;
use master::Master;
pub use master::Reign;
pub use tenure::Tenure;

use crate::{
    slot::{Heard, Standing},
    timers,
    vrrp::{PRIORITY_OWNER, PRIORITY_RESIGN, Source, Version},
};

/// How a virtual router is configured. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
pub struct Settings {
    /// Protocol version (`version`).
    pub version: Version,
    /// Advertisement_Interval (`advert_int`).
    pub interval_ns: u64,
    /// Preempt_Mode; false for `nopreempt`.
    pub preempt: bool,
    /// How long lower-priority adverts still hold us down after the first one (`preempt_delay`).
    pub preempt_delay_ns: u64,
    /// Missed adverts that make a master dead (`down_timer_adverts`).
    pub down_timer_adverts: u8,
    /// A MASTER that is beaten sends one more advert, so that the winner announces the addresses
    /// (`higher_prio_send_advert`).
    pub higher_prio_send_advert: bool,
    /// A MASTER does not answer losing adverts with one of its own, against RFC 9568 6.4.3
    /// (`lower_prio_no_advert`).
    pub lower_prio_no_advert: bool,
    /// It is a member of a sync group: it becomes and stays MASTER only together with the others
    /// ([`group`]).
    pub grouped: bool,
    /// Announcements of every address on promotion and later.
    pub announce: Announce,
}

/// When and how often addresses are announced (`garp_*`). Times in nanoseconds, 0 = never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Announcements per address at once (`garp_master_repeat`).
    pub repeat: u32,
    /// When the second round follows (`garp_master_delay`).
    pub delay_ns: u64,
    /// Period of refreshes (`garp_master_refresh`).
    pub refresh_ns: u64,
    /// Announcements per address at a refresh (`garp_master_refresh_repeat`).
    pub refresh_repeat: u32,
    /// Announcements per address after a losing advert (`garp_lower_prio_repeat`).
    pub lower_prio_repeat: u32,
    /// When the second round of those follows (`garp_lower_prio_delay`).
    pub lower_prio_delay_ns: u64,
}

impl Default for Announce {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay_ns: 5 * timers::NS_PER_S,
            refresh_ns: 0,
            refresh_repeat: 1,
            lower_prio_repeat: 5,
            lower_prio_delay_ns: 5 * timers::NS_PER_S,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: Version::V3,
            interval_ns: timers::NS_PER_S,
            preempt: true,
            preempt_delay_ns: 0,
            down_timer_adverts: timers::DOWN_TIMER_ADVERTS,
            higher_prio_send_advert: false,
            lower_prio_no_advert: false,
            grouped: false,
            announce: Announce::default(),
        }
    }
}

/// The state an operator sees. RFC 9568 says Initialize, Backup and Active; FAULT is keepalived's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum State {
    /// Not started: waiting for the interface, the first check result, or the end.
    Init,
    /// Another router is MASTER, or we are listening whether one is.
    Backup,
    /// We answer for the addresses.
    Master,
    /// Something we track failed: out of the election.
    Fault,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The virtual router may take part.
    Startup,
    /// The daemon stops: resign if MASTER.
    Shutdown,
    /// The doorbell rang or [`Election::deadline`] passed; this is the slot as read just now.
    Look(Heard),
    /// The effective priority changed.
    Priority(u8),
    /// Advertisement_Interval changed, in nanoseconds; adverts carry it from now on.
    Interval(u64),
    /// The configuration changed: everything but the version, which makes another router.
    Settings(Settings),
    /// The address our adverts come from changed.
    Source(Source),
    /// The MAC of the interface changed.
    Mac([u8; 6]),
    /// A tracked thing with weight 0, or the interface, failed.
    FaultRaised,
    /// Nothing holds us in FAULT any longer.
    FaultCleared,
    /// The kernel took a non-zero advert; the clock was read at this time, before sending it.
    Advertised(u64),
    /// The addresses added in this epoch are on the interface, or were refused for good.
    Settled(u64),
    /// What the sync group asks for.
    Group(group::Order),
    /// The daemon is about to hand over: vouch for the addresses once more.
    Vouch,
}

/// One virtual router's election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Adverts go with those of many others.
    shares_beat: bool,
    settings: Settings,
    standing: Standing,
    role: Role,
}

/// A state owns exactly the deadlines that mean something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Init,
    Backup(Backup),
    Master(Master),
    Fault {
        /// Whether something of our own failed, and not only of another member of the sync group.
        own: bool,
    },
}

impl Election {
    /// A virtual router in INIT.
    #[must_use]
    pub fn new(settings: Settings, priority: u8, source: Source, mac: [u8; 6]) -> Self {
        let mut election = Self {
            shares_beat: false,
            settings,
            standing: Standing {
                mac,
                floor: 1,
                priority,
                source,
                epoch: 0,
            },
            role: Role::Init,
        };
        election.standing.floor = election.resting_floor();
        election
    }

    /// From now on adverts come a little early until they are due together with those of every other virtual
    /// router of the same interval ([`timers::on_beat`]): one wake-up sends them all.
    pub const fn share_beat(&mut self) {
        self.shares_beat = true;
    }

    /// The state an operator sees.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.role {
            Role::Init => State::Init,
            Role::Backup(_) => State::Backup,
            Role::Master(_) => State::Master,
            Role::Fault { .. } => State::Fault,
        }
    }

    /// What the kernel should know of us.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When to send [`Event::Look`] at the latest; `None` = nothing is due.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match &self.role {
            Role::Init | Role::Fault { .. } => None,
            Role::Backup(backup) => self.backup_deadline(backup),
            Role::Master(master) => Some(master.deadline()),
        }
    }

    /// How much before [`Self::deadline`] a [`Event::Look`] does as well: a backup has mostly heard its master
    /// by then, and waits for another deadline.
    #[must_use]
    pub const fn early_ns(&self) -> u64 {
        match &self.role {
            Role::Backup(backup) => backup.early_ns(),
            Role::Init | Role::Master(_) | Role::Fault { .. } => 0,
        }
    }

    /// Advances the machine. Carry the actions out in order.
    #[must_use = "the actions are the protocol"]
    pub fn handle(&mut self, now_ns: u64, event: Event) -> Actions {
        let mut actions = Actions::new();
        match event {
            Event::Startup => self.startup(now_ns, &mut actions),
            Event::Shutdown => self.shutdown(&mut actions),
            Event::Look(heard) => self.look(now_ns, &heard, &mut actions),
            Event::Priority(priority) => self.set_priority(now_ns, priority, &mut actions),
            Event::Interval(interval_ns) => self.set_interval(now_ns, interval_ns),
            Event::Settings(settings) => self.set_settings(now_ns, settings, &mut actions),
            Event::Source(source) => {
                self.standing.source = source;
                actions.push(Action::Publish(self.standing));
            }
            Event::Mac(mac) => {
                self.standing.mac = mac;
                actions.push(Action::Publish(self.standing));
                self.announce_anew(&mut actions);
            }
            Event::FaultRaised => self.raise_fault(true, Cause::FaultRaised, &mut actions),
            Event::FaultCleared => self.clear_fault(now_ns, &mut actions),
            Event::Advertised(at_ns) => self.advertised(at_ns, &mut actions),
            Event::Settled(epoch) => self.settled(now_ns, epoch, &mut actions),
            Event::Group(order) => self.obey_group(now_ns, order, &mut actions),
            Event::Vouch => self.vouch(&mut actions),
        }
        actions
    }

    /// RFC 9568 6.4.1: the owner is MASTER at once, anybody else listens first.
    fn startup(&mut self, now_ns: u64, actions: &mut Actions) {
        if matches!(self.role, Role::Init) {
            self.begin(now_ns, Cause::Startup, actions);
        }
    }

    fn shutdown(&mut self, actions: &mut Actions) {
        match core::mem::replace(&mut self.role, Role::Init) {
            Role::Init => return,
            Role::Master(_) => resign(actions),
            Role::Backup(_) | Role::Fault { .. } => {}
        }
        actions.push(Action::Entered(State::Init, Cause::Shutdown));
    }

    fn raise_fault(&mut self, own: bool, cause: Cause, actions: &mut Actions) {
        match core::mem::replace(&mut self.role, Role::Fault { own }) {
            Role::Fault { own: before } => {
                self.role = Role::Fault { own: before || own };
                return;
            }
            Role::Master(_) => resign(actions),
            // Whatever a daemon that crashed has left on the interface; an owner's may be its own.
            Role::Init if self.standing.priority != PRIORITY_OWNER => {
                actions.push(Action::RemoveAddresses);
            }
            Role::Init | Role::Backup(_) => {}
        }
        // Adverts keep stamping in FAULT, by the rules of a backup: whoever leaves it knows the
        // incumbent.
        self.standing.floor = self.resting_floor();
        actions.push(Action::Publish(self.standing));
        actions.push(Action::Entered(State::Fault, cause));
    }

    fn clear_fault(&mut self, now_ns: u64, actions: &mut Actions) {
        match &mut self.role {
            // The other members may have faults of their own.
            Role::Fault { own } if self.settings.grouped => *own = false,
            Role::Fault { .. } => self.begin(now_ns, Cause::FaultCleared, actions),
            _ => {}
        }
    }

    /// Takes part in the election.
    fn begin(&mut self, now_ns: u64, cause: Cause, actions: &mut Actions) {
        let owner = self.standing.priority == PRIORITY_OWNER;
        if owner && !self.settings.grouped {
            self.promote(now_ns, Cause::Owner, actions);
        } else {
            self.listen(now_ns, cause, actions);
        }
    }

    /// How it stands towards its sync group.
    #[must_use]
    pub const fn stance(&self) -> Stance {
        match &self.role {
            Role::Init => Stance::Out,
            Role::Backup(backup) if backup.is_ready() => Stance::Ready,
            Role::Backup(_) => Stance::Listening,
            Role::Master(_) => Stance::Master,
            Role::Fault { own } => Stance::Fault { own: *own },
        }
    }

    fn obey_group(&mut self, now_ns: u64, order: group::Order, actions: &mut Actions) {
        match (order, &self.role) {
            (group::Order::Promote, Role::Backup(backup)) => {
                if let Some(cause) = backup.ready() {
                    self.promote(now_ns, cause, actions);
                }
            }
            (group::Order::Yield, Role::Master(_)) => self.yield_to_group(now_ns, actions),
            (group::Order::Surrender, Role::Master(_)) => self.surrender(now_ns, actions),
            (group::Order::Fault, Role::Backup(_) | Role::Master(_)) => {
                self.raise_fault(false, Cause::Group, actions);
            }
            (group::Order::ClearFault, Role::Fault { own: false }) => {
                self.begin(now_ns, Cause::FaultCleared, actions);
            }
            _ => {}
        }
    }

    fn set_priority(&mut self, now_ns: u64, priority: u8, actions: &mut Actions) {
        if self.standing.priority == priority {
            return;
        }
        self.standing.priority = priority;
        if let Role::Backup(backup) = &mut self.role {
            backup.weigh_preemption(now_ns, priority, &self.settings);
        }
        self.standing.floor = self.floor_in_force();
        actions.push(Action::Publish(self.standing));
    }

    /// A backup goes on by what it has learned; a master changes its cadence.
    fn set_interval(&mut self, now_ns: u64, interval_ns: u64) {
        let before = core::mem::replace(&mut self.settings.interval_ns, interval_ns);
        let adverts = self.settings.down_timer_adverts;
        if let Role::Master(master) = &mut self.role {
            master.change_interval(now_ns, before, interval_ns, adverts);
        }
    }

    /// A reload. What goes on is not disturbed: timers that run keep running, but for the refreshes of a
    /// MASTER.
    fn set_settings(&mut self, now_ns: u64, settings: Settings, actions: &mut Actions) {
        if settings.interval_ns != self.settings.interval_ns {
            self.set_interval(now_ns, settings.interval_ns);
        }
        let before = core::mem::replace(&mut self.settings, settings);
        match &mut self.role {
            Role::Master(master) if before.announce.refresh_ns != settings.announce.refresh_ns => {
                master.change_refresh(now_ns, settings.announce.refresh_ns);
            }
            Role::Backup(backup) => {
                backup.weigh_preemption(now_ns, self.standing.priority, &settings);
                // Who waited for its group alone waits no longer.
                if let Some(cause) = backup.ready().filter(|_| !settings.grouped) {
                    return self.promote(now_ns, cause, actions);
                }
            }
            Role::Fault { own: false } if !settings.grouped => {
                return self.begin(now_ns, Cause::FaultCleared, actions);
            }
            _ => {}
        }
        self.standing.floor = self.floor_in_force();
        actions.push(Action::Publish(self.standing));
    }

    /// The floor that follows from settings and state.
    const fn floor_in_force(&self) -> u8 {
        match &self.role {
            Role::Backup(backup) => backup.floor(self.standing.priority, &self.settings),
            Role::Init | Role::Fault { .. } | Role::Master(_) => self.resting_floor(),
        }
    }

    fn look(&mut self, now_ns: u64, heard: &Heard, actions: &mut Actions) {
        match self.role {
            Role::Init | Role::Fault { .. } => {}
            Role::Backup(_) => self.look_as_backup(now_ns, heard, actions),
            Role::Master(_) => self.look_as_master(now_ns, heard, actions),
        }
    }

    /// Begins to listen for a master. Whatever a daemon that crashed has left on the interface goes:
    /// a BACKUP carries no virtual address. What an owner finds there is its own.
    fn listen(&mut self, now_ns: u64, cause: Cause, actions: &mut Actions) {
        let mut backup = Backup::listening(now_ns, self.settings.interval_ns);
        let is_owner = self.standing.priority == PRIORITY_OWNER;
        if is_owner {
            backup.does_not_wait();
        }
        self.become_backup(backup, actions);
        if !is_owner {
            actions.push(Action::RemoveAddresses);
        }
        actions.push(Action::Entered(State::Backup, cause));
    }

    fn become_backup(&mut self, backup: Backup, actions: &mut Actions) {
        self.standing.floor = backup.floor(self.standing.priority, &self.settings);
        self.role = Role::Backup(backup);
        actions.push(Action::Publish(self.standing));
    }

    /// The floor where no preempt delay is running.
    const fn resting_floor(&self) -> u8 {
        backup::floor_of(self.standing.priority, &self.settings, false)
    }
}

/// Silence first, then the others may know, then the addresses go.
fn resign(actions: &mut Actions) {
    actions.push(Action::Lease(0));
    actions.push(Action::Advertise {
        priority: PRIORITY_RESIGN,
    });
    actions.push(Action::RemoveAddresses);
}
