//! What `xvrrp top` shows: the last answer of the daemon, and what the keys have chosen.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use vrrp_userspace::control::{
    Hand, Happened, Kind, Whom,
    model::{InstanceStatus, Status},
};

/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(4);
/// How many events are kept.
const EVENTS: usize = 200;

/// Everything that is shown.
#[derive(Default)]
pub(super) struct Screen {
    pub(super) status: Option<Status>,
    taken: Option<Instant>,
    /// Adverts each second, sent and accepted, by instance.
    pub(super) rates: BTreeMap<String, f64>,
    /// The latest last.
    pub(super) events: VecDeque<Happened>,
    pub(super) selected: usize,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) mode: Mode,
    /// What the daemon, or the lack of one, has to say.
    pub(super) message: Option<(String, Instant)>,
}

/// What keys mean at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    List,
    /// One instance in depth.
    Depth,
    /// Letters go to the filter.
    Filter,
    /// Whether to drain (or undrain) this instance, whatever is selected by then.
    Sure {
        name: String,
        drain: bool,
    },
    Help,
}

/// By what instances are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Name,
    State,
    Interface,
    Age,
}

impl Order {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Interface => "interface",
            Self::Age => "age",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Name => Self::State,
            Self::State => Self::Interface,
            Self::Interface => Self::Age,
            Self::Age => Self::Name,
        }
    }
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Hand(Hand),
}

impl Screen {
    /// The number of the last event that is known.
    pub(super) fn last_event(&self) -> u64 {
        self.events.back().map_or(0, |last| last.number)
    }

    /// Takes an answer.
    pub(super) fn take(&mut self, status: Status, events: Vec<Happened>) {
        let now = Instant::now();
        if let (Some(before), Some(taken)) = (&self.status, self.taken) {
            let seconds = now.duration_since(taken).as_secs_f64();
            self.rates = rates(before, &status, seconds);
        }
        // A daemon that has started anew begins to count anew.
        if events
            .first()
            .is_some_and(|first| first.number <= self.last_event())
        {
            self.events.clear();
        }
        self.events.extend(events);
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        self.status = Some(status);
        self.taken = Some(now);
        self.message.take_if(|(_, said)| said.elapsed() > MESSAGE);
        self.stay_inside();
    }

    pub(super) fn says(&mut self, message: String) {
        self.message = Some((message, Instant::now()));
    }

    /// The instances that are shown, in their order.
    pub(super) fn instances(&self) -> Vec<&InstanceStatus> {
        let all = self.status.iter().flat_map(|status| &status.instances);
        let mut shown: Vec<&InstanceStatus> = all.filter(|it| self.is_meant(it)).collect();
        match self.order {
            Order::Name => shown.sort_by(|a, b| a.name.cmp(&b.name)),
            Order::State => shown.sort_by_key(|it| (urgency(&it.state), it.name.clone())),
            Order::Interface => shown.sort_by_key(|it| (it.interface.clone(), it.vrid)),
            Order::Age => shown.sort_by(|a, b| a.since_seconds.total_cmp(&b.since_seconds)),
        }
        shown
    }

    /// Whether the filter lets it through.
    fn is_meant(&self, it: &InstanceStatus) -> bool {
        let filter = self.filter.to_lowercase();
        let vrid = it.vrid.to_string();
        let words = [&it.name, &it.state, &it.interface, &vrid];
        words
            .iter()
            .any(|word| word.to_lowercase().contains(&filter))
            || it.addresses.iter().any(|address| address.contains(&filter))
    }

    pub(super) fn selected(&self) -> Option<&InstanceStatus> {
        self.instances().get(self.selected).copied()
    }

    /// The transitions and whatever else concerns people, the latest last.
    pub(super) fn timeline(&self) -> impl DoubleEndedIterator<Item = &Happened> {
        self.events.iter().filter(|it| it.kind != Kind::Neighbour)
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Wish::Quit;
        }
        match &self.mode {
            Mode::Filter => self.edit(key.code),
            Mode::Sure { name, drain } => {
                let (whom, drain) = (Whom::Instance(name.clone()), *drain);
                self.mode = Mode::List;
                if key.code == KeyCode::Char('y') {
                    return Wish::Hand(if drain {
                        Hand::Drain(whom)
                    } else {
                        Hand::Undrain(whom)
                    });
                }
            }
            Mode::List | Mode::Depth | Mode::Help => return self.choose(key.code),
        }
        Wish::Nothing
    }

    fn edit(&mut self, key: KeyCode) {
        match key {
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::List;
            }
            KeyCode::Enter => self.mode = Mode::List,
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        self.stay_inside();
    }

    fn choose(&mut self, key: KeyCode) -> Wish {
        match key {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Esc => self.mode = Mode::List,
            KeyCode::Char('?' | 'h') => {
                self.mode = if self.mode == Mode::Help {
                    Mode::List
                } else {
                    Mode::Help
                };
            }
            KeyCode::Enter => {
                self.mode = if self.mode == Mode::Depth {
                    Mode::List
                } else {
                    Mode::Depth
                };
            }
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(20),
            KeyCode::PageDown => self.selected += 20,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('d') => self.ask(true),
            KeyCode::Char('u') => self.ask(false),
            _ => {}
        }
        self.stay_inside();
        Wish::Nothing
    }

    /// Asks whether that is meant.
    fn ask(&mut self, drain: bool) {
        if let Some(name) = self.selected().map(|it| it.name.clone()) {
            self.mode = Mode::Sure { name, drain };
        }
    }

    fn stay_inside(&mut self) {
        let last = self.instances().len().saturating_sub(1);
        self.selected = self.selected.min(last);
    }
}

/// What needs a look comes first.
fn urgency(state: &str) -> u8 {
    match state {
        "FAULT" => 0,
        "INIT" => 1,
        "MASTER" => 2,
        _ => 3,
    }
}

fn rates(before: &Status, now: &Status, seconds: f64) -> BTreeMap<String, f64> {
    let count = |it: &InstanceStatus| {
        let counts = [
            "adverts_sent",
            "adverts_accepted",
            "adverts_without_authority",
        ];
        let counts = counts.iter().filter_map(|name| it.counters.get(*name));
        counts.sum::<u64>()
    };
    let before: BTreeMap<&str, u64> = before
        .instances
        .iter()
        .map(|it| (&*it.name, count(it)))
        .collect();
    let rate = |it: &InstanceStatus| {
        let more = count(it).saturating_sub(*before.get(&*it.name)?);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        Some((it.name.clone(), f64::from(more) / seconds.max(0.001)))
    };
    now.instances.iter().filter_map(rate).collect()
}
