//! The start: everything made and wired together, instances taken in, or taken up where the daemon before
//! left off.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{sync::mpsc, time};
use vrrp_common::validate::Reject;

use super::{
    Daemon, Options,
    arbiters::Arbiters,
    checks::Checks,
    groups::Groups,
    ports::Ports,
    reload::plan,
    restore::{Links, watched_routes},
    router_id,
    statics::Statics,
    succession,
    supervisor::Supervised,
};
use crate::{
    clock,
    config::model::{Config, Instance, SyncGroup},
    control::{self, Reloads, Served},
    dataplane::{Dataplane, Plan},
    election::{self, Command, ElectionHandle, Parts, RouterId, Scheduling, Settled},
    handover::{Handover, Parcel},
    health::Turned,
    history::History,
    metrics::{self, Measures},
    net::{self, InterfaceTable, PacketSocket, Worker},
    notify::{self as desk, Desk},
    remains::{self, Record},
    run_dir::Claim,
};

impl Daemon {
    pub(super) async fn start(options: Options) -> Result<Self> {
        let Options {
            config,
            origin,
            mode,
            bpffs,
            claim,
            signals,
            launch,
            parcel,
            control_group,
            metrics: metrics_at,
            keeps_addresses,
        } = options;
        let interfaces = net::watch().await?;
        remains::must_be_known(&claim, &bpffs, &interfaces.borrow())?;
        let mut dataplane = Dataplane::load(&Plan {
            request: mode,
            pins: Some((bpffs, claim.namespace().to_owned())),
            ..plan(&config)
        })?;
        let (notices_in, notices) = mpsc::unbounded_channel();
        let news = dataplane.take_news().context("the doorbell is taken")?;
        let heartbeat = dataplane
            .take_heartbeat()
            .context("the heartbeat is taken")?;
        let (worker, settled) = start_worker(&claim, config.global.scheduling.clone())?;
        // The record knows whether it is of this network namespace.
        let is_ours = matches!(Record::load(claim.directory()), Ok(Some(_)));
        let of_a_crash = || Parcel::of_a_crash(claim.directory());
        let parcel = parcel.or_else(|| is_ours.then(of_a_crash).flatten());
        let (left, slots_before) = succession::unpack(parcel, &claim);
        let election = election::start(Parts {
            slots: dataplane.slots(),
            news,
            heartbeat,
            socket: PacketSocket::open().context("open a packet socket (CAP_NET_RAW is needed)")?,
            worker: worker.clone(),
            settled,
            notices: notices_in,
            scheduling: config.global.scheduling.clone(),
            slots_before,
        })
        .context("start the election thread")?;
        let (question, questions) = mpsc::channel(16);
        let history = History::going_on(left.as_ref().map(|left| left.history.clone()));
        let measures = Measures::default();
        let served = Served::new(question.clone(), history.clone());
        control::serve(&claim.socket(), control_group.as_deref(), served)?;
        if let Some(address) = metrics_at {
            metrics::serve(address, question, measures.clone())
                .context("start the thread that serves metrics")?;
        }
        let (checks, turned) = start_checks(&config, &election, left.as_ref())?;
        let statics = Statics::new(config.statics.clone(), worker);
        let desk = Desk::start(desk::Settings::of(&config.global, router_id(&config)));
        let mut daemon = Self {
            desk,
            routes: watched_routes(&config, &statics)?,
            statics,
            links: Links::default(),
            supervised: BTreeMap::new(),
            groups: Groups::default(),
            starts_at: None,
            left: Vec::new(),
            config,
            origin,
            dataplane,
            ports: Ports::default(),
            election,
            turned,
            interfaces,
            notices,
            checks,
            questions,
            claim,
            history,
            measures,
            signals,
            launch,
            succeeds: left.is_some(),
            started_ns: clock::now_ns(),
            departure: None,
            keeps_addresses,
            reading: None,
            reloads: Reloads::default(),
            going: BTreeSet::new(),
            next_router: 0,
            other_versions: BTreeMap::new(),
            state_due: None,
            state_written: None,
            cannot_write: false,
        };
        daemon.note_start(left.as_ref());
        daemon.start_instances(left.as_ref()).await?;
        Ok(daemon)
    }

