//! The virtual MAC and the fence at the way out, frame by frame: what comes in for it, and what the
//! kernel says in the name of an address. The frames, and the ones they must become, come from the
//! independent builder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_common::{
    contract::Counter,
    slot::Rules,
    vrrp::{GROUP_V6, Source},
};
use xvrrp_tests::{
    bench::{
        Bench, Entry, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, RULES, VIP, VIRTUAL_MAC,
        Verdict::{self, Drop, Pass, Transmit},
        advert,
    },
    frames::{
        Said, arp, arp_question, neighbour_advertisement, neighbour_discovery, packet_v4, ping_v6,
        read, solicitation,
    },
};

const OTHER_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 99];
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const RULES_V6: Rules = Rules::multicast(Source::v6(GROUP_V6));

fn bench(entry: Entry) -> Bench {
    let mut bench = Bench::new(entry);
    bench.use_virtual_mac();
    bench.serve(0, &RULES, OUR_ADDRESS.into(), VIP.into(), &[]);
    bench
}

fn bench_v6(entry: Entry) -> Bench {
    let mut bench = Bench::new(entry);
    bench.use_virtual_mac();
    bench.serve(0, &RULES_V6, OWN_V6.into(), VIP_V6.into(), &[]);
    bench
}

/// The frame with another Ethernet destination.
fn to(frame: &[u8], mac: [u8; 6]) -> Vec<u8> {
    [&mac[..], &frame[6..]].concat()
}

/// The frame with another Ethernet source.
fn from(frame: &[u8], mac: [u8; 6]) -> Vec<u8> {
    [&frame[..6], &mac[..], &frame[12..]].concat()
}

#[test]
fn frames_to_the_virtual_mac_are_ours_while_we_may_answer() {
    // To an address of ours, to one behind us, and an answer to a question of ours.
    let frames = [
        (
            "to the address",
            packet_v4((PEER_MAC, VIRTUAL_MAC), PEER, VIP),
        ),
        (
            "to be forwarded",
            packet_v4((PEER_MAC, VIRTUAL_MAC), PEER, FAR),
        ),
        (
            "ARP reply",
            arp(2, VIRTUAL_MAC, PEER_MAC, PEER, VIRTUAL_MAC, VIP),
        ),
    ];
    for entry in [Entry::Accept] {
        for (description, frame) in &frames {
            let mut bench = bench(entry);
            assert_eq!(bench.run(frame).0, Drop, "{entry:?}, BACKUP: {description}");
            assert_eq!(
                bench.counters().get(Counter::TrafficSilenced),
                1,
                "{description}"
            );
            bench.lease(1);
            let (verdict, seen) = bench.run(frame);
            assert_eq!(verdict, Pass, "{entry:?}, MASTER: {description}");
            // That the buffer is marked a test run does not show; the namespaces do.
            assert_eq!(&seen, frame, "{entry:?}: {description}");
            bench.lease(-1);
            assert_eq!(
                bench.run(frame).0,
                Drop,
                "{entry:?}, lease over: {description}"
            );
        }
    }
}

#[test]
fn frames_to_other_macs_are_left_alone() {
    for entry in [Entry::Xdp, Entry::Tc, Entry::Accept] {
        for mac in [OTHER_MAC, PEER_MAC] {
            let frame = packet_v4((PEER_MAC, mac), PEER, FAR);
            for lease in [-1, 1] {
                let mut bench = bench(entry);
                bench.lease(lease);
                assert_eq!(
                    bench.run(&frame),
                    (Pass, frame.clone()),
                    "{entry:?} {mac:?}"
                );
            }
        }
        let own = packet_v4((PEER_MAC, OUR_MAC), PEER, OUR_ADDRESS);
        assert_eq!(bench(entry).run(&own), (Pass, own.clone()), "{entry:?}");
    }
}

#[test]
fn a_backup_takes_nothing_for_the_address_at_either_mac() {
    for entry in Entry::BOTH {
        for mac in [OUR_MAC, VIRTUAL_MAC] {
            let mut bench = bench(entry);
            let ping = packet_v4((PEER_MAC, mac), PEER, VIP);
            let question = to(&arp_question(PEER_MAC, PEER, VIP), mac);
            assert_eq!(bench.run(&ping).0, Drop, "{entry:?} {mac:?}");
            assert_eq!(bench.run(&question).0, Drop, "{entry:?} {mac:?}");
            bench.lease(1);
            assert_eq!(bench.run(&ping).0, Pass, "{entry:?} {mac:?}");
            let (verdict, answer) = bench.run(&question);
            assert_eq!(verdict, Transmit, "{entry:?} {mac:?}");
            let Said::Arp { sender_mac, .. } = read(&answer) else {
                panic!("{:?}", read(&answer));
            };
            assert_eq!(sender_mac, VIRTUAL_MAC, "{entry:?} {mac:?}");
        }
    }
}

