//! The per-VRID map slot: what the kernel saw of the others, and what user space told it of us.
//!
//! Three cache lines, one writer each side: the kernel writes [`KernelHalf`], user space
//! [`UserHalf`], both in plain 8-byte stores, so that user space can map the array into its memory
//! and neither side ever takes a lock. Nothing spans two words that must change together; where a
//! reader sees a mixture, the next advert or the next deadline heals it.
//!
//! The doorbell: news increments `news_seq`, and rings unless user space has not yet read the last
//! ring (`news_read` behind `news_seq`). The ring carries a slot number and nothing else, so a full
//! ring loses nothing: whoever looks at the slot sees all there is.

#[cfg(target_arch = "bpf")]
use core::cell::UnsafeCell;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

use crate::vrrp::{Advert, ChecksumForm, PRIORITY_RESIGN, Source};

/// One 8-byte word that one side writes and both read.
#[repr(transparent)]
pub struct Word(
    #[cfg(target_arch = "bpf")] UnsafeCell<u64>,
    #[cfg(not(target_arch = "bpf"))] AtomicU64,
);

// SAFETY: on BPF an aligned 8-byte access is a single instruction; this is the kernel's own
// contract for map values shared between CPUs.
#[cfg(target_arch = "bpf")]
unsafe impl Sync for Word {}

impl Word {
    /// A word holding `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        #[cfg(target_arch = "bpf")]
        return Self(UnsafeCell::new(value));
        #[cfg(not(target_arch = "bpf"))]
        return Self(AtomicU64::new(value));
    }

    /// Reads the word.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: the cell is valid and aligned; see `Sync` above.
        #[cfg(target_arch = "bpf")]
        return unsafe { self.0.get().read_volatile() };
        #[cfg(not(target_arch = "bpf"))]
        return self.0.load(Ordering::SeqCst);
    }

    /// Writes the word.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: as in `load`.
        #[cfg(target_arch = "bpf")]
        return unsafe { self.0.get().write_volatile(value) };
        #[cfg(not(target_arch = "bpf"))]
        return self.0.store(value, Ordering::SeqCst);
    }

    #[inline(always)]
    fn add_one(&self) {
        self.store(self.load().wrapping_add(1));
    }
}

/// What an advert said, in three words. Written only when it differs from the one before.
#[repr(C)]
pub struct FactWords {
    high: Word,
    low: Word,
    packed: Word,
}

/// What an advert said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its sender.
    pub source: Source,
    /// Its priority.
    pub priority: u8,
    /// Its Advertisement_Interval in centiseconds; 0 where nothing was heard yet.
    pub interval_cs: u16,
    /// Its address count.
    pub count: u8,
    /// Sum of its address list, see [`Advert::addresses_sum`].
    pub addresses_sum: u16,
    /// Whether its checksum covers a pseudo header.
    pub pseudo_header: bool,
}

impl Facts {
    /// The facts of `advert`.
    #[inline(always)]
    #[must_use]
    pub const fn of(advert: &Advert) -> Self {
        Self {
            source: advert.source,
            priority: advert.priority,
            interval_cs: advert.interval_cs,
            count: advert.count,
            addresses_sum: advert.addresses_sum,
            pseudo_header: matches!(advert.form, ChecksumForm::PseudoHeader),
        }
    }

    #[inline(always)]
    const fn pack(&self) -> u64 {
        self.priority as u64
            | (self.count as u64) << 8
            | (self.interval_cs as u64) << 16
            | (self.addresses_sum as u64) << 32
            | (self.pseudo_header as u64) << 48
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "unpacking fields of a word"
    )]
    const fn unpack(source: Source, packed: u64) -> Self {
        Self {
            source,
            priority: packed as u8,
            count: (packed >> 8) as u8,
            interval_cs: (packed >> 16) as u16,
            addresses_sum: (packed >> 32) as u16,
            pseudo_header: (packed >> 48) & 1 == 1,
        }
    }
}

impl FactWords {
    const fn new() -> Self {
        Self {
            high: Word::new(0),
            low: Word::new(0),
            packed: Word::new(0),
        }
    }

