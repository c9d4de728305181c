//! `cargo xtask soak`: faults in network namespaces for as long as one likes.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use xvrrp_tests::{
    soak::{self, Plan},
    wall_ns,
};

/// One fault after another on a LAN of network namespaces, and an oracle over everything on the wire
#[derive(Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak")]
struct Arguments {
    /// For how long
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Which faults in which order; another one each time unless given
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        time: Duration::from_secs(arguments.minutes * 60),
        seed: arguments.seed.unwrap_or_else(wall_ns),
    };
    match soak::run(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("soak (seed {}):\n{wrong}", plan.seed);
            ExitCode::FAILURE
        }
    }
}
