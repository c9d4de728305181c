//! How the election thread is scheduled: `vrrp_rt_priority` and its like in `global_defs`.

use super::value;
use crate::{
    config::{diagnostics::Diagnostics, tree::Node},
    election::Scheduling,
};

/// The CPUs that a set can name.
const LAST_CPU: usize = 1023;

/// Says whether the keyword is one of them.
pub(super) fn read(
    node: &Node,
    scheduling: &mut Scheduling,
    diagnostics: &mut Diagnostics,
) -> bool {
    match node.keyword() {
        "vrrp_rt_priority" => {
            if let Some(priority) = value::number(node, 0..=99, diagnostics) {
                scheduling.rt_priority = priority;
            }
        }
        "vrrp_priority" => {
            if let Some(nice) = value::number(node, -20..=19, diagnostics) {
                scheduling.nice = Some(nice);
            }
        }
        "vrrp_rlimit_rttime" | "vrrp_rlimit_rtime" => {
            if let Some(limit) = value::number(node, 1..=1_000_000_000, diagnostics) {
                scheduling.rttime_limit_us = Some(limit);
            }
        }
        "vrrp_no_swap" => {
            scheduling.no_swap = value::flag(node, diagnostics).unwrap_or(false);
        }
        "vrrp_cpu_affinity" => {
            let cpus = node.arguments().iter();
            let cpus = cpus.filter_map(|word| {
                value::number_of(node.keyword(), word, 0..=LAST_CPU, diagnostics)
            });
            scheduling.cpus = cpus.collect();
        }
        _ => return false,
    }
    true
}
