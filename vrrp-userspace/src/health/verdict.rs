//! `rise` and `fall`: results in a row that turn a check up or down.

/// The standing of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    rise: u32,
    fall: u32,
    up: Option<bool>,
    contrary: u32,
}

impl Verdict {
    /// A check without a result yet.
    #[must_use]
    pub const fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            up: None,
            contrary: 0,
        }
    }

    /// The same with a standing from before.
    #[must_use]
    pub const fn knowing(mut self, up: Option<bool>) -> Self {
        self.up = up;
        self
    }

    /// Whether the check is up; `None` before its first result.
    #[must_use]
    pub const fn up(&self) -> Option<bool> {
        self.up
    }

    /// How many results in a row have spoken against the standing.
    #[must_use]
    pub const fn contrary(&self) -> u32 {
        self.contrary
    }

    /// Takes a result and says whether the standing changed. The first result counts at once, as
    /// in keepalived; after that only an unbroken row does.
    pub fn record(&mut self, success: bool) -> bool {
        let Some(up) = self.up else {
            self.up = Some(success);
            return true;
        };
        if up == success {
            self.contrary = 0;
            return false;
        }
        self.contrary += 1;
        let needed = if success { self.rise } else { self.fall };
        if self.contrary < needed {
            return false;
        }
        self.contrary = 0;
        self.up = Some(success);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_result_counts_at_once() {
        for success in [true, false] {
            let mut verdict = Verdict::new(3, 3);
            assert!(verdict.record(success));
            assert_eq!(verdict.up(), Some(success));
        }
    }

    #[test]
    fn only_an_unbroken_row_counts() {
        let mut verdict = Verdict::new(2, 3);
        verdict.record(true);
        let changes: Vec<bool> = [false, false, true, false, false, false]
            .into_iter()
            .map(|success| verdict.record(success))
            .collect();
        assert_eq!(changes, [false, false, false, false, false, true]);
        assert_eq!(verdict.up(), Some(false));
        assert!(!verdict.record(true));
        assert!(!verdict.record(false), "the row was broken");
        assert!(!verdict.record(true));
        assert!(verdict.record(true));
    }
}
