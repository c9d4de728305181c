//! The slot as both sides use it.

mod authority;
mod hears;
mod hears_again;
mod told;

use super::*;
use crate::vrrp::{Advert, ChecksumForm, Source};

const PEER: Source = Source::v4([10, 0, 0, 2]);
const PEER_MAC: u64 = 0x0200_0000_0009;
const STRAY: Source = Source::v4([10, 0, 0, 66]);

fn advert(priority: u8, source: Source) -> Advert {
    Advert {
        vrid: 1,
        priority,
        count: 1,
        interval_cs: 100,
        form: ChecksumForm::MessageOnly,
        addresses_sum: 7,
        source,
        mac: PEER_MAC,
    }
}

fn slot(floor: u8, priority: u8) -> Slot {
    let slot = Slot::new();
    slot.publish(&Standing {
        mac: [2, 0, 0, 0, 0, 1],
        floor,
        priority,
        source: Source::v4([10, 0, 0, 5]),
        epoch: 3,
    });
    slot
}
