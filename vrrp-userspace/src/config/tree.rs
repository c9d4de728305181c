//! Words to nested blocks, `include` followed. A brace may stand on the keyword's line, on its own,
//! or with the whole block on one line.

use std::path::{Path, PathBuf};

use super::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    lexer::{Lexeme, Word, lex},
    source::{Sources, Span},
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

pub(super) fn parse(
    path: &Path,
    text: String,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Vec<Node> {
    let mut parser = Parser {
        sources,
        diagnostics,
        including: Vec::new(),
        depth: 0,
    };
    parser.file(path, text)
}

struct Parser<'a> {
    sources: &'a mut Sources,
    diagnostics: &'a mut Diagnostics,
    /// The files being read, the outermost first.
    including: Vec<PathBuf>,
    /// How many blocks are open.
    depth: usize,
}

struct Cursor {
    lexemes: Vec<Lexeme>,
    next: usize,
    directory: PathBuf,
}

impl Cursor {
    fn peek(&self, ahead: usize) -> Option<&Lexeme> {
        self.lexemes.get(self.next + ahead)
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
    fn file(&mut self, path: &Path, text: String) -> Vec<Node> {
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        // An editor's byte order mark is no part of the first keyword.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let file = self.sources.add(path, text);
        self.including.push(canonical(path));
        let lexemes = self.sources.get(file).map(|source| lex(file, &source.text));
        let mut cursor = Cursor {
            lexemes: lexemes.unwrap_or_default(),
            next: 0,
            directory,
        };
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
        self.including.pop();
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
            match cursor.peek(0).cloned() {
                None | Some(Lexeme::Close(_)) => return self.end_line(cursor, &mut words, nodes),
                Some(Lexeme::Word(word)) => {
                    words.push(word);
                    cursor.next += 1;
                }
                Some(Lexeme::Newline) => {
                    cursor.next += 1;
                    self.end_line(cursor, &mut words, nodes);
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

    fn end_line(&mut self, cursor: &Cursor, words: &mut Vec<Word>, nodes: &mut Vec<Node>) {
        if words.is_empty() {
            return;
        }
        let node = Node {
            words: std::mem::take(words),
            block: None,
            unclosed: false,
        };
        if node.keyword() == "include" {
            self.include(cursor, &node, nodes);
        } else {
            nodes.push(node);
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

    /// `include PATTERN`, relative to the including file. A pattern without a file is no error.
    fn include(&mut self, cursor: &Cursor, node: &Node, nodes: &mut Vec<Node>) {
        let Some(word) = node.arguments().first() else {
            self.diagnostics.push(
                Diagnostic::error(node.span(), "include needs a file name").help("include FILE"),
            );
            return;
        };
        let pattern = cursor.directory.join(&word.text);
        let paths = match glob::glob(&pattern.to_string_lossy()) {
            Ok(paths) => paths,
            Err(error) => {
                self.diagnostics.push(Diagnostic::error(
                    word.span.clone(),
                    format!("bad pattern: {error}"),
                ));
                return;
            }
        };
        let mut any = false;
        for path in paths.filter_map(Result::ok).filter(|path| path.is_file()) {
            any = true;
            if self.including.contains(&canonical(&path)) {
                self.diagnostics.push(
                    Diagnostic::error(
                        word.span.clone(),
                        format!("{} is being read already", path.display()),
                    )
                    .help("a file cannot include itself, not even through others; it is skipped"),
                );
                continue;
            }
            match std::fs::read(&path) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    nodes.extend(self.file(&path, text));
                }
                Err(error) => self.diagnostics.push(
                    Diagnostic::error(word.span.clone(), format!("{}: {error}", path.display()))
                        .help("the file exists and cannot be read; check its permissions"),
                ),
            }
        }
        if !any {
            self.diagnostics.push(Diagnostic::warning(
                word.span.clone(),
                format!("no file matches {}", pattern.display()),
            ));
        }
    }
}

/// One name per file, whatever way leads to it.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
