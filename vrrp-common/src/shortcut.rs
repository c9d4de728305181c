//! A shorter way to what leads to a slot than a hash table: the kernel looks at one place of an array, and
//! only where several share that place into the table behind it.
//!
//! A place belongs to the first key that comes there, for as long as the maps live. So a key, once it is
//! there, never changes, and everything that does is in one word: no reader can see half of a change. Keys
//! that come to the place of another are in the table alone, and the place says so.

use crate::{
    contract::{Family, SPREAD, VipKey, VridKey},
    slot::Word,
};

/// Places for virtual routers.
pub const VRID_PLACES: usize = 256 * BLOCKS as usize;
/// Blocks of them, of a place for each VRID.
const BLOCKS: u32 = 64;
/// Places for addresses.
pub const VIP_PLACES: usize = 1 << 14;

/// Somebody has come to this place, and its key is written.
const TAKEN: u64 = 1 << 48;
/// That key leads somewhere.
const LEADS: u64 = 1 << 49;
/// Other keys have come to this place.
const SHARED: u64 = 1 << 50;

/// One place. Its key has so many words.
#[repr(C)]
pub struct Shortcut<const WORDS: usize> {
    /// The slot in bits 0 to 31, the row in 32 to 47, and what is said above.
    target: Word,
    key: [Word; WORDS],
}

/// What a place says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It leads to this slot, and this row of counters.
    Leads(u32, u16),
    /// It leads nowhere.
    Nowhere,
    /// The table knows.
    AskTable,
}

impl<const WORDS: usize> Shortcut<WORDS> {
    /// A place that nobody has come to.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            target: Word::new(0),
            key: [const { Word::new(0) }; WORDS],
        }
    }

    #[inline(always)]
    fn is_of(&self, key: &[u64; WORDS]) -> bool {
        let words = self.key.iter().zip(key);
        words.fold(0, |differs, (word, value)| differs | (word.load() ^ value)) == 0
    }

    /// Where a key leads. The target is read first, and was written after the key.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "fields of the word")]
    pub fn find(&self, key: &[u64; WORDS]) -> Answer {
        let target = self.target.load();
        if target & LEADS != 0 && self.is_of(key) {
            Answer::Leads(target as u32, (target >> 32) as u16)
        } else if target & SHARED == 0 {
            Answer::Nowhere
        } else {
            Answer::AskTable
        }
    }

    /// Makes a key lead to a slot and a row, after the table does.
    pub fn lead(&self, key: &[u64; WORDS], slot: u32, row: u16) {
        let before = self.target.load();
        if before & TAKEN == 0 {
            for (word, value) in self.key.iter().zip(key) {
                word.store(*value);
            }
        } else if !self.is_of(key) {
            self.target.store(before | SHARED);
            return;
        }
        let target = u64::from(row) << 32 | u64::from(slot);
        self.target.store(before & SHARED | TAKEN | LEADS | target);
    }

    /// Makes a key lead nowhere any longer, before the table does. The place stays its own.
    pub fn forget(&self, key: &[u64; WORDS]) {
        let before = self.target.load();
        if before & LEADS != 0 && self.is_of(key) {
            self.target.store(before & SHARED | TAKEN);
        }
    }

    /// Leaves a key to the table, which can say more of it.
    pub fn leave_to_table(&self, key: &[u64; WORDS]) {
        self.forget(key);
        self.target.store(self.target.load() | SHARED);
    }
}

impl<const WORDS: usize> Default for Shortcut<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of a virtual router, and its key. Those of an interface are side by side, and those of
/// interfaces that were made one after the other too.
#[inline(always)]
#[must_use]
pub const fn of_vrid(key: VridKey) -> (u32, [u64; 1]) {
    let family = if key.family == Family::V6 as u8 {
        BLOCKS / 2
    } else {
        0
    };
    let block = key
        .ifindex
        .wrapping_add(family)
        .wrapping_add(7 * key.vlan as u32)
        % BLOCKS;
    let word = key.ifindex as u64
        | (key.vlan as u64) << 32
        | (key.family as u64) << 48
        | (key.vrid as u64) << 56;
    (256 * block + key.vrid as u32, [word])
}

