//! What differs between two configurations, applied: who goes, who changes, who comes.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use anyhow::Result;
use tokio::time;

use super::is_same_router;
use crate::{
    config::model::{Config, Instance, SyncGroup},
    daemon::{Daemon, restore::watched_routes, router_id, supervisor::Supervised},
    election::{Command, RouterId, RouterSpec},
    net::InterfaceTable,
    notify::{self, Announced},
    remains::Placed,
};

/// How long scripts of what was removed may delay a reload.
const SCRIPTS: Duration = Duration::from_secs(3);

/// What became of the instances.
#[derive(Default)]
pub(super) struct Outcome {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    unchanged: usize,
}

/// What is known of addresses before a reload.
pub(in crate::daemon) struct Known {
    /// Those that we may have put where they are.
    ours: BTreeSet<Placed>,
    /// The interfaces that each of those may be on.
    interfaces: HashMap<IpAddr, Vec<String>>,
    /// Those that are the machine's own.
    pub(in crate::daemon) own: BTreeSet<IpAddr>,
}

impl Known {
    pub(in crate::daemon) fn is_ours(&self, address: IpAddr, interface: &str) -> bool {
        let places = self.interfaces.get(&address);
        places.is_some_and(|places| places.iter().any(|place| place == interface))
    }
}

