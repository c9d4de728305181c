//! What a check of a configuration comes to, with the exit codes of `keepalived -t` (keepalived(8)).

use super::{Loaded, diagnostics::Severity};

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It means what it says.
    Fine,
    /// No instance of it can be served.
    CannotRun,
    /// It has errors, or keywords that nobody knows; the rest is served.
    HasErrors,
    /// Scripts run as root, and nothing looks whether others can change them
    /// (`enable_script_security`).
    Insecure,
}

impl Verdict {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::CannotRun => 3,
            Self::HasErrors => 4,
            Self::Insecure => 5,
        }
    }
}

impl Loaded {
    /// What it comes to. With `strict` a warning is as bad as an error.
    #[must_use]
    pub fn verdict(&self, strict: bool) -> Verdict {
        let Self {
            config,
            diagnostics,
            ..
        } = self;
        let has_warnings = diagnostics.count(Severity::Warning) > 0;
        let has_errors = diagnostics.count(Severity::Error) > 0 || diagnostics.has_unknown();
        if config.instances.is_empty() {
            Verdict::CannotRun
        } else if has_errors || (strict && has_warnings) {
            Verdict::HasErrors
        } else if self.diagnostics.has_insecure() {
            Verdict::Insecure
        } else {
            Verdict::Fine
        }
    }
}
