//! What the kernel programs do about ARP, VLANs and others, as a table: description, frame in, verdict, frame out, maps
//! after. Every row is run through XDP and through TC. The frames come from the independent builder.

use std::net::Ipv4Addr;

use vrrp_common::{contract::Counter, slot::Heard, validate::Reject};
use xvrrp_tests::{
    bench::{
        Bench, Entry, OUR_MAC, PEER, PEER_MAC, VIP,
        Verdict::{Drop, Pass, Transmit},
        advert, tagged,
    },
    frames::{AdvertSpec, arp, arp_question},
};

#[test]
fn arp_is_answered_by_lease_alone() {
    for entry in Entry::BOTH {
        let question = arp_question(PEER_MAC, PEER, VIP);
        let probe = arp_question(PEER_MAC, Ipv4Addr::UNSPECIFIED, VIP);
        let unicast = arp(1, OUR_MAC, PEER_MAC, PEER, [0; 6], VIP);
        for (description, frame) in [
            ("broadcast", question),
            ("probe", probe),
            ("unicast", unicast),
        ] {
            let mut bench = Bench::new(entry);
            assert_eq!(
                bench.run(&frame).0,
                Drop,
                "{description}: a backup is silent"
            );
            bench.lease(-1);
            assert_eq!(
                bench.run(&frame).0,
                Drop,
                "{description}: the lease is over"
            );
            assert_eq!(
                bench.counters().get(Counter::ArpSilenced),
                2,
                "{description}"
            );
            bench.lease(10);
            let (verdict, out) = bench.run(&frame);
            assert_eq!(verdict, Transmit, "{description}");
            let asker = Ipv4Addr::new(frame[28], frame[29], frame[30], frame[31]);
            let expected = arp(2, PEER_MAC, OUR_MAC, VIP, PEER_MAC, asker);
            assert_eq!(out, expected, "{description}: the answer, byte for byte");
            assert_eq!(
                bench.counters().get(Counter::ArpAnswered),
                1,
                "{description}"
            );
            assert_eq!(bench.heard().answered, 1, "{description}");
        }
    }
}

#[test]
fn a_preempting_advert_silences_the_master_at_once() {
    for entry in Entry::BOTH {
        let question = arp_question(PEER_MAC, PEER, VIP);
        // (description, priority of the advert, whether we are beaten; ours is 100 from 10.0.0.5, the
        // sender is 10.0.0.9)
        let rows = [
            ("lower", 99, false),
            ("equal, higher address", 100, true),
            ("higher", 101, true),
            ("resignation", 0, false),
        ];
        for (description, priority, beaten) in rows {
            let mut bench = Bench::new(entry);
            bench.lease(10);
            bench.run(&advert(priority).build());
            let heard = bench.heard();
            let stamps = if beaten {
                (heard.seen_ns > 0, heard.beaten)
            } else {
                (heard.other_ns > 0, heard.beaten)
            };
            assert_eq!(stamps, (true, u64::from(beaten)), "{description}");
            assert_eq!(heard.news_seq, 1, "{description}: a master wants to know");
            let (verdict, _) = bench.run(&question);
            assert_eq!(
                verdict,
                if beaten { Drop } else { Transmit },
                "{description}"
            );
            // The next promotion has an epoch of its own.
            bench.publish(100, 100, 2);
            assert_eq!(
                bench.run(&question).0,
                Transmit,
                "{description}: in the next epoch"
            );
        }
    }
}

#[test]
fn a_foreign_claim_rings_a_master_only() {
    for entry in Entry::BOTH {
        let claim = arp(1, [0xff; 6], PEER_MAC, VIP, [0; 6], VIP);
        let mut bench = Bench::new(entry);
        assert_eq!(bench.run(&claim).0, Pass);
        assert_eq!(bench.heard().claim_ns, 0);
        bench.lease(10);
        assert_eq!(bench.run(&claim).0, Pass);
        assert_eq!(bench.heard().claim_mac, PEER_MAC);
        assert_eq!(bench.counters().get(Counter::Ring), 1);
        let own = arp(1, [0xff; 6], OUR_MAC, VIP, [0; 6], VIP);
        bench.run(&own);
        assert_eq!(
            bench.counters().get(Counter::ArpClaim),
            2,
            "our own announcement is no claim"
        );
    }
}

