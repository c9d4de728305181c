//! Announcements one after the other, with a pause between them (`vrrp_garp_interval`,
//! `vrrp_gna_interval`, `garp_group`): some switches drop what comes in a burst.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use super::RouterId;
use crate::{dataplane::SlotTable, net::PacketSocket};

/// The pauses of a virtual router, in nanoseconds; 0 = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// After a gratuitous ARP (`garp_interval`).
    pub garp_ns: u64,
    /// After an unsolicited neighbour advertisement (`gna_interval`).
    pub gna_ns: u64,
    /// The `garp_group` whose interfaces take turns, by number; each interface by itself without one.
    pub group: Option<u32>,
}

/// What takes turns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Interface(u32),
    Group(u32),
}

/// Every announcement that waits for its turn.
#[derive(Default)]
pub(super) struct Pacer(RefCell<BTreeMap<Lane, Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    free_at_ns: u64,
}

struct Waiting {
    id: RouterId,
    slot: u32,
    ifindex: u32,
    frame: Vec<u8>,
    pause_ns: u64,
}

/// `EtherType` of IPv6 in a frame.
const IPV6: [u8; 2] = [0x86, 0xdd];

impl Pacer {
    /// Queues a round of announcements. One that has not been sent to its end is not overtaken by the
    /// next: then nothing is queued.
    pub(super) fn queue(&self, id: RouterId, slot: u32, pace: Pace, round: &[(u32, &[u8])]) {
        let mut lanes = self.0.borrow_mut();
        let busy: Vec<Lane> = lanes
            .iter()
            .filter(|(_, queue)| queue.waiting.iter().any(|waiting| waiting.id == id))
            .map(|(lane, _)| *lane)
            .collect();
        for (ifindex, frame) in round {
            let lane = pace.group.map_or(Lane::Interface(*ifindex), Lane::Group);
            if busy.contains(&lane) {
                continue;
            }
            let is_v6 = frame.get(12..14) == Some(&IPV6);
            lanes.entry(lane).or_default().waiting.push_back(Waiting {
                id,
                slot,
                ifindex: *ifindex,
                frame: frame.to_vec(),
                pause_ns: if is_v6 { pace.gna_ns } else { pace.garp_ns },
            });
        }
    }

    /// Drops what waits: its addresses are not ours any more.
    pub(super) fn forget(&self, id: RouterId) {
        for queue in self.0.borrow_mut().values_mut() {
            queue.waiting.retain(|waiting| waiting.id != id);
        }
    }

    /// When the next one may go.
    pub(super) fn due(&self) -> Option<u64> {
        let lanes = self.0.borrow();
        let waiting = lanes.values().filter(|queue| !queue.waiting.is_empty());
        waiting.map(|queue| queue.free_at_ns).min()
    }

    /// Sends what is due. An address that is no longer ours is not announced. Returns whose
    /// announcements the kernel took.
    pub(super) fn run(
        &self,
        now_ns: u64,
        slots: &SlotTable,
        socket: &PacketSocket,
    ) -> Vec<RouterId> {
        let mut sent = Vec::new();
        for queue in self.0.borrow_mut().values_mut() {
            while queue.free_at_ns <= now_ns
                && let Some(next) = queue.waiting.pop_front()
            {
                if !slots
                    .get(next.slot)
                    .is_some_and(|slot| slot.may_answer(now_ns))
                {
                    continue;
                }
                queue.free_at_ns = now_ns + next.pause_ns;
                if socket.send(&[(next.ifindex, &next.frame)]).is_empty() {
                    sent.push(next.id);
                }
            }
        }
        sent
    }
}

impl Pace {
    /// Whether announcements go without a pause.
    pub(super) const fn is_free(&self) -> bool {
        self.garp_ns == 0 && self.gna_ns == 0
    }
}
