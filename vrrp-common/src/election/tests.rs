//! The transition table: one row per state, event and guard, with the ordered actions.

use super::*;
use crate::{
    slot::{Facts, Slot},
    timers::{NS_PER_MS, NS_PER_S},
    vrrp::{Advert, ChecksumForm},
};

const OWN: Source = Source::v4([10, 0, 0, 5]);
const LOWER: Source = Source::v4([10, 0, 0, 2]);
const HIGHER: Source = Source::v4([10, 0, 0, 9]);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
const T0: u64 = 1000 * NS_PER_S;
/// Master_Down_Interval of priority 100 at one second.
const DOWN: u64 = 3_609_375_000;
const SKEW: u64 = 609_375_000;

/// A machine with a slot, as the daemon holds it.
struct Bench {
    election: Election,
    slot: Slot,
}

impl Bench {
    fn new(settings: Settings, priority: u8) -> Self {
        let election = Election::new(settings, priority, OWN, MAC);
        let slot = Slot::new();
        slot.publish(election.standing());
        Self { election, slot }
    }

    fn backup(settings: Settings, priority: u8) -> Self {
        let mut bench = Self::new(settings, priority);
        bench.event(T0, Event::Startup);
        assert_eq!(bench.election.state(), State::Backup);
        bench
    }

    /// A master whose addresses are in place since `T0 + DOWN`.
    fn master() -> Self {
        let mut bench = Self::backup(Settings::default(), 100);
        bench.look(T0 + DOWN);
        bench.event(T0 + DOWN, Event::Advertised(T0 + DOWN));
        bench.event(T0 + DOWN, Event::Settled(1));
        assert_eq!(bench.election.state(), State::Master);
        bench
    }

    /// Feeds an event and stores what the daemon would store.
    fn event(&mut self, now: u64, event: Event) -> Vec<Action> {
        let actions = self.election.handle(now, event);
        for action in actions.iter() {
            match action {
                Action::Publish(standing) => self.slot.publish(&standing),
                Action::Lease(lease) => self.slot.store_lease(lease),
                _ => {}
            }
        }
        actions.iter().collect()
    }

    fn look(&mut self, now: u64) -> Vec<Action> {
        let heard = self.slot.heard();
        self.slot.acknowledge(heard.news_seq);
        self.event(now, Event::Look(heard))
    }

    fn hear(&self, now: u64, priority: u8, interval_cs: u16, source: Source) {
        self.slot
            .record_advert(&advert(priority, interval_cs, source), now);
    }
}

fn advert(priority: u8, interval_cs: u16, source: Source) -> Advert {
    Advert {
        vrid: 1,
        priority,
        count: 1,
        interval_cs,
        form: ChecksumForm::MessageOnly,
        addresses_sum: 0,
        source,
    }
}

fn nopreempt() -> Settings {
    Settings {
        preempt: false,
        ..Settings::default()
    }
}

fn entered(actions: &[Action]) -> Option<(State, Cause)> {
    actions.iter().find_map(|action| match action {
        Action::Entered(state, cause) => Some((*state, *cause)),
        _ => None,
    })
}

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
    let learned = timers::master_down_interval(100, 3 * NS_PER_S, 3);
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
    let down = timers::master_down_interval(120, NS_PER_S, 3);
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
    let down = timers::master_down_interval(10, NS_PER_S, 3);
    assert_eq!(bench.election.deadline(), Some(heard_at + down));
}

#[test]
fn preempt_delay_holds_back_and_then_lets_go() {
    let settings = Settings {
        preempt_delay_ns: 10 * NS_PER_S,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 200);
    let down = timers::master_down_interval(200, NS_PER_S, 3);
    let mut last = 0;
    for beat in 1..=10 {
        last = T0 + beat * NS_PER_S;
        bench.hear(last, 100, 100, LOWER);
        bench.look(last);
    }
    assert_eq!(bench.election.state(), State::Backup);
    let delay_over = T0 + 11 * NS_PER_S;
    assert_eq!(bench.election.deadline(), Some(delay_over));
    let actions = bench.look(delay_over);
    assert!(matches!(
        actions[..],
        [Action::Publish(Standing { floor: 200, .. })]
    ));
    bench.hear(delay_over + 1, 100, 100, LOWER);
    assert_eq!(
        bench.election.deadline(),
        Some(last + down),
        "lower adverts no longer count"
    );
    bench.look(last + down);
    assert_eq!(bench.election.state(), State::Master);
}

#[test]
fn a_higher_master_ends_the_preempt_delay() {
    let settings = Settings {
        preempt_delay_ns: 10 * NS_PER_S,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 200);
    bench.hear(T0 + 1, 100, 100, LOWER);
    bench.look(T0 + 1);
    bench.hear(T0 + 2, 201, 100, HIGHER);
    bench.look(T0 + 2);
    let down = timers::master_down_interval(200, NS_PER_S, 3);
    assert_eq!(
        bench.election.deadline(),
        Some(T0 + 2 + down),
        "no delay is running"
    );
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
            let learned = timers::master_down_interval(100, NS_PER_S / 2, 3);
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

#[test]
fn a_short_down_timer_shortens_the_lease() {
    let settings = Settings {
        down_timer_adverts: 2,
        ..Settings::default()
    };
    let mut bench = Bench::backup(settings, 100);
    let start = bench.election.deadline().unwrap();
    bench.look(start);
    bench.event(start, Event::Advertised(start));
    let actions = bench.event(start, Event::Settled(1));
    assert!(actions.contains(&Action::Lease(start + 2 * NS_PER_S)));
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
