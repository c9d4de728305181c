//! Everything that a configuration tracks beside interfaces: started, and started anew where a reload
//! changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::arbiters::Arbiters;
use crate::{
    config::model::{Arbiter, Config, Judge, Script, ScriptUser, TrackKind},
    health::{
        Check, Identity, OnUnreachable, Probe, ProcessRule, Runner, ScriptState, Turned, Verdict,
        files::{self, Numbers},
        processes::{self, Processes},
        watch as watch_check,
    },
};

/// Every check that an instance uses.
pub(super) struct Checks {
    /// Scripts, built-in checks, and arbiters with a quorum.
    running: BTreeMap<Key, Running>,
    files: Watched<BTreeMap<String, PathBuf>, Numbers>,
    processes: Watched<Vec<(String, ProcessRule)>, Processes>,
    changed: mpsc::UnboundedSender<Turned>,
    /// Where they run.
    runner: Runner,
    /// Arbiters with a lease.
    pub(super) arbiters: Arbiters,
}

type Key = (TrackKind, String);

/// What a tracked thing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is up, or not.
    Up(bool),
    /// The number in a file.
    Number(i64),
}

/// What is run, with who runs it.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    key: Key,
    probe: Probe,
    user: Option<ScriptUser>,
    default_user: Option<ScriptUser>,
    interval: Duration,
    timeout: Duration,
    rise: u32,
    fall: u32,
    init_fail: bool,
    on_unreachable: OnUnreachable,
}

struct Running {
    wanted: Wanted,
    state: watch::Receiver<ScriptState>,
    task: Option<Task>,
}

/// A task that ends with its owner.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Several things that one task watches.
struct Watched<W, S> {
    wanted: W,
    state: Option<watch::Receiver<S>>,
    /// Only to be dropped.
    _task: Option<Task>,
}

impl<W: Default, S> Default for Watched<W, S> {
    fn default() -> Self {
        Self {
            wanted: W::default(),
            state: None,
            _task: None,
        }
    }
}

impl Checks {
    /// Starts those of a configuration. What is `known` of one from the daemon before counts until
    /// results speak against it.
    pub(super) fn start(
        config: &Config,
        changed: mpsc::UnboundedSender<Turned>,
        known: Option<&BTreeMap<String, bool>>,
        arbiters: Arbiters,
    ) -> io::Result<Self> {
        let mut checks = Self {
            running: BTreeMap::new(),
            files: Watched::default(),
            processes: Watched::default(),
            changed,
            runner: Runner::start()?,
            arbiters,
        };
        let is_succession = known.is_some();
        let known = known.cloned().unwrap_or_default();
        checks.follow(config, &known, is_succession);
        Ok(checks)
    }

    /// Follows another configuration: a check that is the same goes on, one that is not begins with
    /// what was known of it. keepalived keeps results as well.
    pub(super) fn reload(&mut self, config: &Config) {
        let known = self.standings();
        self.follow(config, &known, false);
    }

    /// Runs no check any longer and begins to end the scripts that run. What is known stays, files and processes
    /// are still watched, and `reload` goes on.
    pub(super) fn stop(&mut self) {
        for running in self.running.values_mut() {
            running.task = None;
        }
    }

