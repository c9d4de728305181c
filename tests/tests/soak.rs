//! A short soak; `cargo xtask soak --minutes N` goes on for longer.

use std::time::Duration;

use xvrrp_tests::{
    rounds,
    soak::{Plan, run},
    wall_ns,
};

#[test]
fn one_fault_after_another() {
    let seconds = rounds(30, 1800) as u64;
    let plan = Plan {
        time: Duration::from_secs(seconds),
        seed: wall_ns(),
    };
    if let Err(wrong) = run(&plan) {
        panic!("seed {}: {wrong}", plan.seed);
    }
}
