//! The host's side of a comparison with the kernel programs: the same tables and the same code.

use std::cell::{Cell, RefCell};

use vrrp_common::{
    contract::{Counter, MacKey, PeerKey, PeerLimits, VipKey, VipTarget, VridKey, VridTarget},
    frame::{Frame, FrameMut, Wire},
    slot::Slot,
    tables::Tables,
    vrrp::Source,
};
use vrrp_userspace::clock;

/// One virtual router's tables.
pub(super) struct Mirror {
    pub(super) slot: Slot,
    pub(super) vrid: VridKey,
    pub(super) vip: VipKey,
    pub(super) mac: MacKey,
    counters: [Cell<u64>; Counter::COUNT],
}

impl Mirror {
    pub(super) fn new(vrid: VridKey, vip: VipKey, mac: MacKey) -> Self {
        Self {
            slot: Slot::new(),
            vrid,
            vip,
            mac,
            counters: std::array::from_fn(|_| Cell::new(0)),
        }
    }

    pub(super) fn counts(&self) -> [u64; Counter::COUNT] {
        std::array::from_fn(|at| self.counters[at].get())
    }
}

impl Tables for Mirror {
    const FENCES: bool = true;

    fn vrid(&self, key: VridKey) -> Option<VridTarget> {
        (key == self.vrid).then_some(VridTarget::new(0, 0))
    }

    fn may_be_vip(&self, _: Source) -> bool {
        true
    }

    fn vip(&self, key: VipKey) -> Option<VipTarget> {
        (key == self.vip).then_some(VipTarget {
            slot: 0,
            mac: [0; 6],
            row: 0,
        })
    }

    fn mac(&self, key: MacKey) -> Option<u32> {
        (key == self.mac).then_some(0)
    }

    fn peer(&self, _: PeerKey) -> Option<PeerLimits> {
        None
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        (index == 0).then_some(&self.slot)
    }

    fn count(&self, _: u32, _: u16, index: usize) {
        if let Some(counter) = self.counters.get(index) {
            counter.set(counter.get() + 1);
        }
    }

    fn ring(&self, _: u32, _: u32) {}

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn is_attended(&self, _: u64) -> bool {
        true
    }
}

/// A frame that can be rewritten and resized.
pub(super) struct Buffer(pub(super) RefCell<Vec<u8>>);

impl Frame for Buffer {
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        self.0.borrow().as_slice().load(offset)
    }

    fn length(&self) -> usize {
        self.0.borrow().len()
    }

    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        self.0.borrow().as_slice().sum(offset, len)
    }
}

impl FrameMut for Buffer {
    fn store<T: Wire>(&self, offset: usize, value: T) -> bool {
        let mut bytes = self.0.borrow_mut();
        let Some(place) = bytes.get_mut(offset..offset + size_of::<T>()) else {
            return false;
        };
        // SAFETY: the place is as long as the value, which has no padding.
        unsafe { place.as_mut_ptr().cast::<T>().write_unaligned(value) };
        true
    }

    fn resize(&self, length: usize) -> bool {
        self.0.borrow_mut().resize(length, 0);
        true
    }
}
