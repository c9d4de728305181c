//! The files of a configuration, and places in them.

use std::{ops::Range, path::Path};

/// A place in a file: byte offsets into its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index of the file in [`Sources`].
    pub file: usize,
    /// Byte range.
    pub range: Range<usize>,
}

/// The files, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// One file.
#[derive(Debug)]
pub struct Source {
    /// Its name, as the operator gave it.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Sources {
    pub(super) fn add(&mut self, path: &Path, text: String) -> usize {
        self.files.push(Source {
            name: path.display().to_string(),
            text,
        });
        self.files.len() - 1
    }

    /// The file a span points into.
    #[must_use]
    pub fn get(&self, file: usize) -> Option<&Source> {
        self.files.get(file)
    }

    /// `file:line:column`, both counted from one, columns in characters.
    #[must_use]
    pub fn locate(&self, span: &Span) -> String {
        let Some(source) = self.get(span.file) else {
            return "?".to_owned();
        };
        let before = source.text.get(..span.range.start).unwrap_or(&source.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        format!("{}:{line}:{column}", source.name)
    }
}
