//! The dataplane as user space handles it: load the programs, attach them to interfaces or stand in
//! for them, give virtual routers their slots, read the counters.

mod attach;
mod clsact;
mod counters;
mod filter;
mod heartbeat;
mod kernel;
mod ladder;
mod mapped;
mod pins;
mod remains;
mod routed;
mod slots;
mod take_over;
mod userspace;
mod ways;
mod xdp_netlink;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::{
    maps::{MapData, RingBuf},
    programs::{ProgramError, SchedClassifier, Xdp},
};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vrrp_common::contract::{
    DEFAULT_INTERFACES, DEFAULT_PEERS, DEFAULT_SLOTS, DEFAULT_VIPS, InterfaceCounters,
};

use attach::Port;
pub use attach::{Attachment, Holder};
pub use heartbeat::Heartbeat;
pub use kernel::object;
use kernel::{Kernel, Loaded, Side};
pub use ladder::{Device, Mode, ModeRequest};
pub use pins::DEFAULT_BPFFS;
use pins::{Pin, Pins};
pub use remains::{NativePrograms, Remains};
use routed::Stale;
pub use routed::{Elsewhere, Place, Routed};
pub use slots::SlotTable;
use userspace::{Receiver, UserTables};

/// What can go wrong between user space and the kernel programs.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// The kernel refused the object.
    #[error(
        "the kernel refused the BPF maps (kernel 5.15 or newer, CAP_BPF and CAP_NET_ADMIN are needed): {0}"
    )]
    Load(#[from] aya::EbpfError),
    /// The object holds a program of another type, or has it twice.
    #[error("the BPF object is not the one this was built for: {0}")]
    Program(#[from] ProgramError),
    /// The kernel refused a program.
    #[error("the kernel refused the program: {0}")]
    Refused(String),
    /// A map operation failed.
    #[error("BPF map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// The object lacks a part; it was built from other sources.
    #[error("the BPF object has no {0}; was it built from other sources?")]
    Missing(&'static str),
    /// Every row of counters is taken.
    #[error("no counters for another interface: {0} are the most this process was started for")]
    Uncounted(usize),
    /// The CPUs cannot be counted, or a value cannot be made for each.
    #[error("per-CPU counters: {0}")]
    Cpus(#[source] std::io::Error),
    /// The slots cannot be mapped into memory.
    #[error("map the slots into memory: {0}")]
    Mmap(#[source] std::io::Error),
    /// Every slot is taken.
    #[error("no free slot: {0} virtual routers are the most this process was started for")]
    Full(usize),
    /// A program that an earlier xvrrp left cannot be replaced, and stays before ours.
    #[error(
        "{interface}: a {place} program of an earlier xvrrp stays in front and would silence the virtual addresses; run `xvrrp cleanup` with the --bpffs it was pinned to"
    )]
    InFront {
        /// Interface name.
        interface: String,
        /// Where it is.
        place: String,
    },
    /// No rung of the ladder held.
    #[error("cannot attach to {interface}: {attempts}")]
    Attach {
        /// Interface name.
        interface: String,
        /// Every rung tried, with the kernel's answer.
        attempts: String,
    },
}

impl DataplaneError {
    /// The verifier's log can be long; its last words are the ones that count.
    fn refused(error: ProgramError) -> Self {
        let ProgramError::LoadError {
            io_error,
            verifier_log,
        } = error
        else {
            return Self::Refused(attach::in_full(error));
        };
        let log = verifier_log.to_string();
        tracing::debug!("the verifier says: {log}");
        let is_figures = |line: &&str| {
            ["processed ", "verification time ", "stack depth "]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let last = log
            .lines()
            .rfind(|line| !line.is_empty() && !is_figures(line));
        Self::Refused(match last {
            Some(words) => format!("{io_error} ({words})"),
            None => io_error.to_string(),
        })
    }

    fn map(name: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| Self::Map { name, source }
    }
}

/// What a dataplane is made for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many virtual routers there will be at most.
    pub routers: usize,
    /// How many addresses they have in all.
    pub addresses: usize,
    /// How many unicast peers they have in all.
    pub peers: usize,
    /// How many interfaces they are on in all.
    pub interfaces: usize,
    /// Where to attach.
    pub request: ModeRequest,
    /// The bpffs to pin to, and the name of this network namespace there; `None` never pins.
    pub pins: Option<(PathBuf, String)>,
}

impl Plan {
    /// Room for a configuration that grows by half.
    fn with_room(&self) -> Self {
        Self {
            routers: (2 * self.routers).next_power_of_two().max(DEFAULT_SLOTS),
            addresses: (3 * self.addresses).max(DEFAULT_VIPS),
            peers: (3 * self.peers).max(DEFAULT_PEERS),
            interfaces: (3 * self.interfaces).max(DEFAULT_INTERFACES),
            ..self.clone()
        }
    }

    /// Whether all of it fits into that. While something changes, the old is there beside the new.
    const fn fits(&self, room: &Self) -> bool {
        2 * self.addresses <= room.addresses
            && 2 * self.peers <= room.peers
            && 2 * self.interfaces <= room.interfaces
    }
}

/// The doorbells: of the kernel programs, where they are loaded, and of user space.
pub struct News {
    /// Rung by kernel programs.
    pub ring: Option<RingBuf<MapData>>,
    /// Rung by the packet socket.
    pub bell: UnboundedReceiver<u32>,
}

/// The loaded programs and everything attached.
pub struct Dataplane {
    kernel: Option<Kernel>,
    /// Why there is no kernel program.
    no_kernel: String,
    request: ModeRequest,
    slots: SlotTable,
    tables: Arc<UserTables>,
    receiver: Option<Receiver>,
    news: Option<News>,
    heartbeat: Option<Heartbeat>,
    /// Free slots; one that is given back is the last to be taken again, when no packet remembers it.
    free: VecDeque<u32>,
    /// What the maps have room for.
    room: Plan,
    routed: HashMap<u32, Routed>,
    ports: HashMap<u32, Port>,
    /// Where links are pinned.
    pins: Option<Pins>,
    /// What a daemon before us has pinned and nobody has dealt with yet.
    found: Vec<Pin>,
}

impl Dataplane {
    /// Loads the object, or makes do without where the plan allows it.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`], when the kernel refuses what was asked for.
    pub fn load(plan: &Plan) -> Result<Self, DataplaneError> {
        let room = plan.with_room();
        let capacity = room.routers;
        let loaded = match plan.request {
            ModeRequest::Off => Err("switched off by --xdp-mode off".to_owned()),
            ModeRequest::Auto => load_kernel(capacity, &room).map_err(attach::in_full),
            _ => Ok(load_kernel(capacity, &room)?),
        };
        let (kernel, slots, ring, heartbeat, no_kernel) = match loaded {
            Ok(Loaded {
                kernel,
                slots,
                ring,
                heartbeat,
            }) => (
                Some(kernel),
                slots,
                Some(ring),
                Heartbeat::of(heartbeat),
                String::new(),
            ),
            Err(reason) => (
                None,
                SlotTable::own(capacity)?,
                None,
                Heartbeat::none(),
                reason,
            ),
        };
        let (pins, found) = plan
            .pins
            .as_ref()
            .map(|(bpffs, namespace)| open_pins(bpffs, namespace, kernel.is_some()))
            .unwrap_or_default();
        let (bell_in, bell) = unbounded_channel();
        let entries = u32::try_from(capacity).map_err(|_| DataplaneError::Full(capacity))?;
        Ok(Self {
            kernel,
            no_kernel,
            request: plan.request,
            tables: Arc::new(UserTables::new(slots.clone(), bell_in)),
            slots,
            receiver: None,
            news: Some(News { ring, bell }),
            heartbeat: Some(heartbeat),
            room,
            free: (0..entries).collect(),
            routed: HashMap::new(),
            ports: HashMap::new(),
            pins,
            found,
        })
    }

    /// The slots.
    #[must_use]
    pub fn slots(&self) -> SlotTable {
        self.slots.clone()
    }

    /// The doorbells. There is one pair; the second caller gets none.
    pub fn take_news(&mut self) -> Option<News> {
        self.news.take()
    }

    /// The heartbeat. There is one; the second caller gets none.
    pub fn take_heartbeat(&mut self) -> Option<Heartbeat> {
        self.heartbeat.take()
    }

    /// Takes a free slot. Without a route nothing reaches it: a sync group's is of that kind.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Full`] where none is left.
    pub fn take_slot(&mut self) -> Result<u32, DataplaneError> {
        self.free
            .pop_front()
            .ok_or(DataplaneError::Full(self.slots.len()))
    }

    /// Gives a slot back, empty. Whoever had it must be gone.
    pub fn give_back(&mut self, slot: u32) {
        self.unroute(slot);
        self.slots.clear(slot);
        self.free.push_back(slot);
    }

    /// Whether this much has room in the maps as they are.
    #[must_use]
    pub fn has_room(&self, plan: &Plan) -> bool {
        plan.routers < self.slots.len() && plan.fits(&self.room)
    }

    /// Makes the slot judge adverts, and answer for addresses, instead of whatever it was responsible
    /// for. Publish the slot first.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`] when the kernel refuses an entry.
    pub fn route(&mut self, slot: u32, routed: Routed) -> Result<(), DataplaneError> {
        let before = self.routed.remove(&slot);
        self.tables.insert(&routed, slot);
        // Remembered first: what the kernel refuses half-way is undone as a whole.
        let routed = self.routed.entry(slot).or_insert(routed);
        if let Some(kernel) = &mut self.kernel {
            // An entry carries the number of the row. Where none is left the program looks for it in vain, and
            // attaching says so.
            for ifindex in routed.interfaces() {
                let _ = kernel.count_interface(ifindex);
            }
            for (key, target) in routed.vips(slot) {
                kernel.insert_vip(key, target)?;
            }
            if let Some(key) = routed.mac_key() {
                kernel.insert_mac(key, slot)?;
            }
            for (key, limits) in routed.peer_keys(slot) {
                kernel.insert_peer(key, limits)?;
            }
            kernel.insert_vrid(routed.vrid_key(), slot)?;
        }
        // What stays is there all the time; only then goes what is no longer wanted.
        if let Some(before) = before {
            let stale = before.but(Some(routed), slot);
            self.remove(&stale, slot);
        }
        Ok(())
    }

    /// Undoes [`Self::route`].
    pub fn unroute(&mut self, slot: u32) {
        let Some(routed) = self.routed.remove(&slot) else {
            return;
        };
        self.remove(&routed.but(None, slot), slot);
    }

    fn remove(&mut self, stale: &Stale, slot: u32) {
        self.tables.remove(stale, slot);
        if let Some(kernel) = &mut self.kernel {
            kernel.remove(stale, slot);
        }
    }

    fn unroute_all(&mut self) {
        for slot in self.routed.keys().copied().collect::<Vec<_>>() {
            self.unroute(slot);
        }
    }

    /// The interface's counters.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`] when the kernel refuses.
    pub fn counters(&self, ifindex: u32) -> Result<InterfaceCounters, DataplaneError> {
        let mut total = self.tables.counters(ifindex);
        if let Some(kernel) = &self.kernel
            && let Some(counts) = kernel.counters(ifindex)?
        {
            total.add(&counts);
        }
        Ok(total)
    }

    /// Goes on counting where the daemon before left off, by interface index.
    pub fn count_on(&mut self, counters: &BTreeMap<u32, Vec<u64>>) {
        for (ifindex, counts) in counters {
            self.tables.count_on(*ifindex, counts);
        }
    }

    /// The slots as a descriptor of their own; `None` without kernel programs.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn slots_descriptor(&self) -> io::Result<Option<OwnedFd>> {
        let kernel = self.kernel.as_ref();
        kernel.map(Kernel::slots_descriptor).transpose()
    }

    /// The kernel's number of the slots; `None` without kernel programs.
    #[must_use]
    pub fn slots_id(&self) -> Option<u32> {
        self.kernel.as_ref().and_then(Kernel::slots_id)
    }

    /// Makes everything count for the interface, from zero if it has not done so before.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`] when the kernel refuses the entry.
    pub fn count_interface(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        self.tables.count_interface(ifindex);
        match &mut self.kernel {
            Some(kernel) => kernel.count_interface(ifindex),
            None => Ok(()),
        }
    }

    /// The XDP program itself, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`] when there is none, or the kernel refuses it.
    pub fn xdp_program(&mut self) -> Result<&mut Xdp, DataplaneError> {
        self.loaded()?.xdp()
    }

    /// The TC program itself, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`] when there is none, or the kernel refuses it.
    pub fn tc_program(&mut self) -> Result<&mut SchedClassifier, DataplaneError> {
        self.loaded()?.tc(Side::Ingress)
    }

    /// The TC program behind XDP itself, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`] when there is none, or the kernel refuses it.
    pub fn accept_program(&mut self) -> Result<&mut SchedClassifier, DataplaneError> {
        self.loaded()?.tc(Side::Accept)
    }

    /// The TC egress program itself, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`] when there is none, or the kernel refuses it.
    pub fn egress_program(&mut self) -> Result<&mut SchedClassifier, DataplaneError> {
        self.loaded()?.tc(Side::Egress)
    }

    fn loaded(&mut self) -> Result<&mut Kernel, DataplaneError> {
        self.kernel
            .as_mut()
            .ok_or(DataplaneError::Missing("kernel program: user space only"))
    }
}

fn load_kernel(capacity: usize, plan: &Plan) -> Result<Loaded, DataplaneError> {
    Kernel::load(capacity, plan.addresses, plan.peers, plan.interfaces)
}

/// The place for pins, if there is a program to pin, and what is pinned there already.
fn open_pins(bpffs: &Path, namespace: &str, needed: bool) -> (Option<Pins>, Vec<Pin>) {
    let opened = needed.then(|| Pins::open(bpffs, namespace));
    if let Some(Err(reason)) = &opened {
        tracing::info!("programs are attached by netlink, not pinned: {reason}");
    }
    let found = Pins::existing(bpffs, namespace);
    let found = found.iter().flat_map(Pins::all).collect();
    (opened.and_then(Result::ok), found)
}
