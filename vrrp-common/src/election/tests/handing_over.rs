//! From one daemon to the next: what goes on, and what does not.

use super::*;

/// The next daemon takes up what this one hands over, with a slot of its own.
fn next(bench: &Bench, settings: Settings, now: u64) -> (Bench, Vec<Action>) {
    let tenure = bench.election.hand_over().expect("it takes part");
    take_up(bench, settings, &tenure, now)
}

fn take_up(bench: &Bench, settings: Settings, tenure: &Tenure, now: u64) -> (Bench, Vec<Action>) {
    let mut next = Bench::new(settings, 100);
    next.slot.inherit(&bench.slot);
    let heard = next.slot.heard();
    let actions: Vec<Action> = next.election.take_up(now, tenure, &heard).iter().collect();
    next.slot.publish(next.election.standing());
    (next, actions)
}

#[test]
fn a_master_goes_on_in_its_rhythm() {
    let bench = Bench::master();
    let now = T0 + DOWN + 300 * NS_PER_MS;
    let (mut next, actions) = next(&bench, Settings::default(), now);
    assert_eq!(
        actions,
        [
            Action::Publish(*bench.election.standing()),
            Action::Lease(T0 + DOWN + 3 * NS_PER_S),
            Action::AddAddresses { epoch: 1 },
        ],
        "nobody is told, and nothing is announced"
    );
    let due = T0 + DOWN + NS_PER_S;
    assert_eq!(next.election.deadline(), Some(due));
    assert_eq!(next.look(due), [Action::Advertise { priority: 100 }]);
    assert!(
        next.event(due, Event::Settled(1)).is_empty(),
        "they were in place before"
    );
    // The second round of announcements is not forgotten.
    let second = T0 + DOWN + 5 * NS_PER_S;
    for beat in 2..5 {
        next.look(T0 + DOWN + beat * NS_PER_S);
    }
    let actions = next.look(second);
    assert!(
        actions.contains(&Action::Announce { repeat: 5 }),
        "{actions:?}"
    );
}

/// Vouching once more is one advert, of a MASTER alone.
#[test]
fn who_is_about_to_hand_over_vouches_once_more() {
    let mut bench = Bench::master();
    let now = T0 + DOWN + 300 * NS_PER_MS;
    assert_eq!(
        bench.event(now, Event::Vouch),
        [Action::Advertise { priority: 100 }]
    );
    let lease = bench.event(now, Event::Advertised(now));
    assert_eq!(lease, [Action::Lease(now + 3 * NS_PER_S)]);
    let mut backup = Bench::backup(Settings::default(), 100);
    assert!(backup.event(T0 + 1, Event::Vouch).is_empty());
}

/// (how long after the last advert the next one is there, whether it is still MASTER)
#[test]
fn a_lease_that_is_over_makes_no_master() {
    for (after, state) in [
        (3 * NS_PER_S, State::Master),
        (3 * NS_PER_S + 1, State::Backup),
    ] {
        let bench = Bench::master();
        let (next, actions) = next(&bench, Settings::default(), T0 + DOWN + after);
        assert_eq!(next.election.state(), state, "{after}");
        let told = entered(&actions);
        let expected = (state == State::Backup).then_some((State::Backup, Cause::Overslept));
        assert_eq!(told, expected, "{after}");
    }
}

#[test]
fn who_was_beaten_meanwhile_yields() {
    let bench = Bench::master();
    let tenure = bench.election.hand_over().unwrap();
    // Heard by the programs of the daemon before, while nobody was there.
    bench.hear(T0 + DOWN + 5, 200, 100, HIGHER);
    let (mut next, actions) = take_up(&bench, Settings::default(), &tenure, T0 + DOWN + 9);
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Beaten)));
    // And where that came after the slot was taken over.
    let bench = Bench::master();
    let (mut late, _) = self::next(&bench, Settings::default(), T0 + DOWN + 9);
    bench.hear(T0 + DOWN + 10, 200, 100, HIGHER);
    late.slot.catch_up(&bench.slot);
    assert_eq!(
        entered(&late.look(T0 + DOWN + 11)),
        Some((State::Backup, Cause::Beaten))
    );
    assert!(
        next.look(T0 + DOWN + 12).is_empty(),
        "it waits for the winner"
    );
}

#[test]
fn a_backup_goes_on_waiting_for_the_master_it_heard() {
    let mut bench = Bench::backup(Settings::default(), 100);
    bench.hear(T0 + NS_PER_S, 200, 100, HIGHER);
    bench.look(T0 + NS_PER_S);
    let (next, actions) = next(&bench, Settings::default(), T0 + 2 * NS_PER_S);
    assert_eq!(next.election.deadline(), Some(T0 + NS_PER_S + DOWN));
    assert_eq!(entered(&actions), None, "it was BACKUP before");
    // Who has heard nobody begins anew.
    let bench = Bench::backup(Settings::default(), 100);
    let (next, _) = self::next(&bench, Settings::default(), T0 + NS_PER_S);
    assert_eq!(next.election.deadline(), Some(T0 + NS_PER_S + DOWN));
}

