//! The BPF object, loaded: its maps, and its programs, each of which is handed to the kernel when
//! it is first needed. What an old kernel refuses is one rung of the ladder, not the end.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, RingBuf},
    programs::{ProgramError, SchedClassifier, TcAttachType, Xdp},
};
use vrrp_common::contract::{
    InterfaceCounters, MacKey, PeerKey, PeerLimits, VipKey, VipTarget, VridKey, VridTarget,
};

use super::{DataplaneError, SlotTable, Stale, counters::Counters, filter::Filter, ways::Ways};

/// The object built by `build.rs`, aligned as the ELF reader needs it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vrrp-ebpf.o"));

/// The BPF object that is embedded, as other loaders and tools read it.
#[must_use]
pub fn object() -> &'static [u8] {
    OBJECT
}

/// The XDP entry point. The kernel shows programs by this name.
pub(super) const XDP_PROGRAM: &str = "xvrrp_xdp";

/// The TC programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Frames that come in, where nothing has judged them before.
    Ingress,
    /// Frames that come in for a virtual MAC.
    Accept,
    /// Frames that go out.
    Egress,
}

impl Side {
    /// Every one.
    pub(super) const ALL: [Self; 3] = [Self::Ingress, Self::Accept, Self::Egress];

    /// The entry point.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Ingress => "xvrrp_tc",
            Self::Accept => "xvrrp_accept",
            Self::Egress => "xvrrp_egress",
        }
    }

    /// Where it sits among an interface's TC filters: the two at ingress do not depend on each other.
    pub(super) const fn priority(self) -> u16 {
        match self {
            Self::Ingress | Self::Egress => 1,
            Self::Accept => 2,
        }
    }

    /// Where it is attached.
    pub(super) const fn place(self) -> TcAttachType {
        match self {
            Self::Ingress | Self::Accept => TcAttachType::Ingress,
            Self::Egress => TcAttachType::Egress,
        }
    }
}

/// The loaded object. A program can be handed to the kernel only while every map it uses is open,
/// those given away in [`Loaded`] too.
pub(super) struct Kernel {
    ebpf: Ebpf,
    slots: MapData,
    vrids: BpfHashMap<MapData, [u8; 8], [u8; 8]>,
    vips: BpfHashMap<MapData, [u8; 24], [u8; 12]>,
    macs: BpfHashMap<MapData, [u8; 12], u32>,
    peers: BpfHashMap<MapData, [u8; 20], [u8; 4]>,
    ways: Ways,
    filter: Filter,
    counters: Counters,
}

/// What comes with it for others.
pub(super) struct Loaded {
    pub(super) kernel: Kernel,
    pub(super) slots: SlotTable,
    pub(super) ring: RingBuf<MapData>,
    pub(super) heartbeat: Array<MapData, u64>,
}

/// The kernel gives up verifying a program when a signal comes, and wants to be asked again.
fn patiently<T>(mut load: impl FnMut() -> Result<T, ProgramError>) -> Result<T, ProgramError> {
    let is_interrupted = |error: &ProgramError| match error {
        ProgramError::LoadError { io_error, .. } => {
            matches!(
                io_error.kind(),
                ErrorKind::WouldBlock | ErrorKind::Interrupted
            )
        }
        _ => false,
    };
    for _ in 0..LOAD_ATTEMPTS {
        match load() {
            Err(error) if is_interrupted(&error) => {}
            other => return other,
        }
    }
    load()
}

/// How often a program is loaded again when signals keep coming.
const LOAD_ATTEMPTS: usize = 50;

