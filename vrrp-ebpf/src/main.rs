//! The kernel half of xvrrp.
//!
//! Thin by rule: this crate knows how to read a frame, where the maps are and which verdict ends a
//! frame's way. What an advert means and how ARP is answered is `vrrp-common`'s business, and the
//! same code there runs in the host's tests.

#![no_std]
#![no_main]

mod maps;
mod packet;
mod receive;
mod respond;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use network_types::eth::{EthHdr, EtherType};
use vrrp_common::frame::Frame;

use crate::packet::XdpFrame;

/// What to do with a frame.
#[derive(Clone, Copy)]
enum Verdict {
    /// Not our business, or not only ours.
    Pass,
    /// Consumed.
    Drop,
    /// Rewritten into an answer: send it back.
    Transmit,
}

/// Entry point for native and generic XDP.
#[xdp(frags)]
fn xvrrp_xdp(ctx: XdpContext) -> u32 {
    match handle(&XdpFrame::new(&ctx)) {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Transmit => xdp_action::XDP_TX,
    }
}

#[inline(always)]
fn handle(frame: &XdpFrame<'_>) -> Verdict {
    let Some(ethernet) = frame.load::<EthHdr>(0) else {
        return Verdict::Pass;
    };
    if ethernet.ether_type == u16::from(EtherType::Ipv4) {
        receive::advert(frame)
    } else if ethernet.ether_type == u16::from(EtherType::Arp) {
        respond::arp(frame)
    } else {
        Verdict::Pass
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
