//! `cargo xtask lab`: watch a failover on one machine.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use xvrrp_tests::lab::{self, CASES, Case, Interrupt, Lock, Plan, Stop};

/// A LAN of network namespaces in which routers fail and addresses move
#[derive(Parser)]
#[command(name = "cargo xtask lab", bin_name = "cargo xtask lab")]
struct Arguments {
    /// Play this case only; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = parse_case)]
    case: Vec<&'static Case>,
    /// For programs: one JSON object per line and step
    #[arg(long)]
    json: bool,
    /// Seconds between adverts
    #[arg(long, value_name = "SECONDS", default_value_t = 0.1, value_parser = parse_interval)]
    advert_int: f64,
    /// Leave the last case running until Ctrl-C, and say how to look around; without --case only
    /// the first case is played
    #[arg(long)]
    hold: bool,
    /// Draw the last case that is played, as SVG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The BPF file system for the daemons
    #[arg(long, value_name = "DIR")]
    bpffs: Option<PathBuf>,
}

/// As a shell says it of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut cases = arguments.case;
    if cases.is_empty() {
        cases = CASES
            .iter()
            .take(if arguments.hold { 1 } else { CASES.len() })
            .collect();
    }
    let plan = Plan {
        cases,
        json: arguments.json,
        advert_int: arguments.advert_int,
        hold: arguments.hold,
        picture: arguments.picture,
        bpffs: arguments.bpffs,
    };
    let outcome = Interrupt::catch()
        .and_then(|interrupt| Ok((Lock::take()?, interrupt)))
        .map_err(|error| Stop::Failed(error.to_string()))
        .and_then(|(_lock, interrupt)| interrupt.guard(|| lab::play(&plan, &interrupt)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Interrupted) => {
            eprintln!("lab: interrupted; everything is put away");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(Stop::Failed(what)) => {
            eprintln!("lab: {what}");
            ExitCode::FAILURE
        }
    }
}

fn parse_case(name: &str) -> Result<&'static Case, String> {
    CASES.iter().find(|case| case.name == name).ok_or_else(|| {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        format!("there are {}", names.join(", "))
    })
}

fn parse_interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=10.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 0.05 to 10".to_owned()),
    }
}
