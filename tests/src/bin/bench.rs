//! `cargo xtask bench`: what it costs and how quick it is, beside keepalived.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use xvrrp_tests::measure::{self, MAKERS, Maker, Plan};

/// Measures xvrrp and keepalived at the same work, in network namespaces
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// Everything, as often as figures that are quoted need it (about an hour); a quick look otherwise
    #[arg(long)]
    full: bool,
    /// Only this one, without a comparison: xvrrp or keepalived
    #[arg(long)]
    only: Option<Maker>,
    /// How often everything is repeated, where that is not what the plan says
    #[arg(long)]
    rounds: Option<u32>,
    /// Where the report goes
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// What to measure: words of names such as `steady 255` or `failover 1 x`; everything without any
    works: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut plan = if arguments.full {
        Plan::FULL
    } else {
        Plan::QUICK
    };
    plan.rounds = arguments.rounds.unwrap_or(plan.rounds);
    let makers = arguments.only.map_or(MAKERS.to_vec(), |maker| vec![maker]);
    match measure::run(&plan, &makers, &arguments.works, &arguments.out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
