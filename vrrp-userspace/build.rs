//! Builds the BPF object and leaves it in `OUT_DIR`, where `dataplane::object` embeds it: once
//! built, `xvrrp` needs no toolchain.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use bpf_toolchain::Compiler;

#[path = "../xtask/src/bpf_toolchain.rs"]
#[expect(dead_code, reason = "setup uses the rest of the module")]
mod bpf_toolchain;

fn main() -> Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("vrrp-ebpf.o");
    println!(
        "cargo::rerun-if-env-changed={}",
        bpf_toolchain::OBJECT_VARIABLE
    );
    println!(
        "cargo::rerun-if-env-changed={}",
        bpf_toolchain::RUSTC_VARIABLE
    );
    for input in [
        "vrrp-ebpf/src",
        "vrrp-ebpf/Cargo.toml",
        "vrrp-ebpf/Cargo.lock",
        "vrrp-common/src",
        "xtask/src/bpf_toolchain.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let object = match env::var_os(bpf_toolchain::OBJECT_VARIABLE) {
        Some(prebuilt) => PathBuf::from(prebuilt),
        None => compile(&root)?,
    };
    fs::copy(&object, &embedded).with_context(|| format!("copy {}", object.display()))?;
    Ok(())
}

fn compile(root: &Path) -> Result<PathBuf> {
    let Some(compiler) = bpf_toolchain::find_compiler() else {
        bail!("{}", bpf_toolchain::RECIPES);
    };
    if bpf_toolchain::bpf_linker_version().is_none() {
        bail!("bpf-linker is not on the PATH: {}", bpf_toolchain::RECIPES);
    }
    // Beside the workspace's own target directory, so that `core` is compiled once and not once
    // per profile.
    let target_dir = target_dir(root).join("bpf");
    let manifest = root.join("vrrp-ebpf/Cargo.toml");
    let status = build_command(&compiler, &manifest, &target_dir)
        .status()
        .context("start cargo for the BPF crate")?;
    if !status.success() {
        bail!(
            "building the BPF crate with {} failed",
            compiler.rustc.display()
        );
    }
    Ok(object_path(&target_dir))
}

fn target_dir(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The command that builds the BPF crate at `manifest` into `target_dir`.
fn build_command(compiler: &Compiler, manifest: &Path, target_dir: &Path) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    for variable in [
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_MAKEFLAGS",
    ] {
        command.env_remove(variable);
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    let flags = [
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
    ];
    command
        .args([
            "build",
            "--locked",
            "--release",
            "--target",
            "bpfel-unknown-none",
        ])
        .args(["-Z", "build-std=core", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", &compiler.rustc)
        // Where bpf-linker finds the LLVM that made the bitcode.
        .env("LD_LIBRARY_PATH", compiler.sysroot.join("lib"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    command
}

/// Where [`build_command`] leaves the object.
fn object_path(target_dir: &Path) -> PathBuf {
    target_dir.join("bpfel-unknown-none/release/vrrp-ebpf")
}
