//! `vrrp_arbiter` with targets: whether enough of them pass.

use std::{fmt, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};

use super::{Probe, Ready};
use crate::health::{Identity, Outcome, command::CommandError};

/// Targets, and how many of them must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Whom to ask.
    pub targets: Vec<Probe>,
    /// How many must pass.
    pub needed: usize,
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of", self.needed)?;
        for (number, target) in self.targets.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma} {target}")?;
        }
        Ok(())
    }
}

/// Targets that can be asked.
#[derive(Clone, Debug)]
pub(in crate::health) struct Targets {
    list: Vec<(String, Ready)>,
    needed: usize,
}

impl Quorum {
    pub(super) fn ready(&self, identity: Option<Identity>) -> Result<Targets, CommandError> {
        let ready = |probe: &Probe| -> Result<_, CommandError> {
            Ok((probe.to_string(), probe.ready(identity)?))
        };
        Ok(Targets {
            list: self.targets.iter().map(ready).collect::<Result<_, _>>()?,
            needed: self.needed,
        })
    }
}

impl Targets {
    /// Asks all of them at once, and no longer than until the answer is clear.
    pub(super) async fn ask(&self, timeout: Duration) -> Outcome {
        let ask = async |(name, target): &(String, Ready)| {
            // What is left of a script ends in a task of its own.
            let run = Box::pin(target.ask(timeout)).await;
            (name.clone(), run.outcome)
        };
        let mut asked: FuturesUnordered<_> = self.list.iter().map(ask).collect();
        let (mut passed, mut failed) = (0, Vec::new());
        while let Some((name, outcome)) = asked.next().await {
            if outcome.success() {
                passed += 1;
            } else {
                failed.push(format!("{name}: {outcome}"));
            }
            if passed >= self.needed {
                let all = self.list.len();
                return Outcome::Passed(format!("{passed} of {all} pass, {} needed", self.needed));
            }
        }
        let why = failed.join("; ");
        if passed == 0 {
            return Outcome::Unreachable(why);
        }
        let all = self.list.len();
        Outcome::Failed(format!(
            "{passed} of {all} pass, {} needed: {why}",
            self.needed
        ))
    }
}
