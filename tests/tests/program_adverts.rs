//! What the kernel programs make of adverts, as a table: description, frame in, verdict, frame out, maps
//! after. Every row is run through XDP and through TC. The frames come from the independent builder.

use std::net::Ipv4Addr;

use vrrp_common::{
    contract::Counter,
    slot::Heard,
    validate::{self, Reject},
    vrrp::Source,
};
use vrrp_userspace::clock;
use xvrrp_tests::{
    bench::{
        Bench, Entry, OUR_ADDRESS, PEER, RULES, VRID,
        Verdict::{Drop, Pass},
        advert,
    },
    frames::{AdvertSpec, with_ip_options},
};

#[test]
fn the_programs_are_small_enough_to_verify_quickly() {
    for entry in Entry::BOTH {
        let verified = Bench::new(entry).verified_instructions();
        println!("{entry:?}: {verified} verified instructions");
        // A tenth of what the kernel takes (a million), and a moment of its time.
        assert!(verified < 100_000, "{verified}: did a loop slip in?");
    }
}

#[test]
fn good_adverts_are_consumed_and_stamped() {
    for entry in Entry::BOTH {
        let pseudo = advert(150);
        let message_only = AdvertSpec {
            message_only: true,
            ..advert(150)
        };
        let many = AdvertSpec {
            addresses: (0..255).map(|n| Ipv4Addr::new(10, 0, 1, n)).collect(),
            ..advert(150)
        };
        let mut padded = advert(150).build();
        padded.resize(60, 0);
        let rows: Vec<(&str, Vec<u8>)> = vec![
            ("pseudo-header checksum", pseudo.build()),
            ("message-only checksum", message_only.build()),
            ("255 addresses", many.build()),
            ("Ethernet padding", padded),
            (
                "one word of options",
                with_ip_options(&advert(150).build(), 1),
            ),
            ("four", with_ip_options(&advert(150).build(), 4)),
            ("ten", with_ip_options(&advert(150).build(), 10)),
        ];
        for (description, frame) in rows {
            let mut bench = Bench::new(entry);
            let before = clock::now_ns();
            let (verdict, _) = bench.run(&frame);
            let after = clock::now_ns();
            assert_eq!(verdict, Drop, "{description}");
            let heard = bench.heard();
            assert!(
                (before..=after).contains(&heard.seen_ns),
                "{description}: stamped while it ran"
            );
            assert_eq!((heard.accepted, heard.news_seq), (1, 1), "{description}");
            assert_eq!(heard.master.source.as_v4(), PEER.octets(), "{description}");
            assert_eq!(
                (heard.master.priority, heard.master.interval_cs),
                (150, 100),
                "{description}"
            );
            assert_eq!(bench.counters().get(Counter::Advert), 1, "{description}");
            assert_eq!(bench.counters().get(Counter::Ring), 1, "{description}");
        }
    }
}

/// Short lists are summed where they lie, long ones by a helper: user space compares either with its own.
#[test]
fn a_list_of_addresses_has_the_sum_that_user_space_expects() {
    for entry in Entry::BOTH {
        for count in [1, 2, 7, 8, 9, 10, 11, 128, 255] {
            let addresses: Vec<Ipv4Addr> = (0..count)
                .map(|n| Ipv4Addr::new(10, n, 0x91, 255 - n))
                .collect();
            let expected = addresses.iter().map(|it| Source::v4(it.octets()));
            let expected = validate::addresses_sum(expected);
            let spec = AdvertSpec {
                addresses,
                ..advert(150)
            };
            let mut bench = Bench::new(entry);
            assert_eq!(bench.run(&spec.build()).0, Drop, "{entry:?}, {count}");
            let heard = bench.heard().master;
            assert_eq!(
                (heard.count, heard.addresses_sum),
                (count, expected),
                "{entry:?}"
            );
        }
    }
}

