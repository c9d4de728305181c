//! keepalived.conf: text to a checked configuration, with every problem named where it stands.
//!
//! [`source`] holds the files, [`language`] reads them (`include`, `@ID`, `$NAME`, `~SEQ`), [`lexer`]
//! cuts lines into words, [`tree`] nests the blocks, `read` gives the words their meaning, [`model`] is
//! the result, and [`diagnostics`] says what is wrong, where, and what to do.

pub mod default;
pub mod diagnostics;
pub mod explain;
mod format;
mod keyword_text;
mod keywords;
mod language;
mod lexer;
pub mod model;
mod read;
pub mod source;
mod tree;
mod verdict;

use std::path::Path;

use diagnostics::Diagnostics;
pub use format::format;
pub use keyword_text::{explain_keyword, keyword_manual, keyword_reference};
pub use language::Limits;
use model::Config;
pub use read::can_be_virtual;
use source::Sources;
pub use verdict::Verdict;

/// A configuration with everything that is to be said about it.
pub struct Loaded {
    /// What can be served: instances with an error are not in it.
    pub config: Config,
    /// What is wrong, or worth knowing.
    pub diagnostics: Diagnostics,
    /// The files the diagnostics point into.
    pub sources: Sources,
}

/// How configurations are read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// What `@ID` at the start of a line is compared with, and `${_INSTANCE}` stands for: the first
    /// label of the host's name, unless `--config-id` says something else.
    pub config_id: String,
    /// How much may come out of it.
    pub limits: Limits,
    /// A file that is included and missing is an error, whatever `include_check` says.
    pub needs_every_file: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Reader {
    /// A reader for this machine, or with the `--config-id` of another.
    #[must_use]
    pub fn new(config_id: Option<&str>) -> Self {
        let host = || {
            let name = nix::unistd::gethostname().ok()?;
            let name = name.into_string().ok()?;
            Some(name.split('.').next()?.to_owned())
        };
        Self {
            config_id: config_id
                .map(str::to_owned)
                .or_else(host)
                .unwrap_or_default(),
            limits: Limits::default(),
            needs_every_file: false,
        }
    }

    /// Reads a configuration file and everything it includes.
    ///
    /// # Errors
    ///
    /// When the file itself cannot be read; everything else becomes a diagnostic.
    pub fn load(&self, path: &Path) -> std::io::Result<Loaded> {
        let text = source::read_file(path)?;
        Ok(self.load_text(path, text))
    }

    /// Reads a configuration that is in memory; `path` names it and is what `include` is relative to.
    #[must_use]
    pub fn load_text(&self, path: &Path, text: String) -> Loaded {
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        let lexemes = language::read(self, path, text, &mut sources, &mut diagnostics);
        let nodes = tree::parse(lexemes, &mut diagnostics);
        let config = read::config(&nodes, &mut diagnostics);
        Loaded {
            config,
            diagnostics,
            sources,
        }
    }
}

#[cfg(test)]
mod tests;
