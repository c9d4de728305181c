//! The kernel programs, frame by frame, through `BPF_PROG_TEST_RUN`: nanoseconds that each kind of frame
//! costs, beside a program that does nothing.

use std::{net::Ipv6Addr, time::Duration};

use serde::Serialize;
use vrrp_common::{
    slot::Rules,
    vrrp::{GROUP_V6, Source},
};

use super::{empty::Empty, report::percentile};
use crate::{
    bench::{Bench, Entry, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, VIP, VRID, Verdict, advert},
    frames::{advert_v6, arp_question, packet_v4, solicitation},
};

/// What one kind of frame costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    entry: String,
    what: String,
    /// The median of several batches, beyond what the empty program takes in the same way, in nanoseconds.
    pub(super) ns: f64,
    /// From the quickest batch to the slowest.
    spread_ns: f64,
    /// What a bench has to stay below.
    limit_ns: Option<f64>,
}

/// Runs in a row, and how many rows.
const REPEAT: u32 = 200_000;
const BATCHES: usize = 15;
/// Single runs of a frame that its answer replaces.
const SINGLE: usize = 20_000;

const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

/// How a frame is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Again and again: it stays as it is.
    InARow,
    /// One by one: what comes out is another frame, or another message.
    OneByOne,
}

struct Row {
    what: &'static str,
    verdict: Verdict,
    how: How,
    limit_ns: Option<f64>,
    frames: Vec<Vec<u8>>,
    is_v6: bool,
    is_master: bool,
}

/// Measures every kind of frame.
pub(super) fn measure() -> Vec<Cost> {
    let empty = Empty::load();
    let mut costs = Vec::new();
    for entry in Entry::BOTH {
        for row in rows() {
            costs.push(cost(entry, &row, &empty));
        }
    }
    costs
}

/// How many instructions the verifier walks through.
pub(super) fn verified() -> Vec<(String, u32)> {
    let entries = [Entry::Xdp, Entry::Tc, Entry::Accept, Entry::Egress];
    let count = |entry: Entry| {
        (
            format!("{entry:?}"),
            Bench::new(entry).verified_instructions(),
        )
    };
    entries.map(count).into()
}

fn row(
    what: &'static str,
    verdict: Verdict,
    how: How,
    limit_ns: Option<f64>,
    frames: Vec<Vec<u8>>,
) -> Row {
    Row {
        what,
        verdict,
        how,
        limit_ns,
        frames,
        is_v6: false,
        is_master: false,
    }
}

fn rows() -> Vec<Row> {
    let with = |change: fn(&mut crate::frames::AdvertSpec)| {
        let mut spec = advert(150);
        change(&mut spec);
        vec![spec.build()]
    };
    let mut bad_checksum = advert(150).build();
    if let Some(byte) = bad_checksum.last_mut() {
        *byte ^= 1;
    }
    let (consumed, passed) = (Verdict::Drop, Verdict::Pass);
    let foreign = packet_v4((PEER_MAC, OUR_MAC), PEER, OUR_ADDRESS);
    vec![
        row(
            "a steady advert",
            consumed,
            How::InARow,
            Some(70.0),
            with(|_| ()),
        ),
        Row {
            is_v6: true,
            ..row(
                "a steady advert, IPv6",
                consumed,
                How::InARow,
                None,
                vec![advert_v6(PEER_MAC, PEER_V6, VRID, 150, VIP_V6)],
            )
        },
        row(
            "news: another priority",
            consumed,
            How::OneByOne,
            None,
            vec![advert(150).build(), advert(151).build()],
        ),
        Row {
            is_master: true,
            ..row(
                "an ARP answer",
                Verdict::Transmit,
                How::OneByOne,
                Some(60.0),
                vec![arp_question(PEER_MAC, PEER, VIP)],
            )
        },
        Row {
            is_master: true,
            is_v6: true,
            ..row(
                "a neighbour answer",
                Verdict::Transmit,
                How::OneByOne,
                Some(90.0),
                vec![solicitation(PEER_MAC, PEER_V6, VIP_V6)],
            )
        },
        row(
            "TTL 254",
            consumed,
            How::InARow,
            None,
            with(|spec| spec.ttl = 254),
        ),
        row(
            "a wrong checksum",
            consumed,
            How::InARow,
            None,
            vec![bad_checksum],
        ),
        row(
            "a VRID of somebody else",
            passed,
            How::InARow,
            None,
            with(|spec| spec.vrid = 77),
        ),
        row(
            "foreign traffic",
            passed,
            How::InARow,
            Some(10.0),
            vec![foreign],
        ),
        row(
            "an ARP question of somebody else",
            passed,
            How::InARow,
            None,
            vec![arp_question(PEER_MAC, PEER, OUR_ADDRESS)],
        ),
    ]
}

fn cost(entry: Entry, row: &Row, empty: &Empty) -> Cost {
    let mut bench = Bench::new(entry);
    if row.is_v6 {
        let rules = Rules::multicast(Source::v6(GROUP_V6));
        bench.serve(0, &rules, OWN_V6.into(), VIP_V6.into(), &[]);
    }
    bench.attend();
    if row.is_master {
        bench.lease(86_400);
    }
    for frame in &row.frames {
        assert_eq!(bench.run(frame).0, row.verdict, "{entry:?}: {}", row.what);
    }
    let first = row.frames.first().expect("a frame");
    let (own, nothing): (Vec<Duration>, Vec<Duration>) = match row.how {
        How::InARow => (0..BATCHES)
            .map(|_| (bench.time(first, REPEAT), empty.time(first, REPEAT)))
            .unzip(),
        How::OneByOne => row
            .frames
            .iter()
            .cycle()
            .take(SINGLE)
            .map(|frame| (bench.time(frame, 1), empty.time(frame, 1)))
            .unzip(),
    };
    let [own, nothing] = [own, nothing].map(|times| {
        let mut ns: Vec<f64> = times.iter().map(|it| it.as_secs_f64() * 1e9).collect();
        ns.sort_by(f64::total_cmp);
        ns
    });
    Cost {
        entry: format!("{entry:?}"),
        what: row.what.to_owned(),
        ns: percentile(&own, 0.5) - percentile(&nothing, 0.5),
        spread_ns: percentile(&own, 0.9) - percentile(&own, 0.1),
        limit_ns: row.limit_ns,
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            entry,
            what,
            ns,
            spread_ns,
            limit_ns,
        } = self;
        write!(
            f,
            "  {entry:4} {what:34} {ns:8.1} ns (+-{:.1})",
            spread_ns / 2.0
        )?;
        match limit_ns {
            Some(limit) => write!(f, "  limit {limit:.0}"),
            None => Ok(()),
        }
    }
}
