//! MASTER (RFC 9568 section 6.4.3): advertise, vouch for the kernel's answers, re-assert, yield.

use super::{Action, Actions, Cause, Election, Role, Settings, State};
use crate::{
    slot::{self, Heard},
    timers,
    vrrp::PRIORITY_RESIGN,
};

/// Re-assertions against losing adverts come no faster than this, or than the interval if that is
/// shorter: a flood must not be amplified.
const REASSERT_GAP_NS: u64 = 10 * timers::NS_PER_MS;
/// Announcements in answer to losing adverts come no faster than this.
const REANNOUNCE_GAP_NS: u64 = timers::NS_PER_S;

/// The timers of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    /// When this promotion happened.
    since_ns: u64,
    /// Why; told to people once the addresses are in place.
    cause: Cause,
    /// Adver_Timer.
    adver_due_ns: u64,
    /// The interval that was raised goes on for some adverts more: whoever knows only that one would
    /// take us for dead.
    old_cadence: Option<OldCadence>,
    /// When the clock was read before the last advert the kernel took; 0 = none yet.
    advertised_ns: u64,
    /// Whether the addresses of this epoch are on the interface.
    settled: bool,
    /// The latest losing advert that was dealt with.
    dealt_with_ns: u64,
    /// When we last re-asserted.
    reasserted_ns: u64,
    /// When we last announced because of a losing advert.
    reannounced_ns: u64,
    /// When people were last told of a losing advert.
    told_of_loser_ns: u64,
    /// A losing advert waits for its answer until then.
    reassert_due_ns: Option<u64>,
    /// The last losing advert was a resignation, which is always answered.
    answers_resignation: bool,
    /// The second round of announcements.
    announce_due_ns: Option<u64>,
    /// The second round of announcements after a losing advert.
    lower_prio_due_ns: Option<u64>,
    /// The next refresh.
    refresh_due_ns: Option<u64>,
}

/// The timers of a master that are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reign {
    pub(super) since_ns: u64,
    pub(super) cause: Cause,
    pub(super) adver_due_ns: u64,
    pub(super) advertised_ns: u64,
    pub(super) settled: bool,
    pub(super) announce_due_ns: Option<u64>,
    pub(super) lower_prio_due_ns: Option<u64>,
    pub(super) refresh_due_ns: Option<u64>,
}

/// An interval that adverts still keep to, though they carry a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OldCadence {
    interval_ns: u64,
    /// How many adverts more.
    adverts: u8,
}

impl Master {
    pub(super) const fn new(now_ns: u64, cause: Cause, settings: &Settings) -> Self {
        Self {
            since_ns: now_ns,
            cause,
            adver_due_ns: now_ns + settings.interval_ns,
            old_cadence: None,
            advertised_ns: 0,
            settled: false,
            dealt_with_ns: now_ns,
            reasserted_ns: 0,
            reannounced_ns: 0,
            told_of_loser_ns: 0,
            reassert_due_ns: None,
            answers_resignation: false,
            announce_due_ns: None,
            lower_prio_due_ns: None,
            refresh_due_ns: None,
        }
    }

    /// What is handed over.
    pub(super) const fn reign(&self) -> Reign {
        Reign {
            since_ns: self.since_ns,
            cause: self.cause,
            adver_due_ns: self.adver_due_ns,
            advertised_ns: self.advertised_ns,
            settled: self.settled,
            announce_due_ns: self.announce_due_ns,
            lower_prio_due_ns: self.lower_prio_due_ns,
            refresh_due_ns: self.refresh_due_ns,
        }
    }

    /// A master that goes on. What was heard before its last advert has been dealt with.
    pub(super) const fn resumed(reign: &Reign) -> Self {
        Self {
            since_ns: reign.since_ns,
            cause: reign.cause,
            adver_due_ns: reign.adver_due_ns,
            old_cadence: None,
            advertised_ns: reign.advertised_ns,
            settled: reign.settled,
            dealt_with_ns: reign.advertised_ns,
            reasserted_ns: 0,
            reannounced_ns: 0,
            told_of_loser_ns: 0,
            reassert_due_ns: None,
            answers_resignation: false,
            announce_due_ns: reign.announce_due_ns,
            lower_prio_due_ns: reign.lower_prio_due_ns,
            refresh_due_ns: reign.refresh_due_ns,
        }
    }

    /// Where refreshes are wanted and none is due, because nobody knows when the last one was.
    pub(super) const fn refresh_again(&mut self, now_ns: u64, period_ns: u64) {
        if period_ns > 0 && self.refresh_due_ns.is_none() {
            self.refresh_due_ns = Some(now_ns + period_ns);
        }
    }

    /// Other refreshes are wanted from now on.
    pub(super) const fn change_refresh(&mut self, now_ns: u64, period_ns: u64) {
        self.refresh_due_ns = if self.settled && period_ns > 0 {
            Some(now_ns + period_ns)
        } else {
            None
        };
    }

