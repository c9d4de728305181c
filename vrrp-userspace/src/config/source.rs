//! The files of a configuration, and places in them.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    ops::Range,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

/// A configuration is not larger.
const MAX_FILE: u64 = 64 << 20;

/// Reads a file. What is none, such as a FIFO that nobody writes into, is refused at once.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("is larger than 64 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A place in a file: byte offsets into its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file in [`Sources`].
    pub file: usize,
    /// Start and end in bytes.
    pub range: (usize, usize),
    /// How the text came from there into the configuration: an index into [`Sources`]' expansions,
    /// counted from 1; 0 = it simply stands there.
    pub via: usize,
}

impl Span {
    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> Range<usize> {
        self.range.0..self.range.1
    }
}

/// Text that stands in one place and means something in another.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// What brought it there: `$NAME`, or `NAME=17` in a repetition.
    pub what: Arc<str>,
    /// Where that stands.
    pub at: Span,
    /// How many there are around it, itself included.
    pub(super) depth: usize,
}

/// The files, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    expansions: Vec<Expansion>,
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

    /// Notes an expansion, and returns what its text is marked with ([`Span::via`]).
    pub(super) fn expand(&mut self, what: Arc<str>, at: Span) -> usize {
        let depth = self.depth(at.via) + 1;
        self.expansions.push(Expansion { what, at, depth });
        self.expansions.len()
    }

    /// How many expansions are around a place.
    pub(super) fn depth(&self, via: usize) -> usize {
        self.expansion(via).map_or(0, |expansion| expansion.depth)
    }

    fn expansion(&self, via: usize) -> Option<&Expansion> {
        self.expansions.get(via.checked_sub(1)?)
    }

    /// The expansions that brought a text where it means something, the innermost first.
    pub fn trail<'a>(&'a self, span: &Span) -> impl Iterator<Item = &'a Expansion> {
        std::iter::successors(self.expansion(span.via), |found| {
            self.expansion(found.at.via)
        })
    }

    /// The smallest place that both are in, whatever expansions they came by.
    pub(super) fn join(&self, one: &Span, other: &Span) -> Span {
        let (mut one, mut other) = (one.clone(), other.clone());
        while one.via != other.via {
            let deeper = if self.depth(one.via) >= self.depth(other.via) {
                &mut one
            } else {
                &mut other
            };
            match self.expansion(deeper.via) {
                Some(expansion) => *deeper = expansion.at.clone(),
                None => break,
            }
        }
        if one.file == other.file {
            one.range.0 = one.range.0.min(other.range.0);
            one.range.1 = one.range.1.max(other.range.1);
        }
        one
    }

    /// The file a span points into.
    #[must_use]
    pub fn get(&self, file: usize) -> Option<&Source> {
        self.files.get(file)
    }

    /// Every file that was read.
    pub fn files(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    /// Line and column, both counted from one, columns in characters.
    #[must_use]
    pub fn position(&self, span: &Span) -> Option<(usize, usize)> {
        let source = self.get(span.file)?;
        let before = source.text.get(..span.range.0).unwrap_or(&source.text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        Some((line, last.chars().count() + 1))
    }

    /// `file:line:column`.
    #[must_use]
    pub fn locate(&self, span: &Span) -> String {
        let name = self.get(span.file).map(|source| &source.name);
        match (name, self.position(span)) {
            (Some(name), Some((line, column))) => format!("{name}:{line}:{column}"),
            _ => "?".to_owned(),
        }
    }
}
