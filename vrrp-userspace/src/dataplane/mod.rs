//! The kernel half as user space handles it: load the object, attach it to interfaces, give
//! virtual routers their slots, read the counters.

mod attach;
mod slots;

use std::{collections::HashMap, net::Ipv4Addr};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap as BpfHashMap, Map, MapData, PerCpuHashMap, PerCpuValues, RingBuf},
    programs::{Xdp, xdp::XdpLinkId},
};
use thiserror::Error;
use vrrp_common::contract::{
    Counter, DEFAULT_INTERFACES, DEFAULT_SLOTS, DEFAULT_VIPS, InterfaceCounters, VipKey, VridKey,
};

pub use attach::{Attachment, Mode, ModeRequest};
pub use slots::SlotTable;

/// The object built by `build.rs`, aligned as the ELF reader needs it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vrrp-ebpf.o"));

/// The name of the XDP entry point in the object.
pub const XDP_PROGRAM: &str = "xvrrp_xdp";

/// What can go wrong between user space and the kernel program.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// The kernel refused the object.
    #[error(
        "the kernel refused the BPF object (kernel 5.18 or newer, CAP_BPF and CAP_NET_ADMIN are needed): {0}"
    )]
    Load(#[from] aya::EbpfError),
    /// The kernel refused the program.
    #[error("the kernel refused the XDP program: {0}")]
    Program(#[from] aya::programs::ProgramError),
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
    /// The slot array cannot be mapped into memory.
    #[error("map MASTER_SEEN into memory: {0}")]
    Mmap(#[source] std::io::Error),
    /// Every slot is taken.
    #[error("no free slot: {0} virtual routers are the most this process was started for")]
    Full(usize),
    /// No attach mode worked.
    #[error("cannot attach to {interface}: {attempts}")]
    Attach {
        /// Interface name.
        interface: String,
        /// Every mode tried, with the kernel's answer.
        attempts: String,
    },
}

impl DataplaneError {
    fn map(name: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| Self::Map { name, source }
    }
}

/// The loaded object and everything attached.
pub struct Dataplane {
    ebpf: Ebpf,
    slots: SlotTable,
    vrids: BpfHashMap<MapData, [u8; 8], u32>,
    vips: BpfHashMap<MapData, [u8; 12], u32>,
    counters: PerCpuHashMap<MapData, u32, [u64; Counter::COUNT]>,
    news: Option<RingBuf<MapData>>,
    free: Vec<u32>,
    links: HashMap<u32, (XdpLinkId, Attachment)>,
}

impl Dataplane {
    /// Loads the object with room for `routers` virtual routers with `addresses` addresses in all.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`], when the kernel refuses the object or a map.
    pub fn load(routers: usize, addresses: usize) -> Result<Self, DataplaneError> {
        let capacity = routers.next_power_of_two().max(DEFAULT_SLOTS);
        let size = |count| u32::try_from(count).map_err(|_| DataplaneError::Full(count));
        let entries = size(capacity)?;
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("MASTER_SEEN", entries)
            .map_max_entries("VRIDS", entries)
            .map_max_entries("VIPS", size(addresses.max(DEFAULT_VIPS))?)
            // Each virtual router may have an interface of its own, and that one may be made anew.
            .map_max_entries("COUNTERS", size((2 * capacity).max(DEFAULT_INTERFACES))?);
        let mut ebpf = loader.load(OBJECT)?;
        xdp(&mut ebpf)?.load()?;
        let slots = match take(&mut ebpf, "MASTER_SEEN")? {
            Map::Array(data) => SlotTable::map(&data, capacity)?,
            _ => return Err(DataplaneError::Missing("array MASTER_SEEN")),
        };
        let vrids = take(&mut ebpf, "VRIDS")?;
        let vips = take(&mut ebpf, "VIPS")?;
        let counters = take(&mut ebpf, "COUNTERS")?;
        let news = take(&mut ebpf, "NEWS")?;
        Ok(Self {
            slots,
            vrids: vrids.try_into().map_err(DataplaneError::map("VRIDS"))?,
            vips: vips.try_into().map_err(DataplaneError::map("VIPS"))?,
            counters: counters
                .try_into()
                .map_err(DataplaneError::map("COUNTERS"))?,
            news: Some(news.try_into().map_err(DataplaneError::map("NEWS"))?),
            ebpf,
            free: (0..entries).rev().collect(),
            links: HashMap::new(),
        })
    }

    /// The slots, mapped into memory.
    #[must_use]
    pub fn slots(&self) -> SlotTable {
        self.slots.clone()
    }

    /// The doorbell. There is one; the second caller gets none.
    pub fn take_news(&mut self) -> Option<RingBuf<MapData>> {
        self.news.take()
    }

    /// Takes a free slot.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Full`] where none is left.
    pub fn take_slot(&mut self) -> Result<u32, DataplaneError> {
        self.free
            .pop()
            .ok_or(DataplaneError::Full(self.slots.len()))
    }

    /// Makes the kernel judge adverts for `vrid` on the interface, and answer for `vips`, by the
    /// slot. Publish the slot first.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`] when the kernel refuses an entry.
    pub fn route(
        &mut self,
        slot: u32,
        ifindex: u32,
        vrid: u8,
        vips: &[Ipv4Addr],
    ) -> Result<(), DataplaneError> {
        for vip in vips {
            let key: [u8; 12] = bytemuck::cast(VipKey::untagged(ifindex, vip.octets()));
            self.vips
                .insert(key, slot, 0)
                .map_err(DataplaneError::map("VIPS"))?;
        }
        let key: [u8; 8] = bytemuck::cast(VridKey::v4(ifindex, vrid));
        self.vrids
            .insert(key, slot, 0)
            .map_err(DataplaneError::map("VRIDS"))
    }

    /// Undoes [`Self::route`]. Entries that are gone already are no error.
    pub fn unroute(&mut self, ifindex: u32, vrid: u8, vips: &[Ipv4Addr]) {
        // A missing entry is the state asked for; any other failure leaves an entry whose slot
        // holds no lease and answers nothing.
        let _ = self
            .vrids
            .remove(&bytemuck::cast(VridKey::v4(ifindex, vrid)));
        for vip in vips {
            let _ = self
                .vips
                .remove(&bytemuck::cast(VipKey::untagged(ifindex, vip.octets())));
        }
    }

    /// The interface's counters, summed over the CPUs.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`] where nothing was ever attached to the interface.
    pub fn counters(&self, ifindex: u32) -> Result<InterfaceCounters, DataplaneError> {
        let per_cpu = self
            .counters
            .get(&ifindex, 0)
            .map_err(DataplaneError::map("COUNTERS"))?;
        let mut total = InterfaceCounters::default();
        for counts in per_cpu.iter() {
            total.add(&InterfaceCounters { counts: *counts });
        }
        Ok(total)
    }

    /// Makes the kernel count for the interface, from zero if it has not done so before.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`] when the kernel refuses the entry.
    pub fn count_interface(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        if self.counters.get(&ifindex, 0).is_ok() {
            return Ok(());
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| DataplaneError::Mmap(error))?;
        let zero = PerCpuValues::try_from(vec![[0; Counter::COUNT]; cpus])
            .map_err(DataplaneError::Mmap)?;
        self.counters
            .insert(ifindex, zero, 0)
            .map_err(DataplaneError::map("COUNTERS"))
    }

    /// The XDP program itself, for `BPF_PROG_TEST_RUN`.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Missing`] when the object has none.
    pub fn program(&mut self) -> Result<&mut Xdp, DataplaneError> {
        xdp(&mut self.ebpf)
    }
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let program = ebpf
        .program_mut(XDP_PROGRAM)
        .ok_or(DataplaneError::Missing(XDP_PROGRAM))?;
    Ok(program.try_into()?)
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, DataplaneError> {
    ebpf.take_map(name).ok_or(DataplaneError::Missing(name))
}
