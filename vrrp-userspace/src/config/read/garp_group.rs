//! `garp_group`: `garp_interval`, `gna_interval`, `interface IF`, `interfaces { IF … }`.

use super::{global::pause, look_at_form, unsupported, value};
use crate::config::{diagnostics::Diagnostics, keywords, model::GarpGroup, tree::Node};

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> GarpGroup {
    let mut group = GarpGroup::default();
    for node in block.children() {
        match node.keyword() {
            "garp_interval" => pause(node, &mut group.garp_interval, diagnostics),
            "gna_interval" => pause(node, &mut group.gna_interval, diagnostics),
            "interface" => {
                let word = value::only_word(node, "an interface", diagnostics);
                group.interfaces.extend(word.map(|word| word.text.clone()));
            }
            "interfaces" => {
                let words = node.children().iter().flat_map(|line| &line.words);
                let words = words.chain(node.arguments());
                group.interfaces.extend(words.map(|word| word.text.clone()));
            }
            _ => unsupported(node, &keywords::GARP_GROUP, diagnostics),
        }
    }
    look_at_form(block.children(), &keywords::GARP_GROUP, diagnostics);
    group
}
