//! Where a running daemon is found: one directory per network namespace, so that two daemons in
//! two namespaces of one host never meet.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::MetadataExt as _,
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::clock;

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

/// How long a restart may take before whatever the daemon has left counts as left behind.
const RESTART: Duration = Duration::from_secs(20);

fn restart_note(directory: &Path) -> PathBuf {
    directory.join("restarting")
}

/// Notes that the next daemon takes our place at once: nothing is to be cleaned up.
///
/// # Errors
///
/// What the file system says.
pub fn note_restart(directory: &Path) -> io::Result<()> {
    fs::write(restart_note(directory), clock::now_ns().to_string())
}

/// The next daemon is there, or is not to come.
pub fn forget_restart(directory: &Path) {
    // Most daemons are nobody's successor.
    let _ = fs::remove_file(restart_note(directory));
    let _ = fs::remove_file(stop_note(directory));
}

fn stop_note(directory: &Path) -> PathBuf {
    directory.join("stopping")
}

/// Notes that the daemon ends for good, however that goes.
pub fn note_stop(directory: &Path) {
    // Where it cannot be noted a stop that fails looks like a crash, and is cleaned up by hand.
    let _ = fs::write(stop_note(directory), "");
}

/// The daemon has ended in order.
pub fn forget_stop(directory: &Path) {
    let _ = fs::remove_file(stop_note(directory));
}

/// Whether the daemon that has ended was to end for good.
#[must_use]
pub fn is_stopping(directory: &Path) -> bool {
    stop_note(directory).exists()
}

/// Whether a daemon has ended a moment ago for another one to take its place.
#[must_use]
pub fn is_restarting(directory: &Path) -> bool {
    let noted = fs::read_to_string(restart_note(directory)).ok();
    let noted = noted.and_then(|text| text.trim().parse().ok());
    noted.is_some_and(|at_ns| {
        let age = clock::now_ns().checked_sub(at_ns).map(Duration::from_nanos);
        age.is_some_and(|age| age < RESTART)
    })
}

/// A daemon's hold on its directory; given up, and the directory removed, when dropped.
pub struct Claim {
    directory: PathBuf,
    _lock: File,
    /// Whatever `--run-dir` says, a namespace has one daemon: two would take each other's programs
    /// over.
    _namespace: Option<UnixListener>,
}

impl Claim {
    /// Claims the directory, or says who has it.
    ///
    /// # Errors
    ///
    /// When another daemon holds it, or it cannot be made.
    pub fn take(directory: PathBuf) -> Result<Self> {
        let end = Instant::now() + PATIENCE;
        let namespace = loop {
            match claim_namespace() {
                // One that was killed a moment ago may still be ending.
                Err(_) if Instant::now() < end => thread::park_timeout(Duration::from_millis(20)),
                claimed => break claimed?,
            }
        };
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
                _namespace: namespace,
            });
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the network namespace, as run-time paths have it: `netns-<inode>`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let name = self.directory.file_name().and_then(|name| name.to_str());
        name.unwrap_or("netns")
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
    refusal(holder.trim())
}

fn refusal(pid: &str) -> anyhow::Error {
    anyhow!(
        "another xvrrp (pid {pid}) serves this network namespace already; stop it first, or run \
         this one in a namespace of its own"
    )
}

/// How long a daemon that ends may take to let go of its namespace.
const PATIENCE: Duration = Duration::from_secs(1);

/// Abstract sockets belong to a network namespace and vanish with their process: just what a lock
/// on the namespace has to do. Nobody ever listens to this one.
const NAMESPACE_LOCK: &str = "xvrrp";

fn claim_namespace() -> Result<Option<UnixListener>> {
    let name = SocketAddr::from_abstract_name(NAMESPACE_LOCK).context("name the lock")?;
    match UnixListener::bind_addr(&name) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let Some(holder) = holder_of()? else {
                // It has ended meanwhile; the lock file decides who is next.
                return Ok(None);
            };
            // The name is anybody's to take. Who is not the one we run as cannot serve VRRP here,
            // and must not keep us from doing so.
            if holder.uid == geteuid().as_raw() {
                return Err(refusal(&holder.pid.to_string()));
            }
            tracing::warn!(
                "process {} of user {} holds our lock on the network namespace; ignoring it",
                holder.pid,
                holder.uid
            );
            Ok(None)
        }
        Err(error) => Err(error).context("lock the network namespace"),
    }
}

/// Who holds the lock.
#[derive(Clone, Copy, Debug)]
struct Holder {
    pid: i32,
    uid: u32,
}

/// Who holds the lock; `None` where nobody does any longer.
fn holder_of() -> Result<Option<Holder>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).context("look at the lock")?;
    // Nobody ever accepts: a full queue must not make us wait.
    socket.set_nonblocking(true).context("look at the lock")?;
    let name = SockAddr::unix(format!("\0{NAMESPACE_LOCK}")).context("name the lock")?;
    match socket.connect(&name) {
        Ok(()) => Ok(getsockopt(&socket, PeerCredentials)
            .ok()
            .map(|peer| Holder {
                pid: peer.pid(),
                uid: peer.uid(),
            })),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        // Somebody has filled its queue.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => match holder_by_inode() {
            Some(holder) => Ok(Some(holder)),
            None => Err(error).context(
                "another process holds the lock on this network namespace, and cannot be found",
            ),
        },
        Err(error) => Err(error).context("look at the lock on this network namespace"),
    }
}

/// `__SO_ACCEPTCON` in the flags of `/proc/net/unix`: a socket that listens.
const LISTENS: &str = "00010000";

/// Looks for the process that has the listening end open.
fn holder_by_inode() -> Option<Holder> {
    let sockets = fs::read_to_string("/proc/net/unix").ok()?;
    let name = format!("@{NAMESPACE_LOCK}");
    let inode = sockets.lines().find_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, flags, _, _, inode, path] = cells[..] else {
            return None;
        };
        (flags == LISTENS && path == name).then_some(inode)
    })?;
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.into_iter().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let has_it = files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to == wanted));
        let uid = has_it.then(|| entry.metadata()).and_then(Result::ok)?.uid();
        Some(Holder { pid, uid })
    })
}
