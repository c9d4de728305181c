//! The transition table: one row per state, event and guard, with the ordered actions.

mod announcing;
mod as_backup;
mod as_master;
mod deadlines;
mod handing_over;
mod hearing_again;
mod in_group;
mod preempting;
mod reloading;

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
        Self::master_with(Settings::default())
    }

    fn master_with(settings: Settings) -> Self {
        let (bench, since) = Self::master_since(settings);
        assert_eq!(since, T0 + DOWN);
        bench
    }

    /// A master whose addresses are in place, and since when.
    fn master_since(settings: Settings) -> (Self, u64) {
        let mut bench = Self::backup(settings, 100);
        let since = bench.election.deadline().unwrap();
        bench.look(since);
        bench.event(since, Event::Advertised(since));
        bench.event(since, Event::Settled(1));
        assert_eq!(bench.election.state(), State::Master);
        (bench, since)
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
        let list: Vec<Action> = actions.iter().collect();
        assert_eq!(actions.is_empty(), list.is_empty());
        list
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
        mac: 9,
    }
}

/// A member of a sync group.
fn grouped() -> Settings {
    Settings {
        grouped: true,
        ..Settings::default()
    }
}

fn delayed(preempt_delay_ns: u64) -> Settings {
    Settings {
        preempt_delay_ns,
        ..Settings::default()
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
