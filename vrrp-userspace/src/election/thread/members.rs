//! Every virtual router by its name, in one list in the order of the names. New ones mostly come last, and
//! who is due is mostly asked for in this order: what is searched is small, and next to what was found before.

use super::Entry;
use crate::election::RouterId;

#[derive(Default)]
pub(super) struct Members {
    list: Vec<(RouterId, Box<Entry>)>,
}

impl Members {
    fn place(&self, id: RouterId) -> Result<usize, usize> {
        self.list.binary_search_by_key(&id, |(id, _)| *id)
    }

    pub(super) fn get(&self, id: RouterId) -> Option<&Entry> {
        let (_, entry) = self.list.get(self.place(id).ok()?)?;
        Some(entry)
    }

    pub(super) fn get_mut(&mut self, id: RouterId) -> Option<&mut Entry> {
        let at = self.place(id).ok()?;
        let (_, entry) = self.list.get_mut(at)?;
        Some(entry)
    }

    /// Takes one in, in the place of one of the same name.
    pub(super) fn insert(&mut self, id: RouterId, entry: Entry) {
        let member = (id, Box::new(entry));
        match self.place(id) {
            Ok(at) => self.list[at] = member,
            Err(at) => self.list.insert(at, member),
        }
    }

    pub(super) fn remove(&mut self, id: RouterId) -> Option<Entry> {
        let (_, entry) = self.list.remove(self.place(id).ok()?);
        Some(*entry)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn ids(&self) -> Vec<RouterId> {
        self.list.iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.list.iter().map(|(_, entry)| &**entry)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.list.iter_mut().map(|(_, entry)| &mut **entry)
    }
}
