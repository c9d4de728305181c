//! From nothing to every address, a reload that changes one of them, and the end.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    arrivals::Arrivals,
    contestant::{Daemon, Maker, PRIORITIES, Work},
    field::Field,
};
use crate::{ms, process::Scratch, spend, wall_ns};

/// What was measured of one maker in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Life {
    pub(super) maker: Maker,
    /// From the start of the process until the last address is there, Master_Down among it.
    pub(super) up_ms: f64,
    /// From SIGHUP until an address that is new is there.
    pub(super) reload_ms: f64,
    /// From SIGTERM until the process has ended and no address is there.
    pub(super) stop_ms: f64,
    /// Memory of the MASTER at rest.
    pub(super) kib: u64,
    /// That of one with a single virtual router taken off, for each further one.
    pub(super) kib_each: f64,
}

const SETTLE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(90);
/// The address that a reload brings.
const NEW: &str = "  10.100.255.255/32\n";

/// What a daemon with one virtual router needs.
fn least_kib(maker: Maker) -> u64 {
    let work = super::work(1, 1, 10);
    let field = Field::new(work.interfaces);
    let scratch = Scratch::new("life");
    let arrivals = Arrivals::watch(&field.routers[0]);
    let daemon = Daemon::start(maker, work, &field, 0, &scratch);
    arrivals.wait(work.routers(), LIMIT);
    spend(SETTLE);
    daemon.memory_kib()
}

pub(super) fn measure(maker: Maker, work: Work) -> Life {
    let least_kib = least_kib(maker);
    let field = Field::new(work.interfaces);
    let scratch = Scratch::new("life");
    let arrivals = Arrivals::watch(&field.routers[0]);
    let began_ns = wall_ns();
    let mut daemon = Daemon::start(maker, work, &field, 0, &scratch);
    arrivals.wait(work.routers(), LIMIT);
    let up_ms = last_of(&arrivals, began_ns);
    spend(SETTLE);
    let kib = daemon.memory_kib();
    let list = "virtual_ipaddress {\n";
    let config = work.config(PRIORITIES[0]);
    let (before, after) = config.rsplit_once(list).expect("an address");
    let config = format!("{before}{list}{NEW}{after}");
    let began_ns = wall_ns();
    daemon.reload(&field.routers[0], &scratch, &config);
    arrivals.wait(work.routers() + 1, LIMIT);
    let reload_ms = last_of(&arrivals, began_ns);
    spend(SETTLE);
    let began = Instant::now();
    daemon.stop(LIMIT);
    arrivals.wait(0, LIMIT);
    let stop_ms = began.elapsed().as_secs_f64() * 1000.0;
    let others = u64::try_from(work.routers() - 1).expect("a few thousand");
    Life {
        maker,
        up_ms,
        reload_ms,
        stop_ms,
        kib,
        kib_each: super::float(kib.saturating_sub(least_kib)) / super::float(others),
    }
}

/// Milliseconds until the last address came.
fn last_of(arrivals: &Arrivals, began_ns: u64) -> f64 {
    let last = arrivals.present().into_values().max();
    ms(last.unwrap_or_default().saturating_sub(began_ns))
}

impl Life {
    /// With the names of what they are.
    pub(super) fn all(&self) -> [(&'static str, f64); 5] {
        [
            ("up, ms", self.up_ms),
            ("reload, ms", self.reload_ms),
            ("stop, ms", self.stop_ms),
            ("memory, KiB", super::float(self.kib)),
            ("memory each, KiB", self.kib_each),
        ]
    }
}
