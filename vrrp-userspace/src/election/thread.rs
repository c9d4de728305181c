//! The loop: doorbell, timer, what is in place, mailbox.

mod agenda;
mod members;
mod repeats;
mod routers;
mod sync_groups;

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd, RawFd},
    thread,
};

use aya::maps::{MapData, RingBuf};
use tokio::{
    io::unix::AsyncFd,
    runtime,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use vrrp_common::{contract::Doorbell, timers::NS_PER_S};

use repeats::Repeats;
use routers::Routers;

use super::{
    Command, ElectionHandle, Notice, Scheduling, Settled, outbox::Outbox, pacer::Pacer,
    router::Tools,
};
use crate::{
    clock::{self, Alarm},
    dataplane::{Heartbeat, News, SlotTable},
    net::{PacketSocket, Worker},
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
    let mut routers = Routers::new(tools);
    let mut alarm = Alarm::new()?;
    let News { ring, mut bell } = news;
    let mut ring = ring.map(register).transpose()?;
    // A command that has to begin a turn.
    let mut first = None;
    let mut repeats = Repeats::default();
    loop {
        let pause = repeats.wait(routers.tools.outbox.has_more(), clock::now_ns());
        let deadline = routers.next_deadline();
        alarm.set(deadline.into_iter().chain(pause).min())?;
        heartbeat
            .beat(deadline.unwrap_or_else(clock::now_ns))
            .map_err(io::Error::other)?;
        if first.is_none() {
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
        }
        let woken_ns = clock::now_ns();
        routers.tools.worker.stay_beside();
        routers.run_due();
        routers.settle_groups();
        routers.restore_neighbours();
        routers.send_paced();
        routers.end_turn();
        if repeats.are_due(woken_ns) {
            routers.announce(true);
        }
    }
}

async fn next_command(
    first: &mut Option<Command>,
    inbox: &mut UnboundedReceiver<Command>,
) -> Option<Command> {
    match first.take() {
        Some(command) => Some(command),
        None => inbox.recv().await,
    }
}

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
