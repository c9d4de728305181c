//! One word of a slot: plain 8-byte accesses, the same in the kernel and on the host.

#[cfg(target_arch = "bpf")]
use core::cell::UnsafeCell;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

/// One 8-byte word that one side writes and both read.
#[repr(transparent)]
pub struct Word(
    #[cfg(target_arch = "bpf")] UnsafeCell<u64>,
    #[cfg(not(target_arch = "bpf"))] AtomicU64,
);

// SAFETY: on BPF an aligned 8-byte access is a single instruction; this is the kernel's own
// contract for map values shared between CPUs.
#[cfg(target_arch = "bpf")]
unsafe impl Sync for Word {}

impl Word {
    /// A word holding `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        #[cfg(target_arch = "bpf")]
        return Self(UnsafeCell::new(value));
        #[cfg(not(target_arch = "bpf"))]
        return Self(AtomicU64::new(value));
    }

    /// Reads the word.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: the cell is valid and aligned; see `Sync` above.
        #[cfg(target_arch = "bpf")]
        return unsafe { self.0.get().read_volatile() };
        #[cfg(not(target_arch = "bpf"))]
        return self.0.load(Ordering::SeqCst);
    }

    /// Writes the word.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: as in `load`.
        #[cfg(target_arch = "bpf")]
        return unsafe { self.0.get().write_volatile(value) };
        #[cfg(not(target_arch = "bpf"))]
        return self.0.store(value, Ordering::SeqCst);
    }

    /// Writes the word unless it has that value: a cache line that nobody writes stays where it is read.
    #[inline(always)]
    pub(super) fn replace(&self, value: u64) {
        if self.load() != value {
            self.store(value);
        }
    }

    #[inline(always)]
    pub(super) fn add_one(&self) {
        self.store(self.load().wrapping_add(1));
    }
}
