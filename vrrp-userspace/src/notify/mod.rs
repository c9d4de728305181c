//! `notify*` scripts: one queue per instance, in the order of the events, so that the script that
//! runs last is about the last state.

use std::{process::ExitStatus, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};
use vrrp_common::election::State;

use crate::{
    config::model::{Notify, NotifyScript, ScriptUser},
    health::{Command, Identity},
};

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
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::Entered(State::Master) => Some("MASTER"),
            Self::Entered(State::Backup) => Some("BACKUP"),
            // A removal is told by another word where `notify_deleted` is there.
            Self::Entered(State::Fault) | Self::Deleted => Some("FAULT"),
            Self::Entered(State::Init) => None,
            Self::Stopped => Some("STOP"),
        }
    }
}

/// Whom scripts are told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A `vrrp_instance`.
    Instance(String),
    /// A `vrrp_sync_group`.
    Group(String),
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Instance(name) | Self::Group(name) => name,
        }
    }

    /// The word that keepalived gives scripts.
    const fn word(&self) -> &'static str {
        match self {
            Self::Instance(_) => "INSTANCE",
            Self::Group(_) => "GROUP",
        }
    }
}

struct Event {
    announced: Announced,
    priority: u8,
    done: Option<oneshot::Sender<()>>,
}

/// What is in the queue.
enum Message {
    Tell(Event),
    /// From here on other scripts are run.
    Change(Box<Notify>, Option<ScriptUser>),
}

/// The queue of one instance.
#[derive(Clone)]
pub struct Notifier {
    queue: mpsc::UnboundedSender<Message>,
}

/// How long the queue waits for a script. One that takes longer goes on by itself.
const PATIENCE: Duration = Duration::from_secs(3);

impl Notifier {
    /// Starts the queue of an instance or a group.
    #[must_use]
    pub fn start(subject: Subject, notify: Notify, script_user: Option<ScriptUser>) -> Self {
        let (queue, mut messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut notify, mut script_user) = (notify, script_user);
            while let Some(message) = messages.recv().await {
                let event = match message {
                    Message::Tell(event) => event,
                    Message::Change(other, user) => {
                        (notify, script_user) = (*other, user);
                        continue;
                    }
                };
                announce(&subject, &notify, script_user.as_ref(), &event).await;
                if let Some(done) = event.done {
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
            }
        });
        Self { queue }
    }

    /// Events from here on have these scripts; those before have theirs, in their order.
    pub fn change(&self, notify: Notify, script_user: Option<ScriptUser>) {
        // The queue ends with the process.
        let _ = self
            .queue
            .send(Message::Change(Box::new(notify), script_user));
    }

    /// Queues an event.
    pub fn tell(&self, announced: Announced, priority: u8) {
        // The queue ends with the process.
        let _ = self.queue.send(Message::Tell(Event {
            announced,
            priority,
            done: None,
        }));
    }

    /// Queues an event and waits until its scripts, and all before them, have run.
    pub async fn tell_and_wait(&self, announced: Announced, priority: u8) {
        let (done, finished) = oneshot::channel();
        if self
            .queue
            .send(Message::Tell(Event {
                announced,
                priority,
                done: Some(done),
            }))
            .is_ok()
        {
            // An error means that the queue has ended.
            let _ = finished.await;
        }
    }
}

/// The script of the state first, without arguments, then the general one with keepalived's four.
async fn announce(subject: &Subject, notify: &Notify, default: Option<&ScriptUser>, event: &Event) {
    let name = subject.name();
    let knows_deleted = notify.tells_deleted || notify.deleted.is_some();
    let word = match event.announced {
        Announced::Deleted if knows_deleted => Some("DELETED"),
        other => other.word(),
    };
    let Some(word) = word else {
        return;
    };
    let own = match event.announced {
        Announced::Entered(State::Master) => &notify.master,
        Announced::Entered(State::Backup) => &notify.backup,
        Announced::Deleted if knows_deleted => &notify.deleted,
        Announced::Entered(State::Fault) | Announced::Deleted => &notify.fault,
        Announced::Entered(State::Init) => &None,
        Announced::Stopped => &notify.stop,
    };
    if let Some(script) = own {
        run(name, script, default, &[]).await;
    }
    if let Some(script) = &notify.any {
        let priority = event.priority.to_string();
        let arguments = [subject.word(), name, word, &priority];
        run(name, script, default, &arguments).await;
    }
}

async fn run(name: &str, script: &NotifyScript, default: Option<&ScriptUser>, arguments: &[&str]) {
    let line = &script.command;
    let command = Identity::resolve(script.user.as_ref(), default)
        .and_then(|identity| Command::new(line, identity));
    let child = match command {
        Ok(command) => command.start(arguments),
        Err(error) => return tracing::error!("({name}) notify script {line}: {error}"),
    };
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return tracing::error!("({name}) notify script {line}: {error}"),
    };
    match time::timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!("({name}) notify script {line}: {}", ended(status)),
        Ok(Err(error)) => tracing::warn!("({name}) notify script {line}: {error}"),
        Err(_) => tracing::warn!("({name}) notify script {line} still runs; going on without it"),
    }
}

fn ended(status: ExitStatus) -> String {
    status.code().map_or_else(
        || "a signal ended it".to_owned(),
        |code| format!("exit code {code}"),
    )
}
