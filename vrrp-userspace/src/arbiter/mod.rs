//! Arbiters that hold a lease: what [`vrrp_common::arbiter`] asks is asked here, and the election is told
//! until when it may be MASTER.

mod etcd;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use vrrp_common::arbiter::{Answer, Ask, Left, Tenant, Terms};

use crate::{
    clock,
    config::model::{Etcd, TrackKind},
    election::{Command, ElectionHandle},
    health::Turned,
};
use etcd::Client;

/// How soon a candidate tries again.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Left")]
struct LeftFields {
    lease_until_ns: u64,
    held_as: Option<u8>,
    has_key: bool,
    silent_since_ns: Option<u64>,
}

/// A lease that the next process may go on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseLeft {
    /// Members of the cluster.
    pub endpoints: Vec<String>,
    /// What its keys begin with.
    pub prefix: String,
    /// How long it lasts, in seconds.
    pub ttl_s: u64,
    /// The number of the lease in etcd.
    pub number: i64,
    /// How we stand with it. Times in nanoseconds of `CLOCK_BOOTTIME`.
    #[serde(with = "LeftFields")]
    pub tenancy: Left,
}

/// How it stands, for `status` and for the next process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseState {
    /// Whether somebody answers; `None` before the first answer.
    pub reachable: Option<bool>,
    /// Until when we may be MASTER; 0 = not.
    pub permit_until_ns: u64,
    /// Our lease.
    pub left: Option<LeaseLeft>,
    /// What was said last.
    pub said: String,
}

/// What a lease is about.
#[derive(Clone, Debug)]
pub struct Contract {
    /// Name of the `vrrp_arbiter`.
    pub name: String,
    /// Who is asked.
    pub etcd: Etcd,
    /// Behind its prefix: the sync group, or the instance.
    pub subject: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often what.
    pub terms: Terms,
}

enum Message {
    Want(Option<u8>, u64),
    Release(oneshot::Sender<()>),
}

/// The way to one lease.
pub struct Lease {
    messages: mpsc::UnboundedSender<Message>,
    state: watch::Receiver<LeaseState>,
    slot: Arc<AtomicU32>,
    task: tokio::task::AbortHandle,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lease {
    /// Starts to look after a lease for the group with this slot, from what a process before has left.
    #[must_use]
    pub fn start(
        contract: Contract,
        slot: u32,
        left: Option<LeaseLeft>,
        election: ElectionHandle,
        changed: mpsc::UnboundedSender<Turned>,
    ) -> Self {
        let (messages, inbox) = mpsc::unbounded_channel();
        let slot = Arc::new(AtomicU32::new(slot));
        let tenant = match &left {
            Some(left) => Tenant::resume(contract.terms, left.tenancy),
            None => Tenant::new(contract.terms),
        };
        let now_ns = clock::now_ns();
        let permit_until_ns = tenant.permit_until_ns(now_ns);
        let (sender, state) = watch::channel(LeaseState {
            permit_until_ns,
            reachable: tenant.is_reachable(now_ns),
            left: left.clone(),
            ..LeaseState::default()
        });
        let keeper = Keeper {
            client: Client::new(&contract),
            contract,
            tenant,
            number: left.map_or(0, |left| left.number),
            slot: Arc::clone(&slot),
            wanted: 0,
            told: (permit_until_ns, 0),
            state: sender,
            election,
            changed,
        };
        Self {
            messages,
            state,
            slot,
            task: tokio::spawn(keeper.keep(inbox)).abort_handle(),
        }
    }

    /// The group wants to be MASTER, as a candidate of this priority, or does not any longer.
    pub fn want(&self, priority: Option<u8>, number: u64) {
        // The keeper ends with the process.
        let _ = self.messages.send(Message::Want(priority, number));
    }

    /// Gives everything back, and waits until that was answered.
    pub async fn release(&self) {
        let (done, released) = oneshot::channel();
        if self.messages.send(Message::Release(done)).is_ok() {
            // An error means that the keeper has ended.
            let _ = released.await;
        }
    }

    /// The group has this slot.
    #[must_use]
    pub fn is_for(&self, slot: u32) -> bool {
        self.slot.load(Ordering::Relaxed) == slot
    }

    /// The group has another slot from now on.
    pub fn move_to(&self, slot: u32) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.state.borrow().clone()
    }
}

