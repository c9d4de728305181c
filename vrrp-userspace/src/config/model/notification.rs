//! Who is told of what happens: scripts, FIFOs, mails.

use std::{path::PathBuf, time::Duration};

use super::ScriptUser;
use crate::config::source::Span;

/// `notify_master`, `notify_backup`, `notify_fault`, `notify_stop`, `notify_deleted` and `notify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// Run on entering MASTER.
    pub master: Option<NotifyScript>,
    /// Run on entering BACKUP.
    pub backup: Option<NotifyScript>,
    /// Run on entering FAULT.
    pub fault: Option<NotifyScript>,
    /// Run when the daemon stops.
    pub stop: Option<NotifyScript>,
    /// Run when a reload removes the instance.
    pub deleted: Option<NotifyScript>,
    /// `notify_deleted` without a script: the general one is told DELETED then, not FAULT.
    pub tells_deleted: bool,
    /// Run on every change, with four more arguments.
    pub any: Option<NotifyScript>,
    /// `notify_master_rx_lower_pri`: run when a MASTER hears an advert that loses.
    pub rx_lower_priority: Option<NotifyScript>,
    /// `notify_priority_changes`: FIFOs are told of other priorities.
    pub tells_priority: bool,
    /// `smtp_alert`: mails about its states, unless `global_defs` says.
    pub alert: Option<bool>,
}

/// `notify_fifo` or `vrrp_notify_fifo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoSettings {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is, where it has to be made.
    pub user: Option<ScriptUser>,
    /// `notify_fifo_script`, `vrrp_notify_fifo_script`: what reads it.
    pub script: Option<NotifyScript>,
}

/// `notification_email` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// `notification_email`.
    pub to: Vec<String>,
    /// `notification_email_from`.
    pub from: String,
    /// `smtp_server`: host and port.
    pub server: (String, u16),
    /// `smtp_helo_name`.
    pub helo: Option<String>,
    /// `smtp_connect_timeout`.
    pub timeout: Duration,
    /// `smtp_tls`.
    pub tls: MailTls,
    /// `smtp_login`: user and password.
    pub login: Option<(String, String)>,
    /// `smtp_alert`, `smtp_alert_vrrp`: whoever says nothing is written of.
    pub by_default: bool,
    /// `no_email_faults`.
    pub spares_faults: bool,
}

/// How mails are protected on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all, as keepalived's are.
    #[default]
    None,
    /// By STARTTLS, or they are not sent.
    StartTls,
    /// By TLS from the start.
    Tls,
}

impl MailSettings {
    /// Without what is no matter of the server.
    #[must_use]
    pub fn server_alone(&self) -> Self {
        Self {
            to: Vec::new(),
            from: String::new(),
            by_default: false,
            spares_faults: false,
            ..self.clone()
        }
    }
}

/// A script to run on a state change.
#[derive(Clone, Debug)]
pub struct NotifyScript {
    /// The command line.
    pub command: String,
    /// Who runs it.
    pub user: Option<ScriptUser>,
    /// Where it stands, which is no part of what it is.
    pub span: Span,
}

impl PartialEq for NotifyScript {
    fn eq(&self, other: &Self) -> bool {
        (&self.command, &self.user) == (&other.command, &other.user)
    }
}

impl Eq for NotifyScript {}

impl Notify {
    /// Whether a removal is told as such, and not as FAULT.
    #[must_use]
    pub const fn knows_deleted(&self) -> bool {
        self.tells_deleted || self.deleted.is_some()
    }

    /// Every script that may be there.
    pub(in crate::config) fn scripts_mut(&mut self) -> [&mut Option<NotifyScript>; 7] {
        let Self {
            master,
            backup,
            fault,
            stop,
            deleted,
            any,
            rx_lower_priority,
            tells_deleted: _,
            tells_priority: _,
            alert: _,
        } = self;
        [master, backup, fault, stop, deleted, any, rx_lower_priority]
    }
}
