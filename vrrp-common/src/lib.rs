//! The VRRP protocol of xvrrp, without IO and without a clock.
//!
//! Everything here is compiled twice: for the BPF target, where the XDP program judges adverts and
//! answers ARP, and for the host, where the election runs and where tests and simulations exercise
//! the very same code. Times are `u64` nanoseconds of `CLOCK_BOOTTIME`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`frame`] | bounds-checked reading of a frame, in the kernel and on the host |
//! | [`link`] | the Ethernet header and VLAN tags |
//! | [`receive`] | what happens to a frame that arrives: the one handler of XDP, TC and user space |
//! | [`transmit`] | what happens to a frame that leaves: the virtual MAC, and the fence |
//! | [`tables`] | the maps and the clock that both are lent |
//! | [`checksum`] | the Internet checksum |
//! | [`vrrp`] | the wire format of `VRRPv3` and `VRRPv2` |
//! | [`validate`] | the ladder every advert climbs, one reject reason per rung |
//! | [`arp`] | reading ARP, answering it, announcing an address |
//! | [`nd`] | the same for IPv6: Neighbour Discovery |
//! | [`encode`] | adverts to send |
//! | [`timers`] | `Skew_Time` and `Master_Down_Interval` |
//! | [`slot`] | the per-VRID map slot shared by kernel and user space |
//! | [`contract`] | keys, counters and sizes of the other maps |
//! | [`election`] | the state machine: event and time in, ordered actions out |

#![cfg_attr(not(test), no_std)]

pub mod arbiter;
pub mod arp;
pub mod checksum;
pub mod contract;
pub mod election;
pub mod encode;
pub mod frame;
pub mod link;
pub mod nd;
pub mod receive;
pub mod shortcut;
pub mod slot;
pub mod tables;
pub mod timers;
pub mod transmit;
pub mod validate;
pub mod vrrp;
