//! Waking up late, to the nanosecond: what is still in time, and what is not.

use super::*;

const HALF: u64 = NS_PER_S / 2;

/// (how late silence is noticed, whether it is trusted): half an interval at the end of Master_Down, a
/// whole one at the end of the interval that was listened once more.
#[test]
fn silence_noticed_a_little_late_is_trusted() {
    for (late, trusted) in [(0, true), (HALF, true), (HALF + 1, false)] {
        let mut bench = Bench::backup(Settings::default(), 100);
        bench.look(T0 + DOWN + late);
        let is_master = bench.election.state() == State::Master;
        assert_eq!(is_master, trusted, "{late}");
    }
    for (late, trusted) in [(0, true), (NS_PER_S, true), (NS_PER_S + 1, false)] {
        let mut bench = Bench::backup(Settings::default(), 100);
        bench.look(T0 + DOWN + 5 * NS_PER_S);
        let listened = bench.election.deadline().unwrap();
        bench.look(listened + late);
        let is_master = bench.election.state() == State::Master;
        assert_eq!(is_master, trusted, "{late} after listening once more");
    }
}

/// Half an interval, of the master that is known; and only where a backup waits for Master_Down.
#[test]
fn only_master_down_may_be_looked_at_early() {
    let mut bench = Bench::backup(Settings::default(), 100);
    assert_eq!(bench.election.early_ns(), HALF);
    bench.hear(T0 + 1, 200, 400, LOWER);
    bench.look(T0 + 1);
    assert_eq!(bench.election.early_ns(), 2 * NS_PER_S);
    bench.hear(T0 + 2, 0, 400, LOWER);
    bench.look(T0 + 2);
    assert_eq!(bench.election.early_ns(), 0, "Skew_Time");

    let mut bench = Bench::backup(Settings::default(), 100);
    bench.look(T0 + DOWN + 5 * NS_PER_S);
    assert_eq!(bench.election.early_ns(), 0, "listening once more");

    let mut bench = Bench::backup(delayed(10 * NS_PER_S), 200);
    bench.hear(T0 + 1, 100, 100, LOWER);
    bench.look(T0 + 1);
    assert_eq!(bench.election.early_ns(), 0, "preempt_delay");

    assert_eq!(Bench::master().election.early_ns(), 0);
}

/// A tenth of an interval at a time, until its adverts are due at whole ones.
#[test]
fn who_shares_a_beat_comes_early_until_it_is_there() {
    let announce = Announce {
        delay_ns: 0,
        ..Announce::default()
    };
    let (mut bench, since) = Bench::master_since(Settings {
        announce,
        ..Settings::default()
    });
    bench.election.share_beat();
    let mut due = since + NS_PER_S;
    let mut behind = Vec::new();
    for _ in 0..9 {
        assert_eq!(bench.election.deadline(), Some(due));
        bench.look(due);
        let next = bench.election.deadline().unwrap();
        behind.push(next % NS_PER_S / NS_PER_MS);
        assert!((NS_PER_S * 9 / 10..=NS_PER_S).contains(&(next - due)));
        due = next;
    }
    assert_eq!(behind, [509, 409, 309, 209, 109, 9, 0, 0, 0]);
}

/// (`down_timer_adverts`, how late a MASTER may be for its next advert): until the lease of the last
/// one is over, and in any case half an interval.
#[test]
fn a_master_oversleeps_with_its_lease() {
    for (down_timer_adverts, tolerated) in [(3, 2 * NS_PER_S), (2, NS_PER_S), (1, HALF)] {
        let settings = Settings {
            down_timer_adverts,
            ..Settings::default()
        };
        for (late, state) in [(tolerated, State::Master), (tolerated + 1, State::Backup)] {
            let (mut bench, since) = Bench::master_since(settings);
            bench.look(since + NS_PER_S + late);
            assert_eq!(
                bench.election.state(),
                state,
                "{down_timer_adverts} adverts, late by {late}"
            );
        }
    }
}

/// What came no later than our promotion was overcome by it. Whoever came later is obeyed.
#[test]
fn a_master_that_overslept_obeys_nobody_from_before_its_promotion() {
    let promoted = T0 + DOWN;
    let now = promoted + 3 * NS_PER_S + HALF;
    for (heard_at, deadline) in [
        (promoted, now + NS_PER_S),
        (promoted + 1, promoted + 1 + DOWN),
    ] {
        let mut bench = Bench::master_with(nopreempt());
        bench.hear(heard_at, 50, 100, LOWER);
        let actions = bench.look(now);
        assert_eq!(entered(&actions), Some((State::Backup, Cause::Overslept)));
        assert_eq!(bench.election.deadline(), Some(deadline));
    }
}

/// (how late an advert is sent, when the next one is due after the promotion) The rhythm stays, and no
/// advert is sent twice to make up for one that was missed.
#[test]
fn a_late_advert_leaves_the_rhythm() {
    let rows = [
        (0, 2 * NS_PER_S),
        (300 * NS_PER_MS, 2 * NS_PER_S),
        (NS_PER_S - 1, 2 * NS_PER_S),
        (NS_PER_S, 3 * NS_PER_S),
        (1_300 * NS_PER_MS, 3_300 * NS_PER_MS),
    ];
    for (late, next) in rows {
        let mut bench = Bench::master();
        let actions = bench.look(T0 + DOWN + NS_PER_S + late);
        assert_eq!(actions, [Action::Advertise { priority: 100 }], "{late}");
        assert_eq!(bench.election.deadline(), Some(T0 + DOWN + next), "{late}");
    }
}

/// The kernel may still be writing an advert down when its `beaten` is read: then the interval is not
/// there yet, and no deadline may follow from an interval of nothing.
#[test]
fn who_yields_to_an_advert_half_written_down_waits_by_its_own_interval() {
    let mut bench = Bench::master();
    let now = T0 + DOWN + NS_PER_S / 2;
    let heard = Heard {
        beaten: bench.election.standing().epoch,
        seen_ns: now,
        ..Heard::default()
    };
    bench.event(now, Event::Look(heard));
    assert_eq!(bench.election.state(), State::Backup);
    assert_eq!(bench.election.deadline(), Some(now + SKEW));
}
