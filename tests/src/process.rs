//! Child processes: ended when dropped, with what they said kept.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{orphans, wait_for};

/// A running program.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it prints goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let out = File::create(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self {
            child,
            log: log.to_path_buf(),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal)
            .unwrap_or_else(|errno| panic!("{signal}: {errno}\n{}", self.log()));
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_for("the end of a process", limit, || {
            self.child.try_wait().ok().flatten()
        })
    }
}

impl Process {
    /// Ends it, if it still runs: with this signal, and if that does not help in time with force.
    pub fn end(&mut self, signal: Signal, patience: Duration) {
        if self.runs() {
            let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
            // A stopped process must go on to end.
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
            let _ = kill(Pid::from_raw(pid), signal);
            let end = std::time::Instant::now() + patience;
            while self.runs() && std::time::Instant::now() < end {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            if self.runs() {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

/// How long a program may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(3);

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::SIGTERM, PATIENCE);
        if std::thread::panicking() {
            // Whoever reads may be gone too.
            let _ = writeln!(
                std::io::stderr(),
                "--- {} ---\n{}",
                self.log.display(),
                self.log()
            );
        }
    }
}

/// A directory of a test's own; removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory.
    pub fn new(name: &str) -> Self {
        let path = orphans::directory(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file inside and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