/// What becomes of a frame that leaves.
type Row = (&'static str, Vec<u8>, Vec<u8>);

fn check(mut bench: impl FnMut() -> Bench, rows: &[Row]) {
    for (description, frame, expected) in rows {
        let mut bench = bench();
        bench.lease(1);
        let (verdict, seen) = bench.run(frame);
        assert_eq!(verdict, Pass, "{description}");
        assert_eq!(&seen, expected, "{description}");
        assert_eq!(
            bench.counters().get(Counter::SentSilenced),
            0,
            "{description}"
        );
    }
}

fn check_silence(mut bench: impl FnMut() -> Bench, rows: &[(&str, Vec<u8>, Verdict)]) {
    for (description, frame, expected) in rows {
        let mut bench = bench();
        bench.lease(-1);
        let (verdict, seen) = bench.run(frame);
        assert_eq!(verdict, *expected, "{description}");
        assert_eq!(&seen, frame, "{description}");
        let held_back = u64::from(verdict == Drop);
        assert_eq!(
            bench.counters().get(Counter::SentSilenced),
            held_back,
            "{description}"
        );
    }
}

#[test]
fn the_kernel_speaks_for_an_address_with_the_virtual_mac() {
    let from_vip = packet_v4((OUR_MAC, PEER_MAC), VIP, PEER);
    let from_own = packet_v4((OUR_MAC, PEER_MAC), OUR_ADDRESS, PEER);
    let own_question = arp_question(OUR_MAC, OUR_ADDRESS, PEER);
    let mut advert = advert(100);
    (advert.mac, advert.source) = (OUR_MAC, VIP);
    let advert = advert.build();
    check(
        || bench(Entry::Egress),
        &[
            ("a packet", from_vip.clone(), from(&from_vip, VIRTUAL_MAC)),
            (
                "a question",
                arp_question(OUR_MAC, VIP, PEER),
                arp_question(VIRTUAL_MAC, VIP, PEER),
            ),
            (
                "an announcement",
                arp_question(OUR_MAC, VIP, VIP),
                arp_question(VIRTUAL_MAC, VIP, VIP),
            ),
            ("a packet of our own", from_own.clone(), from_own),
            ("a question of our own", own_question.clone(), own_question),
            ("an advert", advert.clone(), advert),
        ],
    );
    let ping = ping_v6((OUR_MAC, PEER_MAC), VIP_V6, PEER_V6);
    let own = solicitation(OUR_MAC, OWN_V6, PEER_V6);
    check(
        || bench_v6(Entry::Egress),
        &[
            ("a packet over IPv6", ping.clone(), from(&ping, VIRTUAL_MAC)),
            (
                "a solicitation",
                solicitation(OUR_MAC, VIP_V6, PEER_V6),
                solicitation(VIRTUAL_MAC, VIP_V6, PEER_V6),
            ),
            (
                "an advertisement",
                neighbour_advertisement(OUR_MAC, VIP_V6),
                neighbour_advertisement(VIRTUAL_MAC, VIP_V6),
            ),
            ("a solicitation of our own", own.clone(), own),
        ],
    );
}

/// A router advertisement with so many prefixes before the link-layer address.
fn router_advertisement(mac: [u8; 6], prefixes: usize) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0, 30];
    message.extend([0; 8]);
    for _ in 0..prefixes {
        message.extend([3, 4]);
        message.extend([0x40; 30]);
    }
    message.extend([1, 1]);
    message.extend(mac);
    neighbour_discovery(mac, VIP_V6, &message)
}

#[test]
fn the_link_layer_address_is_found_among_other_options() {
    let solicitation = |mac: [u8; 6]| {
        let message = [&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1][..], &mac].concat();
        neighbour_discovery(mac, VIP_V6, &message)
    };
    let rows: Vec<Row> = [0, 1, 4, 8]
        .map(|prefixes| {
            (
                "a router advertisement",
                router_advertisement(OUR_MAC, prefixes),
                router_advertisement(VIRTUAL_MAC, prefixes),
            )
        })
        .into_iter()
        .chain([(
            "a router solicitation",
            solicitation(OUR_MAC),
            solicitation(VIRTUAL_MAC),
        )])
        .collect();
    check(|| bench_v6(Entry::Egress), &rows);
}

