//! Where an advert stands against us.

use super::Standing;
use crate::vrrp::{Advert, PRIORITY_RESIGN, Source};

/// What an accepted advert means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// It holds us down.
    Holds,
    /// We are MASTER and it beats us (RFC 9568 6.4.3: higher, or equal from a higher address).
    Beats,
    /// The master we know resigns.
    Resigns,
    /// It has no authority over us: we may re-assert, or let our own timer run out.
    Lesser,
    /// A resignation from somebody who is not the master we know. It moves nothing: one forged
    /// frame would otherwise unseat a live master.
    ForeignZero,
}

/// Where an advert stands against us. `is_from_master` says whether its sender is the master we know; only a
/// resignation asks.
#[inline(always)]
#[must_use]
pub fn bearing(
    advert: &Advert,
    is_master: bool,
    own: &Standing,
    is_from_master: impl FnOnce() -> bool,
) -> Bearing {
    if advert.priority == PRIORITY_RESIGN {
        return if is_master {
            Bearing::Lesser
        } else if is_from_master() {
            Bearing::Resigns
        } else {
            Bearing::ForeignZero
        };
    }
    if is_master {
        return if beats(advert.priority, advert.source, own.priority, own.source) {
            Bearing::Beats
        } else {
            Bearing::Lesser
        };
    }
    if advert.priority >= own.floor {
        Bearing::Holds
    } else {
        Bearing::Lesser
    }
}

/// RFC 9568 6.4.3: a MASTER yields to a higher priority, or an equal one from a higher address.
#[inline(always)]
#[must_use]
pub fn beats(priority: u8, source: Source, own_priority: u8, own_source: Source) -> bool {
    if priority != own_priority {
        return priority > own_priority;
    }
    if source.high == own_source.high {
        source.low > own_source.low
    } else {
        source.high > own_source.high
    }
}
