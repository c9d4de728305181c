//! `xvrrp doctor`: whether this machine lets the daemon do its work, and what to do where it does not.

mod host;
mod instances;
mod service;
mod wire;

use std::time::Duration;

use serde::Serialize;

pub use host::Host;

use crate::{config::model::Config, control::model::Status, net::InterfaceTable, observe::Lan};

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at: `kernel`, an instance, an interface.
    pub about: String,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// It works, and somebody should know.
    Note,
    /// It does not work, or will not when it matters.
    Wrong,
}

impl Level {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Wrong => "WRONG",
        }
    }
}

impl Finding {
    fn fine(about: &str, what: impl Into<String>) -> Self {
        Self {
            level: Level::Fine,
            about: about.to_owned(),
            what: what.into(),
            fix: None,
        }
    }

    fn note(about: &str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Note,
            fix: Some(fix.into()),
            ..Self::fine(about, what)
        }
    }

    fn wrong(about: &str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Wrong,
            ..Self::note(about, what, fix)
        }
    }
}

/// What there is to look at.
pub struct Case<'a> {
    /// The machine's own files.
    pub host: &'a Host,
    /// What is to be served.
    pub config: &'a Config,
    /// What the daemon says, where one runs.
    pub status: Option<&'a Status>,
    /// Why it says nothing, where it does not.
    pub silence: Option<&'a str>,
    /// Interfaces.
    pub table: &'a InterfaceTable,
    /// What was heard, by interface.
    pub heard: &'a [(String, Lan)],
    /// For how long.
    pub listened: Duration,
}

/// Looks at everything.
#[must_use]
pub fn examine(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = host::examine(case.host);
    match case.status {
        Some(status) => findings.extend(service::examine(status)),
        None => findings.push(Finding::wrong(
            "daemon",
            case.silence.unwrap_or("it does not run"),
            "start it: systemctl start xvrrp; or name its --run-dir and --netns; or ask as root",
        )),
    }
    for instance in &case.config.instances {
        findings.extend(instances::examine(instance, case));
        findings.extend(wire::examine(instance, case));
    }
    // Several instances share an interface, and what is to be said of it.
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let is_new = !seen.contains(finding);
        seen.push(finding.clone());
        is_new
    });
    findings
}
