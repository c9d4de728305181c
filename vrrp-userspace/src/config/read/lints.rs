//! What is allowed and may still surprise.

use std::{collections::BTreeSet, fs};

use vrrp_common::vrrp::PRIORITY_OWNER;

use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    model::{Config, Instance, Track, TrackKind},
};

/// Looks at a whole configuration.
pub(super) fn look(config: &Config, diagnostics: &mut Diagnostics) {
    for instance in &config.instances {
        look_at_weights(instance, diagnostics);
    }
    look_for_haproxy(config, diagnostics);
    look_for_unused(config, diagnostics);
}

/// Weights that cannot do what they say.
fn look_at_weights(instance: &Instance, diagnostics: &mut Diagnostics) {
    let base = i32::from(instance.priority);
    let weighted = instance.tracks.iter().filter(|it| it.weight.value != 0);
    for Track {
        name, weight, kind, ..
    } in weighted
    {
        if instance.priority == PRIORITY_OWNER {
            let what = format!("the weight of {name} moves nothing: an owner (255) stays 255");
            let help = "give it weight 0 to make a failure a FAULT, or a priority below 255";
            diagnostics.push(Diagnostic::lint(instance.span.clone(), what).help(help));
            continue;
        }
        let clamped = |up| (base + weight.share(up).unwrap_or_default()).clamp(1, 254);
        // What a file adds depends on what is in it.
        if *kind != TrackKind::File && clamped(true) == clamped(false) {
            let what = format!("the weight of {name} moves nothing: priorities stay from 1 to 254");
            let help = format!("the base priority is {base}; leave room for it");
            diagnostics.push(Diagnostic::lint(instance.span.clone(), what).help(help));
        }
    }
}

/// A backup's HAProxy must be able to bind an address that is not there.
fn look_for_haproxy(config: &Config, diagnostics: &mut Diagnostics) {
    let Some(script) = config
        .scripts
        .values()
        .find(|it| it.probe.to_string().contains("haproxy"))
    else {
        return;
    };
    let read = |name| fs::read_to_string(format!("/proc/sys/net/{name}/ip_nonlocal_bind"));
    let is_off = |name| read(name).is_ok_and(|text| text.trim() == "0");
    let serves_v6 = config.instances.iter().any(|it| !it.group.is_ipv4());
    if is_off("ipv4") || (serves_v6 && is_off("ipv6")) {
        let what = "HAProxy on a backup cannot bind an address that is not there";
        let help = "bind *:PORT, or set net.ipv4.ip_nonlocal_bind=1 (it is 0 here; for IPv6 \
                    net.ipv6.ip_nonlocal_bind)";
        diagnostics.push(Diagnostic::lint(script.span.clone(), what).help(help));
    }
}

/// A check that nobody asks for is not run.
fn look_for_unused(config: &Config, diagnostics: &mut Diagnostics) {
    let tracks = config.instances.iter().flat_map(|it| &it.tracks);
    let used: BTreeSet<(TrackKind, &str)> = tracks.map(|it| (it.kind, &*it.name)).collect();
    let scripts = config.scripts.values();
    let scripts = scripts.map(|it| (TrackKind::Script, &it.name, &it.span));
    let files = config.files.values();
    let files = files.map(|it| (TrackKind::File, &it.name, &it.span));
    let processes = config.processes.values();
    let processes = processes.map(|it| (TrackKind::Process, &it.name, &it.span));
    let arbiters = config.arbiters.values();
    let arbiters = arbiters.map(|it| (TrackKind::Arbiter, &it.name, &it.span));
    let all = scripts.chain(files).chain(processes).chain(arbiters);
    for (kind, name, span) in all.filter(|(kind, name, _)| !used.contains(&(*kind, name))) {
        let what = format!("no instance tracks {name}: it is not run");
        let help = format!("track_{} {{ {name} }}", kind.name());
        diagnostics.push(Diagnostic::lint(span.clone(), what).help(help));
    }
}
