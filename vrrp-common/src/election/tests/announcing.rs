//! Announcing the addresses, and answering adverts that lose.

use super::*;

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

#[test]
fn a_new_mac_is_announced() {
    let mut bench = Bench::master();
    let actions = bench.event(T0 + DOWN + 1, Event::Mac([2, 0, 0, 0, 0, 6]));
    assert!(matches!(
        actions[..],
        [Action::Publish(_), Action::Announce { repeat: 5 }]
    ));
}

/// The addresses are another router's, or packets to them are still dropped.
#[test]
fn a_new_mac_is_not_announced_before_we_answer() {
    let mut bench = Bench::backup(Settings::default(), 100);
    let mac = Event::Mac([2, 0, 0, 0, 0, 6]);
    assert!(matches!(bench.event(T0 + 1, mac)[..], [Action::Publish(_)]));
    bench.look(T0 + DOWN);
    assert_eq!(bench.election.state(), State::Master);
    assert!(matches!(
        bench.event(T0 + DOWN, mac)[..],
        [Action::Publish(_)]
    ));
}

/// `garp_master_repeat 0` and `garp_lower_prio_repeat 0`.
#[test]
fn no_announcement_where_none_is_wanted() {
    let announce = Announce {
        repeat: 0,
        delay_ns: 0,
        lower_prio_repeat: 0,
        ..Announce::default()
    };
    let mut bench = Bench::backup(
        Settings {
            announce,
            ..Settings::default()
        },
        100,
    );
    let start = T0 + DOWN;
    bench.look(start);
    bench.event(start, Event::Advertised(start));
    assert_eq!(
        bench.event(start, Event::Settled(1)),
        [
            Action::Lease(start + 3 * NS_PER_S),
            Action::Entered(State::Master, Cause::MasterTimeout),
        ]
    );
    let actions = bench.event(start + 1, Event::Mac([2, 0, 0, 0, 0, 6]));
    assert!(matches!(actions[..], [Action::Publish(_)]));
    bench.hear(start + 2, 50, 100, LOWER);
    assert_eq!(
        bench.look(start + 2),
        [Action::Advertise { priority: 100 }, Action::HeardLesser]
    );
    assert_eq!(
        bench.election.deadline(),
        Some(start + NS_PER_S),
        "nor a second round"
    );
}

/// `garp_lower_prio_delay 0`.
#[test]
fn a_second_round_against_a_loser_only_where_it_is_wanted() {
    let announce = Announce {
        delay_ns: 0,
        lower_prio_delay_ns: 0,
        ..Announce::default()
    };
    let mut bench = Bench::master_with(Settings {
        announce,
        ..Settings::default()
    });
    let now = T0 + DOWN + 1;
    bench.hear(now, 50, 100, LOWER);
    assert_eq!(
        bench.look(now),
        [
            Action::Advertise { priority: 100 },
            Action::Announce { repeat: 5 },
            Action::HeardLesser,
        ]
    );
    assert_eq!(bench.election.deadline(), Some(T0 + DOWN + NS_PER_S));
}

/// Answers to losing adverts are adverts; announcements come along once a second.
#[test]
fn losing_adverts_do_not_multiply_announcements() {
    let mut bench = Bench::master();
    let (mut announced, mut told) = (0, 0);
    for step in 1..=100_u64 {
        let now = T0 + DOWN + step * 10 * NS_PER_MS;
        bench.hear(now, 50, 100, LOWER);
        let actions = bench.look(now);
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|it| wanted(it)).count();
        announced += count(|action| matches!(action, Action::Announce { .. }));
        told += count(|action| matches!(action, Action::HeardLesser));
    }
    assert_eq!(announced, 1, "in one second");
    assert_eq!(told, 1, "and people are told once");
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
        [Action::Announce { repeat: 5 }, Action::HeardLesser],
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
fn without_a_first_round_there_is_no_second() {
    let announce = Announce {
        repeat: 0,
        ..Announce::default()
    };
    let mut bench = Bench::master_with(Settings {
        announce,
        ..Settings::default()
    });
    for second in 1..=10 {
        let actions = bench.look(T0 + DOWN + second * NS_PER_S);
        let announces = actions
            .iter()
            .any(|action| matches!(action, Action::Announce { .. }));
        assert!(!announces, "{second}: {actions:?}");
    }
}
