//! One virtual router: its machine, its frames, and the carrying out of actions in order.

mod belongings;
mod inheriting;
mod speaking;

use std::collections::BTreeSet;

use tokio::sync::mpsc::UnboundedSender;
use vrrp_common::{
    arbiter,
    election::{Action, Actions, Cause, Election, Event, State, group::Stance},
    slot::{Facts, Heard, Slot, Surroundings},
    timers::NS_PER_S,
    validate,
    vrrp::Source,
};

use super::{
    Notice, RouterSnapshot, RouterSpec, Settled, Tally, Transition,
    frames::Frames,
    mistakes::{Mistakes, Own},
    outbox::Outbox,
    pacer::Pacer,
};
use crate::{
    clock,
    dataplane::SlotTable,
    net::{Change, PacketSocket, UnicastSocket, Worker},
};

/// What a virtual router carries its actions out with.
pub(super) struct Tools {
    pub(super) slots: SlotTable,
    pub(super) socket: PacketSocket,
    pub(super) worker: Worker<Settled>,
    pub(super) notices: UnboundedSender<Notice>,
    pub(super) pacer: Pacer,
    /// What is sent at the end of a turn.
    pub(super) outbox: Outbox,
    /// The slots of the daemon before, where it has handed them over.
    pub(super) slots_before: Option<SlotTable>,
}

impl Tools {
    pub(super) fn notify(&self, notice: Notice) {
        // An error means that the process is ending.
        let _ = self.notices.send(notice);
    }
}

/// One virtual router.
pub(super) struct Router {
    spec: RouterSpec,
    election: Election,
    frames: Frames,
    /// The sum of the addresses that are advertised.
    addresses_sum: u16,
    unicast: Option<UnicastSocket>,
    cause: Option<Cause>,
    since_ns: u64,
    state: State,
    tally: Tally,
    mistakes: Mistakes,
    watch: Watch,
    /// A failure to send lasts, and was told.
    fails_to_send: bool,
    /// Addresses have come to another interface or MAC, or come back: they are announced once they are
    /// there.
    has_moved: bool,
    /// The fence has held an advert back: there is something to look at.
    was_fenced: bool,
    /// The slot of the daemon before, until its programs are replaced.
    slot_before: Option<u32>,
    removed_from: BTreeSet<u32>,
    /// The lease that the election has asked for.
    lease_ns: u64,
    /// No lease lasts longer: until then an arbiter lets us be MASTER.
    permit_until_ns: u64,
}

/// What a backup at rest needs to see that nothing is new: together, because by then the caches have lost
/// it, and with everything else of the router it would be a line of them more for each.
#[derive(Default)]
struct Watch {
    slot: u32,
    /// Until then only what is new needs a whole look.
    rests_until_ns: u64,
    /// What the last look found, apart from when.
    surroundings: Surroundings,
}

/// Looks at the slot again at most this often in a row; the next deadline looks anyway.
const MAX_LOOKS: usize = 4;

/// However little is new, everything is looked at this often.
const LOOK_EVERY_NS: u64 = NS_PER_S;

/// Whose advert led to a transition. A master that fell below us goes on being heard, but its adverts
/// hold us down no longer: then it is the one that is news, not what it said before.
fn concerned(cause: Cause, heard: &Heard) -> Facts {
    if cause == Cause::MasterTimeout && heard.other_ns > heard.seen_ns {
        heard.other
    } else {
        heard.master
    }
}

impl Router {
    pub(super) fn new(spec: RouterSpec, tools: &Tools) -> Self {
        let source = spec.home.source.map_or(Source::default(), Source::of);
        let election = Election::new(spec.settings, spec.priority, source, spec.home.mac);
        let mut router = Self {
            frames: Frames::default(),
            addresses_sum: 0,
            unicast: None,
            cause: None,
            since_ns: clock::now_ns(),
            state: State::Init,
            tally: Tally::default(),
            mistakes: Mistakes::default(),
            watch: Watch {
                slot: spec.slot,
                ..Watch::default()
            },
            fails_to_send: false,
            has_moved: false,
            was_fenced: false,
            slot_before: None,
            removed_from: BTreeSet::new(),
            lease_ns: 0,
            permit_until_ns: arbiter::FOREVER,
            election,
            spec,
        };
        router.build_frames();
        if let Some(slot) = tools.slots.get(router.spec.slot) {
            slot.publish_rules(&router.spec.rules);
            slot.publish_port(router.spec.home.port);
            slot.publish(router.election.standing());
        }
        router
    }

