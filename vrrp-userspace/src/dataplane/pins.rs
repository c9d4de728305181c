//! Pins: links that keep programs attached when the daemon is gone, as files on a bpffs:
//!
//! ```text
//! <bpffs>/xvrrp/v<ABI>/netns-<inode>/<hook>-<ifindex>
//! ```

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use vrrp_common::contract::ABI_VERSION;

use super::ladder::Hook;

/// The default of `--bpffs`.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";

/// The directory of this network namespace's pins.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    directory: PathBuf,
}

/// A pinned link, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) hook: Hook,
    pub(super) ifindex: u32,
    pub(super) path: PathBuf,
}

impl Pins {
    /// Opens the directory of the namespace (`netns-<inode>`) below a bpffs, and moves into it what
    /// other versions have pinned. Where that cannot be, says why.
    pub(super) fn open(bpffs: &Path, namespace: &str) -> Result<Self, String> {
        Self::must_be_durable(bpffs)?;
        let root = bpffs.join("xvrrp");
        let directory = root.join(format!("v{ABI_VERSION}")).join(namespace);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| format!("{} cannot be made: {error}", directory.display()))?;
        let pins = Self { directory };
        pins.take_over_other_versions(&root, namespace);
        Ok(pins)
    }

    /// The directory without making it or changing anything, for whoever only looks.
    pub(super) fn existing(bpffs: &Path, namespace: &str) -> Vec<Self> {
        versions(&bpffs.join("xvrrp"))
            .map(|version| Self {
                directory: version.join(namespace),
            })
            .filter(|pins| pins.directory.is_dir())
            .collect()
    }

    fn must_be_durable(bpffs: &Path) -> Result<(), String> {
        let shown = bpffs.display();
        let kind = statfs(bpffs).map_err(|errno| format!("{shown}: {}", errno.desc()))?;
        if kind.filesystem_type() != BPF_FS_MAGIC {
            return Err(format!("{shown} is no bpffs here"));
        }
        if !outlives_us(bpffs) {
            return Err(format!(
                "the bpffs at {shown} belongs to this process's mount namespace and would go with it"
            ));
        }
        Ok(())
    }

    /// A link is the same whatever version pinned it: its program is replaced as a whole.
    fn take_over_other_versions(&self, root: &Path, namespace: &str) {
        for other in versions(root).map(|version| version.join(namespace)) {
            if other == self.directory || !other.is_dir() {
                continue;
            }
            for file in files(&other) {
                let Some(name) = file.file_name() else {
                    continue;
                };
                let target = self.directory.join(name);
                let known = read_name(&file).is_some() && !target.exists();
                if !known || fs::rename(&file, &target).is_err() {
                    // Nobody could ever replace it, and it would stay in front of us.
                    let _ = fs::remove_file(&file);
                }
            }
            remove_empty(&other);
        }
    }

    /// Where the link of an interface is pinned.
    pub(super) fn path(&self, hook: Hook, ifindex: u32) -> PathBuf {
        self.directory.join(format!("{}-{ifindex}", hook.name()))
    }

    /// Every pin in it.
    pub(super) fn all(&self) -> Vec<Pin> {
        files(&self.directory)
            .filter_map(|path| read_name(&path))
            .collect()
    }

    /// Removes the directory, and the ones above it, where they are empty.
    pub(super) fn remove_if_empty(&self) {
        remove_empty(&self.directory);
    }
}

fn remove_empty(directory: &Path) {
    // The namespace's, the version's, and `xvrrp`; the first that is not empty stays.
    for directory in directory.ancestors().take(3) {
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

fn versions(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries(root).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix('v'))
            .is_some_and(|number| number.parse::<u32>().is_ok())
    })
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries(directory).filter(|path| !path.is_dir())
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn read_name(path: &Path) -> Option<Pin> {
    let (hook, ifindex) = path.file_name()?.to_str()?.split_once('-')?;
    Some(Pin {
        hook: Hook::all().find(|known| known.name() == hook)?,
        ifindex: ifindex.parse().ok()?,
        path: path.to_path_buf(),
    })
}

/// Whether the file system at `path` is also mounted where the machine's first process is. One that
/// only this process's mount namespace has ends with it, and every pin in it too.
fn outlives_us(path: &Path) -> bool {
    let Ok(device) = fs::metadata(path).map(|metadata| metadata.dev()) else {
        return false;
    };
    let wanted = format!(
        "{}:{}",
        nix::sys::stat::major(device),
        nix::sys::stat::minor(device)
    );
    let mounts = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
    is_mounted(&mounts, &wanted)
}

/// Whether a device (`major:minor`) is in the text of a `mountinfo`.
fn is_mounted(mountinfo: &str, device: &str) -> bool {
    mountinfo
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let pins = Pins {
            directory: PathBuf::from("/b/xvrrp/v1/netns-7"),
        };
        for hook in Hook::all() {
            let path = pins.path(hook, 12);
            let pin = Pin {
                hook,
                ifindex: 12,
                path: path.clone(),
            };
            assert_eq!(read_name(&path), Some(pin));
        }
        for name in ["tc", "tc-x", "other-3", "tc-3-4"] {
            assert_eq!(read_name(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_mount_is_found_by_its_device() {
        let text =
            "22 27 0:21 / /proc rw - proc proc rw\n43 27 0:39 / /sys/fs/bpf rw - bpf bpf rw\n";
        assert!(is_mounted(text, "0:39"));
        assert!(!is_mounted(text, "0:3"));
        assert!(!is_mounted("", "0:39"));
    }
}
