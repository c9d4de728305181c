//! What a turn of the loop wants sent: it leaves in as few system calls as can be, adverts first, then every
//! address once. What is to be announced more than once waits until nobody has had anything to announce for the
//! first time, or to decide, for a while.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    ops::Range,
};

use super::RouterId;
use crate::net::PacketSocket;

/// Frames that wait for the end of the turn.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: RefCell<Waiting>,
    is_open: Cell<bool>,
}

#[derive(Default)]
struct Waiting {
    /// Every frame, one behind the other.
    bytes: Vec<u8>,
    adverts: Vec<Advert>,
    announcements: Vec<Announcement>,
    /// Those that have been sent once, and are to be sent again when there is nothing else to do.
    again: VecDeque<Announcement>,
    /// Counts frames.
    number: u64,
    /// What was queued of a router before this number is void. Nobody looks for it: there may be thousands.
    void: HashMap<RouterId, Void>,
}

#[derive(Clone, Copy, Default)]
struct Void {
    /// Adverts, and announcements that have not been sent once.
    first: u64,
    /// Those that are to be sent again.
    again: u64,
}

/// An advert that waits.
#[derive(Clone, Debug)]
pub(super) struct Advert {
    pub(super) id: RouterId,
    pub(super) slot: u32,
    /// The clock was read then.
    pub(super) decided_ns: u64,
    number: u64,
    ifindex: u32,
    frame: Range<usize>,
}

/// What has become of an advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The kernel took it.
    Sent,
    /// Something was heard meanwhile that it knows nothing of.
    HeldBack,
    /// The kernel did not take it, and said why.
    Failed(String),
}

struct Announcement {
    id: RouterId,
    slot: u32,
    number: u64,
    ifindex: u32,
    repeat: u32,
    frame: Range<usize>,
}

/// What became of an announcement of a router.
pub(super) struct Announced {
    pub(super) id: RouterId,
    pub(super) is_sent: bool,
}

impl Waiting {
    fn keep(&mut self, frame: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        start..self.bytes.len()
    }

