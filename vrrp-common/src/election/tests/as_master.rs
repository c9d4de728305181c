//! Advertising, the lease, yielding, resigning.

use super::*;

#[test]
fn a_stale_settlement_is_ignored() {
    let mut bench = Bench::master();
    bench.hear(T0 + DOWN + 5, 200, 100, LOWER);
    bench.look(T0 + DOWN + 6);
    assert!(bench.event(T0 + DOWN + 7, Event::Settled(1)).is_empty());
    assert_eq!(bench.slot.lease_ns(), 0);
    // Nor when it comes in the next promotion, whose addresses are not in place yet.
    let again = bench.election.deadline().unwrap();
    bench.look(again);
    bench.event(again, Event::Advertised(again));
    assert!(bench.event(again + 1, Event::Settled(1)).is_empty());
    assert_eq!(bench.slot.lease_ns(), 0);
    let actions = bench.event(again + 2, Event::Settled(2));
    assert_eq!(
        entered(&actions),
        Some((State::Master, Cause::MasterTimeout))
    );
    assert!(
        bench.event(again + 3, Event::Settled(2)).is_empty(),
        "once is enough"
    );
}

#[test]
fn a_master_advertises_at_its_own_interval() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.hear(T0 + 1, 200, 300, LOWER);
    bench.look(T0 + 1);
    let learned = timers::master_down_interval(Version::V3, 100, 3 * NS_PER_S, 3);
    assert_eq!(bench.election.deadline(), Some(T0 + 1 + learned));
    let start = T0 + 1 + learned;
    bench.look(start);
    assert_eq!(
        bench.election.deadline(),
        Some(start + NS_PER_S),
        "not the learned one"
    );
    for beat in 1..=5 {
        let actions = bench.look(start + beat * NS_PER_S);
        assert_eq!(actions, [Action::Advertise { priority: 100 }]);
        assert_eq!(
            bench.election.deadline(),
            Some(start + (beat + 1) * NS_PER_S)
        );
    }
}

/// (description, advert priority, source, whether the master at 100 yields).
#[test]
fn a_master_yields_to_whom_it_must() {
    let rows: &[(&str, u8, Source, bool)] = &[
        ("higher priority", 101, LOWER, true),
        ("equal priority, higher address", 100, HIGHER, true),
        ("equal priority, lower address", 100, LOWER, false),
        ("lower priority", 99, HIGHER, false),
    ];
    for (description, priority, source, yields) in rows {
        let mut bench = Bench::master();
        let now = T0 + DOWN + 500 * NS_PER_MS;
        bench.hear(now, *priority, 50, *source);
        let actions = bench.look(now);
        if *yields {
            assert!(
                matches!(
                    actions[..],
                    [
                        Action::Lease(0),
                        Action::Publish(_),
                        Action::RemoveAddresses,
                        Action::Entered(State::Backup, Cause::Beaten),
                    ]
                ),
                "{description}: {actions:?}"
            );
            let learned = timers::master_down_interval(Version::V3, 100, NS_PER_S / 2, 3);
            assert_eq!(
                bench.election.deadline(),
                Some(now + learned),
                "{description}"
            );
        } else {
            assert_eq!(
                actions,
                [
                    Action::Advertise { priority: 100 },
                    Action::Announce { repeat: 5 },
                    Action::HeardLesser,
                ],
                "{description}"
            );
            let next = T0 + DOWN + NS_PER_S;
            assert_eq!(
                bench.election.deadline(),
                Some(next),
                "{description}: period unchanged"
            );
        }
    }
}

#[test]
fn nopreempt_does_not_matter_to_a_master() {
    let mut bench = Bench::backup(nopreempt(), 100);
    bench.look(T0 + DOWN);
    bench.event(T0 + DOWN, Event::Advertised(T0 + DOWN));
    bench.event(T0 + DOWN, Event::Settled(1));
    bench.hear(T0 + DOWN + 1, 101, 100, LOWER);
    bench.look(T0 + DOWN + 1);
    assert_eq!(bench.election.state(), State::Backup);
}

#[test]
fn a_better_advert_during_promotion_is_not_missed() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.look(T0 + DOWN);
    // The lease is not stored yet: the kernel still judges as for a backup.
    bench.hear(T0 + DOWN + 1, 150, 100, LOWER);
    let actions = bench.look(T0 + DOWN + 2);
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Beaten)));
}

#[test]
fn a_resignation_is_answered_at_once() {
    let mut bench = Bench::master();
    let now = T0 + DOWN + 300 * NS_PER_MS;
    bench.hear(now, 0, 100, LOWER);
    assert!(
        bench
            .look(now)
            .contains(&Action::Advertise { priority: 100 })
    );
    assert_eq!(
        bench.election.deadline(),
        Some(now + NS_PER_S),
        "Adver_Timer is reset"
    );
}

#[test]
fn the_lease_follows_the_adverts() {
    let mut bench = Bench::master();
    let sent = T0 + DOWN + NS_PER_S;
    assert_eq!(
        bench.event(sent + 5, Event::Advertised(sent)),
        [Action::Lease(sent + 3 * NS_PER_S)]
    );
}

