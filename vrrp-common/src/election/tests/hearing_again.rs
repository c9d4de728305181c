//! A master that goes on saying what it said: the shorter way of a look.

use super::*;

/// The shorter way of a look at a master that goes on: it leads to the same.
#[test]
fn who_is_heard_again_restarts_master_down() {
    for (settings, priority) in [
        (Settings::default(), 200),
        (Settings::default(), 100),
        (nopreempt(), 50),
    ] {
        let mut bench = Bench::backup(settings, 100);
        bench.hear(T0 + 1, priority, 100, LOWER);
        bench.look(T0 + 1);
        let at = T0 + NS_PER_S;
        bench.hear(at, priority, 100, LOWER);
        let mut looked = bench.election.clone();
        let actions = looked.handle(at + 1, Event::Look(bench.slot.heard()));
        assert!(actions.is_empty());
        let again = (at, bench.slot.heard().master);
        assert!(bench.election.hear_again(at + 1, again));
        assert_eq!(bench.election, looked);
        assert_eq!(bench.election.deadline(), Some(at + DOWN));
    }
}

/// Where there is more to decide nothing happens, and it is looked at.
#[test]
fn who_is_heard_again_decides_nothing_else() {
    let master = |priority, interval_cs| Facts::of(&advert(priority, interval_cs, LOWER));
    let known = |settings| {
        let mut bench = Bench::backup(settings, 100);
        bench.hear(T0 + 1, 200, 100, LOWER);
        bench.look(T0 + 1);
        bench
    };
    let refuses = |mut bench: Bench, now: u64, again: (u64, Facts), why: &str| {
        let before = bench.election.clone();
        assert!(!bench.election.hear_again(now, again), "{why}");
        assert_eq!(bench.election, before, "{why}");
    };
    let at = T0 + NS_PER_S;
    refuses(
        known(Settings::default()),
        at,
        (at, master(201, 100)),
        "priority",
    );
    refuses(
        known(Settings::default()),
        at,
        (at, master(200, 200)),
        "interval",
    );
    refuses(
        known(Settings::default()),
        at,
        (T0 + 1, master(200, 100)),
        "nothing new",
    );
    refuses(
        known(Settings::default()),
        at + DOWN,
        (at, master(200, 100)),
        "too long ago",
    );
    refuses(
        Bench::backup(Settings::default(), 100),
        at,
        (at, master(200, 100)),
        "a stranger",
    );
    refuses(
        Bench::master(),
        at + DOWN,
        (at + DOWN, master(200, 100)),
        "a MASTER",
    );

    let mut resigned = known(Settings::default());
    resigned.hear(T0 + 2, 0, 100, LOWER);
    resigned.look(T0 + 2);
    refuses(resigned, T0 + 4, (T0 + 3, master(0, 100)), "resigns again");

    let mut ready = known(grouped());
    ready.look(T0 + 1 + DOWN);
    assert_eq!(ready.election.stance(), Stance::Ready);
    let late = T0 + 2 + DOWN;
    refuses(ready, late, (late, master(200, 100)), "waits for its group");

    let mut listening = known(Settings::default());
    listening.look(T0 + DOWN + 5 * NS_PER_S);
    let late = T0 + DOWN + 5 * NS_PER_S + 1;
    refuses(
        listening,
        late,
        (late, master(200, 100)),
        "listens once more",
    );

    let mut waiting = Bench::backup(delayed(10 * NS_PER_S), 200);
    waiting.hear(T0 + 1, 100, 100, LOWER);
    waiting.look(T0 + 1);
    refuses(waiting, at, (at, master(100, 100)), "preempt_delay");
}
