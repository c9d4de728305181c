//! Who is told of what happens: `notify*` scripts, one queue per instance, in the order of the events, so
//! that the script that runs last is about the last state; FIFOs, mails and webhooks ([`Desk`]).

mod desk;
mod event;
mod fifo;
mod mail;
mod outbox;
mod webhook;

use std::{
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};
use vrrp_common::election::State;

use crate::{
    config::model::{Notify, NotifyScript, ScriptUser},
    health::{Command, Identity},
};
pub use desk::{Desk, Ending, Settings, Told};
pub use event::{Announced, BACKUP_PRIORITY, Event, MASTER_PRIORITY, RX_LOWER_PRIORITY, Subject};

/// What is in the queue.
enum Message {
    Tell {
        announced: Announced,
        priority: u8,
        done: Option<oneshot::Sender<()>>,
    },
    /// A losing advert was heard as MASTER.
    RxLowerPriority,
    /// From here on other scripts are run.
    Change(Box<Notify>, Option<ScriptUser>),
}

/// The queue of one instance or group.
#[derive(Clone)]
pub struct Notifier {
    queue: mpsc::UnboundedSender<Message>,
    subject: Subject,
    desk: Desk,
    /// `notify_deleted` is there.
    knows_deleted: bool,
    /// `smtp_alert`.
    alert: Option<bool>,
    /// `notify_priority_changes`.
    tells_priority: bool,
    last: Arc<Mutex<Option<LastScript>>>,
    /// A `notify_master_rx_lower_pri` waits in the queue.
    rx_lower_waits: Arc<AtomicBool>,
}

/// The script that ran last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastScript {
    /// Its command line, with its arguments.
    pub command: String,
    /// What became of it.
    pub outcome: String,
}

/// How long the queue waits for a script. One that takes longer goes on by itself.
const PATIENCE: Duration = Duration::from_secs(3);

impl Notifier {
    /// Starts the queue of an instance or a group.
    #[must_use]
    pub fn start(
        subject: Subject,
        notify: Notify,
        script_user: Option<ScriptUser>,
        desk: Desk,
    ) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let last = Arc::default();
        let rx_lower_waits = Arc::default();
        let notifier = Self {
            queue,
            subject: subject.clone(),
            desk,
            knows_deleted: notify.knows_deleted(),
            alert: notify.alert,
            tells_priority: notify.tells_priority,
            last: Arc::clone(&last),
            rx_lower_waits: Arc::clone(&rx_lower_waits),
        };
        let scripts = Scripts {
            subject,
            notify,
            script_user,
            last,
            rx_lower_waits,
        };
        tokio::spawn(scripts.serve(messages));
        notifier
    }

    /// Events from here on have these scripts; those before have theirs, in their order.
    pub fn change(&mut self, notify: Notify, script_user: Option<ScriptUser>) {
        self.knows_deleted = notify.knows_deleted();
        self.alert = notify.alert;
        self.tells_priority = notify.tells_priority;
        // The queue ends with the process.
        let _ = self
            .queue
            .send(Message::Change(Box::new(notify), script_user));
    }

    /// Tells everybody of an event: FIFOs first, scripts in their turn.
    pub fn tell(&self, announced: Announced, priority: u8, why: String) {
        self.send(announced, priority, why, None);
    }

    /// The same, and waits until its scripts, and all before them, have run.
    pub async fn tell_and_wait(&self, announced: Announced, priority: u8, why: String) {
        let (done, finished) = oneshot::channel();
        if self.send(announced, priority, why, Some(done)) {
            // An error means that the queue has ended.
            let _ = finished.await;
        }
    }

    fn send(
        &self,
        announced: Announced,
        priority: u8,
        why: String,
        done: Option<oneshot::Sender<()>>,
    ) -> bool {
        if let Some(word) = announced.word(self.knows_deleted) {
            self.desk.tell(self.event(word, priority, why, true));
        }
        // The queue ends with the process.
        let message = Message::Tell {
            announced,
            priority,
            done,
        };
        self.queue.send(message).is_ok()
    }

    /// A MASTER has heard an advert that loses. Adverts that come while the script for an earlier one waits
    /// for its turn are told by that one: whoever sends many keeps no other script waiting.
    pub fn tell_rx_lower_priority(&self, priority: u8) {
        let event = self.event(RX_LOWER_PRIORITY, priority, String::new(), false);
        self.desk.tell(event);
        if !self.rx_lower_waits.swap(true, Ordering::Relaxed) {
            // The queue ends with the process.
            let _ = self.queue.send(Message::RxLowerPriority);
        }
    }

    /// The effective priority has changed.
    pub fn tell_priority(&self, state: State, priority: u8) {
        let word = match state {
            State::Master => MASTER_PRIORITY,
            State::Backup => BACKUP_PRIORITY,
            State::Init | State::Fault => return,
        };
        if self.tells_priority {
            self.desk
                .tell(self.event(word, priority, String::new(), false));
        }
    }

    /// Tells FIFOs of the state once more (`fifo_write_vrrp_states_on_reload`).
    pub fn repeat(&self, state: State, priority: u8) {
        if let Some(word) = Announced::Entered(state).word(self.knows_deleted) {
            self.desk
                .tell(self.event(word, priority, String::new(), false));
        }
    }

    fn event(&self, word: &'static str, priority: u8, why: String, is_state: bool) -> Event {
        Event {
            subject: self.subject.clone(),
            word,
            priority,
            why,
            is_state,
            alert: self.alert,
            at: SystemTime::now(),
        }
    }

    /// The script that ran last.
    #[must_use]
    pub fn last_script(&self) -> Option<LastScript> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

