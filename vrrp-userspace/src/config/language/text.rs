//! A line of configuration that knows where each piece of it stands.

use std::ops::Range;

use crate::config::source::{Sources, Span};

/// Text, with its origins.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Text {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    /// Where it begins in the text.
    at: usize,
    span: Span,
    /// It stands in the file letter by letter; else the span is of what stands for it.
    is_literal: bool,
}

impl Text {
    /// Text that stands at this place.
    pub(in crate::config) fn literal(text: &str, file: usize, start: usize) -> Self {
        let span = Span {
            file,
            range: (start, start + text.len()),
            via: 0,
        };
        let part = Part {
            at: 0,
            span,
            is_literal: true,
        };
        Self {
            text: text.to_owned(),
            parts: vec![part],
        }
    }

    pub(in crate::config) fn as_str(&self) -> &str {
        &self.text
    }

    /// Adds a value that stands for what is at this place.
    pub(super) fn push_value(&mut self, value: &str, span: Span) {
        if value.is_empty() {
            return;
        }
        self.parts.push(Part {
            at: self.text.len(),
            span,
            is_literal: false,
        });
        self.text.push_str(value);
    }

    /// Adds a range of another text.
    pub(super) fn push(&mut self, other: &Self, range: Range<usize>) {
        let offset = self.text.len();
        let Some(text) = other.text.get(range.clone()) else {
            return;
        };
        self.text.push_str(text);
        for (index, part) in other.parts.iter().enumerate() {
            let start = part.at.max(range.start);
            let end = other.end_of(index).min(range.end);
            if start < end {
                self.parts.push(Part {
                    at: offset + start - range.start,
                    span: part.cut(start..end),
                    is_literal: part.is_literal,
                });
            }
        }
    }

    pub(super) fn push_all(&mut self, other: &Self) {
        self.push(other, 0..other.text.len());
    }

    /// A piece of it.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        let mut piece = Self::default();
        piece.push(self, range);
        piece
    }

    /// Without white space around it.
    pub(super) fn trimmed(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        let end = self.text.trim_end().len().max(start);
        if start == 0 && end == self.text.len() {
            return self;
        }
        self.slice(start..end)
    }

    /// The same text, brought somewhere by an expansion.
    pub(super) fn by(&self, via: usize) -> Self {
        let mut text = self.clone();
        for part in &mut text.parts {
            part.span.via = via;
        }
        text
    }

    /// Where a piece of it stands.
    pub(in crate::config) fn span(&self, range: Range<usize>, sources: &Sources) -> Span {
        let first = self.parts.partition_point(|part| part.at <= range.start);
        let first = first.saturating_sub(1);
        let mut found: Option<Span> = None;
        for (index, part) in self.parts.iter().enumerate().skip(first) {
            let start = part.at.max(range.start);
            let end = self.end_of(index).min(range.end);
            if start >= end && found.is_some() {
                break;
            }
            let span = part.cut(start..end.max(start));
            found = Some(match found {
                None => span,
                Some(found) => sources.join(&found, &span),
            });
        }
        found.unwrap_or_default()
    }

    /// Where all of it stands.
    pub(super) fn whole_span(&self, sources: &Sources) -> Span {
        self.span(0..self.text.len(), sources)
    }

    fn end_of(&self, index: usize) -> usize {
        self.parts
            .get(index + 1)
            .map_or(self.text.len(), |next| next.at)
    }
}

impl Part {
    /// Where a piece of the text stands that is within this part.
    fn cut(&self, range: Range<usize>) -> Span {
        let mut span = self.span.clone();
        if self.is_literal {
            let start = self.span.range.0;
            span.range = (start + range.start - self.at, start + range.end - self.at);
        }
        span
    }
}
