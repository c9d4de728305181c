//! The `xvrrp` command line.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let done = if cli::keepalived::is_meant(words.first().map(|name| &**name)) {
        cli::keepalived::run(words)
    } else {
        cli::run(cli::Cli::parse())
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xvrrp: {error:#}");
            ExitCode::from(1)
        }
    }
}