impl Daemon {
    pub(super) async fn follow(&mut self, config: Config) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let table = self.interfaces.borrow().clone();
        let known = self.known(&table);
        self.going.clone_from(&known.ours);
        let statics_differ = config.statics != self.config.statics;
        let drained = self.remove_what_goes(&config, &mut outcome).await;
        self.config = config;
        let (new, changes) = self.change_what_stays(&table, &known, &mut outcome);
        if statics_differ {
            let wanted = self.config.statics.clone();
            self.statics.change(wanted, &table, &known).await;
        }
        self.add(new, &drained, &table, &known, &mut outcome)?;
        let free = self.groups.reload(
            &self.config,
            &self.supervised,
            &mut self.dataplane,
            &self.election,
            &self.desk,
            &mut self.checks.arbiters,
        )?;
        // Who has left its group must not be told by it any more.
        for change in changes {
            self.election.send(Command::Change(Box::new(change)));
        }
        self.checks.reload(&self.config);
        self.follow_with_the_rest();
        self.watch_routes();
        // What may be left is written down before it is put there, and forgotten once it is gone.
        let differs = self.all_placed(&table) != known.ours;
        if differs {
            self.keep_record(&table);
        }
        self.give_up_belongings(&table).await;
        self.review().await;
        self.election.idle().await;
        self.checks.arbiters.release_gone();
        for slot in free {
            self.dataplane.give_back(slot);
        }
        self.going = BTreeSet::new();
        if differs {
            self.keep_record(&table);
        }
        self.write_state().await;
        Ok(outcome)
    }

    /// Whom to tell, and what was given by hand until now.
    fn follow_with_the_rest(&mut self) {
        let router = router_id(&self.config);
        let settings = notify::Settings::of(&self.config.global, router);
        self.desk.follow(settings);
        for supervised in self.supervised.values_mut() {
            supervised.priority_by_hand = None;
            if self.config.global.repeats_states
                && let Some(entered) = supervised.last_transition
            {
                let priority = supervised.effective_priority();
                supervised.notifier.repeat(entered.state, priority);
            }
        }
    }

    fn known(&self, table: &InterfaceTable) -> Known {
        let own = self.supervised.values().flat_map(|it| &it.own);
        let ours = self.all_placed(table);
        let mut interfaces: HashMap<IpAddr, Vec<String>> = HashMap::new();
        for placed in &ours {
            let places = interfaces.entry(placed.address).or_default();
            places.push(placed.interface.clone());
        }
        Known {
            ours,
            interfaces,
            own: own.chain(self.statics.own()).copied().collect(),
        }
    }

    fn keep_record(&self, table: &InterfaceTable) {
        if let Err(error) = self.store_record(table) {
            tracing::error!("{error:#}; after a crash it is not known what may be left");
        }
    }

    fn watch_routes(&mut self) {
        if self.routes.is_some() {
            return;
        }
        match watched_routes(&self.config, &self.statics) {
            Ok(routes) => self.routes = routes,
            Err(error) => {
                tracing::error!("routes that somebody removes are not put back: {error:#}");
            }
        }
    }

    /// All give up before anybody takes: one may get what was the other's.
    async fn give_up_belongings(&mut self, table: &InterfaceTable) {
        let mut any = false;
        for supervised in self.supervised.values_mut() {
            any |= supervised.give_up(table, &self.election);
        }
        if any {
            self.election.idle().await;
        }
    }

    /// Instances that are gone, or that are other routers now, resign, and their scripts are told. Returns
    /// the names of those that somebody has drained: what has their name next stays out.
    async fn remove_what_goes(
        &mut self,
        config: &Config,
        outcome: &mut Outcome,
    ) -> BTreeSet<String> {
        let mut drained = BTreeSet::new();
        let new = config.instances.iter();
        let new: HashMap<&str, &Instance> = new.map(|it| (&*it.name, it)).collect();
        let goes = |it: &&Supervised| {
            let stays = new.get(&*it.instance.name);
            !stays.is_some_and(|new| is_same_router(&it.instance, new))
        };
        let going = self.supervised.values().filter(goes);
        let going: Vec<RouterId> = going.map(|it| it.id).collect();
        if going.is_empty() {
            return drained;
        }
        for id in &going {
            self.election.send(Command::Retire(*id));
        }
        self.election.idle().await;
        let mut told = Vec::new();
        for id in going {
            let Some(supervised) = self.supervised.remove(&id) else {
                continue;
            };
            self.dataplane.give_back(supervised.slot);
            let Instance { name, priority, .. } = supervised.instance;
            if supervised.drained {
                drained.insert(name.clone());
            }
            tracing::info!("({name}) removed, or another virtual router from now on");
            if !new.contains_key(&*name) {
                outcome.removed.push(name);
                let notifier = supervised.notifier;
                told.push(async move {
                    let why = "a reload has removed it".to_owned();
                    notifier
                        .tell_and_wait(Announced::Deleted, priority, why)
                        .await;
                });
            }
        }
        // Who takes longer goes on by itself.
        let _ = time::timeout(SCRIPTS, futures::future::join_all(told)).await;
        drained
    }

    /// Returns the instances that are new, and what the election is to be told of the others.
    fn change_what_stays(
        &mut self,
        table: &InterfaceTable,
        known: &Known,
        outcome: &mut Outcome,
    ) -> (Vec<Instance>, Vec<RouterSpec>) {
        let (mut new, mut changes) = (Vec::new(), Vec::new());
        let groups = self.config.acting_groups();
        let grouped: BTreeSet<&str> = members(&groups).collect();
        let ids = self.supervised.values();
        let ids: HashMap<String, RouterId> =
            ids.map(|it| (it.instance.name.clone(), it.id)).collect();
        for instance in &self.config.instances {
            let name = &instance.name;
            let found = ids.get(name).and_then(|id| self.supervised.get_mut(id));
            let Some(supervised) = found else {
                new.push(instance.clone());
                continue;
            };
            let before: BTreeSet<IpAddr> = supervised.addresses().map(|it| it.address).collect();
            let is_member = grouped.contains(&**name);
            if let Some(change) = supervised.reconfigure(instance, is_member, &self.config) {
                changes.push(change);
                outcome.changed.push(name.clone());
            } else {
                outcome.unchanged += 1;
            }
            supervised.notice_own_anew(table, known, &before);
        }
        (new, changes)
    }

    fn add(
        &mut self,
        new: Vec<Instance>,
        drained: &BTreeSet<String>,
        table: &InterfaceTable,
        known: &Known,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let is_held_back = self.starts_at.is_some();
        let groups = self.config.acting_groups();
        let grouped: BTreeSet<&str> = members(&groups).collect();
        for instance in new {
            let name = instance.name.clone();
            if !self.config.global.dynamic_interfaces
                && table.by_name(&instance.interface).is_none()
            {
                let interface = &instance.interface;
                tracing::error!("({name}) there is still no interface {interface}; it is left out");
                continue;
            }
            let is_member = grouped.contains(&*name);
            let supervised = self.take_in(instance, is_member)?;
            supervised.held_back = is_held_back;
            supervised.drained = drained.contains(&name);
            supervised.notice_own_anew(table, known, &BTreeSet::new());
            outcome.added.push(name);
        }
        Ok(())
    }
}

fn members(groups: &[SyncGroup]) -> impl Iterator<Item = &str> {
    let members = groups.iter().flat_map(|group| &group.members);
    members.map(String::as_str)
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            added,
            removed,
            changed,
            unchanged,
        } = self;
        let noun = if *unchanged == 1 {
            "instance"
        } else {
            "instances"
        };
        write!(out, "{unchanged} {noun} unchanged")?;
        for (what, names) in [("changed", changed), ("added", added), ("removed", removed)] {
            match names.as_slice() {
                [] => {}
                few if few.len() <= 5 => write!(out, ", {what} {}", few.join(" "))?,
                many => write!(out, ", {} {what}", many.len())?,
            }
        }
        Ok(())
    }
}