    /// When the router wants to look at its slot at the latest.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.election.deadline()
    }

    /// How much earlier than that a look does no harm.
    pub(super) const fn may_look_early_ns(&self) -> u64 {
        self.election.early_ns()
    }

    pub(super) const fn slot(&self) -> u32 {
        self.spec.slot
    }

    /// How it stands towards its sync group.
    pub(super) const fn stance(&self) -> Stance {
        self.election.stance()
    }

    /// The deadline has passed, which to a backup at rest means that its master was heard again. What
    /// neighbours do wrong, and what else only a whole look notices, is seen a little later.
    /// Returns whether that is all there was.
    pub(super) fn look_again(&mut self, now_ns: u64, tools: &Tools) -> bool {
        let watch = &self.watch;
        let slot = tools.slots.get(watch.slot);
        let slot = slot.filter(|_| now_ns < watch.rests_until_ns);
        let again = slot.and_then(|slot| slot.heard_again(&watch.surroundings));
        let is_all = again.is_some_and(|again| self.election.hear_again(now_ns, again));
        if !is_all {
            self.look(tools);
        }
        is_all
    }

    /// The doorbell rang, or the deadline passed.
    pub(super) fn look(&mut self, tools: &Tools) {
        for _ in 0..MAX_LOOKS {
            let Some(slot) = tools.slots.get(self.spec.slot) else {
                return;
            };
            // What is decided now knows nothing of what is heard from here on.
            let asked_ns = clock::now_ns();
            // Until the programs of the daemon before are replaced, it is they who hear.
            if let Some(before) = self.slot_of_before(tools) {
                slot.catch_up(before);
            }
            let heard = slot.heard();
            slot.acknowledge(heard.news_seq);
            self.watch.surroundings = heard.surroundings();
            self.watch.rests_until_ns = if self.slot_before.is_none() {
                asked_ns + LOOK_EVERY_NS
            } else {
                0
            };
            self.report_mistakes(&heard, asked_ns, tools);
            self.handle_at(asked_ns, Event::Look(heard), tools);
            if !slot.has_news() && !std::mem::take(&mut self.was_fenced) {
                return;
            }
        }
    }

    /// Feeds an event to the machine and carries out everything that follows from it.
    pub(super) fn handle(&mut self, event: Event, tools: &Tools) {
        self.handle_at(clock::now_ns(), event, tools);
    }

    fn handle_at(&mut self, now_ns: u64, event: Event, tools: &Tools) {
        if matches!(event, Event::FaultRaised | Event::Startup) {
            // It goes its own way.
            self.spec.inheritance = None;
        }
        let mut next = Some(event);
        while let Some(event) = next {
            let actions = self.election.handle(now_ns, event);
            next = self.carry_out(now_ns, &actions, tools);
        }
    }

    /// The configuration changed. Where it lives and what it has there is told by [`Self::relocate`].
    pub(super) fn reconfigure(&mut self, spec: RouterSpec, tools: &Tools) {
        let had = self.spec.clone();
        self.spec = RouterSpec {
            slot: had.slot,
            home: had.home,
            belongings: had.belongings,
            inheritance: had.inheritance,
            ..spec
        };
        if let Some(slot) = tools.slots.get(self.spec.slot) {
            slot.publish_rules(&self.spec.rules);
        }
        if had.audience != self.spec.audience {
            self.open_unicast(tools);
        }
        self.build_frames();
        self.handle(Event::Settings(self.spec.settings), tools);
        self.look(tools);
    }

    /// Returns what has happened by it.
    fn carry_out(&mut self, decided_ns: u64, actions: &Actions, tools: &Tools) -> Option<Event> {
        let slot = tools.slots.get(self.spec.slot)?;
        let mut happened = None;
        for action in actions.iter() {
            match action {
                Action::Publish(standing) => {
                    slot.publish(&standing);
                    if standing.priority != self.frames.priority {
                        self.build_frames();
                    }
                }
                Action::Lease(lease_ns) => {
                    self.lease_ns = lease_ns;
                    self.store_lease(slot, tools);
                    if lease_ns == 0 {
                        tools.pacer.forget(self.spec.id);
                        tools.outbox.forget(self.spec.id);
                    }
                }
                Action::Advertise { priority } => {
                    if self.advertise(priority, decided_ns, slot, tools) {
                        happened = Some(Event::Advertised(decided_ns));
                    }
                }
                Action::AddAddresses { .. } => {
                    self.change(Change::Add, self.spec.belongings.clone(), tools);
                }
                Action::RemoveAddresses => {
                    self.change(Change::Remove, self.spec.belongings.clone(), tools);
                    self.removed_from = self.interfaces().collect();
                }
                Action::Announce { repeat } => self.announce(repeat, tools),
                Action::HeardLesser => {
                    let (id, priority) = (self.spec.id, self.election.standing().priority);
                    tools.notify(Notice::HeardLesser { id, priority });
                }
                Action::Entered(state, cause) => self.enter(state, cause, slot, tools),
            }
        }
        happened
    }

    fn store_lease(&self, slot: &Slot, tools: &Tools) {
        let lease_ns = self.lease_ns.min(self.permit_until_ns);
        slot.store_lease(lease_ns);
        // Until the programs of the daemon before are replaced it is they who answer.
        if let Some(before) = self.slot_of_before(tools) {
            before.store_lease(lease_ns);
        }
    }

    /// From now on an arbiter lets us be MASTER until then.
    pub(super) fn bound_by(&mut self, until_ns: u64, tools: &Tools) {
        self.permit_until_ns = until_ns;
        if self.lease_ns > 0
            && let Some(slot) = tools.slots.get(self.spec.slot)
        {
            self.store_lease(slot, tools);
        }
    }

    /// The priority that we are a candidate with; 0 where nobody is to give way to us.
    pub(super) const fn candidacy(&self) -> u8 {
        if self.election.settings().preempt {
            self.election.standing().priority
        } else {
            0
        }
    }

    const fn has_sent(&mut self, resigns: bool) {
        self.fails_to_send = false;
        self.tally.adverts_sent += 1;
        self.tally.priority_zero_sent += resigns as u64;
    }

    fn enter(&mut self, state: State, cause: Cause, slot: &Slot, tools: &Tools) {
        let before = std::mem::replace(&mut self.state, state);
        self.tally.became_master += u64::from(state == State::Master);
        self.tally.released_master += u64::from(before == State::Master && state != State::Master);
        self.tally.resignations_heard += u64::from(cause == Cause::MasterResigned);
        self.cause = Some(cause);
        self.since_ns = clock::now_ns();
        let heard = slot.heard();
        let transition = Transition {
            id: self.spec.id,
            state,
            cause,
            at_ns: self.since_ns,
            priority: self.election.standing().priority,
            master: concerned(cause, &heard),
            seen_ns: heard.seen_ns,
        };
        tools.notify(Notice::Entered(transition));
    }

    /// Tells what neighbours do wrong.
    fn report_mistakes(&mut self, heard: &Heard, now_ns: u64, tools: &Tools) {
        let own = Own {
            rules: &self.spec.rules,
            form: self.spec.form,
            count: self.spec.advertised.len(),
            addresses_sum: self.addresses_sum,
        };
        let id = self.spec.id;
        for noticed in self.mistakes.look(heard, &own, now_ns) {
            tools.notify(Notice::Mistake { id, noticed });
        }
    }

    fn build_frames(&mut self) {
        let priority = self.election.standing().priority;
        self.frames = Frames::build(&self.spec, priority);
        let addresses = self.spec.advertised.iter().copied();
        self.addresses_sum = validate::addresses_sum(addresses.map(Source::of));
    }

    /// It is one of many: its adverts go with theirs from now on.
    pub(super) const fn share_beat(&mut self) {
        self.election.share_beat();
    }

    pub(super) fn snapshot(&self, tools: &Tools) -> RouterSnapshot {
        let slot = tools.slots.get(self.spec.slot);
        RouterSnapshot {
            id: self.spec.id,
            state: self.election.state(),
            cause: self.cause,
            since_ns: self.since_ns,
            now_ns: clock::now_ns(),
            priority: self.election.standing().priority,
            floor: self.election.standing().floor,
            home: self.spec.home,
            lease_ns: slot.map_or(0, Slot::lease_ns),
            deadline_ns: self.election.deadline(),
            heard: slot.map(Slot::heard).unwrap_or_default(),
            tally: self.tally,
            mistakes: self.mistakes.all(),
        }
    }
}
