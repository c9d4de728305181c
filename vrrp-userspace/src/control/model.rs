//! What `xvrrp status --json` prints. Field names are part of the interface.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, in nanoseconds of `CLOCK_BOOTTIME`: an upgrade keeps the process id.
    #[serde(default)]
    pub started_ns: u64,
    /// `router_id`, or the host name.
    pub router_id: String,
    /// Where the configuration comes from.
    pub configuration: String,
    /// What became of reloads.
    #[serde(default)]
    pub reloads: Reloads,
    /// Every virtual router.
    pub instances: Vec<InstanceStatus>,
    /// Every interface that carries one.
    pub interfaces: Vec<InterfaceStatus>,
    /// Every health check.
    pub scripts: Vec<ScriptStatus>,
    /// Everybody who is told of events: FIFOs, mails, webhooks.
    #[serde(default)]
    pub told: Vec<ToldStatus>,
}

/// What somebody does by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hand {
    /// Gives up the mastership of an instance, or of all, and stays out.
    Drain(Whom),
    /// Ends that.
    Undrain(Whom),
    /// Gives an instance another base priority until the next reload.
    Priority {
        /// `vrrp_instance` name.
        instance: String,
        /// 1 to 254.
        priority: u8,
    },
}

impl Hand {
    /// The instance, where it is about one.
    #[must_use]
    pub fn whom(&self) -> Option<&str> {
        match self {
            Self::Drain(Whom::Instance(name))
            | Self::Undrain(Whom::Instance(name))
            | Self::Priority { instance: name, .. } => Some(name),
            Self::Drain(Whom::All) | Self::Undrain(Whom::All) => None,
        }
    }
}

/// Which instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// All of them.
    All,
    /// The one of this name.
    Instance(String),
}

/// What became of a reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the file is what is served now.
    pub applied: bool,
    /// What `xvrrp reload` exits with: 0, the code of `xvrrp check`, or 1.
    pub code: u8,
    /// What has changed, or what is wrong.
    pub message: String,
}

impl Reloaded {
    /// Nothing was changed.
    #[must_use]
    pub const fn refused(code: u8, message: String) -> Self {
        Self {
            applied: false,
            code,
            message,
        }
    }
}

/// What became of all reloads since the daemon started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reloads {
    /// Those that were applied.
    pub applied: u64,
    /// Those that changed nothing.
    pub refused: u64,
    /// What became of the last one.
    pub last: Option<String>,
    /// Whether that one was refused.
    #[serde(default)]
    pub last_was_refused: bool,
    /// How long applying it took, in seconds.
    pub last_seconds: f64,
}

impl Reloads {
    /// Counts one more.
    pub fn note(&mut self, reloaded: &Reloaded, took: std::time::Duration) {
        if reloaded.applied {
            self.applied += 1;
        } else {
            self.refused += 1;
        }
        self.last = Some(reloaded.message.clone());
        self.last_was_refused = !reloaded.applied;
        self.last_seconds = took.as_secs_f64();
    }
}

/// One virtual router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `vrrp_instance` name.
    pub name: String,
    /// `INIT`, `BACKUP`, `MASTER` or `FAULT`.
    pub state: String,
    /// Seconds in this state.
    pub since_seconds: f64,
    /// Why it is in this state.
    pub why: String,
    /// Interface.
    pub interface: String,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// The MAC that its addresses are at: the interface's, or with `use_vmac` the virtual one.
    pub mac: String,
    /// Protocol version, 2 or 3.
    pub version: u8,
    /// `vrrp_sync_group` that it is a member of.
    pub sync_group: Option<String>,
    /// Addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// The same one by one, with where each is.
    #[serde(default)]
    pub placed: Vec<AddressStatus>,
    /// `garp_master_delay`, in milliseconds.
    #[serde(default)]
    pub garp_delay_ms: u64,
    /// `priority`.
    pub base_priority: u8,
    /// What is advertised and compared.
    pub effective_priority: u8,
    /// What makes the difference between the two.
    pub checks: Vec<CheckShare>,
    /// Somebody has taken it out by hand (`xvrrp drain`).
    #[serde(default)]
    pub drained: bool,
    /// A base priority that somebody has given it by hand (`xvrrp priority`).
    #[serde(default)]
    pub priority_by_hand: Option<u8>,
    /// The `notify` script that ran last, and what became of it.
    #[serde(default)]
    pub last_script: Option<String>,
    /// What holds it in FAULT.
    pub faults: Vec<String>,
    /// Who is MASTER, as far as this router knows.
    pub master: Option<MasterStatus>,
    /// Age of the last advert that holds us down, in milliseconds.
    pub last_advert_age_ms: Option<f64>,
    /// How much longer the kernel may answer, in milliseconds; negative once it has run out,
    /// absent when not MASTER.
    pub lease_ms: Option<f64>,
    /// Time to the next deadline in milliseconds.
    pub next_deadline_ms: Option<f64>,
    /// Other interfaces of this machine on which its kernel would answer ARP for the addresses, whether
    /// this router may or not: nothing is attached there.
    #[serde(default)]
    pub unfenced: Vec<String>,
    /// What neighbours did wrong, the latest first.
    pub mistakes: Vec<NeighbourMistake>,
    /// Counters, user space and kernel.
    pub counters: BTreeMap<String, u64>,
}

