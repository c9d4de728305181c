//! An array map of the kernel programs in this process's memory: reading what they wrote and storing what
//! they read are plain memory accesses.

use std::{
    num::NonZeroUsize,
    os::fd::AsFd as _,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vrrp_common::{shortcut::Shortcut, slot::Slot};

use super::DataplaneError;

/// What may lie in such an array.
///
/// # Safety
///
/// It consists of words of eight bytes that are accessed atomically (`vrrp_common::slot::Word`), and nothing
/// else; zeroes are a value of it; a page is aligned well enough for it.
pub(super) unsafe trait Words: Sized {}

// SAFETY: words, all of it, at 64 bytes.
unsafe impl Words for Slot {}
// SAFETY: words, all of it.
unsafe impl<const N: usize> Words for Shortcut<N> {}

/// The array.
pub(super) struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it holds words that are accessed atomically.
unsafe impl<T: Words> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Words> Sync for Mapped<T> {}

impl<T: Words> Mapped<T> {
    /// The array map of that name, which must have that many values of that size.
    pub(super) fn map(
        name: &'static str,
        data: &MapData,
        len: usize,
    ) -> Result<Self, DataplaneError> {
        let info = data.info().map_err(DataplaneError::map(name))?;
        let fits = usize::try_from(info.value_size()).is_ok_and(|size| size == size_of::<T>())
            && usize::try_from(info.max_entries()).is_ok_and(|entries| entries == len);
        let bytes = NonZeroUsize::new(len * size_of::<T>()).filter(|_| fits);
        let bytes = bytes.ok_or(DataplaneError::Missing(name))?;
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
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// One that no kernel program shares.
    pub(super) fn own(len: usize) -> Result<Self, DataplaneError> {
        let bytes = NonZeroUsize::new(len * size_of::<T>()).ok_or(DataplaneError::Full(len))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping of zeroes, which are a value.
        let start = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE) }
            .map_err(|errno| DataplaneError::Mmap(errno.into()))?;
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let index = usize::try_from(index)
            .ok()
            .filter(|index| *index < self.len)?;
        // SAFETY: inside the mapping, which is page-aligned, lives as long as `self`, and holds words that any
        // bit pattern is valid for.
        Some(unsafe { self.start.add(index).as_ref() })
    }

    /// Makes one zero.
    pub(super) fn clear(&self, index: u32) {
        let Some(value) = self.get(index) else {
            return;
        };
        let words = std::ptr::from_ref(value).cast::<AtomicU64>();
        // SAFETY: it consists of words of eight bytes that are accessed atomically, and nothing else.
        let words =
            unsafe { std::slice::from_raw_parts(words, size_of::<T>() / size_of::<AtomicU64>()) };
        for word in words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` or `own` with this length, and no reference outlives `self`. A failure could
        // only leak the mapping.
        let _ = unsafe { munmap(self.start.cast(), self.len * size_of::<T>()) };
    }
}