    #[inline(always)]
    fn source(&self) -> Source {
        Source {
            high: self.high.load(),
            low: self.low.load(),
        }
    }

    #[inline(always)]
    fn load(&self) -> Facts {
        Facts::unpack(self.source(), self.packed.load())
    }

    /// Stores `facts` and says whether they are news.
    #[inline(always)]
    fn replace(&self, facts: &Facts) -> bool {
        let packed = facts.pack();
        let same = self.high.load() == facts.source.high
            && self.low.load() == facts.source.low
            && self.packed.load() == packed;
        if same {
            return false;
        }
        self.high.store(facts.source.high);
        self.low.store(facts.source.low);
        self.packed.store(packed);
        true
    }
}

/// What the kernel program writes.
///
/// ```text
///   0 seen_ns     8 other_ns   16 beaten      24 news_seq
///  32 accepted   40 lesser     48 foreign_zero 56 answered
///  64 master (source high, low, packed)   88 other (source high, low, packed)
/// 112 claim_ns  120 claim_mac
/// ```
#[repr(C, align(64))]
pub struct KernelHalf {
    /// When the last advert arrived that holds us down (priority at or above `floor`).
    seen_ns: Word,
    /// When the last valid advert arrived that does not.
    other_ns: Word,
    /// The epoch in which an advert that beats us arrived while we were MASTER.
    beaten: Word,
    /// Counts news.
    news_seq: Word,
    /// Adverts that stamped `seen_ns`.
    accepted: Word,
    /// Adverts that stamped `other_ns`.
    lesser: Word,
    /// Priority-0 adverts from somebody who is not the master we know.
    foreign_zero: Word,
    /// ARP questions answered.
    answered: Word,
    /// The last advert that stamped `seen_ns`.
    master: FactWords,
    /// The last advert that stamped `other_ns`.
    other: FactWords,
    /// When somebody else last announced one of our addresses while we were MASTER.
    claim_ns: Word,
    /// The MAC that did, in the low 48 bits, big endian.
    claim_mac: Word,
}

/// What user space writes.
///
/// ```text
///   0 lease_ns   8 epoch       16 own: MAC in bits 16-63, floor in 8-15, priority in 0-7
///  24 source high              32 source low
///  40 news_read 48 decided_ns  56 generation
/// ```
#[repr(C, align(64))]
pub struct UserHalf {
    /// Until when we may answer for the addresses; 0 = not MASTER. There is no separate role word
    /// that could disagree with it.
    lease_ns: Word,
    /// Counts promotions.
    epoch: Word,
    /// MAC, floor and priority in one store.
    own: Word,
    /// The address our adverts come from.
    source_high: Word,
    source_low: Word,
    /// The `news_seq` user space has acted on.
    news_read: Word,
    /// When user space last decided to advertise: the advert it then sends has no authority over
    /// anything heard later.
    decided_ns: Word,
    /// Changes each time the slot is given to another virtual router.
    generation: Word,
}

/// One virtual router's slot in the `MASTER_SEEN` map.
#[repr(C, align(64))]
pub struct Slot {
    kernel: KernelHalf,
    user: UserHalf,
}

const _: () = assert!(size_of::<KernelHalf>() == 128 && size_of::<UserHalf>() == 64);

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
    /// Adverts that held us down.
    pub accepted: u64,
    /// Adverts that did not.
    pub lesser: u64,
    /// Priority-0 adverts from strangers.
    pub foreign_zero: u64,
    /// ARP questions answered.
    pub answered: u64,
}

/// What an accepted advert means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// It holds us down.
    Holds,
    /// We are MASTER and it beats us (RFC 9568 6.4.3: higher, or equal from a higher address).
    Beats,
    /// The master we know resigns.
    Resigns,
    /// It has no authority over us: we may re-assert, or let our own timer run out.
    Lesser,
    /// A resignation from somebody who is not the master we know. It moves nothing: one forged
    /// frame would otherwise unseat a live master.
    ForeignZero,
}

