//! What has happened lately: written down by the control plane, read by whoever asks, without keeping it waiting.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use vrrp_common::timers;

use crate::{clock, control::Happened};

/// How much is kept.
const KEPT: usize = 4096;
/// How many of the last ones are looked through for a cause: with thousands of instances that is done
/// thousands of times in a moment.
const LATELY: usize = 512;
/// How much of it is left to the next daemon.
const LEFT: usize = 256;

/// The last things that have happened. Clones are the same history.
#[derive(Clone, Debug)]
pub struct History(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<VecDeque<Happened>>,
    /// The number of the last one.
    last: watch::Sender<u64>,
}

impl Default for History {
    fn default() -> Self {
        Self::going_on(None)
    }
}

impl History {
    /// Goes on where the daemon before left off.
    #[must_use]
    pub fn going_on(left: Option<Vec<Happened>>) -> Self {
        // Whoever has read what a daemon told that has crashed since finds higher numbers here.
        Self::beginning(clock::now_ns() / timers::NS_PER_MS, left)
    }

    /// The first number is the one after `first`, where nothing was left.
    fn beginning(first: u64, left: Option<Vec<Happened>>) -> Self {
        let left = left.unwrap_or_default();
        let last = left.last().map_or(first, |last| last.number);
        Self(Arc::new(Shared {
            kept: Mutex::new(left.into()),
            last: watch::Sender::new(last),
        }))
    }

    /// Writes something down.
    pub fn note(&self, mut happened: Happened) {
        let mut kept = self.kept();
        let number = *self.0.last.borrow() + 1;
        happened.number = number;
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(happened);
        self.0.last.send_replace(number);
    }

    /// What has happened after the one with this number. A number that is yet to come is of another daemon:
    /// then everything.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<Happened> {
        let kept = self.kept();
        let is_ours = kept.back().is_some_and(|last| number <= last.number);
        let from = if is_ours { number } else { 0 };
        kept.iter().filter(|it| it.number > from).cloned().collect()
    }

    /// Waits until there is something after the one with this number, or something of another daemon.
    pub async fn wait(&self, number: u64) {
        let mut last = self.0.last.subscribe();
        // The sender lives as long as this.
        let _ = last.wait_for(|last| *last > 0 && *last != number).await;
    }

    /// The last of a kind, if that was lately.
    #[must_use]
    pub fn last(&self, is_meant: impl Fn(&Happened) -> bool) -> Option<Happened> {
        let kept = self.kept();
        let lately = kept.iter().rev().take(LATELY);
        lately.into_iter().find(|it| is_meant(it)).cloned()
    }

    /// What the next daemon goes on with.
    #[must_use]
    pub fn left(&self) -> Vec<Happened> {
        let kept = self.kept();
        let surplus = kept.len().saturating_sub(LEFT);
        kept.iter().skip(surplus).cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Happened>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Kind;

    fn event(what: &str) -> Happened {
        Happened::new(Kind::Hand, 1, None, what.to_owned())
    }

    fn numbers(all: &[Happened]) -> Vec<u64> {
        all.iter().map(|it| it.number).collect()
    }

    #[test]
    fn numbers_go_on() {
        let history = History::beginning(0, None);
        history.note(event("a"));
        history.note(event("b"));
        let next = History::going_on(Some(history.left()));
        next.note(event("c"));
        assert_eq!(numbers(&next.after(0)), [1, 2, 3]);
        assert_eq!(numbers(&next.after(2)), [3]);
        assert!(next.after(3).is_empty());
        assert!(History::beginning(0, None).after(9).is_empty());
        // A daemon that knows nothing of this one counts further.
        let another = History::default();
        another.note(event("d"));
        assert!(another.after(0)[0].number > 3);
        // Of a daemon that has counted further.
        assert_eq!(numbers(&next.after(9)), [1, 2, 3]);
    }

    #[test]
    fn the_oldest_go() {
        let history = History::beginning(0, None);
        for _ in 0..KEPT + 2 {
            history.note(event("a"));
        }
        let all = history.after(0);
        assert_eq!((all.len(), all[0].number), (KEPT, 3));
        assert_eq!(history.left().len(), LEFT);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let history = History::beginning(0, None);
        history.note(event("a"));
        history.wait(0).await;
        let waiting = tokio::spawn({
            let history = history.clone();
            async move {
                history.wait(1).await;
                history.after(1)
            }
        });
        history.note(event("b"));
        let came = waiting.await.expect("an answer");
        assert_eq!(came[0].what, "b");
    }
}
