//! Running one `vrrp_script` at its interval.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use tokio::{
    process::Child,
    sync::{mpsc, watch},
    time::{self, MissedTickBehavior},
};

use super::{Command, Verdict, command::signal_group};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It exited with this code; 0 is success.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It took longer than its timeout and was ended.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

impl Outcome {
    const fn success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

/// The last run of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastRun {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What is known of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptState {
    /// Whether it is up; `None` before its first result.
    pub up: Option<bool>,
    /// Its last run.
    pub last: Option<LastRun>,
}

/// How long a script may take to end itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the script for ever. `changed` gets the name whenever the standing changes; `state` always
/// has the latest.
pub async fn watch(
    name: String,
    command: Command,
    interval: Duration,
    timeout: Duration,
    mut verdict: Verdict,
    state: watch::Sender<ScriptState>,
    changed: mpsc::UnboundedSender<String>,
) {
    let mut ticks = time::interval(interval);
    // A run that is still going when the next is due makes that one be skipped.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let outcome = run(&command, timeout).await;
        let turned = verdict.record(outcome.success());
        let last = LastRun {
            outcome,
            took: started.elapsed(),
        };
        state.send_replace(ScriptState {
            up: verdict.up(),
            last: Some(last),
        });
        if turned && changed.send(name.clone()).is_err() {
            return;
        }
    }
}

async fn run(command: &Command, timeout: Duration) -> Outcome {
    let mut child = match command.start(&[]) {
        Ok(child) => child,
        Err(error) => return Outcome::NotStarted(error.to_string()),
    };
    match time::timeout(timeout, child.wait()).await {
        Ok(Ok(status)) => {
            use std::os::unix::process::ExitStatusExt as _;
            match (status.code(), status.signal()) {
                (Some(code), _) => Outcome::Exited(code),
                (None, signal) => Outcome::Signalled(signal.unwrap_or(0)),
            }
        }
        Ok(Err(error)) => Outcome::NotStarted(error.to_string()),
        Err(_) => {
            end(&mut child).await;
            Outcome::TimedOut
        }
    }
}

/// TERM, a little patience, then KILL, to the whole process group.
async fn end(child: &mut Child) {
    signal_group(child, Signal::SIGTERM);
    if time::timeout(GRACE, child.wait()).await.is_err() {
        signal_group(child, Signal::SIGKILL);
        // After SIGKILL the only thing left to wait for is the kernel.
        let _ = child.wait().await;
    }
}
