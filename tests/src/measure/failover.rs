//! The MASTER's ports go dark: how long after the RFC's own time the other router speaks up for each
//! address.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde::Serialize;

use super::{
    arrivals::Arrivals,
    contestant::{Daemon, Maker, Work},
    echoes::{Echoes, Questions},
    field::Field,
};
use crate::{
    capture::{Capture, Seen},
    frames::Said,
    process::Scratch,
    spend, wait_for, wall_ns,
};

/// What was measured of one maker: milliseconds beyond the RFC's time since the last advert, of every virtual
/// router and round.
#[derive(Clone, Debug, Serialize)]
pub struct Failover {
    pub(super) maker: Maker,
    /// Until the first announcement.
    pub(super) announced_ms: Vec<f64>,
    /// Until the address is on the interface.
    pub(super) added_ms: Vec<f64>,
    /// Until a ping is answered, in rounds of their own.
    pub(super) answered_ms: Vec<f64>,
}

/// How long everything settles: 20 intervals, but no longer than this, and as long as many need.
const SETTLE: Duration = Duration::from_secs(3);
const SETTLE_EACH: Duration = Duration::from_millis(12);
const UP: Duration = Duration::from_secs(90);
/// How long giving the addresses back may take.
const BACK: Duration = Duration::from_secs(30);

/// Everything that takes part.
struct Play {
    work: Work,
    field: Field,
    scratch: Scratch,
    captures: Vec<Capture>,
    /// The second router's, by interface.
    macs: Vec<[u8; 6]>,
    /// Of both routers.
    arrivals: [Arrivals; 2],
    /// The second router's.
    second: Option<Daemon>,
}

/// Plays so many failovers of one maker, and half as many in which addresses are pinged.
pub(super) fn measure(maker: Maker, work: Work, rounds: u32) -> Failover {
    let field = Field::observed(work.interfaces);
    field.introduce();
    let observer = field.observer.as_ref().expect("an observer");
    let devices = || (0..work.interfaces).map(|number| format!("eth{number}"));
    let captures = devices().map(|device| Capture::start(observer, &device, None));
    let mut play = Play {
        work,
        captures: captures.collect(),
        macs: devices()
            .map(|device| field.routers[1].mac(&device))
            .collect(),
        arrivals: [0, 1].map(|router: usize| Arrivals::watch(&field.routers[router])),
        scratch: Scratch::new("failover"),
        second: None,
        field,
    };
    let _first = Daemon::start(maker, work, &play.field, 0, &play.scratch);
    play.arrivals[0].wait(work.routers(), UP);
    play.start_second(maker);
    let mut measured = Failover {
        maker,
        announced_ms: Vec::new(),
        added_ms: Vec::new(),
        answered_ms: Vec::new(),
    };
    for _ in 0..rounds {
        play.fail_over(maker, None, &mut measured);
    }
    for turn in 0..rounds.div_ceil(2) as usize {
        play.fail_over(maker, Some(turn), &mut measured);
    }
    // What the oracle of the tests would say of a dark port is known.
    let _ = take(&play.captures);
    for delays in [
        &mut measured.announced_ms,
        &mut measured.added_ms,
        &mut measured.answered_ms,
    ] {
        delays.sort_by(f64::total_cmp);
    }
    measured
}

impl Failover {
    /// In the order that they happen in.
    pub(super) fn all(&self) -> [&[f64]; 3] {
        [&self.announced_ms, &self.added_ms, &self.answered_ms]
    }
}

impl Play {
    fn start_second(&mut self, maker: Maker) {
        let second = Daemon::start(maker, self.work, &self.field, 1, &self.scratch);
        self.second = Some(second);
    }

    /// There and back. In a round with echoes its number says whom to ask.
    fn fail_over(&mut self, maker: Maker, echoes: Option<usize>, measured: &mut Failover) {
        self.measure_one(echoes, measured);
        self.field.darken(&self.scratch, false);
        let [first, second] = &self.arrivals;
        first.wait(self.work.routers(), UP);
        // What is measured is over: whoever does not give everything back begins anew.
        if !second.comes_to(0, BACK) {
            if let Some(mut daemon) = self.second.take() {
                daemon.stop(UP);
            }
            self.start_second(maker);
            self.arrivals[1].wait(0, UP);
        }
    }

