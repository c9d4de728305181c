//! Starting, listening, taking over, FAULT.

use super::*;

#[test]
fn startup_listens_for_master_down() {
    let mut bench = Bench::new(Settings::default(), 100);
    let actions = bench.event(T0, Event::Startup);
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Startup)));
    assert_eq!(bench.election.deadline(), Some(T0 + DOWN));
    assert!(bench.look(T0 + DOWN - 1).is_empty(), "never earlier");
}

#[test]
fn promotion_advertises_first_and_answers_last() {
    let mut bench = Bench::backup(Settings::default(), 100);
    let actions = bench.look(T0 + DOWN);
    assert!(matches!(
        actions[..],
        [
            Action::Publish(Standing {
                epoch: 1,
                floor: 100,
                ..
            }),
            Action::Advertise { priority: 100 },
            Action::AddAddresses { epoch: 1 },
        ]
    ));
    assert!(
        bench
            .event(T0 + DOWN + 1, Event::Advertised(T0 + DOWN))
            .is_empty(),
        "no lease yet"
    );
    let actions = bench.event(T0 + DOWN + 9, Event::Settled(1));
    assert_eq!(
        actions,
        [
            Action::Lease(T0 + DOWN + 3 * NS_PER_S),
            Action::Announce { repeat: 5 },
            Action::Entered(State::Master, Cause::MasterTimeout),
        ]
    );
}

#[test]
fn the_owner_does_not_wait() {
    let mut bench = Bench::new(Settings::default(), 255);
    let actions = bench.event(T0, Event::Startup);
    assert!(actions.contains(&Action::Advertise { priority: 255 }));
    assert_eq!(bench.election.state(), State::Master);
}

/// (description, settings, advert priority, whether it restarts the timer of a backup at 100).
#[test]
fn a_backup_obeys_whom_it_must() {
    let rows: &[(&str, Settings, u8, bool)] = &[
        ("higher, preempting", Settings::default(), 101, true),
        (
            "equal, preempting: no address tie-break in BACKUP",
            Settings::default(),
            100,
            true,
        ),
        ("lower, preempting", Settings::default(), 99, false),
        ("lower, nopreempt", nopreempt(), 1, true),
        ("higher, nopreempt", nopreempt(), 254, true),
    ];
    for (description, settings, priority, restarts) in rows {
        let mut bench = Bench::backup(*settings, 100);
        let heard_at = T0 + 2 * NS_PER_S;
        bench.hear(heard_at, *priority, 100, LOWER);
        bench.look(heard_at);
        let expected = if *restarts {
            heard_at + DOWN
        } else {
            T0 + DOWN
        };
        assert_eq!(bench.election.deadline(), Some(expected), "{description}");
    }
}

#[test]
fn steady_adverts_need_no_look_before_the_deadline() {
    let mut bench = Bench::backup(Settings::default(), 100);
    for beat in 1..=3 {
        bench.hear(T0 + beat * NS_PER_S, 200, 100, LOWER);
    }
    assert!(
        bench.look(T0 + DOWN).is_empty(),
        "the slot had something newer"
    );
    assert_eq!(bench.election.deadline(), Some(T0 + 3 * NS_PER_S + DOWN));
}

#[test]
fn a_resignation_shortens_the_wait_to_skew() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.hear(T0 + 1, 200, 100, LOWER);
    bench.hear(T0 + 2, 0, 100, LOWER);
    assert!(
        entered(&bench.look(T0 + 2)).is_none(),
        "the state stays BACKUP"
    );
    assert_eq!(bench.election.deadline(), Some(T0 + 2 + SKEW));
    bench.look(T0 + 2 + SKEW);
    bench.event(T0 + 3 + SKEW, Event::Advertised(T0 + 2 + SKEW));
    let actions = bench.event(T0 + 4 + SKEW, Event::Settled(1));
    assert_eq!(
        entered(&actions),
        Some((State::Master, Cause::MasterResigned))
    );
}

#[test]
fn a_forged_resignation_moves_nothing() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.hear(T0 + 1, 200, 100, LOWER);
    bench.look(T0 + 1);
    bench.hear(T0 + 2, 0, 100, HIGHER);
    bench.look(T0 + 2);
    assert_eq!(bench.election.deadline(), Some(T0 + 1 + DOWN));
}

#[test]
fn a_rising_priority_preempts_a_steady_master() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.hear(T0 + 1, 110, 100, LOWER);
    bench.look(T0 + 1);
    let actions = bench.event(T0 + 2, Event::Priority(120));
    assert!(matches!(
        actions[..],
        [Action::Publish(Standing {
            floor: 120,
            priority: 120,
            ..
        })]
    ));
    for beat in 1..=3 {
        bench.hear(T0 + beat * NS_PER_S, 110, 100, LOWER);
    }
    let down = timers::master_down_interval(Version::V3, 120, NS_PER_S, 3);
    assert_eq!(bench.election.deadline(), Some(T0 + 1 + down));
    assert!(
        bench
            .look(T0 + 1 + down)
            .contains(&Action::Advertise { priority: 120 })
    );
}

/// An advert that was below the floor counts once our own priority has fallen below it.
#[test]
fn a_falling_priority_obeys_what_it_has_heard() {
    let mut bench = Bench::backup(Settings::default(), 150);
    let heard_at = T0 + 2 * NS_PER_S;
    bench.hear(heard_at, 100, 100, LOWER);
    bench.look(heard_at);
    bench.event(heard_at + 1, Event::Priority(10));
    bench.look(heard_at + 1);
    let down = timers::master_down_interval(Version::V3, 10, NS_PER_S, 3);
    assert_eq!(bench.election.deadline(), Some(heard_at + down));
}

