//! Packet memory of a TC program as a [`Frame`]. Part of a socket buffer may be elsewhere than in
//! the linear bytes a program can reach directly; helpers find it.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_load_bytes, bpf_skb_load_bytes_relative,
        bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use vrrp_common::{
    frame::{self, Frame, FrameMut, Way, Whole, Wire},
    link::{Link, Tag},
};

use crate::{maps, sum, words};

/// One received frame.
pub struct SkbFrame<'a> {
    ctx: &'a TcContext,
}

impl<'a> SkbFrame<'a> {
    #[inline(always)]
    pub fn new(ctx: &'a TcContext) -> Self {
        Self { ctx }
    }

    /// Index of the interface the frame arrived on.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the kernel passes a valid context.
        unsafe { (*self.skb()).ifindex }
    }

    /// The tag that hardware or kernel took out of the frame.
    #[inline(always)]
    pub fn tag(&self) -> Option<Tag> {
        // SAFETY: as above.
        let (present, protocol, tci) = unsafe {
            let skb = self.skb();
            ((*skb).vlan_present, (*skb).vlan_proto, (*skb).vlan_tci)
        };
        (present != 0).then_some(Tag {
            protocol: u16::from_be(protocol as u16),
            tci: tci as u16,
        })
    }

    /// Makes the kernel take the frame for one that was sent to this machine.
    #[inline(always)]
    pub fn mark_as_ours(&self) {
        /// `PACKET_HOST` of `linux/if_packet.h`.
        const HOST: u32 = 0;
        // SAFETY: the helper takes plain numbers. It refuses only types that cannot be set.
        unsafe { bpf_skb_change_type(self.skb(), HOST) };
    }

    #[inline(always)]
    fn skb(&self) -> *mut __sk_buff {
        self.ctx.skb.skb
    }
}

/// The headers of a frame that has been through generic XDP: the kernel may have copied it, and then
/// gives a TC program the frame without its link layer. Relative to that everything is found.
pub struct SkbHeaders<'a>(pub &'a SkbFrame<'a>);

impl Frame for SkbHeaders<'_> {
    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        /// `BPF_HDR_START_MAC`.
        const LINK_LAYER: u32 = 0;
        const { assert!(size_of::<T>() <= maps::HEADER_LEN) };
        let place = maps::HEADER.get_ptr_mut(0)?.cast::<c_void>();
        let (skb, length) = (self.0.skb().cast(), size_of::<T>() as u32);
        // SAFETY: the place is long enough, the helper writes all of the value or says that it could
        // not, and `Wire` allows every bit pattern.
        unsafe {
            (bpf_skb_load_bytes_relative(skb, offset as u32, place, length, LINK_LAYER) == 0)
                .then(|| words::read(place.addr()))
        }
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.0.length()
    }

    /// Nothing behind the headers is looked at.
    #[inline(always)]
    fn sum(&self, _offset: usize, _len: usize) -> Option<u16> {
        None
    }
}

impl Frame for SkbFrame<'_> {
    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let start = self.ctx.data() + offset;
        if start + size_of::<T>() <= self.ctx.data_end() {
            // SAFETY: the bounds were checked just above, and `Wire` allows every bit pattern.
            return Some(unsafe { words::read(start) });
        }
        const { assert!(size_of::<T>() <= maps::HEADER_LEN) };
        let place = maps::HEADER.get_ptr_mut(0)?.cast::<c_void>();
        let length = size_of::<T>() as u32;
        // SAFETY: the place is long enough, the helper writes all of the value or says that it could
        // not, and `Wire` allows every bit pattern.
        unsafe {
            (bpf_skb_load_bytes(self.skb().cast(), offset as u32, place, length) == 0)
                .then(|| words::read(place.addr()))
        }
    }

    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the kernel passes a valid context.
        unsafe { (*self.skb()).len as usize }
    }

    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        if len <= sum::SHORT {
            let summed = sum::short(self.ctx.data(), offset, self.ctx.data_end(), len);
            if summed.is_some() {
                return summed;
            }
        }
        sum::copied(len, |scratch: *mut c_void, len| {
            // SAFETY: the scratch is longer than `len`.
            unsafe { bpf_skb_load_bytes(self.skb().cast(), offset as u32, scratch, len) == 0 }
        })
    }
}

impl FrameMut for SkbFrame<'_> {
    #[inline(always)]
    fn store<T: Wire>(&self, offset: usize, value: T) -> bool {
        // The helper also makes a shared buffer our own before it writes: a broadcast may be on its
        // way to others.
        // SAFETY: the helper reads the value and checks the bounds of the frame.
        unsafe {
            bpf_skb_store_bytes(
                self.skb(),
                offset as u32,
                (&raw const value).cast::<c_void>(),
                size_of::<T>() as u32,
                0,
            ) == 0
        }
    }

    #[inline(always)]
    fn resize(&self, length: usize) -> bool {
        if length == self.length() {
            return true;
        }
        // SAFETY: the helper takes plain numbers; every access derives its pointers anew.
        unsafe { bpf_skb_change_tail(self.skb(), length as u32, 0) == 0 }
    }

    /// In one piece wherever it can be: on some machines nothing takes longer than calling a helper.
    #[inline(always)]
    fn answer<T: Wire>(&self, link: &Link, way: Way, packet: T) -> bool {
        match Whole::new(link, way, packet) {
            Some(whole) => self.store(0, whole),
            None => frame::answer_in_parts(self, link, way, packet),
        }
    }
}
