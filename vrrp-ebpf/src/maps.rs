//! Every map of the program, and nothing else. Layouts live in `vrrp_common::{contract, slot}`.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use vrrp_common::{
    contract::{
        Counter, DEFAULT_INTERFACES, DEFAULT_SLOTS, DEFAULT_VIPS, Doorbell, InterfaceCounters,
        RING_BYTES, VipKey, VridKey,
    },
    slot::Slot,
    validate::Reject,
};

/// Per-VRID slots. User space maps them into its memory.
#[btf_map]
pub static MASTER_SEEN: Array<Slot, DEFAULT_SLOTS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Which (interface, VLAN, family, VRID) is ours, and in which slot.
#[btf_map]
pub static VRIDS: HashMap<VridKey, u32, DEFAULT_SLOTS> = HashMap::new();

/// Which virtual address is ours, and in which slot.
#[btf_map]
pub static VIPS: HashMap<VipKey, u32, DEFAULT_VIPS> = HashMap::new();

/// What happened to frames that concerned us. User space makes the entry when it attaches.
#[btf_map]
pub static COUNTERS: PerCpuHashMap<u32, InterfaceCounters, DEFAULT_INTERFACES> =
    PerCpuHashMap::new();

/// The doorbell: "look at this slot".
#[btf_map]
pub static NEWS: RingBuf<Doorbell, RING_BYTES> = RingBuf::new();

/// Room for a checksum helper that cannot read packet memory of variable length.
#[btf_map]
pub static SCRATCH: PerCpuArray<[u8; SCRATCH_LEN], 1> = PerCpuArray::new();

/// A power of two above the longest VRRP message (1028 bytes).
pub const SCRATCH_LEN: usize = 2048;

/// `CLOCK_BOOTTIME` in nanoseconds: it goes on while the machine is suspended.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper takes no arguments and always succeeds.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Adds one to `counter` of the interface.
#[inline(always)]
pub fn count(ifindex: u32, counter: Counter) {
    add_one(ifindex, counter as usize);
}

/// Adds one to the reject reason of the interface.
#[inline(always)]
pub fn count_reject(ifindex: u32, reason: Reject) {
    add_one(ifindex, reason as usize);
}

#[inline(always)]
fn add_one(ifindex: u32, index: usize) {
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

/// Rings the doorbell for `slot`.
#[inline(always)]
pub fn ring(ifindex: u32, slot: u32) {
    count(ifindex, Counter::Ring);
    let event = Doorbell { slot, reserved: 0 };
    if NEWS.output(&event, 0).is_err() {
        count(ifindex, Counter::RingFull);
    }
}
