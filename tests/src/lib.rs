//! What the black-box tests stand on: network namespaces, frames built without the daemon's code,
//! captures with kernel timestamps, and the programs under test and beside them.
//!
//! A helper that cannot do its part panics: it is the test that fails.

#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "every helper panics where it cannot do its part"
)]

pub mod asker;
pub mod bench;
pub mod bpffs;
pub mod capture;
pub mod client;
pub mod documents;
pub mod duel;
pub mod etcd;
pub mod flood;
pub mod frames;
pub mod fuzz;
pub mod haproxy;
pub mod keepalived;
pub mod lab;
pub mod machine;
pub mod manager;
pub mod meaning;
pub mod measure;
pub mod modes;
pub mod netns;
mod oracle;
mod orphans;
pub mod ping;
pub mod process;
mod scheduling;
pub mod sim;
pub mod sinks;
pub mod soak;
pub mod stalls;
pub mod stream;
pub mod xvrrp;

use std::{
    fmt::Debug,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Long enough for anything that happens at all.
pub const LONG: Duration = Duration::from_secs(20);

/// Waits for `probe` to give a value, and fails with `what` after `limit`.
pub fn wait_for<T>(what: impl Debug, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {limit:?} in vain for {what:?}"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// How often a fault is repeated: `usual` times, or `full` times with `cargo xtask test --full`.
pub fn rounds(usual: usize, full: usize) -> usize {
    if std::env::var_os("XVRRP_FULL").is_some() {
        full
    } else {
        usual
    }
}

/// Lets time pass that is part of what is tested, such as how long a process stays stopped.
pub fn spend(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Nanoseconds of the wall clock, which the capture stamps with too.
pub fn wall_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    u64::try_from(since.as_nanos()).expect("a clock before 2554")
}

/// Milliseconds, for printing.
#[expect(clippy::cast_precision_loss, reason = "for printing")]
pub fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
