//! The binary that runs, and the one that is at its path by now.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::unistd::execve;
use tokio::{process::Command, time};

use super::Origin;
use crate::{
    config::{Reader, Verdict, diagnostics::Severity, model::Instance},
    net::InterfaceTable,
    privileges,
};

/// How this process was started, noted before anybody replaces the binary.
#[derive(Clone, Debug)]
pub struct Launch {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// How long the new binary may take to look at the configuration.
const TRIAL: Duration = Duration::from_secs(10);
/// What `check` exits with where a file has errors, as keepalived does.
const HAS_ERRORS: i32 = 4;
/// And where its scripts run as root.
const INSECURE: i32 = 5;
/// What a service manager has set for the process that it started, which the next image is not.
const NOT_FOR_THE_NEXT: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

impl Launch {
    /// Notes it. A symbolic link stays one: another binary may be behind it later.
    ///
    /// # Errors
    ///
    /// Where the system does not know which binary runs.
    pub fn note() -> io::Result<Self> {
        let name = env::args_os().next().map(PathBuf::from);
        let named = name.and_then(|name| found(&name));
        Ok(Self {
            path: named.map_or_else(env::current_exe, Ok)?,
            arguments: env::args_os().collect(),
        })
    }

    /// The new binary must be able to run here, and must find the configuration as good as we do; `served`
    /// are the instances that must not get lost on the way.
    ///
    /// # Errors
    ///
    /// Why it must not take our place.
    pub(super) async fn try_out(
        self,
        origin: Origin,
        served: Vec<String>,
        interfaces: InterfaceTable,
        by_service_manager: bool,
    ) -> Result<()> {
        let moved = match &origin {
            Origin::File { path: file, .. } => !self.path.exists() || !file.exists(),
            Origin::Embedded { .. } => !self.path.exists(),
        };
        if by_service_manager && moved {
            // It starts another binary, or one with another file.
            return Ok(());
        }
        let path = &self.path;
        let mut trial = Command::new(path);
        // By whatever name it is there: keepalived's has other options.
        trial.arg0("xvrrp");
        let mut has_errors = false;
        match &origin {
            Origin::File { path: file, reader } => {
                has_errors = has_known_errors(file, reader, &served, &interfaces)?;
                trial
                    .args(["check", "--config-id", &reader.config_id])
                    .arg(file);
            }
            Origin::Embedded { .. } => {
                trial.arg("--version");
            }
        }
        trial.kill_on_drop(true);
        let output = time::timeout(TRIAL, trial.output())
            .await
            .with_context(|| format!("{} takes too long", path.display()))?
            .with_context(|| format!("run {}", path.display()))?;
        // What is told of scripts keeps nobody from running.
        let code = output.status.code();
        let as_bad_as_to_us = (has_errors && code == Some(HAS_ERRORS)) || code == Some(INSECURE);
        if !output.status.success() && !as_bad_as_to_us {
            bail!(
                "{} refuses: {}{}",
                path.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Puts the binary in our place, with one more environment variable. Signals that are blocked stay so.
    /// Returns only where that fails.
    pub(super) fn exec(&self, variable: &str, value: &str) -> anyhow::Error {
        let text = |text: &OsStr| CString::new(text.as_bytes());
        let put_together = || {
            let path = text(self.path.as_os_str())?;
            let arguments = self.arguments.iter().map(|it| text(it));
            let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
            let inherited = env::vars_os().filter(|(name, _)| {
                *name != *variable && !NOT_FOR_THE_NEXT.iter().any(|it| *name == **it)
            });
            let added = (OsString::from(variable), OsString::from(value));
            let variables = inherited.chain([added]).map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                CString::new(name.into_vec())
            });
            let variables = variables.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, std::ffi::NulError>((path, arguments, variables))
        };
        let error = match put_together() {
            Ok((path, arguments, variables)) => match execve(&path, &arguments, &variables) {
                Err(errno) => anyhow!(errno),
                Ok(never) => match never {},
            },
            Err(error) => anyhow!(error),
        };
        error.context(format!("start {}", self.path.display()))
    }
}

/// Where this program is by that name: as named, or on the PATH.
fn found(name: &Path) -> Option<PathBuf> {
    let ours = fs::metadata("/proc/self/exe").ok()?;
    let is_ours = |path: &PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
    };
    if name.components().count() > 1 {
        return std::path::absolute(name).ok().filter(is_ours);
    }
    let path = env::var_os("PATH")?;
    let places = env::split_paths(&path).map(|place| place.join(name));
    let mut places = places.filter_map(|place| std::path::absolute(place).ok());
    places.find(is_ours)
}

/// Whether the file has errors that we know of; none that costs an instance that is served.
fn has_known_errors(
    file: &Path,
    reader: &Reader,
    served: &[String],
    interfaces: &InterfaceTable,
) -> Result<bool> {
    let loaded = reader
        .load(file)
        .with_context(|| format!("read {}", file.display()))?;
    let has_errors = loaded.diagnostics.count(Severity::Error) > 0;
    let errors = has_errors || loaded.verdict(false) == Verdict::HasErrors;
    let instances = &loaded.config.instances;
    let is_there = |name: &&String| instances.iter().any(|instance| instance.name == **name);
    if errors && let Some(lost) = served.iter().find(|name| !is_there(name)) {
        bail!(
            "({lost}) would be left out, for {} has errors: {}",
            file.display(),
            loaded.diagnostics.render(&loaded.sources, false)
        );
    }
    let waits = loaded.config.global.dynamic_interfaces;
    let is_served = |it: &Instance| waits || interfaces.by_name(&it.interface).is_some();
    if !instances.iter().any(is_served) {
        bail!(
            "{} has no instance that can be served here (there are {})",
            file.display(),
            interfaces.names()
        );
    }
    Ok(errors)
}

/// Reaps what the image before us has started and nobody waits for any longer.
pub fn reap_children() {
    let children = children_of(Path::new("/proc/thread-self/children"));
    for pid in children {
        let wait = move || {
            privileges::leave_signals_alone();
            // Whoever is not our child, or was waited for, is none of our business.
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        };
        // A script that goes on for long keeps a sleeping thread, and nothing else.
        let _ = std::thread::Builder::new()
            .name("xvrrp-reaper".to_owned())
            .spawn(wait);
    }
}

fn children_of(path: &Path) -> Vec<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
