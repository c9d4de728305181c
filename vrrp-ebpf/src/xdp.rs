//! Packet memory of an XDP program as a [`Frame`].

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use vrrp_common::frame::{Frame, FrameMut, Wire};

use crate::{sum, words};

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

    /// Where a `T` at `offset` is, if the frame reaches that far.
    #[inline(always)]
    fn place<T>(&self, offset: usize) -> Option<usize> {
        let start = self.ctx.data() + offset;
        (start + size_of::<T>() <= self.ctx.data_end()).then_some(start)
    }
}

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let start = self.place::<T>(offset)?;
        // SAFETY: `place` checked the bounds, and `Wire` allows every bit pattern.
        Some(unsafe { words::read(start) })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        if len <= sum::SHORT {
            return sum::short(self.ctx.data(), offset, self.ctx.data_end(), len);
        }
        sum::copied(len, |scratch: *mut c_void, len| {
            // SAFETY: the scratch is longer than `len`.
            unsafe { bpf_xdp_load_bytes(self.ctx.ctx, offset as u32, scratch, len) == 0 }
        })
    }
}

impl FrameMut for XdpFrame<'_> {
    #[inline(always)]
    fn store<T: Wire>(&self, offset: usize, value: T) -> bool {
        let Some(start) = self.place::<T>(offset) else {
            return false;
        };
        // SAFETY: `place` checked the bounds.
        unsafe { words::write(start, &value) };
        true
    }

    #[inline(always)]
    fn resize(&self, length: usize) -> bool {
        if length == self.length() {
            return true;
        }
        // The verifier lets pointers be subtracted in 64 bits only, and the compiler would do with 32.
        let present = core::hint::black_box(self.length());
        let delta = length as i32 - present as i32;
        // SAFETY: the helper takes plain numbers; every access derives its pointers anew.
        unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, delta) == 0 }
    }
}
