//! Thousands of clusters in virtual time: two to five routers under loss, delay, partitions and
//! pauses, some of which stop the kernel's stamps too; with every option, and in sync groups.

use vrrp_common::{
    election::Settings,
    timers::{NS_PER_CS, NS_PER_MS, NS_PER_S},
    vrrp::{PRIORITY_OWNER, Version},
};
use xvrrp_tests::sim::{Cluster, Fault, NodeSpec, Random, Weather};

const CLEAR: Weather = Weather {
    flight_ns: (20_000, 2 * NS_PER_MS),
    loss: 0,
};

fn specs(random: &mut Random, preempt: bool) -> Vec<NodeSpec> {
    let count = u8::try_from(2 + random.below(4)).expect("at most 5");
    let interval_cs: u64 = random.pick(&[1, 10, 100]);
    (0..count)
        .map(|number| NodeSpec {
            priority: random.pick(&[1, 50, 99, 100, 100, 101, 150, 200, 254]),
            address: number + 1,
            settings: Settings {
                interval_ns: interval_cs * NS_PER_CS,
                preempt,
                ..Settings::default()
            },
        })
        .collect()
}

/// The same with every option of an instance, each router's own where it need not be everybody's.
fn specs_with_options(random: &mut Random) -> Vec<NodeSpec> {
    let mut specs = specs(random, true);
    let down_timer_adverts = random.pick(&[2, 3, 3, 5]);
    let is_version_2 = random.below(4) == 0;
    for spec in &mut specs {
        let settings = &mut spec.settings;
        if is_version_2 {
            settings.version = Version::V2;
            settings.interval_ns = NS_PER_S;
        }
        settings.down_timer_adverts = down_timer_adverts;
        settings.preempt = random.below(3) > 0;
        if settings.preempt && random.below(3) == 0 {
            settings.preempt_delay_ns = random.below(20) * settings.interval_ns / 2;
        }
        settings.higher_prio_send_advert = random.below(3) == 0;
        settings.lower_prio_no_advert = random.below(3) == 0;
    }
    if random.below(5) == 0 {
        specs[0].priority = PRIORITY_OWNER;
    }
    specs
}

/// A random time between half an interval and ten.
fn some_time(random: &mut Random, specs: &[NodeSpec]) -> u64 {
    let interval = specs[0].settings.interval_ns;
    interval / 2 + random.below(10 * interval)
}