    fn measure_one(&self, echoes: Option<usize>, measured: &mut Failover) {
        let Self {
            work,
            field,
            scratch,
            captures,
            arrivals: [_, second],
            ..
        } = self;
        let interval = Duration::from_millis(u64::from(work.interval_cs) * 10);
        let routers = u32::try_from(work.routers()).expect("a few thousand");
        spend(
            SETTLE
                .min(20 * interval)
                .max(SETTLE.min(SETTLE_EACH * routers)),
        );
        let _ = take(captures);
        let questions = echoes.map(|turn| Questions::new(field, *work, turn));
        // So that every virtual router has been heard since.
        spend(3 * interval);
        // Nobody takes over sooner than this after the port went dark.
        let soonest_ns = wall_ns() + 2 * work.interval_ns();
        field.darken(scratch, true);
        let echoes = questions.map(|questions| Echoes::start(questions, soonest_ns));
        second.wait(work.routers(), UP);
        let seen = self.take_announced();
        let began = self.began(&seen);
        if let Some(echoes) = echoes {
            measured.answered_ms.extend(beyond(&began, &echoes.wait()));
        } else {
            let (announced, present) = (self.announced(&seen), second.present());
            for came in [&announced, &present] {
                assert_eq!(came.len(), began.len(), "every address came");
            }
            measured.announced_ms.extend(beyond(&began, &announced));
            measured.added_ms.extend(beyond(&began, &present));
        }
    }

    /// What was captured until every address had been announced.
    fn take_announced(&self) -> Vec<Vec<Seen>> {
        let mut all: Vec<Vec<Seen>> = self.captures.iter().map(|_| Vec::new()).collect();
        let routers = self.work.routers();
        wait_for("every address to be announced", UP, || {
            for (all, more) in all.iter_mut().zip(take(&self.captures)) {
                all.extend(more);
            }
            (self.announced(&all).len() == routers).then_some(())
        });
        all
    }

    /// When Master_Down of each address was over.
    fn began(&self, seen: &[Vec<Seen>]) -> BTreeMap<Ipv4Addr, u64> {
        let mut began = BTreeMap::new();
        for (number, frames) in (0_u8..).zip(seen) {
            for frame in frames {
                if let Said::Advert { source, vrid, .. } = &frame.said
                    && is_of_first(*source)
                {
                    let over_ns = frame.at_ns + self.work.master_down_ns();
                    began.insert(Work::address(number, *vrid), over_ns);
                }
            }
        }
        assert_eq!(
            began.len(),
            self.work.routers(),
            "every virtual router was heard"
        );
        began
    }

    /// When each address was announced first by the second router.
    fn announced(&self, seen: &[Vec<Seen>]) -> BTreeMap<Ipv4Addr, u64> {
        let mut announced = BTreeMap::new();
        for (frames, mac) in seen.iter().zip(&self.macs) {
            for frame in frames {
                if let Said::Arp {
                    sender_mac,
                    sender,
                    target,
                    ..
                } = &frame.said
                    && sender == target
                    && sender_mac == mac
                {
                    announced.entry(*sender).or_insert(frame.at_ns);
                }
            }
        }
        announced
    }
}

/// Milliseconds beyond, of every address that was waited for.
fn beyond(began: &BTreeMap<Ipv4Addr, u64>, came: &BTreeMap<Ipv4Addr, u64>) -> Vec<f64> {
    let delay = |(address, began): (&Ipv4Addr, &u64)| {
        let came = came.get(address)?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        Some((came.cast_signed() - began.cast_signed()) as f64 / 1e6)
    };
    began.iter().filter_map(delay).collect()
}

fn take(captures: &[Capture]) -> Vec<Vec<Seen>> {
    captures.iter().map(|capture| capture.take().0).collect()
}

fn is_of_first(source: IpAddr) -> bool {
    matches!(source, IpAddr::V4(address) if address.octets()[3] == 1)
}
