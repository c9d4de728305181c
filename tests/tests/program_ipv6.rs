//! What the kernel programs do over IPv6: adverts, Neighbour Discovery, packets to our addresses. Every
//! row is run through XDP and through TC; the frames come from the independent builder.

use std::net::Ipv6Addr;

use vrrp_common::{
    contract::Counter,
    slot::{Heard, Rules},
    validate::{self, Reject},
    vrrp::{GROUP_V6, Source},
};
use xvrrp_tests::{
    bench::{
        Bench, Entry, OUR_MAC, PEER_MAC, VRID,
        Verdict::{Drop, Pass, Transmit},
        tagged,
    },
    frames::{Said, advert_v6, adverts_v6, neighbour_advertisement, ping_v6, read, solicitation},
};

const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const RULES: Rules = Rules::multicast(Source::v6(GROUP_V6));

fn bench(entry: Entry) -> Bench {
    on_vlan(entry, 0)
}

fn on_vlan(entry: Entry, vlan: u16) -> Bench {
    let mut bench = Bench::on_vlan(entry, vlan);
    bench.serve(vlan, &RULES, OWN.into(), VIP.into(), &[]);
    bench
}

/// As over IPv4, where three addresses are too many to be summed where they lie.
#[test]
fn a_list_of_addresses_has_the_sum_that_user_space_expects() {
    for entry in Entry::BOTH {
        for count in [1, 2, 3, 4, 88] {
            let addresses: Vec<Ipv6Addr> = (0..u16::from(count))
                .map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0x8123, n, 0, 0xff00, 0, 0x101 * n))
                .collect();
            let expected = addresses.iter().map(|it| Source::v6(it.octets()));
            let expected = validate::addresses_sum(expected);
            let mut bench = bench(entry);
            let advert = adverts_v6(PEER_MAC, PEER, VRID, 150, 100, &addresses);
            assert_eq!(bench.run(&advert).0, Drop, "{entry:?}, {count}");
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
fn adverts_are_judged_as_over_ipv4() {
    for entry in Entry::BOTH {
        let good = advert_v6(PEER_MAC, PEER, VRID, 150, VIP);
        let mut bench = bench(entry);
        assert_eq!(bench.run(&good).0, Drop);
        let heard = bench.heard();
        assert_eq!((heard.accepted, heard.master.priority), (1, 150));
        assert_eq!(heard.master.source, Source::v6(PEER.octets()));
        let mut hop_limit = good.clone();
        hop_limit[21] = 254;
        let mut checksum = good.clone();
        checksum[61] ^= 1;
        let mut version = good.clone();
        version[54] = 0x21;
        let global = advert_v6(PEER_MAC, VIP, VRID, 150, VIP);
        let own = advert_v6(PEER_MAC, OWN, VRID, 150, VIP);
        for (description, frame, reason) in [
            ("Hop Limit 254", hop_limit, Reject::Ttl),
            ("checksum", checksum, Reject::Checksum),
            ("version 2", version, Reject::Version),
            ("from a global address", global, Reject::Sender),
            ("from our own address", own, Reject::OwnAddress),
        ] {
            let mut bench = self::bench(entry);
            assert_eq!(bench.run(&frame).0, Drop, "{description}");
            assert_eq!(bench.moved(), Heard::default(), "{description}");
            let sender = bench.heard().reject_source;
            assert_ne!(sender, Source::default(), "{description}: written down");
            assert_eq!(bench.counters().rejects(reason), 1, "{description}");
        }
        let mut ipv4 = Bench::new(entry);
        assert_eq!(ipv4.run(&good).0, Pass, "an IPv4 router of the same number");
        assert_eq!(ipv4.heard(), Heard::default());
    }
}

#[test]
fn solicitations_are_answered_by_lease_alone() {
    for entry in Entry::BOTH {
        let question = solicitation(PEER_MAC, PEER, VIP);
        let probe = solicitation(PEER_MAC, Ipv6Addr::UNSPECIFIED, VIP);
        let mut unicast = question.clone();
        unicast[..6].copy_from_slice(&OUR_MAC);
        let all_nodes = [0x33, 0x33, 0, 0, 0, 1];
        for (description, frame, destination, flags) in [
            ("multicast", question, PEER_MAC, 0xe0),
            ("probe", probe, all_nodes, 0xa0),
            ("unicast", unicast, PEER_MAC, 0xe0),
        ] {
            let mut bench = bench(entry);
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
                bench.counters().get(Counter::NdSilenced),
                2,
                "{description}"
            );
            bench.lease(10);
            let (verdict, out) = bench.run(&frame);
            assert_eq!(verdict, Transmit, "{description}");
            let expected = Said::Neighbour {
                destination,
                target: VIP,
                flags,
                mac: OUR_MAC,
                good: true,
            };
            assert_eq!(read(&out), expected, "{description}");
            assert_eq!(out[6..12], OUR_MAC, "{description}");
            assert_eq!(out.len(), 86, "{description}: as long as it says");
            assert_eq!(
                bench.counters().get(Counter::NdAnswered),
                1,
                "{description}"
            );
            bench.run(&advert_v6(PEER_MAC, PEER, VRID, 200, VIP));
            assert_eq!(bench.run(&frame).0, Drop, "{description}: beaten");
        }
    }
}

