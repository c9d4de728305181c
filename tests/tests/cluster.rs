//! Thousands of clusters in virtual time: two to five routers under loss, delay, partitions and
//! pauses, some of which stop the kernel's stamps too.

use vrrp_common::timers::{NS_PER_CS, NS_PER_MS, NS_PER_S};
use xvrrp_tests::sim::{Cluster, Fault, NodeSpec, Random, Weather};

const CLEAR: Weather = Weather {
    flight_ns: (20_000, 2 * NS_PER_MS),
    loss: 0,
};

fn specs(random: &mut Random, preempt: bool) -> Vec<NodeSpec> {
    let count = u8::try_from(2 + random.below(4)).expect("at most 5");
    let interval_cs = random.pick(&[1, 10, 100]);
    (0..count)
        .map(|number| NodeSpec {
            priority: random.pick(&[1, 50, 99, 100, 100, 101, 150, 200, 254]),
            address: number + 1,
            interval_cs,
            preempt,
        })
        .collect()
}

/// A random time between half an interval and ten.
fn some_time(random: &mut Random, specs: &[NodeSpec]) -> u64 {
    let interval = u64::from(specs[0].interval_cs) * NS_PER_CS;
    interval / 2 + random.below(10 * interval)
}

/// After the last fault, within a stated time: one master, the right one, and it answers. Under
/// nopreempt that is whoever was MASTER at first, unless a fault has made its adverts late.
fn check_settled(cluster: &mut Cluster, preempt: bool, first: Option<&[usize]>, seed: u64) {
    cluster.heal();
    cluster.run_for(cluster.settling_time());
    let masters = cluster.masters();
    assert_eq!(masters.len(), 1, "seed {seed}: masters {masters:?}");
    assert_eq!(cluster.answering(), masters, "seed {seed}: who answers");
    if preempt {
        let rightful = cluster.rightful();
        assert!(
            rightful.contains(&masters[0]),
            "seed {seed}: {masters:?}, not of {rightful:?}"
        );
    } else if let Some(first) = first {
        assert_eq!(
            masters, first,
            "seed {seed}: nopreempt leaves it where it is"
        );
    }
}

/// How long two routers that hear each other may both answer, given the interval.
type Bound = fn(u64) -> u64;

/// A preempting advert fences the master when it arrives, after one flight. Two routers that take
/// over, or go on, in the same moment need an advert and its answer.
const TWO_FLIGHTS: Bound = |_| 2 * CLEAR.flight_ns.1;

/// What a stunned machine missed it hears again one interval later at the latest, or in answer to
/// its own advert.
const ONE_INTERVAL: Bound = |interval| interval + 2 * CLEAR.flight_ns.1 + 10 * NS_PER_MS;

/// Under loss and partition VRRP itself has two masters, and so it has when one machine misses
/// adverts while another cannot send: only what follows is judged.
const UNBOUNDED: Bound = |_| u64::MAX;

/// Plays many random clusters with checks that change priorities, and some faults.
fn play(seeds: std::ops::Range<u64>, faults: &[Fault], loss: u64, bound: Bound) {
    let (mut longest, mut steps) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let mut random = Random::new(seed);
        let preempt = random.below(2) == 0;
        let specs = specs(&mut random, preempt);
        let weather = Weather { loss, ..CLEAR };
        let mut cluster = Cluster::start(&specs, weather, random.fork());
        cluster.run_for(3 * NS_PER_S + cluster.settling_time());
        let first = cluster.masters();
        for _ in 0..random.below(12) {
            let node = usize::try_from(random.below(specs.len() as u64)).expect("small");
            if faults.is_empty() || random.below(3) == 0 {
                cluster.set_priority(node, random.pick(&[10, 80, 100, 120, 240]));
            } else {
                let lasts = some_time(&mut random, &specs);
                cluster.strike(node, random.pick(faults), lasts);
            }
            cluster.run_for(some_time(&mut random, &specs));
        }
        let first = faults.is_empty().then_some(&first[..]);
        check_settled(&mut cluster, preempt, first, seed);
        let overlap = cluster.longest_overlap();
        let allowed = bound(u64::from(specs[0].interval_cs) * NS_PER_CS);
        assert!(
            overlap <= allowed,
            "seed {seed}: two answered for {overlap} ns, {allowed} allowed"
        );
        longest = longest.max(overlap);
        steps += cluster.steps();
    }
    println!(
        "{count} clusters, {steps} steps, longest overlap {} us",
        longest / 1000
    );
}

#[test]
fn undisturbed_clusters_elect_the_rightful_master() {
    play(0..4000, &[], 0, TWO_FLIGHTS);
}

#[test]
fn stopped_processes_never_make_two_answer() {
    play(10_000..20_000, &[Fault::Stop], 0, TWO_FLIGHTS);
}

#[test]
fn stunned_machines_are_corrected_within_an_interval() {
    play(20_000..24_000, &[Fault::Stun], 0, ONE_INTERVAL);
    play(25_000..29_000, &[Fault::Stop, Fault::Stun], 0, UNBOUNDED);
}

#[test]
fn clusters_heal_after_partition_and_loss() {
    play(
        30_000..33_000,
        &[Fault::Cut, Fault::Stop, Fault::Stun],
        0,
        UNBOUNDED,
    );
    play(
        40_000..43_000,
        &[Fault::Cut, Fault::Stop, Fault::Stun],
        200,
        UNBOUNDED,
    );
}

/// The skew is never rounded away: at 10 ms two backups of different priority do not both speak.
#[test]
fn skew_keeps_backups_apart_at_10_ms() {
    for seed in 0..200 {
        let node = |priority, address| NodeSpec {
            priority,
            address,
            interval_cs: 1,
            preempt: true,
        };
        let specs = [node(200, 1), node(150, 2), node(100, 3)];
        let weather = Weather {
            flight_ns: (20_000, 200_000),
            loss: 0,
        };
        let mut cluster = Cluster::start(&specs, weather, Random::new(seed));
        cluster.run_for(3 * NS_PER_S);
        assert_eq!(cluster.masters(), [0], "seed {seed}");
        cluster.strike(0, Fault::Cut, 10 * NS_PER_S);
        for _ in 0..2000 {
            cluster.run_for(NS_PER_MS / 20);
            let masters: Vec<usize> = cluster
                .masters()
                .into_iter()
                .filter(|node| *node != 0)
                .collect();
            assert!(!masters.contains(&2), "seed {seed}: the third never speaks");
        }
        assert!(cluster.masters().contains(&1), "seed {seed}");
    }
}
