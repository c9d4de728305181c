//! BACKUP (RFC 9568 section 6.4.2): wait for silence, and make sure it was listened to.

use super::{Action, Actions, Cause, Election, Role, Settings, State, master::Master};
use crate::{
    slot::{Facts, Heard},
    timers,
    vrrp::{PRIORITY_OWNER, PRIORITY_RESIGN},
};

/// The timers of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backup {
    /// When the Master_Down timer was last restarted.
    reference_ns: u64,
    /// Master_Adver_Interval: learned from the master, our own until then.
    master_interval_ns: u64,
    /// Priority of the advert behind `reference_ns`; `None` where nobody was heard yet.
    master_priority: Option<u8>,
    /// Overrides the Master_Down deadline: we noticed it late and listen once more.
    listen_until_ns: Option<u64>,
    preemption: Preemption,
    /// A member of a sync group that would be MASTER, and why: it waits for the others.
    ready: Option<Cause>,
}

/// Where `preempt_delay` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preemption {
    /// No lower-priority master heard.
    Idle,
    /// Lower-priority adverts hold us down until then.
    Waiting(u64),
    /// The delay ran out.
    Over,
}

impl Backup {
    /// A backup that has heard nobody yet.
    pub(super) const fn listening(now_ns: u64, interval_ns: u64) -> Self {
        Self {
            reference_ns: now_ns,
            master_interval_ns: interval_ns,
            master_priority: None,
            listen_until_ns: None,
            preemption: Preemption::Idle,
            ready: None,
        }
    }

    /// An owner in a sync group waits for the others and for nobody else.
    pub(super) const fn does_not_wait(&mut self) {
        self.ready = Some(Cause::Owner);
    }

    /// Half an interval before Master_Down, unless that is not what it waits for.
    pub(super) const fn early_ns(&self) -> u64 {
        let waits_otherwise = matches!(self.preemption, Preemption::Waiting(_));
        if waits_otherwise || self.listen_until_ns.is_some() || self.resigned() {
            0
        } else {
            self.master_interval_ns / 2
        }
    }

    /// Whether only its sync group keeps it from being MASTER.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Why it would be MASTER.
    pub(super) const fn ready(&self) -> Option<Cause> {
        self.ready
    }

    /// A former master that yields to an advert it has heard. While the kernel is writing it down, the
    /// interval may not be there yet; ours will do until the doorbell rings.
    pub(super) const fn yielding((at_ns, facts): (u64, Facts), own_interval_ns: u64) -> Self {
        let interval_ns = match facts.interval_cs {
            0 => own_interval_ns,
            learned => timers::interval_ns(learned),
        };
        let mut backup = Self::listening(at_ns, interval_ns);
        backup.master_priority = Some(facts.priority);
        backup
    }

    /// A former master that overslept: one interval to hear who took over.
    pub(super) const fn overslept(now_ns: u64, interval_ns: u64) -> Self {
        let mut backup = Self::listening(now_ns, interval_ns);
        backup.listen_until_ns = Some(now_ns + interval_ns);
        backup
    }

    /// The floor to publish: at or above it, adverts hold us down.
    pub(super) const fn floor(&self, priority: u8, settings: &Settings) -> u8 {
        floor_of(
            priority,
            settings,
            matches!(self.preemption, Preemption::Over),
        )
    }

    /// Takes note of the master's last advert.
    fn accept(&mut self, now_ns: u64, (at_ns, facts): (u64, Facts), own: u8, settings: &Settings) {
        self.reference_ns = at_ns;
        self.listen_until_ns = None;
        self.ready = None;
        if facts.interval_cs != 0 {
            self.master_interval_ns = timers::interval_ns(facts.interval_cs);
        }
        self.master_priority = Some(facts.priority);
        self.weigh_preemption(now_ns, own, settings);
    }

    /// `preempt_delay` starts with the first lower-priority advert and ends with a higher one.
    pub(super) fn weigh_preemption(&mut self, now_ns: u64, own: u8, settings: &Settings) {
        let lower = self.master_priority.is_some_and(|master| master < own);
        self.preemption = match (self.preemption, lower) {
            (_, false) => Preemption::Idle,
            (Preemption::Idle, true) if settings.preempt_delay_ns > 0 => {
                Preemption::Waiting(now_ns + settings.preempt_delay_ns)
            }
            (Preemption::Idle, true) => Preemption::Over,
            (unchanged, true) => unchanged,
        };
    }

    const fn resigned(&self) -> bool {
        matches!(self.master_priority, Some(PRIORITY_RESIGN))
    }
}

