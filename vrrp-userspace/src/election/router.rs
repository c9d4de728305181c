//! One virtual router: its machine, its frames, and the carrying out of actions in order.

mod inheriting;

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::mpsc::UnboundedSender;
use vrrp_common::{
    arbiter,
    election::{Action, Actions, Cause, Election, Event, State, group::Stance},
    slot::{Facts, Heard, Slot},
    validate,
    vrrp::{PRIORITY_RESIGN, Source},
};

use super::{
    Audience, Command, ElectionHandle, Home, Notice, RouterSnapshot, RouterSpec, Tally, Transition,
    frames::Frames,
    mistakes::{Mistakes, Own},
    outbox::{Fate, Outbox},
    pacer::Pacer,
};
use crate::{
    clock,
    dataplane::SlotTable,
    net::{Belonging, Change, Job, PacketSocket, Refused, UnicastSocket, Worker},
};

/// What a virtual router carries its actions out with.
pub(super) struct Tools {
    pub(super) slots: SlotTable,
    pub(super) socket: PacketSocket,
    pub(super) worker: Worker,
    pub(super) notices: UnboundedSender<Notice>,
    pub(super) mailbox: ElectionHandle,
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

/// Looks at the slot again at most this often in a row; the next deadline looks anyway.
const MAX_LOOKS: usize = 4;

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

    /// Another virtual router has taken addresses off our interface, and the kernel may have taken
    /// ours with them, as the secondary addresses of one that went. Adding what is there already
    /// changes nothing.
    pub(super) fn restore_addresses(&self, tools: &Tools) {
        if self.election.state() == State::Master {
            self.change(Change::Add, self.spec.belongings.clone(), tools);
        }
    }

    /// Somebody removed one of our belongings, or a link of theirs came.
    pub(super) fn restore(&mut self, tools: &Tools) {
        if self.election.state() == State::Master {
            self.tally.restored += 1;
            self.has_moved = true;
            self.restore_addresses(tools);
        }
    }

