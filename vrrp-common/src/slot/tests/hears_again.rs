//! A master that goes on saying what it said: what the shorter look at a slot may overlook.

use super::*;
use crate::validate::Reject;

#[test]
fn a_master_that_goes_on_is_heard_again() {
    let slot = slot(100, 100);
    slot.record_advert(&advert(150, PEER), 1);
    slot.acknowledge(slot.heard().news_seq);
    let before = slot.heard().surroundings();
    slot.record_advert(&advert(150, PEER), 9);
    assert_eq!(slot.heard_again(&before), Some((9, slot.heard().master)));
    slot.record_advert(&advert(90, PEER), 10);
    assert_eq!(slot.heard_again(&before), None, "somebody else speaks");
    let before = slot.heard().surroundings();
    assert_eq!(slot.heard_again(&before), None, "it was the last to speak");
    slot.acknowledge(slot.heard().news_seq);
    slot.record_advert(&advert(150, PEER), 11);
    assert!(slot.heard_again(&before).is_some());
    slot.record_advert(&advert(151, PEER), 12);
    assert_eq!(slot.heard_again(&before), None, "it says something else");
    slot.record_advert(&advert(150, PEER), 13);
    assert_eq!(
        slot.heard_again(&before),
        None,
        "and that was not looked at"
    );
}

#[test]
fn of_two_at_the_same_moment_nobody_knows_who_was_last() {
    let slot = slot(100, 100);
    slot.record_advert(&advert(150, PEER), 9);
    slot.record_advert(&advert(90, STRAY), 9);
    slot.acknowledge(slot.heard().news_seq);
    let before = slot.heard().surroundings();
    assert_eq!(slot.heard_again(&before), None);
    slot.record_advert(&advert(150, PEER), 10);
    assert!(slot.heard_again(&before).is_some());
}

/// Each of these alone is more than that, though there is no news of it or that was read.
#[test]
fn a_master_is_not_heard_again_where_anything_else_was() {
    let is_looked_at = |happens: fn(&Slot)| {
        let slot = slot(100, 100);
        slot.record_advert(&advert(150, PEER), 1);
        slot.acknowledge(slot.heard().news_seq);
        let before = slot.heard().surroundings();
        slot.record_advert(&advert(150, PEER), 9);
        assert!(slot.heard_again(&before).is_some());
        happens(&slot);
        slot.acknowledge(slot.heard().news_seq);
        slot.heard_again(&before).is_none()
    };
    assert!(is_looked_at(|slot| {
        slot.store_lease(100);
        slot.record_claim(7, 10);
    }));
    assert!(is_looked_at(|slot| {
        slot.record_reject(Reject::Ttl, STRAY, 10);
    }));
    assert!(is_looked_at(|slot| {
        slot.record_advert(&advert(0, STRAY), 10);
    }));
    assert!(!is_looked_at(|_| ()));
}
