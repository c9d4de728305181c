//! What is wrong with a configuration, where, and what to do about it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};

use serde::Serialize;

use super::source::{Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing: the configuration means something its author may not expect.
    Lint,
    /// Something is ignored or replaced, or is not safe; the rest is served.
    Warning,
    /// What it stands in cannot be served.
    Error,
}

/// One problem.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    fn new(severity: Severity, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity,
            span,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span, message)
    }

    pub(super) fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span, message)
    }

    pub(super) fn lint(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Lint, span, message)
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    const fn for_miette(self) -> miette::Severity {
        match self {
            Self::Lint => miette::Severity::Advice,
            Self::Warning => miette::Severity::Warning,
            Self::Error => miette::Severity::Error,
        }
    }
}

/// Every problem of a configuration.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// How many there are at each place of a file: what stands there may be used thousands of times.
    at: HashMap<(usize, (usize, usize)), There>,
    counts: BTreeMap<Severity, usize>,
    /// A keyword is nobody's.
    has_unknown: bool,
    /// A script runs as root, and nothing looks at it.
    has_insecure: bool,
    /// That load balancing is skipped was said.
    skips_load_balancing: bool,
}

/// What is said of one place.
#[derive(Debug, Default)]
struct There {
    told: Vec<String>,
    /// How many more there are, repetitions included.
    more: usize,
}

/// A message is not longer, whatever word it quotes.
const LONGEST: usize = 300;
/// So many are told of one place.
const PER_PLACE: usize = 3;
/// So many of the expansions around a place are shown.
const SHOWN_EXPANSIONS: usize = 4;

/// A problem for programs.
#[derive(Debug, Serialize)]
pub struct Told<'a> {
    severity: Severity,
    file: &'a str,
    line: usize,
    column: usize,
    /// The text that is underlined.
    text: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    /// How the text came into the configuration, the innermost first: `$NAME at file:line:column`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    by: Vec<String>,
    /// How many problems there are at the same place that are not told.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Diagnostics {
    pub(super) fn push(&mut self, mut diagnostic: Diagnostic) {
        if let Some((end, _)) = diagnostic.message.char_indices().nth(LONGEST) {
            diagnostic.message.truncate(end);
            diagnostic.message.push('…');
        }
        *self.counts.entry(diagnostic.severity).or_default() += 1;
        let Span { file, range, .. } = diagnostic.span;
        let there = self.at.entry((file, range)).or_default();
        let is_new = !there.told.contains(&diagnostic.message);
        if is_new && there.told.len() < PER_PLACE {
            there.told.push(diagnostic.message.clone());
            self.list.push(diagnostic);
        } else {
            there.more += 1;
        }
    }

    /// A keyword that nobody knows.
    pub(super) fn push_unknown(&mut self, diagnostic: Diagnostic) {
        self.has_unknown = true;
        self.push(diagnostic);
    }

    /// A script that runs as root without anybody looking whether others can change it; said once.
    pub(super) fn note_insecure(&mut self, span: Span) {
        if !std::mem::replace(&mut self.has_insecure, true) {
            let what = "scripts run as root, and nothing looks whether others can change them";
            let help = "say enable_script_security in global_defs, or name a script_user";
            self.push(Diagnostic::warning(span, what).help(help));
        }
    }

    /// Whether a keyword is nobody's.
    #[must_use]
    pub const fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// Whether a script runs as root without anybody looking at it.
    #[must_use]
    pub const fn has_insecure(&self) -> bool {
        self.has_insecure
    }

    /// Says once that what is about load balancing is another program's business.
    pub(super) fn skip_load_balancing(&mut self, span: Span) {
        if !std::mem::replace(&mut self.skips_load_balancing, true) {
            let what =
                "virtual_server and its like are skipped: xvrrp does VRRP, not load balancing";
            self.push(Diagnostic::lint(span, what));
        }
    }

    /// Those that are told, in the order of the files.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut list: Vec<&Diagnostic> = self.list.iter().collect();
        list.sort_by_key(|diagnostic| (diagnostic.span.file, diagnostic.span.range.0));
        list
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.counts.get(&severity).copied().unwrap_or_default()
    }

    /// For programs.
    #[must_use]
    pub fn told<'a>(&'a self, sources: &'a Sources) -> Vec<Told<'a>> {
        let mut told = Vec::new();
        for (diagnostic, more) in self.with_more() {
            let span = &diagnostic.span;
            let Some(source) = sources.get(span.file) else {
                continue;
            };
            let (line, column) = sources.position(span).unwrap_or_default();
            told.push(Told {
                severity: diagnostic.severity,
                file: &source.name,
                line,
                column,
                text: source.text.get(span.bytes()).unwrap_or_default(),
                message: &diagnostic.message,
                help: diagnostic.help.as_deref(),
                by: trail(diagnostic, sources),
                more,
            });
        }
        told
    }

    /// Each with how many more there are at its place, which the last that is told says.
    fn with_more(&self) -> Vec<(&Diagnostic, usize)> {
        let mut seen: HashMap<(usize, (usize, usize)), usize> = HashMap::new();
        let mut all = Vec::new();
        for diagnostic in self.sorted() {
            let key = (diagnostic.span.file, diagnostic.span.range);
            let number = seen.entry(key).or_default();
            *number += 1;
            let place = self.at.get(&key);
            let ending = place.filter(|place| place.told.len() == *number);
            all.push((diagnostic, ending.map_or(0, |place| place.more)));
        }
        all
    }

    /// For people: the text underlined, with what is wrong and what to do.
    #[must_use]
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        self.render_from(Severity::Lint, sources, color)
    }

    /// The same of this severity and worse.
    #[must_use]
    pub fn render_from(&self, least: Severity, sources: &Sources, color: bool) -> String {
        let theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme);
        let mut out = String::new();
        let mut named: BTreeMap<usize, Arc<NamedSource<String>>> = BTreeMap::new();
        for (diagnostic, more) in self.with_more() {
            let source = sources.get(diagnostic.span.file);
            let Some(source) = source.filter(|_| diagnostic.severity >= least) else {
                continue;
            };
            let named = named
                .entry(diagnostic.span.file)
                .or_insert_with(|| Arc::new(NamedSource::new(&source.name, source.text.clone())));
            let report = Report::new(report(diagnostic, more, sources));
            let report = report.with_source_code(named.clone());
            if handler.render_report(&mut out, report.as_ref()).is_err() {
                // Formatting into a string fails only if a formatter does; the plain line will do.
                let _ = writeln!(out, "{}", plain(diagnostic, more, sources));
            }
        }
        out
    }

    /// For logs: one line each.
    #[must_use]
    pub fn lines(&self, sources: &Sources) -> Vec<(Severity, String)> {
        let line = |(diagnostic, more): (&Diagnostic, usize)| {
            (diagnostic.severity, plain(diagnostic, more, sources))
        };
        self.with_more().into_iter().map(line).collect()
    }
}

