//! Requests to the control interface, and files of a daemon before.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xvrrp_tests::fuzz::control(bytes));
