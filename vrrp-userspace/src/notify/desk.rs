//! Where every event goes beside the scripts: FIFOs at once, mails and webhooks as they can be delivered.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use super::{
    event::Event,
    fifo::Fifo,
    mail::{self, Mailer},
    outbox::Outbox,
    webhook::{Posted, Webhook},
};
use crate::config::model::{FifoSettings, Global, MailSettings, ScriptUser};

/// What is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// This machine's name.
    pub router: String,
    /// `notify_fifo`, `vrrp_notify_fifo`.
    pub fifos: Vec<FifoSettings>,
    /// Who runs scripts that name nobody.
    pub script_user: Option<ScriptUser>,
    /// Mails, where there is a server and somebody to write to.
    pub mail: Option<MailSettings>,
    /// `webhook`: where to post.
    pub webhooks: Vec<String>,
}

impl Settings {
    /// What `global_defs` says.
    #[must_use]
    pub fn of(global: &Global, router: String) -> Self {
        Self {
            router,
            fifos: global.fifos.clone(),
            script_user: global.script_user.clone(),
            mail: global.mail.clone(),
            webhooks: global.webhooks.clone(),
        }
    }
}

/// One who is told, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who.
    pub name: String,
    /// What was taken.
    pub sent: u64,
    /// What is lost.
    pub lost: u64,
    /// What waits.
    pub waiting: usize,
    /// Why nobody can be told.
    pub problem: Option<String>,
}

enum Message {
    Tell(Arc<Event>),
    Follow(Box<Settings>),
    Count(oneshot::Sender<Vec<Told>>),
    Finish(Duration, Ending, oneshot::Sender<()>),
}

/// Why everything is brought to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The daemon stops: FIFOs that it has made go with it.
    Stop,
    /// Another one takes its place, and opens them again.
    Handover,
}

/// The way there.
#[derive(Clone)]
pub struct Desk {
    queue: mpsc::UnboundedSender<Message>,
}

impl Desk {
    /// Opens FIFOs and starts their readers.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        tokio::spawn(serve(settings, messages));
        Self { queue }
    }

    /// Tells everybody.
    pub fn tell(&self, event: Event) {
        // The desk ends with the process.
        let _ = self.queue.send(Message::Tell(Arc::new(event)));
    }

    /// From here on others are told.
    pub fn follow(&self, settings: Settings) {
        // The desk ends with the process.
        let _ = self.queue.send(Message::Follow(Box::new(settings)));
    }

    /// Waits for what is under way, but not for ever, and closes FIFOs, whose readers end.
    pub async fn finish(&self, patience: Duration, ending: Ending) {
        let (done, finished) = oneshot::channel();
        let message = Message::Finish(patience, ending, done);
        if self.queue.send(message).is_ok() {
            // An error means that the desk has ended.
            let _ = finished.await;
        }
    }

    /// Who was told how much; nobody when the desk has ended.
    pub async fn told(&self) -> Vec<Told> {
        let (reply, told) = oneshot::channel();
        // The desk ends with the process.
        let _ = self.queue.send(Message::Count(reply));
        told.await.unwrap_or_default()
    }
}