/// With a label at its place, and one wherever that text is used in the same file.
fn report(diagnostic: &Diagnostic, more: usize, sources: &Sources) -> MietteDiagnostic {
    let Diagnostic { span, message, .. } = diagnostic;
    let place = sources.locate(span);
    let mut labels = vec![LabeledSpan::underline(span.bytes())];
    let (mut elsewhere, mut shown) = (Vec::new(), Vec::new());
    for expansion in sources.trail(span).take(SHOWN_EXPANSIONS) {
        let label = match expansion.what.strip_prefix('$') {
            Some(_) => "used here".to_owned(),
            None => format!("with {}", expansion.what),
        };
        let place = (expansion.at.file, expansion.at.range);
        if shown.contains(&place) {
            continue;
        }
        shown.push(place);
        if expansion.at.file == span.file {
            labels.push(LabeledSpan::at(expansion.at.bytes(), label));
        } else {
            let at = sources.locate(&expansion.at);
            elsewhere.push(format!("by {} at {at}", expansion.what));
        }
    }
    let mut report = MietteDiagnostic::new(format!("{place}: {message}"))
        .with_severity(diagnostic.severity.for_miette())
        .with_labels(labels);
    let mut help: Vec<String> = diagnostic.help.iter().cloned().collect();
    help.extend(elsewhere);
    if more > 0 {
        help.push(format!("{more} more at this place"));
    }
    if !help.is_empty() {
        report = report.with_help(help.join("\n"));
    }
    report
}

/// How the text came into the configuration.
fn trail(diagnostic: &Diagnostic, sources: &Sources) -> Vec<String> {
    let trail = sources.trail(&diagnostic.span).take(SHOWN_EXPANSIONS);
    trail
        .map(|expansion| format!("{} at {}", expansion.what, sources.locate(&expansion.at)))
        .collect()
}

fn plain(diagnostic: &Diagnostic, more: usize, sources: &Sources) -> String {
    let place = sources.locate(&diagnostic.span);
    let Diagnostic {
        severity,
        message,
        help,
        ..
    } = diagnostic;
    let mut line = format!("{place}: {}: {message}", severity.name());
    // Writing into a string does not fail.
    if let Some(help) = help {
        let _ = write!(line, " ({help})");
    }
    let trail = trail(diagnostic, sources);
    if !trail.is_empty() {
        let _ = write!(line, " [by {}]", trail.join(", "));
    }
    if more > 0 {
        let _ = write!(line, " [{more} more at this place]");
    }
    line
}
