//! Whole clusters of the pure machine in virtual time: the real `Election`, the real `Slot` as the
//! kernel program would write it, and a network that delays, loses and parts.

mod oracle;
mod random;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use vrrp_common::{
    election::{Action, Actions, Election, Event, Settings, State},
    slot::{Facts, Slot},
    timers,
    vrrp::{Advert, ChecksumForm, Source, Version},
};

use oracle::Oracle;
pub use random::Random;

/// How a router of the cluster is set up.
#[derive(Clone, Copy, Debug)]
pub struct NodeSpec {
    /// Priority.
    pub priority: u8,
    /// Last byte of its address.
    pub address: u8,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
    /// Preempt_Mode.
    pub preempt: bool,
}

/// What the network does to a frame.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest and longest flight of a frame, in nanoseconds.
    pub flight_ns: (u64, u64),
    /// Frames lost, of 1000.
    pub loss: u64,
}

/// What can happen to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process does not run; the kernel goes on stamping and answering.
    Stop,
    /// The whole machine stands still: nothing is received, stamped or answered.
    Stun,
    /// Its cable is out; nobody tells it.
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Deliver {
        to: usize,
        from: usize,
        priority: u8,
    },
    Wake {
        node: usize,
        generation: u64,
    },
    Settle {
        node: usize,
        epoch: u64,
    },
    End {
        node: usize,
    },
}

struct Node {
    spec: NodeSpec,
    election: Election,
    slot: Slot,
    fault: Option<Fault>,
    generation: u64,
}

/// A cluster in virtual time.
pub struct Cluster {
    now: u64,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    sequence: u64,
    random: Random,
    weather: Weather,
    oracle: Oracle,
    steps: u64,
    traces: bool,
}

/// Virtual time begins here: far enough from 0, which means "never".
const BEGIN: u64 = 1000 * timers::NS_PER_S;

impl Cluster {
    /// Starts a cluster; every router starts within its first two seconds.
    pub fn start(specs: &[NodeSpec], weather: Weather, mut random: Random) -> Self {
        let nodes = specs.iter().map(|spec| Node::new(*spec)).collect();
        let mut cluster = Self {
            now: BEGIN,
            nodes,
            queue: BinaryHeap::new(),
            sequence: 0,
            oracle: Oracle::default(),
            weather,
            random: random.fork(),
            steps: 0,
            traces: std::env::var_os("XVRRP_SIM_TRACE").is_some(),
        };
        for node in 0..specs.len() {
            let at = BEGIN + random.below(2 * timers::NS_PER_S);
            cluster.nodes[node].fault = Some(Fault::Cut);
            cluster.at(at, Happening::End { node });
        }
        cluster
    }

    /// Lets a router suffer a fault for some time from now on.
    pub fn strike(&mut self, node: usize, fault: Fault, for_ns: u64) {
        if self.nodes[node].fault.is_some() {
            return;
        }
        if self.traces {
            eprintln!("{} router {node}: {fault:?} for {for_ns}", self.now);
        }
        self.nodes[node].fault = Some(fault);
        self.at(self.now + for_ns, Happening::End { node });
    }

    /// Changes a router's effective priority, as a check does.
    pub fn set_priority(&mut self, node: usize, priority: u8) {
        self.nodes[node].spec.priority = priority;
        if self.runs(node) {
            self.catch_up(node);
            self.look(node);
        }
    }

    /// Ends every fault and every loss.
    pub fn heal(&mut self) {
        self.weather.loss = 0;
        for node in 0..self.nodes.len() {
            self.end_fault(node);
        }
    }

    /// Runs for a while.
    pub fn run_for(&mut self, ns: u64) {
        let end = self.now + ns;
        while let Some(Reverse((at, _, happening))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            self.steps += 1;
            self.happen(happening);
            self.observe();
        }
        self.now = end;
    }

