//! The slot as both sides use it.

use super::*;
use crate::vrrp::{Advert, ChecksumForm, Source};

const PEER: Source = Source::v4([10, 0, 0, 2]);

fn advert(priority: u8, source: Source) -> Advert {
    Advert {
        vrid: 1,
        priority,
        count: 1,
        interval_cs: 100,
        form: ChecksumForm::MessageOnly,
        addresses_sum: 7,
        source,
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

#[test]
fn facts_survive_packing() {
    let facts = Facts::of(&advert(200, PEER));
    assert_eq!(Facts::unpack(PEER, facts.pack()), facts);
}

#[test]
fn steady_adverts_ring_once() {
    let slot = slot(100, 100);
    assert!(
        slot.record_advert(&advert(150, PEER), 1),
        "a new master is news"
    );
    slot.acknowledge(slot.heard().news_seq);
    for now in 2..1002 {
        assert!(!slot.record_advert(&advert(150, PEER), now));
    }
    let heard = slot.heard();
    assert_eq!((heard.seen_ns, heard.accepted), (1001, 1001));
    assert!(!slot.has_news());
}

#[test]
fn news_ring_once_until_read() {
    let slot = slot(100, 100);
    assert!(slot.record_advert(&advert(150, PEER), 1));
    assert!(!slot.record_advert(&advert(151, PEER), 2), "not read yet");
    assert!(slot.has_news());
    slot.acknowledge(slot.heard().news_seq);
    assert!(slot.record_advert(&advert(152, PEER), 3));
}

#[test]
fn below_the_floor_moves_no_timer() {
    let slot = slot(100, 100);
    slot.record_advert(&advert(99, PEER), 5);
    let heard = slot.heard();
    assert_eq!((heard.seen_ns, heard.other_ns, heard.lesser), (0, 5, 1));
    slot.record_advert(&advert(100, PEER), 6);
    assert_eq!(
        slot.heard().seen_ns,
        6,
        "an equal priority holds a backup down"
    );
}

#[test]
fn a_resignation_counts_only_from_the_known_master() {
    let slot = slot(100, 100);
    slot.record_advert(&advert(150, PEER), 1);
    slot.acknowledge(slot.heard().news_seq);
    let stranger = advert(0, Source::v4([10, 0, 0, 66]));
    assert!(!slot.record_advert(&stranger, 2));
    assert_eq!((slot.heard().seen_ns, slot.heard().foreign_zero), (1, 1));
    assert!(slot.record_advert(&advert(0, PEER), 3));
    assert_eq!((slot.heard().seen_ns, slot.heard().master.priority), (3, 0));
}

/// While the master is alive, the resignation of some lesser router is nobody's business.
#[test]
fn a_stray_router_s_resignation_moves_nothing() {
    let slot = slot(100, 100);
    let stray = Source::v4([10, 0, 0, 66]);
    let second = 1_000_000_000;
    slot.record_advert(&advert(150, PEER), 10 * second);
    slot.record_advert(&advert(50, stray), 10 * second + 1);
    slot.record_advert(&advert(0, stray), 10 * second + 2);
    assert_eq!(
        (slot.heard().master.priority, slot.heard().foreign_zero),
        (150, 1)
    );
    // Once the master is gone, whoever is heard instead is the one that may resign.
    slot.record_advert(&advert(50, stray), 20 * second);
    slot.record_advert(&advert(0, stray), 20 * second + 1);
    assert_eq!(
        (slot.heard().master.source, slot.heard().master.priority),
        (stray, 0)
    );
}

#[test]
fn a_master_is_fenced_by_the_advert_that_beats_it() {
    let slot = slot(100, 100);
    slot.store_lease(1000);
    assert!(slot.may_answer(10));
    assert!(
        slot.record_advert(&advert(99, PEER), 11),
        "a loser is news to a master"
    );
    assert!(slot.may_answer(12));
    slot.record_advert(&advert(100, PEER), 13);
    assert!(
        slot.may_answer(14),
        "equal priority from a lower address loses"
    );
    slot.record_advert(&advert(100, Source::v4([10, 0, 0, 9])), 15);
    assert!(!slot.may_answer(16));
    assert_eq!(slot.heard().beaten, 3);
}

#[test]
fn a_group_hears_of_lost_leases_only() {
    let slot = slot(100, 100);
    slot.record_advert(&advert(150, PEER), 5);
    assert!(!slot.loses_lease(), "a backup has none");
    slot.store_lease(1000);
    slot.record_advert(&advert(99, PEER), 11);
    assert!(!slot.loses_lease());
    slot.record_advert(&advert(150, PEER), 12);
    assert!(slot.loses_lease());
    // As a backup it is still marked as beaten, in an epoch that is over.
    slot.store_lease(0);
    slot.record_advert(&advert(50, PEER), 13);
    assert!(!slot.loses_lease());
}

#[test]
fn the_lease_ends() {
    let slot = slot(100, 100);
    assert!(!slot.may_answer(0));
    slot.store_lease(1000);
    assert!(slot.may_answer(999));
    assert!(!slot.may_answer(1000));
    slot.store_lease(0);
    assert!(!slot.may_answer(1));
}

#[test]
fn only_a_master_minds_a_claim() {
    let slot = slot(100, 100);
    assert!(!slot.record_claim(0x0200_0000_0009, 1));
    slot.store_lease(1000);
    assert!(slot.record_claim(0x0200_0000_0009, 2));
    assert_eq!(slot.heard().claim_mac, [2, 0, 0, 0, 0, 9]);
}
