//! Candidates and the party that holds their lease, in virtual time: clocks that are off by 1 %, answers
//! that take their time or get lost, partitions, pauses, a party that stands still. Never may two of them
//! be MASTER at once, and when all is well again one of them is.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vrrp_common::arbiter::{Answer, Ask, FOREVER, Left, OnUnreachable, Tenant, Terms};

const MS: u64 = 1_000_000;
const TTL: u64 = 5_000 * MS;

const fn terms(on_unreachable: OnUnreachable) -> Terms {
    Terms {
        ttl_ns: TTL,
        interval_ns: TTL / 4,
        retry_ns: 100 * MS,
        on_unreachable,
    }
}

/// A clock that runs at `rate` thousandths of true time, from its own beginning.
#[derive(Clone, Copy)]
struct Clock {
    rate: u64,
    offset: u64,
}

impl Clock {
    fn at(self, true_ns: u64) -> u64 {
        self.offset + true_ns / 1000 * self.rate
    }
}

/// The party: leases by number, who holds what by which lease, and who wants to.
struct Party {
    clock: Clock,
    leases: BTreeMap<u64, u64>,
    holder: Option<u64>,
    candidates: BTreeMap<u64, u8>,
    next: u64,
}

impl Party {
    fn expire(&mut self, now: u64) {
        let now = self.clock.at(now);
        self.leases.retain(|_, until| *until > now);
        self.forget();
    }

    fn forget(&mut self) {
        let leases = &self.leases;
        self.holder = self.holder.filter(|lease| leases.contains_key(lease));
        self.candidates
            .retain(|lease, _| leases.contains_key(lease));
    }

    /// Answers a question of whoever has this lease; with the lease that it has then.
    fn answer(&mut self, now: u64, lease: u64, ask: Ask) -> (u64, Answer) {
        self.expire(now);
        let until = self.clock.at(now) + TTL;
        let is_known = self.leases.contains_key(&lease);
        match ask {
            Ask::Lease => {
                self.next += 1;
                self.leases.insert(self.next, until);
                (self.next, Answer::Leased)
            }
            Ask::Release => {
                self.leases.remove(&lease);
                self.forget();
                (lease, Answer::Released)
            }
            _ if !is_known => (lease, Answer::Lost),
            Ask::Renew => {
                self.leases.insert(lease, until);
                let others = self.candidates.iter().filter(|(other, _)| **other != lease);
                let rival = others.map(|(_, priority)| *priority).max();
                let holds = self.holder == Some(lease);
                (lease, Answer::Renewed { holds, rival })
            }
            Ask::Acquire(priority) => {
                self.candidates.insert(lease, priority);
                let best = self.candidates.values().max().copied().unwrap_or(0);
                if self.holder.is_none() && priority >= best {
                    self.holder = Some(lease);
                }
                let holds = self.holder == Some(lease);
                if holds {
                    self.candidates.remove(&lease);
                }
                (lease, Answer::Acquired(holds))
            }
        }
    }
}

/// A candidate, and the question that it waits for the answer of.
struct Node {
    clock: Clock,
    tenant: Tenant,
    lease: u64,
    priority: u8,
    /// Asked, when by its own clock, and how it goes on by true time.
    asked: Option<(Ask, u64, Pending)>,
    is_cut_off: bool,
    stopped_until: u64,
    /// Wants it from then on: Master_Down after it gave up.
    wants_from: u64,
    /// What it wants is heard of so late.
    hears_late: u64,
    /// What it is to be told, and when.
    told: std::collections::VecDeque<(u64, Option<u8>)>,
    /// What it was told last, or will be.
    last: Option<u8>,
    was_permitted: bool,
}

struct Pending {
    heard_at: Option<u64>,
    back_at: u64,
    answer: Option<(u64, Answer)>,
}

impl Node {
    /// Who has declined needs another permit, whatever the last one was.
    fn may_be_master(&self, now: u64) -> bool {
        let own = self.clock.at(now);
        self.last.is_some() && own < self.tenant.permit_until_ns(own)
    }
}

#[derive(Clone, Debug)]
enum Trouble {
    CutOff(usize, bool),
    /// A process that stands still; its permit goes on by its clock.
    Stop(usize, u64),
    /// The party answers nobody for so long, and its clock goes on.
    Pause(u64),
    /// One gives up what it has.
    Yield(usize),
    /// Another process takes the place of one.
    Upgrade(usize),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        (0..3_usize, any::<bool>()).prop_map(|(node, cut)| Trouble::CutOff(node, cut)),
        (0..3_usize, 1..12_000_u64).prop_map(|(node, ms)| Trouble::Stop(node, ms * MS)),
        (1..12_000_u64).prop_map(|ms| Trouble::Pause(ms * MS)),
        (0..3_usize).prop_map(Trouble::Yield),
        (0..3_usize).prop_map(Trouble::Upgrade),
    ]
}

