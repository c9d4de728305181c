//! Whole clusters of the pure machine in virtual time: the real `Election`, the real `Slot` as the
//! kernel program would write it, sync groups, and a network that delays, loses and parts.

mod machine;
mod oracle;
mod random;
mod spec;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use vrrp_common::{
    election::{Action, Actions, Event, State, group::Order},
    slot::Facts,
    timers,
    vrrp::{Advert, PRIORITY_OWNER},
};

use machine::{Held, Machine};
use oracle::Oracle;
pub use random::Random;
pub use spec::{Fault, NodeSpec, Weather};

/// A virtual router: which machine it is on, and which of that one's it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    node: usize,
    router: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Deliver { to: At, frame: usize },
    Wake { at: At, generation: u64 },
    Settle { at: At, epoch: u64 },
    End { node: usize },
}

/// A cluster in virtual time.
pub struct Cluster {
    now: u64,
    nodes: Vec<Machine>,
    /// How many virtual routers each machine has.
    routers: usize,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    /// Adverts in flight or delivered.
    frames: Vec<Advert>,
    sequence: u64,
    random: Random,
    weather: Weather,
    /// One for each virtual router.
    oracles: Vec<Oracle>,
    steps: u64,
    traces: bool,
}

/// Virtual time begins here: far enough from 0, which means "never".
const BEGIN: u64 = 1000 * timers::NS_PER_S;

impl Cluster {
    /// Starts a cluster with so many virtual routers on each machine, which form a sync group if they
    /// are more than one; every machine starts within its first two seconds.
    pub fn start(specs: &[NodeSpec], routers: usize, weather: Weather, mut random: Random) -> Self {
        let nodes = specs.iter().map(|spec| Machine::new(*spec, routers));
        let mut cluster = Self {
            now: BEGIN,
            nodes: nodes.collect(),
            routers,
            queue: BinaryHeap::new(),
            frames: Vec::new(),
            sequence: 0,
            oracles: (0..routers).map(|_| Oracle::default()).collect(),
            weather,
            random: random.fork(),
            steps: 0,
            traces: std::env::var_os("XVRRP_SIM_TRACE").is_some(),
        };
        for node in 0..specs.len() {
            let at = BEGIN + random.below(2 * timers::NS_PER_S);
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
        match fault {
            Fault::Restart => self.on_all(node, |_| Event::Shutdown),
            Fault::Check | Fault::Unplug => {
                self.act(At { node, router: 0 }, Event::FaultRaised);
                self.settle_group(node);
            }
            Fault::HandOver => {
                self.on_all(node, |_| Event::Vouch);
                self.nodes[node].leave();
            }
            Fault::Stop
            | Fault::Stun
            | Fault::Cut
            | Fault::MidSend
            | Fault::Crash
            | Fault::Deaf
            | Fault::Mute => {}
        }
        self.nodes[node].fault = Some(fault);
        self.at(self.now + for_ns, Happening::End { node });
    }

    /// Changes a router's effective priority, as a check does; an owner's never changes.
    pub fn set_priority(&mut self, node: usize, priority: u8) {
        if self.nodes[node].spec.priority == PRIORITY_OWNER {
            return;
        }
        self.nodes[node].spec.priority = priority;
        self.catch_up_if_running(node);
    }

    /// Changes a router's Advertisement_Interval, as a reload does.
    pub fn set_interval(&mut self, node: usize, interval_ns: u64) {
        self.nodes[node].spec.settings.interval_ns = interval_ns;
        self.catch_up_if_running(node);
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

    /// The machines that are MASTER of a virtual router.
    pub fn masters(&self, router: usize) -> Vec<usize> {
        let state = |node: &usize| self.nodes[*node].routers[router].election.state();
        let is_master = |node: &usize| state(node) == State::Master;
        (0..self.nodes.len()).filter(is_master).collect()
    }

    /// The machines whose kernel answers for the address of a virtual router now.
    pub fn answering(&self, router: usize) -> Vec<usize> {
        let answers = |node: &usize| self.nodes[*node].answers(router, self.now);
        (0..self.nodes.len()).filter(answers).collect()
    }

    /// Whether nobody who preempts, and no owner, has a higher priority than this router. Of equal ones
    /// the incumbent may be any: an equal priority does not preempt (RFC 9568 6.4.2), and the address
    /// decides only between two who are MASTER at once, which [`Self::masters`] shows to have ended.
    pub fn is_rightful(&self, node: usize) -> bool {
        let own = self.nodes[node].spec.priority;
        self.nodes.iter().all(|other| {
            let NodeSpec {
                priority, settings, ..
            } = other.spec;
            priority <= own || !(settings.preempt || priority == PRIORITY_OWNER)
        })
    }

    /// The longest time any router waits before it takes over, twice: a listening interval, a preempt
    /// delay and a second round included.
    pub fn settling_time(&self) -> u64 {
        let of = |node: &Machine| {
            let settings = node.spec.settings;
            let adverts = u64::from(settings.down_timer_adverts);
            settings.preempt_delay_ns + (2 * adverts + 4) * settings.interval_ns
        };
        let longest = self.nodes.iter().map(of).max();
        longest.unwrap_or(timers::NS_PER_S) + 10 * self.weather.flight_ns.1
    }

    /// The longest Advertisement_Interval in force.
    pub fn longest_interval(&self) -> u64 {
        let intervals = self.nodes.iter().map(|node| node.spec.settings.interval_ns);
        intervals.max().unwrap_or_default()
    }

    /// The longest time for which two routers that could hear each other both answered.
    pub fn longest_overlap(&self) -> u64 {
        let longest = self.oracles.iter().map(|oracle| oracle.longest_overlap);
        longest.max().unwrap_or_default()
    }

    /// How many happenings were simulated.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happening)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, frame } => self.deliver(to, frame),
            Happening::Wake { at, generation } => {
                let Machine { routers, .. } = &self.nodes[at.node];
                if self.nodes[at.node].runs() && routers[at.router].generation == generation {
                    self.look(at);
                    self.settle_group(at.node);
                }
            }
            Happening::Settle { at, epoch } => self.settle(at, epoch),
            Happening::End { node } => self.end_fault(node),
        }
    }