    /// The interfaces whose addresses this router has just removed, once.
    pub(super) fn take_removed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.removed_from)
    }

    /// The interfaces that its addresses are on.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = u32> {
        let addresses = self.spec.belongings.iter().filter_map(Belonging::address);
        addresses.map(|(ifindex, _)| ifindex)
    }

    /// The interface, its MAC or its address changed, or where the belongings are.
    pub(super) fn relocate(&mut self, home: Home, belongings: Arc<[Belonging]>, tools: &Tools) {
        let moved = *self.spec.belongings != *belongings;
        let had = std::mem::replace(&mut self.spec.belongings, belongings);
        let before = std::mem::replace(&mut self.spec.home, home);
        if let Some(slot) = tools.slots.get(self.spec.slot) {
            slot.publish_port(home.port);
        }
        if before.source != home.source || !before.is_on(&home) {
            self.open_unicast(tools);
        }
        self.build_frames();
        if moved || before.ifindex != home.ifindex || before.mac != home.mac {
            // What they say is not so any more.
            tools.outbox.forget_repeats(self.spec.id);
        }
        if self.election.state() == State::Init
            && home.ifindex != 0
            && let Some(inheritance) = self.spec.inheritance.take()
        {
            self.inherit(&inheritance, tools);
            if inheritance.tenure.is_some() {
                return;
            }
        }
        let idle = matches!(self.election.state(), State::Init | State::Fault);
        if idle && moved && !self.spec.owner {
            // Whatever a daemon that crashed has left there goes before anything else happens.
            self.change(Change::Remove, self.spec.belongings.clone(), tools);
        }
        if moved && self.election.state() == State::Master {
            let goes =
                |entry: &&Belonging| !self.spec.belongings.iter().any(|it| it.is_alike(entry));
            let gone: Arc<[Belonging]> = had.iter().filter(goes).cloned().collect();
            // Others may have lost secondary addresses with one of these.
            self.removed_from = gone
                .iter()
                .filter_map(Belonging::address)
                .map(|it| it.0)
                .collect();
            self.change(Change::Remove, gone, tools);
            self.change(Change::Add, self.spec.belongings.clone(), tools);
            self.has_moved = true;
        }
        if before.mac != home.mac {
            self.handle(Event::Mac(home.mac), tools);
        }
        if let Some(ip) = home.source
            && before.source != home.source
        {
            self.handle(Event::Source(Source::of(ip)), tools);
        }
    }

    /// The configuration changed. Where it lives and what it has there is told by [`Self::relocate`].
    pub(super) fn reconfigure(&mut self, spec: RouterSpec, tools: &Tools) {
        let had = self.spec.clone();
        self.spec = RouterSpec {
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

    /// The addresses are in place, and the lease may be granted. Until it is, the kernel judges
    /// adverts as for a backup, and one that beats us is no news to it: so the slot is looked at
    /// before, and again after the store.
    pub(super) fn settled(&mut self, epoch: u64, refused: u32, tools: &Tools) {
        self.tally.refused += u64::from(refused);
        self.look(tools);
        self.handle(Event::Settled(epoch), tools);
        self.look(tools);
        if std::mem::take(&mut self.has_moved) && self.election.state() == State::Master {
            self.announce(1, tools);
        }
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

    /// Sends one advert, or leaves that to the end of the turn. Says whether the kernel took it and it
    /// vouches for us.
    fn advertise(&mut self, priority: u8, decided_ns: u64, slot: &Slot, tools: &Tools) -> bool {
        let resigns = priority == PRIORITY_RESIGN;
        if !self.frames.can_advertise() {
            return false;
        }
        slot.store_decided(decided_ns);
        if let Some(before) = self.slot_of_before(tools) {
            before.store_decided(decided_ns);
        }
        let ifindex = self.spec.home.ifindex;
        if !resigns
            && tools.outbox.is_open()
            && let Some(frame) = self.frames.advert_to_group()
        {
            let whose = (self.spec.id, self.spec.slot);
            tools.outbox.advertise(whose, decided_ns, ifindex, frame);
            return false;
        }
        // The kernel's fence has the last word; where there is none, this is all there is.
        if !resigns && !slot.may_advertise(clock::now_ns()) {
            return self.fenced();
        }
        let unicast = self.unicast.as_ref();
        let sent = self
            .frames
            .send_advert(resigns, ifindex, &tools.socket, unicast);
        // It does not always tell the sender.
        if !resigns && !slot.may_advertise(clock::now_ns()) {
            return self.fenced();
        }
        if let Err(error) = sent {
            self.send_failed(&error.to_string(), tools);
            return false;
        }
        self.has_sent(resigns);
        !resigns
    }

    const fn has_sent(&mut self, resigns: bool) {
        self.fails_to_send = false;
        self.tally.adverts_sent += 1;
        self.tally.priority_zero_sent += resigns as u64;
    }

    /// What has become of an advert that waited for the end of the turn. Says whether there is something to
    /// look at.
    pub(super) fn has_advertised(
        &mut self,
        (decided_ns, now_ns): (u64, u64),
        fate: &Fate,
        tools: &Tools,
    ) -> bool {
        // The fence does not always tell the sender.
        let slot = tools.slots.get(self.spec.slot);
        let may = slot.is_some_and(|slot| slot.may_advertise(now_ns));
        match fate {
            // What the fence refuses looks like a failure of the kernel's.
            Fate::HeldBack | Fate::Failed(_) | Fate::Sent if !may => {
                self.fenced();
            }
            Fate::HeldBack => {
                self.fenced();
            }
            Fate::Failed(why) => self.send_failed(why, tools),
            Fate::Sent => {
                self.has_sent(false);
                self.handle_at(decided_ns, Event::Advertised(decided_ns), tools);
            }
        }
        self.was_fenced
    }

    /// An advert was too late: it vouches for nothing, and there is something to look at.
    const fn fenced(&mut self) -> bool {
        self.tally.adverts_fenced += 1;
        self.was_fenced = true;
        false
    }

    /// Told once per failure that lasts, not once per advert.
    fn send_failed(&mut self, what: &str, tools: &Tools) {
        self.tally.send_failures += 1;
        if !std::mem::replace(&mut self.fails_to_send, true) {
            tools.notify(Notice::SendFailed {
                id: self.spec.id,
                what: what.to_owned(),
            });
        }
    }

    /// The socket for unicast peers belongs to a source address and an interface.
    fn open_unicast(&mut self, tools: &Tools) {
        self.unicast = None;
        let Audience::Peers(_, ttl) = &self.spec.audience else {
            return;
        };
        let Some(source) = self.spec.home.source else {
            return;
        };
        match UnicastSocket::open(self.spec.home.ifindex, source, *ttl) {
            Ok(socket) => self.unicast = Some(socket),
            Err(error) => self.send_failed(&format!("from {source}: {error}"), tools),
        }
    }

    /// An announcement that waited for its turn has been sent, or the kernel did not take it.
    pub(super) const fn has_announced(&mut self, is_sent: bool) {
        self.tally.announcements_sent += is_sent as u64;
        self.tally.send_failures += !is_sent as u64;
    }

    fn announce(&mut self, repeat: u32, tools: &Tools) {
        let RouterSpec { id, slot, pace, .. } = self.spec;
        if !pace.is_free() {
            let frames = self.frames.rounds(repeat);
            tools.pacer.queue(id, slot, pace, &frames);
            return;
        }
        if tools.outbox.is_open() {
            let round = self.frames.round();
            return tools.outbox.announce((id, slot), &round, repeat);
        }
        let frames = self.frames.rounds(repeat);
        let failures = tools.socket.send(&frames);
        self.tally.send_failures += failures.len() as u64;
        if failures.is_empty() {
            self.tally.announcements_sent += frames.len() as u64;
        }
    }

    /// Changes belongings; what is added is for the promotion that we are in.
    fn change(&self, change: Change, belongings: Arc<[Belonging]>, tools: &Tools) {
        let id = self.spec.id;
        let epoch = self.election.standing().epoch;
        let mailbox = tools.mailbox.clone();
        let notices = tools.notices.clone();
        let done = move |refused: Vec<Refused>| {
            let count = u32::try_from(refused.len()).unwrap_or(u32::MAX);
            for Refused { what, error } in refused {
                let verb = if change == Change::Add {
                    "add"
                } else {
                    "remove"
                };
                let what = format!("{verb} {what}: {error}");
                // An error means that the process is ending.
                let _ = notices.send(Notice::Refused { id, what });
            }
            if change == Change::Add {
                mailbox.send(Command::Settled {
                    id,
                    epoch,
                    refused: count,
                });
            }
        };
        // Where only some go, the MAC stays.
        let is_whole = change == Change::Add || Arc::ptr_eq(&belongings, &self.spec.belongings);
        tools.worker.submit(Job {
            change,
            belongings,
            keep_own: self.spec.owner,
            virtual_mac: self.spec.home.virtual_mac().filter(|_| is_whole),
            done: Box::new(done),
        });
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