/// Off by 1 % at most, and often by as much.
fn rate() -> impl Strategy<Value = u64> {
    prop_oneof![Just(990), Just(1010), 990..=1010_u64]
}

struct World {
    now: u64,
    party: Party,
    paused_until: u64,
    nodes: Vec<Node>,
    random: u64,
    /// Answers get lost at times.
    loses: bool,
    /// `fault`: never two. With the other modes that holds once everybody is answered again.
    promises_one: bool,
    mode: OnUnreachable,
}

impl World {
    fn new(rates: &[u64], seed: u64, mode: OnUnreachable) -> Self {
        let clock = |rate: u64, at: u64| Clock {
            rate,
            offset: 1_000 * MS * (at + 1),
        };
        let node = |(at, rate): (usize, &u64)| Node {
            clock: clock(*rate, at as u64),
            tenant: Tenant::new(terms(mode)),
            lease: 0,
            priority: 100 - u8::try_from(at).unwrap_or(0) * 10,
            asked: None,
            is_cut_off: false,
            stopped_until: 0,
            wants_from: 0,
            hears_late: 0,
            told: std::collections::VecDeque::new(),
            last: None,
            was_permitted: false,
        };
        Self {
            now: 0,
            party: Party {
                clock: clock(rates[0], 9),
                leases: BTreeMap::new(),
                holder: None,
                candidates: BTreeMap::new(),
                next: 0,
            },
            paused_until: 0,
            nodes: rates[1..].iter().enumerate().map(node).collect(),
            random: seed | 1,
            loses: true,
            promises_one: mode == OnUnreachable::Fault,
            mode,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        // xorshift: the same each time.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// On its way: often no time at all, which leaves nothing over for clocks to differ.
    fn delay(&mut self) -> u64 {
        let some = self.random(300) * MS;
        if self.random(2) == 0 { 0 } else { some }
    }

    fn step(&mut self) {
        self.now += 10 * MS;
        for at in 0..self.nodes.len() {
            self.turn(at);
        }
        if self.promises_one {
            assert!(self.masters() <= 1, "two at {} ms", self.now / MS);
        }
    }

    fn masters(&self) -> usize {
        let masters = self.nodes.iter();
        masters.filter(|node| node.may_be_master(self.now)).count()
    }

    fn turn(&mut self, at: usize) {
        let now = self.now;
        let (way, back) = (self.delay(), self.delay());
        let is_lost = self.random(20) == 0 && self.loses;
        let paused = now < self.paused_until;
        let node = &mut self.nodes[at];
        // The party hears a question once it is there, and answers even who has gone away since.
        if let Some((ask, _, pending)) = &mut node.asked
            && pending.heard_at.is_some_and(|heard| heard <= now)
            && !paused
        {
            pending.heard_at = None;
            pending.answer = Some(self.party.answer(now, node.lease, *ask));
            pending.back_at = pending.back_at.max(now + back);
        }
        if now < node.stopped_until {
            return;
        }
        let own = node.clock.at(now);
        if let Some((ask, asked, pending)) = &node.asked {
            let patience = terms(OnUnreachable::Fault).interval_ns;
            let (ask, asked) = (*ask, *asked);
            match pending.answer {
                Some((lease, answer)) if pending.back_at <= now && !node.is_cut_off => {
                    node.lease = lease;
                    node.asked = None;
                    node.tenant.answer(asked, own, ask, answer);
                }
                _ if own >= asked + patience => {
                    // What is under way may still be heard: the worst moment is now, and later.
                    if let Some((ask, _, pending)) = node.asked.take()
                        && pending.heard_at.is_some()
                        && !is_lost
                    {
                        self.party.answer(now + 1, node.lease, ask);
                    }
                    self.nodes[at]
                        .tenant
                        .answer(asked, own, ask, Answer::Failed);
                }
                _ => {}
            }
        }
        let node = &mut self.nodes[at];
        let permitted = own < node.tenant.permit_until_ns(own);
        // A MASTER whose permit has ended is a candidate again after a while.
        if node.was_permitted && !permitted {
            node.wants_from = now + 400 * MS;
        }
        node.was_permitted = permitted;
        let wanted = (now >= node.wants_from).then_some(node.priority);
        if node.last != wanted {
            node.last = wanted;
            node.told.push_back((now + node.hears_late, wanted));
        }
        while let Some((at, wanted)) = node.told.front().copied()
            && at <= now
        {
            node.told.pop_front();
            node.tenant.want(own, wanted);
        }
        if node.asked.is_none() {
            let (ask, due) = node.tenant.next(own);
            if own >= due {
                let pending = Pending {
                    heard_at: (!node.is_cut_off && !is_lost).then_some(now + way),
                    back_at: now + way,
                    answer: None,
                };
                node.asked = Some((ask, own, pending));
            }
        }
    }

    fn make(&mut self, trouble: &Trouble) {
        let now = self.now;
        match trouble {
            Trouble::CutOff(node, cut) => self.nodes[*node].is_cut_off = *cut,
            Trouble::Stop(node, time) => self.nodes[*node].stopped_until = now + time,
            Trouble::Pause(time) => self.paused_until = now + time,
            Trouble::Yield(node) => {
                let node = &mut self.nodes[*node];
                node.wants_from = now + 400 * MS;
            }
            Trouble::Upgrade(at) => {
                let node = &mut self.nodes[*at];
                let left = node.tenant.left();
                let is_something = left.lease_until_ns > 0 || left.silent_since_ns.is_some();
                node.tenant = if is_something {
                    Tenant::resume(terms(self.mode), left)
                } else {
                    Tenant::new(terms(self.mode))
                };
                // What it wants it is told anew.
                node.told = [(now + node.hears_late, node.last)].into();
                // What was asked is heard all the same, and nobody is there for the answer.
                if let Some((ask, _, pending)) = node.asked.take()
                    && pending.heard_at.is_some()
                {
                    self.party.answer(now + 1, node.lease, ask);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn never_two_and_in_the_end_the_best(
        rates in proptest::collection::vec(rate(), 4),
        seed in any::<u64>(),
        mode in prop_oneof![
            2 => Just(OnUnreachable::Fault),
            1 => Just(OnUnreachable::Keep),
            1 => Just(OnUnreachable::Ignore),
        ],
        late in prop_oneof![Just(0), 0..4_000_u64],
        troubles in proptest::collection::vec((1..800_u32, trouble()), 0..12),
    ) {
        let mut world = World::new(&rates, seed, mode);
        for node in &mut world.nodes {
            node.hears_late = late * MS;
        }
        for (steps, trouble) in &troubles {
            for _ in 0..*steps {
                world.step();
            }
            world.make(trouble);
        }
        for node in &mut world.nodes {
            node.is_cut_off = false;
        }
        // Every pause is over, every old lease has run out, a lost question has been asked again, and the
        // best has asked the others to give way.
        for _ in 0..6000 {
            world.step();
        }
        // A lost answer is silence, and with `ignore` and `keep` somebody goes on for as long as that lasts.
        // Now nothing is lost any longer: whoever was not heard for a whole lease is heard again.
        world.loses = false;
        for _ in 0..3000 {
            world.step();
        }
        for _ in 0..1000 {
            world.step();
            prop_assert_eq!(world.masters(), 1, "at {} ms", world.now / MS);
            prop_assert!(world.nodes[0].may_be_master(world.now), "at {} ms", world.now / MS);
        }
    }
}

#[test]
fn what_holds_while_nobody_answers() {
    for (mode, holder, other) in [
        (OnUnreachable::Fault, false, false),
        (OnUnreachable::Keep, true, false),
        (OnUnreachable::Ignore, true, true),
    ] {
        let silent = |holds: bool| {
            let mut tenant = Tenant::new(terms(mode));
            tenant.want(0, Some(100));
            tenant.answer(0, 1, Ask::Lease, Answer::Leased);
            tenant.answer(1, 2, Ask::Acquire(100), Answer::Acquired(holds));
            tenant.answer(TTL / 2, TTL / 2 + 1, Ask::Renew, Answer::Failed);
            let later = TTL * 2;
            assert_eq!(tenant.is_reachable(later), Some(false));
            later < tenant.permit_until_ns(later)
        };
        assert_eq!((silent(true), silent(false)), (holder, other), "{mode:?}");
    }
}

#[test]
fn a_better_candidate_ends_the_permit_at_once() {
    let mut tenant = Tenant::new(terms(OnUnreachable::Fault));
    tenant.want(0, Some(90));
    tenant.answer(0, 1, Ask::Lease, Answer::Leased);
    tenant.answer(1, 2, Ask::Acquire(90), Answer::Acquired(true));
    assert!(tenant.permit_until_ns(3) > 3);
    let renewed = |rival| Answer::Renewed { holds: true, rival };
    tenant.answer(3, 4, Ask::Renew, renewed(Some(90)));
    assert!(tenant.permit_until_ns(5) > 5, "an equal one waits");
    tenant.answer(5, 6, Ask::Renew, renewed(Some(91)));
    assert_eq!(tenant.permit_until_ns(7), 0);
    tenant.want(8, None);
    assert_eq!(tenant.next(8), (Ask::Release, 8));
    // It wants it again before that is answered: by another lease.
    tenant.want(9, Some(90));
    assert_eq!(tenant.permit_until_ns(9), 0);
    assert_eq!(tenant.next(9).0, Ask::Release);
    tenant.answer(8, 10, Ask::Release, Answer::Released);
    assert_eq!(tenant.next(10).0, Ask::Lease);
}

/// Asked, declined and wanted again before the answer: that lease is to be given back, whatever it holds.
#[test]
fn an_answer_to_an_earlier_wish_permits_nothing() {
    let mut tenant = Tenant::new(terms(OnUnreachable::Fault));
    tenant.want(0, Some(100));
    tenant.answer(0, 1, Ask::Lease, Answer::Leased);
    tenant.answer(1, 2, Ask::Acquire(100), Answer::Acquired(false));
    tenant.want(4, None);
    tenant.want(5, Some(100));
    tenant.answer(3, 6, Ask::Acquire(100), Answer::Acquired(true));
    assert_eq!(tenant.permit_until_ns(7), 0);
    assert_eq!(tenant.next(7), (Ask::Release, 6));
}

/// Somebody has taken away by hand what we hold: another may have it by now.
#[test]
fn what_was_taken_away_is_asked_for_again() {
    let mut tenant = Tenant::new(terms(OnUnreachable::Keep));
    tenant.want(0, Some(100));
    tenant.answer(0, 1, Ask::Lease, Answer::Leased);
    tenant.answer(1, 2, Ask::Acquire(100), Answer::Acquired(true));
    let (holds, rival) = (false, None);
    tenant.answer(3, 4, Ask::Renew, Answer::Renewed { holds, rival });
    assert_eq!(tenant.permit_until_ns(5), 0);
    assert_eq!(tenant.next(5).0, Ask::Acquire(100));
}

/// A process goes on with what another held; a lease that may hold nothing is given back first.
#[test]
fn what_another_process_has_left() {
    let now = 100_000 * MS;
    let resume = |mode, lease_until_ns, held_as: Option<u8>, silent_since_ns| {
        let left = Left {
            lease_until_ns,
            held_as,
            has_key: held_as.is_some(),
            silent_since_ns,
        };
        let tenant = Tenant::resume(terms(mode), left);
        assert_eq!(tenant.left(), left);
        tenant
    };
    let mut held = resume(OnUnreachable::Fault, now + TTL / 2, Some(100), None);
    assert_eq!(held.permit_until_ns(now), now + TTL / 2);
    assert_eq!(held.next(now).0, Ask::Renew);
    held.want(now, Some(100));
    assert_eq!(held.permit_until_ns(now), now + TTL / 2, "as before");
    // Held by `keep` alone, by a lease that has no key: as before while nobody answers, and nothing of it
    // once somebody does.
    for (mode, permit) in [(OnUnreachable::Keep, FOREVER), (OnUnreachable::Fault, 0)] {
        let left = Left {
            lease_until_ns: now + TTL,
            held_as: Some(100),
            has_key: false,
            silent_since_ns: Some(now - TTL),
        };
        let mut kept = Tenant::resume(terms(mode), left);
        assert_eq!(kept.permit_until_ns(now), permit, "{mode:?}");
        assert_eq!(kept.next(now).0, Ask::Acquire(100));
        kept.answer(now, now + 1, Ask::Acquire(100), Answer::Acquired(false));
        assert_eq!(kept.permit_until_ns(now), 0, "{mode:?}");
    }
    // The party has been silent for longer than the lease: what `keep` means goes on.
    for (mode, permit) in [
        (OnUnreachable::Keep, FOREVER),
        (OnUnreachable::Fault, now - 1),
    ] {
        let silent = resume(mode, now - 1, Some(100), Some(now - TTL));
        assert_eq!(silent.permit_until_ns(now), permit, "{mode:?}");
    }
    let mut unknown = resume(OnUnreachable::Fault, now + TTL / 2, None, None);
    unknown.want(now, Some(100));
    assert_eq!(unknown.permit_until_ns(now), 0);
    assert_eq!(unknown.next(now).0, Ask::Release);
}
