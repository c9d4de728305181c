//! Every map of the programs, and nothing else. Layouts live in `vrrp_common::{contract, slot}`.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
    helpers::generated::{bpf_csum_diff, bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use vrrp_common::{
    checksum,
    contract::{
        Counter, DEFAULT_INTERFACES, DEFAULT_PEERS, DEFAULT_SLOTS, DEFAULT_VIPS, Doorbell,
        InterfaceCounters, MacKey, PeerKey, PeerLimits, RING_BYTES, VipKey, VipTarget, VridKey,
    },
    slot::Slot,
    tables::Tables,
};

/// Per-VRID slots. User space maps them into its memory.
#[btf_map]
pub static MASTER_SEEN: Array<Slot, DEFAULT_SLOTS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Which (interface, VLAN, family, VRID) is ours, and in which slot.
#[btf_map]
pub static VRIDS: HashMap<VridKey, u32, DEFAULT_SLOTS> = HashMap::new();

/// Which virtual address is ours, in which slot, and at which MAC.
#[btf_map]
pub static VIPS: HashMap<VipKey, VipTarget, DEFAULT_VIPS> = HashMap::new();

/// Which virtual MAC is ours, and in which slot.
#[btf_map]
pub static MACS: HashMap<MacKey, u32, DEFAULT_SLOTS> = HashMap::new();

/// Who may advertise to a slot that checks its unicast peers.
#[btf_map]
pub static PEERS: HashMap<PeerKey, PeerLimits, DEFAULT_PEERS> = HashMap::new();

/// What happened to frames that concerned us. User space makes the entry when it attaches.
#[btf_map]
pub static COUNTERS: PerCpuHashMap<u32, InterfaceCounters, DEFAULT_INTERFACES> =
    PerCpuHashMap::new();

/// The doorbell: "look at this slot".
#[btf_map]
pub static NEWS: RingBuf<Doorbell, RING_BYTES> = RingBuf::new();

/// Until when a daemon says that it is alive. The programs outlive it.
#[btf_map]
pub static HEARTBEAT: Array<u64, 1> = Array::new();

/// Room for a checksum helper that cannot read packet memory of variable length.
#[btf_map]
pub static SCRATCH: PerCpuArray<[u8; SCRATCH_LEN], 1> = PerCpuArray::new();

/// Where a header is put together that a socket buffer has in pieces: the 512 bytes of stack are too
/// few for one of each kind.
#[btf_map]
pub static HEADER: PerCpuArray<[u8; HEADER_LEN], 1> = PerCpuArray::new();

/// As long as the longest header that is read at once.
pub const HEADER_LEN: usize = 40;

/// A power of two above the longest VRRP message (255 IPv6 addresses: 4088 bytes).
pub const SCRATCH_LEN: usize = 4096;

/// The maps above.
pub struct Maps;

impl Tables for Maps {
    const FENCES: bool = true;

    #[inline(always)]
    fn vrid(&self, key: VridKey) -> Option<u32> {
        // SAFETY: the value is one aligned word, written by user space as a whole.
        unsafe { VRIDS.get(key) }.copied()
    }

    #[inline(always)]
    fn vip(&self, key: VipKey) -> Option<VipTarget> {
        // SAFETY: user space replaces the value as a whole.
        unsafe { VIPS.get(key) }.copied()
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
    fn count(&self, ifindex: u32, index: usize) {
        let Some(counters) = COUNTERS.get_ptr_mut(ifindex) else {
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
            self.count(ifindex, Counter::RingFull as usize);
        }
    }

    /// `CLOCK_BOOTTIME` goes on while the machine is suspended.
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes no arguments and always succeeds.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn is_attended(&self) -> bool {
        HEARTBEAT.get(0).is_some_and(|until| {
            // SAFETY: the reference is valid; user space writes the aligned word as a whole.
            let until = unsafe { core::ptr::from_ref(until).read_volatile() };
            self.now_ns() < until
        })
    }
}

/// The most bytes `bpf_csum_diff` took at once before Linux 6.13.
const CHUNK_LEN: usize = 512;

/// The folded ones' complement sum of `len` bytes that `copy` puts into the scratch.
///
/// The verifier does not let `bpf_csum_diff` read packet memory of variable length, so the bytes
/// are copied first. `len` is a multiple of four, as everything VRRP sums is.
#[inline(always)]
pub fn sum_copied(len: usize, copy: impl FnOnce(*mut c_void, u32) -> bool) -> Option<u16> {
    let scratch = SCRATCH.get_ptr_mut(0)?.cast::<u8>();
    // The mask tells the verifier what the message length already guarantees.
    let len = core::hint::black_box(len) & (SCRATCH_LEN - 1);
    if len == 0 {
        return Some(0);
    }
    if !copy(scratch.cast(), len as u32) {
        return None;
    }
    let mut sum = 0;
    let mut start = 0;
    while start < SCRATCH_LEN && start < len {
        let chunk = core::hint::black_box(len - start).min(CHUNK_LEN);
        // SAFETY: the scratch is SCRATCH_LEN bytes, a multiple of the chunk's length.
        let next = unsafe {
            let chunk_start = scratch.add(start).cast();
            bpf_csum_diff(core::ptr::null_mut(), 0, chunk_start, chunk as u32, sum)
        };
        if next < 0 {
            return None;
        }
        sum = next as u32;
        start += CHUNK_LEN;
    }
    // The helper sums host-order words; the folded sum swaps to network order as a whole.
    Some(u16::from_be(checksum::fold(sum)))
}
