//! The last rung: adverts and ARP from a packet socket, through the same handler as in the kernel.
//! Nothing can be kept from the kernel here and no question is answered in its stead, so there is
//! no fence; the kernel answers for an address because it is configured.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    os::fd::AsRawFd as _,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, setsockopt},
};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::{
    io::unix::AsyncFd,
    runtime::{self, Handle},
    sync::{mpsc::UnboundedSender, oneshot},
    task::JoinHandle,
};
use vrrp_common::{
    contract::{
        Counter, InterfaceCounters, MacKey, PeerKey, PeerLimits, VipKey, VipTarget, VridKey,
        VridTarget,
    },
    frame::{Frame, FrameMut, Wire},
    receive,
    slot::Slot,
    tables::{Arrival, Tables},
    vrrp::Source,
};

use super::{Routed, SlotTable, Stale};
use crate::{
    clock,
    net::{self, PacketAuxiliaryData, PacketIgnoreOutgoing, Received, packet_address},
    privileges,
};

/// The routing tables `VRIDS` and `VIPS` and the counters, as user space keeps them.
pub(super) struct UserTables {
    slots: SlotTable,
    routes: RwLock<Routes>,
    counters: RwLock<HashMap<u32, Arc<Counts>>>,
    bell: UnboundedSender<u32>,
}

#[derive(Default)]
struct Routes {
    vrids: HashMap<VridKey, u32>,
    vips: HashMap<VipKey, VipTarget>,
    peers: HashMap<PeerKey, PeerLimits>,
}

struct Counts([AtomicU64; Counter::COUNT]);

/// Reads a lock that a panic cannot have poisoned: nothing panics while holding it.
macro_rules! held {
    ($lock:expr) => {
        $lock.unwrap_or_else(std::sync::PoisonError::into_inner)
    };
}

impl UserTables {
    pub(super) fn new(slots: SlotTable, bell: UnboundedSender<u32>) -> Self {
        Self {
            slots,
            routes: RwLock::default(),
            counters: RwLock::default(),
            bell,
        }
    }

    pub(super) fn insert(&self, routed: &Routed, slot: u32) {
        let mut tables = held!(self.routes.write());
        tables.vrids.insert(routed.vrid_key(), slot);
        tables.vips.extend(routed.vips(slot));
        tables.peers.extend(routed.peer_keys(slot));
    }

    /// Removes what leads to the slot, and leaves what leads to another by now.
    pub(super) fn remove(&self, stale: &Stale, slot: u32) {
        let mut tables = held!(self.routes.write());
        if let Some(vrid) = stale.vrid
            && tables.vrids.get(&vrid) == Some(&slot)
        {
            tables.vrids.remove(&vrid);
        }
        for vip in &stale.vips {
            if tables.vips.get(vip).is_some_and(|it| it.slot == slot) {
                tables.vips.remove(vip);
            }
        }
        for key in &stale.peers {
            tables.peers.remove(key);
        }
    }

    pub(super) fn forget_interface(&self, ifindex: u32) {
        held!(self.counters.write()).remove(&ifindex);
    }

    pub(super) fn count_interface(&self, ifindex: u32) {
        held!(self.counters.write())
            .entry(ifindex)
            .or_insert_with(|| Arc::new(Counts([const { AtomicU64::new(0) }; Counter::COUNT])));
    }

    /// Begins with these counts. Those of another version may be fewer.
    pub(super) fn count_on(&self, ifindex: u32, counts: &[u64]) {
        self.count_interface(ifindex);
        if let Some(own) = held!(self.counters.read()).get(&ifindex) {
            for (to, from) in own.0.iter().zip(counts) {
                to.fetch_add(*from, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn counters(&self, ifindex: u32) -> InterfaceCounters {
        let mut total = InterfaceCounters::default();
        if let Some(counts) = held!(self.counters.read()).get(&ifindex) {
            for (to, from) in total.counts.iter_mut().zip(&counts.0) {
                *to = from.load(Ordering::Relaxed);
            }
        }
        total
    }
}

impl Tables for UserTables {
    const FENCES: bool = false;

    fn vrid(&self, key: VridKey) -> Option<VridTarget> {
        let slot = held!(self.routes.read()).vrids.get(&key).copied()?;
        Some(VridTarget::new(slot, 0))
    }

    fn may_be_vip(&self, _address: Source) -> bool {
        true
    }

    fn vip(&self, key: VipKey) -> Option<VipTarget> {
        held!(self.routes.read()).vips.get(&key).copied()
    }

    /// Whose a frame is has been decided before it gets here.
    fn mac(&self, _key: MacKey) -> Option<u32> {
        None
    }

    fn peer(&self, key: PeerKey) -> Option<PeerLimits> {
        held!(self.routes.read()).peers.get(&key).copied()
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index)
    }

    fn count(&self, ifindex: u32, _row: u16, index: usize) {
        if let Some(counts) = held!(self.counters.read()).get(&ifindex)
            && let Some(count) = counts.0.get(index)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ring(&self, _ifindex: u32, slot: u32) {
        // An error means that the process is ending.
        let _ = self.bell.send(slot);
    }

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn is_attended(&self, _now_ns: u64) -> bool {
        true
    }
}

/// A frame as a packet socket hands it over: a copy, so that writing into it reaches nobody.
struct Copied<'a>(&'a [u8]);

impl Frame for Copied<'_> {
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        self.0.load(offset)
    }

    fn length(&self) -> usize {
        self.0.length()
    }

    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        self.0.sum(offset, len)
    }
}

