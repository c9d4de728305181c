//! The daemon: everything wired together, and the loop that reacts to whatever is not the
//! election's business: interfaces, checks, questions, signals.

mod arbiters;
mod checks;
mod chronicle;
mod ending;
mod groups;
mod hand;
mod home;
mod launch;
mod leaving;
mod ports;
mod reload;
mod report;
mod restore;
mod review;
mod service_manager;
mod signals;
mod starting;
mod statics;
mod status;
mod strangers;
mod succession;
mod supervisor;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    sync::{mpsc, watch},
    task, time,
};
use vrrp_common::election::State;

use crate::{
    config::{
        Reader,
        model::{Config, TrackKind},
    },
    control::{Kind, Question, Reloads},
    dataplane::{Dataplane, ModeRequest},
    dump::{self, Dump},
    election::{ElectionHandle, Mistake, Notice, RouterId, address_of},
    handover::Parcel,
    health::Turned,
    history::History,
    metrics::Measures,
    net::{InterfaceTable, Removed},
    notify::{Announced, Desk},
    remains::Placed,
    run_dir::Claim,
};
use checks::{Checks, Says};
use groups::Groups;
pub use launch::{Launch, reap_children};
use leaving::Departure;
use ports::Ports;
use reload::Reading;
pub(crate) use report::rejection;
use restore::{Links, next_removed};
pub use signals::Signals;
use statics::Statics;
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
    /// How this process was started.
    pub launch: Launch,
    /// What the daemon before has handed over.
    pub parcel: Option<Parcel>,
    /// Whose members may ask how everything stands.
    pub control_group: Option<String>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Addresses and routes stay where they are when the daemon stops.
    pub keeps_addresses: bool,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// How it is read.
        reader: Reader,
    },
    /// The embedded default. With `yields`, it steps back for good when a stranger appears on its
    /// VRID.
    Embedded {
        /// Whether the VRID was our own choice.
        yields: bool,
    },
}

/// How long stopping may take before the process ends anyway: `notify_stop` scripts included.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How many notices of the election are dealt with at once.
const NOTICES: usize = 256;
/// So many times as long as a review of the interfaces took the next one waits: with thousands of instances it
/// takes milliseconds, and each of their addresses that comes is a change.
const REVIEW_SHARE: u32 = 4;
/// Where it took as long as this,
const REVIEW_IS_SHORT: Duration = Duration::from_millis(2);
/// and no longer than this: a link that goes is to be noticed.
const REVIEW_PAUSE: Duration = Duration::from_millis(50);
/// How often the embedded default looks for strangers that speak another version.
const STRANGER_WATCH: Duration = Duration::from_secs(1);

/// A daemon that has started.
pub struct Running(Daemon);

/// Starts serving the configuration.
///
/// # Errors
///
/// When the daemon cannot start, or none of its instances can be served.
pub async fn start(options: Options) -> Result<Running> {
    Ok(Running(Daemon::start(options).await?))
}

impl Running {
    /// Serves until SIGTERM or SIGINT, or until another daemon takes its place.
    ///
    /// # Errors
    ///
    /// When it cannot go on, or could not leave everything as it found it.
    pub async fn serve(self) -> Result<()> {
        let Self(mut daemon) = self;
        match daemon.serve().await? {
            End::Stop if daemon.keeps_addresses => daemon.stop_and_keep().await,
            End::Stop => daemon.stop().await,
            End::Leave => Ok(()),
        }
    }
}

/// How the daemon ends.
enum End {
    /// For good: resign and leave nothing behind.
    Stop,
    /// Another one takes its place at once.
    Leave,
}

