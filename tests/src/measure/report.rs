//! What came out: a table to read, and JSON.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use super::{Calibration, Failover, Flood, Kernel, Life, MAKERS, Maker, Steady, plots};

/// Everything that was measured, by the name of the work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The kernel programs, frame by frame.
    kernel: Option<Kernel>,
    steady: BTreeMap<String, Vec<Steady>>,
    /// The share of a processor that the bare loop takes.
    bare: BTreeMap<String, Vec<f64>>,
    /// How well the whole machine's cost is seen.
    calibration: Vec<Calibration>,
    failover: BTreeMap<String, Vec<Failover>>,
    life: BTreeMap<String, Vec<Life>>,
    flood: BTreeMap<String, Vec<Flood>>,
    /// Rounds without figures.
    left_out: BTreeMap<String, Vec<LeftOut>>,
}

/// A round in which somebody could not do the work.
#[derive(Clone, Debug, Serialize)]
struct LeftOut {
    maker: Maker,
    why: String,
}

impl Report {
    pub(super) fn leave_out(&mut self, name: &str, maker: Maker, why: String) {
        println!("{name}: {maker}: no figures: {why}");
        let rounds = self.left_out.entry(name.to_owned()).or_default();
        rounds.push(LeftOut { maker, why });
    }

    pub(super) fn add_kernel(&mut self, measured: Kernel) {
        self.kernel = Some(measured);
    }

    pub(super) fn add_steady(&mut self, name: &str, measured: Steady) {
        println!("{name}: {measured:?}");
        self.steady
            .entry(name.to_owned())
            .or_default()
            .push(measured);
    }

    pub(super) fn add_bare(&mut self, name: &str, share: f64) {
        println!("{name}: the bare loop {:.2} %", share * 100.0);
        self.bare.entry(name.to_owned()).or_default().push(share);
    }

    pub(super) fn add_calibration(&mut self, measured: Calibration) {
        let Calibration { load, seen } = measured;
        println!(
            "the spinners see a load of {:.1} % as {:.1} %",
            load * 100.0,
            seen * 100.0
        );
        self.calibration.push(measured);
    }

    pub(super) fn add_life(&mut self, name: &str, measured: Life) {
        println!("{name}: {measured:?}");
        self.life.entry(name.to_owned()).or_default().push(measured);
    }

    pub(super) fn add_flood(&mut self, name: &str, measured: Flood) {
        println!("{name}: {measured:?}");
        self.flood
            .entry(name.to_owned())
            .or_default()
            .push(measured);
    }

    pub(super) fn add_failover(&mut self, name: &str, measured: Failover) {
        for (what, delays) in WHAT.iter().zip(measured.all()) {
            println!("{name}: {}: {what}: {}", measured.maker, Spread(delays));
        }
        self.failover
            .entry(name.to_owned())
            .or_default()
            .push(measured);
    }

    /// Writes `bench.json`, and a picture of each work.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        self.write_text(directory)?;
        let file = |name: &str| directory.join(format!("{}.svg", name.replace(' ', "-")));
        for name in self.failover.keys() {
            let all = MAKERS.map(|maker| (maker, self.delays(name, maker, 0)));
            plots::failover(&file(name), name, &all)?;
        }
        for (name, rounds) in &self.steady {
            let of = |share: Share| {
                move |maker| median(rounds.iter().filter(|it| it.maker() == maker).map(share)).0
            };
            let mut bars = vec![("the bare loop".to_owned(), None, self.bare(name) * 100.0)];
            bars.extend(plots::pairs("master", of(Steady::master_share)));
            bars.extend(plots::pairs("backup", of(Steady::backup_share)));
            plots::bars(&file(name), name, &bars)?;
        }
        Ok(())
    }

    fn bare(&self, name: &str) -> f64 {
        median(self.bare.get(name).into_iter().flatten().copied()).0
    }

    /// Of all rounds, sorted; of which of [`WHAT`].
    fn delays(&self, name: &str, maker: Maker, what: usize) -> Vec<f64> {
        let rounds = self.failover.get(name).into_iter().flatten();
        let of_maker = rounds.filter(|it| it.maker == maker);
        let mut all: Vec<f64> = of_maker
            .flat_map(|it| {
                it.all()
                    .into_iter()
                    .nth(what)
                    .into_iter()
                    .flatten()
                    .copied()
            })
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn write_text(&self, directory: &Path) -> anyhow::Result<()> {
        let path = directory.join("bench.json");
        let text = serde_json::to_string_pretty(self).context("put the report together")?;
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("write {}", path.display()))
    }
}

/// What is waited for after a failover.
const WHAT: [&str; 3] = [
    "the first announcement",
    "the address is there",
    "a ping is answered",
];

