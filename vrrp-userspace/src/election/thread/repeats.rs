//! When announcements are sent again: they give way to everything else, but not for ever.

use vrrp_common::timers::NS_PER_MS;

/// For how many turns of the loop they give way.
const PATIENCE: u32 = 32;

/// How long nobody has anything else to do before a batch of them goes. The thread is real-time: as long as it
/// repeats without a pause, its processor does nothing else. But somebody may be asking for the addresses
/// already, and the kernel delivers that behind it; and to put the next address in place it waits every so
/// often until each processor has been let go (an RCU grace period).
const PAUSE_NS: u64 = NS_PER_MS;

/// Keeps count of the turns.
#[derive(Default)]
pub(super) struct Repeats {
    postponed: u32,
    /// When the pause is over, where something is to be sent again.
    due_ns: Option<u64>,
}

impl Repeats {
    /// A turn is over, after which there is something to be sent again (`has_more`) or not. Returns until when
    /// the loop may wait for the next, in nanoseconds since the boot; without one, as long as it likes.
    pub(super) fn wait(&mut self, has_more: bool, now_ns: u64) -> Option<u64> {
        if !has_more {
            self.postponed = 0;
        }
        self.due_ns = has_more.then(|| now_ns.saturating_add(PAUSE_NS));
        self.due_ns
    }

    /// Whether this turn is to send a batch.
    pub(super) fn are_due(&mut self, now_ns: u64) -> bool {
        self.postponed += 1;
        let has_paused = self.due_ns.is_some_and(|due| due <= now_ns);
        let are_due = has_paused || self.postponed > PATIENCE;
        if are_due {
            self.postponed = 0;
        }
        are_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5_000_000_000;

    #[test]
    fn there_is_a_pause_before_each_batch() {
        let mut repeats = Repeats::default();
        for batch in 0..2 * u64::from(PATIENCE) {
            let now_ns = NOW + batch * 2 * PAUSE_NS;
            assert_eq!(repeats.wait(true, now_ns), Some(now_ns + PAUSE_NS));
            assert!(!repeats.are_due(now_ns + PAUSE_NS - 1), "woken before");
            assert!(repeats.are_due(now_ns + PAUSE_NS));
        }
    }

    #[test]
    fn whoever_has_something_to_do_goes_first() {
        let mut repeats = Repeats::default();
        assert!(repeats.wait(true, NOW).is_some());
        assert!(!repeats.are_due(NOW + PAUSE_NS / 2));
        let until = repeats.wait(true, NOW + PAUSE_NS / 2);
        assert_eq!(until, Some(NOW + PAUSE_NS / 2 + PAUSE_NS), "a pause anew");
        assert!(!repeats.are_due(NOW + PAUSE_NS));
    }

    #[test]
    fn they_give_way_so_many_turns_and_no_more() {
        let mut repeats = Repeats::default();
        for round in 0..2 {
            for turn in 0..PATIENCE {
                repeats.wait(true, NOW);
                assert!(!repeats.are_due(NOW), "turn {turn} of round {round}");
            }
            repeats.wait(true, NOW);
            assert!(repeats.are_due(NOW), "they have waited long enough");
        }
    }

    #[test]
    fn what_is_new_gives_way_anew() {
        let mut repeats = Repeats::default();
        for _ in 0..PATIENCE {
            repeats.wait(true, NOW);
            assert!(!repeats.are_due(NOW));
        }
        assert_eq!(repeats.wait(false, NOW), None);
        assert!(!repeats.are_due(NOW + PAUSE_NS), "there was nothing");
        repeats.wait(true, NOW);
        assert!(!repeats.are_due(NOW));
    }
}
