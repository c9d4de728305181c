//! What is wrong with a configuration, where, and what to do about it.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};

use super::source::{Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing: the configuration means something its author may not expect.
    Lint,
    /// Something is ignored or replaced; the rest is served.
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
}

impl Diagnostics {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// All of them, in the order of the files.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut list: Vec<&Diagnostic> = self.list.iter().collect();
        list.sort_by_key(|diagnostic| (diagnostic.span.file, diagnostic.span.range.start));
        list
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// For people: the text underlined, with what is wrong and what to do.
    #[must_use]
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme);
        let mut out = String::new();
        let mut named: BTreeMap<usize, Arc<NamedSource<String>>> = BTreeMap::new();
        for diagnostic in self.sorted() {
            let place = sources.locate(&diagnostic.span);
            let mut report = MietteDiagnostic::new(format!("{place}: {}", diagnostic.message))
                .with_severity(diagnostic.severity.for_miette())
                .with_label(LabeledSpan::underline(diagnostic.span.range.clone()));
            if let Some(help) = &diagnostic.help {
                report = report.with_help(help);
            }
            let Some(source) = sources.get(diagnostic.span.file) else {
                continue;
            };
            let named = named
                .entry(diagnostic.span.file)
                .or_insert_with(|| Arc::new(NamedSource::new(&source.name, source.text.clone())));
            let report = Report::new(report).with_source_code(named.clone());
            if handler.render_report(&mut out, report.as_ref()).is_err() {
                // Formatting into a string fails only if a formatter does; the plain line will do.
                let _ = writeln!(out, "{}", plain(diagnostic, sources));
            }
        }
        out
    }

    /// For logs: one line each.
    #[must_use]
    pub fn lines(&self, sources: &Sources) -> Vec<(Severity, String)> {
        let line = |diagnostic: &&Diagnostic| (diagnostic.severity, plain(diagnostic, sources));
        self.sorted().iter().map(line).collect()
    }
}

fn plain(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let place = sources.locate(&diagnostic.span);
    let Diagnostic {
        severity,
        message,
        help,
        ..
    } = diagnostic;
    match help {
        Some(help) => format!("{place}: {}: {message} ({help})", severity.name()),
        None => format!("{place}: {}: {message}", severity.name()),
    }
}
