//! `cargo xtask run`: build, then run as root.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{build, command, setup};

/// Everything behind `run` goes to `xvrrp run`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Options of `xvrrp run`, such as --iface eth0 or --config FILE
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::for_building()?;
    let binary = build::release()?;
    if !command::is_root() {
        println!("xvrrp needs root; running it with sudo");
    }
    let error = command::as_root(&binary)
        .arg("run")
        .args(&arguments.options)
        .exec();
    // `exec` only comes back when it failed.
    Err(error).with_context(|| format!("run {}", binary.display()))
}