/// Percentiles of sorted milliseconds.
struct Spread<'a>(&'a [f64]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| percentile(self.0, share));
        let count = self.0.len();
        write!(
            f,
            "p50 {p50:8.2}  p95 {p95:8.2}  p99 {p99:8.2}  max {max:8.2} ms  ({count})"
        )
    }
}

/// A share of what was measured.
type Share = fn(&Steady) -> f64;

/// The value below which this share of all lies.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(at - 1).copied().unwrap_or(f64::NAN)
}

/// The median, and how far the rounds lie apart.
fn median(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let spread = percentile(&all, 1.0) - percentile(&all, 0.0);
    (percentile(&all, 0.5), spread)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kernel) = &self.kernel {
            write!(f, "{kernel}")?;
        }
        for (name, rounds) in &self.steady {
            writeln!(f, "\n{name} (medians, spread)")?;
            let bare = self.bare(name);
            writeln!(f, "  bare loop             {:8.2} %", bare * 100.0)?;
            let rows: [(&str, Share); 3] = [
                ("master CPU", Steady::master_share),
                ("backup CPU", Steady::backup_share),
                ("whole machine", Steady::machine_share),
            ];
            for (what, of) in rows {
                let percent = |maker: Maker| {
                    let all = rounds.iter().filter(|it| it.maker() == maker).map(of);
                    median(all.map(|share| share * 100.0))
                };
                let both = Both(MAKERS.map(percent), " %");
                writeln!(f, "  {what:14} {both}{}", both.ratio())?;
            }
            write_adverts(f, rounds)?;
        }
        for name in self.failover.keys() {
            writeln!(
                f,
                "\n{name}: beyond Master_Down since the last advert, until"
            )?;
            for (number, what) in WHAT.into_iter().enumerate() {
                for maker in MAKERS {
                    let all = self.delays(name, maker, number);
                    if all.is_empty() {
                        continue;
                    }
                    let maker = maker.to_string();
                    writeln!(f, "  {what:24} {maker:10} {}", Spread(&all))?;
                }
            }
        }
        for (name, rounds) in &self.life {
            let rounds: Vec<_> = rounds.iter().map(|it| (it.maker, it.all())).collect();
            write_table(f, name, &rounds)?;
        }
        for (name, rounds) in &self.flood {
            let rounds: Vec<_> = rounds.iter().map(|it| (it.maker, it.all())).collect();
            write_table(f, name, &rounds)?;
        }
        for (name, rounds) in &self.left_out {
            writeln!(f, "\n{name}: rounds without figures")?;
            for LeftOut { maker, why } in rounds {
                writeln!(f, "  {maker}: {why}")?;
            }
        }
        Ok(())
    }
}

/// Medians of both makers, row by row, and half of how far the rounds lie apart.
fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    rounds: &[(Maker, [(&str, f64); N])],
) -> fmt::Result {
    writeln!(f, "\n{name}")?;
    let names = rounds.first().map(|(_, rows)| rows.map(|(what, _)| what));
    for (at, what) in names.into_iter().flatten().enumerate() {
        let of = |maker: Maker| {
            let own = rounds.iter().filter(|(by, _)| *by == maker);
            median(own.filter_map(|(_, rows)| rows.get(at).map(|row| row.1)))
        };
        writeln!(f, "  {what:42} {}", Both(MAKERS.map(of), ""))?;
    }
    Ok(())
}

/// The least that was sent in a round, and every takeover that should not have been, in the rounds that have figures.
fn write_adverts(f: &mut fmt::Formatter<'_>, rounds: &[Steady]) -> fmt::Result {
    for maker in MAKERS {
        let own = || rounds.iter().filter(|it| it.maker() == maker);
        let Some(least) = own().map(Steady::sent).min_by(f64::total_cmp) else {
            continue;
        };
        let takeovers: usize = own().map(Steady::false_takeovers).sum();
        writeln!(
            f,
            "  {maker}: at least {:.3} % of the adverts sent, {takeovers} false takeovers (rounds: {})",
            least * 100.0,
            own().count()
        )?;
    }
    Ok(())
}

/// A median of each maker that was measured, how far its rounds lie apart, and the unit.
struct Both(Two, &'static str);

type Two = [(f64, f64); MAKERS.len()];

impl Both {
    /// Of the other one to ours, where there are both.
    fn ratio(&self) -> String {
        let [(ours, _), (theirs, _)] = self.0;
        // The whole machine's share may be negative; what was not measured is no number.
        if ours > 0.0 && theirs > 0.0 {
            format!("  ratio 1/{:.1}", theirs / ours)
        } else {
            String::new()
        }
    }
}

impl fmt::Display for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(values, unit) = self;
        let measured = MAKERS.into_iter().zip(values);
        for (maker, (value, spread)) in measured.filter(|(_, (value, _))| !value.is_nan()) {
            write!(f, "  {maker} {value:10.2}{unit} (+-{:.2})", spread / 2.0)?;
        }
        Ok(())
    }
}
