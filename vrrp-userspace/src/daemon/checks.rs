//! The health checks of a configuration: started, and started anew where a reload changes them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{
    config::model::{Config, Script, ScriptUser},
    health::{Check, Command, Identity, ScriptState, Verdict, watch as watch_script},
};

/// Every check that an instance uses, by name.
pub(super) struct Checks {
    running: BTreeMap<String, Running>,
    changed: mpsc::UnboundedSender<String>,
}

struct Running {
    /// What is run, with who runs it where it names nobody.
    script: Script,
    default_user: Option<ScriptUser>,
    state: watch::Receiver<ScriptState>,
    task: Option<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Checks {
    /// Starts those of a configuration. What is `known` of one from the daemon before counts until
    /// results speak against it.
    pub(super) fn start(
        config: &Config,
        changed: mpsc::UnboundedSender<String>,
        known: Option<&BTreeMap<String, bool>>,
    ) -> Self {
        let mut checks = Self {
            running: BTreeMap::new(),
            changed,
        };
        let known = known.cloned().unwrap_or_default();
        checks.follow(config, &known);
        checks
    }

    /// Follows another configuration: a check that is the same goes on, one that is not begins with
    /// what was known of it. keepalived keeps results as well.
    pub(super) fn reload(&mut self, config: &Config) {
        let known = self.standings();
        let used = used(config);
        let default = config.global.script_user.as_ref();
        self.running.retain(|name, running| {
            let now = config.scripts.get(name).filter(|_| used.contains(&**name));
            // One that could not be run is tried again.
            let is_same = |now: &Script| running.task.is_some() && running.is(now, default);
            now.is_some_and(is_same)
        });
        self.follow(config, &known);
    }

    fn follow(&mut self, config: &Config, known: &BTreeMap<String, bool>) {
        let used = used(config);
        for (name, script) in &config.scripts {
            if used.contains(&**name) && !self.running.contains_key(name) {
                let default = config.global.script_user.as_ref();
                let up = known.get(name).copied();
                let running = self.run(script, default, up);
                self.running.insert(name.clone(), running);
            }
        }
    }

    fn run(&self, script: &Script, default: Option<&ScriptUser>, up: Option<bool>) -> Running {
        let up = up.or(script.init_fail.then_some(false));
        let (sender, state) = watch::channel(ScriptState { up, last: None });
        let command = Identity::resolve(script.user.as_ref(), default)
            .and_then(|identity| Command::new(&script.command, identity));
        let mut task = None;
        match command {
            Ok(command) => {
                let check = Check {
                    name: script.name.clone(),
                    command,
                    interval: script.interval,
                    timeout: script.timeout,
                };
                let verdict = Verdict::new(script.rise, script.fall).knowing(up);
                let watching = watch_script(check, verdict, sender, self.changed.clone());
                task = Some(tokio::spawn(watching).abort_handle());
            }
            // What cannot be run has failed; everything else is served.
            Err(error) => {
                let name = &script.name;
                tracing::error!("check {name} cannot be run and counts as failed: {error}");
                sender.send_replace(ScriptState::broken(&error.to_string()));
            }
        }
        Running {
            script: script.clone(),
            default_user: default.cloned(),
            state,
            task,
        }
    }

    /// How a check stands; `None` for one that nobody uses.
    pub(super) fn state(&self, name: &str) -> Option<watch::Ref<'_, ScriptState>> {
        self.running.get(name).map(|running| running.state.borrow())
    }

    /// How all of them stand.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, watch::Ref<'_, ScriptState>)> {
        let all = self.running.iter();
        all.map(|(name, running)| (&**name, running.state.borrow()))
    }

    /// Whether a check is up; `None` before its first result.
    pub(super) fn is_up(&self, name: &str) -> Option<bool> {
        self.state(name)?.up
    }

    /// Every check that has had a result.
    pub(super) fn standings(&self) -> BTreeMap<String, bool> {
        let all = self.running.iter();
        let all = all.filter_map(|(name, it)| Some((name.clone(), it.state.borrow().up?)));
        all.collect()
    }
}

impl Running {
    /// Whether this is what another configuration wants to be run.
    fn is(&self, script: &Script, default_user: Option<&ScriptUser>) -> bool {
        let what = |it: &Script| {
            (
                it.command.clone(),
                (it.interval, it.timeout),
                (it.rise, it.fall),
                it.user.clone(),
            )
        };
        what(&self.script) == what(script) && self.default_user.as_ref() == default_user
    }
}

/// Names of the scripts that an instance tracks.
fn used(config: &Config) -> BTreeSet<&str> {
    let tracks = config.instances.iter().flat_map(|it| &it.track_scripts);
    tracks.map(|track| &*track.script).collect()
}
