//! A virtual router that goes on where the daemon before left off, and one that is left to the next.

use vrrp_common::{
    election::{Cause, Event, State},
    slot::Slot,
    vrrp::Source,
};

use super::{Router, Tools};
use crate::{clock, election::Inheritance};

impl Router {
    /// Goes on where the daemon before left off.
    pub(super) fn inherit(&mut self, inheritance: &Inheritance, tools: &Tools) {
        let Some(slot) = tools.slots.get(self.spec.slot) else {
            return;
        };
        let before = tools.slots_before.as_ref();
        let before = before.and_then(|slots| slots.get(inheritance.slot));
        if let Some(before) = before {
            slot.inherit(before);
            self.mistakes.begin(&slot.heard());
        }
        self.tally = inheritance.tally;
        let Some(tenure) = inheritance.tenure else {
            return;
        };
        self.slot_before = before.map(|_| inheritance.slot);
        self.watch.rests_until_ns = 0;
        self.has_moved = inheritance.announces;
        let is_news = inheritance.told != Some(inheritance.state);
        let tenure = if is_news { tenure.untold() } else { tenure };
        self.state = inheritance.state;
        self.cause = inheritance.cause;
        self.since_ns = inheritance.since_ns;
        let home = self.spec.home;
        self.handle(Event::Mac(home.mac), tools);
        if let Some(ip) = home.source {
            self.handle(Event::Source(Source::of(ip)), tools);
        }
        let now_ns = clock::now_ns();
        let heard = slot.heard();
        let actions = self.election.take_up(now_ns, &tenure, &heard);
        if let Some(event) = self.carry_out(now_ns, &actions, tools) {
            self.handle(event, tools);
        }
        if let Some(before) = before {
            slot.catch_up(before);
        }
        if is_news && inheritance.state == State::Backup && self.state == State::Backup {
            self.enter(
                State::Backup,
                self.cause.unwrap_or(Cause::Startup),
                slot,
                tools,
            );
        }
        self.look(tools);
    }

    /// Its slot in the slots of the daemon before, until that one's programs are replaced.
    pub(super) fn slot_of_before<'t>(&self, tools: &'t Tools) -> Option<&'t Slot> {
        let slots = tools.slots_before.as_ref()?;
        self.slot_before.and_then(|index| slots.get(index))
    }

    /// Whether it has not yet gone on where the daemon before left off.
    pub(in crate::election) const fn awaits_inheritance(&self) -> bool {
        self.spec.inheritance.is_some()
    }

    /// The programs that wrote into the slot of the daemon before have been replaced.
    pub(in crate::election) fn catch_up(&mut self, tools: &Tools) {
        let before = tools.slots_before.as_ref();
        if let Some(index) = self.slot_before.take()
            && let Some(before) = before.and_then(|slots| slots.get(index))
            && let Some(slot) = tools.slots.get(self.spec.slot)
        {
            slot.catch_up(before);
            self.look(tools);
        }
    }

    /// What to hand over; nothing where it does not take part.
    pub(in crate::election) fn hand_over(&mut self, tools: &Tools) -> Option<Inheritance> {
        // The last advert must not rest on less than any other.
        self.look(tools);
        let asked_ns = clock::now_ns();
        if let Some(slot) = tools.slots.get(self.spec.slot) {
            self.handle_at(asked_ns, Event::Look(slot.heard()), tools);
            self.handle_at(asked_ns, Event::Vouch, tools);
        }
        Some(Inheritance {
            slot: self.spec.slot,
            tenure: Some(self.election.hand_over()?),
            state: self.state,
            cause: self.cause,
            since_ns: self.since_ns,
            tally: self.tally,
            told: None,
            announces: false,
        })
    }
}