struct Daemon {
    config: Config,
    origin: Origin,
    dataplane: Dataplane,
    ports: Ports,
    election: ElectionHandle,
    supervised: BTreeMap<RouterId, Supervised>,
    groups: Groups,
    checks: Checks,
    interfaces: watch::Receiver<InterfaceTable>,
    notices: mpsc::UnboundedReceiver<Notice>,
    /// Checks that turned.
    turned: mpsc::UnboundedReceiver<Turned>,
    questions: mpsc::Receiver<Question>,
    claim: Claim,
    /// What has happened lately.
    history: History,
    /// What is measured while it happens.
    measures: Measures,
    signals: Signals,
    /// What the daemon before has left and could not be taken off.
    left: Vec<Placed>,
    /// Until then no instance takes part (`vrrp_startup_delay`).
    starts_at: Option<time::Instant>,
    statics: Statics,
    /// FIFOs, mails, webhooks.
    desk: Desk,
    /// Interfaces as they were seen last: with a link go routes that nobody reports.
    links: Links,
    /// Routes and rules that were removed; `None` where we have none.
    routes: Option<mpsc::UnboundedReceiver<Removed>>,
    /// How this process was started.
    launch: Launch,
    /// A daemon before has handed over, and its programs are not all replaced yet.
    succeeds: bool,
    /// It wants to leave everything to another daemon.
    departure: Option<Departure>,
    /// A changed configuration is being read.
    reading: Option<Reading>,
    /// What became of reloads.
    reloads: Reloads,
    /// Addresses of the configuration before a reload, which may still be there.
    going: BTreeSet<Placed>,
    /// The number of the next instance.
    next_router: u32,
    /// Adverts of another version that were counted by the daemon before.
    other_versions: BTreeMap<u32, u64>,
    /// When the state is to be written down.
    state_due: Option<time::Instant>,
    /// When that was done last.
    state_written: Option<time::Instant>,
    /// It could not be, and that was told.
    cannot_write: bool,
    /// Addresses stay when it stops.
    keeps_addresses: bool,
    /// When this daemon started, in nanoseconds of `CLOCK_BOOTTIME`.
    started_ns: u64,
}

impl Daemon {
    async fn serve(&mut self) -> Result<End> {
        let mut strangers = time::interval(STRANGER_WATCH);
        let yields = self.origin == Origin::Embedded { yields: true };
        service_manager::ready(self.supervised.len());
        let mut notices = Vec::with_capacity(NOTICES);
        let mut review_at = time::Instant::now();
        loop {
            let restore_at = self.restore_due();
            tokio::select! {
                _ = self.signals.terminate.recv() => return Ok(End::Stop),
                _ = self.signals.interrupt.recv() => return Ok(End::Stop),
                _ = self.signals.restart.recv() => self.prepare_to_leave(leaving::Way::Restart),
                ready = leaving::ready(&mut self.departure) => {
                    if let Some(end) = self.leave(ready).await {
                        return Ok(end);
                    }
                }
                dump = self.signals.dumps.recv() => self.dump(dump).await,
                _ = self.signals.hangup.recv() => self.begin_reload(None),
                loaded = reload::ready(&mut self.reading) => self.end_reload(loaded).await,
                1.. = self.notices.recv_many(&mut notices, NOTICES) => {
                    for notice in notices.drain(..) {
                        self.notice(&notice);
                    }
                }
                Some((kind, name)) = self.turned.recv() => self.check_turned(kind, &name),
                changed = changed_after(review_at, &mut self.interfaces) => {
                    changed.context("the interface watch ended")?;
                    let began = time::Instant::now();
                    self.review().await;
                    review_at = time::Instant::now() + pause_after(began.elapsed());
                }
                Some(question) = self.questions.recv() => self.answer(question).await,
                () = until(self.starts_at) => self.end_delay().await,
                removed = next_removed(&mut self.routes) => self.look_for_routes(&removed),
                () = until(restore_at) => self.restore(),
                () = until(self.state_due) => self.write_state().await,
                _ = strangers.tick(), if yields => self.look_for_other_versions(),
            }
        }
    }

