//! keepalived.conf: text to a checked configuration, with every problem named where it stands.
//!
//! [`source`] holds the files, [`lexer`] cuts them into words, [`tree`] nests the blocks and
//! follows `include`, `read` gives the words their meaning, [`model`] is the result, and
//! [`diagnostics`] says what is wrong, where, and what to do.

pub mod default;
pub mod diagnostics;
mod keywords;
mod lexer;
pub mod model;
mod read;
pub mod source;
mod tree;

use std::path::Path;

use diagnostics::Diagnostics;
use model::Config;
pub use read::can_be_virtual;
use source::Sources;

/// A configuration with everything that is to be said about it.
pub struct Loaded {
    /// What can be served: instances with an error are not in it.
    pub config: Config,
    /// What is wrong, or worth knowing.
    pub diagnostics: Diagnostics,
    /// The files the diagnostics point into.
    pub sources: Sources,
}

/// Reads a configuration file and everything it includes.
///
/// # Errors
///
/// When the file itself cannot be read; everything else becomes a diagnostic.
pub fn load(path: &Path) -> std::io::Result<Loaded> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    Ok(load_text(path, text))
}

/// Reads a configuration that is in memory; `path` names it and is what `include` is relative to.
#[must_use]
pub fn load_text(path: &Path, text: String) -> Loaded {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let nodes = tree::parse(path, text, &mut sources, &mut diagnostics);
    let config = read::config(&nodes, &mut diagnostics);
    Loaded {
        config,
        diagnostics,
        sources,
    }
}

#[cfg(test)]
mod tests;
