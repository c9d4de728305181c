//! One virtual router: its machine, its frames, and the carrying out of actions in order.

use std::collections::VecDeque;

use tokio::sync::mpsc::UnboundedSender;
use vrrp_common::{
    election::{Action, Actions, Cause, Election, Event, State, group::Stance},
    slot::{Facts, Heard, Slot},
    timers, validate,
    vrrp::{PRIORITY_RESIGN, Source},
};

use super::{
    Audience, Command, ElectionHandle, Home, Notice, RouterSnapshot, RouterSpec, Tally, Transition,
    frames::Frames,
};
use crate::{
    clock,
    dataplane::SlotTable,
    net::{AddressJob, AddressWorker, Change, PacketSocket, Refused, UnicastSocket},
};

/// What a virtual router carries its actions out with.
pub(super) struct Tools {
    pub(super) slots: SlotTable,
    pub(super) socket: PacketSocket,
    pub(super) addresses: AddressWorker,
    pub(super) notices: UnboundedSender<Notice>,
    pub(super) mailbox: ElectionHandle,
}

impl Tools {
    fn notify(&self, notice: Notice) {
        // An error means that the process is ending.
        let _ = self.notices.send(notice);
    }
}

/// One virtual router.
pub(super) struct Router {
    spec: RouterSpec,
    election: Election,
    frames: Frames,
    unicast: Option<UnicastSocket>,
    cause: Option<Cause>,
    since_ns: u64,
    state: State,
    tally: Tally,
    reported: Reported,
    removed_from: Option<u32>,
}

