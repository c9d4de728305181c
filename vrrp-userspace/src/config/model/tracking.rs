//! What can be tracked: checks, links, files, processes, arbiters, and what each does to the priority.

use std::{path::PathBuf, time::Duration};

use super::ScriptUser;
use crate::{
    config::source::Span,
    health::{OnUnreachable, Probe, ProcessRule, Quorum},
    web::Trust,
};

/// `vrrp_script`: a health check.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// What it asks: `script` or `check`.
    pub probe: Probe,
    /// Time from one run to the next.
    pub interval: Duration,
    /// How long a run may take.
    pub timeout: Duration,
    /// `weight`, where it is given.
    pub weight: Option<Weight>,
    /// Successes in a row to be up.
    pub rise: u32,
    /// Failures in a row to be down.
    pub fall: u32,
    /// Who runs it.
    pub user: Option<ScriptUser>,
    /// `init_fail`: it has failed until it succeeds.
    pub init_fail: bool,
    /// Where it stands.
    pub span: Span,
}

/// A `weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// -253 to 253; 0 = failure means FAULT.
    pub value: i32,
    /// `reverse`: what is added is taken away and the other way round; with 0, success means FAULT.
    pub reverse: bool,
}

impl Weight {
    /// What the weight adds to the priority, given whether the tracked thing is up. `None`: it
    /// holds the instance in FAULT.
    #[must_use]
    pub const fn share(self, up: bool) -> Option<i32> {
        let sign = if self.reverse { -1 } else { 1 };
        match (self.value, up) {
            (0, up) if up != self.reverse => Some(0),
            (0, _) => None,
            (weight, true) if weight > 0 => bounded(sign as i64 * weight as i64),
            (weight, false) if weight < 0 => bounded(sign as i64 * weight as i64),
            _ => Some(0),
        }
    }

    /// What a number in a file adds to the priority: the number times the weight. `None`: FAULT.
    #[must_use]
    pub const fn share_of(self, number: i64) -> Option<i32> {
        if self.value == 0 {
            let is_bad = (number == 0) == self.reverse;
            return if is_bad { None } else { Some(0) };
        }
        let sign = if self.reverse { -1 } else { 1 };
        bounded(number.saturating_mul(sign * self.value as i64))
    }
}

/// -254 and less mean FAULT, more than 253 is 253 (keepalived's `track_file`).
#[expect(
    clippy::cast_possible_truncation,
    reason = "what remains is between the two"
)]
const fn bounded(share: i64) -> Option<i32> {
    match share {
        ..=-254 => None,
        254.. => Some(253),
        share => Some(share as i32),
    }
}

/// Something that an instance tracks, with the weight it has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What it is.
    pub kind: TrackKind,
    /// Its name.
    pub name: String,
    /// Its weight here.
    pub weight: Weight,
    /// Somebody has written a weight down.
    pub is_given: bool,
}

/// What can be tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrackKind {
    /// A `vrrp_script`.
    Script,
    /// An interface.
    Interface,
    /// A `track_file`.
    File,
    /// A `vrrp_track_process`.
    Process,
    /// A `vrrp_arbiter`.
    Arbiter,
}

impl TrackKind {
    /// As users say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Interface => "interface",
            Self::File => "file",
            Self::Process => "process",
            Self::Arbiter => "arbiter",
        }
    }
}

/// `track_file`: a number in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// Its name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its weight, unless the tracking line has another.
    pub weight: Weight,
    /// `init_file`: what is written into the file at the start, and whether over what is there.
    pub init: Option<(i64, bool)>,
    /// Where it stands.
    pub span: Span,
}

/// `vrrp_track_process`: how many processes of a name run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackProcess {
    /// Its name.
    pub name: String,
    /// Which processes, and how many of them.
    pub rule: ProcessRule,
    /// Its weight, unless the tracking line has another.
    pub weight: Weight,
    /// Where it stands.
    pub span: Span,
}

/// `vrrp_arbiter`: a third party whose verdict counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arbiter {
    /// Its name.
    pub name: String,
    /// Who is asked.
    pub judge: Judge,
    /// Time from one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Its weight, unless the tracking line has another.
    pub weight: Weight,
    /// What holds while nobody can be asked.
    pub on_unreachable: OnUnreachable,
    /// Where it stands.
    pub span: Span,
}

/// Who an arbiter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Enough of several targets must pass.
    Quorum {
        /// The targets.
        quorum: Quorum,
        /// Verdicts in a row to be up.
        rise: u32,
        /// Verdicts in a row to be down.
        fall: u32,
    },
    /// A lease in etcd.
    Etcd(Etcd),
}

/// An etcd cluster, and which keys of it are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// `etcd`: URLs of its members.
    pub endpoints: Vec<String>,
    /// `prefix`: what every key of this arbiter begins with.
    pub prefix: String,
    /// `ttl`: how long the lease of a holder that is not heard of lasts.
    pub ttl: Duration,
    /// Certificates.
    pub trust: Trust,
    /// `user`: name and password.
    pub user: Option<(String, String)>,
}