/// Both were heard in the same nanosecond. The one that holds us down is the master, and its interval
/// counts.
#[test]
fn of_two_adverts_at_once_the_master_s_counts() {
    let mut bench = Bench::backup(Settings::default(), 150);
    let heard_at = T0 + 2 * NS_PER_S;
    bench.hear(heard_at, 200, 100, LOWER);
    bench.hear(heard_at, 100, 300, HIGHER);
    bench.event(heard_at, Event::Priority(10));
    bench.look(heard_at);
    let down = timers::master_down_interval(Version::V3, 10, NS_PER_S, 3);
    assert_eq!(bench.election.deadline(), Some(heard_at + down));
}

/// (the last priority heard, when the wait ends) of a master whose interval is longer than ours.
#[test]
fn a_slow_master_heard_before_the_start_has_its_own_time() {
    let heard_at = T0 - NS_PER_S;
    let slow = timers::master_down_interval(Version::V3, 100, 2 * NS_PER_S, 3);
    for (priority, deadline) in [(200, heard_at + slow), (0, T0 + DOWN)] {
        let mut bench = Bench::new(Settings::default(), 100);
        bench.hear(heard_at - 1, 200, 200, LOWER);
        bench.hear(heard_at, priority, 200, LOWER);
        bench.event(T0, Event::Startup);
        bench.look(T0);
        assert_eq!(bench.election.deadline(), Some(deadline), "{priority}");
    }
}

#[test]
fn silence_noticed_late_is_listened_to_once_more() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.hear(T0 + 1, 200, 100, LOWER);
    bench.look(T0 + 1);
    let late = T0 + 1 + DOWN + 5 * NS_PER_S;
    assert!(bench.look(late).is_empty());
    assert_eq!(bench.election.deadline(), Some(late + NS_PER_S));
    // Somebody is there after all.
    bench.hear(late + 1, 200, 100, LOWER);
    assert!(bench.look(late + NS_PER_S).is_empty());
    assert_eq!(bench.election.state(), State::Backup);
    // And now nobody is.
    let silent = late + 1 + DOWN;
    assert!(bench.look(silent + NS_PER_S).is_empty());
    assert!(!bench.look(silent + 2 * NS_PER_S).is_empty());
    assert_eq!(bench.election.state(), State::Master);
}

#[test]
fn shutdown_of_a_backup_says_nothing() {
    let mut bench = Bench::backup(Settings::default(), 100);
    let actions = bench.event(T0 + 5, Event::Shutdown);
    assert_eq!(actions, [Action::Entered(State::Init, Cause::Shutdown)]);
}

#[test]
fn a_fault_resigns_and_its_end_listens_again() {
    let mut bench = Bench::master();
    let actions = bench.event(T0 + DOWN + 5, Event::FaultRaised);
    assert_eq!(
        actions[..3],
        [
            Action::Lease(0),
            Action::Advertise { priority: 0 },
            Action::RemoveAddresses,
        ]
    );
    assert_eq!(entered(&actions), Some((State::Fault, Cause::FaultRaised)));
    assert!(bench.event(T0 + DOWN + 6, Event::FaultRaised).is_empty());
    assert!(bench.look(T0 + DOWN + 7).is_empty());
    let cleared = T0 + 20 * NS_PER_S;
    let actions = bench.event(cleared, Event::FaultCleared);
    assert_eq!(
        entered(&actions),
        Some((State::Backup, Cause::FaultCleared))
    );
    assert_eq!(bench.election.deadline(), Some(cleared + DOWN));
}

#[test]
fn adverts_before_startup_change_no_state() {
    let mut bench = Bench::new(Settings::default(), 100);
    bench.hear(T0, 200, 100, LOWER);
    assert!(bench.look(T0).is_empty());
    assert_eq!(bench.election.state(), State::Init);
    assert_eq!(
        bench.slot.heard().seen_ns,
        T0,
        "but whoever starts knows the incumbent"
    );
    assert!(matches!(
        bench.slot.heard().master,
        Facts { priority: 200, .. }
    ));
}

/// The master that we are about to preempt resigns: no need to wait for the rest of Master_Down.
#[test]
fn a_lower_master_s_resignation_counts() {
    let mut bench = Bench::backup(Settings::default(), 200);
    bench.hear(T0 + 1, 100, 100, LOWER);
    bench.hear(T0 + NS_PER_S, 0, 100, LOWER);
    bench.look(T0 + NS_PER_S);
    let skew = timers::skew_time(Version::V3, 200, NS_PER_S);
    assert_eq!(bench.election.deadline(), Some(T0 + NS_PER_S + skew));
}

#[test]
fn a_fault_before_the_start_clears_what_a_crash_left() {
    let mut bench = Bench::new(Settings::default(), 100);
    assert!(
        bench
            .event(T0, Event::FaultRaised)
            .contains(&Action::RemoveAddresses)
    );
}

/// The addresses of an owner may be the machine's own.
#[test]
fn a_fault_before_the_start_leaves_an_owner_s_addresses() {
    let mut bench = Bench::new(Settings::default(), 255);
    assert!(
        !bench
            .event(T0, Event::FaultRaised)
            .contains(&Action::RemoveAddresses)
    );
}