/// The other end of the queue.
struct Scripts {
    subject: Subject,
    notify: Notify,
    script_user: Option<ScriptUser>,
    last: Arc<Mutex<Option<LastScript>>>,
    rx_lower_waits: Arc<AtomicBool>,
}

impl Scripts {
    /// One script after the other.
    async fn serve(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Tell {
                    announced,
                    priority,
                    done,
                } => {
                    let scripts = scripts(&self.subject, &self.notify, announced, priority);
                    for (script, arguments) in scripts {
                        self.run(script, arguments).await;
                    }
                    if let Some(done) = done {
                        // Whoever waited may have given up.
                        let _ = done.send(());
                    }
                }
                Message::RxLowerPriority => {
                    self.rx_lower_waits.store(false, Ordering::Relaxed);
                    if let Some(script) = &self.notify.rx_lower_priority {
                        self.run(script, Vec::new()).await;
                    }
                }
                Message::Change(notify, user) => {
                    (self.notify, self.script_user) = (*notify, user);
                }
            }
        }
    }

    async fn run(&self, script: &NotifyScript, arguments: Vec<String>) {
        let (name, user) = (self.subject.name(), self.script_user.as_ref());
        let outcome = run(name, script, user, &arguments).await;
        let command = [vec![script.command.clone()], arguments].concat().join(" ");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(LastScript { command, outcome });
    }
}

/// The script of the state first, without arguments, then the general one with keepalived's four.
fn scripts<'a>(
    subject: &Subject,
    notify: &'a Notify,
    announced: Announced,
    priority: u8,
) -> Vec<(&'a NotifyScript, Vec<String>)> {
    let knows_deleted = notify.knows_deleted();
    let Some(word) = announced.word(knows_deleted) else {
        return Vec::new();
    };
    let own = match announced {
        Announced::Entered(State::Master) => &notify.master,
        Announced::Entered(State::Backup) => &notify.backup,
        Announced::Deleted if knows_deleted => &notify.deleted,
        Announced::Entered(State::Fault) | Announced::Deleted => &notify.fault,
        Announced::Entered(State::Init) => &None,
        Announced::Stopped => &notify.stop,
    };
    let own = own.iter().map(|script| (script, Vec::new()));
    let arguments = || {
        let words = [subject.word(), subject.name(), word].map(str::to_owned);
        [words.to_vec(), vec![priority.to_string()]].concat()
    };
    let general = notify.any.iter().map(|script| (script, arguments()));
    own.chain(general).collect()
}

/// Runs a script and says what became of it.
async fn run(
    name: &str,
    script: &NotifyScript,
    default: Option<&ScriptUser>,
    arguments: &[String],
) -> String {
    let line = &script.command;
    let command = Identity::resolve(script.user.as_ref(), default)
        .and_then(|identity| Command::new(line, identity));
    let started = match command {
        Ok(command) => command
            .start(&words(arguments))
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            tracing::error!("({name}) notify script {line}: {error}");
            return format!("could not be started: {error}");
        }
    };
    let outcome = match time::timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => return "exited with 0".to_owned(),
        Ok(Ok(status)) => ended(status),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "still runs; going on without it".to_owned(),
    };
    tracing::warn!("({name}) notify script {line} {outcome}");
    outcome
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn ended(status: ExitStatus) -> String {
    status.code().map_or_else(
        || "was ended by a signal".to_owned(),
        |code| format!("exited with {code}"),
    )
}
