//! The `xvrrp` command line.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xvrrp: {error:#}");
            ExitCode::from(1)
        }
    }
}
