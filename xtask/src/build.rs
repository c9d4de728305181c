//! The release build.

use std::{env, path::PathBuf};

use anyhow::Result;

use crate::command::{cargo, check, root};

/// Builds the binary and returns where it is.
pub(crate) fn release() -> Result<PathBuf> {
    check(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "vrrp-userspace",
    ]))?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release/xvrrp"))
}