/// After the last fault, within a stated time: one master of each virtual router, the right one, and
/// it answers; a sync group has all on one machine. Where nobody preempts that is whoever was MASTER at
/// first, unless a fault has made its adverts late.
fn check_settled(cluster: &mut Cluster, routers: usize, first: Option<&[usize]>, seed: u64) {
    cluster.heal();
    cluster.run_for(cluster.settling_time());
    let masters = cluster.masters(0);
    assert_eq!(masters.len(), 1, "seed {seed}: masters {masters:?}");
    for router in 0..routers {
        assert_eq!(cluster.masters(router), masters, "seed {seed}: one machine");
        assert_eq!(
            cluster.answering(router),
            masters,
            "seed {seed}: who answers for {router}"
        );
    }
    assert!(
        cluster.is_rightful(masters[0]),
        "seed {seed}: {masters:?} is not the rightful one"
    );
    if let Some(first) = first {
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

/// What is played.
struct Play<'a> {
    faults: &'a [Fault],
    /// Frames lost, of 1000.
    loss: u64,
    bound: Bound,
    /// Virtual routers on each machine; more than one are a sync group.
    routers: usize,
    /// Whether every option is drawn, and intervals are changed as by a reload.
    options: bool,
}

impl Play<'_> {
    const fn plain(faults: &[Fault], loss: u64, bound: Bound) -> Play<'_> {
        Play {
            faults,
            loss,
            bound,
            routers: 1,
            options: false,
        }
    }

    /// Plays many random clusters with checks that change priorities, and some faults.
    fn run(&self, seeds: std::ops::Range<u64>) {
        let (mut longest, mut steps) = (0, 0);
        let count = seeds.end - seeds.start;
        for seed in seeds {
            let cluster = self.one(seed);
            longest = longest.max(cluster.longest_overlap());
            steps += cluster.steps();
        }
        println!(
            "{count} clusters, {steps} steps, longest overlap {} us",
            longest / 1000
        );
    }

    fn one(&self, seed: u64) -> Cluster {
        let mut random = Random::new(seed);
        let specs = if self.options {
            specs_with_options(&mut random)
        } else {
            let preempt = random.below(2) == 0;
            specs(&mut random, preempt)
        };
        let weather = Weather {
            loss: self.loss,
            ..CLEAR
        };
        let mut cluster = Cluster::start(&specs, self.routers, weather, random.fork());
        cluster.run_for(3 * NS_PER_S + cluster.settling_time());
        let first = cluster.masters(0);
        for _ in 0..random.below(12) {
            self.disturb(&mut cluster, &specs, &mut random);
            cluster.run_for(some_time(&mut random, &specs));
        }
        let stays = self.faults.is_empty() && specs.iter().all(|spec| !spec.settings.preempt);
        let stays = stays && specs.iter().all(|spec| spec.priority != PRIORITY_OWNER);
        check_settled(&mut cluster, self.routers, stays.then_some(&first), seed);
        let overlap = cluster.longest_overlap();
        let interval = specs[0]
            .settings
            .interval_ns
            .max(cluster.longest_interval());
        let corrects = |spec: &NodeSpec| !spec.settings.lower_prio_no_advert;
        let allowed = if specs.iter().all(corrects) {
            (self.bound)(interval)
        } else {
            (self.bound)(interval).max(LATE_CORRECTION(interval))
        };
        assert!(
            overlap <= allowed,
            "seed {seed}: two answered for {overlap} ns, {allowed} allowed"
        );
        cluster
    }

    fn disturb(&self, cluster: &mut Cluster, specs: &[NodeSpec], random: &mut Random) {
        let node = usize::try_from(random.below(specs.len() as u64)).expect("small");
        let settings = specs[0].settings;
        let reloads = self.options && settings.version == Version::V3;
        if reloads && random.below(8) == 0 {
            // The file is the same on every router, and reloaded on one after the other.
            let interval = settings.interval_ns * random.pick(&[1, 2, 5]);
            for node in 0..specs.len() {
                cluster.set_interval(node, interval);
                cluster.run_for(random.below(2 * settings.interval_ns));
            }
        } else if self.faults.is_empty() || random.below(3) == 0 {
            cluster.set_priority(node, random.pick(&[10, 80, 100, 120, 240]));
        } else {
            let lasts = some_time(random, specs);
            cluster.strike(node, random.pick(self.faults), lasts);
        }
    }
}

#[test]
fn undisturbed_clusters_elect_the_rightful_master() {
    Play::plain(&[], 0, TWO_FLIGHTS).run(0..4000);
}

#[test]
fn stopped_processes_never_make_two_answer() {
    Play::plain(&[Fault::Stop], 0, TWO_FLIGHTS).run(10_000..20_000);
}

#[test]
fn stunned_machines_are_corrected_within_an_interval() {
    Play::plain(&[Fault::Stun], 0, ONE_INTERVAL).run(20_000..24_000);
    Play::plain(&[Fault::Stop, Fault::Stun], 0, UNBOUNDED).run(25_000..29_000);
}

#[test]
fn clusters_heal_after_partition_and_loss() {
    Play::plain(&[Fault::Cut, Fault::Stop, Fault::Stun], 0, UNBOUNDED).run(30_000..33_000);
    Play::plain(&[Fault::Cut, Fault::Stop, Fault::Stun], 200, UNBOUNDED).run(40_000..43_000);
}

/// `lower_prio_no_advert` leaves it to the next regular advert to correct a router that went on.
const LATE_CORRECTION: Bound = ONE_INTERVAL;