/// The place of an address, and its key.
#[inline(always)]
#[must_use]
pub fn of_vip(key: VipKey) -> (u32, [u64; 3]) {
    const _: () = assert!(VIP_PLACES == 1 << 14);
    let [first, high, low]: [u64; 3] = bytemuck::cast(key);
    let mixed = (first ^ high ^ low.rotate_left(32)).wrapping_mul(SPREAD);
    ((mixed >> 50) as u32, [first, high, low])
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeSet, HashMap},
        net::IpAddr,
    };

    use proptest::prelude::*;

    use super::*;
    use crate::vrrp::Source;

    #[test]
    fn a_place_leads_where_it_was_told_and_nobody_else_anywhere() {
        let place = Shortcut::<1>::new();
        assert_eq!(place.find(&[0]), Answer::Nowhere);
        place.lead(&[5], 7, 3);
        assert_eq!(place.find(&[5]), Answer::Leads(7, 3));
        assert_eq!(place.find(&[6]), Answer::Nowhere);
        place.lead(&[6], 8, 3);
        assert_eq!(place.find(&[5]), Answer::Leads(7, 3));
        assert_eq!(place.find(&[6]), Answer::AskTable);
        place.forget(&[6]);
        assert_eq!(place.find(&[5]), Answer::Leads(7, 3), "it is not its place");
        place.forget(&[5]);
        assert_eq!(place.find(&[5]), Answer::AskTable);
        place.lead(&[5], u32::MAX, u16::MAX);
        assert_eq!(place.find(&[5]), Answer::Leads(u32::MAX, u16::MAX));
        place.leave_to_table(&[5]);
        assert_eq!(place.find(&[5]), Answer::AskTable);
    }

    #[test]
    fn keys_that_differ_alike_in_two_words_differ() {
        let place = Shortcut::<3>::new();
        place.lead(&[1, 1, 0], 7, 3);
        assert_eq!(place.find(&[0, 0, 0]), Answer::Nowhere);
        assert_eq!(place.find(&[1, 1, 0]), Answer::Leads(7, 3));
    }

    #[test]
    fn nobody_takes_a_place_by_being_forgotten() {
        let place = Shortcut::<1>::new();
        place.forget(&[0]);
        place.lead(&[5], 7, 3);
        assert_eq!(place.find(&[5]), Answer::Leads(7, 3));
    }

    #[test]
    fn who_is_left_to_the_table_is_asked_for_there() {
        let place = Shortcut::<1>::new();
        place.leave_to_table(&[5]);
        assert_eq!(place.find(&[5]), Answer::AskTable);
        place.lead(&[5], 7, 3);
        assert_eq!(place.find(&[5]), Answer::Leads(7, 3));
    }

    #[test]
    fn virtual_routers_of_neighbouring_interfaces_have_places_of_their_own() {
        let places: BTreeSet<u32> = [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| (40..72).map(move |ifindex| (family, ifindex)))
            .flat_map(|(family, ifindex)| {
                (1..=255).map(move |id| of_vrid(VridKey::new(family, ifindex, 0, id)).0)
            })
            .collect();
        assert_eq!(places.len(), 2 * 32 * 255);
        assert!(places.iter().all(|place| (*place as usize) < VRID_PLACES));
    }

    #[test]
    fn virtual_routers_of_neighbouring_vlans_have_places_of_their_own() {
        let places: BTreeSet<u32> = (10..14)
            .flat_map(|ifindex| (0..8).map(move |vlan| (ifindex, vlan)))
            .flat_map(|(ifindex, vlan)| {
                (1..=255).map(move |id| of_vrid(VridKey::new(Family::V4, ifindex, vlan, id)).0)
            })
            .collect();
        assert_eq!(places.len(), 4 * 8 * 255);
    }

    #[test]
    fn no_two_virtual_routers_have_the_same_key() {
        let (interfaces, vlans, ids) = ([0, 1, 70_000, u32::MAX], [0, 1, 4094], [1, 4, 255]);
        let families = [Family::V4, Family::V6];
        let keys: BTreeSet<[u64; 1]> = interfaces
            .into_iter()
            .flat_map(|ifindex| vlans.map(|vlan| (ifindex, vlan)))
            .flat_map(|(ifindex, vlan)| families.map(|family| (ifindex, vlan, family)))
            .flat_map(|(ifindex, vlan, family)| {
                ids.map(|id| of_vrid(VridKey::new(family, ifindex, vlan, id)).1)
            })
            .collect();
        assert_eq!(keys.len(), 4 * 3 * 2 * 3);
    }

    #[test]
    fn most_addresses_have_a_place_of_their_own() {
        let of = |prefix: IpAddr| {
            let places: BTreeSet<u32> = (0..4080)
                .map(|number| {
                    let mut address = Source::of(prefix);
                    match Family::of(prefix) {
                        Family::V4 => address.high += u64::from(number) << 32,
                        Family::V6 => address.low += u64::from(number),
                    }
                    of_vip(VipKey::new(
                        Family::of(prefix),
                        10 + number / 255,
                        0,
                        address,
                    ))
                    .0
                })
                .collect();
            assert!(places.iter().all(|place| (*place as usize) < VIP_PLACES));
            places.len()
        };
        for prefix in ["10.100.0.0", "2001:db8::", "fe80::", "fd00:abcd::"] {
            let places = of(prefix.parse().unwrap());
            assert!(places > 3500, "{places} of 4080 in {prefix}");
        }
    }

    proptest! {
        /// Whatever comes and goes: with the table behind it, a place says what the table alone says.
        #[test]
        fn a_shortcut_never_contradicts_the_table(
            changes in proptest::collection::vec((0_u64..6, 0_u32..4, 0_u8..4), 0..60)
        ) {
            let (place, mut table) = (Shortcut::<1>::new(), HashMap::new());
            for (key, slot, what) in changes {
                match what {
                    0 => {
                        place.forget(&[key]);
                        table.remove(&key);
                    }
                    1 => {
                        table.insert(key, (slot, 0));
                        place.leave_to_table(&[key]);
                    }
                    _ => {
                        table.insert(key, (slot, 1));
                        place.lead(&[key], slot, 1);
                    }
                }
                for key in 0..6 {
                    let expected = table.get(&key).copied();
                    match place.find(&[key]) {
                        Answer::Leads(slot, row) => prop_assert_eq!(expected, Some((slot, row))),
                        Answer::Nowhere => prop_assert_eq!(expected, None),
                        Answer::AskTable => {}
                    }
                }
            }
        }
    }
}
