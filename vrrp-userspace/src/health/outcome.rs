//! How one run of a check ended.

use std::{fmt, time::Duration};

use serde::Serialize;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A script exited with this code; 0 is success.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It took longer than its timeout and was ended.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
    /// A built-in check passed, and what it was told.
    Passed(String),
    /// A built-in check failed, and why.
    Failed(String),
    /// Nobody could be asked, and why.
    Unreachable(String),
}

impl Outcome {
    /// Whether it passed.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self, Self::Exited(0) | Self::Passed(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut => f.write_str("took longer than its timeout"),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
            Self::Passed(said) => f.write_str(said),
            Self::Failed(why) => f.write_str(why),
            Self::Unreachable(why) => write!(f, "nobody answers: {why}"),
        }
    }
}

/// The last run of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastRun {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// The end of what a script has printed.
    pub output: String,
}
