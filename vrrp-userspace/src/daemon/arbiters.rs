//! The leases that sync groups and instances need to be MASTER (`vrrp_arbiter` with etcd): started,
//! followed by a reload, given back at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future;
use tokio::{sync::mpsc, time};

use crate::{
    arbiter::{Contract, Lease, LeaseLeft, LeaseState},
    config::model::{Arbiter, Config, Judge, TrackKind},
    election::ElectionHandle,
    health::{OnUnreachable, Turned},
};

/// Which lease: the arbiter, and what it is for.
type Key = (String, String);

/// Every lease.
pub(super) struct Arbiters {
    running: BTreeMap<Key, Running>,
    /// Those that a group has asked for since [`Arbiters::keep`].
    taken: BTreeSet<Key>,
    /// Those that nobody asks for any longer, until the election knows.
    gone: Vec<Running>,
    /// What the daemon before has left, until it is asked for.
    left: BTreeMap<String, LeaseLeft>,
    /// What each group wants, by its slot, and the number of that.
    wanted: BTreeMap<u32, (Option<u8>, u64)>,
    election: ElectionHandle,
    changed: mpsc::UnboundedSender<Turned>,
}

struct Running {
    arbiter: Arbiter,
    lease: Lease,
}

/// How long the end may wait for answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lease that a group, or an instance that is in none, needs.
pub(super) fn needed<'a>(config: &'a Config, members: &[String]) -> Option<&'a Arbiter> {
    let instances = config.instances.iter();
    let members = instances.filter(|instance| members.contains(&instance.name));
    let tracks = members.flat_map(|instance| &instance.tracks);
    let arbiters = tracks.filter(|track| track.kind == TrackKind::Arbiter);
    let mut arbiters = arbiters.filter_map(|track| config.arbiters.get(&track.name));
    arbiters.find(|arbiter| matches!(arbiter.judge, Judge::Etcd(_)))
}

impl Arbiters {
    pub(super) fn new(
        election: ElectionHandle,
        changed: mpsc::UnboundedSender<Turned>,
        left: BTreeMap<String, LeaseLeft>,
    ) -> Self {
        Self {
            running: BTreeMap::new(),
            taken: BTreeSet::new(),
            gone: Vec::new(),
            wanted: BTreeMap::new(),
            left,
            election,
            changed,
        }
    }

    /// The lease for a group with this slot, and until when it may be MASTER by it. One that runs already
    /// goes on.
    pub(super) fn take(&mut self, arbiter: &Arbiter, subject: &str, slot: u32) -> u64 {
        let key = (arbiter.name.clone(), subject.to_owned());
        self.taken.insert(key.clone());
        if let Some(running) = self.running.get(&key)
            && is_same(&running.arbiter, arbiter)
        {
            running.lease.move_to(slot);
            return running.lease.state().permit_until_ns;
        }
        let Judge::Etcd(etcd) = &arbiter.judge else {
            return 0;
        };
        let contract = Contract {
            name: arbiter.name.clone(),
            etcd: etcd.clone(),
            subject: subject.to_owned(),
            timeout: arbiter.timeout,
            terms: Contract::terms(etcd.ttl, arbiter.interval, arbiter.on_unreachable),
        };
        // On other terms what is held goes on being held, where it is the same lease.
        let before = self.running.remove(&key);
        let before = before.and_then(|it| it.lease.state().left);
        let left = self.left.remove(&label(&key)).or(before);
        let left = left.filter(|left| left.is_of(etcd));
        let (election, changed) = (self.election.clone(), self.changed.clone());
        let lease = Lease::start(contract, slot, left, election, changed);
        let permit_until_ns = lease.state().permit_until_ns;
        if let Some((priority, number)) = self.wanted.get(&slot) {
            lease.want(*priority, *number);
        }
        let arbiter = arbiter.clone();
        self.running.insert(key, Running { arbiter, lease });
        permit_until_ns
    }

    /// Lets all go that no group has asked for since the last time; groups have these slots.
    pub(super) fn keep(&mut self, slots: &BTreeSet<u32>) {
        self.wanted.retain(|slot, _| slots.contains(slot));
        let taken = std::mem::take(&mut self.taken);
        let (kept, gone) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(key, _)| taken.contains(key));
        self.running = kept;
        let gone: BTreeMap<Key, Running> = gone;
        self.gone.extend(gone.into_values());
    }

    /// The election knows of the groups that there are now: what was let go is given back.
    pub(super) fn release_gone(&mut self) {
        for running in self.gone.drain(..) {
            tokio::spawn(async move { running.lease.release().await });
        }
    }

    /// A group wants to be MASTER, or does not any longer.
    pub(super) fn want(&mut self, slot: u32, priority: Option<u8>, number: u64) {
        self.wanted.insert(slot, (priority, number));
        let mut all = self.running.values();
        if let Some(running) = all.find(|running| running.lease.is_for(slot)) {
            running.lease.want(priority, number);
        }
    }

    /// Whether an arbiter can be asked, as far as that counts; `None` before the first answer, or where it
    /// is none with a lease.
    pub(super) fn is_up(&self, name: &str) -> Option<bool> {
        let mut found = None;
        for running in self.running.values() {
            if running.arbiter.name == name {
                let counts = running.arbiter.on_unreachable == OnUnreachable::Fault;
                let is_up = running.lease.state().reachable? || !counts;
                found = Some(found.unwrap_or(true) && is_up);
            }
        }
        found
    }

    /// Every lease: its arbiter, what it is for, how it stands.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, &str, LeaseState)> {
        let all = self.running.iter();
        all.map(|((name, subject), running)| (&**name, &**subject, running.lease.state()))
    }

    /// What the next process may go on with.
    pub(super) fn left(&self) -> BTreeMap<String, LeaseLeft> {
        let all = self.running.iter();
        all.filter_map(|(key, running)| Some((label(key), running.lease.state().left?)))
            .collect()
    }

    /// Gives everything back: whoever waits need not wait for it to run out.
    pub(super) async fn release(&mut self) {
        let running = std::mem::take(&mut self.running);
        let released = running.values().map(|running| running.lease.release());
        if time::timeout(PATIENCE, future::join_all(released))
            .await
            .is_err()
        {
            tracing::warn!("an arbiter does not answer: its lease runs out by itself");
        }
    }
}

/// Whether they say the same, wherever they stand.
fn is_same(one: &Arbiter, other: &Arbiter) -> bool {
    let mut moved = other.clone();
    moved.span.clone_from(&one.span);
    *one == moved
}

fn label((name, subject): &Key) -> String {
    format!("{name}/{subject}")
}
