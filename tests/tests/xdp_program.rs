//! The kernel program by `BPF_PROG_TEST_RUN`, as a table: description, frame in, verdict, frame
//! out, maps after. The frames come from the independent builder.

use std::net::Ipv4Addr;

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use vrrp_common::{
    contract::{Counter, InterfaceCounters},
    slot::{Heard, Slot, Standing},
    validate::Reject,
    vrrp::Source,
};
use vrrp_userspace::{clock, dataplane::Dataplane};
use xvrrp_tests::frames::{AdvertSpec, arp, arp_question};

/// `BPF_PROG_TEST_RUN` presents frames as arriving on the loopback interface.
const IFINDEX: u32 = 1;
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const VRID: u8 = 7;
const PASS: u32 = 2;
const DROP: u32 = 1;
const TX: u32 = 3;

/// A loaded program with one virtual router.
struct Bench {
    dataplane: Dataplane,
    slot: u32,
}

impl Bench {
    fn new() -> Self {
        let mut dataplane = Dataplane::load(1, 1).expect("load the program; the tests run as root");
        let slot = dataplane.take_slot().expect("a slot");
        let mut bench = Self { dataplane, slot };
        bench.publish(100, 100, 1);
        bench
            .dataplane
            .route(slot, IFINDEX, VRID, &[VIP])
            .expect("route");
        bench.dataplane.count_interface(IFINDEX).expect("counters");
        bench
    }

    fn publish(&mut self, floor: u8, priority: u8, epoch: u64) {
        let source = Source::v4(OUR_ADDRESS.octets());
        self.with_slot(|slot| {
            slot.publish(&Standing {
                mac: OUR_MAC,
                floor,
                priority,
                source,
                epoch,
            });
        });
    }

    fn with_slot<R>(&self, act: impl FnOnce(&Slot) -> R) -> R {
        act(self.dataplane.slots().get(self.slot).expect("the slot"))
    }

    fn lease(&self, seconds_from_now: i64) {
        let now = clock::now_ns();
        let at = now.saturating_add_signed(seconds_from_now * 1_000_000_000);
        self.with_slot(|slot| slot.store_lease(at));
    }

    fn heard(&self) -> Heard {
        self.with_slot(Slot::heard)
    }

    fn counters(&self) -> InterfaceCounters {
        self.dataplane.counters(IFINDEX).expect("counters")
    }

    fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut out = vec![0; 2048];
        let program: &mut Xdp = self.dataplane.program().expect("the program");
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).expect("test run");
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }
}

fn advert(priority: u8) -> AdvertSpec {
    AdvertSpec::new(PEER_MAC, PEER, VRID, priority, VIP)
}

fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x0a]);
    frame
}

#[test]
fn the_program_is_small_enough_to_verify_quickly() {
    let mut bench = Bench::new();
    let info = bench
        .dataplane
        .program()
        .expect("the program")
        .info()
        .expect("its info");
    let verified = info.verified_instruction_count().expect("a count");
    println!("verified instructions: {verified}");
    assert!(verified < 4000, "{verified}: did a loop slip in?");
}

#[test]
fn good_adverts_are_consumed_and_stamped() {
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
    ];
    for (description, frame) in rows {
        let mut bench = Bench::new();
        let before = clock::now_ns();
        let (verdict, _) = bench.run(&frame);
        let after = clock::now_ns();
        assert_eq!(verdict, DROP, "{description}");
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

#[test]
fn every_bad_advert_is_dropped_under_its_reason() {
    let with = |change: fn(&mut AdvertSpec)| {
        let mut spec = advert(200);
        change(&mut spec);
        spec.build()
    };
    let mut bad_ip_checksum = advert(200).build();
    bad_ip_checksum[24] ^= 1;
    let rows: Vec<(&str, Vec<u8>, Reject)> = vec![
        ("IPv4 header checksum", bad_ip_checksum, Reject::IpHeader),
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
        let mut bench = Bench::new();
        let (verdict, _) = bench.run(&frame);
        assert_eq!(verdict, DROP, "{description}");
        assert_eq!(
            bench.heard(),
            Heard::default(),
            "{description}: no timer moves"
        );
        let counters = bench.counters();
        assert_eq!(counters.rejects(reason), 1, "{description}");
        assert_eq!(
            counters.counts.iter().sum::<u64>(),
            1,
            "{description}: and nothing else"
        );
    }
}

#[test]
fn what_is_not_ours_passes_untouched() {
    let mut other_vrid = advert(200);
    other_vrid.vrid = 8;
    let mut udp = advert(200).build();
    udp[23] = 17;
    let mut ipv6 = advert(200).build();
    ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    let ip = |last| Ipv4Addr::new(10, 0, 0, last);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("another VRID", other_vrid.build()),
        ("tagged advert", tagged(advert(200).build())),
        ("UDP", udp),
        ("IPv6", ipv6),
        ("a runt", vec![0; 14]),
        (
            "ARP for another address",
            arp_question(PEER_MAC, PEER, ip(50)),
        ),
        (
            "tagged ARP for ours",
            tagged(arp_question(PEER_MAC, PEER, VIP)),
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
            let mut bench = Bench::new();
            if leased {
                bench.lease(10);
            }
            let (verdict, out) = bench.run(frame);
            assert_eq!(verdict, PASS, "{description}");
            assert_eq!(&out, frame, "{description}: untouched");
            assert_eq!(bench.heard().seen_ns, 0, "{description}");
        }
    }
}

