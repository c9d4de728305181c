//! How a simulated cluster is set up, and what can happen to it.

use vrrp_common::{election::Settings, timers};

/// How a router of the cluster is set up: the same for each of its virtual routers.
#[derive(Clone, Copy, Debug)]
pub struct NodeSpec {
    /// Priority; a check changes it.
    pub priority: u8,
    /// Last byte of its address.
    pub address: u8,
    /// Timers, preemption and every other option.
    pub settings: Settings,
}

impl NodeSpec {
    /// Advertisement_Interval in centiseconds.
    pub fn interval_cs(&self) -> u16 {
        u16::try_from(self.settings.interval_ns / timers::NS_PER_CS).expect("a short interval")
    }
}

/// What the network does to a frame.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest and longest flight of a frame, in nanoseconds.
    pub flight_ns: (u64, u64),
    /// Frames lost, of 1000.
    pub loss: u64,
}

/// What can happen to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process does not run; the kernel goes on stamping and answering.
    Stop,
    /// The whole machine stands still: nothing is received, stamped or answered.
    Stun,
    /// Its cables are out; nobody tells it.
    Cut,
    /// The cable of its first virtual router is out, and it knows.
    Unplug,
    /// A check of its first virtual router fails whose failure means FAULT.
    Check,
    /// The daemon ends in order and starts again later.
    Restart,
    /// The process stops at the very instruction that sends its next advert, and goes on there.
    MidSend,
    /// The process is killed, and another one started in its place later.
    Crash,
    /// The daemon hands over to another one, which takes some time to be there.
    HandOver,
    /// Nothing reaches it, though all it says is heard.
    Deaf,
    /// Nothing it says is heard, though all reaches it.
    Mute,
}
