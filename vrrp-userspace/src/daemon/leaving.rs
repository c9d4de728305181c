//! Leaving everything to the next daemon, by `exec` or by way of the service manager, and writing down what
//! one that is started after a crash goes on with.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use tokio::{
    sync::oneshot,
    task::{self, JoinHandle},
    time,
};
use vrrp_common::{contract::Family, election::State};

use super::{
    Daemon, End, Origin, reload::is_same_router, router_id, service_manager, signals,
    supervisor::Supervised,
};
use crate::{
    clock,
    config::model::{Config, Instance},
    election::{Command, Inheritance},
    handover::{self, Handover, InstanceLeft},
    notify::{self, Announced, Ending, Notifier},
    run_dir,
};

/// A daemon that is about to leave: what can take time is done beside its work.
pub(super) struct Departure {
    ready: JoinHandle<Result<()>>,
    way: Way,
    /// Checks run no longer: one that ends now could tell nobody.
    checks_stopped: bool,
}

/// How the next daemon comes.
pub(super) enum Way {
    /// By `exec`; whoever asked is told only where that fails.
    Upgrade(oneshot::Sender<String>),
    /// The service manager starts it.
    Restart,
}

/// How long mails and webhooks may.
const DELIVERY: Duration = Duration::from_secs(1);
/// How long notify scripts that run may delay a handover.
const SCRIPTS: Duration = Duration::from_secs(3);
/// How soon the state may be written down again.
const WRITE_PERIOD: Duration = Duration::from_millis(200);
/// How often a MASTER's is written down although nothing has happened: counters go on.
const REFRESH: Duration = Duration::from_secs(10);

