//! A changed configuration while everything runs.

use super::*;

fn every(interval_ns: u64) -> Settings {
    Settings {
        interval_ns,
        ..Settings::default()
    }
}

#[test]
fn the_same_settings_change_nothing() {
    let mut bench = Bench::master();
    let deadline = bench.election.deadline();
    let lease = bench.slot.lease_ns();
    let actions = bench.event(T0 + DOWN + 1, Event::Settings(Settings::default()));
    assert!(matches!(actions[..], [Action::Publish(_)]));
    assert_eq!(bench.election.deadline(), deadline);
    assert_eq!(bench.slot.lease_ns(), lease);
}

#[test]
fn preemption_can_be_switched_while_a_master_is_heard() {
    let mut bench = Bench::backup(nopreempt(), 200);
    bench.hear(T0 + 1, 100, 100, LOWER);
    bench.look(T0 + 1);
    assert_eq!(bench.election.standing().floor, 1);
    let deadline = bench.election.deadline();
    bench.event(T0 + 2, Event::Settings(Settings::default()));
    assert_eq!(bench.election.standing().floor, 200);
    assert_eq!(bench.election.deadline(), deadline, "the timer goes on");
    bench.event(T0 + 3, Event::Settings(nopreempt()));
    assert_eq!(bench.election.standing().floor, 1);
    assert_eq!(bench.election.state(), State::Backup);
}

#[test]
fn a_slower_master_keeps_its_pace_for_three_adverts() {
    let mut bench = Bench::master();
    let since = T0 + DOWN;
    bench.event(since, Event::Settings(every(4 * NS_PER_S)));
    let mut sent = Vec::new();
    for _ in 0..5 {
        let due = bench.election.deadline().unwrap();
        let actions = bench.look(due);
        if actions
            .iter()
            .any(|action| matches!(action, Action::Advertise { .. }))
        {
            sent.push((due - since) / NS_PER_S);
            bench.event(due, Event::Advertised(due));
        }
    }
    assert_eq!(sent[..4], [1, 2, 3, 7]);
}

#[test]
fn refreshes_can_be_switched_on_and_off() {
    let mut bench = Bench::master();
    let now = T0 + DOWN + NS_PER_S / 4;
    let mut settings = Settings::default();
    settings.announce.refresh_ns = NS_PER_S / 2;
    bench.event(now, Event::Settings(settings));
    assert_eq!(bench.election.deadline(), Some(now + NS_PER_S / 2));
    bench.event(now + 1, Event::Settings(Settings::default()));
    assert_eq!(
        bench.election.deadline(),
        Some(T0 + DOWN + NS_PER_S),
        "the next advert"
    );
}

#[test]
fn refreshes_go_on_in_their_rhythm() {
    let mut settings = Settings::default();
    settings.announce.refresh_ns = NS_PER_S / 2;
    let (mut bench, since) = Bench::master_since(settings);
    let deadline = Some(since + NS_PER_S / 2);
    assert_eq!(bench.election.deadline(), deadline);
    bench.event(since + 1, Event::Settings(settings));
    assert_eq!(bench.election.deadline(), deadline);
}

#[test]
fn a_fault_of_the_group_outlasts_a_reload() {
    let mut bench = Bench::backup(grouped(), 100);
    bench.event(T0 + 1, Event::Group(group::Order::Fault));
    let actions = bench.event(T0 + 2, Event::Settings(grouped()));
    assert!(matches!(actions[..], [Action::Publish(_)]));
    assert_eq!(bench.election.state(), State::Fault);
    bench.event(T0 + 3, Event::Settings(Settings::default()));
    assert_eq!(bench.election.state(), State::Backup);
}

#[test]
fn who_waited_for_its_group_alone_waits_no_longer() {
    let mut bench = Bench::backup(grouped(), 100);
    bench.look(T0 + DOWN);
    assert_eq!(bench.election.stance(), Stance::Ready);
    let actions = bench.event(T0 + DOWN + 1, Event::Settings(Settings::default()));
    assert_eq!(bench.election.state(), State::Master);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Advertise { priority: 100 }))
    );
    let mut faulty = Bench::backup(grouped(), 100);
    faulty.event(T0, Event::Group(group::Order::Fault));
    assert_eq!(faulty.election.state(), State::Fault);
    faulty.event(T0 + 1, Event::Settings(Settings::default()));
    assert_eq!(faulty.election.state(), State::Backup);
}
