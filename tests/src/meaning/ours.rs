//! As xvrrp reads it.

use std::{net::IpAddr, time::Duration};

use vrrp_common::election::Announce;
use vrrp_userspace::{
    config::model::{Config, Instance, Peer, Script, TrackKind, Weight},
    net::{Route, RouteKind, Rule, RuleKind, Scope, VirtualAddress},
};

use super::{Fields, Meaning, in_order};

/// What a configuration means to xvrrp.
pub fn of_config(config: &Config) -> Meaning {
    let groups = config.groups.iter();
    let mut statics: Vec<String> = config
        .statics
        .addresses
        .iter()
        .map(|entry| format!("address {}", address(entry, "")))
        .collect();
    statics.extend(
        config
            .statics
            .routes
            .iter()
            .map(|it| format!("route {}", route(it))),
    );
    statics.extend(
        config
            .statics
            .rules
            .iter()
            .map(|it| format!("rule {}", rule(it))),
    );
    let used = |script: &&Script| {
        let mut tracks = config.instances.iter().flat_map(|it| &it.tracks);
        tracks.any(|it| it.kind == TrackKind::Script && it.name == script.name)
    };
    Meaning {
        global: global(config),
        instances: config
            .instances
            .iter()
            .map(|it| (it.name.clone(), instance(it, config)))
            .collect(),
        scripts: config
            .scripts
            .values()
            .filter(used)
            .map(|it| (it.name.clone(), script(it)))
            .collect(),
        groups: groups
            .map(|it| (it.name.clone(), it.members.clone()))
            .collect(),
        statics,
    }
}

fn global(config: &Config) -> Fields {
    let global = &config.global;
    let mut fields = announcements(&global.announce);
    fields.extend([
        ("router_id", global.router_id.clone().unwrap_or_default()),
        ("dynamic_interfaces", global.dynamic_interfaces.to_string()),
        ("default_interface", global.default_interface.clone()),
        ("group4", global.group_v4.to_string()),
        ("group6", global.group_v6.to_string()),
        ("garp_interval", decimals(global.garp_interval)),
        ("gna_interval", decimals(global.gna_interval)),
        ("down_timer_adverts", global.down_timer_adverts.to_string()),
        ("strict", global.strict.to_string()),
        ("script_security", global.script_security.to_string()),
    ]);
    fields
}

fn announcements(announce: &Announce) -> Fields {
    Fields::from([
        ("garp_delay", seconds(announce.delay_ns)),
        ("garp_repeat", announce.repeat.to_string()),
        ("garp_refresh", seconds(announce.refresh_ns)),
        ("garp_refresh_repeat", announce.refresh_repeat.to_string()),
        ("garp_lower_delay", seconds(announce.lower_prio_delay_ns)),
        ("garp_lower_repeat", announce.lower_prio_repeat.to_string()),
    ])
}

fn instance(instance: &Instance, config: &Config) -> Fields {
    let mut fields = announcements(&instance.announce);
    let group = config
        .groups
        .iter()
        .find(|group| group.members.contains(&instance.name));
    let device = |it: &VirtualAddress| address(it, &instance.interface);
    // What is written twice is advertised twice, and is once on the interface.
    let advertised = instance.advertised.iter();
    let tracked = |kind| {
        let tracks = instance.tracks.iter().filter(move |it| it.kind == kind);
        join(tracks.map(|it| weighted(&it.name, it.weight)))
    };
    let peers = instance.unicast.iter().flat_map(|unicast| &unicast.peers);
    fields.extend([
        ("version", (instance.version as u8).to_string()),
        (
            "state",
            (if instance.wants_master {
                "MASTER"
            } else {
                "BACKUP"
            })
            .to_owned(),
        ),
        ("interface", instance.interface.clone()),
        ("vrid", instance.vrid.to_string()),
        ("priority", instance.priority.to_string()),
        (
            "interval_ms",
            (u32::from(instance.interval_cs) * 10).to_string(),
        ),
        ("use_vmac", instance.virtual_mac.is_some().to_string()),
        (
            "group",
            group.map(|group| group.name.clone()).unwrap_or_default(),
        ),
        ("accept", instance.accept.to_string()),
        ("preempt", (!instance.nopreempt).to_string()),
        ("preempt_delay", seconds_of(instance.preempt_delay)),
        (
            "promote_secondaries",
            instance.promote_secondaries.to_string(),
        ),
        (
            "down_timer_adverts",
            instance.down_timer_adverts.to_string(),
        ),
        (
            "lower_prio_no_advert",
            instance.lower_prio_no_advert.to_string(),
        ),
        (
            "higher_prio_send_advert",
            instance.higher_prio_send_advert.to_string(),
        ),
        ("password", password(instance.password)),
        ("peers", join(peers.map(peer))),
        ("advertised", join(advertised.map(IpAddr::to_string))),
        ("addresses", join(instance.addresses.iter().map(device))),
        ("excluded", join(instance.excluded.iter().map(device))),
        ("routes", join(instance.routes.iter().map(route))),
        ("rules", join(instance.rules.iter().map(rule))),
        ("track_scripts", tracked(TrackKind::Script)),
        ("track_interfaces", tracked(TrackKind::Interface)),
    ]);
    fields
}

