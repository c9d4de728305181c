//! Whether the machine itself stood still: whoever shares its processors may take one for longer than a
//! protocol window of a few intervals, and no daemon can send meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{ms, scheduling};

const TRIES: usize = 5;
const NAP: Duration = Duration::from_millis(1);

/// What `measure` sees; once more if it does not hold and the machine stood still for `limit` meanwhile. The last
/// try counts, whatever the machine did.
pub fn unless_stalled<T>(
    limit: Duration,
    mut measure: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    for _ in 1..TRIES {
        let watch = Watch::start();
        let seen = measure();
        let longest = watch.longest();
        if holds(&seen) || longest < limit {
            return seen;
        }
        let nanoseconds = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        println!("the machine stood still for {} ms: again", ms(nanoseconds));
    }
    measure()
}

/// A thread on each processor that does nothing but sleep for [`NAP`], and goes before everybody.
struct Watch {
    stop: Arc<AtomicBool>,
    longest_ns: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    fn start() -> Self {
        let (stop, longest_ns) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors)
            .map(|processor| {
                let (stop, longest_ns) = (Arc::clone(&stop), Arc::clone(&longest_ns));
                std::thread::spawn(move || watch(processor, &stop, &longest_ns))
            })
            .collect();
        Self {
            stop,
            longest_ns,
            threads,
        }
    }

    /// The longest that one of them came too late.
    fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a watching thread");
        }
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }
}

fn watch(processor: usize, stop: &AtomicBool, longest_ns: &AtomicU64) {
    scheduling::stay_on(processor);
    scheduling::go_first();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        std::thread::sleep(NAP);
        let late = began.elapsed().saturating_sub(NAP);
        let late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        longest_ns.fetch_max(late_ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is tried when the answer is this and so long a stall counts.
    fn tries(holds: bool, limit: Duration) -> usize {
        let mut tries = 0;
        unless_stalled(limit, || tries += 1, |()| holds);
        tries
    }

    #[test]
    fn only_what_does_not_hold_on_a_machine_that_stood_still_is_tried_again() {
        let never = Duration::MAX;
        assert_eq!(tries(true, Duration::ZERO), 1);
        assert_eq!(tries(false, never), 1);
        assert_eq!(tries(false, Duration::ZERO), TRIES);
    }
}