/// Where an advert stands against us. `master` is who stamped `seen_ns` last.
#[inline(always)]
#[must_use]
pub fn bearing(advert: &Advert, is_master: bool, own: &Standing, master: Source) -> Bearing {
    if advert.priority == PRIORITY_RESIGN {
        return match (is_master, advert.source == master) {
            (true, _) => Bearing::Lesser,
            (false, true) => Bearing::Resigns,
            (false, false) => Bearing::ForeignZero,
        };
    }
    if is_master {
        return if beats(advert.priority, advert.source, own.priority, own.source) {
            Bearing::Beats
        } else {
            Bearing::Lesser
        };
    }
    if advert.priority >= own.floor {
        Bearing::Holds
    } else {
        Bearing::Lesser
    }
}

/// RFC 9568 6.4.3: a MASTER yields to a higher priority, or an equal one from a higher address.
#[inline(always)]
#[must_use]
pub fn beats(priority: u8, source: Source, own_priority: u8, own_source: Source) -> bool {
    if priority != own_priority {
        return priority > own_priority;
    }
    if source.high == own_source.high {
        source.low > own_source.low
    } else {
        source.high > own_source.high
    }
}

impl Slot {
    /// An empty slot.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kernel: KernelHalf {
                seen_ns: Word::new(0),
                other_ns: Word::new(0),
                beaten: Word::new(0),
                news_seq: Word::new(0),
                accepted: Word::new(0),
                lesser: Word::new(0),
                foreign_zero: Word::new(0),
                answered: Word::new(0),
                master: FactWords::new(),
                other: FactWords::new(),
                claim_ns: Word::new(0),
                claim_mac: Word::new(0),
            },
            user: UserHalf {
                lease_ns: Word::new(0),
                epoch: Word::new(0),
                own: Word::new(0),
                source_high: Word::new(0),
                source_low: Word::new(0),
                news_read: Word::new(0),
                decided_ns: Word::new(0),
                generation: Word::new(0),
            },
        }
    }

    // ---- the kernel's side -------------------------------------------------------------------

    /// Records a valid advert and says whether to ring the doorbell.
    #[inline(always)]
    pub fn record_advert(&self, advert: &Advert, now_ns: u64) -> bool {
        let kernel = &self.kernel;
        let facts = Facts::of(advert);
        let standing = self.standing();
        let is_master = self.user.lease_ns.load() != 0;
        let news = match bearing(advert, is_master, &standing, kernel.master.source()) {
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
        now_ns < self.user.lease_ns.load() && self.kernel.beaten.load() != self.user.epoch.load()
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

    // ---- user space's side -------------------------------------------------------------------

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

    /// Grants the kernel the right to answer until `lease_ns`; 0 takes it away at once.
    pub fn store_lease(&self, lease_ns: u64) {
        self.user.lease_ns.store(lease_ns);
    }

    /// The lease in force; 0 = not MASTER.
    #[must_use]
    pub fn lease_ns(&self) -> u64 {
        self.user.lease_ns.load()
    }

    /// Notes when a decision to advertise was taken.
    pub fn store_decided(&self, now_ns: u64) {
        self.user.decided_ns.store(now_ns);
    }

    /// Tells the kernel that news up to `news_seq` were acted on: the next will ring again.
    pub fn acknowledge(&self, news_seq: u64) {
        self.user.news_read.store(news_seq);
    }

    /// Whether there is news that nobody acted on.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.kernel.news_seq.load() != self.user.news_read.load()
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
            accepted: kernel.accepted.load(),
            lesser: kernel.lesser.load(),
            foreign_zero: kernel.foreign_zero.load(),
            answered: kernel.answered.load(),
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// A MAC address as a number, first byte highest.
#[inline(always)]
#[must_use]
pub const fn mac_number(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The inverse of [`mac_number`].
#[inline(always)]
#[must_use]
pub const fn mac_of(number: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Source = Source::v4([10, 0, 0, 2]);

    fn advert(priority: u8, source: Source) -> Advert {
        Advert {
            vrid: 1,
            priority,
            count: 1,
            interval_cs: 100,
            form: ChecksumForm::MessageOnly,
            addresses_sum: 7,
            source,
        }
    }

    fn slot(floor: u8, priority: u8) -> Slot {
        let slot = Slot::new();
        slot.publish(&Standing {
            mac: [2, 0, 0, 0, 0, 1],
            floor,
            priority,
            source: Source::v4([10, 0, 0, 5]),
            epoch: 3,
        });
        slot
    }

    #[test]
    fn facts_survive_packing() {
        let facts = Facts::of(&advert(200, PEER));
        assert_eq!(Facts::unpack(PEER, facts.pack()), facts);
    }

    #[test]
    fn steady_adverts_ring_once() {
        let slot = slot(100, 100);
        assert!(
            slot.record_advert(&advert(150, PEER), 1),
            "a new master is news"
        );
        slot.acknowledge(slot.heard().news_seq);
        for now in 2..1002 {
            assert!(!slot.record_advert(&advert(150, PEER), now));
        }
        let heard = slot.heard();
        assert_eq!((heard.seen_ns, heard.accepted), (1001, 1001));
        assert!(!slot.has_news());
    }

    #[test]
    fn news_ring_once_until_read() {
        let slot = slot(100, 100);
        assert!(slot.record_advert(&advert(150, PEER), 1));
        assert!(!slot.record_advert(&advert(151, PEER), 2), "not read yet");
        assert!(slot.has_news());
        slot.acknowledge(slot.heard().news_seq);
        assert!(slot.record_advert(&advert(152, PEER), 3));
    }

    #[test]
    fn below_the_floor_moves_no_timer() {
        let slot = slot(100, 100);
        slot.record_advert(&advert(99, PEER), 5);
        let heard = slot.heard();
        assert_eq!((heard.seen_ns, heard.other_ns, heard.lesser), (0, 5, 1));
        slot.record_advert(&advert(100, PEER), 6);
        assert_eq!(
            slot.heard().seen_ns,
            6,
            "an equal priority holds a backup down"
        );
    }

    #[test]
    fn a_resignation_counts_only_from_the_known_master() {
        let slot = slot(100, 100);
        slot.record_advert(&advert(150, PEER), 1);
        slot.acknowledge(slot.heard().news_seq);
        let stranger = advert(0, Source::v4([10, 0, 0, 66]));
        assert!(!slot.record_advert(&stranger, 2));
        assert_eq!((slot.heard().seen_ns, slot.heard().foreign_zero), (1, 1));
        assert!(slot.record_advert(&advert(0, PEER), 3));
        assert_eq!((slot.heard().seen_ns, slot.heard().master.priority), (3, 0));
    }

    #[test]
    fn a_master_is_fenced_by_the_advert_that_beats_it() {
        let slot = slot(100, 100);
        slot.store_lease(1000);
        assert!(slot.may_answer(10));
        assert!(
            slot.record_advert(&advert(99, PEER), 11),
            "a loser is news to a master"
        );
        assert!(slot.may_answer(12));
        slot.record_advert(&advert(100, PEER), 13);
        assert!(
            slot.may_answer(14),
            "equal priority from a lower address loses"
        );
        slot.record_advert(&advert(100, Source::v4([10, 0, 0, 9])), 15);
        assert!(!slot.may_answer(16));
        assert_eq!(slot.heard().beaten, 3);
    }

    #[test]
    fn the_lease_ends() {
        let slot = slot(100, 100);
        assert!(!slot.may_answer(0));
        slot.store_lease(1000);
        assert!(slot.may_answer(999));
        assert!(!slot.may_answer(1000));
        slot.store_lease(0);
        assert!(!slot.may_answer(1));
    }

    #[test]
    fn only_a_master_minds_a_claim() {
        let slot = slot(100, 100);
        assert!(!slot.record_claim(0x0200_0000_0009, 1));
        slot.store_lease(1000);
        assert!(slot.record_claim(0x0200_0000_0009, 2));
        assert_eq!(slot.heard().claim_mac, [2, 0, 0, 0, 0, 9]);
    }
}
