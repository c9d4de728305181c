//! Leaving nothing behind: the record of what may be left, and the end in order.

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::time;

use super::{Daemon, STOP_PATIENCE, service_manager};
use crate::{
    net::{self, InterfaceTable},
    notify::Announced,
    remains::Record,
};

impl Daemon {
    /// Takes off what the daemon before has left, while its program still keeps the kernel from
    /// answering for it, and writes down what may be left by us.
    /// Says whether nothing is left; what is goes into the new record.
    pub(super) async fn write_record(&mut self, table: &InterfaceTable) -> Result<bool> {
        let directory = self.claim.directory();
        let mut left = Vec::new();
        match Record::load(directory) {
            Ok(before) => {
                for outcome in before.unwrap_or_default().take_off(table) {
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
        }
        let nothing_left = left.is_empty();
        self.left = left;
        self.store_record(&table)?;
        Ok(nothing_left)
    }

    fn store_record(&self, table: &InterfaceTable) -> Result<()> {
        let directory = self.claim.directory();
        let placed = self.supervised.values();
        let ours = placed.flat_map(|supervised| supervised.placed(table));
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
        service_manager::stopping();
        let resigned = time::timeout(STOP_PATIENCE, self.election.stop()).await;
        let freed = match resigned {
            Ok(()) => self.make_sure_of_the_end().await,
            Err(_) => Err(anyhow!("the kernel did not take the addresses off in time")),
        };
        if freed.is_ok() {
            // A program that stays wants its record: `cleanup` reads it.
            if self.dataplane.release() {
                Record::clear(self.claim.directory());
            }
        }
        self.tell_the_scripts().await;
        freed.context("the programs stay as a fence; `xvrrp cleanup` takes everything off")
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
            supervised
                .notifier
                .tell_and_wait(Announced::Stopped, priority)
        });
        let all =
            futures::future::join(futures::future::join_all(told), self.groups.tell_and_wait());
        if time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::warn!("notify scripts still run; going on without them");
        }
    }
}
