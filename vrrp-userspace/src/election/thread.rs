//! The loop: doorbell, timer, what is in place, mailbox.

mod agenda;
mod members;
mod sync_groups;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    thread,
};

use aya::maps::{MapData, RingBuf};
use tokio::{
    io::unix::AsyncFd,
    runtime,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
};
use vrrp_common::{contract::Doorbell, election::Event, timers::NS_PER_S};

use agenda::{Agenda, Place, Wish};
use members::Members;

use super::{
    Command, ElectionHandle, GroupSpec, Inheritance, Notice, RouterId, Scheduling, Settled,
    outbox::Outbox,
    pacer::Pacer,
    router::{Router, Tools},
};
use crate::{
    clock::{self, Alarm},
    dataplane::{Heartbeat, News, SlotTable},
    net::{Change, Job, PacketSocket, Worker},
    privileges,
};

/// What the thread is made of.
pub struct Parts {
    /// The slots.
    pub slots: SlotTable,
    /// The doorbells.
    pub news: News,
    /// The sign of life.
    pub heartbeat: Heartbeat,
    /// The sending end of every interface.
    pub socket: PacketSocket,
    /// What puts addresses, routes and rules in place.
    pub worker: Worker<Settled>,
    /// What it has put in place.
    pub settled: UnboundedReceiver<Vec<Settled>>,
    /// Where notices go.
    pub notices: UnboundedSender<Notice>,
    /// How the thread is scheduled.
    pub scheduling: Scheduling,
    /// The slots of the daemon before, where it has handed them over.
    pub slots_before: Option<SlotTable>,
}

/// Starts the thread.
///
/// # Errors
///
/// When the thread or its runtime cannot be had.
pub fn start(parts: Parts) -> io::Result<ElectionHandle> {
    let (mailbox, inbox) = mpsc::unbounded_channel();
    let handle = ElectionHandle { mailbox };
    let tools = Tools {
        slots: parts.slots,
        socket: parts.socket,
        worker: parts.worker,
        notices: parts.notices,
        pacer: Pacer::default(),
        outbox: Outbox::default(),
        slots_before: parts.slots_before,
    };
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (news, heartbeat, settled) = (parts.news, parts.heartbeat, parts.settled);
    thread::Builder::new()
        .name("xvrrp-election".to_owned())
        .spawn(move || {
            for refused in parts.scheduling.apply() {
                tracing::warn!("{refused}; the election goes on as an ordinary thread would");
            }
            privileges::leave_signals_alone();
            if let Err(error) = privileges::keep_for_the_network() {
                tracing::warn!("the election thread keeps all of its privileges: {error}");
            }
            runtime.block_on(async move {
                if let Err(error) = run(tools, news, heartbeat, (settled, inbox)).await {
                    // Without its timer the daemon is no router: the lease ends by itself, and the
                    // service manager starts a new one.
                    tracing::error!("the election thread failed: {error}; giving up");
                    std::process::exit(70);
                }
            });
        })?;
    Ok(handle)
}

struct Ring(RingBuf<MapData>);

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn register(ring: RingBuf<MapData>) -> io::Result<AsyncFd<Ring>> {
    // SAFETY: the ring owns its descriptor for as long as the registration lives.
    unsafe { AsyncFd::register(Ring(ring)) }.map_err(io::Error::from)
}

/// Waits for the kernel's doorbell and says which slots it rang for. Without kernel programs it
/// never rings.
async fn rung(ring: &mut Option<AsyncFd<Ring>>) -> io::Result<BTreeSet<u32>> {
    let Some(ring) = ring else {
        return std::future::pending().await;
    };
    let mut ready = ring.readable_mut().await?;
    let mut slots = BTreeSet::new();
    while let Some(event) = ready.get_inner_mut().0.next() {
        if let Ok(doorbell) = bytemuck::try_pod_read_unaligned::<Doorbell>(&event) {
            slots.insert(doorbell.slot);
        }
    }
    ready.clear_ready();
    Ok(slots)
}

