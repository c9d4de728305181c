//! The daemon: everything wired together, and the loop that reacts to whatever is not the
//! election's business: interfaces, checks, questions, signals.

mod report;
mod status;
mod supervisor;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time,
};
use vrrp_common::{
    election::{Event, State},
    validate::Reject,
    vrrp::PRIORITY_OWNER,
};

use crate::{
    config::model::Config,
    control::{self, Question},
    dataplane::{Dataplane, ModeRequest},
    election::{self, Command, ElectionHandle, Notice, Parts, RouterId},
    health::{self, Check, Identity, ScriptState, Verdict},
    net::{self, AddressWorker, InterfaceTable, PacketSocket},
    notify::Announced,
    run_dir::Claim,
};
use supervisor::{Supervised, VirtualAddresses};

/// What a daemon is started with.
pub struct Options {
    /// The configuration to serve.
    pub config: Config,
    /// Where it comes from, for `status`.
    pub origin: Origin,
    /// How to attach.
    pub mode: ModeRequest,
    /// The claimed run-time directory.
    pub claim: Claim,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The embedded default. With `yields`, it steps back for good when a stranger appears on its
    /// VRID.
    Embedded {
        /// Whether the VRID was our own choice.
        yields: bool,
    },
}

/// How long stopping may take before the process ends anyway: `notify_stop` scripts included.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often the embedded default looks for strangers that speak another version.
const STRANGER_WATCH: Duration = Duration::from_secs(1);

/// Serves the configuration until SIGTERM or SIGINT.
///
/// # Errors
///
/// When the daemon cannot start, or none of its instances can be served.
pub async fn run(options: Options) -> Result<()> {
    let mut daemon = Daemon::start(options).await?;
    daemon.serve().await?;
    daemon.stop().await;
    Ok(())
}

struct Daemon {
    config: Config,
    origin: Origin,
    mode: ModeRequest,
    dataplane: Dataplane,
    election: ElectionHandle,
    supervised: BTreeMap<RouterId, Supervised>,
    scripts: BTreeMap<String, watch::Receiver<ScriptState>>,
    interfaces: watch::Receiver<InterfaceTable>,
    notices: mpsc::UnboundedReceiver<Notice>,
    checks: mpsc::UnboundedReceiver<String>,
    questions: mpsc::Receiver<Question>,
    _claim: Claim,
}

impl Daemon {
    async fn start(options: Options) -> Result<Self> {
        let Options {
            config,
            origin,
            mode,
            claim,
        } = options;
        let interfaces = net::watch().await?;
        let mut dataplane = Dataplane::load(config.instances.len(), config.address_count())?;
        let (notices_in, notices) = mpsc::unbounded_channel();
        let news = dataplane.take_news().context("the doorbell is taken")?;
        let election = election::start(Parts {
            slots: dataplane.slots(),
            news,
            socket: PacketSocket::open().context("open a packet socket (CAP_NET_RAW is needed)")?,
            addresses: AddressWorker::start().context("start the address worker")?,
            notices: notices_in,
        })
        .context("start the election thread")?;
        let (question, questions) = mpsc::channel(16);
        control::serve(&claim.socket(), question)?;
        let (changed, checks) = mpsc::unbounded_channel();
        let scripts = start_scripts(&config, &changed);
        let mut daemon = Self {
            supervised: BTreeMap::new(),
            config,
            origin,
            mode,
            dataplane,
            election,
            scripts,
            interfaces,
            notices,
            checks,
            questions,
            _claim: claim,
        };
        daemon.start_instances()?;
        Ok(daemon)
    }

    fn start_instances(&mut self) -> Result<()> {
        let table = self.interfaces.borrow_and_update().clone();
        for (number, instance) in self.config.instances.clone().into_iter().enumerate() {
            if table.by_name(&instance.interface).is_none()
                && !self.config.global.dynamic_interfaces
            {
                tracing::error!(
                    "({}) there is no interface {} (there are {}); the instance is left out. \
                     Set dynamic_interfaces in global_defs to wait for it",
                    instance.name,
                    instance.interface,
                    table.names()
                );
                continue;
            }
            let id = RouterId(u32::try_from(number).context("too many instances")?);
            let slot = self.dataplane.take_slot()?;
            let script_user = self.config.global.script_user.clone();
            let supervised = Supervised::new(id, slot, instance, script_user);
            self.election
                .send(Command::Add(Box::new(supervised.spec())));
            self.supervised.insert(id, supervised);
        }
        if self.supervised.is_empty() {
            bail!("no instance can be served; see the messages above");
        }
        self.review();
        Ok(())
    }

