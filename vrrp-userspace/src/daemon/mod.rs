//! The daemon: everything wired together, and the loop that reacts to whatever is not the
//! election's business: interfaces, checks, questions, signals.

mod checks;
mod ending;
mod groups;
mod ports;
mod report;
mod review;
mod service_manager;
mod signals;
mod status;
mod supervisor;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    sync::{mpsc, watch},
    time,
};
use vrrp_common::{
    election::{Event, State},
    validate::Reject,
};

use crate::{
    config::{
        self,
        diagnostics::Severity,
        model::{Config, SyncGroup},
    },
    control::{self, Question},
    dataplane::{Dataplane, ModeRequest, Plan},
    election::{self, Command, ElectionHandle, Notice, Parts, RouterId},
    health::ScriptState,
    net::{self, AddressWorker, InterfaceTable, PacketSocket},
    notify::Announced,
    remains::{self, Placed},
    run_dir::Claim,
};
use groups::Groups;
use ports::Ports;
pub use signals::Signals;
use supervisor::Supervised;

/// What a daemon is started with.
pub struct Options {
    /// The configuration to serve.
    pub config: Config,
    /// Where it comes from, for `status`.
    pub origin: Origin,
    /// How to attach.
    pub mode: ModeRequest,
    /// The bpffs to pin to.
    pub bpffs: PathBuf,
    /// The claimed run-time directory.
    pub claim: Claim,
    /// What ends the daemon or makes it read its configuration again.
    pub signals: Signals,
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
    daemon.stop().await
}

struct Daemon {
    config: Config,
    origin: Origin,
    dataplane: Dataplane,
    ports: Ports,
    election: ElectionHandle,
    supervised: BTreeMap<RouterId, Supervised>,
    groups: Groups,
    scripts: BTreeMap<String, watch::Receiver<ScriptState>>,
    interfaces: watch::Receiver<InterfaceTable>,
    notices: mpsc::UnboundedReceiver<Notice>,
    checks: mpsc::UnboundedReceiver<String>,
    questions: mpsc::Receiver<Question>,
    claim: Claim,
    signals: Signals,
    /// What the daemon before has left and could not be taken off.
    left: Vec<Placed>,
    /// Until then no instance takes part (`vrrp_startup_delay`).
    starts_at: Option<time::Instant>,
}

impl Daemon {
    async fn start(options: Options) -> Result<Self> {
        let Options {
            config,
            origin,
            mode,
            bpffs,
            claim,
            signals,
        } = options;
        let interfaces = net::watch().await?;
        remains::must_be_known(&claim, &bpffs, &interfaces.borrow())?;
        let mut dataplane = Dataplane::load(&Plan {
            routers: config.instances.len() + config.groups.len(),
            addresses: config.address_count(),
            peers: config.peer_count(),
            request: mode,
            pins: Some((bpffs, claim.namespace().to_owned())),
        })?;
        let (notices_in, notices) = mpsc::unbounded_channel();
        let news = dataplane.take_news().context("the doorbell is taken")?;
        let heartbeat = dataplane
            .take_heartbeat()
            .context("the heartbeat is taken")?;
        let election = election::start(Parts {
            slots: dataplane.slots(),
            news,
            heartbeat,
            socket: PacketSocket::open().context("open a packet socket (CAP_NET_RAW is needed)")?,
            addresses: AddressWorker::start().context("start the address worker")?,
            notices: notices_in,
        })
        .context("start the election thread")?;
        let (question, questions) = mpsc::channel(16);
        control::serve(&claim.socket(), question)?;
        let (changed, checks) = mpsc::unbounded_channel();
        let scripts = checks::start(&config, &changed);
        let mut daemon = Self {
            supervised: BTreeMap::new(),
            groups: Groups::default(),
            starts_at: None,
            left: Vec::new(),
            config,
            origin,
            dataplane,
            ports: Ports::default(),
            election,
            scripts,
            interfaces,
            notices,
            checks,
            questions,
            claim,
            signals,
        };
        daemon.start_instances().await?;
        Ok(daemon)
    }

    async fn start_instances(&mut self) -> Result<()> {
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
            let member = |group: &SyncGroup| group.members.contains(&instance.name);
            let grouped = self.config.groups.iter().any(member);
            let supervised = Supervised::new(id, slot, instance, grouped, script_user);
            self.election
                .send(Command::Add(Box::new(supervised.spec())));
            self.supervised.insert(id, supervised);
        }
        if self.supervised.is_empty() {
            bail!("no instance can be served; see the messages above");
        }
        self.groups = Groups::start(
            &self.config,
            &self.supervised,
            &mut self.dataplane,
            &self.election,
        )?;
        self.delay_the_start();
        let nothing_left = self.write_record(&table).await?;
        self.review().await;
        // Where an address is left, the program in front of it stays.
        if nothing_left {
            self.dataplane.take_off_elsewhere(&self.interfaces.borrow());
        }
        Ok(())
    }

    /// Instances are held in INIT: adverts are noticed, and nothing follows from them.
    fn delay_the_start(&mut self) {
        let delay = self.config.global.startup_delay;
        if delay.is_zero() {
            return;
        }
        tracing::info!("vrrp_startup_delay: taking no part for {delay:?}");
        self.starts_at = Some(time::Instant::now() + delay);
        for supervised in self.supervised.values_mut() {
            supervised.held_back = true;
        }
    }

    async fn end_delay(&mut self) {
        self.starts_at = None;
        for supervised in self.supervised.values_mut() {
            supervised.held_back = false;
        }
        self.review().await;
    }

    async fn serve(&mut self) -> Result<()> {
        let mut strangers = time::interval(STRANGER_WATCH);
        let yields = self.origin == Origin::Embedded { yields: true };
        service_manager::ready(self.supervised.len());
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => return Ok(()),
                _ = self.signals.interrupt.recv() => return Ok(()),
                _ = self.signals.hangup.recv() => self.reload(),
                Some(notice) = self.notices.recv() => self.notice(&notice),
                Some(name) = self.checks.recv() => self.check_turned(&name),
                changed = self.interfaces.changed() => {
                    changed.context("the interface watch ended")?;
                    self.review().await;
                }
                Some(question) = self.questions.recv() => self.answer(question).await,
                () = until(self.starts_at) => self.end_delay().await,
                _ = strangers.tick(), if yields => self.look_for_other_versions(),
            }
        }
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
            supervised.weigh(&table, &self.ports, &self.scripts, &self.election);
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
                self.groups.entered(transition);
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

    /// Not there yet: the file is only checked, so that a mistake is known before the restart.
    fn reload(&self) {
        service_manager::reloading();
        let reason = match &self.origin {
            Origin::File(path) => match config::load(path) {
                Ok(loaded) => format!(
                    "{} has {} errors and {} warnings",
                    path.display(),
                    loaded.diagnostics.count(Severity::Error),
                    loaded.diagnostics.count(Severity::Warning)
                ),
                Err(error) => format!("{}: {error:#}", path.display()),
            },
            Origin::Embedded { .. } => "the embedded default has no file".to_owned(),
        };
        tracing::warn!(
            "SIGHUP: reloading is not yet supported; restart to apply a changed configuration \
             ({reason})"
        );
        service_manager::ready(self.supervised.len());
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
}

/// Waits until then; for ever where there is nothing to wait for.
async fn until(at: Option<time::Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
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
