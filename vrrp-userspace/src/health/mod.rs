//! Health checks: run apart from the election, and what their results mean in a row.

mod command;
pub mod files;
mod outcome;
mod probe;
pub mod processes;
mod run;
mod runner;
mod verdict;
mod watch;

use crate::config::model::TrackKind;
pub use command::{Command, CommandError, Identity};
pub use outcome::{LastRun, Outcome};
pub use probe::{Expect, Haproxy, Http, Probe, Quorum, Socket};
pub use processes::{ParamMatch, ProcessRule};
pub use runner::Runner;
pub use verdict::Verdict;
pub use vrrp_common::arbiter::OnUnreachable;
pub use watch::{Check, ScriptState, watch};

/// A check whose standing has changed, or a file with another number.
pub type Turned = (TrackKind, String);
