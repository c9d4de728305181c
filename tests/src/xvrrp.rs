//! The daemon under test.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    netns::Namespace,
    process::{Process, Scratch},
    wait_for,
};

/// The binary that `cargo xtask test` has just built. There is no guessing: a stale one would pass
/// for the one under test.
pub fn binary() -> String {
    std::env::var("XVRRP_BIN").expect("XVRRP_BIN names the binary; run `cargo xtask test [FILTER]`")
}

/// A running daemon.
pub struct Xvrrp {
    /// Its process.
    pub process: Process,
    run_dir: PathBuf,
}

impl Xvrrp {
    /// Starts `xvrrp run` with these arguments inside a namespace. Programs are not pinned unless the
    /// arguments name a bpffs: a test leaves nothing on the machine's own.
    pub fn run(namespace: &Namespace, scratch: &Scratch, arguments: &[&str]) -> Self {
        let run_dir = scratch.path("run");
        let mut options = vec!["--run-dir".to_owned(), run_dir.display().to_string()];
        if !arguments.iter().any(|word| word.starts_with("--bpffs")) {
            options.push(format!("--bpffs={}", scratch.path("none").display()));
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Self::start(
            namespace,
            scratch,
            &[arguments, &options].concat(),
            &run_dir,
        )
    }

    /// Starts it with a configuration and no other option: the run-time directory is the default.
    pub fn with_default_options(namespace: &Namespace, scratch: &Scratch, config: &str) -> Self {
        Self::with_options(namespace, scratch, config, &[])
    }

    /// Starts it with a configuration, the default run-time directory, and these options.
    pub fn with_options(
        namespace: &Namespace,
        scratch: &Scratch,
        config: &str,
        options: &[&str],
    ) -> Self {
        let path = scratch.write(&format!("{}.conf", namespace.name()), config);
        let path = path.display().to_string();
        let arguments = [&["--config", &path], options].concat();
        Self::start(namespace, scratch, &arguments, Path::new("/run/xvrrp"))
    }

    fn start(namespace: &Namespace, scratch: &Scratch, arguments: &[&str], run_dir: &Path) -> Self {
        let mut command = namespace.command(&binary());
        command.arg("run").args(arguments);
        let log = scratch.path(&format!("{}.log", namespace.name()));
        Self {
            process: Process::start(command, &log),
            run_dir: run_dir.to_path_buf(),
        }
    }

    /// Starts it with a configuration.
    pub fn with_config(namespace: &Namespace, scratch: &Scratch, config: &str) -> Self {
        let path = scratch.write(&format!("{}.conf", namespace.name()), config);
        Self::run(
            namespace,
            scratch,
            &["--config", &path.display().to_string()],
        )
    }

    /// Where it keeps its socket and its record.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// `xvrrp status --json`; `None` while it does not answer.
    pub fn status(&self, namespace: &Namespace) -> Option<Value> {
        let output = status(namespace, &self.run_dir, &["--json"]);
        serde_json::from_slice(&output.stdout)
            .ok()
            .filter(|_| output.status.success())
    }

    /// One instance of the status.
    pub fn instance(&self, namespace: &Namespace, name: &str) -> Option<Value> {
        let status = self.status(namespace)?;
        status["instances"]
            .as_array()?
            .iter()
            .find(|entry| entry["name"] == name)
            .cloned()
    }

    /// Waits until the only instance, or the first, is in a state.
    pub fn wait_state(&self, namespace: &Namespace, state: &str, limit: Duration) -> Value {
        let what = format!(
            "{state} in {}, log:\n{}",
            namespace.name(),
            self.process.log()
        );
        wait_for(what, limit, || {
            let status = self.status(namespace)?;
            let first = status["instances"].get(0)?;
            (first["state"] == state).then(|| status.clone())
        })
    }

    /// Gives it another configuration file, and runs `xvrrp reload`.
    pub fn reload(&self, namespace: &Namespace, scratch: &Scratch, config: &str) -> Output {
        scratch.write(&format!("{}.conf", namespace.name()), config);
        self.reload_as_it_is(namespace)
    }

    /// Runs `xvrrp reload` on whatever its configuration is.
    pub fn reload_as_it_is(&self, namespace: &Namespace) -> Output {
        let mut command = namespace.command(&binary());
        command.args(["reload", "--run-dir"]).arg(&self.run_dir);
        command.output().expect("run xvrrp reload")
    }

    /// The same, which must succeed. Returns what it says.
    pub fn reloads(&self, namespace: &Namespace, scratch: &Scratch, config: &str) -> String {
        let output = self.reload(namespace, scratch, config);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{}", self.process.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `xvrrp upgrade`.
    pub fn upgrade(&self, namespace: &Namespace) -> Output {
        let mut command = namespace.command(&binary());
        command.args(["upgrade", "--run-dir"]).arg(&self.run_dir);
        command.output().expect("run xvrrp upgrade")
    }

    /// Ends it as an operator does and waits for that.
    pub fn terminate(&mut self) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(10));
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(10));
    }
}

/// Runs `xvrrp status`.
pub fn status(namespace: &Namespace, run_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = namespace.command(&binary());
    command
        .arg("status")
        .args(arguments)
        .arg("--run-dir")
        .arg(run_dir);
    command.output().expect("run xvrrp status")
}

/// Runs `xvrrp cleanup` on what a daemon with this scratch directory has left.
pub fn cleanup(namespace: &Namespace, scratch: &Scratch, options: &[&str]) -> Output {
    let mut command = namespace.command(&binary());
    command
        .args(["cleanup", "--run-dir"])
        .arg(scratch.path("run"))
        .args(options);
    command.output().expect("run xvrrp cleanup")
}

/// Runs `xvrrp cleanup` and checks what it says it has done.
pub fn cleanup_says(namespace: &Namespace, scratch: &Scratch, options: &[&str], expected: &str) {
    let output = cleanup(namespace, scratch, options);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains(expected), "{expected:?} in {text:?}");
}

/// Runs `xvrrp check` on a text.
pub fn check(scratch: &Scratch, config: &str, arguments: &[&str]) -> Output {
    let path = scratch.write("check.conf", config);
    Command::new(binary())
        .arg("check")
        .arg(path)
        .args(arguments)
        .output()
        .expect("run xvrrp check")
}

/// So many instances with the VRIDs from 1 on, and an address each.
pub fn instances(count: u8, priority: u8, interval: f64, more: &str) -> String {
    let one = |vrid: u8| {
        format!(
            "vrrp_instance V{vrid} {{\n  state BACKUP\n  version 3\n  interface eth0\n  virtual_router_id {vrid}\n  \
             priority {priority}\n  advert_int {interval}\n  virtual_ipaddress {{\n    10.9.1.{vrid}/32\n  }}\n{more}\n}}\n"
        )
    };
    (1..=count).map(one).collect()
}

/// A plain instance.
pub fn instance(priority: u8, interval: f64, more: &str) -> String {
    format!(
        "vrrp_instance VI {{\n  state BACKUP\n  version 3\n  interface eth0\n  virtual_router_id 51\n  \
         priority {priority}\n  advert_int {interval}\n  virtual_ipaddress {{\n    10.9.0.100/24\n  }}\n{more}\n}}\n"
    )
}
