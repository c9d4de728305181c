//! Which compiler builds the BPF object. Used by `xtask setup` and, by path, by the build script
//! of `vrrp-userspace`, so that `cargo build` alone does the right thing too.
//!
//! The BPF target has no prebuilt `core`, so the compiler must come with the library sources, and
//! bpf-linker must read the bitcode of the compiler's LLVM. What goes together is pinned: Rust 1.95
//! from rustup with `rust-src`, or Debian's `rustc-web` with `rust-web-src`, and bpf-linker 0.10,
//! which uses the compiler's own LLVM 22 and needs no LLVM packages. Another pair that is there
//! already, such as a nightly and its bpf-linker, is used as well. `RUSTC_BOOTSTRAP=1` lets a stable
//! compiler use `-Z build-std`; on nightly it changes nothing.

use std::{env, path::PathBuf, process::Command};

/// Names a compiler that comes with its library sources; tried before anything else.
pub(crate) const RUSTC_VARIABLE: &str = "XVRRP_BPF_RUSTC";
/// Names a prebuilt object (packagers, cross builds); nothing is compiled then.
pub(crate) const OBJECT_VARIABLE: &str = "XVRRP_BPF_OBJECT";
/// The Rust release that is installed where no usable compiler is found.
pub(crate) const RUST_VERSION: &str = "1.95.0";
/// The bpf-linker that goes with it.
pub(crate) const BPF_LINKER_VERSION: &str = "0.10.0";
/// Its LLVM.
const PINNED_LLVM: u32 = 22;

/// A compiler that can build `core` for the BPF target.
pub(crate) struct Compiler {
    /// The real `rustc`, not rustup's proxy.
    pub(crate) rustc: PathBuf,
    /// Its sysroot.
    pub(crate) sysroot: PathBuf,
}

impl Compiler {
    fn at(rustc: PathBuf) -> Option<Self> {
        let mut command = Command::new(&rustc);
        command
            .args(["--print", "sysroot"])
            .env_remove("RUSTUP_TOOLCHAIN");
        let sysroot = PathBuf::from(stdout(&mut command)?.trim());
        let sources = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
        sources.exists().then_some(Self { rustc, sysroot })
    }

    /// The major version of its LLVM.
    fn llvm_major(&self) -> Option<u32> {
        let text = stdout(
            Command::new(&self.rustc)
                .arg("-vV")
                .env_remove("RUSTUP_TOOLCHAIN"),
        )?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))?;
        version.split('.').next()?.parse().ok()
    }
}

/// The first compiler with library sources that goes with the linker on the PATH, or with the one
/// that would be installed.
pub(crate) fn find_compiler() -> Option<Compiler> {
    let wanted = linker_llvm();
    let fits = |compiler: &Compiler| match (compiler.llvm_major(), wanted) {
        (Some(PINNED_LLVM), PINNED_LLVM) => true,
        (Some(major), wanted) => major > PINNED_LLVM && wanted > PINNED_LLVM,
        (None, _) => false,
    };
    candidates().into_iter().filter_map(Compiler::at).find(fits)
}

fn candidates() -> Vec<PathBuf> {
    let mut list = Vec::new();
    list.extend(env::var_os(RUSTC_VARIABLE).map(PathBuf::from));
    list.extend(rustup_compiler(RUST_VERSION));
    list.extend(rustup_compiler("stable"));
    list.extend(rustup_compiler("nightly"));
    list.extend(env::var_os("RUSTC").map(PathBuf::from));
    list.push(PathBuf::from("rustc"));
    list.push(PathBuf::from("/usr/bin/rustc"));
    list
}

/// Where rustup keeps the compiler of a toolchain, if it has it.
fn rustup_compiler(toolchain: &str) -> Option<PathBuf> {
    let mut command = Command::new("rustup");
    // Asking must not install anything.
    command
        .args(["which", "--toolchain", toolchain, "rustc"])
        .env("RUSTUP_AUTO_INSTALL", "0");
    Some(PathBuf::from(stdout(&mut command)?.trim()))
}

/// The LLVM of the linker on the PATH: up to 0.10 it is 22, later releases follow Rust's.
fn linker_llvm() -> u32 {
    let version = bpf_linker_version();
    let minor = version
        .as_deref()
        .and_then(|version| version.split('.').nth(1)?.parse::<u32>().ok());
    match minor {
        Some(minor) if minor > 10 => PINNED_LLVM + 1,
        _ => PINNED_LLVM,
    }
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
the BPF program needs a Rust compiler with its library sources, and the bpf-linker that goes with \
it. Either
  rustup toolchain install 1.95.0 --profile minimal --component rust-src
or, on Debian,
  apt-get install rustc-web rust-web-src
and then
  cargo install bpf-linker --version 0.10.0 --locked
`cargo xtask setup` does whichever works here.";
