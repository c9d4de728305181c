//! A changed configuration while everything runs: read and checked beside the elections, then what differs
//! is applied, instance by instance. What is the same is not touched.

mod applying;

use std::{collections::HashMap, path::Path};

use anyhow::{Result, anyhow};
use tokio::{
    sync::oneshot,
    task::{self, JoinHandle},
    time,
};
use vrrp_common::vrrp::PRIORITY_OWNER;

use super::{Daemon, Origin, leaving::Way, service_manager};
use crate::{
    config::{
        Loaded, Reader, Verdict,
        diagnostics::Severity,
        model::{Config, Instance},
    },
    control::{Kind, Reloaded},
    dataplane::{ModeRequest, Plan},
    net::InterfaceTable,
};
pub(super) use applying::Known;

/// A configuration that is being read.
pub(super) struct Reading {
    task: JoinHandle<std::io::Result<Loaded>>,
    replies: Vec<oneshot::Sender<Reloaded>>,
    /// Who asked while it was being read wants what the file says after that.
    again: Vec<oneshot::Sender<Reloaded>>,
    asked_again: bool,
}

/// What a refusal without a verdict ends `xvrrp reload` with.
const REFUSED: u8 = 1;

/// Waits until the configuration has been read; for ever where nobody reads one.
pub(super) async fn ready(reading: &mut Option<Reading>) -> Result<Loaded> {
    match reading {
        Some(reading) => Ok((&mut reading.task)
            .await
            .map_err(|error| anyhow!(error))??),
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Begins to read the configuration anew.
    pub(super) fn begin_reload(&mut self, reply: Option<oneshot::Sender<Reloaded>>) {
        if let Some(reading) = &mut self.reading {
            reading.asked_again = true;
            reading.again.extend(reply);
            return;
        }
        let Origin::File { path, reader } = &self.origin else {
            let what = "the embedded default has no file to read again";
            tracing::warn!("reload: {what}");
            return answer(reply, &Reloaded::refused(REFUSED, what.to_owned()));
        };
        service_manager::reloading();
        self.reading = Some(Reading {
            task: read(path, reader),
            replies: reply.into_iter().collect(),
            again: Vec::new(),
            asked_again: false,
        });
    }

    /// Applies what was read, or says why not.
    pub(super) async fn end_reload(&mut self, loaded: Result<Loaded>) {
        let Some(reading) = self.reading.take() else {
            return;
        };
        let started = time::Instant::now();
        let reloaded = match self.judge(loaded) {
            Ok(config) if !self.dataplane.has_room(&plan(&config)) => {
                return self.reload_by_exec(reading);
            }
            Ok(config) => self.apply(config).await,
            Err(refused) => refused,
        };
        let took = started.elapsed();
        self.reloads.note(&reloaded, took);
        if reloaded.applied {
            self.note(
                Kind::Reload,
                None,
                &format!("reloaded: {}", reloaded.message),
            );
            tracing::info!("reload: {} ({took:.1?})", reloaded.message);
        } else {
            let first = reloaded.message.lines().next().unwrap_or_default();
            self.note(Kind::Reload, None, &format!("not reloaded: {first}"));
            for line in reloaded.message.lines() {
                tracing::error!("reload: {line}");
            }
        }
        answer(reading.replies, &reloaded);
        service_manager::ready(self.supervised.len());
        if reading.asked_again {
            let mut again = reading.again.into_iter();
            self.begin_reload(again.next());
            for reply in again {
                self.begin_reload(Some(reply));
            }
        }
    }

    /// Maps cannot grow: the same binary takes our place, with larger ones.
    fn reload_by_exec(&mut self, reading: Reading) {
        tracing::info!(
            "reload: the configuration has outgrown the maps; going on as a new process, without a failover"
        );
        let (failed, why) = oneshot::channel();
        self.prepare_to_leave(Way::Upgrade(failed));
        tokio::spawn(async move {
            // Where it succeeds, this process image is gone.
            let why = why
                .await
                .unwrap_or_else(|_| "the daemon is ending".to_owned());
            let refused = Reloaded::refused(REFUSED, why);
            answer(reading.replies.into_iter().chain(reading.again), &refused);
        });
    }

    /// A configuration with errors changes nothing, nor does one that cannot be served here.
    fn judge(&self, loaded: Result<Loaded>) -> Result<Config, Reloaded> {
        let refuse = |code, what| Err(Reloaded::refused(code, what));
        if self.departure.is_some() {
            let what = "the next daemon is on its way, and reads the file itself";
            return refuse(REFUSED, what.to_owned());
        }
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let path = match &self.origin {
                    Origin::File { path, .. } => path.display().to_string(),
                    Origin::Embedded { .. } => String::new(),
                };
                return refuse(REFUSED, format!("{path}: {error:#}; nothing is changed"));
            }
        };
        let lines = loaded.diagnostics.lines(&loaded.sources);
        let verdict = loaded.verdict(false);
        if matches!(verdict, Verdict::CannotRun | Verdict::HasErrors) {
            let mut text = match verdict {
                Verdict::CannotRun => "no instance of the file can be served; nothing is changed",
                _ => "the file has errors; nothing is changed",
            }
            .to_owned();
            for (severity, line) in &lines {
                if *severity >= Severity::Warning {
                    text.push('\n');
                    text.push_str(line);
                }
            }
            return refuse(verdict.code(), text);
        }
        let table = self.interfaces.borrow();
        if let Some(lost) = self.cannot_be_served(&loaded.config, &table) {
            return refuse(Verdict::CannotRun.code(), lost);
        }
        for (severity, line) in lines {
            match severity {
                Severity::Error | Severity::Warning => tracing::warn!("{line}"),
                Severity::Lint => tracing::debug!("{line}"),
            }
        }
        if loaded.config.global.scheduling != self.config.global.scheduling {
            tracing::warn!(
                "how the election thread is scheduled (vrrp_rt_priority and its like) changes with the next \
                 start, or `xvrrp upgrade`"
            );
        }
        Ok(loaded.config)
    }

    /// An instance that would be new on an interface that is not there.
    fn cannot_be_served(&self, config: &Config, table: &InterfaceTable) -> Option<String> {
        if config.global.net_namespace != self.config.global.net_namespace {
            return Some(
                "net_namespace cannot be changed while the daemon runs: restart it".to_owned(),
            );
        }
        if config.global.dynamic_interfaces {
            return None;
        }
        // One that was not there at the start is left out as it was then.
        let before = self.config.instances.iter();
        let before: HashMap<&str, &str> = before.map(|it| (&*it.name, &*it.interface)).collect();
        let is_lost = |it: &&Instance| {
            before.get(&*it.name) != Some(&&*it.interface) && table.by_name(&it.interface).is_none()
        };
        let lost = config.instances.iter().find(is_lost)?;
        Some(format!(
            "({}) there is no interface {} (there are {}); nothing is changed. Set dynamic_interfaces in \
             global_defs to wait for it",
            lost.name,
            lost.interface,
            table.names()
        ))
    }

    async fn apply(&mut self, config: Config) -> Reloaded {
        match self.follow(config).await {
            Ok(outcome) => Reloaded {
                applied: true,
                code: 0,
                message: outcome.to_string(),
            },
            Err(error) => Reloaded::refused(REFUSED, format!("{error:#}")),
        }
    }
}

