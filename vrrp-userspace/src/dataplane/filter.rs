//! Which addresses can be ours at all, as one bit for many addresses: the kernel looks there first.

use std::collections::{HashMap, HashSet};

use aya::maps::{Array, MapData, MapError};
use vrrp_common::{
    contract::{VipKey, filter_place},
    vrrp::Source,
};

/// `VIP_FILTER`, and what is behind each of its bits.
pub(super) struct Filter {
    words: Array<MapData, u64>,
    present: HashSet<VipKey>,
    /// How many addresses share a bit, where there is one.
    sharing: HashMap<(u32, u64), u32>,
}

impl Filter {
    pub(super) fn new(words: Array<MapData, u64>) -> Self {
        Self {
            words,
            present: HashSet::new(),
            sharing: HashMap::new(),
        }
    }

    /// Before the address is in `VIPS`.
    pub(super) fn add(&mut self, key: VipKey) -> Result<(), MapError> {
        let place = place(&key);
        if self.present.insert(key) {
            *self.sharing.entry(place).or_default() += 1;
        }
        self.change(place, true)
    }

    /// After it has been taken out of `VIPS`.
    pub(super) fn remove(&mut self, key: VipKey) {
        if !self.present.remove(&key) {
            return;
        }
        let place = place(&key);
        let sharing = self.sharing.entry(place).or_default();
        *sharing = sharing.saturating_sub(1);
        if *sharing == 0 {
            self.sharing.remove(&place);
            // A bit too many costs a look, and nothing else.
            let _ = self.change(place, false);
        }
    }

    fn change(&mut self, (word, bit): (u32, u64), on: bool) -> Result<(), MapError> {
        let before = self.words.get(&word, 0)?;
        let after = if on { before | bit } else { before & !bit };
        if after == before {
            return Ok(());
        }
        self.words.set(word, after, 0)
    }
}

fn place(key: &VipKey) -> (u32, u64) {
    filter_place(Source::v6(key.address))
}
