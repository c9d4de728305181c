//! The virtual routers of the election thread: whose turn it is, and what they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::{mpsc::UnboundedReceiver, oneshot};
use vrrp_common::election::Event;

use super::{
    agenda::{Agenda, Place, Wish},
    members::Members,
    sync_groups::Group,
};
use crate::{
    clock,
    election::{
        Command, Inheritance, RouterId, Settled,
        router::{Router, Tools},
    },
    net::{Change, Job},
};

/// How many virtual routers are many.
const BEAT_FROM: usize = 16;

/// How many commands one turn obeys at most.
const COMMANDS: usize = 512;

pub(super) struct Routers {
    pub(super) tools: Tools,
    pub(super) by_id: Members<Entry>,
    pub(super) by_slot: BTreeMap<u32, RouterId>,
    pub(super) agenda: Agenda,
    /// Interfaces that have just lost addresses.
    pub(super) removed_from: BTreeSet<u32>,
    pub(super) groups: Vec<Group>,
    /// Which group a router is in, by index.
    pub(super) group_of: BTreeMap<RouterId, usize>,
    /// Groups with a member that something happened to.
    pub(super) stirred: BTreeSet<usize>,
    /// Counts what arbiters were told.
    pub(super) wants: u64,
}

pub(super) struct Entry {
    pub(super) router: Router,
    place: Option<Place>,
}

impl Entry {
    /// Keeps its deadline in the queue.
    fn keep(&mut self, id: RouterId, agenda: &mut Agenda, was_due: bool) {
        let wish = self.router.deadline().map(|at_ns| Wish {
            at_ns,
            early_ns: self.router.may_look_early_ns(),
        });
        self.place = agenda.put(id, (self.place, was_due), wish);
    }
}

