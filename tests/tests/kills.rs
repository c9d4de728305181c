//! A master that is killed at any moment: its node says nothing for the addresses once its lease is
//! over, and a restart takes nothing from the new master. `cargo xtask test --full kills` repeats it
//! until it is believed.

use std::time::Duration;

use xvrrp_tests::{LONG, capture::Seen, duel::Duel, ms, rounds, sim::Random, spend, wall_ns};

/// A frame in flight on one CPU may be stamped after one on the other.
const IN_FLIGHT_NS: u64 = 2_000_000;

#[test]
fn a_killed_master_is_silent_after_its_lease_and_its_restart_takes_nothing() {
    let mut duel = Duel::start("kills", 5);
    let interval = duel.interval_ns();
    let mut random = Random::new(wall_ns());
    let mut holder = 0;
    let (mut longest, mut spoke) = (0, 0);
    let rounds = rounds(8, 100);
    for round in 0..rounds {
        let other = 1 - holder;
        duel.wait_master(holder);
        spend(Duration::from_nanos(random.below(interval)));
        let from = duel.capture.count();
        duel.routers[holder].kill();
        duel.wait_master(other);
        // What the dead node says while nobody runs there, and while it starts again.
        let dead_for = random.below(10 * interval);
        spend(Duration::from_nanos(dead_for));
        duel.restart(holder);
        duel.routers[holder].wait_state(&duel.lan.hosts[holder], "BACKUP", LONG);
        duel.wait_master(other);
        let released = duel.routers[other]
            .instance(&duel.lan.hosts[other], "V4")
            .expect("a status");
        assert_eq!(released["state"], "MASTER", "round {round}: {released}");
        let seen = duel.capture.seen_from(from);
        longest = longest.max(judge(&duel, &seen, holder, round));
        spoke += usize::from(longest > 0);
        holder = other;
    }
    println!(
        "a master was killed {rounds} times: its node spoke for the addresses for {:.1} ms at most after \
         its last advert (the lease is {:.0} ms), and its restart changed nothing",
        ms(longest),
        ms(3 * interval)
    );
    assert!(spoke > 0, "the dead node was never asked within its lease");
}

/// Everything the dead node said for an address lies within the lease. Returns how long after its last
/// advert it still spoke.
fn judge(duel: &Duel, seen: &[Seen], dead: usize, round: usize) -> u64 {
    let mut longest = 0;
    for family in [4, 6] {
        let of_family = seen.iter().filter(|it| Duel::is_of(it, family));
        let of_family: Vec<&Seen> = of_family.collect();
        let adverts = of_family.iter();
        let last_advert = adverts
            .clone()
            .rfind(|it| duel.speaker(it) == Some(dead))
            .or(of_family.first())
            .expect("frames");
        let claims = of_family
            .iter()
            .filter(|it| duel.claimant(it) == Some(dead));
        let last = claims.last().map_or(0, |it| it.at_ns);
        let spoke = last.saturating_sub(last_advert.at_ns);
        assert!(
            spoke <= 3 * duel.interval_ns() + IN_FLIGHT_NS,
            "round {round}, IPv{family}: spoke for the address {:.1} ms after its last advert",
            ms(spoke)
        );
        let others = adverts.filter(|it| duel.speaker(it) == Some(1 - dead));
        let gap = others
            .clone()
            .zip(others.skip(1))
            .map(|(one, next)| next.at_ns - one.at_ns)
            .max();
        assert!(
            gap.is_some_and(|gap| gap < 3 * duel.interval_ns()),
            "round {round}, IPv{family}: the new master fell silent when the old one came back: {gap:?}"
        );
        longest = longest.max(spoke);
    }
    longest
}
