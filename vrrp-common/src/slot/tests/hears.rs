//! What the kernel records of the others, and when it rings.

use super::*;
use crate::{
    timers::{self, NS_PER_S},
    validate::Reject,
};

/// User space warns of what differs between routers: it must hear of every change, and unchanged.
#[test]
fn whatever_an_advert_says_anew_is_news() {
    let base = Advert {
        count: 3,
        interval_cs: 0x0fa5,
        addresses_sum: 0xc35a,
        ..advert(200, PEER)
    };
    let rows = [
        ("nothing known before", base),
        (
            "priority",
            Advert {
                priority: 0xc9,
                ..base
            },
        ),
        ("address count", Advert { count: 4, ..base }),
        (
            "interval",
            Advert {
                interval_cs: 0x0ea5,
                ..base
            },
        ),
        (
            "addresses",
            Advert {
                addresses_sum: 0x435a,
                ..base
            },
        ),
        (
            "checksum form",
            Advert {
                form: ChecksumForm::PseudoHeader,
                ..base
            },
        ),
        (
            "sender",
            Advert {
                source: STRAY,
                ..base
            },
        ),
    ];
    for (change, advert) in rows {
        let slot = slot(100, 100);
        if change != "nothing known before" {
            slot.record_advert(&base, 1);
            slot.acknowledge(slot.heard().news_seq);
        }
        assert!(slot.record_advert(&advert, 2), "{change}");
        let facts = Facts {
            source: advert.source,
            priority: advert.priority,
            interval_cs: advert.interval_cs,
            count: advert.count,
            addresses_sum: advert.addresses_sum,
            pseudo_header: advert.form == ChecksumForm::PseudoHeader,
        };
        assert_eq!(slot.heard().master, facts, "{change}");
    }
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
fn gaps_between_adverts_of_one_master_are_counted() {
    let slot = slot(100, 100);
    let interval = timers::interval_ns(advert(150, PEER).interval_cs);
    let mut now = 1;
    slot.record_advert(&advert(150, PEER), now);
    for (half_intervals, late, very_late) in [
        (2, 0, 0),
        (3, 0, 0),
        (4, 1, 0),
        (5, 2, 0),
        (6, 3, 1),
        (1, 3, 1),
    ] {
        now += half_intervals * interval / 2;
        slot.record_advert(&advert(150, PEER), now);
        let heard = slot.heard();
        assert_eq!((heard.late, heard.very_late), (late, very_late));
    }
    // Another master, or another advert of this one, follows nothing.
    now += 10 * interval;
    slot.record_advert(&advert(160, PEER), now);
    assert_eq!(slot.heard().late, 3);
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
    let stranger = advert(0, STRAY);
    assert!(!slot.record_advert(&stranger, 2));
    assert_eq!((slot.heard().seen_ns, slot.heard().foreign_zero), (1, 1));
    assert!(slot.record_advert(&advert(0, PEER), 3));
    assert_eq!((slot.heard().seen_ns, slot.heard().master.priority), (3, 0));
}

/// While the master is alive, the resignation of some lesser router is nobody's business.
#[test]
fn a_stray_router_s_resignation_moves_nothing() {
    let slot = slot(100, 100);
    let second = 1_000_000_000;
    slot.record_advert(&advert(150, PEER), 10 * second);
    slot.record_advert(&advert(50, STRAY), 10 * second + 1);
    slot.record_advert(&advert(0, STRAY), 10 * second + 2);
    assert_eq!(
        (slot.heard().master.priority, slot.heard().foreign_zero),
        (150, 1)
    );
    // Once the master is gone, whoever is heard instead is the one that may resign.
    slot.record_advert(&advert(50, STRAY), 20 * second);
    slot.record_advert(&advert(0, STRAY), 20 * second + 1);
    assert_eq!(
        (slot.heard().master.source, slot.heard().master.priority),
        (STRAY, 0)
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

/// Every losing advert is answered, and none that a backup hears over and over is worth a look.
#[test]
fn a_repeated_loser_is_news_to_a_master_only() {
    for (lease, repeats_ring) in [(0, false), (1000, true)] {
        let slot = slot(100, 100);
        slot.store_lease(lease);
        assert!(slot.record_advert(&advert(50, PEER), 1), "the first is");
        slot.acknowledge(slot.heard().news_seq);
        let rings = slot.record_advert(&advert(50, PEER), 2);
        assert_eq!(rings, repeats_ring, "lease {lease}");
    }
}

/// The address of the master in a resignation proves nothing where it comes from another MAC.
#[test]
fn a_resignation_in_the_name_of_the_master_moves_nothing() {
    let slot = slot(100, 100);
    slot.record_advert(&advert(150, PEER), 1);
    let forged = Advert {
        mac: PEER_MAC + 1,
        ..advert(0, PEER)
    };
    slot.record_advert(&forged, 2);
    let heard = slot.heard();
    assert_eq!((heard.master.priority, heard.foreign_zero), (150, 1));
    // Where the master itself has another MAC now, the next advert tells.
    let moved = Advert {
        mac: PEER_MAC + 1,
        ..advert(150, PEER)
    };
    slot.record_advert(&moved, 3);
    slot.record_advert(&forged, 4);
    assert_eq!(slot.heard().master.priority, 0);
}

/// A master is gone after more than four of its own intervals; until then only it may resign.
#[test]
fn whoever_is_heard_instead_of_a_gone_master_may_resign() {
    let silence = 4 * timers::interval_ns(100);
    for (after, resigns) in [(silence, false), (silence + 1, true)] {
        let slot = slot(100, 100);
        let last_heard = 10 * timers::NS_PER_S;
        slot.record_advert(&advert(150, PEER), last_heard);
        slot.record_advert(&advert(50, STRAY), last_heard + after);
        slot.record_advert(&advert(0, STRAY), last_heard + after + 1);
        let heard = slot.heard();
        assert_eq!(heard.master.priority == 0, resigns, "{after}");
        assert_eq!(heard.foreign_zero == 0, resigns, "{after}");
    }
}

/// RFC 9568 6.4.3. (the advert's priority and address, our address, whether it beats us at 100)
#[test]
fn an_equal_priority_is_decided_by_the_address() {
    let of = |network, last| {
        Source::v6([
            0xfe, 0x80, 0, 0, 0, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, last,
        ])
    };
    let rows = [
        (101, of(0, 1), of(0, 9), true, "higher priority"),
        (99, of(9, 9), of(0, 1), false, "lower priority"),
        (100, of(0, 9), of(0, 5), true, "higher address"),
        (100, of(0, 2), of(0, 5), false, "lower address"),
        (100, of(1, 2), of(0, 5), true, "the first bytes count first"),
        (100, of(0, 9), of(1, 5), false, "also where they are lower"),
        (100, of(0, 5), of(0, 5), false, "nobody beats itself"),
    ];
    for (priority, source, own, wins, description) in rows {
        assert_eq!(beats(priority, source, 100, own), wins, "{description}");
    }
}

#[test]
fn answered_questions_are_counted() {
    let slot = slot(100, 100);
    slot.record_answer();
    slot.record_answer();
    assert_eq!(slot.heard().answered, 2);
}

/// The first at once, then by luck and not too soon, and the same one only once in a while.
#[test]
fn the_sender_of_a_rejected_advert_is_written_down_now_and_then() {
    const LUCKY: u64 = 1 << 40;
    const QUARTER: u64 = 250_000_000;
    let slot = Slot::new();
    let peer = |last| Source::v4([10, 0, 0, last]);
    assert!(slot.samples_rejects(LUCKY + 128), "the first needs no luck");
    assert!(
        slot.record_reject(Reject::Checksum, peer(7), LUCKY),
        "and rings"
    );
    let heard = slot.heard();
    assert_eq!(heard.reject_ns, LUCKY);
    assert_eq!(heard.reject_reason, Reject::Checksum as u64);
    assert_eq!(heard.reject_source, peer(7));
    slot.acknowledge(heard.news_seq);

    // A time with the two bits clear at which, and just before which, it may be again.
    let soon = (LUCKY + QUARTER).next_multiple_of(512);
    assert!(!slot.samples_rejects(soon - 512) && slot.samples_rejects(soon));
    for bits in [128, 256, 384] {
        assert!(!slot.samples_rejects(soon + bits), "no luck with {bits}");
    }
    let ten_seconds = LUCKY + 10 * NS_PER_S;
    assert!(!slot.record_reject(Reject::Checksum, peer(7), ten_seconds - 1));
    assert_eq!(slot.heard(), heard, "the same one, too soon");
    assert!(slot.record_reject(Reject::Checksum, peer(7), ten_seconds));
    slot.acknowledge(slot.heard().news_seq);
    assert!(
        slot.record_reject(Reject::Ttl, peer(7), ten_seconds + 1),
        "another reason"
    );
    slot.acknowledge(slot.heard().news_seq);
    assert!(
        slot.record_reject(Reject::Ttl, peer(8), ten_seconds + 2),
        "another sender"
    );
    slot.acknowledge(slot.heard().news_seq);
    let v6 = Source::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8]);
    let other = Source { low: 9, ..v6 };
    assert!(slot.record_reject(Reject::Ttl, v6, ten_seconds + 3));
    slot.acknowledge(slot.heard().news_seq);
    assert!(
        slot.record_reject(Reject::Ttl, other, ten_seconds + 4),
        "by its last half"
    );
}
