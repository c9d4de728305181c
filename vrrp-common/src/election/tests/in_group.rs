//! A member of a sync group.

use super::*;

#[test]
fn a_member_yields_with_its_group_and_does_not_resign() {
    let mut bench = Bench::backup(grouped(), 100);
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

/// Whoever waits is to know at once.
#[test]
fn a_member_that_surrenders_resigns() {
    let mut bench = Bench::backup(grouped(), 100);
    bench.look(T0 + DOWN);
    bench.event(T0 + DOWN, Event::Group(group::Order::Promote));
    let now = T0 + DOWN + NS_PER_S / 2;
    let actions = bench.event(now, Event::Group(group::Order::Surrender));
    assert_eq!(
        actions[..2],
        [Action::Lease(0), Action::Advertise { priority: 0 }]
    );
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Arbiter)));
    assert_eq!(bench.election.deadline(), Some(now + DOWN));
}

#[test]
fn a_member_that_is_ready_obeys_whoever_is_heard() {
    let mut bench = Bench::backup(grouped(), 100);
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
    let mut bench = Bench::backup(grouped(), 100);
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

/// The addresses of an owner may be the machine's own.
#[test]
fn an_owner_in_a_group_waits_and_keeps_its_addresses() {
    let mut bench = Bench::new(grouped(), 255);
    let actions = bench.event(T0, Event::Startup);
    assert_eq!(entered(&actions), Some((State::Backup, Cause::Startup)));
    assert!(!actions.contains(&Action::RemoveAddresses));
    assert_eq!(
        bench.election.stance(),
        Stance::Ready,
        "for the others only"
    );
    assert_eq!(bench.election.deadline(), None);
    let actions = bench.event(T0 + 1, Event::Group(group::Order::Promote));
    assert!(actions.contains(&Action::Advertise { priority: 255 }));
    let actions = bench.event(T0 + 2, Event::Settled(1));
    assert_eq!(entered(&actions), Some((State::Master, Cause::Owner)));
}

/// The others may take long, and each of them rings: what the silent master said before is not heard
/// again with every look.
#[test]
fn a_member_that_is_ready_stays_so_while_nobody_is_heard() {
    let mut bench = Bench::backup(grouped(), 100);
    bench.hear(T0 + 1, 150, 100, LOWER);
    bench.look(T0 + 1);
    bench.look(T0 + 1 + DOWN);
    assert_eq!(bench.election.stance(), Stance::Ready);
    assert!(bench.look(T0 + 1 + DOWN + 5 * NS_PER_S).is_empty());
    assert_eq!(bench.election.stance(), Stance::Ready);
    assert_eq!(bench.election.deadline(), None);
}
