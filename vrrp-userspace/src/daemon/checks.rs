//! The health checks of a configuration, started.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

use crate::{
    config::model::{Config, Instance},
    health::{Check, Command, Identity, ScriptState, Verdict, watch as watch_script},
};

/// Starts every check that an instance uses, and returns where each one tells how it stands.
pub(super) fn start(
    config: &Config,
    changed: &mpsc::UnboundedSender<String>,
) -> BTreeMap<String, watch::Receiver<ScriptState>> {
    let mut receivers = BTreeMap::new();
    for (name, script) in &config.scripts {
        let used = |instance: &Instance| {
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
            .and_then(|identity| Command::new(&script.command, identity));
        match command {
            Ok(command) => {
                let check = Check {
                    name: name.clone(),
                    command,
                    interval: script.interval,
                    timeout: script.timeout,
                };
                let verdict = Verdict::new(script.rise, script.fall);
                tokio::spawn(watch_script(check, verdict, sender, changed.clone()));
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
