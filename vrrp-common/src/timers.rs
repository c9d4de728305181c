//! Skew_Time and Master_Down_Interval (RFC 9568 and RFC 3768, section 6.1) in nanoseconds.
//!
//! The RFC computes in centiseconds. Rounded to those, the skew of every priority is 0 at an
//! interval of 10 ms and all backups would take over at once, so nothing here is rounded.

use crate::vrrp::Version;

/// Nanoseconds in a centisecond, the unit of Max Advertise Interval.
pub const NS_PER_CS: u64 = 10_000_000;
/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;
/// How many missed adverts make a master dead (RFC 9568 6.1), unless configured otherwise.
pub const DOWN_TIMER_ADVERTS: u8 = 3;

/// An interval on the wire, in nanoseconds.
#[must_use]
pub const fn interval_ns(interval_cs: u16) -> u64 {
    interval_cs as u64 * NS_PER_CS
}

/// `Skew_Time`: `(256 - Priority) * Master_Adver_Interval / 256`, in `VRRPv2` `(256 - Priority) / 256`
/// seconds whatever the interval.
#[must_use]
pub const fn skew_time(version: Version, priority: u8, master_adver_interval_ns: u64) -> u64 {
    let whole = match version {
        Version::V2 => NS_PER_S,
        Version::V3 => master_adver_interval_ns,
    };
    (256 - priority as u64) * whole / 256
}

/// `Master_Down_Interval = down_timer_adverts * Master_Adver_Interval + Skew_Time`.
#[must_use]
pub const fn master_down_interval(
    version: Version,
    priority: u8,
    master_adver_interval_ns: u64,
    down_timer_adverts: u8,
) -> u64 {
    down_timer_adverts as u64 * master_adver_interval_ns
        + skew_time(version, priority, master_adver_interval_ns)
}

/// The time at which something that is due then, and again each `interval_ns`, happens in step with
/// everything else of that interval: at a whole number of intervals. Until it is there it comes a tenth of
/// its interval early each time, and never late.
#[must_use]
pub const fn on_beat(due_ns: u64, interval_ns: u64) -> u64 {
    if interval_ns == 0 {
        return due_ns;
    }
    let behind = due_ns % interval_ns;
    let step = interval_ns / 10;
    due_ns - if behind < step { behind } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (priority, interval in centiseconds, skew in ns, Master_Down in ns).
    const GOLDEN: &[(u8, u16, u64, u64)] = &[
        (100, 100, 609_375_000, 3_609_375_000),
        (254, 100, 7_812_500, 3_007_812_500),
        (255, 100, 3_906_250, 3_003_906_250),
        (1, 100, 996_093_750, 3_996_093_750),
        (200, 50, 109_375_000, 1_609_375_000),
        (150, 25, 103_515_625, 853_515_625),
        (100, 10, 60_937_500, 360_937_500),
        (100, 1, 6_093_750, 36_093_750),
        (1, 4095, 40_790_039_062, 163_640_039_062),
    ];

    #[test]
    fn golden_values() {
        for &(priority, interval_cs, skew, down) in GOLDEN {
            let interval = interval_ns(interval_cs);
            assert_eq!(
                skew_time(Version::V3, priority, interval),
                skew,
                "skew of {priority} at {interval_cs}"
            );
            assert_eq!(
                master_down_interval(Version::V3, priority, interval, DOWN_TIMER_ADVERTS),
                down,
                "Master_Down of {priority} at {interval_cs}"
            );
        }
    }

    #[test]
    fn neighbouring_priorities_never_share_a_skew() {
        for priority in 1..255 {
            for version in [Version::V2, Version::V3] {
                assert!(
                    skew_time(version, priority, NS_PER_CS)
                        > skew_time(version, priority + 1, NS_PER_CS)
                );
            }
        }
    }

    #[test]
    fn the_skew_of_version_2_knows_no_interval() {
        let down = |priority, seconds| {
            master_down_interval(
                Version::V2,
                priority,
                seconds * NS_PER_S,
                DOWN_TIMER_ADVERTS,
            )
        };
        assert_eq!(down(100, 1), 3_609_375_000);
        assert_eq!(down(1, 255), 765_996_093_750);
        assert_eq!(skew_time(Version::V2, 100, 9 * NS_PER_S), 609_375_000);
    }

    #[test]
    fn a_beat_is_reached_in_small_steps_and_never_late() {
        let interval = 10 * NS_PER_MS;
        for begin in (0..interval).step_by(333_333) {
            let mut due = 7 * interval + begin;
            for _ in 0..10 {
                let next = on_beat(due + interval, interval);
                let gap = next - due;
                assert!(gap <= interval && gap >= interval * 9 / 10, "{gap}");
                due = next;
            }
            assert_eq!(due % interval, 0, "from {begin}");
        }
        assert_eq!(on_beat(5, 0), 5);
    }
}