    /// Waits for those scripts to end: one that ignores SIGTERM would go on without a daemon.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.runner.scripts_ended();
        async move {
            if !ended.await {
                tracing::warn!("a script of a check goes on although it was sent SIGKILL");
            }
        }
    }

    fn follow(&mut self, config: &Config, known: &BTreeMap<String, bool>, is_succession: bool) {
        let used = used(config);
        let is_used = |key: &Key| used.contains(&(key.0, &*key.1));
        let wanted: BTreeMap<Key, Wanted> = wanted(config)
            .filter(|it| is_used(&it.key))
            .map(|it| (it.key.clone(), it))
            .collect();
        // One that could not be run is tried again.
        self.running.retain(|key, running| {
            let now = wanted.get(key);
            now.is_some_and(|now| running.task.is_some() && running.is(now))
        });
        for (key, wanted) in wanted {
            if !self.running.contains_key(&key) {
                let up = known.get(&label(&key)).copied();
                let running = run(wanted, up, &self.changed, &self.runner);
                self.running.insert(key, running);
            }
        }
        self.follow_files(config, &used, is_succession);
        self.follow_processes(config, &used);
    }

    /// `is_succession`: the daemon before has written over what was to be written over.
    fn follow_files(
        &mut self,
        config: &Config,
        used: &BTreeSet<(TrackKind, &str)>,
        is_succession: bool,
    ) {
        let all = config.files.values();
        let mut wanted = BTreeMap::new();
        for file in all.filter(|it| used.contains(&(TrackKind::File, &*it.name))) {
            wanted.insert(file.name.clone(), file.path.clone());
            let is_new = !self.files.wanted.contains_key(&file.name);
            let Some((number, overwrites)) = file.init.filter(|_| is_new) else {
                continue;
            };
            let overwrites = overwrites && !is_succession;
            if let Err(error) = files::write_first(&file.path, number, overwrites) {
                let path = file.path.display();
                tracing::error!("init_file of track_file {}: {path}: {error}", file.name);
            }
        }
        if wanted == self.files.wanted {
            return;
        }
        let numbers = wanted
            .iter()
            .map(|(name, path)| (name.clone(), files::number_in(path)));
        let (sender, state) = watch::channel(numbers.collect());
        let task = (!wanted.is_empty())
            .then(|| files::watch(wanted.clone(), sender, self.changed.clone()))
            .map(|watching| spawn(watching, &self.runner));
        self.files = Watched {
            wanted,
            state: Some(state),
            _task: task,
        };
    }

    fn follow_processes(&mut self, config: &Config, used: &BTreeSet<(TrackKind, &str)>) {
        let all = config.processes.values();
        let all = all.filter(|it| used.contains(&(TrackKind::Process, &*it.name)));
        let wanted: Vec<_> = all.map(|it| (it.name.clone(), it.rule.clone())).collect();
        if wanted == self.processes.wanted {
            return;
        }
        let before = self.processes.state.as_ref();
        let before = before.map_or_else(Processes::default, |state| state.borrow().clone());
        let (sender, state) = watch::channel(processes::count(&wanted, &before));
        let task = (!wanted.is_empty())
            .then(|| processes::watch(wanted.clone(), sender, self.changed.clone()))
            .map(|watching| spawn(watching, &self.runner));
        self.processes = Watched {
            wanted,
            state: Some(state),
            _task: task,
        };
    }

    /// How a check stands; `None` for one that nobody uses.
    pub(super) fn state(&self, kind: TrackKind, name: &str) -> Option<watch::Ref<'_, ScriptState>> {
        let running = self.running.get(&(kind, name.to_owned()))?;
        Some(running.state.borrow())
    }

    /// How all of them stand.
    pub(super) fn states(
        &self,
    ) -> impl Iterator<Item = (TrackKind, &str, watch::Ref<'_, ScriptState>)> {
        let all = self.running.iter();
        all.map(|((kind, name), running)| (*kind, &**name, running.state.borrow()))
    }

    /// What a tracked thing says; `None` before its first result.
    pub(super) fn says(&self, kind: TrackKind, name: &str) -> Option<Says> {
        match kind {
            TrackKind::Script | TrackKind::Arbiter => match self.state(kind, name) {
                Some(state) => state.up.map(Says::Up),
                None => self.arbiters.is_up(name).map(Says::Up),
            },
            TrackKind::File => {
                let numbers = self.files.state.as_ref()?.borrow();
                numbers.get(name).copied().map(Says::Number)
            }
            TrackKind::Process => {
                let processes = self.processes.state.as_ref()?.borrow();
                Some(Says::Up(processes.rules.get(name)?.up))
            }
            TrackKind::Interface => None,
        }
    }

    /// The processes that are counted.
    pub(super) fn processes(&self) -> Option<watch::Ref<'_, Processes>> {
        Some(self.processes.state.as_ref()?.borrow())
    }

    /// The files that are read.
    pub(super) fn files(&self) -> Option<watch::Ref<'_, Numbers>> {
        Some(self.files.state.as_ref()?.borrow())
    }

    /// Every check that has had a result.
    pub(super) fn standings(&self) -> BTreeMap<String, bool> {
        let all = self.running.iter();
        let all = all.filter_map(|(key, it)| Some((label(key), it.state.borrow().up?)));
        all.collect()
    }
}

