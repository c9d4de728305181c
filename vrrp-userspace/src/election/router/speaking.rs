//! What a virtual router says: adverts and announcements.

use vrrp_common::{election::Event, slot::Slot, vrrp::PRIORITY_RESIGN};

use super::{Router, Tools};
use crate::{
    clock,
    election::{Audience, Notice, RouterSpec, outbox::Fate},
    net::UnicastSocket,
};

impl Router {
    /// Sends one advert, or leaves that to the end of the turn. Says whether the kernel took it and it
    /// vouches for us.
    pub(super) fn advertise(
        &mut self,
        priority: u8,
        decided_ns: u64,
        slot: &Slot,
        tools: &Tools,
    ) -> bool {
        let resigns = priority == PRIORITY_RESIGN;
        if !self.frames.can_advertise() {
            return false;
        }
        slot.store_decided(decided_ns);
        if let Some(before) = self.slot_of_before(tools) {
            before.store_decided(decided_ns);
        }
        let ifindex = self.spec.home.ifindex;
        if !resigns
            && tools.outbox.is_open()
            && let Some(frame) = self.frames.advert_to_group()
        {
            let whose = (self.spec.id, self.spec.slot);
            tools.outbox.advertise(whose, decided_ns, ifindex, frame);
            return false;
        }
        // The kernel's fence has the last word; where there is none, this is all there is.
        if !resigns && !slot.may_advertise(clock::now_ns()) {
            return self.fenced();
        }
        let unicast = self.unicast.as_ref();
        let sent = self
            .frames
            .send_advert(resigns, ifindex, &tools.socket, unicast);
        // It does not always tell the sender.
        if !resigns && !slot.may_advertise(clock::now_ns()) {
            return self.fenced();
        }
        if let Err(error) = sent {
            self.send_failed(&error.to_string(), tools);
            return false;
        }
        self.has_sent(resigns);
        !resigns
    }

    /// What has become of an advert that waited for the end of the turn. Says whether there is something to
    /// look at.
    pub(in crate::election) fn has_advertised(
        &mut self,
        (decided_ns, now_ns): (u64, u64),
        fate: &Fate,
        tools: &Tools,
    ) -> bool {
        // The fence does not always tell the sender.
        let slot = tools.slots.get(self.spec.slot);
        let may = slot.is_some_and(|slot| slot.may_advertise(now_ns));
        match fate {
            // What the fence refuses looks like a failure of the kernel's.
            Fate::HeldBack | Fate::Failed(_) | Fate::Sent if !may => {
                self.fenced();
            }
            Fate::HeldBack => {
                self.fenced();
            }
            Fate::Failed(why) => self.send_failed(why, tools),
            Fate::Sent => {
                self.has_sent(false);
                self.handle_at(decided_ns, Event::Advertised(decided_ns), tools);
            }
        }
        self.was_fenced
    }

    /// An advert was too late: it vouches for nothing, and there is something to look at.
    pub(super) const fn fenced(&mut self) -> bool {
        self.tally.adverts_fenced += 1;
        self.was_fenced = true;
        self.watch.rests_until_ns = 0;
        false
    }

    /// Told once per failure that lasts, not once per advert.
    pub(super) fn send_failed(&mut self, what: &str, tools: &Tools) {
        self.tally.send_failures += 1;
        if !std::mem::replace(&mut self.fails_to_send, true) {
            tools.notify(Notice::SendFailed {
                id: self.spec.id,
                what: what.to_owned(),
            });
        }
    }

    /// The socket for unicast peers belongs to a source address and an interface.
    pub(super) fn open_unicast(&mut self, tools: &Tools) {
        self.unicast = None;
        let Audience::Peers(_, ttl) = &self.spec.audience else {
            return;
        };
        let Some(source) = self.spec.home.source else {
            return;
        };
        match UnicastSocket::open(self.spec.home.ifindex, source, *ttl) {
            Ok(socket) => self.unicast = Some(socket),
            Err(error) => self.send_failed(&format!("from {source}: {error}"), tools),
        }
    }

    /// An announcement that waited for its turn has been sent, or the kernel did not take it.
    pub(in crate::election) const fn has_announced(&mut self, is_sent: bool) {
        self.tally.announcements_sent += is_sent as u64;
        self.tally.send_failures += !is_sent as u64;
    }

    pub(super) fn announce(&mut self, repeat: u32, tools: &Tools) {
        let RouterSpec { id, slot, pace, .. } = self.spec;
        if !pace.is_free() {
            let frames = self.frames.rounds(repeat);
            tools.pacer.queue(id, slot, pace, &frames);
            return;
        }
        if tools.outbox.is_open() {
            let round = self.frames.round();
            return tools.outbox.announce((id, slot), &round, repeat);
        }
        let frames = self.frames.rounds(repeat);
        let failures = tools.socket.send(&frames);
        self.tally.send_failures += failures.len() as u64;
        if failures.is_empty() {
            self.tally.announcements_sent += frames.len() as u64;
        }
    }
}
