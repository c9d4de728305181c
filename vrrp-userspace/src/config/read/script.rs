//! `vrrp_script`.

use std::time::Duration;

use super::{look_at_form, named_block, probe, unsupported, value};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        model::Script,
        tree::Node,
    },
    health::Probe,
};

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> Option<Script> {
    let name = named_block(block, diagnostics)?;
    look_at_form(block.children(), &keywords::SCRIPT, diagnostics);
    let mut probe = None;
    let mut timeout = None;
    let mut script = Script {
        name: name.text.clone(),
        probe: Probe::Script(String::new()),
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
            "script" | "check" if probe.is_some() => {
                let what = format!("{} asks something already", name.text);
                let help = "one script or one check in each vrrp_script; this one is ignored";
                diagnostics.push(Diagnostic::error(node.span(), what).help(help));
            }
            "script" => {
                if let Some(command) = value::only_word(node, "a command", diagnostics) {
                    probe = Some(probe::script(command, diagnostics)?);
                }
            }
            "check" => match probe::read(node, false) {
                Ok(asks) => probe = Some(asks),
                Err(wrong) => {
                    wrong.report(diagnostics);
                    return None;
                }
            },
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
    let Some(probe) = probe else {
        diagnostics.push(
            Diagnostic::error(
                name.span.clone(),
                format!("vrrp_script {} has no script", name.text),
            )
            .help("script \"COMMAND\", or check tcp|http|icmp|haproxy|systemd …"),
        );
        return None;
    };
    script.probe = probe;
    script.timeout = timeout.unwrap_or(script.interval);
    Some(script)
}
