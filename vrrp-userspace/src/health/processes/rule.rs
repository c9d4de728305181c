//! Which processes a `vrrp_track_process` counts, and how many there should be.

use std::{fs, time::Duration};

/// The kernel keeps so many characters of a name.
const COMM: usize = 15;

/// Which processes, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRule {
    /// `process`: its name, then parameters.
    pub words: Vec<String>,
    /// `param_match`.
    pub matching: ParamMatch,
    /// `full_command`.
    pub full_command: bool,
    /// `quorum`.
    pub quorum: usize,
    /// `quorum_max`.
    pub quorum_max: Option<usize>,
    /// `fork_delay`.
    pub fork_delay: Duration,
    /// `terminate_delay`.
    pub terminate_delay: Duration,
}

/// How parameters are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParamMatch {
    /// They are the same.
    #[default]
    Exact,
    /// A process may have more of them.
    Initial,
    /// As before, and the last one may be longer.
    Partial,
}

impl Default for ProcessRule {
    fn default() -> Self {
        Self {
            words: Vec::new(),
            matching: ParamMatch::Exact,
            full_command: false,
            quorum: 1,
            quorum_max: None,
            fork_delay: Duration::ZERO,
            terminate_delay: Duration::ZERO,
        }
    }
}

/// A process as `/proc` shows it.
pub(super) struct Process {
    pub(super) comm: String,
    pub(super) command_line: Vec<String>,
}

impl Process {
    /// `None` where there is no such process, or it is a zombie.
    pub(super) fn read(pid: u32) -> Option<Self> {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The state stands behind the name, which may have anything in it.
        let (_, rest) = stat.rsplit_once(')')?;
        if rest.trim_start().starts_with(['Z', 'X']) {
            return None;
        }
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0);
        let mut words: Vec<String> = words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        // Each word ends with a zero.
        words.pop();
        Some(Self {
            comm: comm.trim_end_matches('\n').to_owned(),
            command_line: words,
        })
    }
}

impl ProcessRule {
    /// Whether so many processes are as many as there should be.
    #[must_use]
    pub fn is_right(&self, count: usize) -> bool {
        count >= self.quorum && self.quorum_max.is_none_or(|most| count <= most)
    }

    pub(super) fn matches(&self, process: &Process) -> bool {
        let Some((name, parameters)) = self.words.split_first() else {
            return false;
        };
        let command = process.command_line.first().map_or("", String::as_str);
        let is_named = if self.full_command {
            command == name
        } else {
            let last = command.rsplit('/').next().unwrap_or(command);
            is_comm(&process.comm, name) || (!parameters.is_empty() && last == name)
        };
        if !is_named || (parameters.is_empty() && !self.full_command) {
            return is_named;
        }
        let given = process.command_line.get(1..).unwrap_or_default();
        match self.matching {
            ParamMatch::Exact => given == parameters,
            ParamMatch::Initial => given.starts_with(parameters),
            ParamMatch::Partial => match parameters.split_last() {
                None => true,
                Some((last, others)) => {
                    let next = given.get(others.len());
                    given.starts_with(others) && next.is_some_and(|word| word.starts_with(last))
                }
            },
        }
    }
}

/// The kernel cuts names off.
fn is_comm(comm: &str, name: &str) -> bool {
    comm == name || (comm.len() == COMM && name.starts_with(comm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(comm: &str, line: &[&str]) -> Process {
        Process {
            comm: comm.to_owned(),
            command_line: line.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    fn rule(words: &[&str], matching: ParamMatch, full_command: bool) -> ProcessRule {
        ProcessRule {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            matching,
            full_command,
            ..ProcessRule::default()
        }
    }

    #[test]
    fn names_and_parameters() {
        use ParamMatch::{Exact, Initial, Partial};
        let haproxy = process("haproxy", &["/usr/sbin/haproxy", "-W", "-f", "/etc/a.cfg"]);
        let rows = [
            (vec!["haproxy"], Exact, false, true),
            (vec!["haprox"], Exact, false, false),
            (vec!["haproxy", "-W"], Exact, false, false),
            (vec!["haproxy", "-W"], Initial, false, true),
            (
                vec!["haproxy", "-W", "-f", "/etc/a.cfg"],
                Exact,
                false,
                true,
            ),
            (vec!["haproxy", "-W", "-f", "/etc"], Initial, false, false),
            (vec!["haproxy", "-W", "-f", "/etc"], Partial, false, true),
            (vec!["haproxy", "-f"], Partial, false, false),
            (vec!["haproxy"], Initial, true, false),
            (vec!["/usr/sbin/haproxy"], Initial, true, true),
            (vec!["/usr/sbin/haproxy"], Exact, true, false),
        ];
        for (words, matching, full, expected) in rows {
            let found = rule(&words, matching, full).matches(&haproxy);
            assert_eq!(found, expected, "{words:?} {matching:?} {full}");
        }
        let long = process("a-very-long-nam", &["/bin/a-very-long-name-indeed"]);
        assert!(rule(&["a-very-long-name-indeed"], Exact, false).matches(&long));
        assert!(!rule(&["a-very-long-other"], Exact, false).matches(&long));
    }

    #[test]
    fn quorums() {
        let mut rule = rule(&["x"], ParamMatch::Exact, false);
        assert_eq!(
            [0, 1, 9].map(|count| rule.is_right(count)),
            [false, true, true]
        );
        rule.quorum_max = Some(1);
        assert_eq!(
            [0, 1, 2].map(|count| rule.is_right(count)),
            [false, true, false]
        );
    }
}
