//! What packages carry beside the binary: completions for shells, and manual pages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use vrrp_userspace::config::keyword_manual;

use super::Cli;

#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManualArguments {
    /// Where the pages go
    directory: PathBuf,
}

/// For `eval` in a shell's own start-up file, or for a package.
pub(super) fn completions(arguments: &CompletionsArguments) -> ExitCode {
    let mut command = Cli::command();
    let mut out = std::io::stdout();
    clap_complete::generate(arguments.shell, &mut command, "xvrrp", &mut out);
    ExitCode::SUCCESS
}

/// Writes `xvrrp(8)`, a page for each command, and `xvrrp.conf(5)`.
pub(super) fn manual(arguments: &ManualArguments) -> Result<ExitCode> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let mut command = Cli::command();
    command.build();
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
    for subcommand in shown.filter(|it| it.get_name() != "help") {
        let name = format!("xvrrp-{}", subcommand.get_name());
        page(directory, subcommand.clone(), &name)?;
    }
    page(directory, command, "xvrrp")?;
    write(directory, "xvrrp.conf.5", keyword_manual().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn page(directory: &Path, command: Command, name: &str) -> Result<()> {
    let mut text = Vec::new();
    let man = Man::new(command).title(name).section("8").manual("xvrrp");
    man.render(&mut text).context("put a page together")?;
    write(directory, &format!("{name}.8"), &text)
}

fn write(directory: &Path, name: &str, text: &[u8]) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