/// What was reported already, so that each piece of news is told once.
#[derive(Default)]
struct Reported {
    addresses: [Facts; 2],
    foreign_zero: u64,
    claim_ns: u64,
    quiet_until_ns: u64,
    sending: bool,
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
            unicast: None,
            cause: None,
            since_ns: clock::now_ns(),
            state: State::Init,
            tally: Tally::default(),
            reported: Reported::default(),
            removed_from: None,
            election,
            spec,
        };
        router.build_frames();
        if let Some(slot) = tools.slots.get(router.spec.slot) {
            slot.publish_rules(&router.spec.rules);
            slot.publish(router.election.standing());
        }
        router
    }

    /// When the router wants to look at its slot at the latest.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.election.deadline()
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
            let heard = slot.heard();
            slot.acknowledge(heard.news_seq);
            self.report_news(&heard, tools);
            self.handle(Event::Look(heard), tools);
            if !slot.has_news() {
                return;
            }
        }
    }

    /// Feeds an event to the machine and carries out everything that follows from it.
    pub(super) fn handle(&mut self, event: Event, tools: &Tools) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let actions = self.election.handle(clock::now_ns(), event);
            self.carry_out(&actions, &mut events, tools);
        }
    }

    /// Another virtual router has taken addresses off our interface, and the kernel may have taken
    /// ours with them, as the secondary addresses of one that went. Adding what is there already
    /// changes nothing.
    pub(super) fn restore_addresses(&self, tools: &Tools) {
        if self.election.state() == State::Master {
            let epoch = self.election.standing().epoch;
            self.change_addresses(Change::Add, epoch, tools);
        }
    }

    /// The interface whose addresses this router has just removed, once.
    pub(super) fn take_removed(&mut self) -> Option<u32> {
        self.removed_from.take()
    }

    pub(super) const fn ifindex(&self) -> u32 {
        self.spec.home.ifindex
    }

    /// The interface, its MAC or its address changed.
    pub(super) fn relocate(&mut self, home: Home, tools: &Tools) {
        let before = std::mem::replace(&mut self.spec.home, home);
        if before.source != home.source || !before.is_on(&home) {
            self.open_unicast(tools);
        }
        self.build_frames();
        let idle = matches!(self.election.state(), State::Init | State::Fault);
        if idle && before.ifindex != home.ifindex && !self.spec.owner {
            // Whatever a daemon that crashed has left there goes before anything else happens.
            self.change_addresses(Change::Remove, 0, tools);
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

    /// The addresses are in place, and the lease may be granted. Until it is, the kernel judges
    /// adverts as for a backup, and one that beats us is no news to it: so the slot is looked at
    /// before, and again after the store.
    pub(super) fn settled(&mut self, epoch: u64, refused: u32, tools: &Tools) {
        self.tally.addresses_refused += u64::from(refused);
        self.look(tools);
        self.handle(Event::Settled(epoch), tools);
        self.look(tools);
    }

    fn carry_out(&mut self, actions: &Actions, events: &mut VecDeque<Event>, tools: &Tools) {
        let Some(slot) = tools.slots.get(self.spec.slot) else {
            return;
        };
        for action in actions.iter() {
            match action {
                Action::Publish(standing) => {
                    slot.publish(&standing);
                    if standing.priority != self.frames.priority {
                        self.build_frames();
                    }
                }
                Action::Lease(lease_ns) => slot.store_lease(lease_ns),
                Action::Advertise { priority } => {
                    events.extend(self.advertise(priority, slot, tools).map(Event::Advertised));
                }
                Action::AddAddresses { epoch } => self.change_addresses(Change::Add, epoch, tools),
                Action::RemoveAddresses => {
                    self.change_addresses(Change::Remove, 0, tools);
                    self.removed_from = Some(self.spec.home.ifindex);
                }
                Action::Announce { repeat } => self.announce(repeat, tools),
                Action::Entered(state, cause) => self.enter(state, cause, slot, tools),
            }
        }
    }

    /// Sends one advert. Returns when the clock was read before sending, if the kernel took it and
    /// it vouches for us.
    fn advertise(&mut self, priority: u8, slot: &Slot, tools: &Tools) -> Option<u64> {
        let resigns = priority == PRIORITY_RESIGN;
        if !self.frames.can_advertise() {
            return None;
        }
        let before_ns = clock::now_ns();
        slot.store_decided(before_ns);
        let ifindex = self.spec.home.ifindex;
        let unicast = self.unicast.as_ref();
        let sent = self
            .frames
            .send_advert(resigns, ifindex, &tools.socket, unicast);
        if let Err(error) = sent {
            self.send_failed(&error.to_string(), tools);
            return None;
        }
        self.reported.sending = false;
        self.tally.adverts_sent += 1;
        self.tally.priority_zero_sent += u64::from(resigns);
        (!resigns).then_some(before_ns)
    }

    /// Told once per failure that lasts, not once per advert.
    fn send_failed(&mut self, what: &str, tools: &Tools) {
        self.tally.send_failures += 1;
        if !std::mem::replace(&mut self.reported.sending, true) {
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

    fn announce(&mut self, repeat: u32, tools: &Tools) {
        let frames = self.frames.round(self.spec.home.ifindex, repeat);
        let failures = tools.socket.send(&frames);
        self.tally.send_failures += failures.len() as u64;
        if failures.is_empty() {
            self.tally.announcements_sent += frames.len() as u64;
        }
    }

    fn change_addresses(&self, change: Change, epoch: u64, tools: &Tools) {
        let id = self.spec.id;
        let mailbox = tools.mailbox.clone();
        let notices = tools.notices.clone();
        let done = move |refused: Vec<Refused>| {
            let count = u32::try_from(refused.len()).unwrap_or(u32::MAX);
            for Refused { address, error } in refused {
                let verb = if change == Change::Add {
                    "add"
                } else {
                    "remove"
                };
                let what = format!("{verb} {address}: {error}");
                // An error means that the process is ending.
                let _ = notices.send(Notice::AddressRefused { id, what });
            }
            if change == Change::Add {
                mailbox.send(Command::Settled {
                    id,
                    epoch,
                    refused: count,
                });
            }
        };
        tools.addresses.submit(AddressJob {
            ifindex: self.spec.home.ifindex,
            change,
            addresses: self.spec.addresses.clone(),
            keep_own: self.spec.owner,
            done: Box::new(done),
        });
    }

    fn enter(&mut self, state: State, cause: Cause, slot: &Slot, tools: &Tools) {
        let before = std::mem::replace(&mut self.state, state);
        self.tally.became_master += u64::from(state == State::Master);
        self.tally.released_master += u64::from(before == State::Master && state != State::Master);
        self.cause = Some(cause);
        self.since_ns = clock::now_ns();
        let transition = Transition {
            id: self.spec.id,
            state,
            cause,
            at_ns: self.since_ns,
            priority: self.election.standing().priority,
            master: concerned(cause, &slot.heard()),
        };
        tools.notify(Notice::Entered(transition));
    }

    /// Tells what is worth a line in the log, a few lines per second at most. What is held back now
    /// is told at a later look; the counters have it all the time.
    fn report_news(&mut self, heard: &Heard, tools: &Tools) {
        let now_ns = clock::now_ns();
        if now_ns < self.reported.quiet_until_ns {
            return;
        }
        let notices = self.find_news(heard);
        if !notices.is_empty() {
            self.reported.quiet_until_ns = now_ns + timers::NS_PER_S;
        }
        for notice in notices {
            tools.notify(notice);
        }
    }

    fn find_news(&mut self, heard: &Heard) -> Vec<Notice> {
        let id = self.spec.id;
        let own_sum = validate::addresses_sum(self.spec.advertised.iter().copied().map(Source::of));
        let own_count = self.spec.advertised.len();
        let mut notices = Vec::new();
        for (facts, reported) in [heard.master, heard.other]
            .into_iter()
            .zip(&mut self.reported.addresses)
        {
            let same = facts.addresses_sum == own_sum && usize::from(facts.count) == own_count;
            let known =
                facts.source == reported.source && facts.addresses_sum == reported.addresses_sum;
            if !facts.source.is_unspecified() && !same && !known {
                *reported = facts;
                notices.push(Notice::OtherAddresses { id, facts });
            }
        }
        if heard.foreign_zero > self.reported.foreign_zero {
            self.reported.foreign_zero = heard.foreign_zero;
            notices.push(Notice::ForeignResignation { id });
        }
        if heard.claim_ns > self.reported.claim_ns {
            self.reported.claim_ns = heard.claim_ns;
            notices.push(Notice::Claim {
                id,
                mac: heard.claim_mac,
            });
        }
        notices
    }

    fn build_frames(&mut self) {
        let priority = self.election.standing().priority;
        self.frames = Frames::build(&self.spec, priority);
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
        }
    }
}
