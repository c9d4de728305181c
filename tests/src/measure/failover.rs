//! The MASTER's ports go dark: how long after the RFC's own time the other router speaks up for each
//! address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde::Serialize;

use super::{
    contestant::{Daemon, Maker, Work, wait_master},
    field::Field,
};
use crate::{
    capture::{Capture, Seen},
    frames::Said,
    process::Scratch,
    spend, wait_for,
};

/// What was measured of one maker: milliseconds beyond the RFC's time, of every virtual router and round.
#[derive(Clone, Debug, Serialize)]
pub struct Failover {
    pub(super) maker: Maker,
    /// From the last advert to the first announcement, less Master_Down.
    pub(super) announced_ms: Vec<f64>,
}

const SETTLE: Duration = Duration::from_secs(3);
const UP: Duration = Duration::from_secs(90);
/// For announcements that come after the first.
const REST: Duration = Duration::from_millis(300);

/// A virtual router: its interface, and its VRID.
type Key = (u8, u8);

/// Plays so many failovers of one maker.
pub(super) fn measure(maker: Maker, work: Work, rounds: u32) -> Failover {
    let field = Field::observed(work.interfaces);
    let scratch = Scratch::new("failover");
    let observer = field.observer.as_ref().expect("an observer");
    let captures = (0..work.interfaces).map(|number| {
        let device = format!("eth{number}");
        Capture::start(observer, &device, None)
    });
    let captures: Vec<Capture> = captures.collect();
    let macs = [0, 1].map(|router: usize| {
        let mac = |number| field.routers[router].mac(&format!("eth{number}"));
        (0..work.interfaces).map(mac).collect::<Vec<_>>()
    });
    let _first = Daemon::start(maker, work, &field, 0, &scratch);
    wait_master(work, &field, 0, UP);
    let _second = Daemon::start(maker, work, &field, 1, &scratch);
    let mut announced_ms = Vec::new();
    for _ in 0..rounds {
        spend(SETTLE);
        let _ = take(&captures);
        // One interval and more, so that every virtual router has been heard since.
        spend(Duration::from_millis(u64::from(work.interval_cs) * 30));
        field.darken(&scratch, true);
        wait_master(work, &field, 1, UP);
        spend(REST);
        let seen = take(&captures);
        announced_ms.extend(delays(&seen, &macs, work));
        field.darken(&scratch, false);
        wait_master(work, &field, 0, UP);
        wait_for("the second router to have no address", UP, || {
            (field.addresses(1) == 0).then_some(())
        });
    }
    // What the oracle of the tests would say of a dark port is known.
    let _ = take(&captures);
    announced_ms.sort_by(f64::total_cmp);
    Failover {
        maker,
        announced_ms,
    }
}

fn take(captures: &[Capture]) -> Vec<Vec<Seen>> {
    captures.iter().map(|capture| capture.take().0).collect()
}

/// The delay of every virtual router, in milliseconds beyond Master_Down.
fn delays(seen: &[Vec<Seen>], macs: &[Vec<[u8; 6]>; 2], work: Work) -> Vec<f64> {
    let mut last: BTreeMap<Key, u64> = BTreeMap::new();
    let mut first: BTreeMap<Key, u64> = BTreeMap::new();
    for (number, frames) in (0_u8..).zip(seen) {
        let at = usize::from(number);
        for frame in frames {
            match &frame.said {
                Said::Advert { source, vrid, .. } if is_of_first(*source) => {
                    last.insert((number, *vrid), frame.at_ns);
                }
                Said::Arp {
                    sender_mac,
                    sender,
                    target,
                    ..
                } if sender == target && *sender_mac == macs[1][at] => {
                    let [_, _, _, vrid] = sender.octets();
                    first.entry((number, vrid)).or_insert(frame.at_ns);
                }
                _ => {}
            }
        }
    }
    let all: BTreeSet<&Key> = last.keys().collect();
    assert_eq!(all.len(), work.routers(), "every virtual router was heard");
    let delay = |key: &&Key| {
        let announced = *first.get(*key)?;
        let began = *last.get(*key)? + work.master_down_ns();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        Some((announced.cast_signed() - began.cast_signed()) as f64 / 1e6)
    };
    let delays: Vec<f64> = all.iter().filter_map(delay).collect();
    assert_eq!(delays.len(), work.routers(), "every address was announced");
    delays
}

fn is_of_first(source: IpAddr) -> bool {
    matches!(source, IpAddr::V4(address) if address.octets()[3] == 1)
}
