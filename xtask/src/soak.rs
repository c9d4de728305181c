//! `cargo xtask soak`: build, then play faults as root.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{lab, setup};

/// For how long, and which faults.
#[derive(Args)]
pub(crate) struct Arguments {
    /// For how long
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Which faults in which order; another one each time unless given
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn soak(arguments: &Arguments) -> Result<ExitCode> {
    setup::for_building()?;
    setup::for_testing()?;
    let mut options = vec!["--minutes".to_owned(), arguments.minutes.to_string()];
    if let Some(seed) = arguments.seed {
        options.extend(["--seed".to_owned(), seed.to_string()]);
    }
    lab::play("soak", &options)
}
