//! The `MASTER_SEEN` array, mapped into this process: reading what the kernel heard and storing a
//! lease are plain memory accesses. Without a kernel program the slots are this process's own.

use std::{os::fd::OwnedFd, sync::Arc};

use aya::maps::MapData;
use vrrp_common::slot::Slot;

use super::{DataplaneError, mapped::Mapped};

/// All slots. Cheap to clone; the memory goes when the last clone does.
#[derive(Clone)]
pub struct SlotTable {
    mapping: Arc<Mapped<Slot>>,
}

impl SlotTable {
    pub(super) fn map(data: &MapData, len: usize) -> Result<Self, DataplaneError> {
        Ok(Self {
            mapping: Arc::new(Mapped::map("MASTER_SEEN", data, len)?),
        })
    }

    /// The slots of another daemon, from the descriptor that it has handed over.
    ///
    /// # Errors
    ///
    /// [`DataplaneError`] where it is no array of slots of our layout.
    pub fn of_another(descriptor: OwnedFd) -> Result<Self, DataplaneError> {
        let data = MapData::from_fd(descriptor).map_err(DataplaneError::map("MASTER_SEEN"))?;
        let info = data.info().map_err(DataplaneError::map("MASTER_SEEN"))?;
        let entries = usize::try_from(info.max_entries()).unwrap_or_default();
        Self::map(&data, entries)
    }

    /// Slots that no kernel program shares.
    pub(super) fn own(len: usize) -> Result<Self, DataplaneError> {
        Ok(Self {
            mapping: Arc::new(Mapped::own(len)?),
        })
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot with this index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Slot> {
        self.mapping.get(index)
    }

    /// Makes a slot that nobody has an empty one.
    pub(super) fn clear(&self, index: u32) {
        self.mapping.clear(index);
    }
}
