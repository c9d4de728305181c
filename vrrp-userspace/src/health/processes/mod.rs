//! `vrrp_track_process`: how many processes of a name there are. The kernel tells of every process that
//! begins and ends (proc connector); where it does not (network namespaces, containers), `/proc` is read
//! every half second.

mod connector;
mod rule;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};

use super::Turned;
use crate::config::model::TrackKind;
use connector::{Connector, News};
use rule::Process;
pub use rule::{ParamMatch, ProcessRule};

/// How often `/proc` is read where nobody tells us.
const PERIOD: Duration = Duration::from_millis(500);

/// What is known of the processes of every rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// How we know.
    pub source: String,
    /// By name of the rule.
    pub rules: BTreeMap<String, Standing>,
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many processes match.
    pub count: usize,
    /// Whether that is as it should be, delays considered.
    pub up: bool,
}

/// Counts processes once; standings that are known already turn only after their delays.
#[must_use]
pub fn count(rules: &[(String, ProcessRule)], known: &Processes) -> Processes {
    let mut census = Census::new(rules.to_vec(), known);
    census.take();
    census.judge(Instant::now());
    Processes {
        source: String::new(),
        rules: census.standings(),
    }
}

/// Counts processes for ever. `changed` gets the name of every rule whose standing turns; what is known
/// already of one is in `state`.
pub async fn watch(
    rules: Vec<(String, ProcessRule)>,
    state: watch::Sender<Processes>,
    changed: mpsc::UnboundedSender<Turned>,
) {
    let connector = Connector::listen();
    let source = match &connector {
        Ok(_) => "the kernel tells".to_owned(),
        Err(why) => format!("/proc is read every {PERIOD:?}: {why}"),
    };
    let mut connector = connector.ok();
    let mut census = Census::new(rules, &state.borrow());
    census.take();
    let mut ticks = time::interval(PERIOD);
    loop {
        let now = Instant::now();
        let turned = census.judge(now);
        state.send_replace(Processes {
            source: source.clone(),
            rules: census.standings(),
        });
        for name in turned {
            if changed.send((TrackKind::Process, name)).is_err() {
                return;
            }
        }
        let due = census.due();
        tokio::select! {
            news = connector::next(&mut connector) => match news {
                News::Changed(pid) => census.look_at(pid),
                News::Ended(pid) => census.forget(pid),
                News::Lost => census.take(),
            },
            _ = ticks.tick(), if connector.is_none() => census.take(),
            () = until(due) => {}
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Every process that matches something.
struct Census {
    rules: Vec<Counted>,
    /// The rules that a process matches, by their place.
    matching: HashMap<u32, Vec<usize>>,
}

struct Counted {
    name: String,
    rule: ProcessRule,
    count: usize,
    /// `None` before the first census.
    up: Option<bool>,
    /// The count says otherwise since then.
    contrary_since: Option<Instant>,
}

impl Census {
    fn new(rules: Vec<(String, ProcessRule)>, known: &Processes) -> Self {
        let counted = |(name, rule): (String, ProcessRule)| Counted {
            up: known.rules.get(&name).map(|standing| standing.up),
            name,
            rule,
            count: 0,
            contrary_since: None,
        };
        Self {
            rules: rules.into_iter().map(counted).collect(),
            matching: HashMap::new(),
        }
    }

    /// Counts all processes there are.
    fn take(&mut self) {
        self.matching.clear();
        for counted in &mut self.rules {
            counted.count = 0;
        }
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for pid in pids.collect::<Vec<u32>>() {
            self.look_at(pid);
        }
    }

    fn look_at(&mut self, pid: u32) {
        self.forget(pid);
        let Some(process) = Process::read(pid) else {
            return;
        };
        let rules = self.rules.iter().enumerate();
        let matching = rules.filter(|(_, counted)| counted.rule.matches(&process));
        let matching: Vec<usize> = matching.map(|(at, _)| at).collect();
        for at in &matching {
            if let Some(counted) = self.rules.get_mut(*at) {
                counted.count += 1;
            }
        }
        if !matching.is_empty() {
            self.matching.insert(pid, matching);
        }
    }

    fn forget(&mut self, pid: u32) {
        for at in self.matching.remove(&pid).unwrap_or_default() {
            if let Some(counted) = self.rules.get_mut(at) {
                counted.count = counted.count.saturating_sub(1);
            }
        }
    }

    /// The rules whose standing turns now.
    fn judge(&mut self, now: Instant) -> Vec<String> {
        let mut turned = Vec::new();
        for counted in &mut self.rules {
            let is_right = counted.rule.is_right(counted.count);
            let turns = match counted.up {
                None => true,
                Some(up) if up == is_right => {
                    counted.contrary_since = None;
                    false
                }
                Some(_) => {
                    let since = *counted.contrary_since.get_or_insert(now);
                    now >= since + counted.delay()
                }
            };
            if turns {
                counted.up = Some(is_right);
                counted.contrary_since = None;
                turned.push(counted.name.clone());
            }
        }
        turned
    }

    /// When a delay is over.
    fn due(&self) -> Option<Instant> {
        let waiting = self.rules.iter();
        let due = waiting.filter_map(|counted| Some(counted.contrary_since? + counted.delay()));
        due.min()
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let all = self.rules.iter().map(|counted| {
            let standing = Standing {
                count: counted.count,
                up: counted.up == Some(true),
            };
            (counted.name.clone(), standing)
        });
        all.collect()
    }
}

impl Counted {
    /// How long the count must say otherwise.
    const fn delay(&self) -> Duration {
        match self.up {
            Some(true) => self.rule.terminate_delay,
            _ => self.rule.fork_delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_bridge_a_restart() {
        let rule = ProcessRule {
            words: vec!["none-of-that-name".to_owned()],
            terminate_delay: Duration::from_secs(3),
            fork_delay: Duration::from_secs(1),
            ..ProcessRule::default()
        };
        let mut census = Census::new(vec![("p".to_owned(), rule)], &Processes::default());
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        census.rules[0].count = 1;
        assert_eq!(census.judge(start), ["p"], "the first count counts at once");
        census.rules[0].count = 0;
        assert!(census.judge(after(1)).is_empty());
        assert_eq!(census.due(), Some(after(4)));
        census.rules[0].count = 1;
        assert!(census.judge(after(2)).is_empty(), "it came back in time");
        census.rules[0].count = 0;
        assert!(census.judge(after(3)).is_empty());
        assert!(census.judge(after(5)).is_empty());
        assert_eq!(census.judge(after(6)), ["p"]);
        assert!(!census.standings()["p"].up);
        census.rules[0].count = 1;
        assert!(census.judge(after(7)).is_empty());
        assert_eq!(census.judge(after(8)), ["p"]);
    }
}