/// With one advert, the next is due one interval after the last: the lease must not end before it is
/// sent, and must not be longer than the shortest wait there is.
#[test]
fn a_short_down_timer_shortens_the_lease() {
    let shortest_wait = timers::master_down_interval(Version::V3, 255, NS_PER_S, 1);
    for (down_timer_adverts, span) in [(2, 2 * NS_PER_S), (1, shortest_wait)] {
        let settings = Settings {
            down_timer_adverts,
            ..Settings::default()
        };
        let mut bench = Bench::backup(settings, 100);
        let start = bench.election.deadline().unwrap();
        bench.look(start);
        bench.event(start, Event::Advertised(start));
        let actions = bench.event(start, Event::Settled(1));
        assert!(
            actions.contains(&Action::Lease(start + span)),
            "{down_timer_adverts}: {actions:?}"
        );
    }
}

#[test]
fn a_master_that_overslept_listens_first() {
    let mut bench = Bench::master();
    let now = T0 + DOWN + 10 * NS_PER_S;
    let actions = bench.look(now);
    assert_eq!(actions[0], Action::Lease(0));
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Overslept)));
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Advertise { .. }))
    );
    assert_eq!(bench.election.deadline(), Some(now + NS_PER_S));
    bench.look(now + NS_PER_S);
    assert_eq!(
        bench.election.state(),
        State::Master,
        "nobody else was there"
    );
}

/// The new master was heard while we slept: it has its full Master_Down, also without preemption.
#[test]
fn a_master_that_overslept_obeys_whom_it_slept_through() {
    let mut bench = Bench::backup(nopreempt(), 100);
    bench.look(T0 + DOWN);
    bench.event(T0 + DOWN, Event::Advertised(T0 + DOWN));
    bench.event(T0 + DOWN, Event::Settled(1));
    let heard_at = T0 + DOWN + 5 * NS_PER_S;
    bench.hear(heard_at, 50, 100, LOWER);
    let actions = bench.look(heard_at + 10);
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Overslept)));
    assert_eq!(bench.election.deadline(), Some(heard_at + DOWN));
}

#[test]
fn shutdown_of_a_master_resigns_in_order() {
    let mut bench = Bench::master();
    assert_eq!(
        bench.event(T0 + DOWN + 5, Event::Shutdown),
        [
            Action::Lease(0),
            Action::Advertise { priority: 0 },
            Action::RemoveAddresses,
            Action::Entered(State::Init, Cause::Shutdown),
        ]
    );
    assert_eq!(bench.election.deadline(), None);
}

/// With one missed advert as the limit every wake-up is late by a little: that is no oversleeping.
#[test]
fn a_short_down_timer_tolerates_a_late_wake_up() {
    let settings = Settings {
        down_timer_adverts: 1,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 100);
    let start = bench.election.deadline().unwrap();
    bench.look(start);
    bench.event(start, Event::Advertised(start));
    bench.event(start, Event::Settled(1));
    assert_eq!(
        bench.look(start + NS_PER_S + NS_PER_MS),
        [Action::Advertise { priority: 100 }]
    );
}

/// What was heard and lost against long ago does not win because our own priority falls.
#[test]
fn an_old_advert_does_not_beat_a_falling_priority() {
    let mut bench = Bench::backup(nopreempt(), 100);
    bench.look(T0 + DOWN);
    // Before the lease is stored the kernel judges by the floor of a backup.
    bench.hear(T0 + DOWN + 1, 50, 100, LOWER);
    bench.look(T0 + DOWN + 2);
    bench.event(T0 + DOWN + 3, Event::Advertised(T0 + DOWN));
    bench.event(T0 + DOWN + 3, Event::Settled(1));
    bench.event(T0 + DOWN + 4, Event::Priority(10));
    bench.look(T0 + DOWN + NS_PER_S);
    assert_eq!(bench.election.state(), State::Master);
}

#[test]
fn a_last_advert_before_yielding_where_it_is_wanted() {
    let settings = Settings {
        higher_prio_send_advert: true,
        ..Settings::default()
    };
    let mut bench = Bench::master_with(settings);
    bench.hear(T0 + DOWN + 1, 150, 100, LOWER);
    let actions = bench.look(T0 + DOWN + 1);
    assert_eq!(
        actions[..2],
        [Action::Lease(0), Action::Advertise { priority: 100 }],
        "silent first"
    );
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Beaten)));
}

#[test]
fn a_raised_interval_is_told_before_it_is_kept() {
    let announce = Announce {
        delay_ns: 0,
        ..Announce::default()
    };
    let mut bench = Bench::master_with(Settings {
        announce,
        ..Settings::default()
    });
    let start = T0 + DOWN;
    bench.event(start + 1, Event::Interval(5 * NS_PER_S));
    // Three adverts at the old cadence, and then the new one.
    for beat in 1..=3 {
        let now = start + beat * NS_PER_S;
        assert_eq!(bench.election.deadline(), Some(now));
        assert_eq!(bench.look(now), [Action::Advertise { priority: 100 }]);
        bench.event(now, Event::Advertised(now));
        let span = if beat < 3 { 3 } else { 15 };
        assert_eq!(
            bench.slot.lease_ns(),
            now + span * NS_PER_S,
            "advert {beat}"
        );
    }
    assert_eq!(bench.election.deadline(), Some(start + 8 * NS_PER_S));
    // A shorter one counts at once.
    bench.event(start + 4 * NS_PER_S, Event::Interval(NS_PER_S));
    assert_eq!(bench.election.deadline(), Some(start + 5 * NS_PER_S));
}