#[test]
fn arp_is_answered_by_lease_alone() {
    let question = arp_question(PEER_MAC, PEER, VIP);
    let probe = arp_question(PEER_MAC, Ipv4Addr::UNSPECIFIED, VIP);
    let unicast = arp(1, OUR_MAC, PEER_MAC, PEER, [0; 6], VIP);
    for (description, frame) in [
        ("broadcast", question),
        ("probe", probe),
        ("unicast", unicast),
    ] {
        let mut bench = Bench::new();
        assert_eq!(
            bench.run(&frame).0,
            DROP,
            "{description}: a backup is silent"
        );
        bench.lease(-1);
        assert_eq!(
            bench.run(&frame).0,
            DROP,
            "{description}: the lease is over"
        );
        assert_eq!(
            bench.counters().get(Counter::ArpSilenced),
            2,
            "{description}"
        );
        bench.lease(10);
        let (verdict, out) = bench.run(&frame);
        assert_eq!(verdict, TX, "{description}");
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

#[test]
fn a_preempting_advert_silences_the_master_at_once() {
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
        let mut bench = Bench::new();
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
        assert_eq!(verdict, if beaten { DROP } else { TX }, "{description}");
        // The next promotion has an epoch of its own.
        bench.publish(100, 100, 2);
        assert_eq!(
            bench.run(&question).0,
            TX,
            "{description}: in the next epoch"
        );
    }
}

#[test]
fn steady_adverts_ring_once_and_count_every_time() {
    let mut bench = Bench::new();
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

#[test]
fn a_full_ring_loses_nothing() {
    let mut bench = Bench::new();
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

#[test]
fn below_the_floor_no_timer_moves() {
    let mut bench = Bench::new();
    bench.run(&advert(99).build());
    let heard = bench.heard();
    assert_eq!((heard.seen_ns, heard.lesser), (0, 1));
    assert!(heard.other_ns > 0);
    bench.publish(1, 100, 1);
    bench.run(&advert(99).build());
    assert!(bench.heard().seen_ns > 0, "nopreempt: the floor is 1");
}

#[test]
fn a_foreign_claim_rings_a_master_only() {
    let claim = arp(1, [0xff; 6], PEER_MAC, VIP, [0; 6], VIP);
    let mut bench = Bench::new();
    assert_eq!(bench.run(&claim).0, PASS);
    assert_eq!(bench.heard().claim_ns, 0);
    bench.lease(10);
    assert_eq!(bench.run(&claim).0, PASS);
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

#[test]
fn the_kernel_program_and_the_host_agree() {
    // The same bytes through the program and through vrrp-common on the host.
    use vrrp_common::validate::{Located, locate, validate};
    let mut bench = Bench::new();
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
                Located::NotVrrp => (PASS, None),
                Located::Unreadable(reason) => (PASS, Some(reason as usize)),
                Located::Found(candidate) if candidate.vrid != VRID => {
                    (PASS, Some(Counter::ForeignVrid as usize))
                }
                Located::Found(candidate) => {
                    let index = match validate(frame.as_slice(), &candidate, own) {
                        Ok(_) => Counter::Advert as usize,
                        Err(reason) => reason as usize,
                    };
                    (DROP, Some(index))
                }
            };
            let counted = moved.into_iter().find(|at| *at != Counter::Ring as usize);
            assert_eq!((verdict, counted), expected, "byte {byte} bit {bit}");
            checked += 1;
        }
    }
    println!("{checked} frames judged alike");
}
