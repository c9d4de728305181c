//! `vrrp_sync_group`.

use std::collections::{BTreeMap, BTreeSet};

use super::{look_at_form, named_block, of, track, unsupported, value};
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    lexer::Word,
    model::{Config, Instance, Notify, SyncGroup, Track, TrackKind},
    tree::Node,
};

/// Reads a group whose instances have been read already; `None` where it groups nothing.
pub(super) fn read(
    block: &Node,
    config: &mut Config,
    diagnostics: &mut Diagnostics,
) -> Option<SyncGroup> {
    let name = named_block(block, diagnostics)?;
    let mut group = SyncGroup {
        name: name.text.clone(),
        members: Vec::new(),
        is_alone: false,
        notify: Notify {
            tells_priority: config.global.tells_priority,
            ..Notify::default()
        },
        span: name.span.clone(),
    };
    let mut tracks_weights = false;
    look_at_form(block.children(), &keywords::GROUP, diagnostics);
    for node in of(block.children(), "group") {
        add_members(node, &mut group, config, diagnostics);
    }
    for node in block.children() {
        match node.keyword() {
            "group" => {}
            // keepalived does not have them for groups either.
            "notify_deleted" | "notify_master_rx_lower_pri" => {
                unsupported(node, &keywords::GROUP, diagnostics);
            }
            "track_script" | "track_interface" | "track_file" | "track_process"
            | "track_arbiter" => add_trackers(node, &group, config, diagnostics),
            "sync_group_tracking_weight" => tracks_weights = true,
            keyword => {
                if !value::notify(keyword, node, &mut group.notify, diagnostics) {
                    unsupported(node, &keywords::GROUP, diagnostics);
                }
            }
        }
    }
    if group.members.len() < 2 {
        diagnostics.push(
            Diagnostic::warning(
                name.span.clone(),
                format!("vrrp_sync_group {} has fewer than two instances", name.text),
            )
            .help("group { INSTANCE … } with two or more; one alone moves as it would without"),
        );
    }
    if group.members.is_empty() {
        return None;
    }
    mention_differences(name, &group, config, diagnostics);
    if !tracks_weights {
        drop_weights(&group, config, diagnostics);
    }
    Some(group)
}

/// Several names may stand on a line.
fn add_members(node: &Node, group: &mut SyncGroup, config: &Config, diagnostics: &mut Diagnostics) {
    let served: BTreeSet<&str> = config.instances.iter().map(|it| &*it.name).collect();
    let elsewhere: BTreeMap<&str, &str> = config
        .groups
        .iter()
        .flat_map(|other| other.members.iter().map(|member| (&**member, &*other.name)))
        .collect();
    for word in node.children().iter().flat_map(|line| &line.words) {
        let member = &word.text;
        let (problem, help) = if !served.contains(member.as_str()) {
            let nearest = keywords::nearest(member, served.iter().copied());
            let help = nearest.map_or_else(
                || "define it, or correct the name".to_owned(),
                |nearest| format!("did you mean {nearest}?"),
            );
            (
                format!("there is no vrrp_instance {member} that can be served"),
                help,
            )
        } else if let Some(other) = elsewhere.get(member.as_str()) {
            let help = "an instance is in one group at most".to_owned();
            (format!("{member} is in the group {other} already"), help)
        } else if group.members.contains(member) {
            (
                format!("{member} is listed twice"),
                "once will do".to_owned(),
            )
        } else {
            group.members.push(member.clone());
            continue;
        };
        diagnostics.push(
            Diagnostic::error(word.span.clone(), problem)
                .help(format!("{help}; it is left out of this group")),
        );
    }
}

/// What the group tracks, each of its members does.
fn add_trackers(
    node: &Node,
    group: &SyncGroup,
    config: &mut Config,
    diagnostics: &mut Diagnostics,
) {
    let is_member = |it: &&Instance| group.members.contains(&it.name);
    let mut members = config.instances.iter().filter(is_member);
    let nopreempt = members.all(|member| member.nopreempt);
    let tracks = track::read(node, nopreempt, config, diagnostics);
    if node.keyword() == "track_arbiter" && tracks.len() < node.children().len() {
        // Whoever wants an arbiter is not to go without.
        config
            .instances
            .retain(|it| !group.members.contains(&it.name));
    }
    let members = config.instances.iter_mut();
    for member in members.filter(|it| group.members.contains(&it.name)) {
        let is_new = |it: &&Track| {
            let mut known = member.tracks.iter();
            !known.any(|known| (known.kind, &known.name) == (it.kind, &it.name))
        };
        let new: Vec<Track> = tracks.iter().filter(is_new).cloned().collect();
        member.tracks.extend(new);
    }
}

/// Members that wait for each other should do so for the same time.
fn mention_differences(
    name: &Word,
    group: &SyncGroup,
    config: &Config,
    diagnostics: &mut Diagnostics,
) {
    let members = || {
        config
            .instances
            .iter()
            .filter(|instance| group.members.contains(&instance.name))
    };
    let mut intervals: Vec<u16> = members().map(|member| member.interval_cs).collect();
    intervals.dedup();
    if intervals.len() > 1 {
        diagnostics.push(
            Diagnostic::lint(
                name.span.clone(),
                format!("the instances of {} have different advert_int", name.text),
            )
            .help("the group moves when the slowest of them has noticed"),
        );
    }
}

/// keepalived: weights mean nothing in a group unless it says so, because members must not differ.
fn drop_weights(group: &SyncGroup, config: &mut Config, diagnostics: &mut Diagnostics) {
    let members = config
        .instances
        .iter_mut()
        .filter(|instance| group.members.contains(&instance.name));
    for member in members {
        // As under nopreempt: where a priority cannot count, failure is FAULT.
        let scripts = member.tracks.iter_mut();
        for track in scripts.filter(|it| it.kind == TrackKind::Script && !it.is_given) {
            track.weight.value = 0;
        }
        let before = member.tracks.len();
        member.tracks.retain(|track| track.weight.value == 0);
        if member.tracks.len() < before {
            diagnostics.push(
                Diagnostic::warning(
                    member.span.clone(),
                    format!(
                        "{} is in the sync group {}: its trackers with a weight are ignored",
                        member.name, group.name
                    ),
                )
                .help(
                    "give them weight 0 (failure means FAULT for the whole group), or say \
                     sync_group_tracking_weight in the group",
                ),
            );
        }
    }
}
