//! What a virtual router accepts beside the default: VRRPv2, passwords, unicast peers, Accept_Mode, and
//! what it loses with its sync group. Every row is run through XDP and through TC.

use std::net::{IpAddr, Ipv4Addr};

use vrrp_common::{
    contract::{Counter, PeerLimits},
    slot::{Rules, Slot, Transport},
    validate::Reject,
    vrrp::Version,
};
use xvrrp_tests::{
    bench::{
        Bench, Entry, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, RULES, VIP,
        Verdict::{Drop, Pass, Transmit},
        advert,
    },
    frames::{AdvertSpec, arp_question, packet_v4},
};

const SECRET: [u8; 8] = *b"secret\0\0";

fn version_2(kind: u8, data: [u8; 8]) -> AdvertSpec {
    AdvertSpec {
        version: 2,
        version_2: Some((kind, data)),
        ..advert(150)
    }
}

fn bench(entry: Entry, rules: &Rules, peers: &[(IpAddr, PeerLimits)]) -> Bench {
    let mut bench = Bench::new(entry);
    bench.serve(0, rules, OUR_ADDRESS.into(), VIP.into(), peers);
    bench
}

#[test]
fn version_2_with_and_without_a_password() {
    let plain = Rules {
        version: Version::V2,
        ..RULES
    };
    let secret = Rules {
        password: Some(u64::from_be_bytes(SECRET)),
        ..plain
    };
    let with = |change: fn(&mut AdvertSpec)| {
        let mut spec = version_2(1, SECRET);
        change(&mut spec);
        spec
    };
    let many = |spec: &mut AdvertSpec| {
        spec.addresses = (0..255).map(|n| Ipv4Addr::new(10, 0, 1, n)).collect();
    };
    // (description, rules, advert, reason)
    let rows = [
        ("plain", plain, version_2(0, [0; 8]), None),
        ("data without a meaning", plain, version_2(0, SECRET), None),
        ("password", secret, version_2(1, SECRET), None),
        ("255 addresses", secret, with(many), None),
        (
            "a password nobody asked for",
            plain,
            version_2(1, SECRET),
            Some(Reject::Authentication),
        ),
        (
            "no password",
            secret,
            version_2(0, [0; 8]),
            Some(Reject::Authentication),
        ),
        (
            "another password",
            secret,
            version_2(1, *b"Secret\0\0"),
            Some(Reject::Authentication),
        ),
        (
            "another interval",
            secret,
            with(|spec| spec.interval_cs = 200),
            Some(Reject::Interval),
        ),
        (
            "checksum",
            secret,
            with(|spec| spec.bad_checksum = true),
            Some(Reject::Checksum),
        ),
        ("version 3", secret, advert(150), Some(Reject::Version)),
    ];
    for entry in Entry::BOTH {
        for (description, rules, spec, reason) in &rows {
            let mut bench = bench(entry, rules, &[]);
            assert_eq!(bench.run(&spec.build()).0, Drop, "{description}");
            let counters = bench.counters();
            match reason {
                None => assert_eq!(bench.heard().master.priority, 150, "{description}"),
                Some(reason) => {
                    assert_eq!(bench.heard().accepted, 0, "{description}");
                    assert_eq!(counters.rejects(*reason), 1, "{description}");
                }
            }
        }
    }
}

/// The advert as a peer sends it: to our own address, with this TTL.
fn unicast(source: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let mut spec = advert(150);
    spec.source = source;
    spec.ttl = ttl;
    spec.destination = Some(OUR_ADDRESS);
    spec.build()
}