/// A virtual address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddressStatus {
    /// With its prefix length.
    pub address: String,
    /// Where it is put.
    pub interface: String,
    /// It is not advertised (`virtual_ipaddress_excluded`).
    pub excluded: bool,
}

impl AddressStatus {
    /// As keepalived shows it: without a prefix that covers one address.
    #[must_use]
    pub fn without_host_prefix(&self) -> &str {
        let address = self.address.as_str();
        let host = if address.contains(':') { "/128" } else { "/32" };
        address.strip_suffix(host).unwrap_or(address)
    }
}

/// A tracked thing and what it does to the priority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckShare {
    /// Its name.
    pub name: String,
    /// `script`, `interface`, `file`, `process` or `arbiter`.
    pub kind: String,
    /// Whether it is up; absent before its first result, and for a file.
    pub up: Option<bool>,
    /// The number in a file.
    #[serde(default)]
    pub number: Option<i64>,
    /// Its weight here; 0 = failure means FAULT.
    pub weight: i32,
    /// What it adds to the priority now.
    pub share: i32,
}

/// Something that a neighbour did wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeighbourMistake {
    /// Who, what, and what to do about it.
    pub what: String,
    /// Seconds since it was noticed first.
    pub first_seconds: f64,
    /// Seconds since it was noticed last.
    pub last_seconds: f64,
}

/// The current master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Its address.
    pub address: String,
    /// Its priority.
    pub priority: u8,
    /// Its Advertisement_Interval in seconds.
    pub interval_seconds: f64,
    /// Whether it is this router.
    pub ourselves: bool,
}

/// An interface with instances.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Whether it is up with a carrier.
    pub running: bool,
    /// Where frames are judged: `native`, `tc`, `generic` or `userspace`.
    pub attached: Option<String>,
    /// Why there.
    pub reason: Option<String>,
    /// What keeps the program attached: `pinned`, `held by netlink`, `held by this process`.
    pub held_by: Option<String>,
    /// Whether the kernel is kept from answering for our addresses unless the lease allows it.
    pub fence: bool,
    /// Why a program is missing beside the one that judges frames: then there is no virtual MAC, or
    /// what the kernel says of its own accord is not held back.
    pub companion_problem: Option<String>,
    /// What the kernel program counted.
    pub kernel: BTreeMap<String, u64>,
    /// Adverts it rejected, by reason.
    pub rejects: BTreeMap<String, u64>,
}

/// A health check, or something else that is tracked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScriptStatus {
    /// Its name.
    pub name: String,
    /// `script`, `file`, `process` or `arbiter`.
    #[serde(default)]
    pub kind: String,
    /// Whether it is up; absent before its first result.
    pub up: Option<bool>,
    /// How its last run ended, or what it says.
    pub last: Option<String>,
    /// The end of what a script printed in its last run.
    #[serde(default)]
    pub output: String,
    /// How long that took, in milliseconds.
    pub took_ms: Option<f64>,
    /// It runs at this moment.
    #[serde(default)]
    pub runs_now: bool,
    /// How often it has run.
    #[serde(default)]
    pub runs: u64,
    /// How long all runs took together, in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// Somebody who is told of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToldStatus {
    /// A path, a URL, or `mails`.
    pub name: String,
    /// How many were taken.
    pub sent: u64,
    /// How many are lost.
    pub lost: u64,
    /// How many wait.
    pub waiting: usize,
    /// Why nobody can be told.
    pub problem: Option<String>,
}
