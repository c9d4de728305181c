//! Whoever is measured: the same keepalived.conf for both.

use std::{collections::BTreeMap, fmt::Write as _, fs, net::Ipv4Addr, path::Path, time::Duration};

use nix::{
    sys::signal::Signal,
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use super::field::Field;
use crate::{keepalived::Keepalived, netns::Namespace, process::Scratch, wait_for, xvrrp::Xvrrp};

/// What is configured: virtual routers on every interface, and their interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Interfaces.
    pub interfaces: u8,
    /// Virtual routers on each.
    pub each: u8,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
}

/// What lets keepalived do this work as well as it can: priority over everything else, a budget of time for
/// that, and room for adverts that come all at once.
const GLOBAL: &str = "global_defs {
 vrrp_version 3
 max_auto_priority 99
 vrrp_rlimit_rttime 60000000
 vrrp_rx_bufs_policy MTU
 vrrp_rx_bufs_multiplier 200
}
";

/// Priorities of both routers.
pub(super) const PRIORITIES: [u8; 2] = [150, 100];

impl Work {
    /// How many virtual routers.
    #[must_use]
    pub fn routers(self) -> usize {
        usize::from(self.interfaces) * usize::from(self.each)
    }

    /// Adverts that are due each second.
    #[must_use]
    pub fn adverts_per_second(self) -> f64 {
        let routers = u32::try_from(self.routers()).unwrap_or(u32::MAX);
        f64::from(routers) * 100.0 / f64::from(self.interval_cs)
    }

    /// Advertisement_Interval.
    pub(super) fn interval_ns(self) -> u64 {
        u64::from(self.interval_cs) * 10_000_000
    }

    /// The RFC's own time from the last advert to the second router's first word (RFC 9568 6.1).
    #[must_use]
    pub fn master_down_ns(self) -> u64 {
        let interval_ns = self.interval_ns();
        3 * interval_ns + interval_ns * (256 - u64::from(PRIORITIES[1])) / 256
    }

    /// The address of a virtual router.
    pub(super) fn address(interface: u8, vrid: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 100, interface, vrid)
    }

    pub(super) fn config(self, priority: u8) -> String {
        let interval = format!("{}.{:02}", self.interval_cs / 100, self.interval_cs % 100);
        let mut text = GLOBAL.to_owned();
        for interface in 0..self.interfaces {
            for vrid in 1..=self.each {
                let address = Self::address(interface, vrid);
                let _ = writeln!(
                    text,
                    "vrrp_instance V{interface}_{vrid} {{\n state BACKUP\n interface eth{interface}\n \
                     virtual_router_id {vrid}\n priority {priority}\n advert_int {interval}\n \
                     virtual_ipaddress {{\n  {address}/32\n }}\n}}"
                );
            }
        }
        text
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} ms", self.routers(), self.interval_cs * 10)
    }
}

/// Whose daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Maker {
    /// Ours.
    Xvrrp,
    /// keepalived, as Debian has it.
    Keepalived,
}

/// Both of them.
pub const MAKERS: [Maker; 2] = [Maker::Xvrrp, Maker::Keepalived];

impl std::fmt::Display for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Xvrrp => "xvrrp",
            Self::Keepalived => "keepalived",
        })
    }
}

/// A daemon on one of the routers.
pub(super) enum Daemon {
    Xvrrp(Box<Xvrrp>),
    Keepalived(Keepalived),
}

impl Daemon {
    pub(super) fn start(
        maker: Maker,
        work: Work,
        field: &Field,
        router: usize,
        scratch: &Scratch,
    ) -> Self {
        let namespace = &field.routers[router];
        let config = work.config(PRIORITIES[router]);
        match maker {
            Maker::Xvrrp => Self::Xvrrp(Box::new(Xvrrp::with_config(namespace, scratch, &config))),
            Maker::Keepalived => Self::Keepalived(Keepalived::terse(namespace, scratch, &config)),
        }
    }