fn spawn(watching: impl Future<Output = ()> + Send + 'static, runner: &Runner) -> Task {
    Task(runner.spawn(watching))
}

fn run(
    wanted: Wanted,
    up: Option<bool>,
    changed: &mpsc::UnboundedSender<Turned>,
    runner: &Runner,
) -> Running {
    let up = up.or(wanted.init_fail.then_some(false));
    let (sender, state) = watch::channel(ScriptState {
        up,
        ..ScriptState::default()
    });
    let (kind, name) = &wanted.key;
    let check = Identity::resolve(wanted.user.as_ref(), wanted.default_user.as_ref()).and_then(
        |identity| {
            let (interval, timeout) = (wanted.interval, wanted.timeout);
            let unreachable = wanted.on_unreachable;
            let turned = (*kind, name.clone());
            Check::new(
                turned,
                &wanted.probe,
                identity,
                interval,
                timeout,
                unreachable,
            )
        },
    );
    let mut task = None;
    match check {
        Ok(check) => {
            let verdict = Verdict::new(wanted.rise, wanted.fall).knowing(up);
            let watching = watch_check(check, verdict, sender, changed.clone());
            task = Some(spawn(watching, runner));
        }
        // What cannot be run has failed; everything else is served.
        Err(error) => {
            tracing::error!("check {name} cannot be run and counts as failed: {error}");
            sender.send_replace(ScriptState::broken(&error.to_string()));
        }
    }
    Running {
        wanted,
        state,
        task,
    }
}

impl Running {
    /// Whether this is what another configuration wants to be run.
    fn is(&self, wanted: &Wanted) -> bool {
        let mut wanted = wanted.clone();
        // That is about the start.
        wanted.init_fail = self.wanted.init_fail;
        self.wanted == wanted
    }
}

/// The name of a check towards the daemon after this one.
fn label((kind, name): &Key) -> String {
    match kind {
        TrackKind::Script => name.clone(),
        kind => format!("{} {name}", kind.name()),
    }
}

fn wanted(config: &Config) -> impl Iterator<Item = Wanted> {
    let default = config.global.script_user.as_ref();
    let scripts = config.scripts.values();
    let scripts = scripts.map(move |script| of_script(script, default));
    let arbiters = config.arbiters.values();
    let arbiters = arbiters.filter_map(move |arbiter| of_arbiter(arbiter, default));
    scripts.chain(arbiters)
}

fn of_script(script: &Script, default_user: Option<&ScriptUser>) -> Wanted {
    Wanted {
        key: (TrackKind::Script, script.name.clone()),
        probe: script.probe.clone(),
        user: script.user.clone(),
        default_user: default_user.cloned(),
        interval: script.interval,
        timeout: script.timeout,
        rise: script.rise,
        fall: script.fall,
        init_fail: script.init_fail,
        on_unreachable: OnUnreachable::Fault,
    }
}

/// One with a quorum; a lease in etcd is no check.
fn of_arbiter(arbiter: &Arbiter, default_user: Option<&ScriptUser>) -> Option<Wanted> {
    let Judge::Quorum { quorum, rise, fall } = &arbiter.judge else {
        return None;
    };
    Some(Wanted {
        key: (TrackKind::Arbiter, arbiter.name.clone()),
        probe: Probe::Quorum(quorum.clone()),
        user: None,
        default_user: default_user.cloned(),
        interval: arbiter.interval,
        timeout: arbiter.timeout,
        rise: *rise,
        fall: *fall,
        init_fail: false,
        on_unreachable: arbiter.on_unreachable,
    })
}

/// What instances track.
fn used(config: &Config) -> BTreeSet<(TrackKind, &str)> {
    let tracks = config.instances.iter().flat_map(|it| &it.tracks);
    tracks.map(|track| (track.kind, &*track.name)).collect()
}