impl FrameMut for Copied<'_> {
    fn store<T: Wire>(&self, _offset: usize, _value: T) -> bool {
        false
    }

    fn resize(&self, _length: usize) -> bool {
        false
    }
}

/// A thread with a packet socket per interface.
pub(super) struct Receiver {
    tables: Arc<UserTables>,
    runtime: Handle,
    /// The thread ends when this is dropped.
    _alive: oneshot::Sender<()>,
}

/// A running reception; ended when dropped.
pub(super) struct Reception(JoinHandle<()>);

impl Drop for Reception {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Receiver {
    pub(super) fn start(tables: Arc<UserTables>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        thread::Builder::new()
            .name("xvrrp-receive".to_owned())
            .spawn(move || {
                privileges::leave_signals_alone();
                // Ends with an error when the sender is dropped, which is the signal.
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            tables,
            runtime: handle,
            _alive: alive,
        })
    }

    /// Listens on an interface.
    pub(super) fn listen(&self, ifindex: u32) -> io::Result<Reception> {
        let mut socket = open(ifindex)?;
        let tables = self.tables.clone();
        let task = self.runtime.spawn(async move {
            loop {
                let error = receive(&socket, ifindex, &tables).await;
                tracing::error!(
                    "the packet socket of interface {ifindex} failed ({error}); opening another"
                );
                socket = loop {
                    tokio::time::sleep(REOPEN_AFTER).await;
                    match open(ifindex) {
                        Ok(socket) => break socket,
                        Err(error) => tracing::debug!("interface {ifindex}: {error}"),
                    }
                };
            }
        });
        Ok(Reception(task))
    }
}

/// Room for the longest advert, 255 IPv6 addresses with a tag.
const FRAME_ROOM: usize = 4608;

/// How long to wait before a socket that failed is opened anew.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// How many frames one interface may have handled before it is another's turn.
const TURN: usize = 64;

/// Receives until the socket fails.
async fn receive(socket: &Socket, ifindex: u32, tables: &UserTables) -> io::Error {
    match receive_all(socket, ifindex, tables).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn receive_all(socket: &Socket, ifindex: u32, tables: &UserTables) -> io::Result<Infallible> {
    // SAFETY: the socket is borrowed for as long as the registration lives.
    let ready = unsafe { AsyncFd::register(socket.as_raw_fd()) }.map_err(io::Error::from)?;
    loop {
        let mut guard = ready.readable().await?;
        let mut is_empty = false;
        for _ in 0..TURN {
            let mut buffer = [0; FRAME_ROOM];
            match net::receive(socket, &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(Received { length, tag, .. }) => {
                    let frame = Copied(buffer.get(..length).unwrap_or_default());
                    receive::handle(&frame, Arrival { ifindex, tag }, tables);
                }
                Err(Errno::EAGAIN) => {
                    is_empty = true;
                    break;
                }
                // The interface went down; it may come up again.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if is_empty {
            guard.clear_ready();
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// `ETH_P_ALL`: the taps for one protocol come behind the VLAN handling, which forgets the tag of a
/// frame that belongs to no VLAN device.
const EVERY_PROTOCOL: u16 = 0x0003;

fn open(ifindex: u32) -> io::Result<Socket> {
    // Protocol 0 receives nothing until the socket is bound, when its filter is in place.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.attach_filter(&FILTER)?;
    setsockopt(&socket, PacketAuxiliaryData, &true)?;
    setsockopt(&socket, PacketIgnoreOutgoing, &true)?;
    socket.bind(&packet_address(ifindex, EVERY_PROTOCOL)?)?;
    Ok(socket)
}

/// ARP, VRRP, and neighbour advertisements. The kernel has taken a tag out of the frame before a filter
/// runs. Solicitations are the kernel's to answer here.
const FILTER: [SockFilter; 13] = [
    SockFilter::new(0x28, 0, 0, 12),     // ldh [12], the EtherType
    SockFilter::new(0x15, 9, 0, 0x0806), // ARP: accept
    SockFilter::new(0x15, 0, 2, 0x0800), // IPv4: next, else +2
    SockFilter::new(0x30, 0, 0, 23),     // ldb [23], the protocol
    SockFilter::new(0x15, 6, 7, 112),    // VRRP: accept, else drop
    SockFilter::new(0x15, 0, 6, 0x86dd), // IPv6: next, else drop
    SockFilter::new(0x30, 0, 0, 20),     // ldb [20], the next header
    SockFilter::new(0x15, 3, 0, 112),    // VRRP: accept
    SockFilter::new(0x15, 0, 3, 58),     // ICMPv6: next, else drop
    SockFilter::new(0x30, 0, 0, 54),     // ldb [54], the type
    SockFilter::new(0x15, 0, 1, 136),    // advertisement: accept, else drop
    SockFilter::new(0x06, 0, 0, 0xffff), // accept
    SockFilter::new(0x06, 0, 0, 0),      // drop
];