#[test]
fn every_bad_advert_is_dropped_under_its_reason() {
    for entry in Entry::BOTH {
        let with = |change: fn(&mut AdvertSpec)| {
            let mut spec = advert(200);
            change(&mut spec);
            spec.build()
        };
        let mut bad_ip_checksum = advert(200).build();
        bad_ip_checksum[24] ^= 1;
        let bad_options = |words: usize| {
            let mut frame = with_ip_options(&advert(200).build(), words);
            frame[34 + 4 * words - 1] ^= 0x40;
            frame
        };
        let rows: Vec<(&str, Vec<u8>, Reject)> = vec![
            ("IPv4 header checksum", bad_ip_checksum, Reject::IpHeader),
            (
                "the last bit of one word of options",
                bad_options(1),
                Reject::IpHeader,
            ),
            ("of four", bad_options(4), Reject::IpHeader),
            ("of ten", bad_options(10), Reject::IpHeader),
            (
                "fragment",
                with(|spec| spec.fragment = true),
                Reject::Fragment,
            ),
            ("TTL 254", with(|spec| spec.ttl = 254), Reject::Ttl),
            (
                "truncated",
                with(|spec| spec.truncate = Some(7)),
                Reject::Length,
            ),
            (
                "count beyond the packet",
                with(|spec| spec.count = Some(20)),
                Reject::Length,
            ),
            ("version 2", with(|spec| spec.version = 2), Reject::Version),
            ("type 2", with(|spec| spec.kind = 2), Reject::Type),
            ("count 0", with(|spec| spec.count = Some(0)), Reject::Count),
            (
                "interval 0",
                with(|spec| spec.interval_cs = 0),
                Reject::Interval,
            ),
            (
                "checksum",
                with(|spec| spec.bad_checksum = true),
                Reject::Checksum,
            ),
            (
                "sender 0.0.0.0",
                with(|spec| spec.source = Ipv4Addr::UNSPECIFIED),
                Reject::Sender,
            ),
            (
                "our own address",
                with(|spec| spec.source = OUR_ADDRESS),
                Reject::OwnAddress,
            ),
        ];
        for (description, frame, reason) in rows {
            let mut bench = Bench::new(entry);
            let (verdict, _) = bench.run(&frame);
            assert_eq!(verdict, Drop, "{description}");
            assert_eq!(
                bench.moved(),
                Heard::default(),
                "{description}: no timer moves"
            );
            let heard = bench.heard();
            assert_eq!(heard.reject_reason, reason as u64, "{description}");
            assert!(heard.news_seq == 1 && heard.reject_ns > 0, "{description}");
            bench.run(&frame);
            assert_eq!(
                bench.heard(),
                heard,
                "{description}: written down once a second"
            );
            let counters = bench.counters();
            assert_eq!(counters.rejects(reason), 2, "{description}");
            assert_eq!(
                counters.get(Counter::Ring),
                1,
                "{description}: one doorbell"
            );
            assert_eq!(
                counters.counts.iter().sum::<u64>(),
                3,
                "{description}: and nothing else"
            );
        }
    }
}

#[test]
fn steady_adverts_ring_once_and_count_every_time() {
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        let frame = advert(150).build();
        bench.run(&frame);
        bench.with_slot(|slot| slot.acknowledge(slot.heard().news_seq));
        for _ in 0..1000 {
            bench.run(&frame);
        }
        let heard = bench.heard();
        assert_eq!((heard.accepted, heard.news_seq), (1001, 1));
        assert_eq!(bench.counters().get(Counter::Ring), 1);
    }
}

#[test]
fn a_full_ring_loses_nothing() {
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        let frames = [advert(150).build(), advert(151).build()];
        // Every change of priority is news, and nobody drains the ring.
        let mut news = 0;
        while bench.counters().get(Counter::RingFull) < 3 {
            assert!(news < 100_000, "the ring never fills");
            bench.run(&frames[news % 2]);
            bench.with_slot(|slot| slot.acknowledge(slot.heard().news_seq));
            news += 1;
        }
        let lost = bench.counters().get(Counter::RingFull);
        bench.run(&advert(199).build());
        let now_lost = bench.counters().get(Counter::RingFull);
        assert_eq!(now_lost, lost + 1, "this doorbell was lost");
        let heard = bench.heard();
        assert_eq!(heard.master.priority, 199, "the slot has the news");
    }
}

#[test]
fn below_the_floor_no_timer_moves() {
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        bench.run(&advert(99).build());
        let heard = bench.heard();
        assert_eq!((heard.seen_ns, heard.lesser), (0, 1));
        assert!(heard.other_ns > 0);
        bench.publish(1, 100, 1);
        bench.run(&advert(99).build());
        assert!(bench.heard().seen_ns > 0, "nopreempt: the floor is 1");
    }
}

#[test]
fn the_kernel_program_and_the_host_agree() {
    for entry in Entry::BOTH {
        // The same bytes through the program and through vrrp-common on the host.
        use vrrp_common::validate::{Located, locate, validate};
        let mut bench = Bench::new(entry);
        let good = advert(150).build();
        let own = Source::v4(OUR_ADDRESS.octets());
        let mut checked = 0;
        for byte in 12..good.len() {
            for bit in 0..8 {
                let mut frame = good.clone();
                frame[byte] ^= 1 << bit;
                let before = bench.counters();
                let (verdict, _) = bench.run(&frame);
                let after = bench.counters();
                let moved: Vec<usize> = (0..Counter::COUNT)
                    .filter(|at| after.counts[*at] != before.counts[*at])
                    .collect();
                let expected = match locate(frame.as_slice()) {
                    Located::NotVrrp => (Pass, None),
                    Located::Unreadable(reason) => (Pass, Some(reason as usize)),
                    Located::Found(candidate) if candidate.vrid != VRID => {
                        (Pass, Some(Counter::ForeignVrid as usize))
                    }
                    Located::Found(candidate) => {
                        let index = match validate(frame.as_slice(), &candidate, &RULES, own) {
                            Ok(_) => Counter::Advert as usize,
                            Err(reason) => reason as usize,
                        };
                        (Drop, Some(index))
                    }
                };
                let counted = moved.into_iter().find(|at| *at != Counter::Ring as usize);
                assert_eq!((verdict, counted), expected, "byte {byte} bit {bit}");
                checked += 1;
            }
        }
        println!("{checked} frames judged alike");
    }
}
