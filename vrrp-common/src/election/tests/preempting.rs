//! `preempt_delay`: how long a lower-priority master is left alone.

use super::*;

#[test]
fn preempt_delay_holds_back_and_then_lets_go() {
    let mut bench = Bench::backup(delayed(10 * NS_PER_S), 200);
    let down = timers::master_down_interval(Version::V3, 200, NS_PER_S, 3);
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
    let mut bench = Bench::backup(delayed(10 * NS_PER_S), 200);
    bench.hear(T0 + 1, 100, 100, LOWER);
    bench.look(T0 + 1);
    bench.hear(T0 + 2, 201, 100, HIGHER);
    bench.look(T0 + 2);
    let down = timers::master_down_interval(Version::V3, 200, NS_PER_S, 3);
    assert_eq!(
        bench.election.deadline(),
        Some(T0 + 2 + down),
        "no delay is running"
    );
}

/// The incumbent was heard before we began to listen, and its steady adverts are no news.
#[test]
fn preempt_delay_begins_with_the_incumbent_already_known() {
    let mut bench = Bench::new(delayed(10 * NS_PER_S), 200);
    bench.hear(T0 - 1, 100, 100, LOWER);
    bench.slot.acknowledge(bench.slot.heard().news_seq);
    bench.event(T0, Event::Startup);
    bench.look(T0);
    for beat in 1..=9 {
        bench.hear(T0 + beat * NS_PER_S, 100, 100, LOWER);
        bench.look(T0 + beat * NS_PER_S);
    }
    assert_eq!(bench.election.deadline(), Some(T0 + 10 * NS_PER_S));
}

/// (the master's priority, whether a delay begins for a backup at 100)
#[test]
fn only_a_lower_priority_begins_the_delay() {
    for (priority, begins) in [(99, true), (100, false), (101, false)] {
        let mut bench = Bench::backup(delayed(NS_PER_S), 100);
        let heard_at = T0 + NS_PER_S / 2;
        bench.hear(heard_at, priority, 100, LOWER);
        bench.look(heard_at);
        let wait = if begins { NS_PER_S } else { DOWN };
        assert_eq!(
            bench.election.deadline(),
            Some(heard_at + wait),
            "{priority}"
        );
    }
}

/// Whoever was last heard a Master_Down_Interval before the start, or earlier, is no incumbent.
#[test]
fn a_master_that_was_gone_before_the_start_begins_no_delay() {
    let down = timers::master_down_interval(Version::V3, 200, NS_PER_S, 3);
    let rows = [
        (1, true),
        (down - 1, true),
        (down, false),
        (60 * NS_PER_S, false),
    ];
    for (before, begins) in rows {
        let mut bench = Bench::new(delayed(NS_PER_S), 200);
        bench.hear(T0 - before, 100, 100, LOWER);
        bench.event(T0, Event::Startup);
        bench.look(T0);
        let wait = if begins { NS_PER_S } else { down };
        assert_eq!(bench.election.deadline(), Some(T0 + wait), "{before}");
    }
}

/// The kernel writes what an advert says, and then when it came. Whoever reads in between, soon after
/// the machine has started, must not take it for one that came at time 0.
#[test]
fn an_advert_without_a_time_yet_counts_for_nothing() {
    let heard = Heard {
        master: Facts::of(&advert(100, 4095, LOWER)),
        ..Heard::default()
    };
    let mut bench = Bench::new(delayed(NS_PER_S), 200);
    bench.event(NS_PER_S, Event::Startup);
    bench.event(NS_PER_S, Event::Look(heard));
    let down = timers::master_down_interval(Version::V3, 200, NS_PER_S, 3);
    assert_eq!(bench.election.deadline(), Some(NS_PER_S + down));
}
