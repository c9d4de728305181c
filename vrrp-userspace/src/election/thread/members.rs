//! Every virtual router by its name, in one list in the order of the names. New ones mostly come last, and
//! who is due is mostly asked for in this order: what is searched is small, and next to what was found before.

use crate::election::RouterId;

pub(super) struct Members<T> {
    list: Vec<(RouterId, Box<T>)>,
}

impl<T> Members<T> {
    pub(super) const fn new() -> Self {
        Self { list: Vec::new() }
    }

    fn place(&self, id: RouterId) -> Result<usize, usize> {
        self.list.binary_search_by_key(&id, |(id, _)| *id)
    }

    pub(super) fn get(&self, id: RouterId) -> Option<&T> {
        let (_, entry) = self.list.get(self.place(id).ok()?)?;
        Some(entry)
    }

    pub(super) fn get_mut(&mut self, id: RouterId) -> Option<&mut T> {
        let at = self.place(id).ok()?;
        let (_, entry) = self.list.get_mut(at)?;
        Some(entry)
    }

    /// Takes one in, in the place of one of the same name.
    pub(super) fn insert(&mut self, id: RouterId, entry: T) {
        let member = (id, Box::new(entry));
        match self.place(id) {
            Ok(at) => self.list[at] = member,
            Err(at) => self.list.insert(at, member),
        }
    }

    pub(super) fn remove(&mut self, id: RouterId) -> Option<T> {
        let (_, entry) = self.list.remove(self.place(id).ok()?);
        Some(*entry)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn ids(&self) -> Vec<RouterId> {
        self.list.iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.list.iter().map(|(_, entry)| &**entry)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.list.iter_mut().map(|(_, entry)| &mut **entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_found_by_name_and_listed_in_order() {
        let mut members = Members::new();
        for id in [5, 9, 2, 7] {
            members.insert(RouterId(id), id * 10);
        }
        members.insert(RouterId(7), 71);
        assert_eq!(members.ids(), [2, 5, 7, 9].map(RouterId));
        assert_eq!(members.get(RouterId(7)), Some(&71));
        assert_eq!(members.get(RouterId(3)), None);
        assert_eq!(members.remove(RouterId(5)), Some(50));
        assert_eq!(members.remove(RouterId(5)), None);
        if let Some(member) = members.get_mut(RouterId(9)) {
            *member += 1;
        }
        assert!(members.values().eq(&[20, 71, 91]));
        members.values_mut().for_each(|member| *member = 0);
        assert!(members.values().all(|member| *member == 0));
        assert_eq!(members.len(), 3);
    }
}
