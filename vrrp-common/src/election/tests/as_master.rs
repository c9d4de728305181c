//! Advertising, the lease, yielding, resigning.

use super::*;

#[test]
fn a_stale_settlement_is_ignored() {
    let mut bench = Bench::master();
    bench.hear(T0 + DOWN + 5, 200, 100, LOWER);
    bench.look(T0 + DOWN + 6);
    assert!(bench.event(T0 + DOWN + 7, Event::Settled(1)).is_empty());
    assert_eq!(bench.slot.lease_ns(), 0);
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
                    Action::Announce { repeat: 5 }
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
fn re_assertions_are_limited() {
    let mut bench = Bench::master();
    let start = T0 + DOWN + 100 * NS_PER_MS;
    let mut adverts = 0;
    // A losing advert every 100 us for half a second.
    for step in 0..5000_u64 {
        let now = start + step * 100_000;
        bench.hear(now, 50, 100, LOWER);
        let actions = bench.look(now);
        adverts += actions
            .iter()
            .filter(|a| matches!(a, Action::Advertise { .. }))
            .count();
    }
    assert!(
        (49..=51).contains(&adverts),
        "{adverts} in half a second at 10 ms"
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

#[test]
fn announcements_come_in_rounds_and_refreshes() {
    let announce = Announce {
        refresh_ns: 30 * NS_PER_S,
        ..Announce::default()
    };
    let settings = Settings {
        announce,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 100);
    bench.look(T0 + DOWN);
    bench.event(T0 + DOWN, Event::Advertised(T0 + DOWN));
    bench.event(T0 + DOWN, Event::Settled(1));
    let mut rounds = Vec::new();
    for beat in 1..=61 {
        let now = T0 + DOWN + beat * NS_PER_S;
        for action in bench.look(now) {
            if let Action::Announce { repeat } = action {
                rounds.push((beat, repeat));
            }
        }
    }
    assert_eq!(rounds, [(5, 5), (30, 1), (60, 1)]);
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
fn a_new_mac_is_announced() {
    let mut bench = Bench::master();
    let actions = bench.event(T0 + DOWN + 1, Event::Mac([2, 0, 0, 0, 0, 6]));
    assert!(matches!(
        actions[..],
        [Action::Publish(_), Action::Announce { repeat: 5 }]
    ));
}

/// Answers to losing adverts are adverts; announcements come along once a second.
#[test]
fn losing_adverts_do_not_multiply_announcements() {
    let mut bench = Bench::master();
    let mut announced = 0;
    for step in 1..=100_u64 {
        let now = T0 + DOWN + step * 10 * NS_PER_MS;
        bench.hear(now, 50, 100, LOWER);
        let actions = bench.look(now);
        announced += actions
            .iter()
            .filter(|a| matches!(a, Action::Announce { .. }))
            .count();
    }
    assert_eq!(announced, 1, "in one second");
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
fn losing_adverts_are_not_answered_where_that_is_not_wanted() {
    let settings = Settings {
        lower_prio_no_advert: true,
        ..Settings::default()
    };
    let mut bench = Bench::master_with(settings);
    bench.hear(T0 + DOWN + 1, 50, 100, LOWER);
    assert_eq!(
        bench.look(T0 + DOWN + 1),
        [Action::Announce { repeat: 5 }],
        "the addresses are announced all the same"
    );
    bench.hear(T0 + DOWN + 100 * NS_PER_MS, 0, 100, LOWER);
    let actions = bench.look(T0 + DOWN + 100 * NS_PER_MS);
    assert_eq!(
        actions,
        [Action::Advertise { priority: 100 }],
        "a resignation always is"
    );
}

#[test]
fn announcements_against_a_loser_have_a_second_round() {
    let announce = Announce {
        lower_prio_repeat: 2,
        lower_prio_delay_ns: 300 * NS_PER_MS,
        delay_ns: 0,
        ..Announce::default()
    };
    let settings = Settings {
        announce,
        ..Settings::default()
    };
    let mut bench = Bench::master_with(settings);
    let now = T0 + DOWN + 1;
    bench.hear(now, 50, 100, LOWER);
    bench.look(now);
    let due = now + 300 * NS_PER_MS;
    assert_eq!(bench.election.deadline(), Some(due));
    assert_eq!(bench.look(due), [Action::Announce { repeat: 2 }]);
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

#[test]
fn a_member_yields_with_its_group_and_does_not_resign() {
    let settings = Settings {
        grouped: true,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 100);
    assert!(bench.look(T0 + DOWN).is_empty(), "it waits for the others");
    assert_eq!(bench.election.stance(), Stance::Ready);
    assert_eq!(bench.election.deadline(), None);
    let actions = bench.event(T0 + DOWN + 5, Event::Group(group::Order::Promote));
    assert!(actions.contains(&Action::Advertise { priority: 100 }));
    assert_eq!(bench.election.stance(), Stance::Master);
    let now = T0 + DOWN + NS_PER_S;
    let actions = bench.event(now, Event::Group(group::Order::Yield));
    assert_eq!(actions[0], Action::Lease(0));
    assert!(!actions.contains(&Action::Advertise { priority: 0 }));
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Group)));
    assert_eq!(bench.election.deadline(), Some(now + DOWN));
}

#[test]
fn a_member_that_is_ready_obeys_whoever_is_heard() {
    let settings = Settings {
        grouped: true,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 100);
    bench.look(T0 + DOWN);
    bench.hear(T0 + DOWN + 1, 150, 100, LOWER);
    bench.look(T0 + DOWN + 2);
    assert_eq!(bench.election.stance(), Stance::Listening);
    assert!(
        bench
            .event(T0 + DOWN + 3, Event::Group(group::Order::Promote))
            .is_empty()
    );
}

#[test]
fn a_fault_of_the_group_ends_with_the_group_s() {
    let settings = Settings {
        grouped: true,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 100);
    let actions = bench.event(T0 + 1, Event::Group(group::Order::Fault));
    assert_eq!(entered(&actions), Some((State::Fault, Cause::Group)));
    assert_eq!(bench.election.stance(), Stance::Fault { own: false });
    assert!(bench.event(T0 + 2, Event::FaultRaised).is_empty());
    assert_eq!(bench.election.stance(), Stance::Fault { own: true });
    assert!(
        bench
            .event(T0 + 3, Event::Group(group::Order::ClearFault))
            .is_empty()
    );
    assert!(bench.event(T0 + 4, Event::FaultCleared).is_empty());
    assert_eq!(bench.election.stance(), Stance::Fault { own: false });
    let actions = bench.event(T0 + 5, Event::Group(group::Order::ClearFault));
    assert_eq!(
        entered(&actions),
        Some((State::Backup, Cause::FaultCleared))
    );
}
