//! What happens, with the chain of its causes.

use std::time::Duration;

use vrrp_common::{
    election::{Cause, State},
    timers,
};

use super::{
    Daemon,
    checks::Checks,
    report,
    supervisor::{Share, Supervised},
};
use crate::{
    clock,
    config::model::{Config, TrackKind},
    control::{Happened, Kind},
    election::{Notice, Transition},
    handover::Handover,
    history::History,
    metrics::Measures,
};

impl Daemon {
    /// Writes down that it has begun.
    pub(super) fn note_start(&self, left: Option<&Handover>) {
        let version = env!("CARGO_PKG_VERSION");
        let what = match left {
            Some(left) => format!(
                "xvrrp {version} goes on where xvrrp {} left off",
                left.version
            ),
            None => format!("xvrrp {version} has started"),
        };
        self.note(Kind::Daemon, None, &what);
    }

    /// Writes down what the control plane itself has done or noticed.
    pub(super) fn note(&self, kind: Kind, subject: Option<&str>, what: &str) {
        let subject = subject.map(str::to_owned);
        let at_ns = clock::wall_ns(clock::now_ns());
        self.history
            .note(Happened::new(kind, at_ns, subject, what.to_owned()));
    }
}

/// What a notice of the election says, where it is worth being written down. `supervised` is as it was before.
pub(super) fn of_notice(
    notice: &Notice,
    supervised: &Supervised,
    checks: &Checks,
    config: &Config,
    history: &History,
) -> Option<Happened> {
    let name = &supervised.instance.name;
    let plain = |kind, what| {
        let at_ns = clock::wall_ns(clock::now_ns());
        Some(Happened::new(kind, at_ns, Some(name.clone()), what))
    };
    match notice {
        Notice::Entered(transition) => Some(of_transition(
            transition, supervised, checks, config, history,
        )),
        Notice::Mistake { noticed, .. } => plain(
            Kind::Neighbour,
            report::mistake(supervised.instance.vrid, noticed),
        ),
        Notice::Refused { what, .. } => plain(Kind::Refused, format!("cannot {what}")),
        Notice::SendFailed { what, .. } => {
            plain(Kind::Refused, format!("cannot send adverts: {what}"))
        }
        Notice::Wants { .. } | Notice::HeardLesser { .. } => None,
    }
}

/// Counts a transition, and how late it was where it follows from silence.
pub(super) fn measure(measures: &Measures, supervised: &Supervised, transition: &Transition) {
    let instance = &supervised.instance;
    let (state, cause) = (transition.state, transition.cause);
    measures.entered(
        &instance.name,
        report::state_name(state),
        report::cause_name(cause),
    );
    if !follows_silence(transition) {
        return;
    }
    let down = timers::master_down_interval(
        instance.version,
        transition.priority,
        timers::interval_ns(transition.master.interval_cs),
        instance.down_timer_adverts,
    );
    // What was heard before it listened was no reason to wait.
    let listens = supervised.last_transition.map_or(0, |it| it.at_ns);
    let since = transition.seen_ns.max(listens);
    let silence = transition.at_ns.saturating_sub(since);
    let late = Duration::from_nanos(silence.saturating_sub(down));
    measures.failed_over(late.as_secs_f64());
}

/// Whether a MASTER was heard, and is not any longer. One that is preempted goes on being heard.
fn follows_silence(transition: &Transition) -> bool {
    transition.cause == Cause::MasterTimeout
        && transition.seen_ns > 0
        && transition.master.priority >= transition.priority
}

fn of_transition(
    transition: &Transition,
    supervised: &Supervised,
    checks: &Checks,
    config: &Config,
    history: &History,
) -> Happened {
    let name = &supervised.instance.name;
    let before = supervised.last_transition.map(|before| before.state);
    let because = match transition.cause {
        Cause::FaultRaised => of_fault(supervised, checks),
        Cause::Beaten | Cause::MasterTimeout | Cause::MasterResigned => {
            let mut because = Vec::new();
            if transition.cause == Cause::Beaten && before == Some(State::Master) {
                because.push("it preempted us".to_owned());
            }
            because.extend(last_advert(transition));
            because.extend(of_priority(transition.priority, supervised, checks));
            because
        }
        Cause::Group => of_group(name, config, history),
        Cause::Arbiter => of_arbiter(supervised, checks),
        Cause::Startup
        | Cause::Shutdown
        | Cause::Owner
        | Cause::Overslept
        | Cause::FaultCleared => Vec::new(),
    };
    Happened {
        number: 0,
        at_ns: clock::wall_ns(transition.at_ns),
        kind: Kind::Transition,
        subject: Some(name.clone()),
        state: Some(report::state_name(transition.state).to_owned()),
        before: before.map(|before| report::state_name(before).to_owned()),
        cause: Some(report::cause_name(transition.cause).to_owned()),
        priority: Some(transition.priority),
        what: report::why(transition),
        because,
    }
}

