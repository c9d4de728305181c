//! `vrrp_script`.

use std::time::Duration;

use super::{look_at_form, named_block, security, unsupported, value};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        lexer::Word,
        model::Script,
        tree::Node,
    },
    health::Command,
};

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> Option<Script> {
    let name = named_block(block, diagnostics)?;
    look_at_form(block.children(), &keywords::SCRIPT, diagnostics);
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
        init_fail: false,
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
            "init_fail" => script.init_fail = true,
            "user" => script.user = value::user(node.arguments(), diagnostics),
            _ => unsupported(node, &keywords::SCRIPT, diagnostics),
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
    mention_a_missing_program(command, diagnostics);
    script.command.clone_from(&command.text);
    script.timeout = timeout.unwrap_or(script.interval);
    Some(script)
}

/// A check that is not there fails. What needs a shell is not looked into.
fn mention_a_missing_program(command: &Word, diagnostics: &mut Diagnostics) {
    let Ok(words) = shell_words::split(&command.text) else {
        return;
    };
    let Some(name) = words
        .first()
        .filter(|name| !name.starts_with(['<', '$', '(']))
    else {
        return;
    };
    if !security::found(name).is_some_and(|path| path.exists()) {
        let what = format!("there is no {name} on this machine: the check fails");
        let help = "install it, or correct its path";
        diagnostics.push(Diagnostic::lint(command.span.clone(), what).help(help));
    }
}
