//! The per-VRID map slot: what the kernel saw of the others, and what user space told it of us.
//!
//! Five cache lines, one writer each side: the kernel writes [`KernelHalf`], user space
//! [`UserHalf`], both in plain 8-byte stores, so that user space can map the array into its memory
//! and neither side ever takes a lock. Nothing spans two words that must change together; where a
//! reader sees a mixture, the next advert or the next deadline heals it.
//!
//! The doorbell: news increments `news_seq`, and rings unless user space has not yet read the last
//! ring (`news_read` behind `news_seq`). The ring carries a slot number and nothing else, so a full
//! ring loses nothing: whoever looks at the slot sees all there is.

mod bearing;
mod facts;
mod inherit;
mod kernel;
mod rules;
#[cfg(test)]
mod tests;
mod user;
mod word;

pub use bearing::{Bearing, bearing, beats};
pub use facts::{FactWords, Facts};
use rules::RuleWords;
pub use rules::{LeaseMode, Rules, Transport};
pub use user::{Heard, Standing, Surroundings};
pub use word::Word;

/// What the kernel program writes.
///
/// ```text
///   0 seen_ns     8 other_ns   16 beaten      24 news_seq
///  32 accepted   40 lesser     48 foreign_zero 56 answered
///  64 master (source high, low, packed)   88 other (source high, low, packed)
/// 112 claim_ns  120 claim_mac
/// 128 reject_ns 136 reject_reason 144 reject source (high, low)   160 master_mac   168 late
/// 176 very_late 184 spare
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
    /// When an advert was last rejected whose sender is written down: a few a second at most.
    reject_ns: Word,
    /// Why, as its number.
    reject_reason: Word,
    reject_high: Word,
    reject_low: Word,
    /// Ethernet source of the last advert that held us down.
    master_mac: Word,
    /// Adverts of a master that came more than 1.5 of its intervals after the one before.
    late: Word,
    /// And those that came more than 2.5 after it.
    very_late: Word,
    spare: Word,
}

/// What user space writes.
///
/// ```text
///   0 lease_ns   8 epoch       16 own: MAC in bits 16-63, floor in 8-15, priority in 0-7
///  24 source high              32 source low
///  40 news_read 48 decided_ns  56 spare
///  64 rules (packed, password, group high, low)
///  96 group    104 port: MAC of the interface   112 spare
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
    /// When user space last looked before it decided to advertise: the advert it then sends has no
    /// authority over anything heard later.
    decided_ns: Word,
    reserved: Word,
    /// What it accepts.
    rules: RuleWords,
    /// The slot of its sync group, counted from one; 0 = none. Of a group's own slot only `epoch` and
    /// `beaten` are used.
    group: Word,
    /// The MAC of the interface, which differs from the one in `own` where that is a virtual one.
    port: Word,
    spare: [Word; 2],
}

/// One virtual router's slot in the `MASTER_SEEN` map.
#[repr(C, align(64))]
pub struct Slot {
    kernel: KernelHalf,
    user: UserHalf,
}

const _: () = assert!(size_of::<KernelHalf>() == 192 && size_of::<UserHalf>() == 128);

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
                reject_ns: Word::new(0),
                reject_reason: Word::new(0),
                reject_high: Word::new(0),
                reject_low: Word::new(0),
                master_mac: Word::new(0),
                late: Word::new(0),
                very_late: Word::new(0),
                spare: Word::new(0),
            },
            user: UserHalf {
                lease_ns: Word::new(0),
                epoch: Word::new(0),
                own: Word::new(0),
                source_high: Word::new(0),
                source_low: Word::new(0),
                news_read: Word::new(0),
                decided_ns: Word::new(0),
                reserved: Word::new(0),
                rules: RuleWords::new(),
                group: Word::new(0),
                port: Word::new(0),
                spare: [const { Word::new(0) }; 2],
            },
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