impl Kernel {
    /// Loads the object with room for `routers` virtual routers and so much of what they have.
    pub(super) fn load(
        routers: usize,
        addresses: usize,
        peers: usize,
        interfaces: usize,
    ) -> Result<Loaded, DataplaneError> {
        let size = |count| u32::try_from(count).map_err(|_| DataplaneError::Full(count));
        let entries = size(routers)?;
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("MASTER_SEEN", entries)
            .map_max_entries("VRIDS", entries)
            .map_max_entries("MACS", entries)
            .map_max_entries("VIPS", size(addresses)?)
            .map_max_entries("PEERS", size(peers)?)
            // Each interface may be made anew, under another index.
            .map_max_entries("COUNTERS", size(interfaces + 1)?)
            .map_max_entries("ROWS", size(interfaces)?);
        let mut ebpf = loader.load(OBJECT)?;
        let slots = array(&mut ebpf, "MASTER_SEEN")?;
        let ways = Ways::map(
            array(&mut ebpf, "VRID_WAYS")?,
            array(&mut ebpf, "VIP_WAYS")?,
        )?;
        Ok(Loaded {
            slots: SlotTable::map(&slots, routers)?,
            ring: typed(&mut ebpf, "NEWS")?,
            heartbeat: typed(&mut ebpf, "HEARTBEAT")?,
            kernel: Self {
                vrids: typed(&mut ebpf, "VRIDS")?,
                vips: typed(&mut ebpf, "VIPS")?,
                macs: typed(&mut ebpf, "MACS")?,
                peers: typed(&mut ebpf, "PEERS")?,
                ways,
                filter: Filter::new(typed(&mut ebpf, "VIP_FILTER")?),
                counters: Counters::new(typed(&mut ebpf, "COUNTERS")?, typed(&mut ebpf, "ROWS")?),
                slots,
                ebpf,
            },
        })
    }

    /// The slots as a descriptor of their own.
    pub(super) fn slots_descriptor(&self) -> io::Result<OwnedFd> {
        self.slots.fd().as_fd().try_clone_to_owned()
    }

    /// The kernel's number of the slots.
    pub(super) fn slots_id(&self) -> Option<u32> {
        self.slots.info().ok().map(|info| info.id())
    }

    /// The XDP program, in the kernel.
    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, DataplaneError> {
        let program: &mut Xdp = self
            .ebpf
            .program_mut(XDP_PROGRAM)
            .ok_or(DataplaneError::Missing(XDP_PROGRAM))?
            .try_into()?;
        if program.fd().is_err() {
            patiently(|| program.load()).map_err(DataplaneError::refused)?;
        }
        Ok(program)
    }

    /// A TC program, in the kernel.
    pub(super) fn tc(&mut self, side: Side) -> Result<&mut SchedClassifier, DataplaneError> {
        let name = side.program();
        let program: &mut SchedClassifier = self
            .ebpf
            .program_mut(name)
            .ok_or(DataplaneError::Missing(name))?
            .try_into()?;
        if program.fd().is_err() {
            patiently(|| program.load()).map_err(DataplaneError::refused)?;
        }
        Ok(program)
    }

    pub(super) fn insert_vip(
        &mut self,
        key: VipKey,
        mut target: VipTarget,
    ) -> Result<(), DataplaneError> {
        target.row = self.counters.row(key.ifindex);
        self.filter
            .add(key)
            .map_err(DataplaneError::map("VIP_FILTER"))?;
        self.vips
            .insert(
                bytemuck::cast::<_, [u8; 24]>(key),
                bytemuck::cast::<_, [u8; 12]>(target),
                0,
            )
            .map_err(DataplaneError::map("VIPS"))?;
        self.ways.add_vip(key, target);
        Ok(())
    }

    pub(super) fn insert_mac(&mut self, key: MacKey, slot: u32) -> Result<(), DataplaneError> {
        self.macs
            .insert(bytemuck::cast::<_, [u8; 12]>(key), slot, 0)
            .map_err(DataplaneError::map("MACS"))
    }

    pub(super) fn insert_peer(
        &mut self,
        key: PeerKey,
        limits: PeerLimits,
    ) -> Result<(), DataplaneError> {
        self.peers
            .insert(
                bytemuck::cast::<_, [u8; 20]>(key),
                bytemuck::cast::<_, [u8; 4]>(limits),
                0,
            )
            .map_err(DataplaneError::map("PEERS"))
    }

