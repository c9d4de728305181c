//! A configuration in plain words: what it does, when, and who wins against whom.

mod neighbours;
mod trackers;

use std::{fmt::Write as _, time::Duration};

use vrrp_common::{
    contract::Family,
    slot::LeaseMode,
    timers,
    vrrp::{PRIORITY_OWNER, Version},
};

use super::model::{Config, Instance, Notify, SyncGroup, TrackKind};
use crate::net::VirtualAddress;
pub use neighbours::{Node, differences};

/// Everything that a configuration does, for people.
#[must_use]
pub fn explain(config: &Config) -> String {
    let mut out = Page::default();
    for instance in &config.instances {
        explain_instance(instance, config, &mut out);
    }
    for group in &config.groups {
        explain_group(group, &mut out);
    }
    explain_statics(config, &mut out);
    out.text
}

/// Paragraphs of a title and lines with a heading each.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    // Writing into a string does not fail.
    fn title(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{title}");
    }

    fn line(&mut self, heading: &str, line: &str) {
        let _ = writeln!(self.text, "  {heading:<12}{line}");
    }

    /// A heading for the first of several lines.
    fn lines(&mut self, heading: &str, lines: &[String]) {
        for (number, line) in lines.iter().enumerate() {
            self.line(if number == 0 { heading } else { "" }, line);
        }
    }
}

