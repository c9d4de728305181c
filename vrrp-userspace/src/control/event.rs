//! What `xvrrp events` and `xvrrp watch` tell. Field names are part of the interface.

use serde::{Deserialize, Serialize};

use crate::clock;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Counts up. The daemon after an upgrade goes on counting; any other begins with the milliseconds since
    /// the machine was started, and so further on.
    #[serde(default)]
    pub number: u64,
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Whom it is about: an instance or a check. Nobody where it is about the daemon.
    pub subject: Option<String>,
    /// The state that was entered.
    pub state: Option<String>,
    /// The state before that.
    pub before: Option<String>,
    /// Why, for programs.
    pub cause: Option<String>,
    /// The effective priority at that moment.
    pub priority: Option<u8>,
    /// What has happened, in one sentence.
    pub what: String,
    /// What led to it, the nearest first.
    pub because: Vec<String>,
}

/// Kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An instance has entered a state.
    Transition,
    /// A check says something else than before.
    Check,
    /// Somebody did something by hand.
    Hand,
    /// The configuration was read again.
    Reload,
    /// A neighbour does something wrong.
    Neighbour,
    /// The kernel has refused something.
    Refused,
    /// The daemon itself has started, or is about to end.
    Daemon,
}

impl Happened {
    /// Something that is said in one sentence.
    #[must_use]
    pub const fn new(kind: Kind, at_ns: u64, subject: Option<String>, what: String) -> Self {
        Self {
            number: 0,
            at_ns,
            kind,
            subject,
            state: None,
            before: None,
            cause: None,
            priority: None,
            what,
            because: Vec::new(),
        }
    }

    /// With the time, for people.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {self}", clock::local_time(self.at_ns))
    }

    /// Whether it is about them.
    #[must_use]
    pub fn is_about(&self, subject: &str) -> bool {
        self.subject.as_deref() == Some(subject)
    }
}

/// For people, without the time: the first line, and one for each cause.
impl std::fmt::Display for Happened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(subject) = &self.subject {
            write!(f, "({subject}) ")?;
        }
        match (&self.before, &self.state) {
            (Some(before), Some(state)) => write!(f, "{before} -> {state}: ")?,
            (None, Some(state)) => write!(f, "{state}: ")?,
            _ => {}
        }
        write!(f, "{}", printable(&self.what))?;
        for cause in &self.because {
            write!(f, "\n    because {}", printable(cause))?;
        }
        Ok(())
    }
}

/// What others have said, in one line: it is not to move anybody's cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}
