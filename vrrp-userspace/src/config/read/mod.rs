//! Meaning: the tree of words becomes a [`Config`].

mod address;
mod arbiter;
mod duplicates;
mod garp_group;
mod global;
mod group;
mod instance;
mod lints;
mod notification;
mod probe;
mod route;
mod rule;
mod scheduling;
mod script;
mod security;
mod settle;
mod statics;
mod track;
mod track_file;
mod track_process;
mod transport;
mod value;
mod virtual_mac;
mod words;

pub use address::can_be_virtual;

use std::collections::BTreeMap;

use super::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords::{self, Block, Standing, Takes},
    lexer::Word,
    model::Config,
    source::Span,
    tree::Node,
};

/// Reads the whole configuration. `global_defs` and scripts first, wherever they stand, so that
/// their users may come before them.
pub(super) fn config(nodes: &[Node], diagnostics: &mut Diagnostics) -> Config {
    let mut config = Config::default();
    let mut notification = notification::Draft::default();
    for node in of(nodes, "global_defs") {
        global::read(node, &mut config.global, &mut notification, diagnostics);
    }
    notification.finish(&mut config.global, diagnostics);
    for node in of(nodes, "net_namespace") {
        let name = value::only_word(node, "a name", diagnostics);
        config.global.net_namespace = name.map(|word| word.text.clone());
    }
    read_trackers(nodes, &mut config, diagnostics);
    security::judge_checks(&mut config, diagnostics);
    for node in of(nodes, "vrrp_instance") {
        if let Some(instance) = instance::read(node, &config, diagnostics) {
            config.instances.push(instance);
        }
    }
    duplicates::leave_out(&mut config.instances, diagnostics);
    for node in of(nodes, "vrrp_sync_group") {
        if let Some(group) = group::read(node, &mut config, diagnostics) {
            config.groups.push(group);
        }
    }
    arbiter::settle(&mut config, diagnostics);
    security::judge_notifications(&mut config, diagnostics);
    config.statics = statics::read(nodes, &config.global.default_interface, diagnostics);
    let instances = config.instances.iter_mut();
    let rules = instances.flat_map(|instance| &mut instance.rules);
    rule::give_priorities(config.statics.rules.iter_mut().chain(rules));
    let groups = of(nodes, "garp_group");
    config.garp_groups = groups
        .map(|node| garp_group::read(node, diagnostics))
        .collect();
    mention_the_rest(nodes, diagnostics);
    lints::look(&config, diagnostics);
    config
}

/// What can be tracked.
fn read_trackers(nodes: &[Node], config: &mut Config, diagnostics: &mut Diagnostics) {
    for node in nodes {
        let twice = match node.keyword() {
            "vrrp_script" => script::read(node, diagnostics).and_then(|script| {
                let (name, span) = (script.name.clone(), script.span.clone());
                config.scripts.insert(name.clone(), script)?;
                Some((name, span))
            }),
            "track_file" | "vrrp_track_file" => {
                track_file::read(node, diagnostics).and_then(|file| {
                    let (name, span) = (file.name.clone(), file.span.clone());
                    config.files.insert(name.clone(), file)?;
                    Some((name, span))
                })
            }
            "vrrp_track_process" => track_process::read(node, diagnostics).and_then(|process| {
                let (name, span) = (process.name.clone(), process.span.clone());
                config.processes.insert(name.clone(), process)?;
                Some((name, span))
            }),
            "vrrp_arbiter" => arbiter::read(node, diagnostics).and_then(|arbiter| {
                let (name, span) = (arbiter.name.clone(), arbiter.span.clone());
                config.arbiters.insert(name.clone(), arbiter)?;
                Some((name, span))
            }),
            _ => None,
        };
        if let Some((name, span)) = twice {
            let what = format!("there is another {} {name}", node.keyword());
            let help = "give each its own name; this one replaces the first";
            diagnostics.push(Diagnostic::error(span, what).help(help));
        }
    }
}

fn of<'a>(nodes: &'a [Node], keyword: &'a str) -> impl Iterator<Item = &'a Node> {
    nodes.iter().filter(move |node| node.keyword() == keyword)
}

