//! Real keepalived as the peer.

use std::{path::PathBuf, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    netns::Namespace,
    process::{Process, Scratch},
};

/// A running keepalived.
pub struct Keepalived {
    process: Process,
    pid_files: [PathBuf; 2],
}

impl Keepalived {
    /// Starts it inside a namespace.
    pub fn start(namespace: &Namespace, scratch: &Scratch, config: &str) -> Self {
        Self::with_options(namespace, scratch, config, &[])
    }

    /// Starts it with more options.
    pub fn with_options(
        namespace: &Namespace,
        scratch: &Scratch,
        config: &str,
        options: &[&str],
    ) -> Self {
        Self::run(
            namespace,
            scratch,
            config,
            &[&["--log-detail"], options].concat(),
        )
    }

    /// Starts it so that it says what an operator's does, and no more: writing takes time.
    pub fn terse(namespace: &Namespace, scratch: &Scratch, config: &str) -> Self {
        Self::run(namespace, scratch, config, &[])
    }

    fn run(namespace: &Namespace, scratch: &Scratch, config: &str, options: &[&str]) -> Self {
        let name = namespace.name();
        let config = scratch.write(&file_name(namespace), config);
        let mut command = namespace.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp"]);
        command.args(options).arg("--use-file").arg(config);
        let pid_files = ["pid", "vrrp-pid"].map(|file| scratch.path(&format!("{name}-{file}")));
        for (option, file) in ["--pid", "--vrrp_pid"].into_iter().zip(&pid_files) {
            command.arg(option).arg(file);
        }
        let log = scratch.path(&format!("{name}-keepalived.log"));
        Self {
            process: Process::start(command, &log),
            pid_files,
        }
    }

    /// The process id of the parent.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Gives it another configuration and SIGHUP.
    pub fn reload(&self, namespace: &Namespace, scratch: &Scratch, config: &str) {
        scratch.write(&file_name(namespace), config);
        self.process.signal(Signal::SIGHUP);
    }

    /// Ends it as an operator does: it resigns.
    pub fn terminate(&mut self) {
        self.end(Duration::from_secs(10));
    }

    /// The same, with more patience.
    pub fn end(&mut self, limit: Duration) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(limit);
    }

    /// Ends it as a power cut does: the parent must not notice its child's death, nor the child
    /// its parent's.
    pub fn kill(&mut self) {
        self.process.signal(Signal::SIGSTOP);
        for child in self.children() {
            kill(Pid::from_raw(child), Signal::SIGKILL).expect("kill the child");
        }
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(10));
        for file in &self.pid_files {
            let _ = std::fs::remove_file(file);
        }
    }

    fn children(&self) -> Vec<i32> {
        let pid = self.process.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let list = std::fs::read_to_string(path).expect("the children of keepalived");
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }
}

fn file_name(namespace: &Namespace) -> String {
    format!("{}-keepalived.conf", namespace.name())
}
