//! `cargo xtask lab`: build, then run the lab as root.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    build, command,
    command::{cargo, check},
    setup,
};

/// Everything behind `lab` goes to the lab.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Options of the lab: --case NAME, --json, --hold, --advert-int SECONDS; --help shows them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

pub(crate) fn lab(arguments: &Arguments) -> Result<ExitCode> {
    setup::for_building()?;
    setup::for_lab()?;
    play("lab", &arguments.options)
}

/// Builds a program of the tests, and runs it as root in our place.
pub(crate) fn play(name: &str, options: &[String]) -> Result<ExitCode> {
    let binary = build::release()?;
    // Not with the release profile: a failing step must unwind, so that everything is put away.
    check(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "xvrrp-tests",
        "--bin",
        name,
    ]))?;
    let program = build::target_directory().join("debug").join(name);
    if !command::is_root() {
        println!("the {name} makes network namespaces; running it with sudo");
    }
    let assignment = format!("{}={}", build::BINARY_VARIABLE, binary.display());
    // In our place: Ctrl-C is then its alone.
    let error = command::as_root("env")
        .arg(assignment)
        .arg(&program)
        .args(options)
        .exec();
    // `exec` only comes back when it failed.
    Err(error).with_context(|| format!("run {}", program.display()))
}
