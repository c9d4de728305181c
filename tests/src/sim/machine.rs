//! One machine of a simulated cluster: its virtual routers, each with the real machine and the real
//! slot, and the sync group they may form.

use vrrp_common::{
    election::{
        Action, Election, Event, Tenure,
        group::{self, Order},
    },
    slot::{Heard, Slot, Surroundings},
    timers,
    vrrp::{Advert, ChecksumForm, Source},
};

use super::{Fault, NodeSpec};

/// A virtual router on a machine.
pub(super) struct Virtual {
    pub(super) election: Election,
    pub(super) slot: Slot,
    /// What the last look has found.
    pub(super) surroundings: Surroundings,
    /// Counts deadlines: an older wake-up means nothing.
    pub(super) generation: u64,
}

impl Virtual {
    /// What to look at now. What the daemon passes over must come to the same.
    pub(super) fn read(&mut self, now: u64) -> Heard {
        let again = self.slot.heard_again(&self.surroundings);
        let heard = self.slot.heard();
        let mut passed = self.election.clone();
        if again.is_some_and(|again| passed.hear_again(now, again)) {
            let mut looked = self.election.clone();
            let actions = looked.handle(now, Event::Look(heard));
            assert_eq!(actions.iter().next(), None, "passed over");
            assert_eq!(passed, looked);
        }
        self.slot.acknowledge(heard.news_seq);
        self.surroundings = heard.surroundings();
        heard
    }
}

/// The rest of what a virtual router was about to do.
pub(super) struct Held {
    pub(super) router: usize,
    pub(super) actions: Vec<Action>,
    pub(super) decided_ns: u64,
}

/// A machine.
pub(super) struct Machine {
    pub(super) spec: NodeSpec,
    pub(super) routers: Vec<Virtual>,
    pub(super) fault: Option<Fault>,
    /// Where the process stands that is stopped as it sends.
    pub(super) held: Vec<Held>,
    /// What was handed over to the daemon that comes.
    left: Vec<Option<Tenure>>,
    /// The slot of the sync group.
    group: Slot,
    group_epoch: u64,
}

impl Machine {
    /// A machine that has not started, with so many virtual routers: more than one are a sync group.
    pub(super) fn new(spec: NodeSpec, routers: usize) -> Self {
        let mut settings = spec.settings;
        settings.grouped = routers > 1;
        let address = spec.address;
        let router = |_| {
            let source = Source::v4([10, 0, 0, address]);
            let mac = [2, 0, 0, 0, 0, address];
            let mut election = Election::new(settings, spec.priority, source, mac);
            // As with many virtual routers, on every second machine: their adverts go together.
            if address.is_multiple_of(2) {
                election.share_beat();
            }
            let slot = Slot::new();
            slot.publish(election.standing());
            slot.join_group(settings.grouped.then_some(0));
            Virtual {
                election,
                slot,
                surroundings: Surroundings::default(),
                generation: 0,
            }
        };
        Self {
            spec,
            routers: (0..routers).map(router).collect(),
            fault: Some(Fault::Restart),
            held: Vec::new(),
            left: Vec::new(),
            group: Slot::new(),
            group_epoch: 0,
        }
    }

    /// Whether its process runs.
    pub(super) const fn runs(&self) -> bool {
        let stands = matches!(
            self.fault,
            Some(Fault::Stop | Fault::Stun | Fault::Restart | Fault::Crash | Fault::HandOver)
        );
        !stands && self.held.is_empty()
    }

    /// Writes down what the next daemon goes on with.
    pub(super) fn leave(&mut self) {
        let routers = self.routers.iter();
        self.left = routers.map(|it| it.election.hand_over()).collect();
    }

    /// The next daemon, with slots of its own, and what it goes on with: what was left, or after a crash
    /// what the slots say.
    pub(super) fn succeed(&mut self, routers: usize, now: u64) -> Vec<Option<Tenure>> {
        let adverts = self.spec.settings.down_timer_adverts;
        let left = std::mem::take(&mut self.left);
        let slots = self.routers.iter().map(|it| &it.slot);
        let tenures = if left.is_empty() {
            let of_slot = |slot| Tenure::of_a_crash(slot, adverts, true, now);
            slots.map(of_slot).collect()
        } else {
            left
        };
        let mut next = Self::new(self.spec, routers);
        next.fault = None;
        next.group_epoch = self.group_epoch;
        if tenures
            .iter()
            .flatten()
            .any(|tenure| tenure.reign.is_some())
        {
            next.promote_group();
        }
        for (new, old) in next.routers.iter_mut().zip(&self.routers) {
            new.slot.inherit(&old.slot);
            new.generation = old.generation + 1;
        }
        *self = next;
        tenures
    }

    /// Whether frames reach a virtual router.
    pub(super) fn hears(&self, router: usize) -> bool {
        self.is_connected(router) && self.fault != Some(Fault::Deaf)
    }

    /// Whether its frames reach anybody.
    pub(super) fn is_heard(&self, router: usize) -> bool {
        self.is_connected(router) && self.fault != Some(Fault::Mute)
    }

    /// Whether it has a cable.
    fn is_connected(&self, router: usize) -> bool {
        match self.fault {
            Some(Fault::Stun | Fault::Cut | Fault::Restart) => false,
            Some(Fault::Unplug) => router != 0,
            _ => true,
        }
    }

    /// The kernel's part of receiving an advert. Says whether the doorbell rings.
    pub(super) fn record(&self, router: usize, advert: &Advert, now: u64) -> bool {
        let slot = &self.routers[router].slot;
        let rings = slot.record_advert(advert, now);
        if slot.loses_lease() && slot.group().is_some() {
            self.group.record_beaten_member();
        }
        rings
    }

    /// Whether its kernel answers for the address of a virtual router now.
    pub(super) fn answers(&self, router: usize, now: u64) -> bool {
        let slot = &self.routers[router].slot;
        let group_stands = slot.group().is_none() || !self.group.is_beaten();
        self.is_connected(router) && slot.may_answer(now) && group_stands
    }

    /// What its virtual routers must do together.
    pub(super) fn order(&self) -> Option<Order> {
        if self.routers.len() < 2 {
            return None;
        }
        group::decide(&self.routers.iter().map(|router| router.election.stance()))
    }

    /// A promotion of all: what beat them before counts no longer.
    pub(super) fn promote_group(&mut self) {
        self.group_epoch += 1;
        self.group.store_epoch(self.group_epoch);
    }

    /// What it advertises.
    pub(super) fn advert(&self, router: usize, priority: u8) -> Advert {
        let settings = self.routers[router].election.settings();
        let interval = settings.interval_ns / timers::NS_PER_CS;
        Advert {
            vrid: 1,
            priority,
            count: 1,
            interval_cs: u16::try_from(interval).expect("a short interval"),
            form: ChecksumForm::MessageOnly,
            addresses_sum: 0,
            source: Source::v4([10, 0, 0, self.spec.address]),
            mac: self.spec.address.into(),
        }
    }
}
