//! Where a running daemon is found: one directory per network namespace, so that two daemons in
//! two namespaces of one host never meet.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};

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

/// A daemon's hold on its directory; given up, and the directory removed, when dropped.
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
        loop {
            let mut lock = open_lock(&directory)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(&directory)),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", directory.display()));
                }
            }
            // A daemon that has just ended may have removed the file that we locked.
            let ours = lock.metadata().context("look at the lock")?.ino();
            if !fs::metadata(lock_path(&directory)).is_ok_and(|there| there.ino() == ours) {
                continue;
            }
            lock.set_len(0)
                .and_then(|()| writeln!(lock, "{}", std::process::id()))
                .context("write the pid")?;
            // A socket left behind by a daemon that was killed: the lock says that nobody listens.
            let _ = fs::remove_file(socket(&directory));
            return Ok(Self {
                directory,
                _lock: lock,
            });
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // What cannot be removed is used or replaced by the next daemon.
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(lock_path(&self.directory));
        let _ = fs::remove_dir(&self.directory);
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

fn open_lock(directory: &Path) -> Result<File> {
    fs::create_dir_all(directory)
        .with_context(|| format!("make the directory {} (see --run-dir)", directory.display()))?;
    let path = lock_path(directory);
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))
}

fn taken(directory: &Path) -> anyhow::Error {
    let holder = fs::read_to_string(lock_path(directory)).unwrap_or_default();
    anyhow!(
        "another xvrrp (pid {}) serves this network namespace already; stop it first, or run this \
         one in a namespace of its own",
        holder.trim()
    )
}
