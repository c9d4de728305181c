//! Words to nested blocks. A brace may stand on the keyword's line, on its own,
//! or with the whole block on one line.

use super::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    lexer::{Lexeme, Word},
    source::Span,
};

/// A line, with the block that belongs to it.
#[derive(Debug)]
pub(super) struct Node {
    /// The keyword and its arguments; never empty.
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Node>>,
    /// The block has no closing brace: what it means is anybody's guess.
    pub(super) unclosed: bool,
}

impl Node {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    /// Where the keyword stands.
    pub(super) fn span(&self) -> Span {
        self.words
            .first()
            .map(|word| word.span.clone())
            .unwrap_or_default()
    }

    /// The words behind the keyword.
    pub(super) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The lines of the block.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// How deep blocks may nest; keepalived's own go three deep.
const MAX_DEPTH: usize = 32;

pub(super) fn parse(lexemes: Vec<Lexeme>, diagnostics: &mut Diagnostics) -> Vec<Node> {
    let mut parser = Parser {
        diagnostics,
        depth: 0,
    };
    parser.blocks(Cursor { lexemes, next: 0 })
}

struct Parser<'a> {
    diagnostics: &'a mut Diagnostics,
    /// How many blocks are open.
    depth: usize,
}

struct Cursor {
    lexemes: Vec<Lexeme>,
    next: usize,
}

impl Cursor {
    fn peek(&self, ahead: usize) -> Option<&Lexeme> {
        self.lexemes.get(self.next + ahead)
    }

    /// Takes the next word out.
    fn word(&mut self) -> Option<Word> {
        let next = self.lexemes.get_mut(self.next)?;
        let Lexeme::Word(_) = next else {
            return None;
        };
        self.next += 1;
        match std::mem::replace(next, Lexeme::Newline) {
            Lexeme::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether what comes next can only stand outside any block: `vrrp_instance NAME {`.
    fn at_root_block(&self) -> bool {
        let Some(Lexeme::Word(word)) = self.peek(0) else {
            return false;
        };
        if !keywords::opens_root_block(&word.text) {
            return false;
        }
        (1..=4)
            .filter_map(|ahead| self.peek(ahead))
            .find(|lexeme| !matches!(lexeme, Lexeme::Word(_) | Lexeme::Newline))
            .is_some_and(|lexeme| matches!(lexeme, Lexeme::Open(_)))
    }
}

impl Parser<'_> {
    fn blocks(&mut self, mut cursor: Cursor) -> Vec<Node> {
        let mut nodes = Vec::new();
        while cursor.peek(0).is_some() {
            self.lines(&mut cursor, &mut nodes, true);
            if let Some(Lexeme::Close(span)) = cursor.peek(0) {
                self.diagnostics.push(
                    Diagnostic::error(span.clone(), "a closing brace without an opening one")
                        .help("remove it, or look for a `{` that is missing above"),
                );
                cursor.next += 1;
            }
        }
        nodes
    }

    /// Reads lines up to a closing brace, the end, or, inside a block, a block that cannot stand
    /// inside one.
    fn lines(&mut self, cursor: &mut Cursor, nodes: &mut Vec<Node>, root: bool) {
        let mut words: Vec<Word> = Vec::new();
        loop {
            if words.is_empty() && !root && cursor.at_root_block() {
                return;
            }
            if let Some(word) = cursor.word() {
                words.push(word);
                continue;
            }
            match cursor.peek(0).cloned() {
                None | Some(Lexeme::Close(_)) => return end_line(&mut words, nodes),
                Some(Lexeme::Newline | Lexeme::Word(_)) => {
                    cursor.next += 1;
                    end_line(&mut words, nodes);
                }
                Some(Lexeme::Unterminated(span)) => {
                    cursor.next += 1;
                    self.diagnostics.push(
                        Diagnostic::error(span, "this quotation does not end on its line")
                            .help("add the closing \""),
                    );
                }
                Some(Lexeme::Open(span)) => {
                    cursor.next += 1;
                    self.block(cursor, &mut words, nodes, span);
                }
            }
        }
    }

    /// Reads a block for the words before the brace, or for the line above where there are none.
    fn block(
        &mut self,
        cursor: &mut Cursor,
        words: &mut Vec<Word>,
        nodes: &mut Vec<Node>,
        open: Span,
    ) {
        let mut children = Vec::new();
        if self.depth >= MAX_DEPTH {
            self.diagnostics.push(
                Diagnostic::error(open, "blocks are nested too deeply")
                    .help("is a closing brace missing above? What follows is not read"),
            );
            cursor.next = cursor.lexemes.len();
            return;
        }
        self.depth += 1;
        self.lines(cursor, &mut children, false);
        self.depth -= 1;
        let closed = matches!(cursor.peek(0), Some(Lexeme::Close(_)));
        if closed {
            cursor.next += 1;
        } else {
            self.diagnostics.push(
                Diagnostic::error(open.clone(), "this block is never closed")
                    .help("add the missing `}`; what the block says is left out until then"),
            );
        }
        let words = std::mem::take(words);
        if !words.is_empty() {
            nodes.push(Node {
                words,
                block: Some(children),
                unclosed: !closed,
            });
            return;
        }
        match nodes.last_mut() {
            Some(owner) if owner.block.is_none() => {
                owner.block = Some(children);
                owner.unclosed = !closed;
            }
            _ => self.diagnostics.push(
                Diagnostic::error(open, "a block without a keyword")
                    .help("put the keyword it belongs to in front of the `{`"),
            ),
        }
    }
}

fn end_line(words: &mut Vec<Word>, nodes: &mut Vec<Node>) {
    if !words.is_empty() {
        nodes.push(Node {
            words: std::mem::take(words),
            block: None,
            unclosed: false,
        });
    }
}