#[test]
fn who_takes_no_part_hands_nothing_over() {
    let mut bench = Bench::new(Settings::default(), 100);
    assert_eq!(bench.election.hand_over(), None, "INIT");
    bench.event(T0, Event::FaultRaised);
    assert_eq!(bench.election.hand_over(), None, "FAULT");
    let tenure = Bench::master().election.hand_over().unwrap();
    let heard = Heard::default();
    let actions = bench.election.take_up(T0 + DOWN, &tenure, &heard);
    assert!(
        actions.is_empty(),
        "only a daemon that has just started takes up"
    );
    assert_eq!(tenure.reign.unwrap().cause(), Cause::MasterTimeout);
}

/// A longer interval in the new configuration: three adverts at the old cadence; a shorter one at once.
#[test]
fn another_interval_is_changed_to_as_by_a_reload() {
    let bench = Bench::master();
    let now = T0 + DOWN + 300 * NS_PER_MS;
    let with = |interval_ns| Settings {
        interval_ns,
        ..Settings::default()
    };
    let (longer, actions) = next(&bench, with(5 * NS_PER_S), now);
    assert_eq!(longer.election.deadline(), Some(T0 + DOWN + NS_PER_S));
    assert!(actions.contains(&Action::Lease(T0 + DOWN + 3 * NS_PER_S)));
    let (shorter, _) = next(&bench, with(100 * NS_PER_MS), now);
    assert_eq!(shorter.election.deadline(), Some(now + 100 * NS_PER_MS));
}

/// (how long after the last advert, whether it was beaten, whether it is MASTER still)
#[test]
fn after_a_crash_the_slot_tells() {
    let lease = T0 + DOWN + 3 * NS_PER_S;
    for (now, beaten, is_master) in [
        (lease - 1, false, true),
        (lease, false, false),
        (lease - 1, true, false),
    ] {
        let bench = Bench::master();
        bench
            .slot
            .publish_rules(&crate::slot::Rules::multicast(OWN));
        if beaten {
            bench.hear(now - 5, 200, 100, HIGHER);
        }
        let tenure = Tenure::of_a_crash(&bench.slot, 3, true, now);
        assert_eq!(tenure.is_some(), is_master, "{now} {beaten}");
        let Some(tenure) = tenure else {
            continue;
        };
        assert_eq!((tenure.epoch, tenure.interval_ns), (1, NS_PER_S));
        let (next, actions) = take_up(&bench, Settings::default(), &tenure, now);
        assert_eq!(next.election.state(), State::Master);
        assert!(actions.contains(&Action::Lease(lease)), "{actions:?}");
        let advert = Action::Advertise { priority: 100 };
        assert!(actions.contains(&advert), "it is late: {actions:?}");
    }
}

/// Where people may not have been told yet, they are once the addresses are known to be in place; and who
/// refreshes goes on doing so.
#[test]
fn after_a_crash_people_are_told_what_they_may_not_know() {
    let bench = Bench::master();
    bench
        .slot
        .publish_rules(&crate::slot::Rules::multicast(OWN));
    let now = T0 + DOWN + NS_PER_S / 2;
    let tenure = Tenure::of_a_crash(&bench.slot, 3, false, now).unwrap();
    let mut settings = Settings::default();
    settings.announce.refresh_ns = 10 * NS_PER_S;
    let (mut next, actions) = take_up(&bench, settings, &tenure, now);
    assert!(
        !actions.iter().any(|it| matches!(it, Action::Lease(_))),
        "{actions:?}"
    );
    let actions = next.event(now + 5, Event::Settled(1));
    assert_eq!(
        entered(&actions),
        Some((State::Master, Cause::MasterTimeout))
    );

    let told = Tenure::of_a_crash(&bench.slot, 3, true, now).unwrap();
    let (mut next, actions) = take_up(&bench, settings, &told, now);
    let announces = |it: &Action| matches!(it, Action::Announce { .. });
    assert!(!actions.iter().any(announces), "not at once: {actions:?}");
    let refresh = now + 10 * NS_PER_S;
    for beat in 1..=10 {
        next.look(T0 + DOWN + beat * NS_PER_S);
    }
    assert_eq!(next.election.deadline(), Some(refresh));
    assert_eq!(next.look(refresh), [Action::Announce { repeat: 1 }]);
}
