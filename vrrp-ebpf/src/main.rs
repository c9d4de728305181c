//! The kernel half of xvrrp.
//!
//! Thin by rule: this crate knows how to read and write packet memory, where the maps are and which
//! verdict ends a frame's way. What happens to a frame is `vrrp_common::receive`, the same for every
//! entry point and for the host's tests.
//!
//! The macros make a function around each entry point. It is inlined there, because otherwise every frame
//! would pay for a call, which is dear where the kernel guards its returns.

#![no_std]
#![no_main]
// For `asm!` on BPF.
#![feature(asm_experimental_arch)]

mod maps;
mod skb;
mod sum;
mod words;
mod xdp;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::bpf_redirect,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vrrp_common::{
    receive::{self, Verdict},
    tables::Arrival,
    transmit,
};

use crate::{
    maps::Maps,
    skb::{SkbFrame, SkbHeaders},
    xdp::XdpFrame,
};

/// Entry point for native and generic XDP.
#[xdp(frags)]
#[inline(always)]
fn xvrrp_xdp(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    let arrival = Arrival {
        ifindex: frame.ifindex(),
        tag: None,
    };
    match receive::handle(&frame, arrival, &Maps) {
        Verdict::Pass | Verdict::Accept => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Transmit => xdp_action::XDP_TX,
    }
}

/// Entry point for TC ingress, TCX or clsact. Programs behind ours see whatever is not ours.
#[classifier]
#[inline(always)]
fn xvrrp_tc(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    let arrival = Arrival {
        ifindex: frame.ifindex(),
        tag: frame.tag(),
    };
    match receive::handle(&frame, arrival, &Maps) {
        Verdict::Pass | Verdict::Accept => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
        // Back out of the interface it came in by; the verdict is the helper's.
        // SAFETY: the helper takes plain numbers.
        Verdict::Transmit => unsafe { bpf_redirect(arrival.ifindex, 0) as i32 },
    }
}

/// Entry point for TC ingress beside either of those: frames for a virtual MAC. XDP cannot make the
/// kernel take a frame for its own, and one program with both tasks would need more than the 512 bytes
/// of stack that there are.
#[classifier]
#[inline(always)]
fn xvrrp_accept(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    let arrival = Arrival {
        ifindex: frame.ifindex(),
        tag: frame.tag(),
    };
    match receive::accept(&SkbHeaders(&frame), arrival, &Maps) {
        Verdict::Drop => TC_ACT_SHOT,
        Verdict::Accept => {
            frame.mark_as_ours();
            TC_ACT_UNSPEC
        }
        Verdict::Pass | Verdict::Transmit => TC_ACT_UNSPEC,
    }
}

/// Entry point for TC egress.
#[classifier]
#[inline(always)]
fn xvrrp_egress(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    let way = Arrival {
        ifindex: frame.ifindex(),
        tag: frame.tag(),
    };
    if transmit::handle(&frame, way, &Maps) {
        TC_ACT_UNSPEC
    } else {
        TC_ACT_SHOT
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel gives helpers such as `bpf_ktime_get_boot_ns` to any licence, but not all of them.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
