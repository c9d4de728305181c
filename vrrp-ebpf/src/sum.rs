//! Ones' complement sums over packet memory. Short ones, which is nearly all of them, where the bytes
//! lie; longer ones by a helper of the kernel.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{btf_maps::PerCpuArray, helpers::generated::bpf_csum_diff, macros::btf_map};
use vrrp_common::checksum;

use crate::words;

/// Room for a checksum helper that cannot read packet memory of variable length.
#[btf_map]
pub static SCRATCH: PerCpuArray<[u8; SCRATCH_LEN], 1> = PerCpuArray::new();

/// A power of two above the longest VRRP message (255 IPv6 addresses: 4088 bytes).
const SCRATCH_LEN: usize = 4096;

/// The longest that is summed word by word: what eight IPv4 addresses, or two of IPv6, take in a message.
pub const SHORT: usize = 32;

/// The folded sum of `len` bytes, at most [`SHORT`] and a multiple of four, as everything is that VRRP
/// sums; `None` where the memory that can be read ends before them.
#[inline(always)]
pub fn short(data: usize, offset: usize, end: usize, len: usize) -> Option<u16> {
    let mut word = (data + unknown(offset)) as u64;
    let len = unknown(len);
    let mut total: u64 = 0;
    let mut at = 0;
    while at < SHORT && at < len {
        // Otherwise the compiler counts the rounds beforehand, with arithmetic that the verifier does not
        // allow for pointers.
        // SAFETY: registers only.
        unsafe { asm!("{0} = {0}", inout(reg) word, options(nomem, nostack, preserves_flags)) };
        let next = word + size_of::<u32>() as u64;
        if next > end as u64 {
            return None;
        }
        // SAFETY: the bounds were checked just above.
        total += unsafe { words::load_4(word as usize) };
        word = next;
        at += size_of::<u32>();
    }
    // Summed as this machine reads words; the folded sum swaps to network order as a whole.
    Some(u16::from_be(checksum::fold(checksum::fold_wide(total))))
}

/// The same number, of which the verifier no longer knows anything but that it is small. What it learns
/// from a sum is then of no use anywhere else, and it need not follow what comes after one for each length
/// anew.
#[inline(always)]
fn unknown(number: usize) -> usize {
    let mut number = number as u64;
    // SAFETY: registers only.
    unsafe {
        asm!(
            "{number} = be64 {number}",
            "{number} = be64 {number}",
            number = inout(reg) number,
        );
    }
    number as usize & SMALL
}

/// All bits of where any header that is summed can begin, and of [`SHORT`].
const SMALL: usize = 0xff;

/// The most bytes `bpf_csum_diff` took at once before Linux 6.13.
const CHUNK_LEN: usize = 512;

/// The folded sum of `len` bytes, a multiple of four, that `copy` puts into the scratch: the verifier
/// does not let `bpf_csum_diff` read packet memory of variable length.
#[inline(always)]
pub fn copied(len: usize, copy: impl FnOnce(*mut c_void, u32) -> bool) -> Option<u16> {
    let scratch = SCRATCH.get_ptr_mut(0)?.cast::<u8>();
    // The mask tells the verifier what the message length already guarantees.
    let len = core::hint::black_box(len) & (SCRATCH_LEN - 1);
    if len == 0 {
        return Some(0);
    }
    if !copy(scratch.cast(), len as u32) {
        return None;
    }
    let mut sum = 0;
    let mut start = 0;
    while start < SCRATCH_LEN && start < len {
        let chunk = core::hint::black_box(len - start).min(CHUNK_LEN);
        // SAFETY: the scratch is SCRATCH_LEN bytes, a multiple of the chunk's length.
        let next = unsafe {
            let chunk_start = scratch.add(start).cast();
            bpf_csum_diff(core::ptr::null_mut(), 0, chunk_start, chunk as u32, sum)
        };
        if next < 0 {
            return None;
        }
        sum = next as u32;
        start += CHUNK_LEN;
    }
    // The helper sums host-order words; the folded sum swaps to network order as a whole.
    Some(u16::from_be(checksum::fold(sum)))
}
