//! When whom to look at. A BACKUP may be looked at a little before its Master_Down: it has mostly heard its
//! master since, and waits for another one then. So one wake-up serves all that hear the same master.

use std::collections::{BTreeMap, BTreeSet};

use crate::election::RouterId;

/// Every virtual router that waits for something.
#[derive(Default)]
pub(super) struct Agenda {
    /// Those that may be looked at early, by the slice of time that their deadline is in. To keep all of
    /// them in order would be much of what a backup at rest does.
    soft: BTreeMap<u64, Vec<RouterId>>,
    /// Those that may not, or were already.
    hard: BTreeSet<(u64, RouterId)>,
}

/// When somebody wants to be looked at, at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) at_ns: u64,
    /// And how much earlier that does no harm.
    pub(super) early_ns: u64,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at_ns: u64,
    is_soft: bool,
}

/// Nobody is looked at earlier than this before its time.
const EARLY_NS: u64 = 5_000_000;

/// How long a slice of time is. It is due when it begins, and nobody in it may be too early then.
const SLICE_NS: u64 = 1_000_000;
const _: () = assert!(SLICE_NS < EARLY_NS);

impl Agenda {
    /// Gives somebody another place, or none. Who wants the same as before was looked at in vain, and waits
    /// for its very deadline. Who was `due` a moment ago has left its place already.
    pub(super) fn put(
        &mut self,
        id: RouterId,
        (before, was_due): (Option<Place>, bool),
        wish: Option<Wish>,
    ) -> Option<Place> {
        let place = wish.map(|wish| Place {
            at_ns: wish.at_ns,
            is_soft: wish.early_ns >= EARLY_NS
                && before.is_none_or(|before| before.at_ns != wish.at_ns),
        });
        if !was_due {
            if place == before {
                return before;
            }
            if let Some(before) = before {
                self.remove(id, before);
            }
        }
        match place {
            Some(place) if place.is_soft => {
                let slice = self.soft.entry(place.at_ns / SLICE_NS).or_default();
                slice.push(id);
            }
            Some(place) => {
                self.hard.insert((place.at_ns, id));
            }
            None => {}
        }
        place
    }

    fn remove(&mut self, id: RouterId, place: Place) {
        if !place.is_soft {
            self.hard.remove(&(place.at_ns, id));
            return;
        }
        let number = place.at_ns / SLICE_NS;
        let Some(slice) = self.soft.get_mut(&number) else {
            return;
        };
        // In its order, which is mostly the one they leave in: those that go first are found first.
        if let Some(at) = slice.iter().position(|other| *other == id) {
            slice.remove(at);
        }
        if slice.is_empty() {
            self.soft.remove(&number);
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<u64> {
        let soft = self.soft.first_key_value();
        let soft = soft.map(|(number, _)| number * SLICE_NS);
        let hard = self.hard.first().map(|(at_ns, _)| *at_ns);
        soft.into_iter().chain(hard).min()
    }

    /// Whom to look at now: everybody who is due, and if there is anybody, those as well that are about to
    /// be. They leave their places, and have to be [put](Self::put) somewhere again.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<RouterId> {
        if self.next().is_none_or(|next| next > now_ns) {
            return Vec::new();
        }
        let rest = self.hard.split_off(&(now_ns + 1, RouterId(0)));
        let hard = std::mem::replace(&mut self.hard, rest);
        let mut due: Vec<RouterId> = hard.into_iter().map(|(_, id)| id).collect();
        while let Some(slice) = self.soft.first_entry() {
            let ends_ns = (slice.key() + 1) * SLICE_NS;
            if ends_ns > now_ns + EARLY_NS {
                break;
            }
            due.append(&mut slice.remove());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    const NEW: (Option<Place>, bool) = (None, false);

    fn soft(at_ns: u64) -> Wish {
        Wish {
            at_ns,
            early_ns: 10 * MS,
        }
    }

    #[test]
    fn who_is_about_to_be_due_is_looked_at_with_the_first_and_then_at_its_time() {
        let mut agenda = Agenda::default();
        let ids: Vec<RouterId> = (0..4).map(RouterId).collect();
        let places: Vec<Option<Place>> = ids
            .iter()
            .zip([100, 102, 104, 120])
            .map(|(id, ms)| agenda.put(*id, NEW, Some(soft(ms * MS))))
            .collect();
        assert_eq!(agenda.due(99 * MS), []);
        assert_eq!(agenda.next(), Some(100 * MS));
        assert_eq!(agenda.due(100 * MS), ids[..3]);
        // The first two have heard their master; the third has not, and is looked at once more.
        for (at, ms) in [200, 200, 104].into_iter().enumerate() {
            agenda.put(ids[at], (places[at], true), Some(soft(ms * MS)));
        }
        assert_eq!(agenda.next(), Some(104 * MS));
        assert_eq!(agenda.due(103 * MS), []);
        assert_eq!(agenda.due(104 * MS), ids[2..3]);
    }

    #[test]
    fn nobody_is_looked_at_too_early() {
        let mut agenda = Agenda::default();
        agenda.put(RouterId(0), NEW, Some(soft(100 * MS)));
        agenda.put(RouterId(1), NEW, Some(soft(105 * MS - 1)));
        agenda.put(RouterId(2), NEW, Some(soft(105 * MS)));
        agenda.put(RouterId(3), NEW, Some(soft(100 * MS + 300_000)));
        assert_eq!(
            agenda.next(),
            Some(100 * MS),
            "a slice is due when it begins"
        );
        assert_eq!(agenda.due(100 * MS), [0, 3, 1].map(RouterId));
        assert_eq!(agenda.next(), Some(105 * MS));
    }

    #[test]
    fn who_may_not_be_early_never_is() {
        let mut agenda = Agenda::default();
        let wish = Some(Wish {
            at_ns: 101 * MS,
            early_ns: 0,
        });
        agenda.put(RouterId(1), NEW, wish);
        let place = agenda.put(RouterId(2), NEW, Some(soft(100 * MS)));
        assert_eq!(agenda.due(100 * MS), [RouterId(2)]);
        agenda.put(RouterId(2), (place, true), Some(soft(100 * MS)));
        assert_eq!(agenda.due(101 * MS), [RouterId(2), RouterId(1)]);
        assert_eq!(agenda.next(), None, "they have left");
    }

    #[test]
    fn who_leaves_a_slice_leaves_the_others_in_it() {
        let mut agenda = Agenda::default();
        let places = [0, 1, 2].map(|id| agenda.put(RouterId(id), NEW, Some(soft(100 * MS))));
        let later = agenda.put(RouterId(1), (places[1], false), Some(soft(200 * MS)));
        assert_eq!(agenda.due(100 * MS), [0, 2].map(RouterId));
        assert_eq!(agenda.next(), Some(200 * MS));
        agenda.put(RouterId(1), (later, false), None);
        assert_eq!(agenda.next(), None, "nothing is due that nobody waits for");
    }

    #[test]
    fn who_changes_its_mind_is_in_one_place() {
        let mut agenda = Agenda::default();
        let place = agenda.put(RouterId(1), NEW, Some(soft(100 * MS)));
        let place = agenda.put(RouterId(1), (place, false), Some(soft(50 * MS)));
        assert_eq!(agenda.due(50 * MS), [RouterId(1)]);
        assert_eq!(agenda.next(), None);
        let place = agenda.put(RouterId(1), (place, true), Some(soft(90 * MS)));
        agenda.put(RouterId(1), (place, false), None);
        assert_eq!(agenda.next(), None);
    }
}