async fn run(
    tools: Tools,
    news: News,
    mut heartbeat: Heartbeat,
    (mut settled, mut inbox): (UnboundedReceiver<Vec<Settled>>, UnboundedReceiver<Command>),
) -> io::Result<()> {
    let mut routers = Routers {
        tools,
        by_id: Members::new(),
        by_slot: BTreeMap::new(),
        agenda: Agenda::default(),
        removed_from: BTreeSet::new(),
        groups: Vec::new(),
        group_of: BTreeMap::new(),
        stirred: BTreeSet::new(),
        wants: 0,
    };
    let mut alarm = Alarm::new()?;
    let News { ring, mut bell } = news;
    let mut ring = ring.map(register).transpose()?;
    // A command that has to begin a turn.
    let mut first = None;
    let mut postponed = 0;
    loop {
        let deadline = routers.next_deadline();
        alarm.set(deadline)?;
        heartbeat
            .beat(deadline.unwrap_or_else(clock::now_ns))
            .map_err(io::Error::other)?;
        if first.is_none() && !routers.tools.outbox.has_more() {
            routers.tools.worker.go_anywhere();
        }
        tokio::select! {
            biased;
            slots = rung(&mut ring) => for slot in slots? {
                routers.rang(slot);
            },
            Some(slot) = bell.recv() => routers.rang(slot),
            due = alarm.rang() => due?,
            Some(all) = settled.recv() => routers.have_settled(&all),
            command = next_command(&mut first, &mut inbox) => match command {
                Some(Command::HandOver(reply)) => {
                    // Until somebody takes over, or nobody does, the programs go on consuming adverts.
                    heartbeat.beat(clock::now_ns() + HANDOVER_NS).map_err(io::Error::other)?;
                    // Whoever asked may have gone.
                    let _ = reply.send(routers.hand_over());
                    for command in held_back(&mut inbox).await {
                        routers.obey(command);
                    }
                }
                Some(command) => first = routers.obey_all(command, &mut inbox),
                None => return Ok(()),
            },
            // Only where nothing else is to be done; and only a pause lets the runtime see what has come to a
            // descriptor.
            () = tokio::task::yield_now(), if routers.tools.outbox.has_more() => {
                postponed = PATIENCE;
            }
        }
        routers.tools.worker.stay_beside();
        routers.run_due();
        routers.settle_groups();
        routers.restore_neighbours();
        routers.send_paced();
        if !routers.tools.outbox.has_more() {
            postponed = 0;
        }
        routers.end_turn();
        postponed += 1;
        if postponed > PATIENCE {
            routers.announce(true);
            postponed = 0;
        }
    }
}

/// For how many turns announcements that are repeated give way to everything else.
const PATIENCE: u32 = 32;

/// How many commands one turn obeys at most.
const COMMANDS: usize = 512;

async fn next_command(
    first: &mut Option<Command>,
    inbox: &mut UnboundedReceiver<Command>,
) -> Option<Command> {
    match first.take() {
        Some(command) => Some(command),
        None => inbox.recv().await,
    }
}

/// How many virtual routers are many.
const BEAT_FROM: usize = 16;

/// How long a handover may take before adverts are passed on to whoever listens.
const HANDOVER_NS: u64 = 10 * NS_PER_S;

/// Waits until the election is to go on, and returns what it was told meanwhile. Where nobody is left who could
/// tell it, the process is ending, and what was handed over stands: not one more turn follows.
async fn held_back(inbox: &mut UnboundedReceiver<Command>) -> Vec<Command> {
    let mut list = Vec::new();
    loop {
        match inbox.recv().await {
            Some(Command::GoOn) => return list,
            Some(command) => list.push(command),
            None => std::future::pending().await,
        }
    }
}

struct Routers {
    tools: Tools,
    by_id: Members<Entry>,
    by_slot: BTreeMap<u32, RouterId>,
    agenda: Agenda,
    /// Interfaces that have just lost addresses.
    removed_from: BTreeSet<u32>,
    groups: Vec<Group>,
    /// Which group a router is in, by index.
    group_of: BTreeMap<RouterId, usize>,
    /// Groups with a member that something happened to.
    stirred: BTreeSet<usize>,
    /// Counts what arbiters were told.
    wants: u64,
}

struct Group {
    spec: GroupSpec,
    /// Counts promotions.
    epoch: u64,
    /// What the arbiter was told last.
    told: Told,
    /// The number of that.
    number: u64,
    /// The end of its permit has been dealt with.
    is_over: bool,
}

/// What an arbiter was told that a group wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// Nothing yet.
    #[default]
    Nothing,
    /// To be MASTER, as a candidate of this priority.
    Wants(u8),
    /// Nothing of it.
    Declines,
}

struct Entry {
    router: Router,
    place: Option<Place>,
}