    async fn serve(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("catch SIGHUP")?;
        let mut strangers = time::interval(STRANGER_WATCH);
        let yields = self.origin == Origin::Embedded { yields: true };
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => tracing::warn!(
                    "SIGHUP: reloading is not yet supported; restart to apply a changed configuration"
                ),
                Some(notice) = self.notices.recv() => self.notice(&notice),
                Some(name) = self.checks.recv() => self.check_turned(&name),
                changed = self.interfaces.changed() => {
                    changed.context("the interface watch ended")?;
                    self.review();
                }
                Some(question) = self.questions.recv() => self.answer(question).await,
                _ = strangers.tick(), if yields => self.look_for_other_versions(),
            }
        }
    }

    /// Compares every instance with the world and tells the election what changed.
    fn review(&mut self) {
        let table = self.interfaces.borrow_and_update().clone();
        let vips = self.virtual_addresses();
        for supervised in self.supervised.values_mut() {
            supervised.follow_interface(&table, &mut self.dataplane, self.mode, &vips);
            supervised.weigh(&table, &self.scripts, &self.election);
            supervised.reconcile(&table, &self.election);
        }
    }

    fn virtual_addresses(&self) -> VirtualAddresses {
        let mut vips = VirtualAddresses::default();
        for supervised in self.supervised.values() {
            for entry in supervised.addresses() {
                vips.all.insert(entry.address);
                if supervised.instance.priority == PRIORITY_OWNER {
                    vips.owned.insert(entry.address);
                }
            }
        }
        vips
    }

    fn check_turned(&mut self, name: &str) {
        if let Some(script) = self.scripts.get(name) {
            let state = script.borrow();
            let up = if state.up == Some(true) {
                "is up"
            } else {
                "is down"
            };
            let last = state
                .last
                .as_ref()
                .map_or_else(String::new, |last| status::outcome(&last.outcome));
            tracing::info!("check {name} {up} ({last})");
        }
        let table = self.interfaces.borrow().clone();
        for supervised in self.supervised.values_mut() {
            supervised.weigh(&table, &self.scripts, &self.election);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let id = report::subject(notice);
        let Some(supervised) = self.supervised.get_mut(&id) else {
            return;
        };
        report::log(&supervised.instance, notice);
        match notice {
            Notice::Entered(transition) => {
                supervised.entered(*transition);
                supervised.reconcile(&self.interfaces.borrow(), &self.election);
                if transition.state != State::Init {
                    supervised
                        .notifier
                        .tell(Announced::Entered(transition.state), transition.priority);
                }
            }
            Notice::OtherAddresses { facts, .. }
                if self.origin == (Origin::Embedded { yields: true }) =>
            {
                let sender = report::sender(facts);
                self.step_back(&format!("{sender} uses this VRID for other addresses"));
            }
            _ => {}
        }
    }

    /// The embedded default has no claim to a VRID that somebody else uses.
    fn step_back(&mut self, why: &str) {
        for (id, supervised) in &mut self.supervised {
            if supervised.stepped_back.is_none() {
                tracing::warn!(
                    "({}) stepping back for good: {why}. Restart, or choose another --vrid",
                    supervised.instance.name
                );
                supervised.stepped_back = Some(why.to_owned());
                self.election.tell(*id, Event::FaultRaised);
            }
        }
    }

    fn look_for_other_versions(&mut self) {
        let homes: Vec<u32> = self
            .supervised
            .values()
            .map(|supervised| supervised.home.ifindex)
            .collect();
        for ifindex in homes {
            let counters = self.dataplane.counters(ifindex);
            if counters.is_ok_and(|counters| counters.rejects(Reject::Version) > 0) {
                self.step_back("a router of another VRRP version uses this VRID");
            }
        }
    }

    async fn answer(&self, question: Question) {
        match question {
            Question::Status(reply) => {
                let snapshots = self.election.snapshot().await;
                // Whoever asked may have gone.
                let _ = reply.send(status::build(self, &snapshots));
            }
        }
    }

    /// Resigns, takes the addresses off, tells the scripts.
    async fn stop(&mut self) {
        tracing::info!("stopping: resigning and removing the virtual addresses");
        if time::timeout(STOP_PATIENCE, self.election.stop())
            .await
            .is_err()
        {
            tracing::error!(
                "the kernel did not take the addresses off in time; check `ip address`"
            );
        }
        let told = self.supervised.values().map(|supervised| {
            let priority = supervised.instance.priority;
            supervised
                .notifier
                .tell_and_wait(Announced::Stopped, priority)
        });
        if time::timeout(STOP_PATIENCE, futures::future::join_all(told))
            .await
            .is_err()
        {
            tracing::warn!("notify scripts still run; going on without them");
        }
    }
}

fn start_scripts(
    config: &Config,
    changed: &mpsc::UnboundedSender<String>,
) -> BTreeMap<String, watch::Receiver<ScriptState>> {
    let mut receivers = BTreeMap::new();
    for (name, script) in &config.scripts {
        let used = |instance: &crate::config::model::Instance| {
            instance
                .track_scripts
                .iter()
                .any(|track| track.script == *name)
        };
        if !config.instances.iter().any(used) {
            continue;
        }
        let (sender, receiver) = watch::channel(ScriptState::default());
        let default = config.global.script_user.as_ref();
        let command = Identity::resolve(script.user.as_ref(), default)
            .and_then(|identity| health::Command::new(&script.command, identity));
        match command {
            Ok(command) => {
                let check = Check {
                    name: name.clone(),
                    command,
                    interval: script.interval,
                    timeout: script.timeout,
                };
                let verdict = Verdict::new(script.rise, script.fall);
                tokio::spawn(health::watch(check, verdict, sender, changed.clone()));
            }
            // What cannot be run has failed; everything else is served.
            Err(error) => {
                tracing::error!("check {name} cannot be run and counts as failed: {error}");
                sender.send_replace(ScriptState::broken(&error.to_string()));
            }
        }
        receivers.insert(name.clone(), receiver);
    }
    receivers
}

/// The name of this machine in messages: `router_id`, or the host name.
#[must_use]
pub fn router_id(config: &Config) -> String {
    config.global.router_id.clone().unwrap_or_else(|| {
        let name = nix::unistd::gethostname().ok();
        name.and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "localhost".to_owned())
    })
}

/// The configuration file to use where none is named.
#[must_use]
pub fn default_configuration() -> Option<PathBuf> {
    let places = ["/etc/xvrrp/xvrrp.conf", "/etc/keepalived/keepalived.conf"];
    places
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .map(Path::to_path_buf)
}
