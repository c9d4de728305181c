//! Stopped processes: a backup that goes on takes nothing over, and a master that goes on says nothing
//! while a newer one is heard. `cargo xtask test --full pauses` repeats it until it is believed.

use std::time::Duration;

use nix::sys::signal::Signal;
use xvrrp_tests::{
    LONG,
    capture::{Capture, Seen},
    duel::Duel,
    ms,
    netns::Lan,
    process::Scratch,
    rounds,
    sim::Random,
    spend, wait_for, wall_ns,
    xvrrp::{Xvrrp, instances},
};

const VRIDS: u8 = 50;
const MS: u64 = 1_000_000;

#[test]
fn a_backup_that_was_stopped_takes_nothing_over() {
    let lan = Lan::new(2);
    let scratch = Scratch::new("pauses-backup");
    let capture = Capture::start(&lan.bridge, "br0", None);
    let master = Xvrrp::with_config(&lan.hosts[0], &scratch, &instances(VRIDS, 200, 0.01, ""));
    master.wait_state(&lan.hosts[0], "MASTER", LONG);
    let backup = Xvrrp::with_config(&lan.hosts[1], &scratch, &instances(VRIDS, 100, 0.01, ""));
    backup.wait_state(&lan.hosts[1], "BACKUP", LONG);
    let adverts = |from: usize, source: u8| {
        let seen = capture.seen_from(from);
        let of = |entry: &&Seen| {
            matches!(entry.said, xvrrp_tests::frames::Said::Advert { source: from, .. }
                if from == Lan::address(source))
        };
        seen.iter().filter(of).count()
    };
    let rounds = rounds(2, 20);
    let begun = capture.count();
    for _ in 0..rounds {
        backup.process.signal(Signal::SIGSTOP);
        spend(Duration::from_secs(5));
        let from = capture.count();
        backup.process.signal(Signal::SIGCONT);
        wait_for("the backup to hear again", LONG, || {
            let status = backup.status(&lan.hosts[1])?;
            let all = status["instances"].as_array()?;
            all.iter()
                .all(|it| {
                    it["last_advert_age_ms"]
                        .as_f64()
                        .is_some_and(|age| age < 20.0)
                })
                .then_some(())
        });
        // Three times as long as it takes to call a master dead.
        wait_for("the master's adverts", LONG, || {
            (adverts(from, 0) > 12 * usize::from(VRIDS)).then_some(())
        });
    }
    assert_eq!(adverts(begun, 1), 0, "the backup never speaks");
    let status = backup.status(&lan.hosts[1]).expect("a status");
    for instance in status["instances"].as_array().expect("instances") {
        assert_eq!(instance["state"], "BACKUP", "{}", instance["name"]);
        assert_eq!(
            instance["counters"]["became_master"], 0,
            "{}",
            instance["name"]
        );
    }
    println!(
        "a backup of {VRIDS} virtual routers at 10 ms was stopped for 5 s {rounds} times: no takeover, \
         no advert"
    );
}

/// What one round showed.
#[derive(Default)]
struct Shown {
    takeovers: usize,
    /// Longest time from a master's last answer to the backup's first.
    nobody_ns: u64,
    /// Shortest.
    margin_ns: Option<u64>,
}

#[test]
fn a_master_that_was_stopped_is_silent_before_the_backup_speaks() {
    let duel = Duel::start("pauses-master", 5);
    let interval = duel.interval_ns();
    let mut random = Random::new(wall_ns());
    let mut holder = 0;
    let mut shown = Shown::default();
    let rounds = rounds(15, 200);
    for round in 0..rounds {
        let other = 1 - holder;
        duel.wait_master(holder);
        // At any moment of an interval, for less than a takeover takes and for up to twice that.
        spend(Duration::from_nanos(random.below(interval)));
        let from = duel.capture.count();
        duel.routers[holder].process.signal(Signal::SIGSTOP);
        spend(Duration::from_nanos(
            interval / 2 + random.below(8 * interval),
        ));
        duel.routers[holder].process.signal(Signal::SIGCONT);
        let takes_over = wait_for("somebody to be MASTER", LONG, || {
            let before = duel.capture.count();
            spend(Duration::from_nanos(6 * interval));
            let seen = duel.capture.seen_from(before);
            let speaks = |number| seen.iter().any(|it| duel.speaker(it) == Some(number));
            (speaks(holder) != speaks(other)).then(|| speaks(other))
        });
        let seen = duel.capture.seen_from(from);
        for family in [4, 6] {
            let seen = seen.iter().filter(|it| Duel::is_of(it, family));
            let seen: Vec<Seen> = seen.cloned().collect();
            judge(&duel, &seen, holder, round, &mut shown);
        }
        if takes_over {
            holder = other;
        }
    }
    let margin = shown.margin_ns.expect("a takeover");
    assert!(shown.takeovers * 2 > rounds, "the faults were too short");
    println!(
        "a master was stopped {rounds} times, {} times for long enough to be replaced (each family counted): its last answer \
         came {:.1} ms or more before the first of the other (nobody for {:.1} ms at most), and no \
         advert of its own after the first of the other",
        shown.takeovers,
        ms(margin),
        ms(shown.nobody_ns)
    );
}

/// Once the other one advertises, the old master says nothing, neither an advert nor for an address.
fn judge(duel: &Duel, seen: &[Seen], holder: usize, round: usize, shown: &mut Shown) {
    let other = 1 - holder;
    let takeover = seen.iter().find(|it| duel.speaker(it) == Some(other));
    let Some(takeover) = takeover else {
        return;
    };
    // A frame in flight on one CPU may be stamped after one on the other.
    let after = |it: &&Seen| it.at_ns > takeover.at_ns + MS;
    let late = seen
        .iter()
        .filter(after)
        .find(|it| duel.speaker(it) == Some(holder) || duel.claimant(it) == Some(holder));
    assert!(
        late.is_none(),
        "round {round}: router {holder} spoke {:.3} ms after router {other} had become MASTER: {late:?}",
        ms(late.map_or(0, |it| it.at_ns - takeover.at_ns))
    );
    let mut answers = seen.iter().filter(|it| duel.claimant(it).is_some());
    let first = answers.clone().find(|it| duel.claimant(it) == Some(other));
    let last = answers.rfind(|it| duel.claimant(it) == Some(holder));
    let (Some(first), Some(last)) = (first, last) else {
        panic!("round {round}: nobody answered before or after")
    };
    let gap = first.at_ns.checked_sub(last.at_ns);
    let gap = gap.unwrap_or_else(|| panic!("round {round}: both answered"));
    shown.takeovers += 1;
    shown.nobody_ns = shown.nobody_ns.max(gap);
    shown.margin_ns = Some(shown.margin_ns.map_or(gap, |least| least.min(gap)));
}
