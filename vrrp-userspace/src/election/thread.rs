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
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use vrrp_common::{contract::Doorbell, election::Event};

use super::{
    Command, ElectionHandle, Notice, RouterId,
    router::{Router, Tools},
};
use crate::{
    clock::{self, Alarm},
    dataplane::SlotTable,
    net::{AddressJob, AddressWorker, Change, PacketSocket},
};

/// What the thread is made of.
pub struct Parts {
    /// The slots.
    pub slots: SlotTable,
    /// The doorbell.
    pub news: RingBuf<MapData>,
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
    let news = parts.news;
    thread::Builder::new()
        .name("xvrrp-election".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                if let Err(error) = run(tools, news, inbox).await {
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

async fn run(
    tools: Tools,
    news: RingBuf<MapData>,
    mut inbox: UnboundedReceiver<Command>,
) -> io::Result<()> {
    let mut routers = Routers {
        tools,
        by_id: BTreeMap::new(),
        by_slot: BTreeMap::new(),
        due: BTreeSet::new(),
        removed_from: BTreeSet::new(),
    };
    let mut alarm = Alarm::new()?;
    // SAFETY: the ring owns its descriptor for as long as the registration lives.
    let mut ring = unsafe { AsyncFd::register(Ring(news)) }.map_err(io::Error::from)?;
    loop {
        alarm.set(routers.next_deadline())?;
        tokio::select! {
            biased;
            ready = ring.readable_mut() => {
                let mut ready = ready?;
                let mut slots = BTreeSet::new();
                while let Some(event) = ready.get_inner_mut().0.next() {
                    if let Ok(doorbell) = bytemuck::try_pod_read_unaligned::<Doorbell>(&event) {
                        slots.insert(doorbell.slot);
                    }
                }
                ready.clear_ready();
                for slot in slots {
                    routers.rang(slot);
                }
            }
            due = alarm.rang() => due?,
            command = inbox.recv() => match command {
                Some(command) => routers.obey(command),
                None => return Ok(()),
            },
        }
        routers.run_due();
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
                // The worker does its jobs in order: when this empty one is done, all are.
                self.tools.addresses.submit(AddressJob {
                    ifindex: 0,
                    change: Change::Remove,
                    addresses: Arc::new([]),
                    keep_own: false,
                    done: Box::new(move |_| {
                        let _ = reply.send(());
                    }),
                });
            }
        }
    }

    fn retire(&mut self, id: RouterId) {
        self.with(id, |router, tools| router.handle(Event::Shutdown, tools));
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_slot.remove(&entry.router.slot());
        }
    }
}
