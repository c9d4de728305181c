//! `xvrrp status` for people.

use std::fmt::Write as _;

use comfy_table::{Table, presets};

use super::{
    Happened,
    event::printable,
    model::{InstanceStatus, InterfaceStatus, ScriptStatus, Status, ToldStatus},
};

/// The status as text.
#[must_use]
pub fn render(status: &Status) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "xvrrp {} on {}, pid {}, configuration: {}\n",
        status.version, status.router_id, status.pid, status.configuration
    );
    out.push_str(&instances(status));
    out.push('\n');
    for instance in &status.instances {
        details(&mut out, instance);
    }
    for interface in &status.interfaces {
        kernel(&mut out, interface);
    }
    scripts(&mut out, status);
    told(&mut out, status);
    out
}

/// One instance in depth, and what has happened to it lately; `None` where there is no such instance.
#[must_use]
pub fn render_instance(status: &Status, name: &str, events: &[Happened]) -> Option<String> {
    let instance = status.instances.iter().find(|it| it.name == name)?;
    let mut out = String::new();
    for (what, value) in facts(instance) {
        let _ = writeln!(out, "{what:18} {value}");
    }
    out.push('\n');
    details(&mut out, instance);
    let home = status.interfaces.iter();
    for interface in home.filter(|it| it.name == instance.interface) {
        kernel(&mut out, interface);
    }
    if !events.is_empty() {
        out.push('\n');
    }
    for event in events {
        let _ = writeln!(out, "{}", event.line());
    }
    Some(out)
}

fn facts(instance: &InstanceStatus) -> Vec<(&'static str, String)> {
    let master = match &instance.master {
        Some(master) => format!(
            "{}{}, priority {}, every {} s",
            if master.ourselves {
                "this router, "
            } else {
                ""
            },
            master.address,
            master.priority,
            master.interval_seconds
        ),
        None => "nobody was heard".to_owned(),
    };
    let mut facts = vec![
        ("instance", instance.name.clone()),
        (
            "state",
            format!(
                "{} for {}",
                instance.state,
                duration(instance.since_seconds)
            ),
        ),
        ("why", instance.why.clone()),
        (
            "virtual router",
            format!(
                "VRID {} on {}, VRRPv{}, MAC {}",
                instance.vrid, instance.interface, instance.version, instance.mac
            ),
        ),
        (
            "priority",
            format!(
                "{} (base {})",
                instance.effective_priority, instance.base_priority
            ),
        ),
        ("master", master),
        ("addresses", instance.addresses.join(" ")),
    ];
    let times = [
        ("last advert", instance.last_advert_age_ms, " ago"),
        ("lease", instance.lease_ms, " left"),
        ("next deadline in", instance.next_deadline_ms, ""),
    ];
    facts.extend(times.into_iter().filter_map(|(what, time, behind)| {
        Some((what, format!("{}{behind}", milliseconds(time?))))
    }));
    facts
}