fn script(script: &Script) -> Fields {
    // keepalived dumps a timeout of 0 where the interval is the timeout.
    let timeout = if script.timeout == script.interval {
        Duration::ZERO
    } else {
        script.timeout
    };
    let weight = script.weight.map_or(0, |weight| weight.value);
    Fields::from([
        ("command", script.probe.to_string()),
        ("interval", seconds_of(script.interval)),
        ("timeout", seconds_of(timeout)),
        ("weight", weight.to_string()),
        ("rise", script.rise.to_string()),
        ("fall", script.fall.to_string()),
    ])
}

fn peer(peer: &Peer) -> String {
    let Peer {
        address,
        min_ttl,
        max_ttl,
    } = peer;
    format!("{address} min_ttl {min_ttl} max_ttl {max_ttl}")
}

fn weighted(name: &str, weight: Weight) -> String {
    let reverse = if weight.reverse { " reverse" } else { "" };
    format!("{name} weight {}{reverse}", weight.value)
}

fn join(list: impl Iterator<Item = String>) -> String {
    list.collect::<Vec<_>>().join(", ")
}

fn password(password: Option<u64>) -> String {
    let bytes = password.unwrap_or_default().to_be_bytes();
    let text: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}

fn seconds(nanoseconds: u64) -> String {
    seconds_of(Duration::from_nanos(nanoseconds))
}

fn seconds_of(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

fn decimals(duration: Duration) -> String {
    format!("{:.6}", duration.as_secs_f64())
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Global => "global",
        Scope::Site => "site",
        Scope::Link => "link",
        Scope::Host => "host",
        Scope::Nowhere => "nowhere",
    }
}

/// `IP[/PREFIX] dev IF scope S [label L]`; the length of a lone address is left out.
fn address(entry: &VirtualAddress, interface: &str) -> String {
    let longest = if entry.address.is_ipv4() { 32 } else { 128 };
    let prefix = if entry.prefix == longest {
        String::new()
    } else {
        format!("/{}", entry.prefix)
    };
    let device = entry.interface.as_deref().unwrap_or(interface);
    let label = entry.label.as_ref().map(|label| format!(" label {label}"));
    // A lone IPv6 address is no source for packets, unless it is told so.
    let is_deprecated = entry
        .preferred_s
        .map_or(longest == 128 && entry.prefix == 128, |it| it == 0);
    let deprecated = if is_deprecated { " deprecated" } else { "" };
    format!(
        "{}{prefix} dev {device} scope {}{}{deprecated}",
        entry.address,
        scope(entry.scope),
        label.unwrap_or_default()
    )
}

fn route(route: &Route) -> String {
    let mut words = vec![("to".to_owned(), route.destination.to_string())];
    let mut say = |key: &str, value: String| words.push((key.to_owned(), value));
    match route.kind {
        RouteKind::Unicast => {}
        RouteKind::Blackhole => say("kind", "blackhole".to_owned()),
        RouteKind::Unreachable => say("kind", "unreachable".to_owned()),
        RouteKind::Prohibit => say("kind", "prohibit".to_owned()),
        RouteKind::Throw => say("kind", "throw".to_owned()),
    }
    for hop in &route.hops {
        if let Some(via) = hop.via {
            say("via", via.to_string());
        }
        if let Some(interface) = &hop.interface {
            say("dev", interface.clone());
        }
    }
    if let Some(source) = route.source {
        say("src", source.to_string());
    }
    if let Some(metric) = route.metric {
        say("metric", metric.to_string());
    }
    if route.table != 254 {
        say("table", route.table.to_string());
    }
    if let Some(known) = route.scope {
        say("scope", scope(known).to_owned());
    }
    in_order(&words)
}

fn rule(rule: &Rule) -> String {
    let mut words = Vec::new();
    let mut say = |key: &str, value: String| words.push((key.to_owned(), value));
    if let Some(from) = rule.from {
        say("from", from.to_string());
    }
    if let Some(to) = rule.to {
        say("to", to.to_string());
    }
    if let Some(priority) = rule.priority {
        say("priority", priority.to_string());
    }
    if let RuleKind::Table(table) = rule.kind {
        say("table", table.to_string());
    }
    in_order(&words)
}
