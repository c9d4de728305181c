//! keepalived.conf as a language: what is done to its lines before their words mean anything
//! (keepalived.conf(5), "ADVANCED CONFIGURATION").
//!
//! Comments go first. A line that is left may be meant for other machines (`@ID`), define a name
//! (`$NAME=`), be there many times (`~SEQ`, `~LST`), name a file to read (`include`), or use names
//! (`${NAME}`). What comes out are words and braces that know where they stand in the file that
//! somebody wrote.

mod definitions;
mod include;
mod line;
mod repeat;
mod text;

use std::path::{Path, PathBuf};

use definitions::{Definitions, MAX_DEPTH, Replaced, Value, defines};
use include::Checks;
use line::{continued, lines, without_comment};
pub(super) use text::Text;

use super::{
    Reader,
    diagnostics::{Diagnostic, Diagnostics},
    lexer::{self, Lexeme},
    source::{Sources, Span, read_file},
};

/// What may come out of a configuration, so that a mistake in a repetition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines, and rounds of repetitions.
    pub lines: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lines: 2_000_000,
            bytes: 256 << 20,
        }
    }
}

/// Whether a line is `$NAME=VALUE`.
pub(super) fn is_definition(line: &str) -> bool {
    defines(line).is_some()
}

/// Reads a file and everything it includes.
pub(super) fn read(
    reader: &Reader,
    path: &Path,
    text: String,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Vec<Lexeme> {
    let mut expander = Expander {
        config_id: &reader.config_id,
        definitions: Definitions::new(&reader.config_id),
        sources,
        diagnostics,
        including: Vec::new(),
        checks: Checks::starting(reader.needs_every_file),
        left: reader.limits,
        lexemes: Vec::new(),
    };
    expander.file(path, text);
    expander.lexemes
}

/// How deep files may include files.
const MAX_FILES: usize = 32;

struct Expander<'a> {
    config_id: &'a str,
    definitions: Definitions,
    sources: &'a mut Sources,
    diagnostics: &'a mut Diagnostics,
    /// The files being read, the outermost first.
    including: Vec<PathBuf>,
    checks: Checks,
    left: Limits,
    lexemes: Vec<Lexeme>,
}

/// A definition of several lines that is being read.
struct Unfinished {
    name: String,
    lines: Vec<Text>,
}