impl Entry {
    /// Keeps its deadline in the queue.
    fn keep(&mut self, id: RouterId, agenda: &mut Agenda, was_due: bool) {
        let wish = self.router.deadline().map(|at_ns| Wish {
            at_ns,
            early_ns: self.router.may_look_early_ns(),
        });
        self.place = agenda.put(id, (self.place, was_due), wish);
    }
}

impl Routers {
    fn next_deadline(&self) -> Option<u64> {
        let all = self.agenda.next().into_iter();
        let all = all.chain(self.tools.pacer.due());
        all.chain(self.permit_deadline()).min()
    }

    fn send_paced(&mut self) {
        let Tools {
            pacer,
            slots,
            socket,
            ..
        } = &self.tools;
        for id in pacer.run(clock::now_ns(), slots, socket) {
            if let Some(entry) = self.by_id.get_mut(id) {
                entry.router.has_announced(true);
            }
        }
    }

    /// Sends announcements, of those who may answer for their addresses: what the turn wants announced, or
    /// some of what is to be announced `again`.
    fn announce(&mut self, again: bool) {
        let Tools {
            outbox,
            slots,
            socket,
            ..
        } = &self.tools;
        let now_ns = clock::now_ns();
        let may = |slot| {
            let slot = slots.get(slot);
            slot.is_some_and(|slot| slot.may_answer(now_ns))
        };
        let announced = if again {
            outbox.send_again(socket, may)
        } else {
            outbox.send_announcements(socket, may)
        };
        for announced in announced {
            if let Some(entry) = self.by_id.get_mut(announced.id) {
                entry.router.has_announced(announced.is_sent);
            }
        }
    }

    /// Sends what the turn wants sent: the adverts of everybody, then the announcements.
    fn end_turn(&mut self) {
        let Tools {
            outbox,
            slots,
            socket,
            ..
        } = &self.tools;
        let now_ns = clock::now_ns();
        let adverts = outbox.send_adverts(socket, |advert| {
            let slot = slots.get(advert.slot);
            slot.is_some_and(|slot| slot.may_advertise(now_ns))
        });
        let (mut to_look, now_ns) = (Vec::new(), clock::now_ns());
        for (advert, fate) in adverts {
            if let Some(entry) = self.by_id.get_mut(advert.id)
                && entry
                    .router
                    .has_advertised((advert.decided_ns, now_ns), &fate, &self.tools)
            {
                to_look.push(advert.id);
            }
        }
        self.announce(false);
        if to_look.is_empty() {
            return;
        }
        // The turn is over: what follows from this is sent at once.
        for id in to_look {
            self.with(id, Router::look);
        }
        self.settle_groups();
        self.restore_neighbours();
    }

    fn run_due(&mut self) {
        let now = clock::now_ns();
        self.end_permits(now);
        let due = self.agenda.due(now);
        if !due.is_empty() {
            self.tools.outbox.open();
        }
        for id in due {
            let Some(entry) = self.by_id.get_mut(id) else {
                continue;
            };
            if entry.router.look_again(now, &self.tools) {
                entry.keep(id, &mut self.agenda, true);
            } else {
                self.has_acted(id, true);
            }
        }
    }

    fn rang(&mut self, slot: u32) {
        if let Some(id) = self.by_slot.get(&slot).copied() {
            self.with(id, Router::look);
        }
    }

    /// Does something with a router and keeps its deadline in the queue.
    fn with(&mut self, id: RouterId, act: impl FnOnce(&mut Router, &Tools)) {
        if let Some(entry) = self.by_id.get_mut(id) {
            act(&mut entry.router, &self.tools);
        }
        self.has_acted(id, false);
    }

    /// A router may want something else by now: its deadline, what its group does, what its neighbours on
    /// the interface lost. One that `was_due` has left the queue.
    fn has_acted(&mut self, id: RouterId, was_due: bool) {
        let Some(entry) = self.by_id.get_mut(id) else {
            return;
        };
        self.stirred.extend(self.group_of.get(&id));
        self.removed_from.extend(entry.router.take_removed());
        entry.keep(id, &mut self.agenda, was_due);
    }

    /// How everything stands; nothing happens until the election goes on.
    fn hand_over(&mut self) -> Vec<(RouterId, Inheritance)> {
        let mut list = Vec::new();
        for id in self.by_id.ids() {
            self.with(id, |router, tools| {
                list.extend(router.hand_over(tools).map(|inheritance| (id, inheritance)));
            });
        }
        list
    }

