//! One check, run at its interval.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{self, Instant, MissedTickBehavior},
};

use vrrp_common::arbiter::OnUnreachable;

use super::{
    Identity, LastRun, Outcome, Probe, Turned, Verdict, command::CommandError, probe::Ready,
    run::Run,
};

/// What is known of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptState {
    /// Whether it is up; `None` before its first result.
    pub up: Option<bool>,
    /// Its last run.
    pub last: Option<LastRun>,
    /// It runs at this moment.
    pub runs_now: bool,
    /// How often it has run.
    pub runs: u64,
    /// How long all runs took together.
    pub took: Duration,
}

impl ScriptState {
    fn ran(&mut self, last: LastRun, up: Option<bool>) {
        self.up = up;
        self.runs_now = false;
        self.runs += 1;
        self.took += last.took;
        self.last = Some(last);
    }

    /// A check that cannot be run at all.
    #[must_use]
    pub fn broken(why: &str) -> Self {
        let last = LastRun {
            outcome: Outcome::NotStarted(why.to_owned()),
            took: Duration::ZERO,
            output: String::new(),
        };
        Self {
            up: Some(false),
            last: Some(last),
            ..Self::default()
        }
    }
}

/// What to ask, and how often.
#[derive(Clone, Debug)]
pub struct Check {
    turned: Turned,
    ready: Ready,
    interval: Duration,
    timeout: Duration,
    on_unreachable: OnUnreachable,
}

impl Check {
    /// Makes a check ready to run. Scripts run as `identity`.
    ///
    /// # Errors
    ///
    /// A command line that cannot be split.
    pub fn new(
        turned: Turned,
        probe: &Probe,
        identity: Option<Identity>,
        interval: Duration,
        timeout: Duration,
        on_unreachable: OnUnreachable,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            turned,
            ready: probe.ready(identity)?,
            interval,
            timeout,
            on_unreachable,
        })
    }

    /// What a run means; `None` where it says nothing.
    const fn success(&self, outcome: &Outcome) -> Option<bool> {
        match (outcome, self.on_unreachable) {
            (Outcome::Unreachable(_), OnUnreachable::Keep) => None,
            (Outcome::Unreachable(_), OnUnreachable::Ignore) => Some(true),
            _ => Some(outcome.success()),
        }
    }
}

/// Runs the check for ever. `changed` gets its name whenever its standing changes; `state` always
/// has the latest.
pub async fn watch(
    check: Check,
    mut verdict: Verdict,
    state: watch::Sender<ScriptState>,
    changed: mpsc::UnboundedSender<Turned>,
) {
    // The first run is at once, the others at moments of their own: many checks that were started
    // together would otherwise run together for ever.
    let phase = check.interval.mul_f64(0.5 + fastrand::f64() / 2.0);
    let mut ticks = time::interval_at(Instant::now() + phase, check.interval);
    let mut is_first = true;
    // A run that is still going when the next is due makes that one be skipped.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut overdue: Option<JoinHandle<()>> = None;
    loop {
        if !std::mem::take(&mut is_first) {
            ticks.tick().await;
        }
        let started = Instant::now();
        state.send_modify(|state| state.runs_now = true);
        // A run that timed out and has not ended yet, whatever it was sent, has failed again.
        let run = if overdue.as_ref().is_some_and(|ending| !ending.is_finished()) {
            Run::of(Outcome::TimedOut)
        } else {
            check.ready.ask(check.timeout).await
        };
        let Run {
            outcome,
            output,
            ending,
        } = run;
        if ending.is_some() {
            overdue = ending;
        }
        let turned = check
            .success(&outcome)
            .is_some_and(|success| verdict.record(success));
        let last = LastRun {
            outcome,
            took: started.elapsed(),
            output,
        };
        state.send_modify(|state| state.ran(last, verdict.up()));
        if turned && changed.send(check.turned.clone()).is_err() {
            return;
        }
    }
}