/// The last advert that holds us down by the floor in force. One that arrived before our priority
/// fell was judged by a higher floor, and counts all the same.
const fn latest_to_obey(heard: &Heard, floor: u8) -> (u64, Facts) {
    let by_today = heard.other.priority != PRIORITY_RESIGN && heard.other.priority >= floor;
    if by_today && heard.other_ns > heard.seen_ns {
        (heard.other_ns, heard.other)
    } else {
        (heard.seen_ns, heard.master)
    }
}

/// 1 = every non-zero advert holds us down.
pub(super) const fn floor_of(priority: u8, settings: &Settings, delay_over: bool) -> u8 {
    let preempts = settings.preempt && (settings.preempt_delay_ns == 0 || delay_over);
    if priority == PRIORITY_OWNER || preempts {
        priority
    } else {
        1
    }
}

impl Election {
    /// When the Master_Down timer, or the preempt delay, runs out. Who waits for its sync group is
    /// looked at when that is about to decide.
    pub(super) fn backup_deadline(&self, backup: &Backup) -> Option<u64> {
        if backup.is_ready() {
            return None;
        }
        let down = self.master_down_deadline(backup);
        Some(match backup.preemption {
            Preemption::Waiting(until) => down.min(until),
            Preemption::Idle | Preemption::Over => down,
        })
    }

    fn master_down_deadline(&self, backup: &Backup) -> u64 {
        if let Some(until) = backup.listen_until_ns {
            return until;
        }
        backup.reference_ns + self.patience(backup.master_interval_ns, backup.resigned())
    }

    /// How long an advert holds us down: Master_Down_Interval, or Skew_Time after a resignation.
    const fn patience(&self, interval_ns: u64, resigned: bool) -> u64 {
        let priority = self.standing.priority;
        let version = self.settings.version;
        if resigned {
            timers::skew_time(version, priority, interval_ns)
        } else {
            let adverts = self.settings.down_timer_adverts;
            timers::master_down_interval(version, priority, interval_ns, adverts)
        }
    }

    /// Whether an advert is newer than the one we wait for, or, though it came before we began to
    /// wait, holds us down for longer: our priority has fallen below it, or its interval is long.
    fn still_holds(&self, (at_ns, facts): (u64, Facts)) -> bool {
        let Role::Backup(backup) = &self.role else {
            return false;
        };
        let resigned = facts.priority == PRIORITY_RESIGN;
        let until = at_ns + self.patience(timers::interval_ns(facts.interval_cs), resigned);
        at_ns > backup.reference_ns || (at_ns > 0 && until > self.master_down_deadline(backup))
    }

    /// Whether somebody was MASTER before we began to listen: a preempt delay starts at once then,
    /// and not with the next piece of news, which may never come.
    fn finds_incumbent(&self, now_ns: u64, (at_ns, facts): (u64, Facts)) -> bool {
        let Role::Backup(backup) = &self.role else {
            return false;
        };
        let patience = self.patience(timers::interval_ns(facts.interval_cs), false);
        backup.master_priority.is_none()
            && facts.priority != PRIORITY_RESIGN
            && at_ns > 0
            && now_ns < at_ns + patience
    }

    /// The master that is known was heard again, and said what it had said ([`Slot::heard_again`]): restarts
    /// Master_Down, which is all that [`super::Event::Look`] would do then. False where that has more to
    /// decide; nothing has changed then.
    ///
    /// [`Slot::heard_again`]: crate::slot::Slot::heard_again
    pub fn hear_again(&mut self, now_ns: u64, (at_ns, facts): (u64, Facts)) -> bool {
        let Role::Backup(backup) = &self.role else {
            return false;
        };
        let is_known = backup.master_priority == Some(facts.priority)
            && backup.master_interval_ns == timers::interval_ns(facts.interval_cs)
            && facts.priority != PRIORITY_RESIGN;
        // As it would be weighed again.
        let rests = if facts.priority < self.standing.priority {
            Preemption::Over
        } else {
            Preemption::Idle
        };
        let is_at_rest = backup.ready.is_none()
            && backup.listen_until_ns.is_none()
            && backup.preemption == rests;
        let over_ns = at_ns + self.patience(backup.master_interval_ns, false);
        if !is_known || !is_at_rest || at_ns <= backup.reference_ns || over_ns <= now_ns {
            return false;
        }
        if let Role::Backup(backup) = &mut self.role {
            backup.reference_ns = at_ns;
        }
        true
    }

    pub(super) fn look_as_backup(&mut self, now_ns: u64, heard: &Heard, actions: &mut Actions) {
        let priority = self.standing.priority;
        let settings = self.settings;
        let latest = latest_to_obey(heard, self.standing.floor);
        let holds = self.still_holds(latest);
        let incumbent = self.finds_incumbent(now_ns, latest);
        let Role::Backup(backup) = &mut self.role else {
            return;
        };
        if holds {
            backup.accept(now_ns, latest, priority, &settings);
        } else if incumbent {
            backup.master_priority = Some(latest.1.priority);
            backup.weigh_preemption(now_ns, priority, &settings);
        }
        if let Preemption::Waiting(until) = backup.preemption
            && until <= now_ns
        {
            backup.preemption = Preemption::Over;
        }
        let floor = backup.floor(priority, &settings);
        if floor != self.standing.floor {
            self.standing.floor = floor;
            actions.push(Action::Publish(self.standing));
        }
        self.take_over_if_silent(now_ns, actions);
    }