impl Routers {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            tools,
            by_id: Members::new(),
            by_slot: BTreeMap::new(),
            agenda: Agenda::default(),
            removed_from: BTreeSet::new(),
            groups: Vec::new(),
            group_of: BTreeMap::new(),
            stirred: BTreeSet::new(),
            wants: 0,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let all = self.agenda.next().into_iter();
        let all = all.chain(self.tools.pacer.due());
        all.chain(self.permit_deadline()).min()
    }

    pub(super) fn send_paced(&mut self) {
        let Tools {
            pacer,
            slots,
            socket,
            ..
        } = &self.tools;
        for id in pacer.run(clock::now_ns(), slots, socket) {
            if let Some(entry) = self.by_id.get_mut(id) {
                entry.router.has_announced(true);
            }
        }
    }

    /// Sends announcements, of those who may answer for their addresses: what the turn wants announced, or
    /// some of what is to be announced `again`.
    pub(super) fn announce(&mut self, again: bool) {
        let Tools {
            outbox,
            slots,
            socket,
            ..
        } = &self.tools;
        let now_ns = clock::now_ns();
        let may = |slot| {
            let slot = slots.get(slot);
            slot.is_some_and(|slot| slot.may_answer(now_ns))
        };
        let announced = if again {
            outbox.send_again(socket, may)
        } else {
            outbox.send_announcements(socket, may)
        };
        for announced in announced {
            if let Some(entry) = self.by_id.get_mut(announced.id) {
                entry.router.has_announced(announced.is_sent);
            }
        }
    }

    /// Sends what the turn wants sent: the adverts of everybody, then the announcements.
    pub(super) fn end_turn(&mut self) {
        let Tools {
            outbox,
            slots,
            socket,
            ..
        } = &self.tools;
        let now_ns = clock::now_ns();
        let adverts = outbox.send_adverts(socket, |advert| {
            let slot = slots.get(advert.slot);
            slot.is_some_and(|slot| slot.may_advertise(now_ns))
        });
        let (mut to_look, now_ns) = (Vec::new(), clock::now_ns());
        for (advert, fate) in adverts {
            if let Some(entry) = self.by_id.get_mut(advert.id)
                && entry
                    .router
                    .has_advertised((advert.decided_ns, now_ns), &fate, &self.tools)
            {
                to_look.push(advert.id);
            }
        }
        self.announce(false);
        if to_look.is_empty() {
            return;
        }
        // The turn is over: what follows from this is sent at once.
        for id in to_look {
            self.with(id, Router::look);
        }
        self.settle_groups();
        self.restore_neighbours();
    }

    pub(super) fn run_due(&mut self) {
        let now = clock::now_ns();
        self.end_permits(now);
        let due = self.agenda.due(now);
        if !due.is_empty() {
            self.tools.outbox.open();
        }
        for id in due {
            let Some(entry) = self.by_id.get_mut(id) else {
                continue;
            };
            if entry.router.look_again(now, &self.tools) {
                entry.keep(id, &mut self.agenda, true);
            } else {
                self.has_acted(id, true);
            }
        }
    }

    pub(super) fn rang(&mut self, slot: u32) {
        if let Some(id) = self.by_slot.get(&slot).copied() {
            self.with(id, Router::look);
        }
    }

    /// Does something with a router and keeps its deadline in the queue.
    pub(super) fn with(&mut self, id: RouterId, act: impl FnOnce(&mut Router, &Tools)) {
        if let Some(entry) = self.by_id.get_mut(id) {
            act(&mut entry.router, &self.tools);
        }
        self.has_acted(id, false);
    }

    /// A router may want something else by now: its deadline, what its group does, what its neighbours on
    /// the interface lost. One that `was_due` has left the queue.
    fn has_acted(&mut self, id: RouterId, was_due: bool) {
        let Some(entry) = self.by_id.get_mut(id) else {
            return;
        };
        self.stirred.extend(self.group_of.get(&id));
        self.removed_from.extend(entry.router.take_removed());
        entry.keep(id, &mut self.agenda, was_due);
    }

    /// How everything stands; nothing happens until the election goes on.
    pub(super) fn hand_over(&mut self) -> Vec<(RouterId, Inheritance)> {
        let mut list = Vec::new();
        for id in self.by_id.ids() {
            self.with(id, |router, tools| {
                list.extend(router.hand_over(tools).map(|inheritance| (id, inheritance)));
            });
        }
        list
    }

    /// Once per turn of the loop, whatever number of routers removed addresses in it.
    pub(super) fn restore_neighbours(&mut self) {
        let interfaces = std::mem::take(&mut self.removed_from);
        if interfaces.is_empty() {
            return;
        }
        for entry in self.by_id.values() {
            let router = &entry.router;
            if router.interfaces().any(|index| interfaces.contains(&index)) {
                router.restore_addresses(&self.tools);
            }
        }
    }

    /// These have what they need to be MASTER.
    pub(super) fn have_settled(&mut self, all: &[Settled]) {
        self.tools.outbox.open();
        for it in all {
            self.with(it.id, |router, tools| {
                router.settled(it.epoch, it.refused, tools);
            });
        }
    }

    /// Obeys everything that was asked by now, until somebody is due. What has to begin a turn of its own is
    /// returned.
    pub(super) fn obey_all(
        &mut self,
        command: Command,
        inbox: &mut UnboundedReceiver<Command>,
    ) -> Option<Command> {
        self.tools.outbox.open();
        self.obey(command);
        for _ in 1..COMMANDS {
            let now_ns = clock::now_ns();
            if self.next_deadline().is_some_and(|due| due <= now_ns) {
                break;
            }
            match inbox.try_recv() {
                Ok(Command::HandOver(reply)) => return Some(Command::HandOver(reply)),
                Ok(command) => self.obey(command),
                Err(_) => break,
            }
        }
        None
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Add(spec) => {
                let id = spec.id;
                let router = Router::new(*spec, &self.tools);
                self.by_slot.insert(router.slot(), id);
                let entry = Entry {
                    router,
                    place: None,
                };
                self.by_id.insert(id, entry);
                self.share_beat(id);
            }
            // What changes the floor or the state wants a fresh look at the slot: an advert that
            // arrived just before the change was judged by the old rules.
            Command::Tell(id, event) => self.with(id, |router, tools| {
                router.handle(event, tools);
                router.look(tools);
            }),
            Command::Move(id, home, belongings) => {
                self.with(id, |router, tools| router.relocate(home, belongings, tools));
                self.resume_group(id);
            }
            Command::Snapshot(reply) => {
                let all = self
                    .by_id
                    .values()
                    .map(|entry| entry.router.snapshot(&self.tools));
                // Whoever asked may have gone.
                let _ = reply.send(all.collect());
            }
            Command::Restore(id) => self.with(id, Router::restore),
            Command::CatchUp => {
                for id in self.by_id.ids() {
                    self.with(id, Router::catch_up);
                }
            }
            // Dealt with where the mailbox is read; nobody waits to go on.
            Command::HandOver(_) | Command::GoOn => {}
            Command::Change(spec) => {
                let id = spec.id;
                self.with(id, |router, tools| router.reconfigure(*spec, tools));
            }
            Command::Regroup(specs) => self.regroup(specs),
            Command::Permit {
                slot,
                until_ns,
                number,
            } => self.permit(slot, until_ns, number),
            Command::Retire(id) => self.retire(id),
            Command::Stop(reply) => {
                for id in self.by_id.ids() {
                    self.retire(id);
                }
                self.answer_when_idle(reply);
            }
            Command::Idle(reply) => self.answer_when_idle(reply),
        }
    }

    /// The worker does its jobs in order: when an empty one is done, all are.
    fn answer_when_idle(&self, reply: oneshot::Sender<()>) {
        self.tools.worker.submit_beside(Job {
            change: Change::Remove,
            belongings: Arc::new([]),
            keep_own: false,
            virtual_mac: None,
            done: Box::new(move |_| {
                // Whoever asked may have gone.
                let _ = reply.send(());
                None
            }),
        });
    }

    /// Many virtual routers send their adverts together; a few need not.
    fn share_beat(&mut self, newest: RouterId) {
        match self.by_id.len() {
            ..BEAT_FROM => {}
            BEAT_FROM => {
                for entry in self.by_id.values_mut() {
                    entry.router.share_beat();
                }
            }
            _ => {
                if let Some(entry) = self.by_id.get_mut(newest) {
                    entry.router.share_beat();
                }
            }
        }
    }

    fn retire(&mut self, id: RouterId) {
        self.with(id, |router, tools| router.handle(Event::Shutdown, tools));
        if let Some(entry) = self.by_id.remove(id) {
            self.agenda.put(id, (entry.place, false), None);
            self.by_slot.remove(&entry.router.slot());
        }
    }
}