/// Every fault, and of one that is a check's, what that said last.
fn of_fault(supervised: &Supervised, checks: &Checks) -> Vec<String> {
    let of_checks = supervised.shares.iter().filter_map(|share| {
        let fault = share.fault()?;
        Some(format!("{fault}{}", said(share, checks)))
    });
    let of_checks: Vec<String> = of_checks.collect();
    let is_told = |fault: &&String| {
        of_checks
            .iter()
            .any(|told| told.starts_with(fault.as_str()))
    };
    let others = supervised.faults.iter().filter(|fault| !is_told(fault));
    others.cloned().chain(of_checks.iter().cloned()).collect()
}

/// How old the last advert was that held us down.
fn last_advert(transition: &Transition) -> Option<String> {
    if !follows_silence(transition) {
        return None;
    }
    let ago = transition.at_ns.saturating_sub(transition.seen_ns) / 1000;
    Some(format!(
        "the last advert that held us down came {}.{:03} ms before",
        ago / 1000,
        ago % 1000
    ))
}

/// What makes our priority another than the configured one.
fn of_priority(priority: u8, supervised: &Supervised, checks: &Checks) -> Vec<String> {
    let base = supervised.instance.priority;
    if priority == base {
        return Vec::new();
    }
    let mut because = vec![match supervised.priority_by_hand {
        Some(by_hand) => {
            format!("our priority is {priority}: {by_hand} by hand ({base} configured)")
        }
        None => format!("our priority is {priority}: {base} configured"),
    }];
    let shares = supervised.shares.iter().filter(|share| share.adds() != 0);
    because.extend(shares.map(|share| {
        let Share { name, kind, .. } = share;
        let said = said(share, checks);
        format!("{} {name} adds {:+}{said}", kind.name(), share.adds())
    }));
    because
}

/// What a check said in its last run, with a comma before it.
fn said(share: &Share, checks: &Checks) -> String {
    let state = checks.state(share.kind, &share.name);
    let Some(last) = state.as_ref().and_then(|state| state.last.as_ref()) else {
        return String::new();
    };
    let line = last.output.lines().last().unwrap_or_default();
    // What it prints is not to move anybody's cursor.
    let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
    if line.is_empty() {
        format!(": {}", last.outcome)
    } else {
        format!(": {}, saying \"{line}\"", last.outcome)
    }
}

/// The last transition of another member of its sync group.
fn of_group(name: &str, config: &Config, history: &History) -> Vec<String> {
    let mut groups = config.groups.iter();
    let Some(group) = groups.find(|group| group.members.iter().any(|member| member == name)) else {
        return Vec::new();
    };
    let is_other = |happened: &Happened| {
        let subject = happened.subject.as_deref().unwrap_or_default();
        happened.kind == Kind::Transition
            && subject != name
            && group.members.iter().any(|member| member == subject)
            && happened.cause.as_deref() != Some(report::cause_name(Cause::Group))
    };
    let Some(other) = history.last(is_other) else {
        return vec![format!("sync group {}", group.name)];
    };
    let subject = other.subject.unwrap_or_default();
    let state = other.state.unwrap_or_default();
    let first = format!(
        "{subject} of sync group {} entered {state}: {}",
        group.name, other.what
    );
    std::iter::once(first).chain(other.because).collect()
}

fn of_arbiter(supervised: &Supervised, checks: &Checks) -> Vec<String> {
    let tracks = &supervised.instance.tracks;
    let is_tracked = |name: &str| {
        let mut arbiters = tracks.iter().filter(|it| it.kind == TrackKind::Arbiter);
        arbiters.any(|track| track.name == name)
    };
    let all = checks.arbiters.states();
    all.filter(|(name, _, _)| is_tracked(name))
        .map(|(name, _, lease)| format!("arbiter {name}: {}", lease.said))
        .collect()
}
