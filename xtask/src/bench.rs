//! `cargo xtask bench`: build, then measure as root.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{lab, setup};

/// Everything behind `bench` goes to the bench.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Options of the bench: --full, --out DIRECTORY, names of what is to be measured; --help shows them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

pub(crate) fn bench(arguments: &Arguments) -> Result<ExitCode> {
    setup::for_building()?;
    setup::for_testing()?;
    lab::play("bench", &arguments.options)
}
