//! `xvrrp cleanup`.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use vrrp_userspace::{
    dataplane::NativePrograms,
    net::{self, InterfaceTable},
    remains::{self, CleanUp},
    run_dir::{self, Claim},
};

use super::{CleanupArguments, LogTo, start_log};

/// Whether the next daemon is on its way: the one before has just left everything to it, or the service
/// manager, which calls us, restarts what has failed. What would answer meanwhile is taken off all the
/// same.
fn is_restarted(arguments: &CleanupArguments, directory: &Path, table: &InterfaceTable) -> bool {
    if run_dir::is_restarting(directory) {
        return true;
    }
    let has_failed = std::env::var("SERVICE_RESULT")
        .is_ok_and(|result| !matches!(&*result, "" | "success" | "start-limit-hit"));
    let namespace = directory.file_name().and_then(|name| name.to_str());
    let bpffs = &arguments.bpffs.path;
    has_failed
        && !run_dir::is_stopping(directory)
        && remains::are_fenced(bpffs, namespace.unwrap_or_default(), table)
}

pub(super) fn clean_up(arguments: &CleanupArguments) -> Result<ExitCode> {
    start_log(&LogTo::Console, false)?;
    let directory = arguments.run_dir.enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let table = runtime.block_on(net::read())?;
    if arguments.unless_restarting && is_restarted(arguments, &directory, &table) {
        println!("the next daemon takes over; nothing is taken off");
        return Ok(ExitCode::SUCCESS);
    }
    let claim = Claim::take(directory)?;
    let native = if arguments.keep_native {
        NativePrograms::KeepInert
    } else {
        NativePrograms::Detach
    };
    let options = CleanUp {
        bpffs: &arguments.bpffs.path,
        native,
        force: arguments.force,
    };
    let done = remains::clean_up(&claim, &table, &options)?;
    if done.is_empty() {
        println!("nothing was left behind");
    }
    for line in done {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}
