//! The kernel's side of a slot: recording what arrives, and whether to answer.

use super::{Bearing, Facts, LeaseMode, Slot, Standing, bearing, mac_of};
use crate::{
    timers,
    validate::Reject,
    vrrp::{Advert, PRIORITY_OWNER, Source},
};

/// How soon after one rejected advert another is written down.
const ANY_REJECT_NS: u64 = 250 * timers::NS_PER_MS;
/// One of four nanoseconds is a lucky one. Bits above the resolution of coarse clocks.
const LUCK: u64 = 0b11 << 7;
/// How soon one of the same sender and for the same reason.
const SAME_REJECT_NS: u64 = 10 * timers::NS_PER_S;

impl Slot {
    /// Records a valid advert and says whether to ring the doorbell.
    #[inline(always)]
    pub fn record_advert(&self, advert: &Advert, now_ns: u64) -> bool {
        let kernel = &self.kernel;
        let facts = Facts::of(advert);
        let standing = self.standing();
        let is_master = self.user.lease_ns.load() != 0;
        let news = match bearing(advert, is_master, &standing, || self.is_from_master(advert)) {
            Bearing::Holds | Bearing::Resigns => {
                let news = kernel.master.replace(&facts);
                if !news {
                    self.count_gap(facts.interval_cs, now_ns);
                }
                kernel.master_mac.replace(advert.mac);
                kernel.seen_ns.store(now_ns);
                kernel.accepted.add_one();
                news
            }
            Bearing::Beats => {
                // Whoever reads that we are beaten finds by whom.
                kernel.master.replace(&facts);
                kernel.master_mac.replace(advert.mac);
                kernel.seen_ns.store(now_ns);
                kernel.beaten.store(standing.epoch);
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

    /// Counts an advert that came late after the one before of the same master.
    #[inline(always)]
    fn count_gap(&self, interval_cs: u16, now_ns: u64) {
        let interval = timers::interval_ns(interval_cs);
        let gap = now_ns.wrapping_sub(self.kernel.seen_ns.load());
        if gap > interval + interval / 2 {
            self.kernel.late.add_one();
            if gap > 2 * interval + interval / 2 {
                self.kernel.very_late.add_one();
            }
        }
    }

    /// Whether the sender is the master we know: the last we obeyed, by the same MAC, for anybody can
    /// write another's address into a packet; or, where that one has been silent for longer than any
    /// master is, the one that we are about to preempt.
    #[inline(always)]
    fn is_from_master(&self, advert: &Advert) -> bool {
        let kernel = &self.kernel;
        let master = kernel.master.load();
        if advert.source == master.source {
            return advert.mac == kernel.master_mac.load();
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

    /// Writes down who sent an advert that was rejected, and says whether to ring. The same one again
    /// only once in a while, so that each of several gets its turn.
    #[inline(always)]
    pub fn record_reject(&self, reason: Reject, sender: Source, now_ns: u64) -> bool {
        let same = self.kernel.reject_high.load() == sender.high
            && self.kernel.reject_low.load() == sender.low
            && self.kernel.reject_reason.load() == reason as u64;
        if same && now_ns < self.kernel.reject_ns.load() + SAME_REJECT_NS {
            return false;
        }
        self.kernel.reject_high.store(sender.high);
        self.kernel.reject_low.store(sender.low);
        self.kernel.reject_reason.store(reason as u64);
        self.kernel.reject_ns.store(now_ns);
        self.ring()
    }

    /// Whether to write down the sender of a rejected advert. A flood is counted elsewhere, and must not
    /// keep anybody awake. Of several senders in step no one may always be the first: after the very
    /// first it is a matter of luck, drawn from the time of arrival.
    #[inline(always)]
    #[must_use]
    pub fn samples_rejects(&self, now_ns: u64) -> bool {
        let last_ns = self.kernel.reject_ns.load();
        last_ns == 0 || (now_ns >= last_ns + ANY_REJECT_NS && now_ns & LUCK == 0)
    }

    /// Whether this router may answer for its addresses now: it is MASTER, somebody alive vouched
    /// for it less than a lease ago, unless `lease` says otherwise, and nobody has beaten it since.
    #[inline(always)]
    #[must_use]
    pub fn may_answer(&self, now_ns: u64) -> bool {
        let lease_ns = self.user.lease_ns.load();
        let vouched = now_ns < lease_ns || (lease_ns != 0 && self.outlives_its_lease());
        vouched && !self.is_beaten()
    }

    #[inline(always)]
    fn outlives_its_lease(&self) -> bool {
        match self.lease_mode() {
            LeaseMode::Strict => false,
            LeaseMode::Peer => self.kernel.seen_ns.load() == 0 && self.kernel.other_ns.load() == 0,
            LeaseMode::Off => true,
        }
    }

    /// Whether a non-zero advert of ours may still leave. It has no authority of its own, only that of
    /// the decision it rests on: whoever was heard since, and must be obeyed, has made that void. Losing
    /// adverts do not, or a flood of them would silence a master; but once half an interval has passed
    /// somebody may have become MASTER meanwhile whom we only take for a loser.
    #[inline(always)]
    #[must_use]
    pub fn may_advertise(&self, now_ns: u64) -> bool {
        let decided_ns = self.user.decided_ns.load();
        if self.kernel.seen_ns.load() > decided_ns {
            return false;
        }
        let late = now_ns.saturating_sub(decided_ns) > self.interval_ns() / 2;
        !late || self.kernel.other_ns.load() <= decided_ns
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

    /// The MAC of the interface, in the low 48 bits.
    #[inline(always)]
    #[must_use]
    pub fn port_mac(&self) -> u64 {
        self.user.port.load()
    }

    /// Whether the addresses are the machine's own (priority 255): then it has them whatever the
    /// election says.
    #[inline(always)]
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.user.own.load() & 0xff == u64::from(PRIORITY_OWNER)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "unpacking fields of a word"
    )]
    pub(super) fn standing(&self) -> Standing {
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