    pub(super) fn insert_vrid(&mut self, key: VridKey, slot: u32) -> Result<(), DataplaneError> {
        let target = VridTarget::new(slot, self.counters.row(key.ifindex));
        self.vrids
            .insert(
                bytemuck::cast::<_, [u8; 8]>(key),
                bytemuck::cast::<_, [u8; 8]>(target),
                0,
            )
            .map_err(DataplaneError::map("VRIDS"))?;
        self.ways.add_vrid(key, target);
        Ok(())
    }

    /// Removes what leads to the slot, and leaves what leads to another by now. Entries that are
    /// gone already are no error; any other failure leaves an entry whose slot holds no lease and
    /// answers nothing.
    pub(super) fn remove(&mut self, stale: &Stale, slot: u32) {
        if let Some(key) = stale.vrid
            && let bytes = bytemuck::cast::<_, [u8; 8]>(key)
            && let Ok(target) = self.vrids.get(&bytes, 0)
            && bytemuck::cast::<_, VridTarget>(target).slot == slot
        {
            self.ways.remove_vrid(key);
            let _ = self.vrids.remove(&bytes);
        }
        for key in &stale.vips {
            let bytes: [u8; 24] = bytemuck::cast(*key);
            let target = self.vips.get(&bytes, 0).ok();
            if target.map(bytemuck::cast::<_, VipTarget>).map(|it| it.slot) != Some(slot) {
                continue;
            }
            self.ways.remove_vip(*key);
            if self.vips.remove(&bytes).is_ok() {
                self.filter.remove(*key);
            }
        }
        if let Some(key) = stale.mac.map(bytemuck::cast::<_, [u8; 12]>)
            && self.macs.get(&key, 0).ok() == Some(slot)
        {
            let _ = self.macs.remove(&key);
        }
        for key in &stale.peers {
            let _ = self.peers.remove(&bytemuck::cast::<_, [u8; 20]>(*key));
        }
    }

    /// Makes room for the counters of another interface, or where entries lead to the row, as those of an
    /// interface that was made anew under its index, begins from zero.
    pub(super) fn forget_interface(&mut self, ifindex: u32, is_routed: bool) {
        if is_routed {
            self.counters.clear(ifindex);
        } else {
            self.counters.remove(ifindex);
        }
    }

    /// The interface's counters, summed over the CPUs; `None` where it was never counted.
    pub(super) fn counters(
        &self,
        ifindex: u32,
    ) -> Result<Option<InterfaceCounters>, DataplaneError> {
        self.counters.get(ifindex)
    }

    /// Makes the programs count for the interface, from zero if they have not done so before.
    pub(super) fn count_interface(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        self.counters.add(ifindex)
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, DataplaneError> {
    ebpf.take_map(name).ok_or(DataplaneError::Missing(name))
}

fn array(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, DataplaneError> {
    match take(ebpf, name)? {
        Map::Array(data) => Ok(data),
        _ => Err(DataplaneError::Missing(name)),
    }
}

fn typed<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, DataplaneError> {
    take(ebpf, name)?
        .try_into()
        .map_err(DataplaneError::map(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aya_obj::{
        Object,
        generated::{BPF_PSEUDO_CALL, bpf_insn},
    };

    use super::*;

    /// Every frame would pay for it.
    #[test]
    fn no_entry_point_calls_a_function_of_its_own() {
        const CALL: u8 = 0x85;
        let is_call = |instruction: &bpf_insn| {
            instruction.code == CALL && u32::from(instruction.src_reg()) == BPF_PSEUDO_CALL
        };
        let object = Object::parse(object()).expect("the object");
        let expected: BTreeSet<&str> = Side::ALL
            .map(Side::program)
            .into_iter()
            .chain([XDP_PROGRAM])
            .collect();
        let entry_points: BTreeSet<&str> = object.programs.keys().map(String::as_str).collect();
        assert_eq!(entry_points, expected);
        for (name, program) in &object.programs {
            let function = &object.functions[&program.function_key()];
            assert!(!function.instructions.iter().any(is_call), "{name}");
            assert!(function.instructions.len() > 100, "{name} is all there");
        }
    }
}
