//! Configurations.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xvrrp_tests::fuzz::config(bytes));