/// Waits until the daemon may leave; for ever where it does not want to.
pub(super) async fn ready(departure: &mut Option<Departure>) -> Result<()> {
    match departure {
        Some(departure) => match (&mut departure.ready).await {
            Ok(outcome) => outcome,
            Err(error) => Err(error.into()),
        },
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Begins to leave: the new binary is tried out, and scripts that were told something have their time.
    pub(super) fn prepare_to_leave(&mut self, way: Way) {
        if let Some(departure) = &mut self.departure {
            // The service manager has the last word.
            let refused = match way {
                Way::Restart => std::mem::replace(&mut departure.way, Way::Restart),
                Way::Upgrade(_) => way,
            };
            if let Way::Upgrade(reply) = refused {
                // Whoever asked may have gone.
                let _ = reply.send("the next daemon is on its way already".to_owned());
            }
            return;
        }
        let served = self.supervised.values();
        let served = served.map(|it| it.instance.name.clone()).collect();
        let trial = self.launch.clone().try_out(
            self.origin.clone(),
            served,
            self.interfaces.borrow().clone(),
            matches!(way, Way::Restart),
        );
        let notifiers = self.supervised.values().map(|it| it.notifier.clone());
        let notifiers: Vec<Notifier> = notifiers.chain(self.groups.notifiers()).collect();
        let ready = tokio::spawn(async move {
            trial.await?;
            let_scripts_end(&notifiers).await;
            Ok(())
        });
        self.departure = Some(Departure {
            ready,
            way,
            checks_stopped: false,
        });
    }

    /// Leaves, where all is ready for that. Says how the daemon ends, where it does.
    pub(super) async fn leave(&mut self, ready: Result<()>) -> Option<End> {
        let Departure {
            way,
            checks_stopped,
            ..
        } = self.departure.take()?;
        if ready.is_ok() && !checks_stopped {
            self.checks.stop();
            let stopped = self.checks.stopped();
            self.departure = Some(Departure {
                ready: tokio::spawn(async move {
                    stopped.await;
                    Ok(())
                }),
                way,
                checks_stopped: true,
            });
            return None;
        }
        let outcome = match ready {
            Ok(()) => self.hand_over(matches!(way, Way::Restart)).await,
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(end) => return Some(end),
            Err(error) => error,
        };
        match way {
            Way::Restart => {
                tracing::warn!("restarting with a failover: {error:#}");
                Some(End::Stop)
            }
            Way::Upgrade(reply) => {
                tracing::error!("{error:#}; going on as before");
                if checks_stopped {
                    self.checks.reload(&self.config);
                }
                // It may be waiting for a reload to end.
                service_manager::ready(self.supervised.len());
                // Whoever asked may have gone.
                let _ = reply.send(format!("{error:#}"));
                None
            }
        }
    }

    async fn hand_over(&mut self, to_store: bool) -> Result<End> {
        let retired = self.retire_what_changes().await;
        service_manager::reloading();
        self.desk.finish(DELIVERY, Ending::Handover).await;
        let outcome = signals::held_back(self.leave_everything(to_store)).await;
        if outcome.is_err() {
            self.election.send(Command::GoOn);
            let router = router_id(&self.config);
            let settings = notify::Settings::of(&self.config.global, router);
            self.desk.follow(settings);
            service_manager::ready(self.supervised.len());
        }
        match outcome {
            // What has resigned for the new configuration would be missing in the old one.
            Err(error) if retired => {
                tracing::error!("{error:#}; stopping, for some instances have resigned already");
                Ok(End::Stop)
            }
            other => other,
        }
    }

    async fn leave_everything(&mut self, to_store: bool) -> Result<End> {
        // Signals are held back by now: what came before is seen here.
        task::yield_now().await;
        let ends = self.signals.terminate.recv().now_or_never().is_some()
            || self.signals.interrupt.recv().now_or_never().is_some();
        if ends {
            return Ok(End::Stop);
        }
        let restarts = self.signals.restart.recv().now_or_never().is_some();
        if to_store || restarts {
            self.leave_in_store().await?;
            tracing::info!("restarting: everything is left to the next daemon");
            return Ok(End::Leave);
        }
        let (state, slots) = self.freeze().await?;
        let numbers = [Some(&state), slots.as_ref()].into_iter().flatten();
        let numbers: io::Result<Vec<String>> = numbers
            .map(|fd| Ok(handover::let_through(fd)?.to_string()))
            .collect();
        let numbers = numbers.context("keep the state open")?;
        Err(self.launch.exec(handover::VARIABLE, &numbers.join(",")))
    }

    async fn leave_in_store(&mut self) -> Result<()> {
        if !service_manager::is_there() {
            bail!("no service manager keeps anything for us (NOTIFY_SOCKET)");
        }
        let (state, slots) = self.freeze().await?;
        let stored = self.store(state.as_fd(), slots.as_ref().map(|slots| slots.as_fd()));
        if stored.is_err() {
            service_manager::let_go(&[handover::STORED_STATE, handover::STORED_SLOTS]);
            run_dir::forget_restart(self.claim.directory());
        }
        stored.context("hand the state to the service manager")
    }

    fn store(&self, state: BorrowedFd<'_>, slots: Option<BorrowedFd<'_>>) -> io::Result<()> {
        run_dir::note_restart(self.claim.directory())?;
        if let Some(slots) = slots {
            service_manager::keep(slots, handover::STORED_SLOTS)?;
        }
        service_manager::keep(state, handover::STORED_STATE)
    }

    /// Stops every election as it stands and writes everything down.
    async fn freeze(&mut self) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let mut inheritances = self.election.hand_over().await;
        let instances = self.supervised.values().map(|supervised| {
            let found = inheritances.iter().position(|(id, _)| *id == supervised.id);
            let inheritance = found.map(|at| inheritances.swap_remove(at).1);
            supervised.left(inheritance)
        });
        let handover = self.written(instances.collect());
        let state = handover.store().context("write the state down")?;
        let slots = self.dataplane.slots_descriptor().context("the slots")?;
        Ok((state, slots))
    }

    /// Instances that the new configuration does not have, or has as other routers, or with other routes
    /// and rules, resign while somebody knows what they have; and so do whole sync groups with such a
    /// member, or with a new one. Says whether there are any.
    async fn retire_what_changes(&mut self) -> bool {
        let Origin::File { path, reader } = &self.origin else {
            return false;
        };
        // What cannot be read has been refused before.
        let Ok(loaded) = reader.load(path) else {
            return false;
        };
        let new = loaded.config;
        let (old, wanted) = (&self.config.statics, &new.statics);
        if old.routes != wanted.routes || old.rules != wanted.rules {
            self.statics.take_routes_away().await;
        }
        let retired = self.what_changes(&new);
        if retired.is_empty() {
            return false;
        }
        for supervised in &retired {
            tracing::info!(
                "({}) resigning for the new configuration",
                supervised.instance.name
            );
            self.election.send(Command::Retire(supervised.id));
        }
        self.election.idle().await;
        let is_gone = |supervised: &&&Supervised| {
            let mut names = new.instances.iter().map(|it| &it.name);
            !names.any(|name| *name == supervised.instance.name)
        };
        let told = retired.iter().filter(is_gone).map(|supervised| {
            let priority = supervised.instance.priority;
            let why = "the next configuration does not have it".to_owned();
            supervised
                .notifier
                .tell_and_wait(Announced::Deleted, priority, why)
        });
        // Who takes longer goes on by itself.
        let _ = time::timeout(SCRIPTS, futures::future::join_all(told)).await;
        true
    }

    /// What cannot go on as it is.
    fn what_changes(&self, new: &Config) -> Vec<&Supervised> {
        let stays = |name: &str| {
            let mut served = self.supervised.values();
            served.any(|it| {
                it.instance.name == name
                    && new.instances.iter().any(|new| goes_on(&it.instance, new))
            })
        };
        let groups = self.config.groups.iter().chain(&new.groups);
        let broken = groups.filter(|group| !group.members.iter().all(|name| stays(name)));
        let broken: Vec<&String> = broken.flat_map(|group| &group.members).collect();
        let all = self.supervised.values();
        all.filter(|it| !stays(&it.instance.name) || broken.contains(&&it.instance.name))
            .collect()
    }

    /// Writes down what a daemon that is started after a crash goes on with. The slots tell it the rest.
    pub(super) async fn write_state(&mut self) {
        let now = time::Instant::now();
        self.state_written = Some(now);
        // A backup at rest stays at rest.
        let is_busy = self.supervised.values().any(Supervised::is_master);
        self.state_due = is_busy.then(|| now + REFRESH);
        let snapshots = self.election.snapshot().await;
        let instances = snapshots.into_iter().filter_map(|snapshot| {
            let supervised = self.supervised.get(&snapshot.id)?;
            Some(supervised.left(Some(Inheritance {
                slot: supervised.slot,
                tenure: None,
                state: snapshot.state,
                cause: snapshot.cause,
                since_ns: snapshot.since_ns,
                tally: snapshot.tally,
                told: None,
                announces: false,
            })))
        });
        let mut handover = self.written(instances.collect());
        handover.slots_id = self.dataplane.slots_id();
        if let Err(error) = handover.write(self.claim.directory()) {
            let directory = self.claim.directory().display();
            if !std::mem::replace(&mut self.cannot_write, true) {
                tracing::error!(
                    "write the state down in {directory}: {error}; after a crash counters begin anew"
                );
            }
            return;
        }
        self.cannot_write = false;
    }

    /// Something has changed that is worth writing down: at once, and what follows soon after it together.
    pub(super) fn state_changed(&mut self) {
        let due = self
            .state_written
            .map_or_else(time::Instant::now, |at| at + WRITE_PERIOD);
        self.state_due = self.state_due.map(|at| at.min(due)).or(Some(due));
    }

    fn written(&self, instances: Vec<InstanceLeft>) -> Handover {
        let table = self.interfaces.borrow().clone();
        let counters = table.iter().filter_map(|interface| {
            self.dataplane.attachment(interface.index)?;
            let counters = self.dataplane.counters(interface.index).ok()?;
            Some((interface.index, counters.counts.to_vec()))
        });
        let mut handover = Handover::new(
            clock::now_ns(),
            instances,
            self.checks.standings(),
            counters.collect(),
        );
        handover.leases = self.checks.arbiters.left();
        handover.history = self.history.left();
        handover
    }
}