fn explain_instance(instance: &Instance, config: &Config, out: &mut Page) {
    let family = match instance.family() {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    out.title(&format!(
        "{}: virtual router {} on {}, VRRPv{}, {family}",
        instance.name, instance.vrid, instance.interface, instance.version as u8
    ));
    out.lines("addresses", &addresses(instance));
    out.lines("adverts", &adverts(instance));
    out.lines("election", &election(instance));
    out.lines("checks", &checks(instance, config));
    out.lines("as MASTER", &as_master(instance));
    out.lines("scripts", &scripts(&instance.notify));
    let group = config
        .groups
        .iter()
        .find(|group| group.members.contains(&instance.name));
    if let Some(group) = group {
        out.line(
            "sync group",
            &format!(
                "{}: MASTER together with the others or not at all",
                group.name
            ),
        );
    }
}

fn addresses(instance: &Instance) -> Vec<String> {
    let show = |entry: &VirtualAddress| {
        let mut line = format!("{}/{}", entry.address, entry.prefix);
        if let Some(interface) = &entry.interface {
            let _ = write!(line, " on {interface}");
        }
        if let Some(label) = &entry.label {
            let _ = write!(line, ", label {label}");
        }
        line
    };
    let mut lines: Vec<String> = instance.addresses.iter().map(show).collect();
    let excluded = instance.excluded.iter();
    lines.extend(excluded.map(|entry| format!("{}, not in adverts", show(entry))));
    if let Some(mac) = instance.virtual_mac {
        let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push(format!("all at the virtual MAC {}", bytes.join(":")));
    }
    lines
}

fn adverts(instance: &Instance) -> Vec<String> {
    let interval = timers::interval_ns(instance.interval_cs);
    let to = match &instance.unicast {
        Some(unicast) => {
            let peers: Vec<String> = unicast
                .peers
                .iter()
                .map(|peer| peer.address.to_string())
                .collect();
            format!("to {}", peers.join(", "))
        }
        None => format!("to {}", instance.group),
    };
    let from = instance.source.map_or_else(
        || "the interface's first address".to_owned(),
        |source| source.to_string(),
    );
    let mut lines = vec![format!("every {} {to}, from {from}", seconds(interval))];
    if instance.version == Version::V2 {
        lines.push("every router of this VRID must have the same interval".to_owned());
    }
    if instance.password.is_some() {
        lines.push("with a password that everybody on the LAN can read".to_owned());
    }
    lines
}

fn election(instance: &Instance) -> Vec<String> {
    let interval = timers::interval_ns(instance.interval_cs);
    let priority = instance.priority;
    let skew = timers::skew_time(instance.version, priority, interval);
    let down = timers::master_down_interval(
        instance.version,
        priority,
        interval,
        instance.down_timer_adverts,
    );
    let mut lines = Vec::new();
    if priority == PRIORITY_OWNER {
        lines.push(
            "priority 255: the owner of the addresses, MASTER as soon as it starts".to_owned(),
        );
    } else {
        lines.push(format!(
            "priority {priority}; starts as BACKUP and listens for {} before it takes over",
            seconds(down)
        ));
    }
    lines.push(if instance.nopreempt {
        "a MASTER that is heard keeps the addresses, whatever its priority (nopreempt)".to_owned()
    } else if instance.preempt_delay.is_zero() {
        "takes over from a MASTER with a lower priority".to_owned()
    } else {
        format!(
            "takes over from a MASTER with a lower priority after {}",
            seconds(nanos(instance.preempt_delay))
        )
    });
    lines.push(format!(
        "a MASTER that falls silent is succeeded after {} ({} adverts and Skew_Time), one that resigns \
         after {}",
        seconds(down),
        instance.down_timer_adverts,
        seconds(skew)
    ));
    let lease = interval * u64::from(instance.down_timer_adverts.min(3));
    lines.push(match instance.lease {
        LeaseMode::Strict => format!(
            "should this daemon hang or crash, the kernel stops answering within {}",
            seconds(lease)
        ),
        LeaseMode::Peer => format!(
            "should this daemon hang or crash, the kernel stops answering within {}, if another router \
             was ever heard",
            seconds(lease)
        ),
        LeaseMode::Off => "should this daemon hang, the kernel goes on answering (lease off)".to_owned(),
    });
    lines
}

fn checks(instance: &Instance, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for track in &instance.tracks {
        lines.extend(trackers::explain(track, instance, config));
    }
    if !instance.dont_track_primary {
        lines.push(format!(
            "link of {}: FAULT while it is down",
            instance.interface
        ));
    }
    let worst = worst(instance);
    if worst < i32::from(instance.priority) && instance.priority != PRIORITY_OWNER {
        lines.push(format!(
            "with every check failed the priority is {}",
            clamp(worst)
        ));
    }
    lines
}

/// The priority with every weighted check failed.
fn worst(instance: &Instance) -> i32 {
    let checks = instance.tracks.iter();
    let checks = checks.filter(|track| track.kind != TrackKind::File);
    let shares = checks.map(|track| {
        let either = [track.weight.share(true), track.weight.share(false)];
        either.into_iter().flatten().min().unwrap_or_default()
    });
    i32::from(instance.priority) + shares.sum::<i32>()
}

fn clamp(priority: i32) -> i32 {
    priority.clamp(1, 254)
}

fn as_master(instance: &Instance) -> Vec<String> {
    let announce = &instance.announce;
    let mut line = format!("announces each address {} times", announce.repeat);
    if announce.delay_ns > 0 {
        let _ = write!(line, ", and again after {}", seconds(announce.delay_ns));
    }
    if announce.refresh_ns > 0 {
        let _ = write!(line, ", and every {}", seconds(announce.refresh_ns));
    }
    let mut lines = vec![line];
    lines.extend(instance.routes.iter().map(|route| format!("route {route}")));
    lines.extend(instance.rules.iter().map(|rule| format!("rule {rule}")));
    if !instance.accept {
        lines.push(
            "packets to the addresses are dropped; it answers ARP and routes only".to_owned(),
        );
    }
    lines
}

fn scripts(notify: &Notify) -> Vec<String> {
    let named = [
        ("MASTER", &notify.master),
        ("BACKUP", &notify.backup),
        ("FAULT", &notify.fault),
        ("the stop", &notify.stop),
        ("its removal by a reload", &notify.deleted),
        ("every change", &notify.any),
    ];
    let lines = named
        .into_iter()
        .filter_map(|(when, script)| Some(format!("on {when}: `{}`", script.as_ref()?.command)));
    lines.collect()
}

fn explain_group(group: &SyncGroup, out: &mut Page) {
    out.title(&format!("sync group {}", group.name));
    out.line("instances", &group.members.join(", "));
    out.line(
        "together",
        "MASTER when the time of every one is out; one in BACKUP or FAULT takes the others along",
    );
    out.lines("scripts", &scripts(&group.notify));
}

fn explain_statics(config: &Config, out: &mut Page) {
    let statics = &config.statics;
    let addresses = statics.addresses.iter().map(|entry| {
        let interface = entry.interface.as_deref().unwrap_or_default();
        format!("address {}/{} on {interface}", entry.address, entry.prefix)
    });
    let routes = statics.routes.iter().map(|route| format!("route {route}"));
    let rules = statics.rules.iter().map(|rule| format!("rule {rule}"));
    let lines: Vec<String> = addresses.chain(routes).chain(rules).collect();
    if !lines.is_empty() {
        out.title("always there while the daemon runs");
        out.lines("", &lines);
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Seconds with as many decimals as they need, three at most.
fn seconds(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let text = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests;
