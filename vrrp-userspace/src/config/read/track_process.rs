//! `vrrp_track_process`.

use std::time::Duration;

use super::{look_at_form, named_block, unsupported, value};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        model::TrackProcess,
        tree::Node,
    },
    health::{ParamMatch, ProcessRule},
};

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> Option<TrackProcess> {
    let name = named_block(block, diagnostics)?;
    look_at_form(block.children(), &keywords::TRACK_PROCESS, diagnostics);
    let mut process = TrackProcess {
        name: name.text.clone(),
        rule: ProcessRule::default(),
        weight: super::track::FAULT,
        span: name.span.clone(),
    };
    let rule = &mut process.rule;
    for node in block.children() {
        let delay = |diagnostics: &mut Diagnostics| {
            let delay = value::seconds(node, 0.000_001..=3600.0, diagnostics);
            delay.unwrap_or(Duration::ZERO)
        };
        match node.keyword() {
            "process" => {
                value::word(node, "a process", diagnostics)?;
                let words = node.arguments().iter();
                rule.words = words.map(|word| word.text.clone()).collect();
            }
            "param_match" => rule.matching = matching(node, diagnostics),
            "full_command" => rule.full_command = true,
            "weight" => {
                if let Some(weight) = value::weight(node.arguments(), 254, diagnostics) {
                    process.weight = weight;
                }
            }
            "quorum" => {
                if let Some(quorum) = value::number(node, 1..=65535, diagnostics) {
                    rule.quorum = quorum;
                }
            }
            "quorum_max" => rule.quorum_max = value::number(node, 0..=65535, diagnostics),
            "delay" => {
                rule.fork_delay = delay(diagnostics);
                rule.terminate_delay = rule.fork_delay;
            }
            "fork_delay" => rule.fork_delay = delay(diagnostics),
            "terminate_delay" => rule.terminate_delay = delay(diagnostics),
            _ => unsupported(node, &keywords::TRACK_PROCESS, diagnostics),
        }
    }
    if rule.words.is_empty() {
        let what = format!("vrrp_track_process {} has no process", name.text);
        diagnostics.push(Diagnostic::error(name.span.clone(), what).help("process NAME"));
        return None;
    }
    if rule.quorum_max.is_some_and(|most| most < rule.quorum) {
        // 0 means that it must not run at all.
        if rule.quorum_max == Some(0) {
            rule.quorum = 0;
        } else {
            let what = "quorum_max is below quorum: it always fails";
            diagnostics.push(
                Diagnostic::warning(name.span.clone(), what).help("quorum_max N, at least quorum"),
            );
        }
    }
    Some(process)
}

fn matching(node: &Node, diagnostics: &mut Diagnostics) -> ParamMatch {
    let Some(word) = value::only_word(node, "initial or partial", diagnostics) else {
        return ParamMatch::Exact;
    };
    match word.text.as_str() {
        "initial" => ParamMatch::Initial,
        "partial" => ParamMatch::Partial,
        other => {
            let what = format!("param_match cannot be {other}");
            let help = "initial or partial; without it parameters must be the same";
            diagnostics.push(Diagnostic::error(word.span.clone(), what).help(help));
            ParamMatch::Exact
        }
    }
}
