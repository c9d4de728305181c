//! What people are told of.

use std::time::SystemTime;

use vrrp_common::election::State;

/// A state to tell people about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Entered while running.
    Entered(State),
    /// The daemon stops.
    Stopped,
    /// A reload has removed it.
    Deleted,
}

impl Announced {
    /// The word that keepalived gives scripts; `None` for a state that it does not announce.
    /// `knows_deleted`: `notify_deleted` is there; otherwise a removal is told as FAULT.
    #[must_use]
    pub const fn word(self, knows_deleted: bool) -> Option<&'static str> {
        match self {
            Self::Entered(State::Master) => Some("MASTER"),
            Self::Entered(State::Backup) => Some("BACKUP"),
            Self::Entered(State::Init) => None,
            Self::Stopped => Some("STOP"),
            Self::Deleted if knows_deleted => Some("DELETED"),
            Self::Entered(State::Fault) | Self::Deleted => Some("FAULT"),
        }
    }
}

/// Whom people are told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A `vrrp_instance`.
    Instance(String),
    /// A `vrrp_sync_group`.
    Group(String),
}

impl Subject {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Instance(name) | Self::Group(name) => name,
        }
    }

    /// The word that keepalived gives scripts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Instance(_) => "INSTANCE",
            Self::Group(_) => "GROUP",
        }
    }

    /// As keepalived's mails say it.
    pub(super) const fn in_mails(&self) -> &'static str {
        match self {
            Self::Instance(_) => "Instance",
            Self::Group(_) => "Group",
        }
    }
}

/// Something for everybody who listens: FIFOs, mails, webhooks.
#[derive(Clone, Debug)]
pub struct Event {
    /// About whom.
    pub subject: Subject,
    /// What, in keepalived's words: a state, or one of the words below.
    pub word: &'static str,
    /// The effective priority; 0 for groups.
    pub priority: u8,
    /// Why.
    pub why: String,
    /// It is about a state: what is not is for FIFOs alone.
    pub is_state: bool,
    /// Whether mails are sent about it (`smtp_alert`), where it says so itself.
    pub alert: Option<bool>,
    /// When.
    pub at: SystemTime,
}

/// A MASTER has heard an advert that loses (`notify_master_rx_lower_pri`).
pub const RX_LOWER_PRIORITY: &str = "MASTER_RX_LOWER_PRI";
/// The priority of a MASTER has changed (`notify_priority_changes`).
pub const MASTER_PRIORITY: &str = "MASTER_PRIORITY";
/// The priority of a BACKUP has changed.
pub const BACKUP_PRIORITY: &str = "BACKUP_PRIORITY";

impl Event {
    /// keepalived's line for FIFOs.
    pub(super) fn line(&self) -> String {
        format!(
            "{} \"{}\" {} {}\n",
            self.subject.word(),
            self.subject.name(),
            self.word,
            self.priority
        )
    }
}
