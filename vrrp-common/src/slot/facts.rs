//! What an advert said, packed into words.

use super::Word;
use crate::vrrp::{Advert, ChecksumForm, Source};

/// What an advert said, in three words. Written only when it differs from the one before.
#[repr(C)]
pub struct FactWords {
    pub(super) high: Word,
    pub(super) low: Word,
    pub(super) packed: Word,
}

/// What an advert said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    pub(super) const fn pack(&self) -> u64 {
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
    pub(super) const fn unpack(source: Source, packed: u64) -> Self {
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
    pub(super) const fn new() -> Self {
        Self {
            high: Word::new(0),
            low: Word::new(0),
            packed: Word::new(0),
        }
    }

    #[inline(always)]
    pub(super) fn source(&self) -> Source {
        Source {
            high: self.high.load(),
            low: self.low.load(),
        }
    }

    #[inline(always)]
    pub(super) fn load(&self) -> Facts {
        Facts::unpack(self.source(), self.packed.load())
    }

    /// Stores `facts` and says whether they are news.
    #[inline(always)]
    pub(super) fn replace(&self, facts: &Facts) -> bool {
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