    fn settle(&mut self, at: At, epoch: u64) {
        if self.nodes[at.node].runs() {
            // As the daemon does: the lease changes how adverts are judged.
            self.look(at);
            self.act(at, Event::Settled(epoch));
            self.look(at);
            self.settle_group(at.node);
        } else {
            // A stopped process reads the kernel's answer when it goes on.
            let later = self.now + timers::NS_PER_MS;
            self.at(later, Happening::Settle { at, epoch });
        }
    }

    fn deliver(&mut self, to: At, frame: usize) {
        let machine = &self.nodes[to.node];
        if !machine.hears(to.router) {
            return;
        }
        let rings = machine.record(to.router, &self.frames[frame], self.now);
        if rings && machine.runs() {
            self.look(to);
            self.settle_group(to.node);
        }
    }

    fn end_fault(&mut self, node: usize) {
        let Some(fault) = self.nodes[node].fault else {
            return;
        };
        match fault {
            Fault::Restart => {
                self.nodes[node] = Machine::new(self.nodes[node].spec, self.routers);
                self.nodes[node].fault = None;
                self.on_all(node, |_| Event::Startup);
            }
            Fault::Check | Fault::Unplug => {
                self.nodes[node].fault = None;
                self.act(At { node, router: 0 }, Event::FaultCleared);
                self.settle_group(node);
            }
            Fault::MidSend => {
                self.nodes[node].fault = None;
                self.go_on(node);
            }
            Fault::Crash | Fault::HandOver => self.succeed(node),
            Fault::Stop | Fault::Stun | Fault::Cut | Fault::Deaf | Fault::Mute => {
                self.nodes[node].fault = None;
            }
        }
        self.catch_up_if_running(node);
    }

    /// A process that was stopped as it sent goes on there.
    fn go_on(&mut self, node: usize) {
        for held in std::mem::take(&mut self.nodes[node].held) {
            let at = At {
                node,
                router: held.router,
            };
            let mut events = VecDeque::new();
            for action in held.actions {
                self.carry_out(at, action, held.decided_ns, &mut events);
            }
            for event in events {
                self.act(at, event);
            }
        }
    }

    /// Another daemon takes the place of the one that left, or was killed. Members of a group whose
    /// others do not go on are told so, as always.
    fn succeed(&mut self, node: usize) {
        let now = self.now;
        let tenures = self.nodes[node].succeed(self.routers, now);
        for (router, tenure) in tenures.iter().enumerate() {
            let Some(tenure) = tenure else {
                continue;
            };
            let at = At { node, router };
            let it = &mut self.nodes[node].routers[router];
            let heard = it.slot.heard();
            let actions = it.election.take_up(now, tenure, &heard);
            let mut events = VecDeque::new();
            for action in actions.iter() {
                self.carry_out(at, action, now, &mut events);
            }
            for event in events {
                self.act(at, event);
            }
            self.rearm(at);
        }
        self.on_all(node, |_| Event::Startup);
    }

    /// A process that goes on reads its mailbox: checks and reloads went on without it.
    fn catch_up_if_running(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        let spec = self.nodes[node].spec;
        self.on_all(node, |_| Event::Priority(spec.priority));
        for router in 0..self.routers {
            let at = At { node, router };
            let settings = self.nodes[node].routers[router].election.settings();
            if settings.interval_ns != spec.settings.interval_ns {
                self.act(at, Event::Interval(spec.settings.interval_ns));
            }
            self.look(at);
        }
        self.settle_group(node);
    }

    fn on_all(&mut self, node: usize, event: impl Fn(usize) -> Event) {
        for router in 0..self.routers {
            self.act(At { node, router }, event(router));
        }
        self.settle_group(node);
    }

    /// As the daemon does: whoever waits for the group has not looked since its own time was out.
    fn settle_group(&mut self, node: usize) {
        while let Some(mut order) = self.nodes[node].order() {
            if order == Order::Promote {
                for router in 0..self.routers {
                    self.look(At { node, router });
                }
                match self.nodes[node].order() {
                    Some(now) => order = now,
                    None => return,
                }
            }
            if order == Order::Promote {
                self.nodes[node].promote_group();
            }
            for router in 0..self.routers {
                let at = At { node, router };
                self.act(at, Event::Group(order));
                self.look(at);
            }
        }
    }

