//! The release build.

use std::{env, path::PathBuf};

use anyhow::Result;

use crate::command::{cargo, check, root};

/// The variable that tells the black-box tests and the lab which binary to run.
pub(crate) const BINARY_VARIABLE: &str = "XVRRP_BIN";

/// Builds the binary and returns where it is.
pub(crate) fn release() -> Result<PathBuf> {
    check(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "vrrp-userspace",
    ]))?;
    Ok(target_directory().join("release/xvrrp"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    // A relative one counts from where the inner cargo runs.
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