struct Keeper {
    client: Client,
    contract: Contract,
    tenant: Tenant,
    /// The number of our lease in etcd.
    number: i64,
    slot: Arc<AtomicU32>,
    /// The number of what is wanted.
    wanted: u64,
    /// What the election was told last, in answer to which number.
    told: (u64, u64),
    state: watch::Sender<LeaseState>,
    election: ElectionHandle,
    changed: mpsc::UnboundedSender<Turned>,
}

impl Keeper {
    async fn keep(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let mut said = String::new();
        loop {
            self.tell(&said);
            let (ask, due_ns) = self.tenant.next(clock::now_ns());
            let pause = Duration::from_nanos(due_ns.saturating_sub(clock::now_ns()));
            tokio::select! {
                biased;
                message = inbox.recv() => match message {
                    Some(Message::Want(priority, number)) => {
                        self.wanted = number;
                        self.tenant.want(clock::now_ns(), priority);
                        continue;
                    }
                    Some(Message::Release(done)) => {
                        self.tenant.want(clock::now_ns(), None);
                        self.tell(&said);
                        if self.number != 0 {
                            self.ask(Ask::Release).await;
                        }
                        // Whoever waited may have given up.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                () = time::sleep(pause) => {}
            }
            said = self.ask(ask).await;
        }
    }

    /// Asks, and says what was said. What is wanted meanwhile waits for the answer.
    async fn ask(&mut self, ask: Ask) -> String {
        let asked_ns = clock::now_ns();
        let asked = self.client.ask(ask, self.number);
        let answered = match time::timeout(self.contract.timeout, asked).await {
            Ok(answered) => answered,
            Err(_) => Err("no answer in time".to_owned()),
        };
        let (answer, said) = match answered {
            Ok((number, answer, said)) => {
                self.number = number;
                (answer, said)
            }
            Err(why) => {
                self.client.turn_to_the_next();
                (Answer::Failed, why)
            }
        };
        let now_ns = clock::now_ns();
        self.tenant.answer(asked_ns, now_ns, ask, answer);
        said
    }

    /// Tells the election and everybody else what is new.
    fn tell(&mut self, said: &str) {
        let now_ns = clock::now_ns();
        let permit_until_ns = self.tenant.permit_until_ns(now_ns);
        if self.told != (permit_until_ns, self.wanted) {
            self.told = (permit_until_ns, self.wanted);
            self.election.send(Command::Permit {
                slot: self.slot.load(Ordering::Relaxed),
                until_ns: permit_until_ns,
                number: self.wanted,
            });
        }
        let reachable = self.tenant.is_reachable(now_ns);
        let tenancy = self.tenant.left();
        let has_lease = self.number != 0 && tenancy.lease_until_ns > 0;
        let is_worth_it = has_lease || tenancy.silent_since_ns.is_some();
        let state = LeaseState {
            reachable,
            permit_until_ns,
            left: is_worth_it.then_some(LeaseLeft {
                endpoints: self.contract.etcd.endpoints.clone(),
                prefix: self.contract.etcd.prefix.clone(),
                ttl_s: self.contract.etcd.ttl.as_secs(),
                number: self.number,
                tenancy,
            }),
            said: said.to_owned(),
        };
        let before = self.state.send_replace(state);
        if before.reachable != reachable {
            // The daemon ends with the process.
            let name = self.contract.name.clone();
            let _ = self.changed.send((TrackKind::Arbiter, name));
        }
    }
}

impl LeaseLeft {
    /// Whether this is a lease of that cluster, with that time to live, below those keys: another one would
    /// hold nothing, or end at another time.
    #[must_use]
    pub fn is_of(&self, etcd: &Etcd) -> bool {
        let mut common = self.endpoints.iter();
        self.prefix == etcd.prefix
            && self.ttl_s == etcd.ttl.as_secs()
            && common.any(|endpoint| etcd.endpoints.contains(endpoint))
    }
}

impl Contract {
    /// The terms of an arbiter's configuration.
    #[must_use]
    pub fn terms(
        ttl: Duration,
        interval: Duration,
        on_unreachable: vrrp_common::arbiter::OnUnreachable,
    ) -> Terms {
        let nanos = |time: Duration| time.as_nanos().try_into().unwrap_or(u64::MAX);
        Terms {
            ttl_ns: nanos(ttl),
            interval_ns: nanos(interval),
            retry_ns: nanos(RETRY.min(interval)),
            on_unreachable,
        }
    }
}