    /// The routers that are MASTER.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |node: &usize| self.nodes[*node].election.state() == State::Master;
        (0..self.nodes.len()).filter(is_master).collect()
    }

    /// The routers whose kernel answers for the address now.
    pub fn answering(&self) -> Vec<usize> {
        let answers = |node: &usize| {
            let Node { fault, slot, .. } = &self.nodes[*node];
            !matches!(fault, Some(Fault::Stun | Fault::Cut)) && slot.may_answer(self.now)
        };
        (0..self.nodes.len()).filter(answers).collect()
    }

    /// Who must be MASTER once all is well: the highest priority, in a cluster that preempts.
    /// Several where priorities are equal: then the incumbent stays.
    pub fn rightful(&self) -> Vec<usize> {
        let highest = self.nodes.iter().map(|node| node.spec.priority).max();
        let is = |node: &usize| Some(self.nodes[*node].spec.priority) == highest;
        (0..self.nodes.len()).filter(is).collect()
    }

    /// The longest time any router waits before it takes over, twice: a listening interval and a
    /// second round included.
    pub fn settling_time(&self) -> u64 {
        let longest = self
            .nodes
            .iter()
            .map(|node| timers::interval_ns(node.spec.interval_cs))
            .max();
        10 * longest.unwrap_or(timers::NS_PER_S) + 10 * self.weather.flight_ns.1
    }

    /// The longest time for which two routers that could hear each other both answered.
    pub fn longest_overlap(&self) -> u64 {
        self.oracle.longest_overlap
    }

    /// How many happenings were simulated.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happening)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, from, priority } => self.deliver(to, from, priority),
            Happening::Wake { node, generation } => {
                if self.runs(node) && self.nodes[node].generation == generation {
                    self.look(node);
                }
            }
            Happening::Settle { node, epoch } => {
                if self.runs(node) {
                    // As the daemon does: the lease changes how adverts are judged.
                    self.look(node);
                    self.act(node, Event::Settled(epoch));
                    self.look(node);
                } else {
                    // A stopped process reads the kernel's answer when it goes on.
                    self.at(
                        self.now + timers::NS_PER_MS,
                        Happening::Settle { node, epoch },
                    );
                }
            }
            Happening::End { node } => self.end_fault(node),
        }
    }

    fn deliver(&mut self, to: usize, from: usize, priority: u8) {
        if matches!(self.nodes[to].fault, Some(Fault::Stun | Fault::Cut)) {
            return;
        }
        let advert = self.nodes[from].advert(priority);
        let rings = self.nodes[to].slot.record_advert(&advert, self.now);
        if rings && self.runs(to) {
            self.look(to);
        }
    }

    fn runs(&self, node: usize) -> bool {
        !matches!(self.nodes[node].fault, Some(Fault::Stop | Fault::Stun))
    }

    fn end_fault(&mut self, node: usize) {
        if self.nodes[node].fault.take().is_none() {
            return;
        }
        if self.nodes[node].election.state() == State::Init {
            self.act(node, Event::Startup);
        }
        self.catch_up(node);
        self.look(node);
    }

    /// A process that goes on reads its mailbox: its checks went on without it.
    fn catch_up(&mut self, node: usize) {
        self.act(node, Event::Priority(self.nodes[node].spec.priority));
    }

    fn look(&mut self, node: usize) {
        let heard = self.nodes[node].slot.heard();
        self.nodes[node].slot.acknowledge(heard.news_seq);
        self.act(node, Event::Look(heard));
    }

    fn act(&mut self, node: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let was = self.nodes[node].election.state();
            let actions = self.nodes[node].election.handle(self.now, event);
            self.trace(node, &event, &actions);
            for action in actions.iter() {
                match action {
                    Action::Publish(standing) => self.nodes[node].slot.publish(&standing),
                    Action::Lease(lease) => self.nodes[node].slot.store_lease(lease),
                    Action::Advertise { priority } => {
                        if was == State::Backup && priority > 0 {
                            self.check_silence(node);
                        }
                        self.advertise(node, priority);
                        if priority > 0 {
                            events.push_back(Event::Advertised(self.now));
                        }
                    }
                    Action::AddAddresses { epoch } => {
                        let took = 100_000 + self.random.below(2 * timers::NS_PER_MS);
                        self.at(self.now + took, Happening::Settle { node, epoch });
                    }
                    Action::RemoveAddresses | Action::Announce { .. } | Action::Entered(..) => {}
                }
            }
        }
        self.rearm(node);
    }

    /// With `XVRRP_SIM_TRACE` set, every event that has effects is printed.
    fn trace(&self, node: usize, event: &Event, actions: &Actions) {
        if !self.traces || actions.is_empty() {
            return;
        }
        let what = match event {
            Event::Look(heard) => format!("Look(seen {}, other {})", heard.seen_ns, heard.other_ns),
            other => format!("{other:?}"),
        };
        let actions: Vec<Action> = actions.iter().collect();
        eprintln!("{} router {node}: {what} -> {actions:?}", self.now);
    }

    fn rearm(&mut self, node: usize) {
        self.nodes[node].generation += 1;
        if let Some(deadline) = self.nodes[node].election.deadline() {
            let generation = self.nodes[node].generation;
            self.at(deadline.max(self.now), Happening::Wake { node, generation });
        }
    }

    fn advertise(&mut self, from: usize, priority: u8) {
        if self.nodes[from].fault == Some(Fault::Cut) {
            return;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if self.random.below(1000) < self.weather.loss {
                continue;
            }
            let (shortest, longest) = self.weather.flight_ns;
            let flight = shortest + self.random.below(longest - shortest + 1);
            self.at(self.now + flight, Happening::Deliver { to, from, priority });
        }
    }

    /// No router advertises while it has heard, within Master_Down, an advert that it must obey.
    fn check_silence(&self, node: usize) {
        let Node {
            slot,
            election,
            spec,
            ..
        } = &self.nodes[node];
        let heard = slot.heard();
        let Facts {
            priority,
            interval_cs,
            ..
        } = heard.master;
        if heard.seen_ns == 0 || priority == 0 || priority < election.standing().floor {
            return;
        }
        let learned = timers::interval_ns(interval_cs);
        let down = timers::master_down_interval(Version::V3, spec.priority, learned, 3);
        assert!(
            self.now >= heard.seen_ns + down,
            "router {node} takes over {} ns after an advert it must obey, Master_Down is {down}",
            self.now - heard.seen_ns
        );
    }

    fn observe(&mut self) {
        let count = self.answering().len();
        if self.traces && count > 1 {
            eprintln!("{}: {count} answer", self.now);
        }
        self.oracle.observe(self.now, count);
    }
}

impl Node {
    fn new(spec: NodeSpec) -> Self {
        let settings = Settings {
            interval_ns: timers::interval_ns(spec.interval_cs),
            preempt: spec.preempt,
            ..Settings::default()
        };
        let source = Source::v4([10, 0, 0, spec.address]);
        let election = Election::new(
            settings,
            spec.priority,
            source,
            [2, 0, 0, 0, 0, spec.address],
        );
        let slot = Slot::new();
        slot.publish(election.standing());
        Self {
            spec,
            election,
            slot,
            fault: None,
            generation: 0,
        }
    }

    fn advert(&self, priority: u8) -> Advert {
        Advert {
            vrid: 1,
            priority,
            count: 1,
            interval_cs: self.spec.interval_cs,
            form: ChecksumForm::MessageOnly,
            addresses_sum: 0,
            source: Source::v4([10, 0, 0, self.spec.address]),
        }
    }
}
