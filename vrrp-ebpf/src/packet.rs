//! Packet memory of an XDP program as a [`Frame`].

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_csum_diff, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use vrrp_common::{
    arp::{ArpFrame, FRAME_LEN},
    checksum,
    frame::{Frame, Wire},
};

use crate::maps::{SCRATCH, SCRATCH_LEN};

/// One received frame.
pub struct XdpFrame<'a> {
    ctx: &'a XdpContext,
}

impl<'a> XdpFrame<'a> {
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// Index of the interface the frame arrived on.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the kernel passes a valid context.
        unsafe { (*self.ctx.ctx).ingress_ifindex }
    }

    /// Overwrites the start of the frame.
    #[inline(always)]
    pub fn write(&self, answer: ArpFrame) -> bool {
        let start = self.ctx.data();
        if start + FRAME_LEN > self.ctx.data_end() {
            return false;
        }
        // SAFETY: the bounds were checked just above.
        unsafe { (start as *mut ArpFrame).write_unaligned(answer) };
        true
    }
}

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let start = self.ctx.data() + offset;
        if start + size_of::<T>() > self.ctx.data_end() {
            return None;
        }
        // SAFETY: the bounds were checked just above, and `Wire` allows every bit pattern.
        Some(unsafe { (start as *const T).read_unaligned() })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    /// The verifier does not let `bpf_csum_diff` read packet memory of variable length, so the
    /// bytes are copied first. `len` is a multiple of four, as everything VRRP sums is.
    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        let scratch = SCRATCH.get_ptr_mut(0)?.cast::<c_void>();
        // The mask tells the verifier what the message length already guarantees.
        let len = (core::hint::black_box(len) & (SCRATCH_LEN - 1)) as u32;
        if len == 0 {
            return Some(0);
        }
        // SAFETY: scratch is SCRATCH_LEN bytes, and len is below that.
        let sum = unsafe {
            if bpf_xdp_load_bytes(self.ctx.ctx, offset as u32, scratch, len) != 0 {
                return None;
            }
            bpf_csum_diff(core::ptr::null_mut(), 0, scratch.cast(), len, 0)
        };
        // The helper sums host-order words; the folded sum swaps to network order as a whole.
        Some(u16::from_be(checksum::fold(sum as u32)))
    }
}
