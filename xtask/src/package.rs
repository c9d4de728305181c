//! `cargo xtask package`: a .deb and an .rpm. What is in them is written in `vrrp-userspace/Cargo.toml`, what
//! they do when they come and go in `packaging/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build,
    command::{cargo, check, root},
};

/// Both packages, as they were built.
pub(crate) struct Packages {
    pub(crate) deb: PathBuf,
    pub(crate) rpm: PathBuf,
}

/// Builds both around this binary.
pub(crate) fn packages(binary: &Path) -> Result<Packages> {
    // Where the manifest looks for what belongs to neither the sources nor the build.
    let parts = root().join("target/package");
    // What an earlier version had and this one has not.
    match fs::remove_dir_all(&parts) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", parts.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&parts).with_context(|| format!("make {}", parts.display()))?;
    check(
        Command::new(binary)
            .arg("manual")
            .arg(parts.join("man"))
            .stdout(Stdio::null()),
    )?;
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(binary).args(["completions", shell]).output()?;
        if !output.status.success() {
            bail!("xvrrp completions {shell} failed ({})", output.status);
        }
        fs::write(parts.join(format!("xvrrp.{shell}")), output.stdout)?;
    }
    let stripped = parts.join("xvrrp");
    check(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
    let (deb, rpm) = (parts.join("deb"), parts.join("rpm"));
    for directory in [&deb, &rpm] {
        fs::create_dir_all(directory)?;
    }
    let package = ["--package", "vrrp-userspace"];
    let deb_options = ["deb", "--no-build", "--locked", "--quiet", "--output"];
    check(
        cargo()
            .args(deb_options)
            .arg(&deb)
            .args(package)
            .stdout(Stdio::null()),
    )?;
    check(
        cargo()
            .args(["generate-rpm", "--output"])
            .arg(&rpm)
            .args(package),
    )?;
    Ok(Packages {
        deb: the_only(&deb)?,
        rpm: the_only(&rpm)?,
    })
}

/// What a tool has put into its directory; its name has the version and the architecture.
fn the_only(directory: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(directory)?.next();
    let entry = entry.with_context(|| format!("nothing has come to {}", directory.display()))??;
    Ok(entry.path())
}

/// `cargo xtask package`.
pub(crate) fn package() -> Result<()> {
    let Packages { deb, rpm } = packages(&build::release()?)?;
    println!("{}\n{}", deb.display(), rpm.display());
    Ok(())
}