    fn count(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn void(&self, id: RouterId) -> Void {
        self.void.get(&id).copied().unwrap_or_default()
    }

    /// Where nothing waits, nothing is void.
    fn tidy(&mut self) {
        if self.adverts.is_empty() && self.announcements.is_empty() && self.again.is_empty() {
            self.bytes.clear();
            self.void.clear();
        }
    }

    fn frame(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

impl Outbox {
    /// From here on frames wait for the end of the turn.
    pub(super) fn open(&self) {
        self.is_open.set(true);
    }

    /// Whether frames wait; outside a turn they are sent at once.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Queues an advert.
    pub(super) fn advertise(
        &self,
        (id, slot): (RouterId, u32),
        decided_ns: u64,
        ifindex: u32,
        frame: &[u8],
    ) {
        let mut waiting = self.waiting.borrow_mut();
        let frame = waiting.keep(frame);
        let number = waiting.count();
        waiting.adverts.push(Advert {
            id,
            slot,
            decided_ns,
            number,
            ifindex,
            frame,
        });
    }

    /// Queues announcements of a router, so many times each.
    pub(super) fn announce(
        &self,
        (id, slot): (RouterId, u32),
        frames: &[(u32, &[u8])],
        repeat: u32,
    ) {
        let mut waiting = self.waiting.borrow_mut();
        for (ifindex, frame) in frames {
            let frame = waiting.keep(frame);
            let number = waiting.count();
            waiting.announcements.push(Announcement {
                id,
                slot,
                number,
                ifindex: *ifindex,
                repeat,
                frame,
            });
        }
    }

    /// Drops what waits of a router: its addresses are not its own any more.
    pub(super) fn forget(&self, id: RouterId) {
        let mut waiting = self.waiting.borrow_mut();
        let now = waiting.number + 1;
        let (first, again) = (now, now);
        waiting.void.insert(id, Void { first, again });
    }

    /// Drops what is to be announced again: it says what is not so any more.
    pub(super) fn forget_repeats(&self, id: RouterId) {
        let mut waiting = self.waiting.borrow_mut();
        let now = waiting.number + 1;
        waiting.void.entry(id).or_default().again = now;
    }

    /// Sends the adverts that still `may` go, and says what has become of each.
    pub(super) fn send_adverts(
        &self,
        socket: &PacketSocket,
        may: impl Fn(&Advert) -> bool,
    ) -> Vec<(Advert, Fate)> {
        let mut adverts = std::mem::take(&mut self.waiting.borrow_mut().adverts);
        let waiting = self.waiting.borrow();
        adverts.retain(|advert| advert.number >= waiting.void(advert.id).first);
        let mut fates = Vec::with_capacity(adverts.len());
        let mut frames: Vec<(u32, &[u8])> = Vec::with_capacity(adverts.len());
        for advert in &adverts {
            if may(advert) {
                frames.push((advert.ifindex, waiting.frame(&advert.frame)));
                fates.push(Fate::Sent);
            } else {
                fates.push(Fate::HeldBack);
            }
        }
        let mut went = fates.iter_mut().filter(|fate| **fate != Fate::HeldBack);
        let mut at = 0;
        for failure in socket.send(&frames) {
            let failed = went.by_ref().skip(failure.frames.start - at);
            for fate in failed.take(failure.frames.len()) {
                *fate = Fate::Failed(failure.error.to_string());
            }
            at = failure.frames.end;
        }
        adverts.into_iter().zip(fates).collect()
    }

    /// Sends the announcements of those who `may` answer for their addresses, once, and ends the turn.
    pub(super) fn send_announcements(
        &self,
        socket: &PacketSocket,
        may: impl Fn(u32) -> bool,
    ) -> Vec<Announced> {
        self.is_open.set(false);
        let mut waiting = self.waiting.borrow_mut();
        let mut announcements = std::mem::take(&mut waiting.announcements);
        announcements.retain(|it| it.number >= waiting.void(it.id).first);
        waiting.send(announcements, socket, may)
    }

    /// Whether something is to be sent again.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.borrow().again.is_empty()
    }

    /// Sends some of what is to be sent again: every address a second time before any a third time.
    pub(super) fn send_again(
        &self,
        socket: &PacketSocket,
        may: impl Fn(u32) -> bool,
    ) -> Vec<Announced> {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.again.len().min(AT_ONCE);
        let mut announcements: Vec<Announcement> = waiting.again.drain(..count).collect();
        announcements.retain(|it| it.number >= waiting.void(it.id).again);
        waiting.send(announcements, socket, may)
    }
}

/// How many announcements are sent again before the loop looks at what else there is: less than a
/// millisecond's worth.
const AT_ONCE: usize = 128;

impl Waiting {
    fn send(
        &mut self,
        mut announcements: Vec<Announcement>,
        socket: &PacketSocket,
        may: impl Fn(u32) -> bool,
    ) -> Vec<Announced> {
        announcements.retain(|it| may(it.slot));
        let frames = announcements
            .iter()
            .map(|it| (it.ifindex, self.frame(&it.frame)));
        let frames: Vec<(u32, &[u8])> = frames.collect();
        let mut outcome: Vec<Announced> = announcements
            .iter()
            .map(|it| Announced {
                id: it.id,
                is_sent: true,
            })
            .collect();
        for failure in socket.send(&frames) {
            for failed in outcome.get_mut(failure.frames).unwrap_or_default() {
                failed.is_sent = false;
            }
        }
        let repeated = announcements.into_iter().filter_map(|mut it| {
            it.repeat = it.repeat.saturating_sub(1);
            (it.repeat > 0).then_some(it)
        });
        self.again.extend(repeated);
        self.tidy();
        outcome
    }
}