    fn check_turned(&mut self, kind: TrackKind, name: &str) {
        let says = match self.checks.says(kind, name) {
            Some(Says::Up(true)) => "is up".to_owned(),
            Some(Says::Up(false)) => "is down".to_owned(),
            Some(Says::Number(number)) => format!("says {number}"),
            None => "is not known".to_owned(),
        };
        let last = self.checks.state(kind, name);
        let last = last.and_then(|state| Some(format!(" ({})", state.last.as_ref()?.outcome)));
        let what = format!("{} {name} {says}{}", kind.name(), last.unwrap_or_default());
        tracing::info!("{what}");
        self.note(Kind::Check, Some(name), &what);
        self.state_changed();
        let table = self.interfaces.borrow().clone();
        for supervised in self.supervised.values_mut() {
            supervised.weigh(&table, &self.ports, &self.checks, &self.election);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        if let Notice::Wants {
            slot,
            priority,
            number,
        } = notice
        {
            self.checks.arbiters.want(*slot, *priority, *number);
        }
        let id = report::subject(notice);
        let Some(supervised) = id.and_then(|id| self.supervised.get_mut(&id)) else {
            return;
        };
        report::log(&supervised.instance, notice);
        let (checks, config, history) = (&self.checks, &self.config, &self.history);
        if let Some(happened) = chronicle::of_notice(notice, supervised, checks, config, history) {
            history.note(happened);
        }
        let is_transition = matches!(notice, Notice::Entered(_));
        match notice {
            Notice::Entered(transition) => {
                chronicle::measure(&self.measures, supervised, transition);
                supervised.entered(*transition);
                self.groups.entered(transition);
                supervised.reconcile(&self.interfaces.borrow());
                if transition.state != State::Init {
                    let announced = Announced::Entered(transition.state);
                    let why = report::why(transition);
                    supervised
                        .notifier
                        .tell(announced, transition.priority, why);
                }
            }
            Notice::HeardLesser { priority, .. } => {
                supervised.notifier.tell_rx_lower_priority(*priority);
            }
            Notice::Mistake { noticed, .. }
                if self.origin == (Origin::Embedded { yields: true })
                    && matches!(noticed.mistake, Mistake::OtherAddresses(_)) =>
            {
                let sender = address_of(noticed.peer);
                self.step_back(&format!("{sender} uses this VRID for other addresses"));
            }
            _ => {}
        }
        if is_transition {
            self.state_changed();
        }
    }

    /// Writes a dump, beside everything else.
    async fn dump(&self, dump: Dump) {
        let snapshots = self.election.snapshot().await;
        let told = self.desk.told().await;
        let status = status::build(self, &snapshots, told);
        let config = self.config.clone();
        task::spawn_blocking(move || {
            let path = dump.path(&config.global.dump_files);
            match dump::write(path, &dump.render(&status, &config)) {
                Ok(()) => tracing::info!("dumped to {}", path.display()),
                Err(error) => tracing::error!("dump to {}: {error}", path.display()),
            }
        });
    }

    async fn answer(&mut self, question: Question) {
        match question {
            Question::Reload(reply) => self.begin_reload(Some(reply)),
            Question::Hand(hand, reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.lend_a_hand(&hand));
            }
            Question::Upgrade(reply) => self.prepare_to_leave(leaving::Way::Upgrade(reply)),
            Question::Status(reply) => {
                let snapshots = self.election.snapshot().await;
                let told = self.desk.told().await;
                // Whoever asked may have gone.
                let _ = reply.send(status::build(self, &snapshots, told));
            }
        }
    }
}

/// How long to wait after a review that took so long. One that is short needs no pause, and whoever rests is
/// not to be woken for one.
fn pause_after(review: Duration) -> Duration {
    if review < REVIEW_IS_SHORT {
        return Duration::ZERO;
    }
    (REVIEW_SHARE * review).min(REVIEW_PAUSE)
}

/// Waits for the next change of an interface, and that long at least.
async fn changed_after(
    at: time::Instant,
    interfaces: &mut watch::Receiver<InterfaceTable>,
) -> Result<(), watch::error::RecvError> {
    // A timer rounds up, and would wake us once more.
    if at > time::Instant::now() {
        time::sleep_until(at).await;
    }
    interfaces.changed().await
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
    let configured = config.global.router_id.clone();
    configured.unwrap_or_else(crate::host::name)
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
