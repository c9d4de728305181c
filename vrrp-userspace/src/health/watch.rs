//! Running one `vrrp_script` at its interval.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde::Serialize;
use tokio::{
    process::Child,
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
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

impl ScriptState {
    /// A script that cannot be run at all.
    #[must_use]
    pub fn broken(why: &str) -> Self {
        let last = LastRun {
            outcome: Outcome::NotStarted(why.to_owned()),
            took: Duration::ZERO,
        };
        Self {
            up: Some(false),
            last: Some(last),
        }
    }
}

/// What to run, and how often.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The command.
    pub command: Command,
    /// Time from one run to the next.
    pub interval: Duration,
    /// How long a run may take.
    pub timeout: Duration,
}

/// How long a script may take to end itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the check for ever. `changed` gets its name whenever its standing changes; `state` always
/// has the latest.
pub async fn watch(
    check: Check,
    mut verdict: Verdict,
    state: watch::Sender<ScriptState>,
    changed: mpsc::UnboundedSender<String>,
) {
    let mut ticks = time::interval(check.interval);
    // A run that is still going when the next is due makes that one be skipped.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut overdue: Option<JoinHandle<()>> = None;
    loop {
        ticks.tick().await;
        let started = Instant::now();
        // A run that timed out and has not ended yet, whatever it was sent, has failed again.
        let outcome = if overdue.as_ref().is_some_and(|ending| !ending.is_finished()) {
            Outcome::TimedOut
        } else {
            let (outcome, ending) = run(&check.command, check.timeout).await;
            overdue = ending;
            outcome
        };
        let turned = verdict.record(outcome.success());
        let last = LastRun {
            outcome,
            took: started.elapsed(),
        };
        state.send_replace(ScriptState {
            up: verdict.up(),
            last: Some(last),
        });
        if turned && changed.send(check.name.clone()).is_err() {
            return;
        }
    }
}

/// A child that is ended when nobody waits for it any longer.
struct Attended(Option<Child>);

impl Attended {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        match &mut self.0 {
            Some(child) => child.wait().await,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        if let Some(child) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(end(child));
        }
    }
}

/// One run. One that times out is judged at once and ended in a task of its own.
async fn run(command: &Command, timeout: Duration) -> (Outcome, Option<JoinHandle<()>>) {
    let mut attended = match command.start(&[]) {
        Ok(child) => Attended(Some(child)),
        Err(error) => return (Outcome::NotStarted(error.to_string()), None),
    };
    let ended = time::timeout(timeout, attended.wait()).await;
    let child = attended.0.take();
    match ended {
        Ok(Ok(status)) => {
            let outcome = match (status.code(), status.signal()) {
                (Some(code), _) => Outcome::Exited(code),
                (None, signal) => Outcome::Signalled(signal.unwrap_or(0)),
            };
            (outcome, None)
        }
        Ok(Err(error)) => (Outcome::NotStarted(error.to_string()), None),
        Err(_) => (
            Outcome::TimedOut,
            child.map(|child| tokio::spawn(end(child))),
        ),
    }
}

/// TERM, a little patience, then KILL, to the whole process group.
async fn end(mut child: Child) {
    signal_group(&child, Signal::SIGTERM);
    if time::timeout(GRACE, child.wait()).await.is_err() {
        signal_group(&child, Signal::SIGKILL);
        // After SIGKILL the only thing left to wait for is the kernel.
        let _ = child.wait().await;
    }
}
