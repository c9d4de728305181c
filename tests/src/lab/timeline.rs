//! What happened, when, and what it cost: a table for people, or one JSON object per line.

use std::io::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::Case;
use crate::{ms, wall_ns};

/// One step of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The case.
    pub case: String,
    /// Seconds since the lab was started.
    pub at_s: f64,
    /// What was done.
    pub what: String,
    /// Who holds the addresses afterwards.
    pub holder: String,
    /// Whether they moved.
    pub moved: bool,
    /// The states of r1, r2 and r3 afterwards.
    pub states: Vec<String>,
    /// Why the holder holds them, in its own words.
    pub why: String,
    /// From the deed to the new holder's announcement, in milliseconds.
    pub failover_ms: Option<f64>,
    /// Requests through the address that got no answer.
    pub requests_lost: usize,
    /// The longest time without an answered request, in milliseconds.
    pub longest_gap_ms: f64,
    /// Pings of the host through its gateway, one every 10 ms, that got no answer.
    pub pings_lost: usize,
}

/// Where the story is told.
pub struct Timeline {
    json: bool,
    start_ns: u64,
    case: String,
    /// Of this case.
    told: Vec<Entry>,
}

impl Timeline {
    /// Starts the clock.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self {
            json,
            start_ns: wall_ns(),
            case: String::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn header(&self, advert_int: f64) {
        self.say(&format!(
            "Three routers (r1, r2, r3) with xvrrp and HAProxy; adverts every {advert_int} s.\n\
             A client asks 10.9.0.100 every 50 ms; a host pings a far one every 10 ms through its\n\
             gateway 10.9.0.254, and the way back is 10.77.0.254: three virtual addresses that move\n\
             together. States: M = MASTER, B = BACKUP, F = FAULT."
        ));
    }

    pub(super) fn case(&mut self, number: usize, count: usize, case: &Case) {
        case.name.clone_into(&mut self.case);
        self.told.clear();
        self.say(&format!(
            "\n{number}/{count} {}: {}",
            case.name,
            case.meaning()
        ));
        self.say(&row([
            "seconds",
            "what happens",
            "addresses",
            "states",
            "moved in",
            "requests",
            "longest",
            "pings",
        ]));
        self.say(&row(["", "", "on", "r1 r2 r3", "", "lost", "gap", "lost"]));
    }

    /// Seconds since the start.
    pub(super) fn seconds(&self, at_ns: u64) -> f64 {
        ms(at_ns.saturating_sub(self.start_ns)) / 1000.0
    }

    pub(super) fn name(&self) -> String {
        self.case.clone()
    }

    /// What was told of this case, and when the clock was started.
    pub(super) fn told(&self) -> (&[Entry], u64) {
        (&self.told, self.start_ns)
    }

    pub(super) fn tell(&mut self, entry: Entry) {
        self.print(&entry);
        self.told.push(entry);
    }

    fn print(&self, entry: &Entry) {
        if self.json {
            let line = serde_json::to_string(entry).expect("plain values");
            println_now(&line);
            return;
        }
        let holder = if entry.moved {
            format!("-> {}", entry.holder)
        } else {
            format!("   {}", entry.holder)
        };
        let failover = entry
            .failover_ms
            .map_or_else(|| "-".to_owned(), |after| format!("{after:.0} ms"));
        let states: Vec<&str> = entry
            .states
            .iter()
            .map(|state| state.get(..1).unwrap_or("?"))
            .collect();
        println_now(&row([
            &format!("{:.2}", entry.at_s),
            &entry.what,
            &holder,
            &states.join("  "),
            &failover,
            &entry.requests_lost.to_string(),
            &format!("{:.0} ms", entry.longest_gap_ms),
            &entry.pings_lost.to_string(),
        ]));
        if entry.moved {
            println_now(&format!("{:>9}  {}: {}", "", entry.holder, entry.why));
        }
    }

    fn say(&self, text: &str) {
        if !self.json {
            println_now(text);
        }
    }
}

/// One line of the table.
fn row(cells: [&str; 8]) -> String {
    let [at, what, holder, states, moved, requests, gap, pings] = cells;
    format!(
        "{at:>9}  {what:<38} {holder:<9} {states:<8} {moved:>9} {requests:>8} {gap:>8} {pings:>6}"
    )
}

/// A reader that stops reading, such as `head`, ends nothing before it is put away.
fn println_now(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