#[test]
fn a_solicitation_with_a_tag_is_answered_behind_the_same_tag() {
    for entry in Entry::BOTH {
        let question = solicitation(PEER_MAC, PEER, VIP);
        let mut untagged = bench(entry);
        untagged.lease(10);
        let (_, answer) = untagged.run(&question);
        let mut bench = on_vlan(entry, 10);
        bench.lease(10);
        let (verdict, out) = bench.run(&tagged(&question, 10));
        assert_eq!(verdict, Transmit, "{entry:?}");
        assert_eq!(out, tagged(&answer, 10), "{entry:?}");
    }
}

#[test]
fn a_solicitation_that_is_broken_is_not_answered() {
    for entry in Entry::BOTH {
        let good = solicitation(PEER_MAC, PEER, VIP);
        for (description, at, value) in [
            ("Hop Limit 254", 21, 254),
            ("code 1", 55, 1),
            ("checksum", 57, good[57] ^ 1),
            ("beyond the frame", 19, 40),
        ] {
            let mut bench = bench(entry);
            bench.lease(10);
            let mut frame = good.clone();
            frame[at] = value;
            assert_eq!(bench.run(&frame).0, Drop, "{description}");
            assert_eq!(
                bench.counters().get(Counter::NdAnswered),
                0,
                "{description}"
            );
        }
    }
}

#[test]
fn a_foreign_claim_is_noticed_and_passes() {
    for entry in Entry::BOTH {
        let claim = neighbour_advertisement(PEER_MAC, VIP);
        let mut bench = bench(entry);
        bench.lease(10);
        let (verdict, out) = bench.run(&claim);
        assert_eq!((verdict, out), (Pass, claim));
        assert_eq!(bench.heard().claim_mac, PEER_MAC);
        assert_eq!(bench.counters().get(Counter::NdClaim), 1);
        bench.run(&neighbour_advertisement(OUR_MAC, VIP));
        assert_eq!(bench.counters().get(Counter::NdClaim), 1, "our own is none");
    }
}

#[test]
fn packets_to_an_address_are_taken_by_its_master_alone() {
    for entry in Entry::BOTH {
        let ping = ping_v6((PEER_MAC, OUR_MAC), PEER, VIP);
        let mut bench = bench(entry);
        assert_eq!(bench.run(&ping).0, Drop, "a backup");
        assert_eq!(bench.counters().get(Counter::TrafficSilenced), 1);
        bench.lease(10);
        assert_eq!(bench.run(&ping), (Pass, ping.clone()));
        let refusing = Rules {
            accept: false,
            ..RULES
        };
        bench.with_slot(|slot| slot.publish_rules(&refusing));
        assert_eq!(bench.run(&ping).0, Drop, "Accept_Mode is false");
        assert_eq!(bench.counters().get(Counter::NotAccepted), 1);
        assert_eq!(
            bench.run(&solicitation(PEER_MAC, PEER, VIP)).0,
            Transmit,
            "Neighbour Discovery never is"
        );
        let to_vip = {
            let mut frame = neighbour_advertisement(PEER_MAC, PEER);
            frame[38..54].copy_from_slice(&VIP.octets());
            frame
        };
        assert_eq!(
            bench.run(&to_vip).0,
            Pass,
            "nor is an advertisement to the address"
        );
        let elsewhere = ping_v6((PEER_MAC, OUR_MAC), PEER, OWN);
        assert_eq!(bench.run(&elsewhere).0, Pass);
    }
}
