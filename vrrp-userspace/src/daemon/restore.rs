//! Putting back what somebody else removes, at once, but not without end: two who fight over an address
//! must not keep the machine busy.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use tokio::{sync::mpsc, time::Instant};

use super::{Daemon, statics::Statics};
use crate::{
    config::model::{Config, Instance},
    election::Command,
    net::{self, InterfaceTable, Removed},
};

/// At most this often.
const PERIOD: Duration = Duration::from_millis(100);

/// When to put something back.
#[derive(Default)]
pub(super) struct Restore {
    wanted: bool,
    not_before: Option<Instant>,
}

impl Restore {
    /// Something is missing.
    pub(super) const fn ask(&mut self) {
        self.wanted = true;
    }

    /// When it is to be put back.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.not_before.unwrap_or(now))
    }

    /// Whether to do so now. It is said once.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due(now).is_some_and(|at| at <= now);
        if is_due {
            self.wanted = false;
            self.not_before = Some(now + PERIOD);
        }
        is_due
    }
}

/// Which interfaces there are, which have a link, and how often that was lost.
#[derive(Default)]
pub(super) struct Links(BTreeMap<(u32, u32), (bool, u32)>);

impl Links {
    /// Whether one has come, gone, or changed its link since the last time. The kernel drops IPv4 routes
    /// with a link, and tells nobody.
    pub(super) fn have_changed(&mut self, table: &InterfaceTable) -> bool {
        let now = table.iter().map(|interface| {
            let key = (interface.index, interface.generation);
            (key, (interface.running, interface.losses))
        });
        let now: BTreeMap<_, _> = now.collect();
        let changed = now != self.0;
        self.0 = now;
        changed
    }
}

impl Daemon {
    /// A route or a rule went. Putting back what is there changes nothing.
    pub(super) fn look_for_routes(&mut self, removed: &Removed) {
        for supervised in self.supervised.values_mut() {
            let Instance { routes, rules, .. } = &supervised.instance;
            // A link that comes elsewhere is one to announce addresses on.
            let is_ours = removed.may_be_of(routes, rules)
                || (*removed == Removed::Anything && !supervised.routed_elsewhere.is_empty());
            // Whether it is MASTER the election knows best.
            if is_ours {
                supervised.restore.ask();
            }
        }
        self.statics.look_for(removed);
    }

    pub(super) fn restore_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let instances = self.supervised.values();
        let instances = instances.filter_map(|it| it.restore.due(now));
        instances.chain(self.statics.restore.due(now)).min()
    }

    pub(super) fn restore(&mut self) {
        let now = Instant::now();
        for (id, supervised) in &mut self.supervised {
            if supervised.restore.take(now) {
                self.election.send(Command::Restore(*id));
            }
        }
        if self.statics.restore.take(now) {
            self.statics.put_in_place();
        }
    }
}

/// Hears of routes and rules that somebody removes, where there are any to care for.
pub(super) fn watched_routes(
    config: &Config,
    statics: &Statics,
) -> Result<Option<mpsc::UnboundedReceiver<Removed>>> {
    let mut instances = config.instances.iter();
    let has_some = instances.any(|it| !it.routes.is_empty() || !it.rules.is_empty());
    (has_some || statics.has_routes())
        .then(net::watch_routes)
        .transpose()
}

/// Waits for the next; for ever where nothing is watched.
pub(super) async fn next_removed(
    watched: &mut Option<mpsc::UnboundedReceiver<Removed>>,
) -> Removed {
    if let Some(receiver) = watched
        && let Some(removed) = receiver.recv().await
    {
        return removed;
    }
    if watched.take().is_some() {
        tracing::error!("the watch for routes and rules ended; those removed are not put back");
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_put_back_at_once_and_the_next_a_little_later() {
        let mut restore = Restore::default();
        let now = Instant::now();
        assert!(!restore.take(now), "nothing is missing");
        restore.ask();
        assert!(restore.take(now));
        assert!(!restore.take(now), "once");
        restore.ask();
        assert!(!restore.take(now), "too soon");
        let due = restore.due(now).unwrap();
        assert_eq!(due, now + PERIOD);
        assert!(restore.take(due));
        assert_eq!(restore.due(due), None);
    }
}