async fn serve(settings: Settings, mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut everybody = Everybody::default();
    everybody.follow(settings);
    while let Some(message) = messages.recv().await {
        match message {
            Message::Tell(event) => everybody.tell(&event),
            Message::Follow(settings) => everybody.follow(*settings),
            // Whoever waited may have given up.
            Message::Count(reply) => drop(reply.send(everybody.counts())),
            Message::Finish(patience, ending, done) => {
                everybody.finish(patience, ending).await;
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }
}

#[derive(Default)]
struct Everybody {
    settings: Settings,
    fifos: Vec<Fifo>,
    /// With the server that it sends to.
    mails: Option<(MailSettings, Outbox<Mailer>)>,
    hooks: Vec<(String, Outbox<Webhook>)>,
    problems: Vec<(String, String)>,
}

impl Everybody {
    /// Whoever is told as before goes on as before.
    fn follow(&mut self, settings: Settings) {
        self.problems.clear();
        self.follow_fifos(&settings);
        self.follow_mails(settings.mail.as_ref());
        self.hooks
            .retain(|(url, _)| settings.webhooks.contains(url));
        for url in &settings.webhooks {
            if self.hooks.iter().any(|(known, _)| known == url) {
                continue;
            }
            match Webhook::new(url) {
                Ok(hook) => self.hooks.push((url.clone(), Outbox::start(hook))),
                Err(error) => self.complain(url.clone(), error),
            }
        }
        self.settings = settings;
    }

    /// What waits goes to the other server: a login that was wrong may just have been corrected.
    fn follow_mails(&mut self, wanted: Option<&MailSettings>) {
        let Some(wanted) = wanted else {
            self.mails = None;
            return;
        };
        let server = wanted.server_alone();
        if matches!(&self.mails, Some((before, _)) if *before == server) {
            return;
        }
        let mailer = match Mailer::new(wanted) {
            Ok(mailer) => mailer,
            Err(error) => return self.complain("mails".to_owned(), format!("{error:#}")),
        };
        match &mut self.mails {
            Some((before, outbox)) => {
                *before = server;
                outbox.turn_to(mailer);
            }
            None => self.mails = Some((server, Outbox::start(mailer))),
        }
    }

    fn follow_fifos(&mut self, settings: &Settings) {
        let same_user = settings.script_user == self.settings.script_user;
        self.fifos
            .retain(|fifo| same_user && settings.fifos.contains(&fifo.settings));
        for wanted in &settings.fifos {
            if self.fifos.iter().any(|fifo| fifo.settings == *wanted) {
                continue;
            }
            match Fifo::open(wanted, settings.script_user.as_ref()) {
                Ok(fifo) => self.fifos.push(fifo),
                Err(error) => {
                    self.complain(wanted.path.display().to_string(), error.to_string());
                }
            }
        }
    }

    fn complain(&mut self, who: String, why: String) {
        tracing::error!("{who} cannot be told of events: {why}");
        self.problems.push((who, why));
    }

    fn tell(&self, event: &Event) {
        let line = event.line();
        for fifo in &self.fifos {
            fifo.tell(&line);
        }
        if !event.is_state {
            return;
        }
        let router = &self.settings.router;
        if let (Some((_, outbox)), Some(mail)) = (&self.mails, &self.settings.mail)
            && event.alert.unwrap_or(mail.by_default)
            && !(mail.spares_faults && event.word == "FAULT")
        {
            match mail::compose(event, mail, router) {
                Ok(message) => outbox.put(message),
                Err(error) => tracing::error!("a mail is lost: {error:#}"),
            }
        }
        for (_, outbox) in &self.hooks {
            outbox.put(Posted::new(event, router));
        }
    }

    async fn finish(&mut self, patience: Duration, ending: Ending) {
        let flushed = async {
            for fifo in &self.fifos {
                fifo.flush().await;
            }
            if let Some((_, outbox)) = &self.mails {
                outbox.empty().await;
            }
            for (_, outbox) in &self.hooks {
                outbox.empty().await;
            }
        };
        if time::timeout(patience, flushed).await.is_err() {
            let waiting: usize = self.counts().iter().map(|told| told.waiting).sum();
            tracing::warn!("{waiting} messages about events could not be delivered, and are lost");
        }
        let closing = self.fifos.drain(..).map(|fifo| fifo.close(ending));
        futures::future::join_all(closing).await;
    }

    fn counts(&self) -> Vec<Told> {
        let of = |name: String, (sent, lost, waiting): (u64, u64, usize)| Told {
            name,
            sent,
            lost,
            waiting,
            problem: None,
        };
        let path = |path: &PathBuf| path.display().to_string();
        let fifos = self.fifos.iter();
        let fifos = fifos.map(|fifo| of(path(&fifo.settings.path), fifo.counts()));
        let mails = self
            .mails
            .iter()
            .map(|(_, outbox)| of("mails".to_owned(), outbox.counts()));
        let hooks = self.hooks.iter();
        let hooks = hooks.map(|(url, outbox)| of(url.clone(), outbox.counts()));
        let problems = self.problems.iter().map(|(name, why)| Told {
            problem: Some(why.clone()),
            ..of(name.clone(), (0, 0, 0))
        });
        fifos.chain(mails).chain(hooks).chain(problems).collect()
    }
}
