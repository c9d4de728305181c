//! Memory of a packet in the widest pieces there are, wherever they begin. The machines that BPF is compiled
//! for here read and write words at any address; the compiler does not count on it and would take byte
//! after byte.

use core::{arch::asm, mem::MaybeUninit};

use vrrp_common::frame::Wire;

macro_rules! piece {
    ($load:ident, $store:ident, $kind:ty, $size:literal) => {
        /// The piece in a whole register: a load leaves zeros above it, but of a smaller number the compiler
        /// would clear them again.
        ///
        /// # Safety
        ///
        /// The address is that of memory the program may read.
        #[inline(always)]
        pub unsafe fn $load(address: usize) -> u64 {
            let value: u64;
            // SAFETY: by the caller.
            unsafe {
                asm!(
                    concat!("{value} = *(", $size, " *)({address} + 0)"),
                    value = out(reg) value,
                    address = in(reg) address as u64,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            value
        }

        /// # Safety
        ///
        /// The address is that of memory the program may write.
        #[inline(always)]
        unsafe fn $store(address: usize, value: $kind) {
            // SAFETY: by the caller.
            unsafe {
                asm!(
                    concat!("*(", $size, " *)({address} + 0) = {value}"),
                    value = in(reg) u64::from(value),
                    address = in(reg) address as u64,
                    options(nostack, preserves_flags),
                );
            }
        }
    };
}

piece!(load_8, store_8, u64, "u64");
piece!(load_4, store_4, u32, "u32");
piece!(load_2, store_2, u16, "u16");
piece!(load_1, store_1, u8, "u8");

/// Reads a value.
///
/// # Safety
///
/// The address is that of memory the program may read, as long as the value.
#[inline(always)]
pub unsafe fn read<T: Wire>(address: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let place = value.as_mut_ptr().cast::<u8>();
    let mut at = 0;
    // SAFETY: every piece lies inside the value, here and there, and `Wire` allows every bit pattern.
    unsafe {
        while at + 8 <= size_of::<T>() {
            place
                .add(at)
                .cast::<u64>()
                .write_unaligned(load_8(address + at));
            at += 8;
        }
        if at + 4 <= size_of::<T>() {
            place
                .add(at)
                .cast::<u32>()
                .write_unaligned(load_4(address + at) as u32);
            at += 4;
        }
        if at + 2 <= size_of::<T>() {
            place
                .add(at)
                .cast::<u16>()
                .write_unaligned(load_2(address + at) as u16);
            at += 2;
        }
        if at < size_of::<T>() {
            place.add(at).write(load_1(address + at) as u8);
        }
        value.assume_init()
    }
}

/// Writes a value.
///
/// # Safety
///
/// The address is that of memory the program may write, as long as the value.
#[inline(always)]
pub unsafe fn write<T: Wire>(address: usize, value: &T) {
    let place = core::ptr::from_ref(value).cast::<u8>();
    let mut at = 0;
    // SAFETY: every piece lies inside the value, here and there, and `Wire` has no padding.
    unsafe {
        while at + 8 <= size_of::<T>() {
            store_8(address + at, place.add(at).cast::<u64>().read_unaligned());
            at += 8;
        }
        if at + 4 <= size_of::<T>() {
            store_4(address + at, place.add(at).cast::<u32>().read_unaligned());
            at += 4;
        }
        if at + 2 <= size_of::<T>() {
            store_2(address + at, place.add(at).cast::<u16>().read_unaligned());
            at += 2;
        }
        if at < size_of::<T>() {
            store_1(address + at, place.add(at).read());
        }
    }
}
