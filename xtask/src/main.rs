//! `cargo xtask`: builds, runs and tests xvrrp, and installs what that needs.

mod bench;
mod bpf_toolchain;
mod build;
mod command;
mod fuzz;
mod lab;
mod package;
mod run;
mod setup;
mod soak;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, runs and tests xvrrp.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Installs what building and testing need, saying what it does before it does it
    Setup,
    /// Builds the xvrrp binary; target/release/xvrrp then needs no toolchain
    Build,
    /// Builds a .deb and an .rpm
    Package,
    /// Builds xvrrp and runs it as root: `cargo xtask run --iface eth0`
    Run(run::Arguments),
    /// Plays failovers in network namespaces: routers, HAProxy, clients, a timeline
    #[command(disable_help_flag = true)]
    Lab(lab::Arguments),
    /// Plays one fault after another in network namespaces, judged by one oracle
    Soak(soak::Arguments),
    /// Measures xvrrp and keepalived at the same work, in network namespaces
    #[command(disable_help_flag = true)]
    Bench(bench::Arguments),
    /// Feeds made-up frames, configurations and requests to the code, guided by what it does with them
    Fuzz(fuzz::Arguments),
    /// Checks the style and runs every test
    Test(test::Arguments),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Subcommands::Setup => setup::everything().map(|()| ExitCode::SUCCESS),
        Subcommands::Build => {
            setup::for_building()?;
            build::release().map(|path| {
                println!("{}", path.display());
                ExitCode::SUCCESS
            })
        }
        Subcommands::Package => {
            setup::for_building()?;
            setup::for_packaging()?;
            package::package().map(|()| ExitCode::SUCCESS)
        }
        Subcommands::Run(arguments) => run::run(&arguments),
        Subcommands::Lab(arguments) => lab::lab(&arguments),
        Subcommands::Soak(arguments) => soak::soak(&arguments),
        Subcommands::Bench(arguments) => bench::bench(&arguments),
        Subcommands::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Subcommands::Test(arguments) => test::test(&arguments),
    }
}
