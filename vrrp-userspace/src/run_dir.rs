//! Where a running daemon is found: one directory per network namespace, so that two daemons in
//! two namespaces of one host never meet.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The default of `--run-dir`.
pub const DEFAULT: &str = "/run/xvrrp";

/// The directory of this network namespace below `root`.
///
/// # Errors
///
/// When `/proc` does not tell the namespace.
pub fn of_this_namespace(root: &Path) -> Result<PathBuf> {
    let namespace = fs::metadata("/proc/thread-self/ns/net")
        .context("find out the network namespace from /proc/thread-self/ns/net")?;
    Ok(root.join(format!("netns-{}", namespace.ino())))
}

/// The control socket in a directory of [`of_this_namespace`].
#[must_use]
pub fn socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

/// A daemon's hold on its directory; given up when dropped.
pub struct Claim {
    directory: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims the directory, or says who has it.
    ///
    /// # Errors
    ///
    /// When another daemon holds it, or it cannot be made.
    pub fn take(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)
            .with_context(|| format!("make the directory {}", directory.display()))?;
        let path = directory.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                bail!(
                    "another xvrrp (pid {}) serves this network namespace already; \
                     stop it first, or run this one in a namespace of its own",
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .context("write the pid")?;
        // A socket left behind by a daemon that was killed: the lock says that nobody listens.
        let _ = fs::remove_file(socket(&directory));
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // What cannot be removed is replaced by the next daemon.
        let _ = fs::remove_file(self.socket());
    }
}
