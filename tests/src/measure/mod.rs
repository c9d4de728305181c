//! `cargo xtask bench`: xvrrp and keepalived do the same work in the same namespaces, by turns. Ratios of
//! the same run, medians of several rounds, the spread beside them.

mod arrivals;
mod bare;
mod bytecode;
mod contestant;
mod echoes;
mod failover;
mod field;
mod kernel;
mod parts;
mod plots;
mod report;
mod spinner;
mod steady;

use std::{path::Path, time::Duration};

pub use contestant::{MAKERS, Maker, Work};
pub use failover::Failover;
pub use kernel::Kernel;
pub use report::Report;
pub use steady::Steady;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long each time at rest.
    pub time: Duration,
    /// How often everything is repeated.
    pub rounds: u32,
    /// Failovers in each round.
    pub failovers: u32,
}

impl Plan {
    /// A look.
    pub const QUICK: Self = Self {
        time: Duration::from_secs(10),
        rounds: 1,
        failovers: 2,
    };
    /// What figures are quoted from.
    pub const FULL: Self = Self {
        time: Duration::from_mins(1),
        rounds: 3,
        failovers: 5,
    };
}

const fn work(interfaces: u8, each: u8, interval_cs: u16) -> Work {
    Work {
        interfaces,
        each,
        interval_cs,
    }
}

/// What is measured at rest.
const STEADY: [Work; 3] = [work(1, 255, 1), work(4, 255, 1), work(16, 255, 10)];
/// What fails over.
const FAILOVER: [Work; 5] = [
    work(1, 1, 1),
    work(1, 1, 10),
    work(1, 255, 1),
    work(1, 255, 10),
    work(16, 255, 10),
];

/// Measures what is named, or everything, and writes the report down after each step.
///
/// # Errors
///
/// When the report cannot be written.
pub fn run(
    plan: &Plan,
    makers: &[Maker],
    named: &[String],
    directory: &Path,
) -> anyhow::Result<()> {
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|it| name.contains(&**it));
    let mut report = Report::default();
    if is_wanted("kernel") {
        report.add_kernel(kernel::measure());
        report.write(directory)?;
    }
    for work in STEADY {
        let name = format!("steady {work}");
        if is_wanted(&name) {
            for _ in 0..plan.rounds {
                report.add_bare(&name, steady::measure_bare(work, plan.time));
                for maker in makers.iter().copied() {
                    if let Some(measured) =
                        tried(&name, maker, || steady::measure(maker, work, plan.time))
                    {
                        report.add_steady(&name, measured);
                    }
                }
            }
            report.write(directory)?;
        }
    }
    for work in FAILOVER {
        let name = format!("failover {work}");
        if is_wanted(&name) {
            for _ in 0..plan.rounds {
                for maker in makers.iter().copied() {
                    if let Some(measured) = tried(&name, maker, || {
                        failover::measure(maker, work, plan.failovers)
                    }) {
                        report.add_failover(&name, measured);
                    }
                }
            }
            report.write(directory)?;
        }
    }
    println!("{report}");
    Ok(())
}

/// What came out, or nothing where the maker could not do the work: others may.
fn tried<T>(name: &str, maker: Maker, measure: impl FnOnce() -> T) -> Option<T> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(measure));
    if outcome.is_err() {
        println!("{name}: {maker}: no figures, see above");
    }
    outcome.ok()
}

/// Nanoseconds of something in a time.
fn ratio(ns: u64, time: Duration) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}
