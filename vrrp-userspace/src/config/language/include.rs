//! `include FILE` and its variants: which files a pattern names, and what is said where there is none.

use std::path::{Path, PathBuf};

use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    source::Span,
};

/// What is an error when files are included (`include_check`). Without any a missing file is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(super) struct Checks {
    /// What matches must be readable files.
    readable: bool,
    /// A plain name must be there.
    named: bool,
    /// A wildcard must match.
    wildcard: bool,
    /// Each word in braces must match.
    brace: bool,
}

const ALL: Checks = Checks {
    readable: true,
    named: true,
    wildcard: true,
    brace: true,
};

impl Checks {
    /// Those that hold before anything is said.
    pub(super) fn starting(all: bool) -> Self {
        if all { ALL } else { Self::default() }
    }

    /// `include_check [+|-]OPTION…`; no option means all of them. `None` names a word that is none.
    pub(super) fn changed<'a>(self, words: &[&'a str]) -> Result<Self, &'a str> {
        if words.is_empty() {
            return Ok(ALL);
        }
        let is_relative = words.iter().any(|word| word.starts_with(['+', '-']));
        let mut checks = if is_relative { self } else { Self::default() };
        let mut adds = true;
        for word in words {
            let option = word.trim_start_matches(['+', '-']);
            if *word != option {
                adds = word.starts_with('+');
            }
            match option {
                "" => continue,
                "readable" => checks.readable = adds,
                "match" => checks.named = adds,
                "wildcard_match" => checks.wildcard = adds,
                "brace_match" => checks.brace = adds,
                _ => return Err(word),
            }
            checks.readable |= adds;
        }
        Ok(checks)
    }

    /// For the variants of `include`; `None` where it is none.
    pub(super) fn of(self, keyword: &str) -> Option<Self> {
        let with = |change: fn(&mut Self)| {
            let mut checks = self;
            checks.readable = true;
            change(&mut checks);
            checks
        };
        Some(match keyword {
            "include" => self,
            "includer" => with(|_| {}),
            "includem" => with(|checks| checks.named = true),
            "includew" => with(|checks| checks.wildcard = true),
            "includeb" => with(|checks| checks.brace = true),
            "includea" => ALL,
            _ => return None,
        })
    }
}

/// The files that a pattern names, in order.
pub(super) fn find(
    pattern: &str,
    directory: &Path,
    checks: Checks,
    span: &Span,
    diagnostics: &mut Diagnostics,
) -> Vec<PathBuf> {
    let Some(alternatives) = alternatives(pattern) else {
        let what = "this pattern names too many files";
        diagnostics.push(Diagnostic::error(span.clone(), what).help("use fewer braces"));
        return Vec::new();
    };
    let has_braces = alternatives.len() > 1;
    let mut files = Vec::new();
    for alternative in alternatives {
        let full = directory.join(&alternative);
        let paths = match glob::glob_with(&pattern_in(directory, &alternative), AS_GLOB) {
            Ok(paths) => paths,
            Err(error) => {
                let what = format!("bad pattern {alternative}: {error}");
                let help = "* ? and [abc] stand for parts of a name";
                diagnostics.push(Diagnostic::error(span.clone(), what).help(help));
                continue;
            }
        };
        let before = files.len();
        let paths: Vec<PathBuf> = paths.filter_map(Result::ok).collect();
        if let [other] = paths.as_slice()
            && !other.is_file()
        {
            let what = format!("{} is no regular file", other.display());
            let help = "it is left out; a directory is included by DIRECTORY/*";
            diagnostics.push(Diagnostic::warning(span.clone(), what).help(help));
            continue;
        }
        files.extend(paths.into_iter().filter(|path| path.is_file()));
        if files.len() > before {
            continue;
        }
        let is_wild = alternative.contains(['*', '?', '[']);
        let is_error = (checks.brace && has_braces)
            || (checks.wildcard && is_wild)
            || (checks.named && !is_wild);
        let what = format!("no file matches {}", full.display());
        if is_error {
            let help = "include_check, or the kind of include, demands one";
            diagnostics.push(Diagnostic::error(span.clone(), what).help(help));
        } else if !is_wild {
            let help = "it is no error; includem would make it one";
            diagnostics.push(Diagnostic::warning(span.clone(), what).help(help));
        }
    }
    files
}

impl Checks {
    /// A file that matches and cannot be read.
    pub(super) fn unreadable(self, path: &Path, error: &std::io::Error, span: &Span) -> Diagnostic {
        let what = format!("{}: {error}", path.display());
        if self.readable {
            Diagnostic::error(span.clone(), what).help("check its permissions")
        } else {
            Diagnostic::warning(span.clone(), what)
                .help("it is left out; includer would make this an error")
        }
    }
}

/// As glob(3) does: `*` stands for no name that begins with a dot, and for no slash.
const AS_GLOB: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A pattern relative to a directory whose name is no pattern.
fn pattern_in(directory: &Path, pattern: &str) -> String {
    if Path::new(pattern).is_absolute() || directory.as_os_str().is_empty() {
        return pattern.to_owned();
    }
    let directory = glob::Pattern::escape(&directory.to_string_lossy());
    format!("{directory}/{pattern}")
}

/// More of them are a mistake.
const MAX_ALTERNATIVES: usize = 1000;

/// `a{b,c}` is `ab` and `ac`, as csh has it; `None` for too many.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let mut done: Vec<String> = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        if done.len() + open.len() > MAX_ALTERNATIVES {
            return None;
        }
        match first_braces(&next) {
            None => done.push(next),
            Some((before, choices, after)) => {
                let all = choices.iter().rev();
                open.extend(all.map(|choice| format!("{before}{choice}{after}")));
            }
        }
    }
    Some(done)
}

/// What stands before the first braces that are closed, between their commas, and behind them.
fn first_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let open = text.find('{')?;
    let mut depth = 0_usize;
    let mut choices = Vec::new();
    let mut from = open + 1;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let ends = depth == 0 || (depth == 1 && c == ',');
        if ends {
            choices.push(text.get(from..at)?);
            from = at + 1;
        }
        if depth == 0 {
            return Some((text.get(..open)?, choices, text.get(from..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_choices() {
        let all = |pattern| alternatives(pattern).expect("few");
        assert_eq!(all("a.conf"), ["a.conf"]);
        assert_eq!(
            all("{foo/{,cat,dog},bar}"),
            ["foo/", "foo/cat", "foo/dog", "bar"]
        );
        assert_eq!(all("x{a,b}{1,2}"), ["xa1", "xa2", "xb1", "xb2"]);
        assert_eq!(all("open{a,b"), ["open{a,b"]);
        assert!(alternatives(&"{a,b}".repeat(12)).is_none());
    }

    #[test]
    fn checks_are_added_and_removed() {
        let named = Checks::default().changed(&["match"]).expect("known");
        assert!(named.readable && named.named && !named.wildcard);
        let both = named
            .changed(&["+wildcard_match", "-match"])
            .expect("known");
        assert!(both.wildcard && !both.named && both.readable);
        assert_eq!(named.changed(&[]), Ok(ALL));
        assert_eq!(named.changed(&["often"]), Err("often"));
        assert_eq!(Checks::default().of("includea"), Some(ALL));
        assert_eq!(Checks::default().of("included"), None);
    }
}
