//! Command lines of scripts: split once, run as the right user, in a process group of their own.

use std::{fs, io, process::Stdio};

use nix::{
    sys::{
        signal::{SigSet, Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use thiserror::Error;
use tokio::process::Child;

use crate::{config::model::ScriptUser, handover};

/// Who runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: u32,
    gid: u32,
}

/// Why a script cannot be run.
#[derive(Debug, Error)]
pub enum CommandError {
    /// No such user.
    #[error("there is no user {0}")]
    NoUser(String),
    /// No such group.
    #[error("there is no group {0}")]
    NoGroup(String),
    /// The command line is broken.
    #[error("cannot split the command line: {0}")]
    Split(#[from] shell_words::ParseError),
    /// The command line is empty.
    #[error("the command line is empty")]
    Empty,
}

impl Identity {
    /// Whether that is root.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.uid == 0
    }

    /// User and group.
    #[must_use]
    pub const fn ids(self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// keepalived's order: the script's own `user`, then `script_user`, then the user
    /// `keepalived_script` if there is one, then whoever runs the daemon (`None`).
    ///
    /// # Errors
    ///
    /// A user or group that does not exist.
    pub fn resolve(
        own: Option<&ScriptUser>,
        default: Option<&ScriptUser>,
    ) -> Result<Option<Self>, CommandError> {
        let Some(named) = own.or(default) else {
            let user = uzers::get_user_by_name("keepalived_script");
            return Ok(user.map(|user| Self {
                uid: user.uid(),
                gid: user.primary_group_id(),
            }));
        };
        let user = uzers::get_user_by_name(&named.user)
            .ok_or_else(|| CommandError::NoUser(named.user.clone()))?;
        let gid = match &named.group {
            Some(group) => uzers::get_group_by_name(group)
                .ok_or_else(|| CommandError::NoGroup(group.clone()))?
                .gid(),
            None => user.primary_group_id(),
        };
        Ok(Some(Self {
            uid: user.uid(),
            gid,
        }))
    }
}

/// A command ready to run.
#[derive(Clone, Debug)]
pub struct Command {
    words: Vec<String>,
    /// The line needs a shell; `words` is the line alone.
    shell: bool,
    identity: Option<Identity>,
}

/// Characters that only a shell understands.
const SHELL_SYNTAX: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '~', '\n',
];

impl Command {
    /// Splits a command line as a shell would; one with shell syntax is given to `/bin/sh -c`.
    ///
    /// # Errors
    ///
    /// [`CommandError`] for a line that cannot be split, or is empty.
    pub fn new(line: &str, identity: Option<Identity>) -> Result<Self, CommandError> {
        let shell = line.contains(SHELL_SYNTAX);
        let words = if shell {
            vec![line.to_owned()]
        } else {
            shell_words::split(line)?
        };
        if words.is_empty() {
            return Err(CommandError::Empty);
        }
        Ok(Self {
            words,
            shell,
            identity,
        })
    }

    /// A command of words that are fixed.
    #[must_use]
    pub fn of_words(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            shell: false,
            identity: None,
        }
    }

    /// The words to execute, with more arguments behind the line's own. A shell gets them as its
    /// positional parameters and puts them behind the line.
    fn with_arguments(&self, more: &[&str]) -> Vec<String> {
        let more = more.iter().map(|word| (*word).to_owned());
        match self.words.first().filter(|_| self.shell) {
            Some(line) => {
                let line = if more.len() == 0 {
                    line.clone()
                } else {
                    format!("{line} \"$@\"")
                };
                let shell = ["/bin/sh".to_owned(), "-c".to_owned(), line, "sh".to_owned()];
                shell.into_iter().chain(more).collect()
            }
            None => self.words.iter().cloned().chain(more).collect(),
        }
    }

    /// Starts the command with more arguments behind its own. Its output goes nowhere; it leads a
    /// process group, so that whatever it starts can be ended with it.
    ///
    /// # Errors
    ///
    /// What the kernel says: not found, not executable, not permitted.
    pub fn start(&self, more: &[&str]) -> io::Result<Child> {
        self.prepare(more)?.spawn()
    }

    /// The same, with its output in pipes.
    ///
    /// # Errors
    ///
    /// As above.
    pub(super) fn start_heard(&self, more: &[&str]) -> io::Result<Child> {
        let mut command = self.prepare(more)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    fn prepare(&self, more: &[&str]) -> io::Result<tokio::process::Command> {
        let words = self.with_arguments(more);
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        for variable in NOT_FOR_SCRIPTS {
            command.env_remove(variable);
        }
        // SAFETY: the call is async-signal-safe, and nothing else happens between fork and exec.
        unsafe { command.pre_exec(let_signals_in) };
        if let Some(Identity { uid, gid }) = self.identity {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }
}

/// What could change how a script runs, and what is for the daemon alone.
const NOT_FOR_SCRIPTS: [&str; 7] = [
    "IFS",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    handover::VARIABLE,
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// A script is not to inherit what is held back here for a moment.
fn let_signals_in() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Signals a child's whole process group. A group that is gone already is as wanted.
pub(super) fn signal_group(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}

/// Whether a process of a child's group has not ended. Nobody may have waited for the child.
pub(super) fn group_lives(child: &Child) -> bool {
    let Some(group) = child.id() else {
        return false;
    };
    let first = Id::Pid(Pid::from_raw(group.cast_signed()));
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    if waitid(first, flags) == Ok(WaitStatus::StillAlive) {
        return true;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read_to_string(process.path().join("stat")).ok())
        .any(|stat| is_alive_in(&stat, group))
}

/// Whether a line of `/proc/PID/stat` is that of a process of the group that has not ended.
fn is_alive_in(stat: &str, group: u32) -> bool {
    // The name may have anything in it.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut words = rest.split_whitespace();
    let (state, _parent, of) = (words.next(), words.next(), words.next());
    of.and_then(|of| of.parse().ok()) == Some(group) && !matches!(state, Some("Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_group_are_told_by_their_stat() {
        assert!(is_alive_in("12 (sh) S 1 77 77 0", 77));
        assert!(is_alive_in("12 (a) b) (c) R 1 77 77 0", 77));
        assert!(!is_alive_in("12 (sh) Z 1 77 77 0", 77));
        assert!(!is_alive_in("12 (sh) S 77 12 12 0", 77));
        assert!(!is_alive_in("", 77));
    }

    #[test]
    fn only_shell_syntax_gets_a_shell() {
        let words = |line| Command::new(line, None).unwrap().with_arguments(&["x y"]);
        assert_eq!(
            words("/bin/check 'a b' c"),
            ["/bin/check", "a b", "c", "x y"]
        );
        assert_eq!(
            words("a | b"),
            ["/bin/sh", "-c", "a | b \"$@\"", "sh", "x y"]
        );
        assert!(matches!(Command::new("  ", None), Err(CommandError::Empty)));
        assert!(matches!(
            Command::new("'", None),
            Err(CommandError::Split(_))
        ));
    }

    #[test]
    fn unknown_users_are_named() {
        let user = ScriptUser {
            user: "no-such-user-here".to_owned(),
            group: None,
        };
        let error = Identity::resolve(Some(&user), None).unwrap_err();
        assert!(error.to_string().contains("no-such-user-here"));
    }
}