#[test]
fn every_option_elects_the_rightful_master() {
    let play = |faults, loss, bound| Play {
        options: true,
        ..Play::plain(faults, loss, bound)
    };
    play(&[], 0, TWO_FLIGHTS).run(50_000..54_000);
    play(&[Fault::Check, Fault::Restart], 0, TWO_FLIGHTS).run(60_000..66_000);
    play(&[Fault::Stop, Fault::Check, Fault::Restart], 0, UNBOUNDED).run(70_000..74_000);
    play(&EVERYTHING, 100, UNBOUNDED).run(80_000..84_000);
}

const EVERYTHING: [Fault; 11] = [
    Fault::Stop,
    Fault::Stun,
    Fault::Cut,
    Fault::Unplug,
    Fault::Check,
    Fault::Restart,
    Fault::MidSend,
    Fault::Crash,
    Fault::HandOver,
    Fault::Deaf,
    Fault::Mute,
];

/// A thread that is stopped may go on at any instruction: its advert is void by then where somebody else
/// was heard meanwhile.
#[test]
fn a_process_that_stops_as_it_sends_never_makes_two_answer() {
    Play::plain(&[Fault::MidSend], 0, TWO_FLIGHTS).run(100_000..106_000);
    Play::plain(&[Fault::MidSend, Fault::Stop], 0, TWO_FLIGHTS).run(110_000..114_000);
}

#[test]
fn crashes_and_handovers_never_make_two_answer() {
    let play = |faults, seeds: std::ops::Range<u64>| {
        Play::plain(faults, 0, TWO_FLIGHTS).run(seeds.clone());
        let grouped = Play {
            routers: 2,
            ..Play::plain(faults, 0, TWO_FLIGHTS)
        };
        grouped.run(seeds);
    };
    play(&[Fault::Crash], 120_000..124_000);
    play(&[Fault::HandOver], 130_000..134_000);
    play(
        &[Fault::Crash, Fault::HandOver, Fault::Restart, Fault::Stop],
        140_000..144_000,
    );
}

/// Who is not heard, or hears nothing, is MASTER beside another one: what VRRP cannot know. Once it is
/// over the rightful one is alone.
#[test]
fn clusters_heal_after_one_way_loss() {
    Play::plain(&[Fault::Deaf, Fault::Mute], 0, UNBOUNDED).run(150_000..153_000);
    Play::plain(&EVERYTHING, 100, UNBOUNDED).run(160_000..163_000);
}

#[test]
fn sync_groups_move_as_one() {
    for (routers, seeds) in [(2, 90_000..93_000), (3, 95_000..97_000)] {
        let play = |faults, loss, bound, options| Play {
            routers,
            options,
            ..Play::plain(faults, loss, bound)
        };
        play(&[], 0, TWO_FLIGHTS, false).run(seeds.clone());
        let faults = &[Fault::Check, Fault::Unplug, Fault::Restart];
        play(faults, 0, TWO_FLIGHTS, false).run(seeds.clone());
        play(faults, 0, TWO_FLIGHTS, true).run(seeds.clone());
        play(&EVERYTHING, 100, UNBOUNDED, true).run(seeds);
    }
}

/// The skew is never rounded away: at 10 ms two backups of different priority do not both speak.
#[test]
fn skew_keeps_backups_apart_at_10_ms() {
    for seed in 0..200 {
        let node = |priority, address| NodeSpec {
            priority,
            address,
            settings: Settings {
                interval_ns: NS_PER_CS,
                ..Settings::default()
            },
        };
        let specs = [node(200, 1), node(150, 2), node(100, 3)];
        let weather = Weather {
            flight_ns: (20_000, 200_000),
            loss: 0,
        };
        let mut cluster = Cluster::start(&specs, 1, weather, Random::new(seed));
        cluster.run_for(3 * NS_PER_S);
        assert_eq!(cluster.masters(0), [0], "seed {seed}");
        cluster.strike(0, Fault::Cut, 10 * NS_PER_S);
        for _ in 0..2000 {
            cluster.run_for(NS_PER_MS / 20);
            let masters: Vec<usize> = cluster
                .masters(0)
                .into_iter()
                .filter(|node| *node != 0)
                .collect();
            assert!(!masters.contains(&2), "seed {seed}: the third never speaks");
        }
        assert!(cluster.masters(0).contains(&1), "seed {seed}");
    }
}
