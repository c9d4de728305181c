//! Handing an election over: from a daemon that ends to the one that takes its place, without a
//! failover in between.

use super::{
    Action, Actions, Cause, Election, Role,
    backup::Backup,
    master::{Master, Reign, span},
};
use crate::slot::{Heard, Slot};

/// Where an election stands when it is handed over. Times in nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tenure {
    /// Counts promotions.
    pub epoch: u64,
    /// Advertisement_Interval that adverts carried.
    pub interval_ns: u64,
    /// The timers of a MASTER; `None` for a BACKUP.
    pub reign: Option<Reign>,
}

impl Tenure {
    /// The same where people may not know that it is MASTER: they are told once the addresses are known to
    /// be in place.
    #[must_use]
    pub const fn untold(mut self) -> Self {
        if let Some(reign) = &mut self.reign {
            reign.settled = false;
        }
        self
    }

    /// What is known of a daemon that could not hand over, from its slot: a MASTER whose lease is not
    /// over at `now_ns` and whom nobody has beaten is MASTER still, for nobody else can be yet. `told`:
    /// whether people know already that it was.
    #[must_use]
    pub fn of_a_crash(slot: &Slot, adverts: u8, told: bool, now_ns: u64) -> Option<Self> {
        let lease_ns = slot.lease_ns();
        if now_ns >= lease_ns || slot.is_beaten() {
            return None;
        }
        let interval_ns = slot.interval_ns();
        let advertised_ns = lease_ns.saturating_sub(span(adverts, interval_ns));
        Some(Self {
            epoch: slot.published().epoch,
            interval_ns,
            reign: Some(Reign {
                since_ns: advertised_ns,
                cause: Cause::MasterTimeout,
                adver_due_ns: advertised_ns + interval_ns,
                advertised_ns,
                settled: told,
                announce_due_ns: None,
                lower_prio_due_ns: None,
                refresh_due_ns: None,
            }),
        })
    }
}

impl Election {
    /// What to hand over; `None` where it does not take part.
    #[must_use]
    pub const fn hand_over(&self) -> Option<Tenure> {
        let reign = match &self.role {
            Role::Backup(_) => None,
            Role::Master(master) => Some(master.reign()),
            Role::Init | Role::Fault { .. } => return None,
        };
        Some(Tenure {
            epoch: self.standing.epoch,
            interval_ns: self.settings.interval_ns,
            reign,
        })
    }

    /// Goes on where the daemon before left off, instead of starting. Whoever finds its lease over, or
    /// was beaten meanwhile, is no MASTER any longer. `heard` is the slot, which was taken over before.
    #[must_use = "the actions are the protocol"]
    pub fn take_up(&mut self, now_ns: u64, tenure: &Tenure, heard: &Heard) -> Actions {
        let mut actions = Actions::new();
        if !matches!(self.role, Role::Init) {
            return actions;
        }
        self.standing.epoch = tenure.epoch;
        match &tenure.reign {
            Some(reign) => self.reign_on(now_ns, tenure, reign, heard, &mut actions),
            None => self.listen_on(now_ns, heard, &mut actions),
        }
        actions
    }

    fn reign_on(
        &mut self,
        now_ns: u64,
        tenure: &Tenure,
        reign: &Reign,
        heard: &Heard,
        actions: &mut Actions,
    ) {
        let (interval, adverts) = (self.settings.interval_ns, self.settings.down_timer_adverts);
        let mut master = Master::resumed(reign);
        master.refresh_again(now_ns, self.settings.announce.refresh_ns);
        master.change_interval(now_ns, tenure.interval_ns, interval, adverts);
        self.role = Role::Master(master);
        self.standing.floor = self.resting_floor();
        actions.push(Action::Publish(self.standing));
        if reign.settled && reign.advertised_ns != 0 {
            actions.push(Action::Lease(reign.advertised_ns + self.lease_span()));
        }
        // Whatever is missing by now is put in place; what is there stays untouched.
        actions.push(Action::AddAddresses {
            epoch: tenure.epoch,
        });
        self.look_as_master(now_ns, heard, actions);
    }

    fn listen_on(&mut self, now_ns: u64, heard: &Heard, actions: &mut Actions) {
        let interval = self.settings.interval_ns;
        let backup = if heard.seen_ns > 0 {
            Backup::yielding((heard.seen_ns, heard.master), interval)
        } else {
            Backup::listening(now_ns, interval)
        };
        self.become_backup(backup, actions);
        self.look_as_backup(now_ns, heard, actions);
    }

    /// One more advert at once: what comes next takes some time, and everybody's patience begins anew.
    pub(super) fn vouch(&self, actions: &mut Actions) {
        if matches!(self.role, Role::Master(_)) {
            actions.push(Action::Advertise {
                priority: self.standing.priority,
            });
        }
    }
}

impl Reign {
    /// Why it began.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }
}
