//! `xvrrp fmt`: the layout of a file, with everything that is said in it, comments too, left as it is.

use super::{language::is_definition, lexer::is_blank};

/// How far a block is moved in.
const INDENT: usize = 4;

/// A file in its layout: blocks moved in by four, an opening brace behind its keyword, a closing one on
/// a line of its own, one space between words, one empty line at most, comments where they were. It means
/// what it meant: what acts on whole lines (`@ID`, `$NAME`, `~SEQ`, `include`) is only moved in.
#[must_use]
pub fn format(text: &str) -> String {
    let mut out = Writer::default();
    let mut in_definition = false;
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let line = line.trim();
        let (code, comment) = split_comment(line);
        if line.is_empty() {
            out.blank();
        } else if code.is_empty() {
            out.pieces(&[Piece::Comment(line)]);
        } else if in_definition || is_verbatim(code) {
            out.verbatim(line, code);
            in_definition = (in_definition || starts_definition(code)) && code.ends_with('\\');
        } else {
            let mut pieces = words(code);
            pieces.extend(comment.map(Piece::Comment));
            out.pieces(&pieces);
        }
    }
    out.finish()
}

/// What a line is made of.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Word(&'a str),
    Open,
    Close,
    /// With the `#` or `!`.
    Comment(&'a str),
}

/// Lines that are taken as they are: those that are for some machines, define or repeat something, or name a
/// file; and those with a `\`, which may be part of a word with white space in it.
fn is_verbatim(code: &str) -> bool {
    code.starts_with(['@', '$', '~']) || code.starts_with("include") || code.contains('\\')
}

/// `$NAME=`, whatever machines it is for.
fn starts_definition(code: &str) -> bool {
    let mut rest = code;
    while rest.starts_with('@') {
        let (_, behind) = rest.split_once(char::is_whitespace).unwrap_or_default();
        rest = behind.trim_start();
    }
    is_definition(rest)
}

/// The comment at the end of a line begins with `#` or `!` outside of `"`, not behind a `\`.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '#' | '!' if !quoted && !escaped => {
                let (code, comment) = line.split_at(at);
                return (code.trim_end(), Some(comment));
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (line, None)
}

/// Words with their quotation marks; a quotation or `${NAME}` is never taken apart.
fn words(code: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    let mut in_name = false;
    let mut escaped = false;
    let mut before = ' ';
    for (at, c) in code.char_indices() {
        let is_break = quote.is_none() && !in_name && (is_blank(c) || matches!(c, '{' | '}'));
        let opens_name = c == '{' && before == '$' && quote.is_none();
        if is_break && !opens_name {
            pieces.extend(
                start
                    .take()
                    .and_then(|from| code.get(from..at))
                    .map(Piece::Word),
            );
            match c {
                '{' => pieces.push(Piece::Open),
                '}' => pieces.push(Piece::Close),
                _ => {}
            }
        } else {
            start.get_or_insert(at);
            match (quote, c) {
                (None, '"' | '\'') if !escaped => quote = Some(c),
                (Some(open), close) if open == close && !escaped => quote = None,
                _ => {}
            }
            in_name = (in_name && c != '}') || opens_name;
        }
        escaped = c == '\\' && !escaped;
        before = c;
    }
    pieces.extend(start.and_then(|from| code.get(from..)).map(Piece::Word));
    pieces
}

#[derive(Default)]
struct Writer {
    lines: Vec<String>,
    depth: usize,
    /// The depth of a line that has opened a block and goes on.
    held: Option<usize>,
    /// The line before may get a brace that stands alone.
    takes_brace: bool,
    /// An empty line is due before the next one.
    wants_blank: bool,
}

impl Writer {
    fn blank(&mut self) {
        self.wants_blank = !self.lines.is_empty();
    }

