//! When announcements are sent again: they give way to everything else, but not for ever.

use vrrp_common::timers::NS_PER_MS;

/// How long nobody has anything else to do before a batch of them goes. The thread is real-time: as long as it
/// repeats without a pause, its processor does nothing else. But somebody may be asking for the addresses
/// already, and the kernel delivers that behind it; and to put the next address in place it waits every so
/// often until each processor has been let go (an RCU grace period).
const PAUSE_NS: u64 = NS_PER_MS;

/// How long a batch gives way at most, where somebody always has something to do.
const PATIENCE_NS: u64 = 10 * NS_PER_MS;

/// Where a turn of the loop ends with something to be sent again: when the next batch goes, in nanoseconds
/// since the boot.
#[derive(Default)]
pub(super) struct Repeats {
    /// Where nothing else happens until then.
    pause_over_ns: Option<u64>,
    /// Whatever happens.
    latest_ns: Option<u64>,
}

impl Repeats {
    /// A turn is over, after which there is something to be sent again (`has_more`) or not. Returns until when
    /// the loop may wait for the next; without one, as long as it likes.
    pub(super) fn wait(&mut self, has_more: bool, now_ns: u64) -> Option<u64> {
        if !has_more {
            *self = Self::default();
            return None;
        }
        let pause_over_ns = now_ns.saturating_add(PAUSE_NS);
        let patience_over_ns = now_ns.saturating_add(PATIENCE_NS);
        self.pause_over_ns = Some(pause_over_ns);
        let latest_ns = *self.latest_ns.get_or_insert(patience_over_ns);
        Some(pause_over_ns.min(latest_ns))
    }

    /// Whether the turn that was begun at that moment is to send a batch when all else is done. What it takes for
    /// that is no pause.
    pub(super) fn are_due(&mut self, woken_ns: u64) -> bool {
        let mut moments = self.pause_over_ns.into_iter().chain(self.latest_ns);
        let are_due = moments.any(|due| due <= woken_ns);
        if are_due {
            *self = Self::default();
        }
        are_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5_000_000_000;
    const MS: u64 = 1_000_000;

    #[test]
    fn there_is_a_pause_before_each_batch() {
        let mut repeats = Repeats::default();
        for batch in 0..20 {
            let now_ns = NOW + batch * 3 * MS;
            assert_eq!(repeats.wait(true, now_ns), Some(now_ns + MS));
            assert!(!repeats.are_due(now_ns + MS - 1), "woken before");
            assert!(repeats.are_due(now_ns + MS));
        }
    }

    #[test]
    fn whoever_has_something_to_do_goes_first() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.wait(true, NOW), Some(NOW + MS));
        assert!(!repeats.are_due(NOW + MS / 2));
        // That turn took 3 ms.
        let until = repeats.wait(true, NOW + 3 * MS);
        assert_eq!(until, Some(NOW + 4 * MS), "a pause anew");
        assert!(!repeats.are_due(NOW + 4 * MS - 1));
        assert!(repeats.are_due(NOW + 4 * MS));
    }

    #[test]
    fn they_give_way_for_10_ms_and_no_longer() {
        let mut repeats = Repeats::default();
        for start in [NOW, NOW + 10 * MS] {
            for after in (0..20).map(|turn| start + turn * MS / 2) {
                let until = repeats.wait(true, after);
                assert_eq!(until, Some((after + MS).min(start + 10 * MS)));
                assert!(!repeats.are_due(after), "{} us", (after - start) / 1000);
            }
            assert!(repeats.are_due(start + 10 * MS));
        }
    }

    #[test]
    fn what_is_new_gives_way_anew() {
        let mut repeats = Repeats::default();
        assert!(repeats.wait(true, NOW).is_some());
        assert!(!repeats.are_due(NOW));
        assert_eq!(repeats.wait(false, NOW + 5 * MS), None);
        assert!(!repeats.are_due(NOW + 60 * MS), "there was nothing");
        let again = NOW + 60 * MS;
        assert_eq!(repeats.wait(true, again), Some(again + MS));
        assert!(!repeats.are_due(again));
    }
}