impl Supervised {
    fn left(&self, inheritance: Option<Inheritance>) -> InstanceLeft {
        let instance = &self.instance;
        InstanceLeft {
            name: instance.name.clone(),
            interface: instance.interface.clone(),
            ifindex: self.home.ifindex,
            vrid: instance.vrid,
            version: instance.version as u8,
            is_v6: instance.family() == Family::V6,
            priority: self.effective_priority(),
            down_timer_adverts: instance.down_timer_adverts,
            own: self.own.iter().copied().collect(),
            virtual_mac: instance.virtual_mac,
            addresses: self.addresses().map(|entry| entry.address).collect(),
            transition: self.last_transition,
            drained: self.drained,
            priority_by_hand: self.priority_by_hand,
            // Whoever has given up for good, or does not take part yet, has nothing to leave.
            inheritance: inheritance.filter(|_| self.stepped_back.is_none()),
        }
    }
}

/// Whether an instance of the new configuration is the same virtual router with the same belongings, the
/// addresses apart, which are known to whoever comes.
fn goes_on(old: &Instance, new: &Instance) -> bool {
    is_same_router(old, new) && old.routes == new.routes && old.rules == new.rules
}

/// Scripts that were told something must have been run before somebody else is there to tell.
async fn let_scripts_end(notifiers: &[Notifier]) {
    let nothing = Announced::Entered(State::Init);
    let all = notifiers
        .iter()
        .map(|notifier| notifier.tell_and_wait(nothing, 0, String::new()));
    if time::timeout(SCRIPTS, futures::future::join_all(all))
        .await
        .is_err()
    {
        tracing::warn!("notify scripts still run; handing over without them");
    }
}