    /// Gives it another configuration and SIGHUP.
    pub(super) fn reload(&self, namespace: &Namespace, scratch: &Scratch, config: &str) {
        match self {
            Self::Xvrrp(daemon) => {
                scratch.write(&format!("{}.conf", namespace.name()), config);
                daemon.process.signal(Signal::SIGHUP);
            }
            Self::Keepalived(daemon) => daemon.reload(namespace, scratch, config),
        }
    }

    /// Ends it as an operator does and waits for that.
    pub(super) fn stop(&mut self, limit: Duration) {
        match self {
            Self::Xvrrp(daemon) => {
                daemon.process.signal(Signal::SIGTERM);
                daemon.process.wait(limit);
            }
            Self::Keepalived(daemon) => daemon.end(limit),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Xvrrp(daemon) => daemon.process.pid(),
            Self::Keepalived(daemon) => daemon.pid(),
        }
    }

    /// What it has said.
    pub(super) fn log(&self) -> String {
        match self {
            Self::Xvrrp(daemon) => daemon.process.log(),
            Self::Keepalived(daemon) => daemon.log(),
        }
    }

    /// How often it has become MASTER.
    pub(super) fn promotions(&self) -> usize {
        self.log().matches("Entering MASTER STATE").count()
    }

    /// What its processes have used so far.
    pub(super) fn bill(&self) -> Bill {
        let processes = tree(self.pid()).into_iter();
        Bill(processes.map(|pid| (pid, cpu_ns(pid))).collect())
    }

    /// Memory, in KiB: what is shared counts once, and maps of the kernel count too.
    pub(super) fn memory_kib(&self) -> u64 {
        let processes = tree(self.pid());
        let maps: BTreeMap<u64, u64> = processes.iter().copied().flat_map(maps).collect();
        let own: u64 = processes.into_iter().filter_map(memory_kib).sum();
        own + maps.values().sum::<u64>() / 1024
    }
}

/// Time on a processor of the daemon and its children, in nanoseconds: of every thread of each process, of those that
/// have ended too.
pub(super) struct Bill(BTreeMap<u32, u64>);

impl Bill {
    /// What they have used since an earlier one, which has to be of the same processes.
    pub(super) fn since(&self, before: &Self) -> u64 {
        let of = |bill: &Self| bill.0.keys().copied().collect::<Vec<_>>();
        assert_eq!(
            of(self),
            of(before),
            "every process of a router lives through the measurement"
        );
        self.0.values().sum::<u64>() - before.0.values().sum::<u64>()
    }
}

/// Waits until the router has every address.
pub(super) fn wait_master(work: Work, field: &Field, router: usize, limit: Duration) {
    let what = format!("{work}: every address on router {router}");
    wait_for(what, limit, || {
        (field.addresses(router) == work.routers()).then_some(())
    });
}

/// A process and its descendants.
fn tree(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|it| it.parse().ok());
    std::iter::once(pid)
        .chain(children.flat_map(tree))
        .collect()
}

/// The clock of a process: what the scheduler bills its threads, as in their `schedstat`.
fn cpu_ns(pid: u32) -> u64 {
    let pid = Pid::from_raw(pid.try_into().expect("a process"));
    let clock = clock_getcpuclockid(pid).expect("a process that lives");
    let time = clock_gettime(clock).expect("the clock of a process");
    let time = Duration::from(time);
    time.as_nanos().try_into().expect("less than centuries")
}

/// The first number of a `schedstat`.
pub(super) fn on_cpu_ns(schedstat: &Path) -> u64 {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn memory_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    number(&text, "Pss:")
}

/// The maps of BPF programs that a process has open: number, and bytes.
fn maps(pid: u32) -> Vec<(u64, u64)> {
    let open = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    let open = open.into_iter().flatten().flatten();
    let texts = open.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts
        .filter_map(|text| Some((number(&text, "map_id:")?, number(&text, "memlock:")?)))
        .collect()
}

/// The number in the line that begins so.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
