//! Whether the machine itself stood still: whoever shares its processors may take one for longer than a
//! protocol window of a few intervals, and no daemon can send meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    ms,
    scheduling::{OnEach, go_first},
};

const TRIES: usize = 5;
const NAP: Duration = Duration::from_millis(1);

/// What `measure` sees; once more if it does not hold and the machine stood still for `limit` meanwhile, which has to
/// be long enough to explain that. The last try counts, whatever the machine did.
pub fn unless_stalled<T>(
    limit: Duration,
    mut measure: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    for _ in 1..TRIES {
        let watch = Watch::start();
        let seen = measure();
        let longest = watch.longest();
        // A nap may just have begun when it did.
        if holds(&seen) || longest.saturating_add(NAP) < limit {
            return seen;
        }
        let nanoseconds = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        println!("the machine stood still for {} ms: again", ms(nanoseconds));
    }
    measure()
}

/// A thread on each processor that does nothing but sleep for [`NAP`], and goes before everybody.
struct Watch {
    longest_ns: Arc<AtomicU64>,
    threads: OnEach,
}

impl Watch {
    fn start() -> Self {
        let longest_ns = Arc::<AtomicU64>::default();
        let seen = Arc::clone(&longest_ns);
        let threads = OnEach::start(go_first, move || {
            let began = Instant::now();
            thread::sleep(NAP);
            let late = began.elapsed().saturating_sub(NAP);
            let late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            seen.fetch_max(late_ns, Ordering::Relaxed);
        });
        Self {
            longest_ns,
            threads,
        }
    }

    /// The longest that one of them came too late.
    fn longest(self) -> Duration {
        self.threads.end();
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduling::{go_before_all, processors, stay_on};

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

    /// Takes the last processor from everybody else.
    fn hold_up(time: Duration) {
        stay_on(*processors().last().expect("a processor"));
        go_before_all();
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_processor_that_is_taken_away_is_noticed() {
        let time = Duration::from_millis(40);
        let watch = Watch::start();
        let holder = thread::spawn(move || hold_up(time));
        holder.join().expect("whoever holds it up");
        let longest = watch.longest();
        // It may just have begun to sleep.
        assert!(longest + 2 * NAP >= time, "{longest:?} of {time:?}");
    }
}