impl Expander<'_> {
    fn file(&mut self, path: &Path, text: String) {
        // An editor's byte order mark is no part of the first keyword.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let lines: Vec<(usize, String)> = lines(&text).collect();
        let file = self.sources.add(path, text);
        self.including.push(canonical(path));
        let checks = self.checks;
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut unfinished: Option<Unfinished> = None;
        for (start, line) in lines {
            let line = without_comment(&line, file, start);
            // A line without anything on it does not end a definition.
            if line.as_str().is_empty() {
                continue;
            }
            unfinished = self.feed(unfinished, line, &directory);
        }
        if let Some(definition) = unfinished {
            let last = definition
                .lines
                .iter()
                .rfind(|line| !line.as_str().is_empty());
            let span = last
                .map(|line| line.whole_span(self.sources))
                .unwrap_or_default();
            let what = format!("the definition of ${} never ends", definition.name);
            let help = "its last line is the first without a `\\` at the end";
            self.diagnostics
                .push(Diagnostic::error(span, what).help(help));
            self.define(definition);
        }
        self.checks = checks;
        self.including.pop();
    }

    fn define(&mut self, Unfinished { name, lines }: Unfinished) {
        self.definitions.set(&name, Value::Written(lines.into()));
    }

    /// Deals with one line. Says where it begins a definition of several.
    fn line(&mut self, mut line: Text, directory: &Path) -> Option<Unfinished> {
        loop {
            if !self.may_go_on(&line) {
                return None;
            }
            line = self.if_meant_for_us(line)?;
            if let Some((name, start)) = defines(line.as_str()) {
                let name = name.to_owned();
                let value = line.slice(start..line.as_str().len()).trimmed();
                let (value, goes_on) = continued(value);
                let has_text = !value.as_str().is_empty();
                let lines = if has_text || !goes_on {
                    vec![value]
                } else {
                    Vec::new()
                };
                let definition = Unfinished { name, lines };
                if goes_on {
                    return Some(definition);
                }
                self.define(definition);
                return None;
            }
            if line.as_str().starts_with('~') && self.repeats(&line, directory) {
                return None;
            }
            if self.include(&line, directory) {
                return None;
            }
            match self
                .definitions
                .replace(line, directory, self.sources, &mut self.left)
            {
                Replaced::Nothing(line) => {
                    self.emit(&line);
                    return None;
                }
                Replaced::TooMuch(span) => {
                    self.say_too_large(span);
                    return None;
                }
                Replaced::Endless(span) => {
                    self.diagnostics.push(
                        Diagnostic::error(span, "these definitions stand for each other")
                            .help("a name cannot be part of what it stands for"),
                    );
                    return None;
                }
                Replaced::Lines(lines) => {
                    let mut lines: Vec<Text> = lines.into_iter().map(Text::trimmed).collect();
                    if lines.len() > 1 {
                        self.template(lines, directory);
                        return None;
                    }
                    line = lines.pop().unwrap_or_default();
                }
            }
        }
    }

    /// The lines that a name stands for: among them may be definitions of several lines again.
    fn template(&mut self, lines: Vec<Text>, directory: &Path) {
        let mut unfinished: Option<Unfinished> = None;
        for line in lines {
            unfinished = self.feed(unfinished, line, directory);
        }
        if let Some(definition) = unfinished {
            self.define(definition);
        }
    }

    /// Takes one more line, which may belong to a definition that is not finished; returns the one that is
    /// not finished then.
    fn feed(
        &mut self,
        unfinished: Option<Unfinished>,
        line: Text,
        directory: &Path,
    ) -> Option<Unfinished> {
        let Some(mut definition) = unfinished else {
            return self.line(line, directory);
        };
        let (line, goes_on) = continued(line);
        definition.lines.push(line);
        if goes_on {
            return Some(definition);
        }
        self.define(definition);
        None
    }

    /// `@ID` and `@^ID` at the start of a line: the rest of it, where it is for this configuration.
    fn if_meant_for_us(&self, mut line: Text) -> Option<Text> {
        while let Some(condition) = line.as_str().strip_prefix('@') {
            let end = condition
                .find(char::is_whitespace)
                .unwrap_or(condition.len());
            let id = condition.get(..end)?;
            let holds = match id.strip_prefix('^') {
                Some(id) => id != self.config_id,
                None => id == self.config_id,
            };
            if !holds {
                return None;
            }
            line = line.slice(1 + end..line.as_str().len()).trimmed();
        }
        (!line.as_str().is_empty()).then_some(line)
    }

    /// Goes through the rounds of a repetition; says whether the line begins with one.
    fn repeats(&mut self, line: &Text, directory: &Path) -> bool {
        let line = self.with_numbers(line, directory);
        let repetition = match repeat::read(line.as_str()) {
            None => return false,
            Some(Ok(repetition)) => repetition,
            Some(Err(why)) => {
                let end = line
                    .as_str()
                    .find(')')
                    .map_or(line.as_str().len(), |at| at + 1);
                let span = line.span(0..end, self.sources);
                let what = format!("this repeats nothing: {why}");
                let help =
                    "~SEQ(NAME, START, STEP, END) or ~LST(NAME, VALUE, …); the line is left out";
                self.diagnostics
                    .push(Diagnostic::error(span, what).help(help));
                return true;
            }
        };
        let rest = line.slice(repetition.rest..line.as_str().len()).trimmed();
        let head = line.span(0..repetition.rest, self.sources);
        if self.sources.depth(head.via) >= MAX_DEPTH {
            let what = "repetitions are nested too deeply";
            let help = "the line is left out";
            self.diagnostics
                .push(Diagnostic::error(head, what).help(help));
            return true;
        }
        if repetition.rounds.count() > self.left.lines {
            self.say_too_large(head);
            return true;
        }
        for round in repetition.rounds.iter() {
            if !self.may_go_on(&rest) {
                break;
            }
            let via = self.sources.expand(repeat::describe(&round), head.clone());
            for (name, value) in round {
                self.definitions.set(&name, Value::Counted(value));
            }
            if let Some(unfinished) = self.line(rest.by(via), directory) {
                self.define(unfinished);
            }
        }
        true
    }

    /// The start and the end of a repetition may be names.
    fn with_numbers(&mut self, line: &Text, directory: &Path) -> Text {
        let close = line.as_str().find(')').unwrap_or_default();
        let head = line.slice(0..close);
        if head.as_str().contains('$') {
            let replaced = self
                .definitions
                .replace(head, directory, self.sources, &mut self.left);
            if let Replaced::Lines(lines) = replaced
                && let [head] = lines.as_slice()
            {
                let mut whole = head.clone();
                whole.push(line, close..line.as_str().len());
                return whole;
            }
        }
        line.clone()
    }

    /// Follows an `include`; says whether the line was one.
    fn include(&mut self, line: &Text, directory: &Path) -> bool {
        let text = line.as_str();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (keyword, pattern) = text.split_at_checked(end).unwrap_or((text, ""));
        let Some(checks) = self.checks.of(keyword) else {
            return false;
        };
        let pattern = pattern.trim();
        let pattern = pattern.trim_matches('"');
        if pattern.is_empty() {
            let span = line.whole_span(self.sources);
            let what = format!("{keyword} needs a file name");
            let help = format!("{keyword} FILE");
            self.diagnostics
                .push(Diagnostic::error(span, what).help(help));
            return true;
        }
        let start = text.find(pattern).unwrap_or_default();
        let span = line.span(start..start + pattern.len(), self.sources);
        for path in include::find(pattern, directory, checks, &span, self.diagnostics) {
            if self.including.len() >= MAX_FILES {
                let what = "files include each other too deeply";
                self.diagnostics
                    .push(Diagnostic::error(span.clone(), what).help("it is skipped"));
                continue;
            }
            if self.including.contains(&canonical(&path)) {
                let what = format!("{} is being read already", path.display());
                let help = "a file cannot include itself, not even through others; it is skipped";
                self.diagnostics
                    .push(Diagnostic::error(span.clone(), what).help(help));
                continue;
            }
            match read_file(&path) {
                Ok(text) => self.file(&path, text),
                Err(error) => {
                    let problem = checks.unreadable(&path, &error, &span);
                    self.diagnostics.push(problem);
                }
            }
        }
        true
    }

    /// Cuts a finished line into words.
    fn emit(&mut self, line: &Text) {
        let before = self.lexemes.len();
        lexer::lex(line, self.sources, &mut self.lexemes);
        self.lexemes.push(Lexeme::Newline);
        self.look_for_settings(before);
    }

    /// `include_check` and `random_seed` are about the lines that follow.
    fn look_for_settings(&mut self, from: usize) {
        let is_one = |word: &str| matches!(word, "include_check" | "random_seed");
        let words: Vec<&lexer::Word> = self
            .lexemes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .filter_map(|lexeme| match lexeme {
                Lexeme::Word(word) => Some(word),
                _ => None,
            })
            .skip_while(|word| !is_one(&word.text))
            .collect();
        let Some((keyword, arguments)) = words.split_first() else {
            return;
        };
        let texts: Vec<&str> = arguments.iter().map(|word| &*word.text).collect();
        if keyword.text == "random_seed" {
            if let Some(seed) = texts.first().and_then(|text| text.parse().ok()) {
                self.definitions.seed(seed);
            }
            return;
        }
        match self.checks.changed(&texts) {
            Ok(checks) => self.checks = checks,
            Err(wrong) => {
                let found = arguments.iter().find(|word| word.text == wrong);
                let span = found.map(|word| word.span.clone()).unwrap_or_default();
                let what = format!("include_check cannot be {wrong}");
                let help = "readable, match, wildcard_match, brace_match, each with + or - in front or not";
                self.diagnostics
                    .push(Diagnostic::error(span, what).help(help));
            }
        }
    }

    /// Whether there is room for one more line; told once where there is none.
    fn may_go_on(&mut self, line: &Text) -> bool {
        if self.left.lines == 0 {
            return false;
        }
        self.left.lines -= 1;
        let bytes = self.left.bytes.checked_sub(line.as_str().len());
        if let Some(bytes) = bytes
            && self.left.lines > 0
        {
            self.left.bytes = bytes;
            return true;
        }
        let span = line.whole_span(self.sources);
        self.say_too_large(span);
        false
    }

    fn say_too_large(&mut self, span: Span) {
        self.left.lines = 0;
        self.diagnostics.push(
            Diagnostic::error(span, "the configuration is too large")
                .help("look at the repetitions and definitions around; what follows is not read"),
        );
    }
}

/// One name per file, whatever way leads to it.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests;