    fn pieces(&mut self, pieces: &[Piece<'_>]) {
        let mut line = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Word(word) => {
                    if !line.is_empty() {
                        line.push(' ');
                    }
                    line.push_str(word);
                }
                Piece::Open => {
                    self.open(&mut line);
                    self.held = Some(self.depth);
                    self.hold_the_line(&mut line, pieces.get(index + 1));
                    self.depth += 1;
                }
                Piece::Close => {
                    self.push(&mut line);
                    self.depth = self.depth.saturating_sub(1);
                    // Nothing stands between a block and its end.
                    self.wants_blank = false;
                    line.push('}');
                    self.hold_the_line(&mut line, pieces.get(index + 1));
                }
                Piece::Comment(comment) => {
                    if !line.is_empty() {
                        line.push_str("  ");
                    }
                    line.push_str(comment);
                }
            }
        }
        let is_plain = matches!(pieces.last(), Some(Piece::Word(_)));
        self.push(&mut line);
        self.takes_brace = is_plain;
    }

    /// A line as it is, moved in as its braces ask for.
    fn verbatim(&mut self, line: &str, code: &str) {
        let pieces = words(code);
        let closes_first = matches!(pieces.first(), Some(Piece::Close));
        if closes_first {
            self.depth = self.depth.saturating_sub(1);
        }
        self.push(&mut line.to_owned());
        let opened = pieces.iter().filter(|piece| **piece == Piece::Open).count();
        let closed = pieces
            .iter()
            .filter(|piece| **piece == Piece::Close)
            .count();
        let closed = closed - usize::from(closes_first);
        self.depth = (self.depth + opened).saturating_sub(closed);
        self.takes_brace = false;
    }

    /// What goes on the same line as a brace: a comment, or what would mean something else on a line of its own.
    fn hold_the_line(&mut self, line: &mut String, next: Option<&Piece<'_>>) {
        let holds = match next {
            Some(Piece::Comment(_)) => true,
            Some(Piece::Word(word)) => is_verbatim(word),
            _ => false,
        };
        if !holds {
            self.push(line);
        }
    }

    /// A brace on a line of its own belongs behind the words of the line above.
    fn open(&mut self, line: &mut String) {
        if !line.is_empty() {
            line.push_str(" {");
            return;
        }
        let may_join = self.takes_brace && !self.wants_blank;
        line.push('{');
        let Some(above) = self.lines.last().filter(|_| may_join) else {
            return;
        };
        let joined = format!("{} {{", above.trim_start());
        // A quotation that does not end would swallow it.
        if words(&joined).last() == Some(&Piece::Open) {
            *line = joined;
            self.lines.pop();
        }
    }

    fn push(&mut self, line: &mut String) {
        if line.is_empty() {
            return;
        }
        if std::mem::take(&mut self.wants_blank) && !self.after_open() {
            self.lines.push(String::new());
        }
        self.takes_brace = false;
        let depth = self.held.take().unwrap_or(self.depth);
        let indent = " ".repeat(depth * INDENT);
        self.lines.push(format!("{indent}{line}"));
        line.clear();
    }

    /// Nothing stands between an opening brace and what it opens.
    fn after_open(&self) -> bool {
        self.lines.last().is_some_and(|line| line.ends_with('{'))
    }

    fn finish(self) -> String {
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_for_every_layout() {
        let text = "\u{feff}! head\n\n\nglobal_defs\n{\nrouter_id   a # who\n}\nvrrp_instance X {interface eth0\n\n\
                    virtual_ipaddress { 10.0.0.1/24   dev eth1\n}\n @main  priority 5 ! five\n  script \"a  {b} # c\"\n\n}\n";
        let wanted = "! head\n\nglobal_defs {\n    router_id a  # who\n}\nvrrp_instance X {\n    interface eth0\n\n    \
                      virtual_ipaddress {\n        10.0.0.1/24 dev eth1\n    }\n    @main  priority 5 ! five\n    \
                      script \"a  {b} # c\"\n}\n";
        assert_eq!(format(text), wanted);
        assert_eq!(format(wanted), wanted);
    }

    #[test]
    fn what_acts_on_whole_lines_is_only_moved_in() {
        for text in [
            "$A=  x   y {\n",
            "$T= \\\nvrrp_instance V_${N} { \\\n    virtual_ipaddress { 10.0.0.1 } \\\n    a ${N}  b \\\n}\n~SEQ(N, 1,  3)  $T\n${T}\n",
            "a { ~SEQ(N,1,2) b\n}\n",
            "a { @main b\n}\n",
            "a { $A=3\n}\n",
            "a { include b\n}\n",
            "~SEQ(N,1,2) a\n{\n    b\n}\n",
            "$A=b\n{\n    c\n}\n",
            "@main a\n@other b\n{\n    c\n}\n",
            "@main ~LST({A, B}, {1,2})  x\n",
            "@main track { eth1   }\n",
            "include  conf.d/{a,b}.conf\n",
            "script /bin/a\\  b\n",
            "a b\\\n",
        ] {
            assert_eq!(format(text), text);
        }
    }

    #[test]
    fn a_comment_keeps_a_brace_away() {
        assert_eq!(format("a\nb { { c\n"), "a\nb {\n    {\n        c\n");
        assert_eq!(format("a \"b\n{\n"), "a \"b\n{\n");
        let text = "a # b\n{\nc\n}\n";
        assert_eq!(
            format("a\n{ {\nb\n}\n}\n"),
            "a {\n    {\n        b\n    }\n}\n"
        );
        assert_eq!(format(text), "a  # b\n{\n    c\n}\n");
    }
}