fn instances(status: &Status) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "INSTANCE",
        "STATE",
        "SINCE",
        "IF",
        "VRID",
        "PRIO",
        "MASTER",
        "ADVERT AGE",
        "LEASE",
        "ADDRESSES",
    ]);
    for instance in &status.instances {
        let priority = if instance.effective_priority == instance.base_priority {
            instance.base_priority.to_string()
        } else {
            format!(
                "{} (base {})",
                instance.effective_priority, instance.base_priority
            )
        };
        let master = match &instance.master {
            Some(master) if master.ourselves => "this router".to_owned(),
            Some(master) => format!("{} (prio {})", master.address, master.priority),
            None => "-".to_owned(),
        };
        table.add_row([
            instance.name.clone(),
            instance.state.clone(),
            duration(instance.since_seconds),
            instance.interface.clone(),
            instance.vrid.to_string(),
            priority,
            master,
            instance
                .last_advert_age_ms
                .map_or_else(|| "-".to_owned(), milliseconds),
            instance
                .lease_ms
                .map_or_else(|| "-".to_owned(), milliseconds),
            addresses(instance),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

/// A few addresses are shown, many are counted.
fn addresses(instance: &InstanceStatus) -> String {
    match instance.addresses.as_slice() {
        [first, _, _, _, ..] => format!("{first} and {} more", instance.addresses.len() - 1),
        few => few.join(" "),
    }
}

fn details(out: &mut String, instance: &InstanceStatus) {
    let _ = writeln!(out, "{}: {}", instance.name, instance.why);
    if let Some(group) = &instance.sync_group {
        let _ = writeln!(out, "  sync group {group}");
    }
    for fault in &instance.faults {
        let _ = writeln!(out, "  FAULT: {}", printable(fault));
    }
    if let Some(priority) = instance.priority_by_hand {
        let _ = writeln!(
            out,
            "  base priority {priority} by hand, until the next reload"
        );
    }
    if let Some(script) = &instance.last_script {
        let _ = writeln!(out, "  last script {script}");
    }
    for check in &instance.checks {
        let up = match (check.up, check.number) {
            (_, Some(number)) => format!("says {number}"),
            (Some(true), None) => "up".to_owned(),
            (Some(false), None) => "down".to_owned(),
            (None, None) => "no result yet".to_owned(),
        };
        let effect = match (check.weight, check.share) {
            (0, _) => "failure means FAULT".to_owned(),
            (weight, share) => format!("weight {weight:+}, adds {share:+} now"),
        };
        let _ = writeln!(out, "  {} {}: {up}, {effect}", check.kind, check.name);
    }
    if !instance.unfenced.is_empty() {
        let _ = writeln!(
            out,
            "  outside the fence: the kernel would answer for the addresses on {} too; where that is not \
             wanted set net.ipv4.conf.INTERFACE.arp_ignore=1",
            instance.unfenced.join(", ")
        );
    }
    for mistake in &instance.mistakes {
        let ago = duration(mistake.last_seconds);
        let _ = writeln!(out, "  neighbour, {ago} ago: {}", mistake.what);
    }
    let counters = nonzero(&instance.counters);
    if !counters.is_empty() {
        let _ = writeln!(out, "  {counters}");
    }
}

fn kernel(out: &mut String, interface: &InterfaceStatus) {
    let _ = write!(out, "{}: ", interface.name);
    let _ = match &interface.attached {
        Some(mode) => write!(out, "attached, mode {mode}"),
        None => write!(out, "not attached"),
    };
    if let Some(held_by) = &interface.held_by {
        let _ = write!(out, ", {held_by}");
    }
    if interface.attached.is_some() && !interface.fence {
        let _ = write!(out, ", NO FENCE");
    }
    if let Some(problem) = &interface.companion_problem {
        let _ = write!(out, ", NO VIRTUAL MAC: {problem}");
    }
    if !interface.running {
        let _ = write!(out, ", no carrier");
    }
    let _ = match &interface.reason {
        Some(reason) => writeln!(out, " ({reason})"),
        None => writeln!(out),
    };
    for (title, counters) in [
        ("kernel", &interface.kernel),
        ("rejected", &interface.rejects),
    ] {
        let counters = nonzero(counters);
        if !counters.is_empty() {
            let _ = writeln!(out, "  {title}: {counters}");
        }
    }
}

fn scripts(out: &mut String, status: &Status) {
    for script in &status.scripts {
        let ScriptStatus { name, kind, .. } = script;
        let last = printable(script.last.as_deref().unwrap_or("has not run"));
        if script.took_ms.is_none() && script.last.is_some() {
            let _ = writeln!(out, "{kind} {name}: {last}");
            continue;
        }
        let up = match script.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "no result yet",
        };
        let took = script
            .took_ms
            .map_or_else(String::new, |took| format!(" after {took:.1} ms"));
        let _ = writeln!(out, "{kind} {name}: {up}, last run {last}{took}");
        if script.up == Some(false) && !script.output.is_empty() {
            for line in script.output.lines() {
                let _ = writeln!(out, "  | {}", printable(line));
            }
        }
    }
}

/// Whoever was told nothing, and is not to be, is not worth a line.
fn told(out: &mut String, status: &Status) {
    for told in &status.told {
        let ToldStatus { name, sent, .. } = told;
        let _ = match &told.problem {
            Some(problem) => writeln!(out, "events to {name}: NOBODY IS TOLD: {problem}"),
            None => writeln!(
                out,
                "events to {name}: {sent} taken, {} wait, {} lost",
                told.waiting, told.lost
            ),
        };
    }
}

fn nonzero(counters: &std::collections::BTreeMap<String, u64>) -> String {
    let shown = counters.iter().filter(|(_, count)| **count > 0);
    let list: Vec<String> = shown
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    list.join(", ")
}

fn milliseconds(value: f64) -> String {
    if value.abs() < 1000.0 {
        format!("{value:.0} ms")
    } else {
        format!("{:.1} s", value / 1000.0)
    }
}

/// A time as people say it.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds < 86400.0 {
        format!("{:.1} h", seconds / 3600.0)
    } else {
        format!("{:.1} d", seconds / 86400.0)
    }
}
