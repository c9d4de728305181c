//! What a machine has left over: one thread per processor that only runs when nobody else wants to.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::contestant::on_cpu_ns;
use crate::{
    scheduling::{OnEach, idle},
    spend,
};

const OWN: &str = "/proc/thread-self/schedstat";

/// Threads of the class `SCHED_IDLE`, each on a processor of its own.
pub(super) struct Spinners {
    turns: Arc<AtomicU64>,
    threads: OnEach,
    began: Instant,
}

impl Spinners {
    pub(super) fn start() -> Self {
        let turns = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&turns);
        Self {
            turns,
            threads: OnEach::start(idle, move || spin(&counter)),
            began: Instant::now(),
        }
    }

    /// Turns of all threads each second.
    fn rate(self) -> f64 {
        self.threads.end();
        super::float(self.turns.load(Ordering::Relaxed)) / self.began.elapsed().as_secs_f64()
    }

    /// The share of one processor that others have taken, measured against the same threads on a quiet
    /// machine: interrupts count as well, whoever was billed for them.
    pub(super) fn lost(self, quiet_rate: f64) -> f64 {
        let processors = super::float(self.threads.count() as u64);
        (1.0 - self.rate() / quiet_rate) * processors
    }
}

/// The best rate of a few short runs, of the machine as it is now: nothing may run on it yet.
pub(super) fn quiet_rate() -> f64 {
    let best = (0..5).map(|_| {
        let spinners = Spinners::start();
        spend(Duration::from_secs(1));
        spinners.rate()
    });
    best.fold(0.0, f64::max)
}

/// What the spinners see of a load that is known: a thread that works a fifth of the time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calibration {
    /// Its share of a processor, as the kernel bills it.
    pub(super) load: f64,
    /// What the spinners have lost.
    pub(super) seen: f64,
}

pub(super) fn calibrate(time: Duration) -> Calibration {
    let quiet_rate = quiet_rate();
    let spinners = Spinners::start();
    let (began, before) = (Instant::now(), on_cpu_ns(Path::new(OWN)));
    while began.elapsed() < time {
        let turn = Instant::now();
        while turn.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        spend(Duration::from_millis(8));
    }
    let load = super::ratio(on_cpu_ns(Path::new(OWN)) - before, began.elapsed());
    Calibration {
        load,
        seen: spinners.lost(quiet_rate),
    }
}

fn spin(turns: &AtomicU64) {
    let mut own = 0_u64;
    for _ in 0..1000 {
        own = std::hint::black_box(own.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    turns.fetch_add(1, Ordering::Relaxed);
}
