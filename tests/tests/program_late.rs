//! What a thread that was stopped may still do when it goes on: its adverts leave only while nothing
//! newer than the decision behind them was heard; and what the lease is for (`lease`), in every entry
//! point. Frames come from the independent builder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_common::{
    contract::Counter,
    slot::{LeaseMode, Rules},
    vrrp::{self, ChecksumForm, GROUP_V6, Source},
};
use vrrp_userspace::clock;
use xvrrp_tests::{
    bench::{
        Bench, Entry, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, RULES, VIP, VRID,
        Verdict::{Drop, Pass, Transmit},
        advert,
    },
    frames::{AdvertSpec, advert_v6, arp_question},
};

const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const S: u64 = 1_000_000_000;

/// What was heard since the decision.
#[derive(Clone, Copy, Debug)]
enum Since {
    Nothing,
    /// One that must be obeyed.
    Master,
    /// One that loses.
    Loser,
}

/// A virtual router that decided so long ago, and what was heard since.
fn decided(mut bench: Bench, ago_ns: u64, since: Since) -> Bench {
    let decided_ns = clock::now_ns() - ago_ns;
    bench.publish(100, 100, 1);
    bench.with_slot(|slot| slot.store_decided(decided_ns));
    let priority = match since {
        Since::Nothing => return bench,
        Since::Master => 150,
        Since::Loser => 50,
    };
    let heard = vrrp::Advert {
        vrid: VRID,
        priority,
        count: 1,
        interval_cs: 100,
        form: ChecksumForm::PseudoHeader,
        addresses_sum: 0,
        source: Source::v4(PEER.octets()),
        mac: 9,
    };
    bench.with_slot(|slot| {
        slot.record_advert(&heard, decided_ns + 1);
    });
    bench
}

fn own(priority: u8) -> AdvertSpec {
    AdvertSpec::new(OUR_MAC, OUR_ADDRESS, VRID, priority, VIP)
}

#[test]
fn a_late_advert_does_not_leave() {
    let held_back = [
        (0, Since::Nothing, false),
        (5 * S, Since::Nothing, false),
        (0, Since::Master, true),
        (5 * S, Since::Master, true),
        // Losing adverts silence nobody who runs, or a flood of them would.
        (S / 10, Since::Loser, false),
        (6 * S / 10, Since::Loser, true),
    ];
    for (ago, since, is_held) in held_back {
        let mut bench = decided(Bench::new(Entry::Egress), ago, since);
        let frame = own(100).build();
        let (verdict, out) = bench.run(&frame);
        let expected = if is_held { Drop } else { Pass };
        assert_eq!(verdict, expected, "{ago} {since:?}");
        assert_eq!(out, frame, "nothing is rewritten");
        let counted = bench.counters().get(Counter::AdvertFenced);
        assert_eq!(counted, u64::from(is_held), "{ago} {since:?}");
    }
}

#[test]
fn what_is_no_late_advert_of_ours_leaves() {
    let mut other_vrid = own(100);
    other_vrid.vrid = VRID + 1;
    let mut other_source = own(100);
    other_source.source = Ipv4Addr::new(10, 0, 0, 6);
    let rows = [
        ("a resignation", own(0)),
        ("another daemon's VRID", other_vrid),
        ("another source", other_source),
    ];
    for (description, spec) in rows {
        let mut bench = decided(Bench::new(Entry::Egress), 5 * S, Since::Master);
        assert_eq!(bench.run(&spec.build()).0, Pass, "{description}");
        assert_eq!(bench.counters().get(Counter::AdvertFenced), 0);
    }
}

#[test]
fn ipv6_is_no_exception() {
    let rules = Rules::multicast(Source::v6(GROUP_V6));
    for (since, expected) in [(Since::Nothing, Pass), (Since::Master, Drop)] {
        let mut bench = Bench::new(Entry::Egress);
        bench.serve(0, &rules, OWN_V6.into(), VIP_V6.into(), &[]);
        let mut bench = decided(bench, 5 * S, since);
        let frame = advert_v6(OUR_MAC, OWN_V6, VRID, 100, VIP_V6);
        assert_eq!(bench.run(&frame).0, expected, "{since:?}");
    }
}

/// `strict`, `peer` and `off`, with a lease that is over, and after another router was heard.
#[test]
fn what_becomes_of_a_master_that_nobody_vouches_for() {
    let question = arp_question(PEER_MAC, PEER, VIP);
    // Answers without a lease: alone, after another router was heard, after one that beats us.
    let rows = [
        (LeaseMode::Strict, [Drop, Drop, Drop]),
        (LeaseMode::Peer, [Transmit, Drop, Drop]),
        (LeaseMode::Off, [Transmit, Transmit, Drop]),
    ];
    for entry in Entry::BOTH {
        for (lease, expected) in rows {
            let rules = Rules { lease, ..RULES };
            let mut bench = Bench::new(entry);
            bench.serve(0, &rules, IpAddr::from(OUR_ADDRESS), VIP.into(), &[]);
            assert_eq!(bench.run(&question).0, Drop, "{lease:?}: as BACKUP");
            bench.lease(-1);
            let mut got = vec![bench.run(&question).0];
            for priority in [50, 150] {
                bench.run(&advert(priority).build());
                got.push(bench.run(&question).0);
            }
            assert_eq!(got, expected, "{entry:?} {lease:?}");
            bench.with_slot(|slot| slot.store_lease(0));
            bench.publish(100, 100, 2);
            assert_eq!(bench.run(&question).0, Drop, "{lease:?}: BACKUP again");
        }
    }
}