#[test]
fn a_vlan_is_a_network_of_its_own() {
    let advert = advert(150).build();
    let question = arp_question(PEER_MAC, PEER, VIP);
    // (VLAN of the instance, VLAN of the frame, whether they are the same network)
    let rows = [
        (0, 20, false),
        (10, 20, false),
        (10, 0, false),
        (10, 10, true),
    ];
    for entry in Entry::BOTH {
        for (instance, frame, same) in rows {
            let what = format!("{entry:?}: instance on {instance}, frame on {frame}");
            let (advert, question) = if frame == 0 {
                (advert.clone(), question.clone())
            } else {
                (tagged(&advert, frame), tagged(&question, frame))
            };
            let mut bench = Bench::on_vlan(entry, instance);
            let (verdict, out) = bench.run(&advert);
            let moved = bench.heard() != Heard::default();
            let expected = if same { Drop } else { Pass };
            assert_eq!((verdict, moved), (expected, same), "{what}");
            if !same {
                assert_eq!(out, advert, "{what}: untouched");
            }
            bench.lease(10);
            let (verdict, out) = bench.run(&question);
            if same {
                let answer = arp(2, PEER_MAC, OUR_MAC, VIP, PEER_MAC, PEER);
                assert_eq!(verdict, Transmit, "{what}");
                assert_eq!(out, tagged(&answer, frame), "{what}: the tag stays");
            } else {
                assert_eq!((verdict, &out), (Pass, &question), "{what}");
                assert_eq!(bench.heard().answered, 0, "{what}");
            }
        }
    }
}

#[test]
fn a_priority_tag_names_no_vlan() {
    let advert = advert(150).build();
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        assert_eq!(bench.run(&tagged(&advert, 0)).0, Drop, "{entry:?}");
        assert_eq!(bench.heard().accepted, 1, "{entry:?}");
        let stacked = tagged(&tagged(&advert, 0), 0);
        assert_eq!(bench.run(&stacked).0, Pass, "{entry:?}: two tags");
    }
}

#[test]
fn what_is_not_ours_passes_untouched() {
    for entry in Entry::BOTH {
        let mut other_vrid = advert(200);
        other_vrid.vrid = 8;
        let mut udp = advert(200).build();
        udp[23] = 17;
        let mut ipv6 = advert(200).build();
        ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
        ipv6.resize(60, 0);
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let rows: Vec<(&str, Vec<u8>)> = vec![
            ("another VRID", other_vrid.build()),
            ("tagged advert", tagged(&advert(200).build(), 10)),
            ("UDP", udp),
            ("IPv6", ipv6),
            ("a runt", vec![0; 15]),
            (
                "ARP for another address",
                arp_question(PEER_MAC, PEER, ip(50)),
            ),
            (
                "tagged ARP for ours",
                tagged(&arp_question(PEER_MAC, PEER, VIP), 10),
            ),
            (
                "ARP for ours to another MAC",
                arp(1, [2, 0, 0, 0, 0, 77], PEER_MAC, PEER, [0; 6], VIP),
            ),
            (
                "announcement of ours",
                arp(1, [0xff; 6], PEER_MAC, VIP, [0; 6], VIP),
            ),
            (
                "announcement as a reply",
                arp(2, [0xff; 6], PEER_MAC, VIP, PEER_MAC, VIP),
            ),
            (
                "reply to somebody",
                arp(2, OUR_MAC, PEER_MAC, PEER, OUR_MAC, ip(5)),
            ),
        ];
        for leased in [false, true] {
            for (description, frame) in &rows {
                let mut bench = Bench::new(entry);
                if leased {
                    bench.lease(10);
                }
                let (verdict, out) = bench.run(frame);
                assert_eq!(verdict, Pass, "{description}");
                assert_eq!(&out, frame, "{description}: untouched");
                assert_eq!(bench.heard().seen_ns, 0, "{description}");
            }
        }
    }
}

#[test]
fn nobody_alive_means_nobody_deaf() {
    let good = advert(150).build();
    let bad = AdvertSpec {
        ttl: 254,
        ..advert(150)
    }
    .build();
    for entry in Entry::BOTH {
        assert_eq!(Bench::new(entry).run(&good).0, Drop, "{entry:?}: attended");
        let mut orphan = Bench::unattended(entry, 0);
        for frame in [&good, &bad] {
            let (verdict, out) = orphan.run(frame);
            assert_eq!(verdict, Pass, "{entry:?}: others hear it");
            assert_eq!(&out, frame, "{entry:?}: as it was");
        }
        assert_eq!(
            orphan.heard().accepted,
            1,
            "{entry:?}: it counts all the same"
        );
        assert_eq!(orphan.counters().rejects(Reject::Ttl), 1, "{entry:?}");
        let question = arp_question(PEER_MAC, PEER, VIP);
        assert_eq!(orphan.run(&question).0, Drop, "{entry:?}: the fence stays");
    }
}