    /// Silence must be listened to: a deadline noticed late (a stopped process, a stunned machine)
    /// says little about the time in between, so one more interval is spent listening.
    fn take_over_if_silent(&mut self, now_ns: u64, actions: &mut Actions) {
        let Role::Backup(backup) = &self.role else {
            return;
        };
        if backup.is_ready() {
            return;
        }
        let deadline = self.master_down_deadline(backup);
        let Some(late) = now_ns.checked_sub(deadline) else {
            return;
        };
        let interval = backup.master_interval_ns;
        let resigned = backup.resigned();
        let tolerated = if backup.listen_until_ns.is_some() {
            interval
        } else {
            interval / 2
        };
        if late > tolerated {
            if let Role::Backup(backup) = &mut self.role {
                backup.listen_until_ns = Some(now_ns + interval);
            }
            return;
        }
        let cause = if resigned {
            Cause::MasterResigned
        } else {
            Cause::MasterTimeout
        };
        match &mut self.role {
            Role::Backup(backup) if self.settings.grouped => backup.ready = Some(cause),
            _ => self.promote(now_ns, cause, actions),
        }
    }

    /// RFC 9568 6.4.2: advert first. The lease and the announcements follow once the addresses are
    /// on the interface ([`super::Event::Settled`]); until then packets to them are dropped.
    pub(super) fn promote(&mut self, now_ns: u64, cause: Cause, actions: &mut Actions) {
        self.standing.epoch += 1;
        self.standing.floor = self.resting_floor();
        let epoch = self.standing.epoch;
        self.role = Role::Master(Master::new(now_ns, cause, &self.settings));
        actions.push(Action::Publish(self.standing));
        actions.push(Action::Advertise {
            priority: self.standing.priority,
        });
        actions.push(Action::AddAddresses { epoch });
    }

    /// An advert beats us: silence first.
    pub(super) fn yield_to(&mut self, heard: &Heard, actions: &mut Actions) {
        let latest = (heard.seen_ns, heard.master);
        let backup = Backup::yielding(latest, self.settings.interval_ns);
        actions.push(Action::Lease(0));
        if self.settings.higher_prio_send_advert {
            actions.push(Action::Advertise {
                priority: self.standing.priority,
            });
        }
        self.step_down(backup, heard.seen_ns, Cause::Beaten, actions);
    }

    /// Another member of the sync group is MASTER no longer. Nobody beat us: who is MASTER next is
    /// listened for.
    pub(super) fn yield_to_group(&mut self, now_ns: u64, actions: &mut Actions) {
        let backup = Backup::listening(now_ns, self.settings.interval_ns);
        actions.push(Action::Lease(0));
        self.step_down(backup, now_ns, Cause::Group, actions);
    }

    /// We may not be MASTER any longer, and whoever waits is to know at once.
    pub(super) fn surrender(&mut self, now_ns: u64, actions: &mut Actions) {
        let backup = Backup::listening(now_ns, self.settings.interval_ns);
        actions.push(Action::Lease(0));
        actions.push(Action::Advertise {
            priority: PRIORITY_RESIGN,
        });
        self.step_down(backup, now_ns, Cause::Arbiter, actions);
    }

    /// We did not run for longer than our lease. Whoever was heard meanwhile, and must be obeyed,
    /// has the full Master_Down_Interval from then; if nobody was, one interval of listening.
    pub(super) fn oversleep(
        &mut self,
        now_ns: u64,
        since_ns: u64,
        heard: &Heard,
        actions: &mut Actions,
    ) {
        let latest = latest_to_obey(heard, self.resting_floor());
        let backup = if latest.0 > since_ns {
            Backup::yielding(latest, self.settings.interval_ns)
        } else {
            Backup::overslept(now_ns, self.settings.interval_ns)
        };
        actions.push(Action::Lease(0));
        self.step_down(backup, now_ns, Cause::Overslept, actions);
    }

    /// Behind the silence that every demotion begins with.
    fn step_down(&mut self, mut backup: Backup, at_ns: u64, cause: Cause, actions: &mut Actions) {
        backup.weigh_preemption(at_ns, self.standing.priority, &self.settings);
        self.become_backup(backup, actions);
        actions.push(Action::RemoveAddresses);
        actions.push(Action::Entered(State::Backup, cause));
    }
}
