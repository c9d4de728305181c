//! The embedded default among strangers: it has no claim to a VRID that somebody else uses.

use vrrp_common::{election::Event, validate::Reject};

use super::Daemon;

impl Daemon {
    /// The embedded default has no claim to a VRID that somebody else uses.
    pub(super) fn step_back(&mut self, why: &str) {
        for (id, supervised) in &mut self.supervised {
            if supervised.stepped_back.is_none() {
                tracing::warn!(
                    "({}) stepping back for good: {why}. Restart, or choose another --vrid",
                    supervised.instance.name
                );
                supervised.stepped_back = Some(why.to_owned());
                self.election.tell(*id, Event::FaultRaised);
            }
        }
    }

    pub(super) fn look_for_other_versions(&mut self) {
        let homes: Vec<u32> = self
            .supervised
            .values()
            .map(|supervised| supervised.home.ifindex)
            .collect();
        for ifindex in homes {
            let before = self.other_versions.get(&ifindex).copied();
            let counters = self.dataplane.counters(ifindex);
            let rejects = counters.map_or(0, |counters| counters.rejects(Reject::Version));
            if rejects > before.unwrap_or_default() {
                self.step_back("a router of another VRRP version uses this VRID");
            }
        }
    }
}
