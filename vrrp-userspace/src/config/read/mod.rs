//! Meaning: the tree of words becomes a [`Config`].

mod address;
mod global;
mod group;
mod instance;
mod script;
mod settle;
mod transport;
mod value;

pub use address::can_be_virtual;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords::{self, Standing},
    lexer::Word,
    model::{Config, Instance},
    source::Span,
    tree::Node,
};

/// Reads the whole configuration. `global_defs` and scripts first, wherever they stand, so that
/// their users may come before them.
pub(super) fn config(nodes: &[Node], diagnostics: &mut Diagnostics) -> Config {
    let mut config = Config::default();
    for node in of(nodes, "global_defs") {
        global::read(node, &mut config.global, diagnostics);
    }
    for node in of(nodes, "vrrp_script") {
        if let Some(script) = script::read(node, diagnostics) {
            let (name, span) = (script.name.clone(), script.span.clone());
            if config.scripts.insert(name.clone(), script).is_some() {
                diagnostics.push(
                    Diagnostic::error(span, format!("there is another vrrp_script {name}"))
                        .help("give each script its own name; this one replaces the first"),
                );
            }
        }
    }
    for node in of(nodes, "vrrp_instance") {
        if let Some(instance) = instance::read(node, &config, diagnostics) {
            config.instances.push(instance);
        }
    }
    leave_out_duplicates(&mut config.instances, diagnostics);
    for node in of(nodes, "vrrp_sync_group") {
        if let Some(group) = group::read(node, &mut config, diagnostics) {
            config.groups.push(group);
        }
    }
    mention_the_rest(nodes, diagnostics);
    config
}

fn of<'a>(nodes: &'a [Node], keyword: &'a str) -> impl Iterator<Item = &'a Node> {
    nodes.iter().filter(move |node| node.keyword() == keyword)
}

/// The first of two instances with one name, or one VRID on one interface, is served.
fn leave_out_duplicates(instances: &mut Vec<Instance>, diagnostics: &mut Diagnostics) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    // An IPv4 and an IPv6 virtual router may share a number (RFC 9568 5.2.3).
    let mut vrids: BTreeMap<(String, bool, u8), String> = BTreeMap::new();
    instances.retain(|instance| {
        let Instance { name, interface, vrid, span, .. } = instance;
        if !names.insert(name.clone()) {
            diagnostics.push(
                Diagnostic::error(span.clone(), format!("there is another vrrp_instance {name}"))
                    .help("give each instance its own name; this one is left out"),
            );
            return false;
        }
        let key = (interface.clone(), instance.group.is_ipv4(), *vrid);
        if let Some(first) = vrids.get(&key) {
            diagnostics.push(
                Diagnostic::error(
                    span.clone(),
                    format!("virtual_router_id {vrid} on {interface} is already that of {first}"),
                )
                .help("each virtual router on an interface needs its own number from 1 to 255; this one is left out"),
            );
            return false;
        }
        vrids.insert(key, name.clone());
        true
    });
}

fn mention_the_rest(nodes: &[Node], diagnostics: &mut Diagnostics) {
    let mut lvs: Option<Span> = None;
    for node in nodes {
        match node.keyword() {
            "global_defs" | "vrrp_script" | "vrrp_instance" | "vrrp_sync_group" => {}
            keyword if keywords::LVS.contains(&keyword) => lvs = lvs.or(Some(node.span())),
            _ => unsupported(node, keywords::ROOT, diagnostics),
        }
    }
    if let Some(span) = lvs {
        diagnostics.push(Diagnostic::lint(
            span,
            "virtual_server and its like are skipped: xvrrp does VRRP, not load balancing",
        ));
    }
}

/// Says what becomes of a keyword that nothing here reads.
fn unsupported(node: &Node, block: &[&'static str], diagnostics: &mut Diagnostics) {
    let keyword = node.keyword();
    if keywords::SILENT.contains(&keyword) {
        return;
    }
    diagnostics.push(match keywords::standing(keyword, block) {
        Standing::NotYet => {
            Diagnostic::warning(node.span(), format!("{keyword} is not yet supported"))
                .help("it is ignored; everything else is served")
        }
        Standing::Unknown(nearest) => {
            let diagnostic = Diagnostic::warning(node.span(), format!("unknown keyword {keyword}"));
            match nearest {
                Some(nearest) => diagnostic.help(format!("did you mean {nearest}? It is ignored")),
                None => diagnostic.help("it is ignored"),
            }
        }
    });
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
