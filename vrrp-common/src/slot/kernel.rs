//! The kernel's side of a slot: recording what arrives, and whether to answer.

use super::{Bearing, Facts, Slot, Standing, bearing, mac_of};
use crate::{
    timers,
    vrrp::{Advert, Source},
};

impl Slot {
    /// Records a valid advert and says whether to ring the doorbell.
    #[inline(always)]
    pub fn record_advert(&self, advert: &Advert, now_ns: u64) -> bool {
        let kernel = &self.kernel;
        let facts = Facts::of(advert);
        let standing = self.standing();
        let is_master = self.user.lease_ns.load() != 0;
        let news = match bearing(advert, is_master, &standing, self.is_from_master(advert)) {
            Bearing::Holds | Bearing::Resigns => {
                let news = kernel.master.replace(&facts);
                kernel.seen_ns.store(now_ns);
                kernel.accepted.add_one();
                news
            }
            Bearing::Beats => {
                kernel.beaten.store(standing.epoch);
                kernel.master.replace(&facts);
                kernel.seen_ns.store(now_ns);
                kernel.accepted.add_one();
                true
            }
            Bearing::Lesser => {
                let news = kernel.other.replace(&facts);
                kernel.other_ns.store(now_ns);
                kernel.lesser.add_one();
                news || is_master
            }
            Bearing::ForeignZero => {
                kernel.foreign_zero.add_one();
                false
            }
        };
        news && self.ring()
    }

    /// Whether the sender is the master we know: the last we obeyed, or, where that one has been
    /// silent for longer than any master is, the one that we are about to preempt.
    #[inline(always)]
    fn is_from_master(&self, advert: &Advert) -> bool {
        let kernel = &self.kernel;
        let master = kernel.master.load();
        if advert.source == master.source {
            return true;
        }
        let silence = timers::interval_ns(master.interval_cs) * 4;
        let gone = kernel.other_ns.load() > kernel.seen_ns.load() + silence;
        gone && advert.source == kernel.other.source()
    }

    /// Records that `mac` announced one of our addresses, and says whether to ring. Only a MASTER
    /// has a reason to care.
    #[inline(always)]
    pub fn record_claim(&self, mac: u64, now_ns: u64) -> bool {
        if self.user.lease_ns.load() == 0 {
            return false;
        }
        self.kernel.claim_mac.store(mac);
        self.kernel.claim_ns.store(now_ns);
        self.ring()
    }

    /// Whether this router may answer for its addresses now: it is MASTER, somebody alive vouched
    /// for it less than a lease ago, and nobody has beaten it since.
    #[inline(always)]
    #[must_use]
    pub fn may_answer(&self, now_ns: u64) -> bool {
        now_ns < self.user.lease_ns.load() && !self.is_beaten()
    }

    /// Whether it has been beaten in this epoch.
    #[inline(always)]
    #[must_use]
    pub fn is_beaten(&self) -> bool {
        self.kernel.beaten.load() == self.user.epoch.load()
    }

    /// Whether it held a lease when it was beaten. What beat it earlier is no news to its group.
    #[inline(always)]
    #[must_use]
    pub fn loses_lease(&self) -> bool {
        self.user.lease_ns.load() != 0 && self.is_beaten()
    }

    /// On a group's own slot: one of its members has been beaten.
    #[inline(always)]
    pub fn record_beaten_member(&self) {
        self.kernel.beaten.store(self.user.epoch.load());
    }

    /// The slot of its sync group.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "stored from a `u32`")]
    pub fn group(&self) -> Option<u32> {
        (self.user.group.load() as u32).checked_sub(1)
    }

    /// Counts an answered question.
    #[inline(always)]
    pub fn record_answer(&self) {
        self.kernel.answered.add_one();
    }

    /// Our own address, which no other router may advertise from.
    #[inline(always)]
    #[must_use]
    pub fn own_source(&self) -> Source {
        Source {
            high: self.user.source_high.load(),
            low: self.user.source_low.load(),
        }
    }

    /// The MAC that answers carry, in the low 48 bits.
    #[inline(always)]
    #[must_use]
    pub fn own_mac(&self) -> u64 {
        self.user.own.load() >> 16
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "unpacking fields of a word"
    )]
    fn standing(&self) -> Standing {
        let own = self.user.own.load();
        Standing {
            mac: mac_of(own >> 16),
            floor: (own >> 8) as u8,
            priority: own as u8,
            source: self.own_source(),
            epoch: self.user.epoch.load(),
        }
    }

    #[inline(always)]
    fn ring(&self) -> bool {
        let seq = self.kernel.news_seq.load();
        self.kernel.news_seq.store(seq.wrapping_add(1));
        self.user.news_read.load() == seq
    }
}