#[test]
fn unicast_peers_and_their_limits() {
    let anybody = Rules {
        transport: Transport::Unicast {
            checks_peers: false,
        },
        ..RULES
    };
    let peers_only = Rules {
        transport: Transport::Unicast { checks_peers: true },
        ..RULES
    };
    let limits = PeerLimits {
        min_ttl: 60,
        max_ttl: 62,
        reserved: [0; 2],
    };
    let peers = [(IpAddr::from(PEER), limits)];
    let stranger = Ipv4Addr::new(10, 0, 0, 77);
    let rows = [
        ("anybody, near", anybody, unicast(stranger, 255), None),
        ("anybody, far", anybody, unicast(stranger, 3), None),
        ("a peer", peers_only, unicast(PEER, 61), None),
        ("too far", peers_only, unicast(PEER, 59), Some(Reject::Ttl)),
        ("too near", peers_only, unicast(PEER, 63), Some(Reject::Ttl)),
        (
            "a stranger",
            peers_only,
            unicast(stranger, 61),
            Some(Reject::Peer),
        ),
        (
            "multicast",
            peers_only,
            advert(150).build(),
            Some(Reject::Destination),
        ),
        (
            "unicast to a multicast router",
            RULES,
            unicast(PEER, 255),
            Some(Reject::Destination),
        ),
    ];
    for entry in Entry::BOTH {
        for (description, rules, frame, reason) in &rows {
            let mut bench = bench(entry, rules, &peers);
            assert_eq!(bench.run(frame).0, Drop, "{description}");
            let accepted = u64::from(reason.is_none());
            assert_eq!(bench.heard().accepted, accepted, "{description}");
            if let Some(reason) = reason {
                assert_eq!(bench.counters().rejects(*reason), 1, "{description}");
            }
        }
    }
}

/// `accept_from`: a forged owner moves nobody.
#[test]
fn only_listed_routers_count() {
    let listed_only = Rules {
        listed_only: true,
        ..RULES
    };
    let any_ttl = PeerLimits {
        min_ttl: 0,
        max_ttl: 255,
        reserved: [0; 2],
    };
    let peers = [(IpAddr::from(PEER), any_ttl)];
    for entry in Entry::BOTH {
        let mut bench = bench(entry, &listed_only, &peers);
        let mut forged = advert(255);
        forged.source = Ipv4Addr::new(10, 0, 0, 77);
        assert_eq!(bench.run(&forged.build()).0, Drop);
        assert_eq!(bench.heard().accepted, 0, "a stranger");
        assert_eq!(bench.counters().rejects(Reject::Peer), 1);
        assert_eq!(bench.run(&advert(150).build()).0, Drop);
        assert_eq!(bench.heard().accepted, 1, "a listed router");
    }
}

#[test]
fn packets_to_an_address_are_taken_by_its_master_alone() {
    let to = |target| packet_v4((PEER_MAC, OUR_MAC), PEER, target);
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        assert_eq!(bench.run(&to(VIP)).0, Drop, "a backup");
        assert_eq!(bench.run(&to(OUR_ADDRESS)).0, Pass, "our own address");
        assert_eq!(bench.counters().get(Counter::TrafficSilenced), 1);
        bench.lease(10);
        assert_eq!(bench.run(&to(VIP)), (Pass, to(VIP)));
        bench.run(&advert(200).build());
        assert_eq!(bench.run(&to(VIP)).0, Drop, "beaten");

        let refusing = Rules {
            accept: false,
            ..RULES
        };
        let mut bench = self::bench(entry, &refusing, &[]);
        bench.lease(10);
        assert_eq!(bench.run(&to(VIP)).0, Drop, "Accept_Mode is false");
        assert_eq!(bench.counters().get(Counter::NotAccepted), 1);
        let question = arp_question(PEER_MAC, PEER, VIP);
        assert_eq!(
            bench.run(&question).0,
            Transmit,
            "ARP is answered all the same"
        );
    }
}

#[test]
fn a_beaten_member_silences_its_group() {
    let question = arp_question(PEER_MAC, PEER, VIP);
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        bench.join_group(|group| group.store_epoch(1));
        bench.lease(10);
        assert_eq!(bench.run(&question).0, Transmit);
        // Another member is beaten: its own slot would say so to the group's.
        bench.join_group(Slot::record_beaten_member);
        assert_eq!(bench.run(&question).0, Drop);
        bench.join_group(|group| group.store_epoch(2));
        assert_eq!(bench.run(&question).0, Transmit, "in the next epoch");
        bench.run(&advert(200).build());
        assert!(bench.join_group(Slot::is_beaten), "and it tells");
    }
}
