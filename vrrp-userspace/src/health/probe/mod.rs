//! What a check asks: a script, or one of the checks that are built in, so that nobody has to write a
//! shell for the usual questions.

mod haproxy;
mod http;
mod icmp;
mod quorum;
mod tcp;

use std::{fmt, time::Duration};

use tokio::time;

pub use self::{
    haproxy::{Haproxy, Socket},
    http::{Expect, Http},
    quorum::Quorum,
};
use super::{
    Command, Identity, Outcome,
    command::CommandError,
    run::{self, Run},
};

/// What a `vrrp_script` or a target of a `vrrp_arbiter` asks, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `script "COMMAND"`: exit code 0 is success.
    Script(String),
    /// `check tcp HOST:PORT`: whether somebody accepts a connection.
    Tcp(String),
    /// `check http URL [expect STATUS|"TEXT"]`.
    Http(Http),
    /// `check icmp HOST`: whether it answers an echo request.
    Icmp(String),
    /// `check haproxy SOCKET [backend NAME]`.
    Haproxy(Haproxy),
    /// `check systemd UNIT`: whether the unit is active.
    Systemd(String),
    /// A `vrrp_arbiter` with a quorum of targets.
    Quorum(Quorum),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(command) => f.write_str(command),
            Self::Tcp(endpoint) => write!(f, "tcp {endpoint}"),
            Self::Http(http) => write!(f, "http {http}"),
            Self::Icmp(host) => write!(f, "icmp {host}"),
            Self::Haproxy(haproxy) => write!(f, "haproxy {haproxy}"),
            Self::Systemd(unit) => write!(f, "systemd {unit}"),
            Self::Quorum(quorum) => write!(f, "{quorum}"),
        }
    }
}

/// A probe that can be run.
#[derive(Clone, Debug)]
pub(super) enum Ready {
    Command(Command),
    Tcp(String),
    Http(http::Client),
    Icmp(String),
    Haproxy(Haproxy),
    Quorum(quorum::Targets),
}

impl Probe {
    /// Makes it ready to run. Scripts run as `identity`.
    ///
    /// # Errors
    ///
    /// A command line that cannot be split.
    pub(super) fn ready(&self, identity: Option<Identity>) -> Result<Ready, CommandError> {
        Ok(match self {
            Self::Script(line) => Ready::Command(Command::new(line, identity)?),
            // What systemd offers programs beside this is D-Bus, which says the same.
            Self::Systemd(unit) => {
                let words = ["systemctl", "is-active", "--", unit];
                Ready::Command(Command::of_words(&words))
            }
            Self::Tcp(endpoint) => Ready::Tcp(endpoint.clone()),
            Self::Http(http) => Ready::Http(http::Client::new(http)),
            Self::Icmp(host) => Ready::Icmp(host.clone()),
            Self::Haproxy(haproxy) => Ready::Haproxy(haproxy.clone()),
            Self::Quorum(quorum) => Ready::Quorum(quorum.ready(identity)?),
        })
    }
}

impl Ready {
    /// Asks once. Never takes longer than `timeout`; a script that does is ended in a task of its own.
    pub(super) async fn ask(&self, timeout: Duration) -> Run {
        let asked = async {
            match self {
                Self::Tcp(endpoint) => tcp::ask(endpoint).await,
                Self::Http(client) => client.ask().await,
                Self::Icmp(host) => icmp::ask(host).await,
                Self::Haproxy(haproxy) => haproxy.ask().await,
                Self::Command(_) | Self::Quorum(_) => Err("not asked this way".to_owned()),
            }
        };
        match self {
            Self::Command(command) => run::run(command, timeout).await,
            Self::Quorum(targets) => Run::of(targets.ask(timeout).await),
            _ => Run::of(match time::timeout(timeout, asked).await {
                Ok(Ok(said)) => Outcome::Passed(said),
                Ok(Err(why)) => Outcome::Failed(why),
                Err(_) => Outcome::TimedOut,
            }),
        }
    }
}
