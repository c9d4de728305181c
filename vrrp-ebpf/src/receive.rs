//! Adverts: ours are judged, counted and consumed; everybody else's pass untouched.

use vrrp_common::{
    contract::{Counter, VridKey},
    validate::{self, Located},
};

use crate::{Verdict, maps, packet::XdpFrame};

/// Handles an untagged IPv4 frame.
#[inline(always)]
pub fn advert(frame: &XdpFrame<'_>) -> Verdict {
    let candidate = match validate::locate_in_ipv4(frame) {
        Located::NotVrrp => return Verdict::Pass,
        Located::Unreadable(reason) => {
            maps::count_reject(frame.ifindex(), reason);
            return Verdict::Pass;
        }
        Located::Found(candidate) => candidate,
    };
    let ifindex = frame.ifindex();
    // SAFETY: entries are written by user space before the program is attached or as a whole.
    let Some(&index) = (unsafe { maps::VRIDS.get(VridKey::v4(ifindex, candidate.vrid)) }) else {
        maps::count(ifindex, Counter::ForeignVrid);
        return Verdict::Pass;
    };
    let Some(slot) = maps::MASTER_SEEN.get(index) else {
        return Verdict::Pass;
    };
    match validate::validate(frame, &candidate, slot.own_source()) {
        Ok(advert) => {
            maps::count(ifindex, Counter::Advert);
            if slot.record_advert(&advert, maps::now_ns()) {
                maps::ring(ifindex, index);
            }
        }
        Err(reason) => maps::count_reject(ifindex, reason),
    }
    Verdict::Drop
}
