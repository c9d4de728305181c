//! Health checks: scripts run apart from the election, and what their results mean in a row.

mod command;
mod script;
mod verdict;

pub use command::{Command, Identity};
pub use script::{Check, LastRun, Outcome, ScriptState, watch};
pub use verdict::Verdict;
