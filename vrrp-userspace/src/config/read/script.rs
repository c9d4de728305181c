//! `vrrp_script`.

use std::time::Duration;

use super::{named_block, unsupported, value};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        model::Script,
        tree::Node,
    },
    health::Command,
};

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> Option<Script> {
    let name = named_block(block, diagnostics)?;
    let mut command = None;
    let mut timeout = None;
    let mut script = Script {
        name: name.text.clone(),
        command: String::new(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        weight: None,
        rise: 1,
        fall: 1,
        user: None,
        span: name.span.clone(),
    };
    for node in block.children() {
        match node.keyword() {
            "script" => command = value::only_word(node, "a command", diagnostics),
            "interval" => {
                if let Some(interval) = value::seconds(node, 0.001..=4_294_967.0, diagnostics) {
                    script.interval = interval;
                }
            }
            "timeout" => timeout = value::seconds(node, 0.001..=4_294_967.0, diagnostics),
            "weight" => script.weight = value::weight(node.arguments(), 253, diagnostics),
            "rise" => {
                if let Some(rise) = value::number(node, 1..=u32::from(u16::MAX), diagnostics) {
                    script.rise = rise;
                }
            }
            "fall" => {
                if let Some(fall) = value::number(node, 1..=u32::from(u16::MAX), diagnostics) {
                    script.fall = fall;
                }
            }
            "user" => script.user = value::user(node.arguments(), diagnostics),
            _ => unsupported(node, keywords::SCRIPT, diagnostics),
        }
    }
    let Some(command) = command else {
        diagnostics.push(
            Diagnostic::error(
                name.span.clone(),
                format!("vrrp_script {} has no script", name.text),
            )
            .help("script \"COMMAND\""),
        );
        return None;
    };
    if let Err(error) = Command::new(&command.text, None) {
        diagnostics.push(
            Diagnostic::error(command.span.clone(), format!("this cannot be run: {error}"))
                .help("script \"COMMAND ARGUMENT…\", with its inner quotes closed"),
        );
        return None;
    }
    script.command.clone_from(&command.text);
    script.timeout = timeout.unwrap_or(script.interval);
    Some(script)
}
