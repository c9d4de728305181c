//! `cargo xtask fuzz`: made-up input, guided by what the code does with it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    build,
    command::{self, check, root},
    setup,
};

/// What is fuzzed.
const TARGETS: [&str; 5] = ["advert", "arp", "nd", "config", "control"];

/// What to fuzz, and for how long.
#[derive(Args)]
pub(crate) struct Arguments {
    /// advert, arp, nd: frames through the kernel programs and the host; config; control. All of them
    /// unless named
    target: Option<String>,
    /// How long each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
}

pub(crate) fn fuzz(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(target) = &arguments.target
        && !TARGETS.contains(&&**target)
    {
        bail!(
            "there is no target {target}; there are {}",
            TARGETS.join(", ")
        );
    }
    if !command::is_root() {
        bail!("the kernel programs are loaded as root: run this as root");
    }
    setup::for_building()?;
    setup::for_fuzzing()?;
    let chosen = |target: &&&str| {
        let wanted = arguments.target.as_deref();
        wanted.is_none_or(|wanted| wanted == **target)
    };
    for target in TARGETS.iter().filter(chosen) {
        println!("== {target} for {} minutes", arguments.minutes);
        let corpus = corpus(target);
        std::fs::create_dir_all(&corpus)?;
        let mut longest = 2048;
        if *target == "config" {
            plant_samples(&corpus)?;
            longest = 8192;
        }
        check(
            Command::new("rustup")
                .current_dir(root())
                .args(["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir"])
                .arg(root().join("tests/fuzz"))
                .arg("--target-dir")
                .arg(build::target_directory().join("fuzz"))
                .arg(target)
                .arg(corpus)
                .arg("--")
                .arg(format!("-max_total_time={}", arguments.minutes * 60))
                .arg(format!("-max_len={longest}"))
                .args(["-timeout=20", "-print_final_stats=1"]),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Configurations that people write are what others are made of: keepalived's samples, and our own.
fn plant_samples(corpus: &Path) -> Result<()> {
    let documents = setup::keepalived_documents()?;
    let places = [
        documents.join("usr/share/doc/keepalived/samples"),
        documents.join("etc/keepalived"),
        root().join("docs/examples"),
        root().join("vrrp-userspace/src/config/tests/broken"),
    ];
    for place in places {
        for entry in fs::read_dir(&place).with_context(|| format!("read {}", place.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_file() {
                fs::copy(&path, corpus.join(name)).context("plant a seed")?;
            }
        }
    }
    Ok(())
}

/// What was found to be of interest, kept for the next time.
fn corpus(target: &str) -> PathBuf {
    build::target_directory().join("fuzz-corpus").join(target)
}
