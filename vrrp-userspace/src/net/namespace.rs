//! Network namespaces by the names that `ip netns` gives them.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps them.
const DIRECTORY: &str = "/run/netns";

/// Moves this thread, and those that it will start, into a network namespace.
///
/// # Errors
///
/// When there is none of that name, or the kernel refuses (`CAP_SYS_ADMIN` is needed).
pub fn enter_namespace(name: &str) -> Result<()> {
    let path = Path::new(DIRECTORY).join(name);
    let file = File::open(&path)
        .with_context(|| format!("there is no network namespace {name} ({})", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("enter the network namespace {name}"))
}
