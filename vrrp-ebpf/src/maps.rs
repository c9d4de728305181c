//! Every map of the programs, and nothing else. Layouts live in `vrrp_common::{contract, slot}`.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use vrrp_common::{
    contract::{
        Counter, DEFAULT_INTERFACES, DEFAULT_PEERS, DEFAULT_SLOTS, DEFAULT_VIPS, Doorbell,
        FILTER_WORDS, InterfaceCounters, MacKey, PeerKey, PeerLimits, RING_BYTES, VipKey,
        VipTarget, VridKey, VridTarget, filter_place,
    },
    shortcut::{self, Answer, Shortcut, VIP_PLACES, VRID_PLACES},
    slot::Slot,
    tables::Tables,
    vrrp::Source,
};

/// Per-VRID slots. User space maps them into its memory.
#[btf_map]
pub static MASTER_SEEN: Array<Slot, DEFAULT_SLOTS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Which (interface, VLAN, family, VRID) is ours, and in which slot.
#[btf_map]
pub static VRIDS: HashMap<VridKey, VridTarget, DEFAULT_SLOTS> = HashMap::new();

/// Which virtual address is ours, in which slot, and at which MAC.
#[btf_map]
pub static VIPS: HashMap<VipKey, VipTarget, DEFAULT_VIPS> = HashMap::new();

/// The shorter way to most of [`VRIDS`]. User space maps it into its memory.
#[btf_map]
pub static VRID_WAYS: Array<Shortcut<1>, VRID_PLACES, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The shorter way to most of [`VIPS`]. User space maps it into its memory.
#[btf_map]
pub static VIP_WAYS: Array<Shortcut<3>, VIP_PLACES, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Which addresses can be ours at all.
#[btf_map]
pub static VIP_FILTER: Array<u64, FILTER_WORDS> = Array::new();

/// Which virtual MAC is ours, and in which slot.
#[btf_map]
pub static MACS: HashMap<MacKey, u32, DEFAULT_SLOTS> = HashMap::new();

/// Who may advertise to a slot that checks its unicast peers.
#[btf_map]
pub static PEERS: HashMap<PeerKey, PeerLimits, DEFAULT_PEERS> = HashMap::new();

/// What happened to frames that concerned us, in a row for each interface; none has row 0.
#[btf_map]
pub static COUNTERS: PerCpuArray<InterfaceCounters, DEFAULT_INTERFACES> = PerCpuArray::new();

/// Which row an interface has. User space makes the entry when it attaches.
#[btf_map]
pub static ROWS: HashMap<u32, u32, DEFAULT_INTERFACES> = HashMap::new();

/// The doorbell: "look at this slot".
#[btf_map]
pub static NEWS: RingBuf<Doorbell, RING_BYTES> = RingBuf::new();

/// Until when a daemon says that it is alive. The programs outlive it.
#[btf_map]
pub static HEARTBEAT: Array<u64, 1> = Array::new();

/// Where a header is put together that a socket buffer has in pieces: the 512 bytes of stack are too
/// few for one of each kind.
#[btf_map]
pub static HEADER: PerCpuArray<[u8; HEADER_LEN], 1> = PerCpuArray::new();

/// As long as the longest header that is read at once.
pub const HEADER_LEN: usize = 40;

/// The maps above.
pub struct Maps;

impl Tables for Maps {
    const FENCES: bool = true;

    #[inline(always)]
    fn vrid(&self, key: VridKey) -> Option<VridTarget> {
        let (place, words) = shortcut::of_vrid(key);
        match VRID_WAYS.get(place)?.find(&words) {
            Answer::Leads(slot, row) => Some(VridTarget::new(slot, row)),
            Answer::Nowhere => None,
            // SAFETY: user space replaces the value as a whole.
            Answer::AskTable => unsafe { VRIDS.get(key) }.copied(),
        }
    }

    #[inline(always)]
    fn may_be_vip(&self, address: Source) -> bool {
        let (word, bit) = filter_place(address);
        VIP_FILTER.get(word).is_some_and(|word| {
            // SAFETY: the reference is valid; user space writes the aligned word as a whole.
            unsafe { core::ptr::from_ref(word).read_volatile() & bit != 0 }
        })
    }

    #[inline(always)]
    fn vip(&self, key: VipKey) -> Option<VipTarget> {
        let (place, words) = shortcut::of_vip(key);
        match VIP_WAYS.get(place)?.find(&words) {
            Answer::Leads(slot, row) => Some(VipTarget {
                slot,
                mac: [0; 6],
                row,
            }),
            Answer::Nowhere => None,
            // SAFETY: as above.
            Answer::AskTable => unsafe { VIPS.get(key) }.copied(),
        }
    }

    #[inline(always)]
    fn mac(&self, key: MacKey) -> Option<u32> {
        // SAFETY: as above.
        unsafe { MACS.get(key) }.copied()
    }

    #[inline(always)]
    fn peer(&self, key: PeerKey) -> Option<PeerLimits> {
        // SAFETY: as above.
        unsafe { PEERS.get(key) }.copied()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&Slot> {
        MASTER_SEEN.get(index)
    }

    #[inline(always)]
    fn count(&self, ifindex: u32, row: u16, index: usize) {
        let row = match row {
            // SAFETY: the value is one aligned word, written by user space as a whole.
            0 => match unsafe { ROWS.get(ifindex) } {
                Some(row) => *row,
                None => return,
            },
            row => u32::from(row),
        };
        let Some(counters) = COUNTERS.get_ptr_mut(row) else {
            return;
        };
        if index < Counter::COUNT {
            // SAFETY: the pointer is this CPU's copy of the value, and the index is inside.
            unsafe {
                let place = (&raw mut (*counters).counts).cast::<u64>().add(index);
                place.write_volatile(place.read_volatile().wrapping_add(1));
            }
        }
    }

    #[inline(always)]
    fn ring(&self, ifindex: u32, slot: u32) {
        let event = Doorbell { slot, reserved: 0 };
        if NEWS.output(&event, 0).is_err() {
            self.count(ifindex, 0, Counter::RingFull as usize);
        }
    }

    /// `CLOCK_BOOTTIME` goes on while the machine is suspended.
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes no arguments and always succeeds.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn is_attended(&self, now_ns: u64) -> bool {
        HEARTBEAT.get(0).is_some_and(|until| {
            // SAFETY: the reference is valid; user space writes the aligned word as a whole.
            let until = unsafe { core::ptr::from_ref(until).read_volatile() };
            now_ns < until
        })
    }
}
