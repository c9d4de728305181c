//! `track_file`, which used to be `vrrp_track_file`.

use std::path::PathBuf;

use super::{look_at_form, named_block, unsupported, value};
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    model::{TrackFile, Weight},
    tree::Node,
};

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> Option<TrackFile> {
    let name = named_block(block, diagnostics)?;
    look_at_form(block.children(), &keywords::TRACK_FILE, diagnostics);
    let mut file = TrackFile {
        name: name.text.clone(),
        path: PathBuf::new(),
        weight: Weight {
            value: 1,
            reverse: false,
        },
        init: None,
        span: name.span.clone(),
    };
    for node in block.children() {
        match node.keyword() {
            "file" => {
                let path = value::only_word(node, "a path", diagnostics)?;
                file.path = PathBuf::from(&path.text);
            }
            "weight" => {
                if let Some(weight) = value::weight(node.arguments(), 254, diagnostics) {
                    file.weight = weight;
                }
            }
            "init_file" => file.init = Some(init(node, diagnostics)),
            _ => unsupported(node, &keywords::TRACK_FILE, diagnostics),
        }
    }
    if file.path.as_os_str().is_empty() {
        let what = format!("track_file {} has no file", name.text);
        diagnostics.push(Diagnostic::error(name.span.clone(), what).help("file PATH"));
        return None;
    }
    Some(file)
}

/// `init_file [VALUE] [overwrite]`.
fn init(node: &Node, diagnostics: &mut Diagnostics) -> (i64, bool) {
    let (mut number, mut overwrites) = (0, false);
    for word in node.arguments() {
        if word.text == "overwrite" {
            overwrites = true;
        } else {
            let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
            number = value::number_of("init_file", word, range, diagnostics).unwrap_or(0);
        }
    }
    (number, overwrites)
}