fn read(path: &Path, reader: &Reader) -> JoinHandle<std::io::Result<Loaded>> {
    let (path, reader) = (path.to_owned(), reader.clone());
    task::spawn_blocking(move || reader.load(&path))
}

fn answer(replies: impl IntoIterator<Item = oneshot::Sender<Reloaded>>, reloaded: &Reloaded) {
    for reply in replies {
        // Whoever asked may have gone.
        let _ = reply.send(reloaded.clone());
    }
}

/// Whether it is the same virtual router, whatever else it is told.
pub(super) fn is_same_router(old: &Instance, new: &Instance) -> bool {
    let is_owner = |it: &Instance| it.priority == PRIORITY_OWNER;
    old.name == new.name
        && old.interface == new.interface
        && old.vrid == new.vrid
        && old.version == new.version
        && old.family() == new.family()
        && old.virtual_mac == new.virtual_mac
        && is_owner(old) == is_owner(new)
}

/// How much room a configuration takes.
pub(super) fn plan(config: &Config) -> Plan {
    Plan {
        // While groups change, the old are there beside the new.
        routers: config.instances.len() + 2 * config.acting_groups().len(),
        addresses: config.address_count(),
        peers: config.peer_count(),
        interfaces: config.interface_count(),
        request: ModeRequest::Auto,
        pins: None,
    }
}