    fn look(&mut self, at: At) {
        let heard = self.nodes[at.node].routers[at.router].read(self.now);
        self.act(at, Event::Look(heard));
    }

    fn act(&mut self, at: At, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.now;
            let router = &mut self.nodes[at.node].routers[at.router];
            let was = router.election.state();
            let actions = router.election.handle(now, event);
            self.trace(at, &event, &actions);
            let mut actions = actions.iter();
            while let Some(action) = actions.next() {
                if self.stops_at(at.node, action) {
                    let rest = std::iter::once(action).chain(actions).collect();
                    self.nodes[at.node].held.push(Held {
                        router: at.router,
                        actions: rest,
                        decided_ns: now,
                    });
                    return;
                }
                if matches!(action, Action::Advertise { priority: 1.. }) && was == State::Backup {
                    self.check_silence(at);
                }
                self.carry_out(at, action, now, &mut events);
            }
        }
        self.rearm(at);
    }

    /// Whether its process stops before this action.
    fn stops_at(&self, node: usize, action: Action) -> bool {
        let stops = self.nodes[node].fault == Some(Fault::MidSend);
        stops && matches!(action, Action::Advertise { priority: 1.. })
    }

    fn carry_out(&mut self, at: At, action: Action, decided: u64, events: &mut VecDeque<Event>) {
        let slot = &self.nodes[at.node].routers[at.router].slot;
        match action {
            Action::Publish(standing) => slot.publish(&standing),
            Action::Lease(lease) => slot.store_lease(lease),
            Action::Advertise { priority } => {
                slot.store_decided(decided);
                // The fence at the way out.
                if priority == 0 || slot.may_advertise(self.now) {
                    self.advertise(at, priority);
                    if priority > 0 {
                        events.push_back(Event::Advertised(decided));
                    }
                }
            }
            Action::AddAddresses { epoch } => {
                let took = 100_000 + self.random.below(2 * timers::NS_PER_MS);
                self.at(self.now + took, Happening::Settle { at, epoch });
            }
            Action::RemoveAddresses
            | Action::Announce { .. }
            | Action::HeardLesser
            | Action::Entered(..) => {}
        }
    }

    /// With `XVRRP_SIM_TRACE` set, every event that has effects is printed.
    fn trace(&self, at: At, event: &Event, actions: &Actions) {
        if !self.traces || actions.is_empty() {
            return;
        }
        let what = match event {
            Event::Look(heard) => format!("Look(seen {}, other {})", heard.seen_ns, heard.other_ns),
            other => format!("{other:?}"),
        };
        let actions: Vec<Action> = actions.iter().collect();
        let At { node, router } = at;
        eprintln!("{} router {node}.{router}: {what} -> {actions:?}", self.now);
    }

    fn rearm(&mut self, at: At) {
        let router = &mut self.nodes[at.node].routers[at.router];
        router.generation += 1;
        let generation = router.generation;
        if let Some(deadline) = router.election.deadline() {
            self.at(deadline.max(self.now), Happening::Wake { at, generation });
        }
    }

    fn advertise(&mut self, from: At, priority: u8) {
        let machine = &self.nodes[from.node];
        if !machine.is_heard(from.router) {
            return;
        }
        let frame = self.frames.len();
        self.frames.push(machine.advert(from.router, priority));
        for node in (0..self.nodes.len()).filter(|node| *node != from.node) {
            if self.random.below(1000) < self.weather.loss {
                continue;
            }
            let (shortest, longest) = self.weather.flight_ns;
            let flight = shortest + self.random.below(longest - shortest + 1);
            let to = At {
                node,
                router: from.router,
            };
            self.at(self.now + flight, Happening::Deliver { to, frame });
        }
    }

    /// No router advertises while it has heard, within Master_Down, an advert that it must obey.
    fn check_silence(&self, at: At) {
        let Machine { spec, routers, .. } = &self.nodes[at.node];
        let router = &routers[at.router];
        let heard = router.slot.heard();
        let Facts {
            priority,
            interval_cs,
            ..
        } = heard.master;
        let is_owner = spec.priority == PRIORITY_OWNER;
        let below = priority < router.election.standing().floor;
        if heard.seen_ns == 0 || priority == 0 || below || is_owner {
            return;
        }
        let learned = timers::interval_ns(interval_cs);
        let settings = router.election.settings();
        let adverts = settings.down_timer_adverts;
        let down = timers::master_down_interval(settings.version, spec.priority, learned, adverts);
        assert!(
            self.now >= heard.seen_ns + down,
            "router {at:?} takes over {} ns after an advert it must obey, Master_Down is {down}",
            self.now - heard.seen_ns
        );
    }

    fn observe(&mut self) {
        for router in 0..self.routers {
            let count = self.answering(router).len();
            if self.traces && count > 1 {
                eprintln!("{}: {count} answer for {router}", self.now);
            }
            self.oracles[router].observe(self.now, count);
        }
    }
}
