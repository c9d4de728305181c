//! The `MASTER_SEEN` array, mapped into this process: reading what the kernel heard and storing a
//! lease are plain memory accesses. Without a kernel program the slots are this process's own.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd as _, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::maps::MapData;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vrrp_common::slot::Slot;

use super::DataplaneError;

/// All slots. Cheap to clone; the memory goes when the last clone does.
#[derive(Clone)]
pub struct SlotTable {
    mapping: Arc<Mapping>,
}

struct Mapping {
    start: NonNull<Slot>,
    len: usize,
}

// SAFETY: a slot consists of words that are accessed atomically (`vrrp_common::slot::Word`).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl SlotTable {
    pub(super) fn map(data: &MapData, len: usize) -> Result<Self, DataplaneError> {
        let info = data.info().map_err(DataplaneError::map("MASTER_SEEN"))?;
        let fits = usize::try_from(info.value_size()).is_ok_and(|size| size == size_of::<Slot>())
            && usize::try_from(info.max_entries()).is_ok_and(|entries| entries == len);
        let bytes = NonZeroUsize::new(len * size_of::<Slot>()).filter(|_| fits);
        let bytes = bytes.ok_or(DataplaneError::Missing("array MASTER_SEEN of this layout"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh shared mapping of a BPF array; nothing else lives at that address.
        let start = unsafe {
            mmap(
                None,
                bytes,
                protection,
                MapFlags::MAP_SHARED,
                data.fd().as_fd(),
                0,
            )
        }
        .map_err(|errno| DataplaneError::Mmap(errno.into()))?;
        Ok(Self::new(start.cast(), len))
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
        let bytes = NonZeroUsize::new(len * size_of::<Slot>()).ok_or(DataplaneError::Full(len))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping of zeroes, which is what empty slots are.
        let start = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE) }
            .map_err(|errno| DataplaneError::Mmap(errno.into()))?;
        Ok(Self::new(start.cast(), len))
    }

    fn new(start: NonNull<Slot>, len: usize) -> Self {
        Self {
            mapping: Arc::new(Mapping { start, len }),
        }
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot with this index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Slot> {
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < self.mapping.len)?;
        // SAFETY: inside the mapping, which is page-aligned and so 64-byte aligned, lives as long
        // as `self`, and holds words that any bit pattern is valid for.
        Some(unsafe { self.mapping.start.add(index).as_ref() })
    }

    /// Makes a slot that nobody has an empty one.
    pub(super) fn clear(&self, index: u32) {
        const WORDS: usize = size_of::<Slot>() / size_of::<AtomicU64>();
        let Some(slot) = self.get(index) else {
            return;
        };
        let words = std::ptr::from_ref(slot).cast::<AtomicU64>();
        // SAFETY: a slot consists of words of eight bytes that are accessed atomically
        // (`vrrp_common::slot::Word`), and nothing else.
        let words = unsafe { std::slice::from_raw_parts(words, WORDS) };
        for word in words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `SlotTable::map` or `own` with this length, and no reference outlives `self`.
        // A failure could only leak the mapping.
        let _ = unsafe { munmap(self.start.cast(), self.len * size_of::<Slot>()) };
    }
}