    pub(super) fn deadline(&self) -> u64 {
        [
            self.reassert_due_ns,
            self.announce_due_ns,
            self.lower_prio_due_ns,
            self.refresh_due_ns,
        ]
        .into_iter()
        .flatten()
        .fold(self.adver_due_ns, u64::min)
    }

    /// A shorter interval counts at once, a longer one after as many adverts as make a master dead.
    pub(super) fn change_interval(&mut self, now_ns: u64, before: u64, after: u64, adverts: u8) {
        let shortest = self
            .old_cadence
            .map_or(before, |old| old.interval_ns.min(before));
        self.old_cadence = (after > shortest).then_some(OldCadence {
            interval_ns: shortest,
            adverts,
        });
        self.adver_due_ns = self.adver_due_ns.min(now_ns + after);
    }

    /// The interval that adverts keep to now.
    const fn cadence(&self, interval_ns: u64) -> u64 {
        match self.old_cadence {
            Some(old) => old.interval_ns,
            None => interval_ns,
        }
    }

    /// One more advert has carried the new interval.
    fn count_down_old_cadence(&mut self) {
        self.old_cadence = self.old_cadence.and_then(|old| {
            let adverts = old.adverts.saturating_sub(1);
            (adverts > 0).then_some(OldCadence { adverts, ..old })
        });
    }
}

impl Election {
    pub(super) fn look_as_master(&mut self, now_ns: u64, heard: &Heard, actions: &mut Actions) {
        if self.is_beaten(heard) {
            return self.yield_to(heard, actions);
        }
        if let Some(since_ns) = self.has_overslept(now_ns) {
            return self.oversleep(now_ns, since_ns, heard, actions);
        }
        self.notice_losing_adverts(now_ns, heard);
        self.advertise_if_due(now_ns, actions);
        self.announce_if_due(now_ns, actions);
    }

    /// The kernel says so, or it has stamped, before it knew that we are MASTER, an advert that
    /// beats us.
    fn is_beaten(&self, heard: &Heard) -> bool {
        let Role::Master(master) = &self.role else {
            return false;
        };
        if heard.beaten == self.standing.epoch {
            return true;
        }
        let Heard {
            seen_ns,
            master: facts,
            ..
        } = heard;
        let standing = &self.standing;
        *seen_ns > master.dealt_with_ns
            && facts.priority != PRIORITY_RESIGN
            && slot::beats(
                facts.priority,
                facts.source,
                standing.priority,
                standing.source,
            )
    }

    /// Whether we come so late that our own lease has run out: another router may be MASTER by
    /// now, and a lower-priority one that we do not preempt must be left alone. A lease of hardly more
    /// than an interval (`down_timer_adverts 1`) has half an interval's grace, or every hiccup would be
    /// the end. If so, since when we have been MASTER.
    fn has_overslept(&self, now_ns: u64) -> Option<u64> {
        let Role::Master(master) = &self.role else {
            return None;
        };
        let interval = master.cadence(self.settings.interval_ns);
        let sleep = self.lease_span().saturating_sub(interval).max(interval / 2);
        (now_ns.saturating_sub(master.adver_due_ns) > sleep).then_some(master.since_ns)
    }

    /// RFC 9568 6.4.3: a losing advert or a resignation is answered with an advert at once, within
    /// the rate limit.
    fn notice_losing_adverts(&mut self, now_ns: u64, heard: &Heard) {
        let gap = REASSERT_GAP_NS.min(self.settings.interval_ns);
        let Role::Master(master) = &mut self.role else {
            return;
        };
        let latest = heard.other_ns.max(heard.seen_ns);
        if latest <= master.dealt_with_ns {
            return;
        }
        master.dealt_with_ns = latest;
        if master.reassert_due_ns.is_none() {
            master.reassert_due_ns = Some(now_ns.max(master.reasserted_ns + gap));
        }
        let resigns = heard.other_ns == latest && heard.other.priority == PRIORITY_RESIGN;
        master.answers_resignation = resigns;
        if resigns {
            // 6.4.3 resets Adver_Timer after answering a priority-0 advert.
            master.adver_due_ns = master
                .reassert_due_ns
                .map_or(master.adver_due_ns, |due| due.min(master.adver_due_ns));
        }
    }

    fn advertise_if_due(&mut self, now_ns: u64, actions: &mut Actions) {
        let interval = self.settings.interval_ns;
        let priority = self.standing.priority;
        let quiet = self.settings.lower_prio_no_advert;
        let shares_beat = self.shares_beat;
        let Role::Master(master) = &mut self.role else {
            return;
        };
        let reassert = master.reassert_due_ns.is_some_and(|due| due <= now_ns);
        let regular = master.adver_due_ns <= now_ns;
        if regular {
            master.count_down_old_cadence();
            let cadence = master.cadence(interval);
            let next = master.adver_due_ns + cadence;
            let next = if next > now_ns {
                next
            } else {
                now_ns + cadence
            };
            let on_beat = timers::on_beat(next, cadence);
            master.adver_due_ns = if shares_beat && on_beat > now_ns {
                on_beat
            } else {
                next
            };
        }
        if regular || (reassert && (!quiet || master.answers_resignation)) {
            actions.push(Action::Advertise { priority });
        }
        if reassert {
            self.announce_against_loser(now_ns, actions);
        }
    }

