//! The loop: doorbell, timer, mailbox.

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
use vrrp_common::{
    contract::Doorbell,
    election::{Event, group},
};

use super::{
    Command, ElectionHandle, GroupSpec, Notice, RouterId,
    router::{Router, Tools},
};
use crate::{
    clock::{self, Alarm},
    dataplane::{Heartbeat, News, SlotTable},
    net::{AddressJob, AddressWorker, Change, PacketSocket},
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
    /// The address worker.
    pub addresses: AddressWorker,
    /// Where notices go.
    pub notices: UnboundedSender<Notice>,
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
        addresses: parts.addresses,
        notices: parts.notices,
        mailbox: handle.clone(),
    };
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (news, heartbeat) = (parts.news, parts.heartbeat);
    thread::Builder::new()
        .name("xvrrp-election".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                if let Err(error) = run(tools, news, heartbeat, inbox).await {
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
    mut inbox: UnboundedReceiver<Command>,
) -> io::Result<()> {
    let mut routers = Routers {
        tools,
        by_id: BTreeMap::new(),
        by_slot: BTreeMap::new(),
        due: BTreeSet::new(),
        removed_from: BTreeSet::new(),
        groups: Vec::new(),
        group_of: BTreeMap::new(),
        stirred: BTreeSet::new(),
    };
    let mut alarm = Alarm::new()?;
    let News { ring, mut bell } = news;
    let mut ring = ring.map(register).transpose()?;
    loop {
        let deadline = routers.next_deadline();
        alarm.set(deadline)?;
        heartbeat
            .beat(deadline.unwrap_or_else(clock::now_ns))
            .map_err(io::Error::other)?;
        tokio::select! {
            biased;
            slots = rung(&mut ring) => for slot in slots? {
                routers.rang(slot);
            },
            Some(slot) = bell.recv() => routers.rang(slot),
            due = alarm.rang() => due?,
            command = inbox.recv() => match command {
                Some(command) => routers.obey(command),
                None => return Ok(()),
            },
        }
        routers.run_due();
        routers.settle_groups();
        routers.restore_neighbours();
    }
}

struct Routers {
    tools: Tools,
    by_id: BTreeMap<RouterId, Entry>,
    by_slot: BTreeMap<u32, RouterId>,
    due: BTreeSet<(u64, RouterId)>,
    /// Interfaces that have just lost addresses.
    removed_from: BTreeSet<u32>,
    groups: Vec<Group>,
    /// Which group a router is in, by index.
    group_of: BTreeMap<RouterId, usize>,
    /// Groups with a member that something happened to.
    stirred: BTreeSet<usize>,
}

struct Group {
    spec: GroupSpec,
    /// Counts promotions.
    epoch: u64,
}

struct Entry {
    router: Router,
    deadline: Option<u64>,
}

impl Routers {
    fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    fn run_due(&mut self) {
        let now = clock::now_ns();
        while let Some(&(deadline, id)) = self.due.first() {
            if deadline > now {
                return;
            }
            self.due.pop_first();
            self.with(id, Router::look);
        }
    }

    fn rang(&mut self, slot: u32) {
        if let Some(id) = self.by_slot.get(&slot).copied() {
            self.with(id, Router::look);
        }
    }

    /// Does something with a router and keeps its deadline in the queue.
    fn with(&mut self, id: RouterId, act: impl FnOnce(&mut Router, &Tools)) {
        let Some(entry) = self.by_id.get_mut(&id) else {
            return;
        };
        act(&mut entry.router, &self.tools);
        self.stirred.extend(self.group_of.get(&id));
        let removed_from = entry.router.take_removed();
        let deadline = entry.router.deadline();
        if let Some(old) = std::mem::replace(&mut entry.deadline, deadline) {
            self.due.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.due.insert((new, id));
        }
        self.removed_from.extend(removed_from);
    }

    /// Lets the members of sync groups act together. Each order can call for another.
    fn settle_groups(&mut self) {
        while let Some(index) = self.stirred.pop_first() {
            if let Some(order) = self.order_for(index) {
                self.give(index, order);
            }
        }
    }

    fn order_for(&mut self, index: usize) -> Option<group::Order> {
        let members = self.groups.get(index)?.spec.members.clone();
        let decide = |routers: &Self| {
            let stances = members
                .iter()
                .filter_map(|id| Some(routers.by_id.get(id)?.router.stance()));
            group::decide(&stances)
        };
        let order = decide(self)?;
        if order != group::Order::Promote {
            return Some(order);
        }
        // Whoever waits for the group has not looked since its own time was out.
        for id in &members {
            self.with(*id, Router::look);
        }
        self.stirred.remove(&index);
        decide(self)
    }

    fn give(&mut self, index: usize, order: group::Order) {
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        if order == group::Order::Promote {
            group.epoch += 1;
            if let Some(slot) = self.tools.slots.get(group.spec.slot) {
                slot.store_epoch(group.epoch);
            }
        }
        for id in group.spec.members.clone() {
            self.with(id, |router, tools| {
                router.handle(Event::Group(order), tools);
                router.look(tools);
            });
        }
    }

    fn add_group(&mut self, spec: GroupSpec) {
        let index = self.groups.len();
        for id in &spec.members {
            self.group_of.insert(*id, index);
            let slot = self.by_id.get(id).map(|entry| entry.router.slot());
            if let Some(slot) = slot.and_then(|slot| self.tools.slots.get(slot)) {
                slot.join_group(Some(spec.slot));
            }
        }
        self.groups.push(Group { spec, epoch: 0 });
    }

    /// Once per turn of the loop, whatever number of routers removed addresses in it.
    fn restore_neighbours(&mut self) {
        let interfaces = std::mem::take(&mut self.removed_from);
        if interfaces.is_empty() {
            return;
        }
        for Entry { router, .. } in self.by_id.values() {
            if interfaces.contains(&router.ifindex()) {
                router.restore_addresses(&self.tools);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(spec) => {
                let id = spec.id;
                let router = Router::new(*spec, &self.tools);
                self.by_slot.insert(router.slot(), id);
                self.by_id.insert(
                    id,
                    Entry {
                        router,
                        deadline: None,
                    },
                );
            }
            Command::Group(spec) => self.add_group(spec),
            // What changes the floor or the state wants a fresh look at the slot: an advert that
            // arrived just before the change was judged by the old rules.
            Command::Tell(id, event) => self.with(id, |router, tools| {
                router.handle(event, tools);
                router.look(tools);
            }),
            Command::Move(id, home) => self.with(id, |router, tools| router.relocate(home, tools)),
            Command::Settled { id, epoch, refused } => {
                self.with(id, |router, tools| router.settled(epoch, refused, tools));
            }
            Command::Snapshot(reply) => {
                let all = self
                    .by_id
                    .values()
                    .map(|entry| entry.router.snapshot(&self.tools));
                // Whoever asked may have gone.
                let _ = reply.send(all.collect());
            }
            Command::Restore(id) => self.with(id, |router, tools| router.restore_addresses(tools)),
            Command::Retire(id) => self.retire(id),
            Command::Stop(reply) => {
                for id in self.by_id.keys().copied().collect::<Vec<_>>() {
                    self.retire(id);
                }
                self.answer_when_idle(reply);
            }
            Command::Idle(reply) => self.answer_when_idle(reply),
        }
    }

    /// The address worker does its jobs in order: when an empty one is done, all are.
    fn answer_when_idle(&self, reply: oneshot::Sender<()>) {
        self.tools.addresses.submit(AddressJob {
            ifindex: 0,
            change: Change::Remove,
            addresses: Arc::new([]),
            keep_own: false,
            done: Box::new(move |_| {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }),
        });
    }

    fn retire(&mut self, id: RouterId) {
        self.with(id, |router, tools| router.handle(Event::Shutdown, tools));
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_slot.remove(&entry.router.slot());
        }
    }
}
