//! `cargo xtask test`: style, then every test.

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{
    build,
    command::{cargo, check, exists, is_root},
    package, setup,
};

/// What to test.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Leaves out rustfmt and clippy
    #[arg(long)]
    no_lint: bool,
    /// Repeats every fault as often as it takes to believe it; takes an hour more
    #[arg(long)]
    full: bool,
}

pub(crate) fn test(arguments: &Arguments) -> Result<ExitCode> {
    setup::for_building()?;
    setup::for_testing()?;
    if arguments.no_lint {
        println!("skipped: rustfmt and clippy (--no-lint)");
    } else {
        lint()?;
    }
    let binary = build::release()?;
    let filter = arguments.filter.as_deref();
    println!("== unit and property tests");
    check(
        cargo()
            .args([
                "test",
                "--locked",
                "--workspace",
                "--exclude",
                "xvrrp-tests",
            ])
            .args(filter),
    )?;
    println!("== kernel program, cluster simulation and network namespaces (as root)");
    let mut black_box = cargo();
    black_box
        .args(["test", "--locked", "--package", "xvrrp-tests"])
        .args(filter);
    // Each test measures time: side by side they would measure each other.
    black_box.args(["--no-fail-fast", "--", "--test-threads=1", "--nocapture"]);
    let packages = package::packages(&binary)?;
    black_box.env("XVRRP_DEB", packages.deb);
    black_box.env("XVRRP_RPM", packages.rpm);
    black_box.env(build::BINARY_VARIABLE, binary);
    black_box.env("XVRRP_KEEPALIVED_DOCUMENTS", setup::keepalived_documents()?);
    black_box.env("XVRRP_DEBIAN_ROOT", setup::debian_root()?);
    if arguments.full {
        black_box.env("XVRRP_FULL", "1");
    }
    if !is_root() {
        println!("the tests make network namespaces; running them with sudo");
        let target = format!(
            "CARGO_TARGET_{}_RUNNER",
            host().to_uppercase().replace('-', "_")
        );
        black_box.env(target, "sudo --preserve-env");
    }
    check(&mut black_box)?;
    Ok(ExitCode::SUCCESS)
}

fn lint() -> Result<()> {
    let ci = env::var_os("CI").is_some_and(|value| value == "true");
    for (program, arguments) in [
        ("cargo-fmt", &["fmt", "--all", "--check"][..]),
        (
            "cargo-clippy",
            &[
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ][..],
        ),
    ] {
        if !exists(program) && !ci {
            println!(
                "skipped: {program} is not installed (rustup component add {})",
                &program[6..]
            );
            continue;
        }
        println!("== cargo {}", arguments.join(" "));
        check(cargo().args(arguments))?;
    }
    Ok(())
}

/// The host's target triple, which names cargo's runner variable.
fn host() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}