/// What a guest on top of the interface sends is its own, and so is what is only forwarded; and a tag
/// makes it another network.
#[test]
fn what_others_send_by_this_way_is_left_alone() {
    let packet = packet_v4((PEER_MAC, OTHER_MAC), VIP, PEER);
    let question = arp_question(PEER_MAC, VIP, PEER);
    let tagged = xvrrp_tests::bench::tagged(&arp_question(OUR_MAC, VIP, PEER), 20);
    for lease in [-1, 1] {
        for frame in [&packet, &question, &tagged] {
            let mut bench = bench(Entry::Egress);
            bench.lease(lease);
            assert_eq!(bench.run(frame), (Pass, frame.clone()), "lease {lease}");
        }
    }
}

/// A member of a sync group is silenced with the others.
#[test]
fn a_beaten_group_says_nothing() {
    for entry in [Entry::Egress, Entry::Accept] {
        let mut bench = bench(entry);
        bench.lease(1);
        bench.join_group(|group| group.store_epoch(7));
        let frame = match entry {
            Entry::Egress => packet_v4((OUR_MAC, PEER_MAC), VIP, PEER),
            _ => packet_v4((PEER_MAC, VIRTUAL_MAC), PEER, FAR),
        };
        assert_eq!(bench.run(&frame).0, Pass, "{entry:?}");
        bench.join_group(xvrrp_tests::bench::beaten);
        assert_eq!(bench.run(&frame).0, Drop, "{entry:?}");
    }
}

#[test]
fn without_a_virtual_mac_nothing_is_rewritten() {
    let plain = || Bench::new(Entry::Egress);
    let packet = packet_v4((OUR_MAC, PEER_MAC), VIP, PEER);
    let question = arp_question(OUR_MAC, VIP, PEER);
    check(
        plain,
        &[
            ("a packet", packet.clone(), packet.clone()),
            ("a question", question.clone(), question.clone()),
        ],
    );
    check_silence(
        plain,
        &[("a packet", packet, Drop), ("a question", question, Drop)],
    );
}

#[test]
fn what_the_kernel_says_for_an_address_is_held_back_without_a_lease() {
    let mut advert = advert(0);
    (advert.mac, advert.source) = (OUR_MAC, VIP);
    check_silence(
        || bench(Entry::Egress),
        &[
            ("a packet", packet_v4((OUR_MAC, PEER_MAC), VIP, PEER), Drop),
            ("a question", arp_question(OUR_MAC, VIP, PEER), Drop),
            (
                "a reply",
                arp(2, PEER_MAC, OUR_MAC, VIP, PEER_MAC, PEER),
                Drop,
            ),
            (
                "of our own",
                packet_v4((OUR_MAC, PEER_MAC), OUR_ADDRESS, PEER),
                Pass,
            ),
            ("an advert", advert.build(), Pass),
        ],
    );
    check_silence(
        || bench_v6(Entry::Egress),
        &[
            (
                "a packet over IPv6",
                ping_v6((OUR_MAC, PEER_MAC), VIP_V6, PEER_V6),
                Drop,
            ),
            (
                "a solicitation",
                solicitation(OUR_MAC, VIP_V6, PEER_V6),
                Drop,
            ),
            (
                "an advertisement",
                neighbour_advertisement(OUR_MAC, VIP_V6),
                Drop,
            ),
            (
                "a solicitation of our own",
                solicitation(OUR_MAC, OWN_V6, PEER_V6),
                Pass,
            ),
        ],
    );
}

/// An owner has its address whatever the election says.
#[test]
fn an_owners_own_address_is_not_held_back() {
    let owner = || {
        let mut bench = Bench::new(Entry::Egress);
        let vip: IpAddr = VIP.into();
        bench.serve(0, &RULES, vip, vip, &[]);
        bench.publish(255, 255, 1);
        bench
    };
    let packet = packet_v4((OUR_MAC, PEER_MAC), VIP, PEER);
    check_silence(owner, &[("a packet", packet, Pass)]);
}

#[test]
fn the_egress_program_is_small() {
    let verified = Bench::new(Entry::Egress).verified_instructions();
    println!("{verified} verified instructions");
    assert!(verified < 60_000, "{verified}: did a loop slip in?");
}
