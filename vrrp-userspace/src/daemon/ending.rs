//! Leaving nothing behind: the record of what may be left, and the end in order.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::time;

use super::{Daemon, STOP_PATIENCE, service_manager};
use crate::{
    control::Kind,
    handover::Handover,
    net::{self, InterfaceTable},
    notify::{Announced, Ending},
    remains::{Placed, Record},
    run_dir,
};

/// How long mails and webhooks may still take when the daemon stops.
const DELIVERY: Duration = Duration::from_secs(3);

impl Daemon {
    /// Takes off what the daemon before has left, while its program still keeps the kernel from
    /// answering for it, and writes down what may be left by us.
    /// Says whether nothing is left; what is goes into the new record.
    pub(super) async fn write_record(&mut self, table: &InterfaceTable) -> Result<bool> {
        let directory = self.claim.directory();
        let mut left = Vec::new();
        let mut stays = BTreeSet::new();
        match Record::load(directory) {
            Ok(before) => {
                let mut before = before.unwrap_or_default();
                stays = before.addresses.clone();
                stays.retain(|placed| self.inherited(placed, table) || self.statics.want(placed));
                before.addresses.retain(|placed| !stays.contains(placed));
                for outcome in before.take_off(table) {
                    match outcome.result {
                        Ok(done) => tracing::info!("left by the daemon before: {done}"),
                        Err(error) => {
                            tracing::error!("left by the daemon before: {error}");
                            left.push(outcome.placed);
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(
                "{error:#}; look for addresses that the daemon before has left with `ip address`"
            ),
        }
        // What is there now is the machine's own.
        let table = net::read().await?;
        for supervised in self.supervised.values_mut() {
            supervised.notice_own(&table);
            supervised.notice_own_of_others(&table);
        }
        self.statics.notice_own(&table, &stays);
        let nothing_left = left.is_empty();
        self.left = left;
        self.store_record(&table)?;
        Ok(nothing_left)
    }

    pub(super) fn store_record(&self, table: &InterfaceTable) -> Result<()> {
        self.store_record_with(table, self.going.clone())
    }

    /// Every address that may be on an interface because of us.
    pub(super) fn all_placed(&self, table: &InterfaceTable) -> BTreeSet<Placed> {
        let placed = self.supervised.values();
        let ours = placed.flat_map(|supervised| supervised.placed(table));
        ours.chain(self.statics.placed(table)).collect()
    }

    /// Writes them down, and others that may still be there.
    fn store_record_with(&self, table: &InterfaceTable, others: BTreeSet<Placed>) -> Result<()> {
        let directory = self.claim.directory();
        let ours = self.all_placed(table).into_iter().chain(others);
        Record::of(ours.chain(self.left.iter().cloned()))
            .store(directory)
            .with_context(|| format!("write down the addresses in {}", directory.display()))
    }

    /// An owner may be started before the machine has its address. That one is not ours to take off,
    /// after a crash either.
    pub(super) fn notice_own_addresses(&mut self, table: &InterfaceTable) {
        let mut news = false;
        for supervised in self.supervised.values_mut() {
            news |= supervised.notice_own(table);
        }
        if news && let Err(error) = self.store_record(table) {
            tracing::error!("{error:#}");
        }
    }

    /// Resigns, takes the addresses off, then the programs, and tells the scripts.
    pub(super) async fn stop(&mut self) -> Result<()> {
        tracing::info!("stopping: resigning and removing the virtual addresses");
        self.note(Kind::Daemon, None, "stopping");
        service_manager::stopping();
        self.checks.stop();
        run_dir::note_stop(self.claim.directory());
        let resigned = time::timeout(STOP_PATIENCE, self.election.stop()).await;
        if time::timeout(STOP_PATIENCE, self.statics.take_away())
            .await
            .is_err()
        {
            tracing::error!("the kernel did not take the static addresses and routes off in time");
        }
        self.checks.arbiters.release().await;
        let freed = match resigned {
            Ok(()) => self.make_sure_of_the_end().await,
            Err(_) => Err(anyhow!("the kernel did not take the addresses off in time")),
        };
        if freed.is_ok() {
            // A program that stays wants its record: `cleanup` reads it.
            if self.dataplane.release() {
                Record::clear(self.claim.directory());
                Handover::clear(self.claim.directory());
                run_dir::forget_stop(self.claim.directory());
            }
        }
        self.tell_the_scripts().await;
        self.checks.stopped().await;
        freed.context("the programs stay as a fence; `xvrrp cleanup` takes everything off")
    }

    /// Stops saying anything, and leaves the addresses where they are: the kernel answers for them from now
    /// on, whoever else becomes MASTER (`--dont-release-vrrp`).
    pub(super) async fn stop_and_keep(&mut self) -> Result<()> {
        tracing::warn!("stopping; the virtual addresses stay: `xvrrp cleanup` takes them off");
        service_manager::stopping();
        self.checks.stop();
        run_dir::note_stop(self.claim.directory());
        let _ = self.election.hand_over().await;
        self.dataplane.release();
        self.tell_the_scripts().await;
        self.checks.stopped().await;
        Ok(())
    }

    /// Looks at the interfaces: an address that is still there would be the kernel's to answer for
    /// once the programs are off.
    async fn make_sure_of_the_end(&self) -> Result<()> {
        let table = net::read().await?;
        let record = Record::load(self.claim.directory())?.unwrap_or_default();
        let stays: Vec<String> = record
            .take_off(&table)
            .into_iter()
            // What the daemon before may have left on other interfaces is no reason to stay.
            .filter(|outcome| !outcome.is_elsewhere)
            .filter_map(|outcome| outcome.result.err())
            .collect();
        if !stays.is_empty() {
            bail!("{}", stays.join("; "));
        }
        Ok(())
    }

    async fn tell_the_scripts(&self) {
        let told = self.supervised.values().map(|supervised| {
            let priority = supervised.instance.priority;
            let why = "the daemon stops".to_owned();
            supervised
                .notifier
                .tell_and_wait(Announced::Stopped, priority, why)
        });
        let all =
            futures::future::join(futures::future::join_all(told), self.groups.tell_and_wait());
        if time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::warn!("notify scripts still run; going on without them");
        }
        self.desk.finish(DELIVERY, Ending::Stop).await;
    }
}