fn mention_the_rest(nodes: &[Node], diagnostics: &mut Diagnostics) {
    for node in nodes {
        match node.keyword() {
            "global_defs" | "vrrp_script" | "track_file" | "vrrp_track_file"
            | "vrrp_track_process" | "vrrp_arbiter" | "vrrp_instance" | "vrrp_sync_group"
            | "garp_group" | "static_ipaddress" | "static_routes" | "static_rules"
            | "include_check" => {}
            _ => unsupported(node, &keywords::ROOT, diagnostics),
        }
    }
    look_at_form(nodes, &keywords::ROOT, diagnostics);
}

/// Says what becomes of a keyword that nothing here reads.
fn unsupported(node: &Node, block: &Block, diagnostics: &mut Diagnostics) {
    let name = node.keyword();
    let Some(keyword) = block.find(name) else {
        return unknown(node, block, diagnostics);
    };
    match keyword.standing {
        Standing::Unsupported => diagnostics.push(
            Diagnostic::warning(node.span(), format!("{name} is not supported"))
                .help(format!("{} It is ignored", keyword.meaning)),
        ),
        Standing::Lvs => diagnostics.skip_load_balancing(node.span()),
        // Nothing has to be done, or it has been read elsewhere.
        Standing::Accepted | Standing::Served | Standing::Ours => {}
    }
}

fn unknown(node: &Node, block: &Block, diagnostics: &mut Diagnostics) {
    let name = node.keyword();
    let elsewhere: Vec<&str> = keywords::find_everywhere(name)
        .into_iter()
        .map(|(block, _)| block)
        .collect();
    let diagnostic = Diagnostic::warning(node.span(), format!("unknown keyword {name}"));
    diagnostics.push_unknown(match (block.nearest(name), elsewhere.as_slice()) {
        (Some(nearest), []) => diagnostic.help(format!("did you mean {nearest}? It is ignored")),
        (_, [_, ..]) => diagnostic.help(format!(
            "its place is {}; it is ignored",
            elsewhere.join(", or ")
        )),
        (None, []) => diagnostic.help("it is ignored"),
    });
}

/// What the form of the lines of a block says: values where none belong, the same twice, no block
/// where there should be one.
fn look_at_form(nodes: &[Node], block: &Block, diagnostics: &mut Diagnostics) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for node in nodes {
        let name = node.keyword();
        let Some(keyword) = block.find(name) else {
            continue;
        };
        if let (Takes::Nothing, Some(word)) = (keyword.takes, node.arguments().first()) {
            diagnostics.push(
                Diagnostic::warning(word.span.clone(), format!("{name} takes no value"))
                    .help(format!("{} is ignored, and {name} holds", word.text)),
            );
        }
        let is_block = keyword.syntax.contains('{');
        let is_served = matches!(keyword.standing, Standing::Served | Standing::Ours);
        if is_block && is_served && node.block.is_none() && node.arguments().is_empty() {
            diagnostics.push(
                Diagnostic::error(node.span(), format!("{name} has no block"))
                    .help(format!("{name} {}", keyword.syntax)),
            );
        }
        if matches!(keyword.takes, Takes::Value | Takes::Boolean)
            && seen.insert(name, node.span()).is_some()
        {
            diagnostics.push(
                Diagnostic::warning(node.span(), format!("{name} stands here twice"))
                    .help("the last one counts"),
            );
        }
    }
}

/// The name of a block, `KEYWORD NAME {`, and its lines, if it is whole.
fn named_block<'a>(node: &'a Node, diagnostics: &mut Diagnostics) -> Option<&'a Word> {
    let Some(name) = node.arguments().first() else {
        diagnostics.push(
            Diagnostic::error(node.span(), format!("{} needs a name", node.keyword()))
                .help(format!("{} NAME {{ … }}", node.keyword())),
        );
        return None;
    };
    if node.block.is_none() {
        diagnostics.push(
            Diagnostic::error(
                name.span.clone(),
                format!("{} {} has no block", node.keyword(), name.text),
            )
            .help("open it with `{`"),
        );
        return None;
    }
    // An unclosed block was reported where it opens.
    (!node.unclosed).then_some(name)
}