    /// Whoever has heard the loser may have learned its MAC.
    fn announce_against_loser(&mut self, now_ns: u64, actions: &mut Actions) {
        let announce = self.settings.announce;
        let Role::Master(master) = &mut self.role else {
            return;
        };
        master.reassert_due_ns = None;
        master.reasserted_ns = now_ns;
        let tells =
            !master.answers_resignation && now_ns >= master.told_of_loser_ns + REANNOUNCE_GAP_NS;
        if tells {
            master.told_of_loser_ns = now_ns;
        }
        let quiet = now_ns >= master.reannounced_ns + REANNOUNCE_GAP_NS;
        if master.settled && announce.lower_prio_repeat > 0 && quiet {
            master.reannounced_ns = now_ns;
            if announce.lower_prio_delay_ns > 0 && master.lower_prio_due_ns.is_none() {
                master.lower_prio_due_ns = Some(now_ns + announce.lower_prio_delay_ns);
            }
            actions.push(Action::Announce {
                repeat: announce.lower_prio_repeat,
            });
        }
        if tells {
            actions.push(Action::HeardLesser);
        }
    }

    fn announce_if_due(&mut self, now_ns: u64, actions: &mut Actions) {
        let announce = self.settings.announce;
        let Role::Master(master) = &mut self.role else {
            return;
        };
        if master.announce_due_ns.is_some_and(|due| due <= now_ns) {
            master.announce_due_ns = None;
            actions.push(Action::Announce {
                repeat: announce.repeat,
            });
        }
        if master.lower_prio_due_ns.is_some_and(|due| due <= now_ns) {
            master.lower_prio_due_ns = None;
            actions.push(Action::Announce {
                repeat: announce.lower_prio_repeat,
            });
        }
        if let Some(due) = master.refresh_due_ns
            && due <= now_ns
        {
            master.refresh_due_ns = Some(now_ns + announce.refresh_ns);
            actions.push(Action::Announce {
                repeat: announce.refresh_repeat,
            });
        }
    }

    /// Our MAC changed: whoever knows the old one must hear of it.
    pub(super) fn announce_anew(&self, actions: &mut Actions) {
        let repeat = self.settings.announce.repeat;
        if matches!(&self.role, Role::Master(master) if master.settled) && repeat > 0 {
            actions.push(Action::Announce { repeat });
        }
    }

    /// How long an advert vouches for us.
    pub(super) fn lease_span(&self) -> u64 {
        let interval = match &self.role {
            Role::Master(master) => master.cadence(self.settings.interval_ns),
            _ => self.settings.interval_ns,
        };
        span(self.settings.down_timer_adverts, interval)
    }

    pub(super) fn advertised(&mut self, at_ns: u64, actions: &mut Actions) {
        let span = self.lease_span();
        let Role::Master(master) = &mut self.role else {
            return;
        };
        master.advertised_ns = at_ns;
        if master.settled {
            actions.push(Action::Lease(at_ns + span));
        }
    }

    /// The addresses are in place: from now on we answer for them, and say so.
    pub(super) fn settled(&mut self, now_ns: u64, epoch: u64, actions: &mut Actions) {
        let span = self.lease_span();
        let announce = self.settings.announce;
        let Role::Master(master) = &mut self.role else {
            return;
        };
        if epoch != self.standing.epoch || master.settled {
            return;
        }
        master.settled = true;
        if announce.delay_ns > 0 && announce.repeat > 0 {
            master.announce_due_ns = Some(now_ns + announce.delay_ns);
        }
        if announce.refresh_ns > 0 {
            master.refresh_due_ns = Some(now_ns + announce.refresh_ns);
        }
        let cause = master.cause;
        if master.advertised_ns != 0 {
            actions.push(Action::Lease(master.advertised_ns + span));
        }
        if announce.repeat > 0 {
            actions.push(Action::Announce {
                repeat: announce.repeat,
            });
        }
        actions.push(Action::Entered(State::Master, cause));
    }
}

/// How long an advert vouches for its sender: not longer than any backup that received it waits.
pub(super) fn span(adverts: u8, interval: u64) -> u64 {
    let span = u64::from(adverts.min(timers::DOWN_TIMER_ADVERTS)) * interval;
    if adverts > 1 {
        return span;
    }
    // The next advert is due when the lease ends. The shortest Skew_Time there is bridges its
    // sending.
    span + interval.min(timers::NS_PER_S) / 256
}
