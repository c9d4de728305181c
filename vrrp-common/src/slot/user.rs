//! User space's side of a slot: saying who we are, and reading what the kernel heard.

use super::{Facts, Slot, mac_number, mac_of};
use crate::vrrp::Source;

/// What user space tells the kernel about a virtual router, apart from the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// MAC that answers carry.
    pub mac: [u8; 6],
    /// Adverts with this priority or more hold us down.
    pub floor: u8,
    /// Our effective priority.
    pub priority: u8,
    /// The address our adverts come from.
    pub source: Source,
    /// Counts promotions.
    pub epoch: u64,
}

/// The kernel half, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// When the last advert arrived that holds us down; 0 = never.
    pub seen_ns: u64,
    /// When the last valid advert arrived that does not; 0 = never.
    pub other_ns: u64,
    /// The epoch in which we were beaten.
    pub beaten: u64,
    /// Counts news.
    pub news_seq: u64,
    /// The advert behind `seen_ns`.
    pub master: Facts,
    /// The advert behind `other_ns`.
    pub other: Facts,
    /// When somebody else last announced one of our addresses; 0 = never.
    pub claim_ns: u64,
    /// The MAC that did.
    pub claim_mac: [u8; 6],
    /// When an advert was last rejected whose sender was written down; 0 = never.
    pub reject_ns: u64,
    /// Why, as the number of a [`crate::validate::Reject`].
    pub reject_reason: u64,
    /// Its sender.
    pub reject_source: Source,
    /// Adverts that held us down.
    pub accepted: u64,
    /// Adverts that did not.
    pub lesser: u64,
    /// Priority-0 adverts from strangers.
    pub foreign_zero: u64,
    /// ARP questions answered.
    pub answered: u64,
    /// Adverts of a master that came more than 1.5 of its intervals after the one before: one was lost, or
    /// the master was busy.
    pub late: u64,
    /// And those that came more than 2.5 after it.
    pub very_late: u64,
}

/// What stays as it is while nobody but the master speaks, and the master says what it always says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    master: Facts,
    other_ns: u64,
    claim_ns: u64,
    reject_ns: u64,
    foreign_zero: u64,
}

impl Heard {
    /// What to compare with at the next look.
    #[must_use]
    pub const fn surroundings(&self) -> Surroundings {
        Surroundings {
            master: self.master,
            other_ns: self.other_ns,
            claim_ns: self.claim_ns,
            reject_ns: self.reject_ns,
            foreign_zero: self.foreign_zero,
        }
    }
}

impl Slot {
    /// Publishes who we are. The epoch is stored first: an old `beaten` must not outlive it.
    pub fn publish(&self, standing: &Standing) {
        self.user.epoch.store(standing.epoch);
        self.user.source_high.store(standing.source.high);
        self.user.source_low.store(standing.source.low);
        self.user.own.store(
            mac_number(standing.mac) << 16
                | u64::from(standing.floor) << 8
                | u64::from(standing.priority),
        );
    }

    /// Says which MAC the interface has.
    pub fn publish_port(&self, mac: [u8; 6]) {
        self.user.port.store(mac_number(mac));
    }

    /// Grants the kernel the right to answer until `lease_ns`; 0 takes it away at once.
    pub fn store_lease(&self, lease_ns: u64) {
        self.user.lease_ns.store(lease_ns);
    }

    /// The lease in force; 0 = not MASTER.
    #[must_use]
    pub fn lease_ns(&self) -> u64 {
        self.user.lease_ns.load()
    }

    /// Makes the slot a member of the sync group that has this slot, or of none.
    pub fn join_group(&self, group: Option<u32>) {
        self.user
            .group
            .store(group.map_or(0, |slot| u64::from(slot) + 1));
    }

    /// On a group's own slot: a new promotion of all members. What beat them before counts no longer.
    pub fn store_epoch(&self, epoch: u64) {
        self.user.epoch.store(epoch);
    }

    /// What was published last.
    #[must_use]
    pub fn published(&self) -> Standing {
        self.standing()
    }

    /// Notes since when a decision to advertise knows nothing new: the time before the slot was read
    /// for it.
    pub fn store_decided(&self, now_ns: u64) {
        self.user.decided_ns.store(now_ns);
    }

    /// Tells the kernel that news up to `news_seq` were acted on: the next will ring again.
    pub fn acknowledge(&self, news_seq: u64) {
        self.user.news_read.replace(news_seq);
    }

    /// Whether there is news that nobody acted on.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.kernel.news_seq.load() != self.user.news_read.load()
    }

    /// When the master was heard last, and what it said, where everything else is as it was `before`: no
    /// news, and nobody else. It is written after what the advert said, and so read before it.
    #[must_use]
    pub fn heard_again(&self, before: &Surroundings) -> Option<(u64, Facts)> {
        let kernel = &self.kernel;
        let seen_ns = kernel.seen_ns.load();
        let is_still = kernel.master.load() == before.master
            && kernel.other_ns.load() == before.other_ns
            && kernel.claim_ns.load() == before.claim_ns
            && kernel.reject_ns.load() == before.reject_ns
            && kernel.foreign_zero.load() == before.foreign_zero
            && before.other_ns < seen_ns
            && !self.has_news();
        is_still.then_some((seen_ns, before.master))
    }

    /// Reads the kernel half. `news_seq` is read first, so that whatever changes meanwhile counts
    /// as news again.
    #[must_use]
    pub fn heard(&self) -> Heard {
        let kernel = &self.kernel;
        Heard {
            news_seq: kernel.news_seq.load(),
            seen_ns: kernel.seen_ns.load(),
            other_ns: kernel.other_ns.load(),
            beaten: kernel.beaten.load(),
            master: kernel.master.load(),
            other: kernel.other.load(),
            claim_ns: kernel.claim_ns.load(),
            claim_mac: mac_of(kernel.claim_mac.load()),
            reject_ns: kernel.reject_ns.load(),
            reject_reason: kernel.reject_reason.load(),
            reject_source: Source {
                high: kernel.reject_high.load(),
                low: kernel.reject_low.load(),
            },
            accepted: kernel.accepted.load(),
            lesser: kernel.lesser.load(),
            foreign_zero: kernel.foreign_zero.load(),
            answered: kernel.answered.load(),
            late: kernel.late.load(),
            very_late: kernel.very_late.load(),
        }
    }
}