    /// Once per turn of the loop, whatever number of routers removed addresses in it.
    fn restore_neighbours(&mut self) {
        let interfaces = std::mem::take(&mut self.removed_from);
        if interfaces.is_empty() {
            return;
        }
        for entry in self.by_id.values() {
            let router = &entry.router;
            if router.interfaces().any(|index| interfaces.contains(&index)) {
                router.restore_addresses(&self.tools);
            }
        }
    }

    /// These have what they need to be MASTER.
    fn have_settled(&mut self, all: &[Settled]) {
        self.tools.outbox.open();
        for it in all {
            self.with(it.id, |router, tools| {
                router.settled(it.epoch, it.refused, tools);
            });
        }
    }

    /// Obeys everything that was asked by now, until somebody is due. What has to begin a turn of its own is
    /// returned.
    fn obey_all(
        &mut self,
        command: Command,
        inbox: &mut UnboundedReceiver<Command>,
    ) -> Option<Command> {
        self.tools.outbox.open();
        self.obey(command);
        for _ in 1..COMMANDS {
            let now_ns = clock::now_ns();
            if self.next_deadline().is_some_and(|due| due <= now_ns) {
                break;
            }
            match inbox.try_recv() {
                Ok(Command::HandOver(reply)) => return Some(Command::HandOver(reply)),
                Ok(command) => self.obey(command),
                Err(_) => break,
            }
        }
        None
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(spec) => {
                let id = spec.id;
                let router = Router::new(*spec, &self.tools);
                self.by_slot.insert(router.slot(), id);
                let entry = Entry {
                    router,
                    place: None,
                };
                self.by_id.insert(id, entry);
                self.share_beat(id);
            }
            // What changes the floor or the state wants a fresh look at the slot: an advert that
            // arrived just before the change was judged by the old rules.
            Command::Tell(id, event) => self.with(id, |router, tools| {
                router.handle(event, tools);
                router.look(tools);
            }),
            Command::Move(id, home, belongings) => {
                self.with(id, |router, tools| router.relocate(home, belongings, tools));
                self.resume_group(id);
            }
            Command::Snapshot(reply) => {
                let all = self
                    .by_id
                    .values()
                    .map(|entry| entry.router.snapshot(&self.tools));
                // Whoever asked may have gone.
                let _ = reply.send(all.collect());
            }
            Command::Restore(id) => self.with(id, Router::restore),
            Command::CatchUp => {
                for id in self.by_id.ids() {
                    self.with(id, Router::catch_up);
                }
            }
            // Dealt with where the mailbox is read; nobody waits to go on.
            Command::HandOver(_) | Command::GoOn => {}
            Command::Change(spec) => {
                let id = spec.id;
                self.with(id, |router, tools| router.reconfigure(*spec, tools));
            }
            Command::Regroup(specs) => self.regroup(specs),
            Command::Permit {
                slot,
                until_ns,
                number,
            } => self.permit(slot, until_ns, number),
            Command::Retire(id) => self.retire(id),
            Command::Stop(reply) => {
                for id in self.by_id.ids() {
                    self.retire(id);
                }
                self.answer_when_idle(reply);
            }
            Command::Idle(reply) => self.answer_when_idle(reply),
        }
    }

    /// The worker does its jobs in order: when an empty one is done, all are.
    fn answer_when_idle(&self, reply: oneshot::Sender<()>) {
        self.tools.worker.submit_beside(Job {
            change: Change::Remove,
            belongings: Arc::new([]),
            keep_own: false,
            virtual_mac: None,
            done: Box::new(move |_| {
                // Whoever asked may have gone.
                let _ = reply.send(());
                None
            }),
        });
    }

    /// Many virtual routers send their adverts together; a few need not.
    fn share_beat(&mut self, newest: RouterId) {
        match self.by_id.len() {
            ..BEAT_FROM => {}
            BEAT_FROM => {
                for entry in self.by_id.values_mut() {
                    entry.router.share_beat();
                }
            }
            _ => {
                if let Some(entry) = self.by_id.get_mut(newest) {
                    entry.router.share_beat();
                }
            }
        }
    }

    fn retire(&mut self, id: RouterId) {
        self.with(id, |router, tools| router.handle(Event::Shutdown, tools));
        if let Some(entry) = self.by_id.remove(id) {
            self.agenda.put(id, (entry.place, false), None);
            self.by_slot.remove(&entry.router.slot());
        }
    }
}
