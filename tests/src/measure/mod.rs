//! `cargo xtask bench`: xvrrp and keepalived do the same work in the same namespaces, by turns. Ratios of
//! the same run, medians of several rounds, the spread beside them.

mod arrivals;
mod bare;
mod bytecode;
mod contestant;
mod echoes;
mod failover;
mod field;
mod flood;
mod kernel;
mod life;
mod parts;
mod plots;
mod report;
mod spinner;
mod steady;

use std::{path::Path, time::Duration};

pub use contestant::{MAKERS, Maker, Work};
pub use failover::Failover;
pub use flood::Flood;
pub use kernel::Kernel;
pub use life::Life;
pub use report::Report;
pub use spinner::Calibration;
pub use steady::Steady;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long each time at rest.
    pub time: Duration,
    /// How often everything is repeated.
    pub rounds: u32,
    /// Failovers in each round; of a single virtual router more, for it has one address only.
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

/// So many failovers of a single virtual router for each of many.
const SINGLE: u32 = 20;
/// More rounds than these are for the routers alone: how much the bare loop takes is known by then.
const BARE_ROUNDS: u32 = 3;
/// How long a flood may last.
const LONGEST_FLOOD: Duration = Duration::from_secs(20);

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

/// What starts, reloads and stops.
const LIFE: [Work; 2] = [work(1, 255, 10), work(16, 255, 10)];
/// What is flooded, with what.
const FLOOD: [(Work, flood::Kind); 2] = [
    (work(1, 255, 10), flood::Kind::Adverts),
    (work(1, 255, 100), flood::Kind::Questions),
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
    let mut bench = Bench {
        plan: *plan,
        makers,
        named,
        directory,
        report: Report::default(),
    };
    bench.kernel()?;
    bench.at_rest()?;
    bench.failovers()?;
    bench.lives()?;
    bench.floods()?;
    println!("{}", bench.report);
    Ok(())
}

struct Bench<'a> {
    plan: Plan,
    makers: &'a [Maker],
    named: &'a [String],
    directory: &'a Path,
    report: Report,
}

impl Bench<'_> {
    fn is_wanted(&self, name: &str) -> bool {
        self.named.is_empty() || self.named.iter().any(|it| name.contains(&**it))
    }

    /// Every maker by turns, as often as the plan has rounds.
    fn by_turns<T>(
        &mut self,
        name: &str,
        measure: impl Fn(Maker) -> T,
        add: impl Fn(&mut Report, &str, T),
    ) {
        for _ in 0..self.plan.rounds {
            self.turn(name, &measure, &add);
        }
    }

    /// One round. Others may do the work where one cannot.
    fn turn<T>(
        &mut self,
        name: &str,
        measure: impl Fn(Maker) -> T,
        add: impl Fn(&mut Report, &str, T),
    ) {
        for maker in self.makers.iter().copied() {
            match tried(|| measure(maker)) {
                Ok(measured) => add(&mut self.report, name, measured),
                Err(why) => self.report.leave_out(name, maker, why),
            }
        }
    }

    fn kernel(&mut self) -> anyhow::Result<()> {
        if self.is_wanted("kernel") {
            self.report.add_kernel(kernel::measure());
            self.report.write(self.directory)?;
        }
        Ok(())
    }

    fn at_rest(&mut self) -> anyhow::Result<()> {
        let time = self.plan.time;
        for work in STEADY {
            let name = format!("steady {work}");
            if self.is_wanted(&name) {
                self.report.add_calibration(spinner::calibrate(time / 2));
                for round in 0..self.plan.rounds {
                    if round < BARE_ROUNDS {
                        let share = steady::measure_bare(work, time);
                        self.report.add_bare(&name, share);
                    }
                    let measure = |maker| steady::measure(maker, work, time);
                    self.turn(&name, measure, Report::add_steady);
                }
                self.report.write(self.directory)?;
            }
        }
        Ok(())
    }

    fn failovers(&mut self) -> anyhow::Result<()> {
        for work in FAILOVER {
            let name = format!("failover {work}");
            if self.is_wanted(&name) {
                let count = match work.routers() {
                    1 => self.plan.failovers * SINGLE,
                    _ => self.plan.failovers,
                };
                let measure = |maker| failover::measure(maker, work, count);
                self.by_turns(&name, measure, Report::add_failover);
                self.report.write(self.directory)?;
            }
        }
        Ok(())
    }

    fn lives(&mut self) -> anyhow::Result<()> {
        for work in LIFE {
            let name = format!("life {work}");
            if self.is_wanted(&name) {
                self.by_turns(&name, |maker| life::measure(maker, work), Report::add_life);
                self.report.write(self.directory)?;
            }
        }
        Ok(())
    }

    fn floods(&mut self) -> anyhow::Result<()> {
        let time = self.plan.time.min(LONGEST_FLOOD);
        for (work, kind) in FLOOD {
            let name = format!("flood of {kind}, {work}");
            if self.is_wanted(&name) {
                let measure = |maker| flood::measure(maker, work, kind, time);
                self.by_turns(&name, measure, Report::add_flood);
                self.report.write(self.directory)?;
            }
        }
        Ok(())
    }
}

/// What came out, or why not, where the maker could not do the work: others may.
fn tried<T>(measure: impl FnOnce() -> T) -> Result<T, String> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(measure));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        text.unwrap_or_else(|| "see above".to_owned())
    })
}

/// Nanoseconds of something in a time.
fn ratio(ns: u64, time: Duration) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}
