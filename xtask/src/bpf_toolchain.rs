//! Which compiler builds the BPF object. Used by `xtask setup` and, by path, by the build script
//! of `vrrp-userspace`, so that `cargo build` alone does the right thing too.
//!
//! The BPF target has no prebuilt `core`, so the compiler must come with the library sources. Two
//! ways lead there: rustup's nightly with the `rust-src` component, or Debian's `rustc-web` with
//! `rust-web-src`. `RUSTC_BOOTSTRAP=1` lets the latter use `-Z build-std`; on nightly it changes
//! nothing.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Names a compiler that comes with its library sources; tried before anything else.
pub(crate) const RUSTC_VARIABLE: &str = "XVRRP_BPF_RUSTC";
/// Names a prebuilt object (packagers, cross builds); nothing is compiled then.
pub(crate) const OBJECT_VARIABLE: &str = "XVRRP_BPF_OBJECT";
/// The bpf-linker that uses rustc's own LLVM 22, and needs no LLVM packages.
pub(crate) const BPF_LINKER_VERSION: &str = "0.10.0";

/// A compiler that can build `core` for the BPF target.
pub(crate) struct Compiler {
    /// The real `rustc`, not rustup's proxy.
    pub(crate) rustc: PathBuf,
}

impl Compiler {
    /// The major version of its LLVM.
    pub(crate) fn llvm_major(&self) -> Option<u32> {
        let text = stdout(Command::new(&self.rustc).arg("-vV"))?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))?;
        version.split('.').next()?.parse().ok()
    }
}

/// The first compiler with library sources.
pub(crate) fn find_compiler() -> Option<Compiler> {
    candidates()
        .into_iter()
        .find(|rustc| has_sources(rustc))
        .map(|rustc| Compiler { rustc })
}

fn candidates() -> Vec<PathBuf> {
    let mut list = Vec::new();
    list.extend(env::var_os(RUSTC_VARIABLE).map(PathBuf::from));
    list.extend(rustup_nightly());
    list.extend(env::var_os("RUSTC").map(PathBuf::from));
    list.push(PathBuf::from("rustc"));
    list.push(PathBuf::from("/usr/bin/rustc"));
    list
}

/// Where rustup keeps nightly's compiler, if it has one.
fn rustup_nightly() -> Option<PathBuf> {
    let path = stdout(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))?;
    Some(PathBuf::from(path.trim()))
}

fn has_sources(rustc: &Path) -> bool {
    let sysroot = stdout(
        Command::new(rustc)
            .args(["--print", "sysroot"])
            .env_remove("RUSTUP_TOOLCHAIN"),
    );
    sysroot.is_some_and(|root| {
        Path::new(root.trim())
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
    })
}

/// The version of the bpf-linker on the PATH.
pub(crate) fn bpf_linker_version() -> Option<String> {
    let text = stdout(Command::new("bpf-linker").arg("--version"))?;
    text.split_whitespace().last().map(str::to_owned)
}

fn stdout(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What to tell whoever has no usable toolchain.
pub(crate) const RECIPES: &str = "\
the BPF program needs a Rust compiler with its library sources, and bpf-linker. Either
  rustup toolchain install nightly --component rust-src && cargo install bpf-linker
or, on Debian,
  apt-get install rustc-web rust-web-src && cargo install bpf-linker --version 0.10.0 --locked
`cargo xtask setup` does whichever works here.";
