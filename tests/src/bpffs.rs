//! A BPF file system of a test's own, and what is pinned there.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use aya::programs::links::{FdLink, PinnedLink};

use crate::process::Scratch;

/// A mounted bpffs; unmounted when dropped.
pub struct BpfFs(PathBuf);

impl BpfFs {
    /// Mounts one inside the scratch directory.
    pub fn mount(scratch: &Scratch) -> Self {
        let path = scratch.path("bpf");
        std::fs::create_dir_all(&path).expect("a mount point");
        let done = Command::new("mount")
            .args(["-t", "bpf", "bpf"])
            .arg(&path)
            .status();
        assert!(done.is_ok_and(|status| status.success()), "mount a bpffs");
        Self(path)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// As an option of the daemon.
    pub fn option(&self) -> String {
        format!("--bpffs={}", self.0.display())
    }

    /// Every file that the daemon has pinned there.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.0.join("xvrrp")];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files
    }

    /// The only pin of a program that judges frames.
    pub fn pin(&self) -> PathBuf {
        let (companions, files): (Vec<_>, Vec<_>) = self
            .files()
            .into_iter()
            .partition(|path| is_companion(path));
        assert_eq!(files.len(), 1, "one pin: {files:?}");
        assert!(!companions.is_empty(), "and its companions");
        files[0].clone()
    }
}

/// Whether a pin is of a program that is attached beside the one that judges frames.
fn is_companion(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("egress-") || name.starts_with("accept-"))
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", self.0.display());
        }
    }
}

/// The ids of a pinned link and of the program behind it.
pub fn ids(pin: &Path) -> (u32, u32) {
    let link = FdLink::from(PinnedLink::from_pin(pin).expect("open the pin"));
    let info = link.info().expect("its info");
    (info.id(), info.program_id())
}