    async fn start_instances(&mut self, left: Option<&Handover>) -> Result<()> {
        let table = self.interfaces.borrow_and_update().clone();
        let groups = self.config.acting_groups();
        for instance in self.config.instances.clone() {
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
            let member = |group: &SyncGroup| group.members.contains(&instance.name);
            let grouped = groups.iter().any(member);
            let supervised = self.prepare(instance, grouped)?;
            let supervised = match left {
                Some(left) => taken_up(supervised, left, &table),
                None => supervised,
            };
            self.enlist(supervised);
        }
        if self.supervised.is_empty() {
            bail!("no instance can be served; see the messages above");
        }
        self.groups = Groups::start(
            &self.config,
            &self.supervised,
            &mut self.dataplane,
            &self.election,
            &self.desk,
            &mut self.checks.arbiters,
        )?;
        if let Some(left) = left {
            self.groups.take_up(&self.supervised);
            self.dataplane.count_on(&left.counters);
            let version = Reject::Version as usize;
            let counts = left.counters.iter();
            let counts = counts.filter_map(|(index, all)| Some((*index, *all.get(version)?)));
            self.other_versions = counts.collect();
        }
        self.delay_the_start();
        let nothing_left = self.write_record(&table).await?;
        self.review().await;
        self.end_succession();
        self.write_state().await;
        // Where an address is left, the program in front of it stays.
        if nothing_left {
            self.dataplane.take_off_elsewhere(&self.interfaces.borrow());
        }
        Ok(())
    }

    /// An instance with a number and a slot.
    fn prepare(&mut self, instance: Instance, grouped: bool) -> Result<Supervised> {
        let id = RouterId(self.next_router);
        self.next_router = self
            .next_router
            .checked_add(1)
            .context("too many instances")?;
        let slot = self.dataplane.take_slot()?;
        let desk = self.desk.clone();
        Ok(Supervised::new(
            id,
            slot,
            instance,
            grouped,
            &self.config,
            desk,
        ))
    }

    fn enlist(&mut self, supervised: Supervised) -> &mut Supervised {
        let spec = supervised.spec();
        self.election.send(Command::Add(Box::new(spec)));
        self.supervised.entry(supervised.id).or_insert(supervised)
    }

    /// Takes in an instance that nobody has left anything of.
    pub(super) fn take_in(&mut self, instance: Instance, grouped: bool) -> Result<&mut Supervised> {
        let supervised = self.prepare(instance, grouped)?;
        Ok(self.enlist(supervised))
    }

    /// Instances are held in INIT: adverts are noticed, and nothing follows from them.
    fn delay_the_start(&mut self) {
        let global = &self.config.global;
        let since_boot = Duration::from_nanos(clock::now_ns());
        let after_boot = global.delay_after_boot.saturating_sub(since_boot);
        let delay = global.startup_delay.max(after_boot);
        if delay.is_zero() {
            return;
        }
        // Who goes on where the daemon before left off takes part already.
        let all = self.supervised.values_mut();
        let starting: Vec<&mut Supervised> = all.filter(|it| it.tenure().is_none()).collect();
        if starting.is_empty() {
            return;
        }
        tracing::info!(
            "vrrp_startup_delay, vrrp_delay_after_boot: {} instances take no part for {delay:?}",
            starting.len()
        );
        self.starts_at = Some(time::Instant::now() + delay);
        for supervised in starting {
            supervised.held_back = true;
        }
    }

    pub(super) async fn end_delay(&mut self) {
        self.starts_at = None;
        for supervised in self.supervised.values_mut() {
            supervised.held_back = false;
        }
        self.review().await;
    }
}

/// The checks, and where they say that something is different.
fn start_checks(
    config: &Config,
    election: &ElectionHandle,
    left: Option<&Handover>,
) -> Result<(Checks, mpsc::UnboundedReceiver<Turned>)> {
    let (changed, turned) = mpsc::unbounded_channel();
    let leases = left.map(|left| left.leases.clone()).unwrap_or_default();
    let arbiters = Arbiters::new(election.clone(), changed.clone(), leases);
    let known = left.map(|left| &left.checks);
    let checks = Checks::start(config, changed, known, arbiters);
    let checks = checks.context("start the thread that checks run on")?;
    Ok((checks, turned))
}

/// A MASTER whose addresses wait for a busy machine is none.
fn start_worker(
    claim: &Claim,
    scheduling: Scheduling,
) -> Result<(Worker<Settled>, mpsc::UnboundedReceiver<Vec<Settled>>)> {
    let prefer = move || {
        if let Err(error) = scheduling.prefer() {
            tracing::debug!("the netlink thread is scheduled as any other: {error}");
        }
    };
    let (reports, settled) = mpsc::unbounded_channel();
    let worker = Worker::start(remains::placed_before(claim), prefer, reports);
    Ok((worker.context("start the netlink worker")?, settled))
}

/// An instance that goes on where the daemon before left off.
fn taken_up(mut supervised: Supervised, left: &Handover, table: &InterfaceTable) -> Supervised {
    let interface = table.by_name(&supervised.instance.interface);
    supervised.take_up(&left.instances, interface.map(|it| it.index));
    supervised
}
