//! `/tmp/keepalived.data`.

use std::fmt::{self, Display, Write as _};

use vrrp_common::timers::NS_PER_S;

use crate::{
    clock,
    config::model::{Config, Instance, Script, Track, TrackKind},
    control::model::{AddressStatus, InstanceStatus, ScriptStatus, Status},
};

pub(super) fn render(status: &Status, config: &Config) -> String {
    let mut out = Out::default();
    out.banner("VRRP Topology");
    for instance in &config.instances {
        let mut all = status.instances.iter();
        if let Some(standing) = all.find(|it| it.name == instance.name) {
            one(&mut out, instance, standing);
        }
    }
    if !config.groups.is_empty() {
        out.banner("VRRP Sync groups");
    }
    for group in &config.groups {
        let mut entered = group.members.iter().filter_map(|member| {
            let mut all = status.instances.iter();
            all.find(|it| it.name == *member).map(|it| &*it.state)
        });
        let first = entered.next().unwrap_or("INIT");
        let state = if entered.all(|state| state == first) {
            first
        } else {
            "INIT"
        };
        out.line(format_args!(" VRRP Sync Group = {}, {state}", group.name));
        out.line(format_args!(
            "   VRRP member instances = {}",
            group.members.len()
        ));
        for member in &group.members {
            out.line(format_args!("     {member}"));
        }
    }
    if !config.scripts.is_empty() {
        out.banner("VRRP Scripts");
    }
    for script in config.scripts.values() {
        let mut all = status.scripts.iter();
        let standing = all.find(|it| it.kind == "script" && it.name == script.name);
        of_script(&mut out, script, standing, config);
    }
    out.0
}

#[derive(Default)]
struct Out(String);

impl Out {
    fn banner(&mut self, title: &str) {
        self.line(format_args!("------< {title} >------"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn fact(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("   {name} = {value}"));
    }

    fn list(&mut self, title: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.line(format_args!("   {title} ({}):", items.len()));
        for item in items {
            self.line(format_args!("     {item}"));
        }
    }
}

fn one(out: &mut Out, instance: &Instance, standing: &InstanceStatus) {
    out.line(format_args!(" VRRP Instance = {}", instance.name));
    out.fact("VRRP Version", instance.version as u8);
    out.fact("State", &standing.state);
    out.fact("Wantstate", super::json::wanted(instance));
    out.fact("Number of config faults", 0);
    out.fact(
        "Number of interface and track script faults",
        standing.faults.len(),
    );
    out.fact("Last transition", last_transition(standing));
    out.fact("Interface", &instance.interface);
    if let Some(source) = instance.source {
        out.fact("Using src_ip", source);
    }
    out.line(format_args!("   Multicast address {}", instance.group));
    let announce = &instance.announce;
    out.fact("Gratuitous ARP delay", announce.delay_ns / NS_PER_S);
    out.fact("Gratuitous ARP repeat", announce.repeat);
    out.fact("Gratuitous ARP refresh", announce.refresh_ns / NS_PER_S);
    out.fact("Gratuitous ARP refresh repeat", announce.refresh_repeat);
    out.fact(
        "Gratuitous ARP lower priority delay",
        announce.lower_prio_delay_ns / NS_PER_S,
    );
    out.fact(
        "Gratuitous ARP lower priority repeat",
        announce.lower_prio_repeat,
    );
    out.fact("Down timer adverts", instance.down_timer_adverts);
    out.fact(
        "Send advert after receive lower priority advert",
        !instance.lower_prio_no_advert,
    );
    out.fact(
        "Send advert after receive higher priority advert",
        instance.higher_prio_send_advert,
    );
    out.fact("Virtual Router ID", instance.vrid);
    out.fact("Priority", instance.priority);
    out.fact("Effective priority", standing.effective_priority);
    out.fact("Total priority", standing.effective_priority);
    let interval = u32::from(instance.interval_cs) * 10;
    out.fact("Advert interval", format_args!("{interval} milli-sec"));
    if let Some(master) = standing.master.as_ref().filter(|it| !it.ourselves) {
        out.fact("Master router", &master.address);
        out.fact("Master priority", master.priority);
    }
    out.fact("Accept", enabled(instance.accept));
    out.fact("Preempt", enabled(!instance.nopreempt));
    if !instance.preempt_delay.is_zero() {
        let delay = instance.preempt_delay.as_secs_f64();
        out.fact("Preempt delay", format_args!("{delay} secs"));
    }
    out.fact("Promote_secondaries", enabled(instance.promote_secondaries));
    out.list("Virtual IP", &super::json::placed(standing, false));
    out.list("Virtual IP Excluded", &super::json::placed(standing, true));
    tracked(
        out,
        &instance.tracks,
        TrackKind::Interface,
        "Tracked interfaces",
    );
    tracked(out, &instance.tracks, TrackKind::Script, "Tracked scripts");
}

const fn enabled(is: bool) -> &'static str {
    if is { "enabled" } else { "disabled" }
}

fn tracked(out: &mut Out, tracks: &[Track], kind: TrackKind, title: &str) {
    let mut is_first = true;
    for track in tracks.iter().filter(|track| track.kind == kind) {
        if std::mem::take(&mut is_first) {
            out.line(format_args!("   {title} :"));
        }
        out.line(format_args!(
            "     {} weight {}",
            track.name, track.weight.value
        ));
    }
}

fn last_transition(standing: &InstanceStatus) -> String {
    let at_ns = super::json::last_transition_ns(standing);
    format!(
        "{}.{:06} ({})",
        at_ns / NS_PER_S,
        at_ns % NS_PER_S / 1000,
        clock::local_time(at_ns)
    )
}

fn of_script(out: &mut Out, script: &Script, standing: Option<&ScriptStatus>, config: &Config) {
    out.line(format_args!(" VRRP Script = {}", script.name));
    out.fact("Command", format_args!("'{}'", script.probe));
    out.fact(
        "Interval",
        format_args!("{} sec", script.interval.as_secs_f64()),
    );
    out.fact(
        "Timeout",
        format_args!("{} sec", script.timeout.as_secs_f64()),
    );
    let weight = script
        .weight
        .map_or(config.global.default_weight, |it| it.value);
    out.fact("Weight", weight);
    out.fact("Rise", script.rise);
    out.fact("Fall", script.fall);
    let is_up = standing.and_then(|it| it.up) == Some(true);
    out.fact("Status", if is_up { "GOOD" } else { "BAD" });
    out.line(format_args!("   Tracking instances :"));
    for instance in &config.instances {
        let mut tracks = instance.tracks.iter();
        if let Some(track) =
            tracks.find(|it| it.kind == TrackKind::Script && it.name == script.name)
        {
            out.line(format_args!(
                "     {}, weight {}",
                instance.name, track.weight.value
            ));
        }
    }
    let runs = standing.is_some_and(|it| it.runs_now);
    out.fact("State", if runs { "running" } else { "idle" });
}

/// An address as `ip` writes it.
pub(super) fn address(at: &AddressStatus, is_set: bool) -> String {
    let set = if is_set { " set" } else { "" };
    format!(
        "{} dev {} scope global{set}",
        at.without_host_prefix(),
        at.interface
    )
}
