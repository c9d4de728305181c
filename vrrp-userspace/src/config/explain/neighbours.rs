//! The configurations of several machines beside each other: who wins, and what does not fit.

use std::collections::BTreeMap;

use vrrp_common::{contract::Family, vrrp::Version};

use crate::config::model::{Config, Instance, TrackKind};

/// The configuration of a machine, with a name for it.
pub struct Node<'a> {
    /// What to call it.
    pub name: &'a str,
    /// What it serves.
    pub config: &'a Config,
}

/// A virtual router on one of the machines.
struct Member<'a> {
    node: &'a str,
    instance: &'a Instance,
}

/// For each virtual router that more than one machine has: who wins against whom, and what is wrong
/// between them. Problems begin with `problem:`.
#[must_use]
pub fn differences(nodes: &[Node<'_>]) -> Vec<String> {
    let mut routers: BTreeMap<(bool, u8), Vec<Member<'_>>> = BTreeMap::new();
    for node in nodes {
        for instance in &node.config.instances {
            let key = (instance.family() == Family::V6, instance.vrid);
            let member = Member {
                node: node.name,
                instance,
            };
            routers.entry(key).or_default().push(member);
        }
    }
    let mut lines = Vec::new();
    for ((is_v6, vrid), members) in routers {
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        let title = format!("virtual router {vrid}, {family}");
        if members.len() < 2 {
            let node = members.first().map_or("", |member| member.node);
            lines.push(format!("{title}: only {node} has it"));
            continue;
        }
        lines.push(format!("{title}: {}", order(&members)));
        lines.extend(
            problems(&members)
                .into_iter()
                .map(|it| format!("problem: {title}: {it}")),
        );
    }
    lines
}

/// Who wins while all checks say what they say at their best.
fn order(members: &[Member<'_>]) -> String {
    let mut sorted: Vec<(i32, &Member<'_>)> =
        members.iter().map(|it| (best(it.instance), it)).collect();
    sorted.sort_by_key(|(priority, _)| -priority);
    let named: Vec<String> = sorted
        .iter()
        .map(|(priority, member)| format!("{} ({priority})", member.node))
        .collect();
    let keeps = members.iter().all(|member| member.instance.nopreempt);
    let rest = if keeps {
        "; whoever is MASTER keeps it"
    } else {
        ""
    };
    match named.split_first() {
        None => String::new(),
        Some((first, [])) => format!("{first} is alone{rest}"),
        Some((first, others)) => format!("{first} wins, then {}{rest}", others.join(", then ")),
    }
}

/// The priority with every check passed.
fn best(instance: &Instance) -> i32 {
    if instance.priority == 255 {
        return 255;
    }
    let checks = instance.tracks.iter();
    let checks = checks.filter(|track| track.kind != TrackKind::File);
    let shares = checks.filter_map(|track| track.weight.share(true));
    (i32::from(instance.priority) + shares.sum::<i32>()).clamp(1, 254)
}

fn problems(members: &[Member<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let Some((first, others)) = members.split_first() else {
        return found;
    };
    for other in others {
        let (one, two) = (first.instance, other.instance);
        let mut say =
            |what: String| found.push(format!("{} and {} {what}", first.node, other.node));
        if one.version != two.version {
            say(format!(
                "have versions {} and {}: they do not hear each other",
                one.version as u8, two.version as u8
            ));
        } else if one.interval_cs != two.interval_cs {
            let (a, b) = (
                f64::from(one.interval_cs) / 100.0,
                f64::from(two.interval_cs) / 100.0,
            );
            let rest = if one.version == Version::V2 {
                ": in version 2 they do not hear each other"
            } else {
                ""
            };
            say(format!("have advert_int {a} and {b}{rest}"));
        }
        if one.unicast.is_some() != two.unicast.is_some() {
            say("differ in unicast and multicast: they do not hear each other".to_owned());
        } else if one.group != two.group {
            say(format!("send to {} and {}", one.group, two.group));
        }
        if one.password != two.password {
            say("have different passwords: they do not hear each other".to_owned());
        }
        if one.down_timer_adverts != two.down_timer_adverts {
            say("differ in down_timer_adverts".to_owned());
        }
        let listed = |it: &Instance| {
            it.addresses
                .iter()
                .map(|entry| entry.address)
                .collect::<Vec<_>>()
        };
        if listed(one) != listed(two) {
            say("have different virtual addresses, or another order of them".to_owned());
        }
        if one.nopreempt != two.nopreempt {
            say("differ in nopreempt: only one of them takes the addresses back".to_owned());
        }
    }
    found.extend(equal_priorities(members));
    found
}

/// Between equals the higher source address wins, which nobody sees in a file.
fn equal_priorities(members: &[Member<'_>]) -> Vec<String> {
    let mut by_priority: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
    for member in members {
        by_priority
            .entry(best(member.instance))
            .or_default()
            .push(member.node);
    }
    let equal = by_priority.into_iter().filter(|(_, nodes)| nodes.len() > 1);
    equal
        .map(|(priority, nodes)| {
            let nodes = nodes.join(" and ");
            if priority == 255 {
                format!("{nodes} both claim to own the addresses (255)")
            } else {
                format!("{nodes} have the same priority {priority}: the higher source address wins")
            }
        })
        .collect()
}
