//! What goes with the mastership: addresses, routes and rules, and the interface that they are on.

use std::{collections::BTreeSet, sync::Arc};

use vrrp_common::{
    election::{Event, State},
    vrrp::Source,
};

use super::{Router, Tools};
use crate::{
    election::{Home, Notice, Settled},
    net::{Belonging, Change, Job, Refused},
};

impl Router {
    /// Another virtual router has taken addresses off our interface, and the kernel may have taken
    /// ours with them, as the secondary addresses of one that went. Adding what is there already
    /// changes nothing.
    pub(in crate::election) fn restore_addresses(&self, tools: &Tools) {
        if self.election.state() == State::Master {
            self.change(Change::Add, self.spec.belongings.clone(), tools);
        }
    }

    /// Somebody removed one of our belongings, or a link of theirs came.
    pub(in crate::election) fn restore(&mut self, tools: &Tools) {
        if self.election.state() == State::Master {
            self.tally.restored += 1;
            self.has_moved = true;
            self.restore_addresses(tools);
        }
    }

    /// The interfaces whose addresses this router has just removed, once.
    pub(in crate::election) fn take_removed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.removed_from)
    }

    /// The interfaces that its addresses are on.
    pub(in crate::election) fn interfaces(&self) -> impl Iterator<Item = u32> {
        let addresses = self.spec.belongings.iter().filter_map(Belonging::address);
        addresses.map(|(ifindex, _)| ifindex)
    }

    /// The interface, its MAC or its address changed, or where the belongings are.
    pub(in crate::election) fn relocate(
        &mut self,
        home: Home,
        belongings: Arc<[Belonging]>,
        tools: &Tools,
    ) {
        let moved = *self.spec.belongings != *belongings;
        let had = std::mem::replace(&mut self.spec.belongings, belongings);
        let before = std::mem::replace(&mut self.spec.home, home);
        if let Some(slot) = tools.slots.get(self.spec.slot) {
            slot.publish_port(home.port);
        }
        if before.source != home.source || !before.is_on(&home) {
            self.open_unicast(tools);
        }
        self.build_frames();
        if moved || before.ifindex != home.ifindex || before.mac != home.mac {
            // What they say is not so any more.
            tools.outbox.forget_repeats(self.spec.id);
        }
        if self.election.state() == State::Init
            && home.ifindex != 0
            && let Some(inheritance) = self.spec.inheritance.take()
        {
            self.inherit(&inheritance, tools);
            if inheritance.tenure.is_some() {
                return;
            }
        }
        let idle = matches!(self.election.state(), State::Init | State::Fault);
        if idle && moved && !self.spec.owner {
            // Whatever a daemon that crashed has left there goes before anything else happens.
            self.change(Change::Remove, self.spec.belongings.clone(), tools);
        }
        if moved && self.election.state() == State::Master {
            let goes =
                |entry: &&Belonging| !self.spec.belongings.iter().any(|it| it.is_alike(entry));
            let gone: Arc<[Belonging]> = had.iter().filter(goes).cloned().collect();
            // Others may have lost secondary addresses with one of these.
            self.removed_from = gone
                .iter()
                .filter_map(Belonging::address)
                .map(|it| it.0)
                .collect();
            self.change(Change::Remove, gone, tools);
            self.change(Change::Add, self.spec.belongings.clone(), tools);
            self.has_moved = true;
        }
        if before.mac != home.mac {
            self.handle(Event::Mac(home.mac), tools);
        }
        if let Some(ip) = home.source
            && before.source != home.source
        {
            self.handle(Event::Source(Source::of(ip)), tools);
        }
    }

    /// The addresses are in place, and the lease may be granted. Until it is, the kernel judges
    /// adverts as for a backup, and one that beats us is no news to it: so the slot is looked at
    /// before, and again after the store.
    pub(in crate::election) fn settled(&mut self, epoch: u64, refused: u32, tools: &Tools) {
        self.tally.refused += u64::from(refused);
        self.look(tools);
        self.handle(Event::Settled(epoch), tools);
        self.look(tools);
        if std::mem::take(&mut self.has_moved) && self.election.state() == State::Master {
            self.announce(1, tools);
        }
    }

    /// Changes belongings; what is added is for the promotion that we are in.
    pub(super) fn change(&self, change: Change, belongings: Arc<[Belonging]>, tools: &Tools) {
        let id = self.spec.id;
        let epoch = self.election.standing().epoch;
        let notices = tools.notices.clone();
        let done = move |refused: Vec<Refused>| {
            let count = u32::try_from(refused.len()).unwrap_or(u32::MAX);
            for Refused { what, error } in refused {
                let verb = if change == Change::Add {
                    "add"
                } else {
                    "remove"
                };
                let what = format!("{verb} {what}: {error}");
                // An error means that the process is ending.
                let _ = notices.send(Notice::Refused { id, what });
            }
            (change == Change::Add).then_some(Settled {
                id,
                epoch,
                refused: count,
            })
        };
        // Where only some go, the MAC stays.
        let is_whole = change == Change::Add || Arc::ptr_eq(&belongings, &self.spec.belongings);
        tools.worker.submit_beside(Job {
            change,
            belongings,
            keep_own: self.spec.owner,
            virtual_mac: self.spec.home.virtual_mac().filter(|_| is_whole),
            done: Box::new(done),
        });
    }
}
