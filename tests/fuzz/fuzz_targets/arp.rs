//! Frames through the kernel programs and through the same code on the host.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use xvrrp_tests::fuzz::{Kind, Twins};

thread_local! {
    static TWINS: RefCell<Twins> = RefCell::new(Twins::new());
}

fuzz_target!(|bytes: &[u8]| {
    TWINS.with_borrow_mut(|twins| twins.judge(Kind::Arp, bytes));
});
