//! What an advert of ours, and an answer, may rest on.

use super::*;
use crate::timers::NS_PER_S;

const NOW: u64 = 100 * NS_PER_S;

fn decided(at: u64) -> Slot {
    let slot = slot(100, 100);
    slot.publish_rules(&Rules::multicast(Source::v4([224, 0, 0, 18])));
    slot.store_decided(at);
    slot
}

#[test]
fn an_advert_is_void_once_somebody_newer_was_heard() {
    let slot = decided(NOW);
    assert!(slot.may_advertise(NOW));
    assert!(slot.may_advertise(NOW + 60 * NS_PER_S), "nobody was heard");
    slot.record_advert(&advert(150, PEER), NOW);
    assert!(
        slot.may_advertise(NOW),
        "what was heard in time was looked at"
    );
    slot.record_advert(&advert(150, PEER), NOW + 1);
    assert!(!slot.may_advertise(NOW + 1));
}

/// (how late, whether it may leave though a losing advert was heard since)
#[test]
fn losing_adverts_void_only_a_late_one() {
    for (late, leaves) in [(NS_PER_S / 2, true), (NS_PER_S / 2 + 1, false)] {
        let slot = decided(NOW);
        slot.record_advert(&advert(50, PEER), NOW + 1);
        assert_eq!(slot.may_advertise(NOW + late), leaves, "{late}");
        let before = decided(NOW);
        before.record_advert(&advert(50, PEER), NOW);
        assert!(
            before.may_advertise(NOW + late),
            "heard before the decision"
        );
    }
}

#[test]
fn what_a_lease_that_is_over_means() {
    for lease in [LeaseMode::Strict, LeaseMode::Peer, LeaseMode::Off] {
        let slot = slot(100, 100);
        slot.publish_rules(&Rules {
            lease,
            ..Rules::multicast(Source::v4([224, 0, 0, 18]))
        });
        assert!(!slot.may_answer(NOW), "{lease:?}: a backup");
        slot.store_lease(NOW);
        assert!(slot.may_answer(NOW - 1), "{lease:?}: while it lasts");
        let is_kept = lease != LeaseMode::Strict;
        assert_eq!(slot.may_answer(NOW), is_kept, "{lease:?}: alone");
        slot.record_advert(&advert(50, PEER), NOW);
        let is_kept = lease == LeaseMode::Off;
        assert_eq!(
            slot.may_answer(NOW),
            is_kept,
            "{lease:?}: another was heard"
        );
        slot.record_advert(&advert(150, PEER), NOW + 1);
        assert!(!slot.may_answer(NOW - 1), "{lease:?}: beaten");
    }
    // One that held us down when we were BACKUP is another router as well.
    let slot = slot(100, 100);
    slot.publish_rules(&Rules {
        lease: LeaseMode::Peer,
        ..Rules::multicast(Source::v4([224, 0, 0, 18]))
    });
    slot.record_advert(&advert(150, PEER), 5);
    slot.store_lease(NOW);
    assert!(!slot.may_answer(NOW));
}

#[test]
fn a_slot_inherits_everything_but_the_defeat() {
    let before = slot(100, 100);
    before.store_lease(1000);
    before.record_advert(&advert(50, STRAY), 1);
    before.record_claim(7, 2);
    before.record_reject(crate::validate::Reject::Ttl, STRAY, 3);
    before.record_answer();
    before.record_advert(&advert(150, PEER), 4);
    let zero = Advert {
        mac: PEER_MAC + 1,
        ..advert(0, PEER)
    };
    before.store_lease(0);
    before.record_advert(&zero, 5);
    let after = slot(100, 100);
    after.inherit(&before);
    let expected = Heard {
        beaten: 0,
        news_seq: 0,
        ..before.heard()
    };
    assert_eq!(after.heard(), expected);
    assert_eq!(expected.foreign_zero, 1);
    // The MAC of the master came along: only it may resign.
    after.record_advert(&advert(0, PEER), 6);
    assert_eq!(after.heard().master.priority, 0);
}

#[test]
fn what_came_later_is_caught_up_with() {
    let before = slot(100, 100);
    let after = slot(100, 100);
    before.record_advert(&advert(150, PEER), 10);
    before.record_advert(&advert(50, STRAY), 11);
    after.record_advert(&advert(160, STRAY), 9);
    after.record_advert(&advert(60, PEER), 12);
    after.catch_up(&before);
    let heard = after.heard();
    assert_eq!((heard.seen_ns, heard.master.source), (10, PEER));
    assert_eq!(
        (heard.other_ns, heard.other.source),
        (12, PEER),
        "its own is newer"
    );
    assert!(!after.is_beaten());
    let resigned = advert(0, PEER);
    after.record_advert(&resigned, 13);
    assert_eq!(after.heard().master.priority, 0, "with the master's MAC");
}

/// (when the slot before heard something, whether that is newer than what this one heard at 10)
#[test]
fn only_what_is_newer_is_caught_up_with() {
    for (at, is_newer) in [(9, false), (10, false), (11, true)] {
        let (before, after) = (slot(100, 100), slot(100, 100));
        before.record_advert(&advert(150, STRAY), at);
        before.record_advert(&advert(50, STRAY), at);
        after.record_advert(&advert(160, PEER), 10);
        after.record_advert(&advert(60, PEER), 10);
        after.catch_up(&before);
        let heard = after.heard();
        let expected = if is_newer { STRAY } else { PEER };
        assert_eq!(
            (heard.master.source, heard.other.source),
            (expected, expected),
            "{at}"
        );
    }
}

/// A defeat counts in the epoch it happened in.
#[test]
fn a_defeat_is_caught_up_with_in_its_epoch() {
    for (epoch, beaten) in [(3, true), (4, false)] {
        let before = slot(100, 100);
        before.store_lease(1000);
        before.record_advert(&advert(150, PEER), 10);
        let after = slot(100, 100);
        after.publish(&Standing {
            epoch,
            ..after.published()
        });
        after.catch_up(&before);
        assert_eq!(after.is_beaten(), beaten, "{epoch}");
    }
    let (before, after) = (slot(100, 100), slot(100, 100));
    after.catch_up(&before);
    assert!(!after.is_beaten(), "nobody was");
    after.store_lease(1000);
    after.record_advert(&advert(150, PEER), 10);
    after.catch_up(&before);
    assert!(after.is_beaten(), "its own defeat stays");
}
