//! What an instance tracks: `track_script`, `track_interface`.

use super::{instance::Draft, value};
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    model::{Config, Script, TrackInterface, TrackScript, Weight},
    tree::Node,
};

impl Draft<'_> {
    pub(super) fn track_scripts(
        &mut self,
        node: &Node,
        config: &Config,
        diagnostics: &mut Diagnostics,
    ) {
        let nopreempt = self.nopreempt.is_some();
        let tracks = scripts(node, nopreempt, config, diagnostics);
        self.instance.track_scripts.extend(tracks);
    }

    pub(super) fn track_interfaces(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        let tracks = interfaces(node, diagnostics);
        self.instance.track_interfaces.extend(tracks);
    }
}

/// The lines of a `track_script`.
pub(super) fn scripts(
    node: &Node,
    nopreempt: bool,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Vec<TrackScript> {
    let mut tracks = Vec::new();
    for line in node.children() {
        let name = line.keyword();
        let Some(script) = config.scripts.get(name) else {
            let known = config.scripts.keys().map(String::as_str);
            let help = keywords::nearest(name, known).map_or_else(
                || "define it, or correct the name; it is not tracked".to_owned(),
                |nearest| format!("did you mean {nearest}? It is not tracked"),
            );
            diagnostics.push(
                Diagnostic::error(line.span(), format!("there is no vrrp_script {name}"))
                    .help(help),
            );
            continue;
        };
        let given = tracking_weight(line, 253, diagnostics).or(script.weight);
        tracks.push(TrackScript {
            script: script.name.clone(),
            weight: script_weight(given, line, script, nopreempt, config, diagnostics),
            is_given: given.is_some(),
        });
    }
    tracks
}

/// The lines of a `track_interface`.
pub(super) fn interfaces(node: &Node, diagnostics: &mut Diagnostics) -> Vec<TrackInterface> {
    let of_line = |line: &Node| TrackInterface {
        interface: line.keyword().to_owned(),
        weight: tracking_weight(line, 253, diagnostics).unwrap_or(FAULT),
    };
    node.children().iter().map(of_line).collect()
}

const FAULT: Weight = Weight {
    value: 0,
    reverse: false,
};

/// The weight of a script here: the tracking line's, else the script's, else the default; and
/// under `nopreempt`, where priority cannot move the address, FAULT instead of the default.
fn script_weight(
    given: Option<Weight>,
    line: &Node,
    script: &Script,
    nopreempt: bool,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Weight {
    let name = &script.name;
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
fn tracking_weight(line: &Node, limit: i32, diagnostics: &mut Diagnostics) -> Option<Weight> {
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
