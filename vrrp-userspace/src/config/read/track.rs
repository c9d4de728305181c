//! What an instance or a group tracks: `track_script`, `track_interface` and their like.

use super::value;
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    model::{Config, Track, TrackKind, Weight},
    tree::Node,
};

/// The lines of a `track_…` block.
pub(super) fn read(
    node: &Node,
    nopreempt: bool,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Vec<Track> {
    let kind = match node.keyword() {
        "track_script" => TrackKind::Script,
        "track_file" => TrackKind::File,
        "track_process" => TrackKind::Process,
        "track_arbiter" => TrackKind::Arbiter,
        _ => TrackKind::Interface,
    };
    let mut tracks = Vec::new();
    for line in node.children() {
        if let Some(defined) = defined(kind, line, config, diagnostics) {
            let given = tracking_weight(line, kind, diagnostics).or(defined.weight);
            tracks.push(Track {
                kind,
                name: line.keyword().to_owned(),
                weight: match kind {
                    TrackKind::Script => script_weight(given, line, nopreempt, config, diagnostics),
                    _ => given.unwrap_or(FAULT),
                },
                is_given: given.is_some(),
            });
        }
    }
    tracks
}

/// What the definition of a tracked thing says of its weight.
struct Defined {
    weight: Option<Weight>,
}

/// Looks for the definition of what a line names. Interfaces have none.
fn defined(
    kind: TrackKind,
    line: &Node,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Option<Defined> {
    let name = line.keyword();
    let (found, known): (Option<Option<Weight>>, Vec<&str>) = match kind {
        TrackKind::Interface => (Some(None), Vec::new()),
        TrackKind::Script => {
            let all = &config.scripts;
            (all.get(name).map(|it| it.weight), names(all.keys()))
        }
        TrackKind::File => {
            let all = &config.files;
            (all.get(name).map(|it| Some(it.weight)), names(all.keys()))
        }
        TrackKind::Process => {
            let all = &config.processes;
            (all.get(name).map(|it| Some(it.weight)), names(all.keys()))
        }
        TrackKind::Arbiter => {
            let all = &config.arbiters;
            (all.get(name).map(|it| Some(it.weight)), names(all.keys()))
        }
    };
    if found.is_none() {
        let block = match kind {
            TrackKind::File => "track_file",
            TrackKind::Process => "vrrp_track_process",
            TrackKind::Arbiter => "vrrp_arbiter",
            TrackKind::Script | TrackKind::Interface => "vrrp_script",
        };
        let follows = match kind {
            TrackKind::Arbiter => "who needs it is left out",
            _ => "it is not tracked",
        };
        let help = keywords::nearest(name, known.into_iter()).map_or_else(
            || format!("define it, or correct the name; {follows}"),
            |nearest| format!("did you mean {nearest}? If not, define it; {follows}"),
        );
        diagnostics
            .push(Diagnostic::error(line.span(), format!("there is no {block} {name}")).help(help));
    }
    found.map(|weight| Defined { weight })
}

fn names<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    keys.map(String::as_str).collect()
}

/// Failure means FAULT.
pub(super) const FAULT: Weight = Weight {
    value: 0,
    reverse: false,
};

/// The weight of a script here: the tracking line's, else the script's, else the default; and
/// under `nopreempt`, where priority cannot move the address, FAULT instead of the default.
fn script_weight(
    given: Option<Weight>,
    line: &Node,
    nopreempt: bool,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Weight {
    let name = line.keyword();
    let default = config.global.default_weight;
    match given {
        Some(weight) => {
            if nopreempt && weight.value != 0 {
                let what = format!("under nopreempt the weight of {name} cannot move the address");
                let help = "give it weight 0 to make a failure a FAULT, or remove nopreempt";
                diagnostics.push(Diagnostic::warning(line.span(), what).help(help));
            }
            weight
        }
        None if nopreempt => {
            let what = format!("{name} has no weight: under nopreempt its failure means FAULT");
            let help = "say `weight 0` to make that explicit";
            diagnostics.push(Diagnostic::lint(line.span(), what).help(help));
            FAULT
        }
        None => {
            let what = if default == 0 {
                format!(
                    "{name} has no weight: its failure means FAULT (vrrp_script_default_weight 0)"
                )
            } else {
                format!(
                    "{name} has no weight: {default} is used here, keepalived 2 would use 0 (FAULT)"
                )
            };
            let help = "give it a weight, or set vrrp_script_default_weight 0 in global_defs for \
                        keepalived's meaning";
            diagnostics.push(Diagnostic::lint(line.span(), what).help(help));
            Weight {
                value: default,
                reverse: false,
            }
        }
    }
}

/// `NAME weight N [reverse]`.
fn tracking_weight(line: &Node, kind: TrackKind, diagnostics: &mut Diagnostics) -> Option<Weight> {
    let limit = match kind {
        TrackKind::File | TrackKind::Process => 254,
        TrackKind::Script | TrackKind::Interface | TrackKind::Arbiter => 253,
    };
    let (first, rest) = line.arguments().split_first()?;
    if first.text == "weight" {
        return value::weight(rest, limit, diagnostics);
    }
    diagnostics.push(
        Diagnostic::warning(
            first.span.clone(),
            format!("{} means nothing here", first.text),
        )
        .help("NAME weight N [reverse]"),
    );
    None
}
