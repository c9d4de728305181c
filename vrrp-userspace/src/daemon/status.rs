//! The daemon's answer to `status`.

use std::{collections::BTreeMap, fs};

use vrrp_common::{
    arbiter,
    contract::{Counter, Family},
    election::State,
    timers,
    validate::Reject,
};

use super::{Daemon, Origin, report, router_id, supervisor::Supervised};
use crate::{
    clock,
    config::model::{Instance, TrackKind},
    control::model::{
        AddressStatus, CheckShare, InstanceStatus, InterfaceStatus, MasterStatus, NeighbourMistake,
        ScriptStatus, Status, ToldStatus,
    },
    dataplane::Attachment,
    election::RouterSnapshot,
    net::VirtualAddress,
    notify::Told,
};

pub(super) fn build(daemon: &Daemon, snapshots: &[RouterSnapshot], told: Vec<Told>) -> Status {
    let unfenced = unfenced(daemon);
    let pairs = snapshots.iter().filter_map(|snapshot| {
        daemon
            .supervised
            .get(&snapshot.id)
            .map(|supervised| instance(daemon, supervised, snapshot, &unfenced))
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_ns: daemon.started_ns,
        router_id: router_id(&daemon.config),
        configuration: match &daemon.origin {
            Origin::File { path, .. } => path.display().to_string(),
            Origin::Embedded { .. } => "embedded default".to_owned(),
        },
        reloads: daemon.reloads.clone(),
        instances: pairs.collect(),
        interfaces: interfaces(daemon),
        scripts: scripts(daemon),
        told: told_to(told),
    }
}

fn instance(
    daemon: &Daemon,
    supervised: &Supervised,
    snapshot: &RouterSnapshot,
    unfenced: &[String],
) -> InstanceStatus {
    let config = &supervised.instance;
    let checks = supervised.shares.iter().map(|share| CheckShare {
        name: share.name.clone(),
        kind: share.kind.name().to_owned(),
        up: share.up(),
        number: share.number(),
        weight: share.weight.value,
        share: share.adds(),
    });
    let addresses = supervised
        .addresses()
        .map(|entry| format!("{}/{}", entry.address, entry.prefix));
    let mut faults = supervised.faults.clone();
    faults.extend(supervised.stepped_back.clone());
    let seen = Some(snapshot.heard.seen_ns).filter(|seen| *seen > 0);
    let lease = Some(snapshot.lease_ns).filter(|lease| *lease > 0);
    InstanceStatus {
        name: config.name.clone(),
        state: report::state_name(snapshot.state).to_owned(),
        since_seconds: between_ms(snapshot.since_ns, snapshot.now_ns) / 1000.0,
        why: why(supervised),
        interface: config.interface.clone(),
        vrid: config.vrid,
        mac: report::mac(snapshot.home.mac),
        version: config.version as u8,
        sync_group: daemon.groups.name_of(snapshot.id).map(str::to_owned),
        addresses: addresses.collect(),
        placed: placed(config),
        garp_delay_ms: config.announce.delay_ns / timers::NS_PER_MS,
        base_priority: config.priority,
        effective_priority: snapshot.priority,
        checks: checks.collect(),
        drained: supervised.drained,
        priority_by_hand: supervised.priority_by_hand,
        last_script: supervised
            .notifier
            .last_script()
            .map(|last| format!("{}: {}", last.command, last.outcome)),
        faults,
        master: master(supervised, snapshot),
        last_advert_age_ms: seen.map(|seen| between_ms(seen, snapshot.now_ns)),
        lease_ms: lease.map(|lease| between_ms(snapshot.now_ns, lease)),
        next_deadline_ms: snapshot
            .deadline_ns
            .map(|at| between_ms(snapshot.now_ns, at)),
        unfenced: match config.family() {
            Family::V4 => unfenced.to_vec(),
            Family::V6 => Vec::new(),
        },
        mistakes: snapshot
            .mistakes
            .iter()
            .map(|noticed| NeighbourMistake {
                what: report::mistake(config.vrid, noticed),
                first_seconds: between_ms(noticed.first_ns, snapshot.now_ns) / 1000.0,
                last_seconds: between_ms(noticed.last_ns, snapshot.now_ns) / 1000.0,
            })
            .collect(),
        counters: counters(snapshot),
    }
}

fn placed(config: &Instance) -> Vec<AddressStatus> {
    let place = |excluded| {
        move |entry: &VirtualAddress| AddressStatus {
            address: format!("{}/{}", entry.address, entry.prefix),
            interface: entry
                .interface
                .as_ref()
                .unwrap_or(&config.interface)
                .clone(),
            excluded,
        }
    };
    let advertised = config.addresses.iter().map(place(false));
    advertised
        .chain(config.excluded.iter().map(place(true)))
        .collect()
}

/// Where the kernel would answer beside the interfaces that are attached: it does so for every address that
/// the machine has, unless `arp_ignore` says otherwise. Neighbour Discovery is answered on the interface of
/// the address alone.
fn unfenced(daemon: &Daemon) -> Vec<String> {
    let table = daemon.interfaces.borrow();
    let others = table.iter().filter(|interface| {
        interface.running
            && interface.mac != [0; 6]
            && daemon.dataplane.attachment(interface.index).is_none()
            && answers_for_all(&interface.name)
    });
    others.map(|interface| interface.name.clone()).collect()
}

/// `net.ipv4.conf.*.arp_ignore`: the higher of the two counts; 0 answers for any address of the machine.
fn answers_for_all(interface: &str) -> bool {
    let value = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    value("all").max(value(interface)) == 0
}

fn why(supervised: &Supervised) -> String {
    match &supervised.last_transition {
        Some(transition) => report::why(transition),
        None if supervised.waits_for_a_check() => {
            "waiting for the first result of a check".to_owned()
        }
        None => "starting".to_owned(),
    }
}

/// Whoever was heard within Master_Down, or ourselves.
fn master(supervised: &Supervised, snapshot: &RouterSnapshot) -> Option<MasterStatus> {
    let config = &supervised.instance;
    if snapshot.state == State::Master {
        return Some(MasterStatus {
            address: snapshot
                .home
                .source
                .map_or_else(String::new, |source| source.to_string()),
            priority: snapshot.priority,
            interval_seconds: f64::from(config.interval_cs) / 100.0,
            ourselves: true,
        });
    }
    let heard = &snapshot.heard;
    // A master below our floor is one that we are about to preempt.
    let (at, facts) = if heard.seen_ns >= heard.other_ns {
        (heard.seen_ns, heard.master)
    } else {
        (heard.other_ns, heard.other)
    };
    let interval = timers::interval_ns(facts.interval_cs);
    let adverts = config.down_timer_adverts;
    let down = timers::master_down_interval(config.version, snapshot.priority, interval, adverts);
    let fresh = at > 0 && snapshot.now_ns.saturating_sub(at) < down && facts.priority > 0;
    fresh.then(|| MasterStatus {
        address: report::sender(&facts).to_string(),
        priority: facts.priority,
        interval_seconds: f64::from(facts.interval_cs) / 100.0,
        ourselves: false,
    })
}

fn counters(snapshot: &RouterSnapshot) -> BTreeMap<String, u64> {
    let (heard, tally) = (&snapshot.heard, &snapshot.tally);
    [
        ("adverts_accepted", heard.accepted),
        ("adverts_late", heard.late),
        ("adverts_very_late", heard.very_late),
        ("adverts_without_authority", heard.lesser),
        ("foreign_resignations", heard.foreign_zero),
        ("questions_answered", heard.answered),
        ("news", heard.news_seq),
        ("adverts_sent", tally.adverts_sent),
        ("priority_zero_sent", tally.priority_zero_sent),
        ("adverts_fenced", tally.adverts_fenced),
        ("send_failures", tally.send_failures),
        ("announcements_sent", tally.announcements_sent),
        ("became_master", tally.became_master),
        ("released_master", tally.released_master),
        ("refused", tally.refused),
        ("restored", tally.restored),
        ("resignations_heard", tally.resignations_heard),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}

fn interfaces(daemon: &Daemon) -> Vec<InterfaceStatus> {
    let table = daemon.interfaces.borrow();
    let mut list: BTreeMap<&str, InterfaceStatus> = BTreeMap::new();
    let homes = daemon.supervised.values();
    let homes = homes.map(|it| (it.instance.interface.as_str(), it.home.ifindex));
    let others = daemon.supervised.values();
    let others = others.flat_map(|it| it.other_interfaces().into_keys());
    let others = others.filter_map(|name| Some((name, table.by_name(name)?.index)));
    for (name, index) in homes.chain(others) {
        let attachment = daemon.dataplane.attachment(index);
        let counts = daemon.dataplane.counters(index).unwrap_or_default();
        list.entry(name).or_insert_with(|| InterfaceStatus {
            name: name.to_owned(),
            index,
            running: table
                .by_index(index)
                .is_some_and(|interface| interface.running),
            attached: attachment.map(|attachment| attachment.mode.name().to_owned()),
            reason: attachment.map(|attachment| attachment.reason.clone()),
            held_by: attachment.map(|attachment| attachment.held_by.to_string()),
            companion_problem: attachment.and_then(|it| it.companion_problem.clone()),
            fence: attachment.is_some_and(Attachment::fences),
            kernel: Counter::ALL
                .iter()
                .map(|counter| (counter.name().to_owned(), counts.get(*counter)))
                .collect(),
            rejects: Reject::ALL
                .iter()
                .map(|reason| (reason.name().to_owned(), counts.rejects(*reason)))
                .collect(),
        });
    }
    list.into_values().collect()
}

fn scripts(daemon: &Daemon) -> Vec<ScriptStatus> {
    let list = daemon.checks.states().map(|(kind, name, state)| {
        let last = state.last.as_ref();
        ScriptStatus {
            name: name.to_owned(),
            kind: kind.name().to_owned(),
            up: state.up,
            last: last.map(|last| last.outcome.to_string()),
            output: last.map(|last| last.output.clone()).unwrap_or_default(),
            took_ms: last.map(|last| last.took.as_secs_f64() * 1000.0),
            runs_now: state.runs_now,
            runs: state.runs,
            seconds: state.took.as_secs_f64(),
        }
    });
    let mut list: Vec<ScriptStatus> = list.collect();
    let without_runs = |kind: TrackKind, name: &str, up: bool, says: String| ScriptStatus {
        name: name.to_owned(),
        kind: kind.name().to_owned(),
        up: Some(up),
        last: Some(says),
        output: String::new(),
        took_ms: None,
        runs_now: false,
        runs: 0,
        seconds: 0.0,
    };
    for (name, subject, lease) in daemon.checks.arbiters.states() {
        let left = lease.permit_until_ns.saturating_sub(clock::now_ns()) / 1_000_000;
        let permit = match lease.permit_until_ns {
            0 => "may not be MASTER".to_owned(),
            arbiter::FOREVER => "may be MASTER, whatever the arbiter says".to_owned(),
            _ => format!("may be MASTER for {left} ms"),
        };
        let says = format!("{subject} {permit}; {}", lease.said);
        let up = lease.reachable.unwrap_or(false);
        list.push(without_runs(TrackKind::Arbiter, name, up, says));
    }
    if let Some(processes) = daemon.checks.processes() {
        list.extend(processes.rules.iter().map(|(name, standing)| {
            let says = format!("{} running ({})", standing.count, processes.source);
            without_runs(TrackKind::Process, name, standing.up, says)
        }));
    }
    if let Some(numbers) = daemon.checks.files() {
        list.extend(numbers.iter().map(|(name, number)| {
            without_runs(TrackKind::File, name, true, format!("says {number}"))
        }));
    }
    list
}

fn told_to(all: Vec<Told>) -> Vec<ToldStatus> {
    let all = all.into_iter().map(|told| ToldStatus {
        name: told.name,
        sent: told.sent,
        lost: told.lost,
        waiting: told.waiting,
        problem: told.problem,
    });
    all.collect()
}

/// Milliseconds from one time to another; negative when the first is later.
#[expect(
    clippy::cast_precision_loss,
    reason = "for display: 52 bits of nanoseconds are 52 days"
)]
fn between_ms(from_ns: u64, to_ns: u64) -> f64 {
    if to_ns >= from_ns {
        (to_ns - from_ns) as f64 / 1e6
    } else {
        -((from_ns - to_ns) as f64 / 1e6)
    }
}
