//! The kernel programs, frame by frame, through `BPF_PROG_TEST_RUN`: nanoseconds that each kind of frame
//! costs, beside a program that does nothing, and beside the sum of what it cannot do without.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::Serialize;
use vrrp_common::{
    slot::Rules,
    vrrp::{GROUP_V6, Source},
};

use super::{
    bytecode::Program,
    parts::{self, Part},
    report::percentile,
};
use crate::{
    bench::{Bench, Entry, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, VIP, VRID, Verdict, advert},
    frames::{AdvertSpec, advert_v6, arp_question, packet_v4, solicitation},
};

/// What one kind of frame costs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    entry: String,
    what: String,
    /// Beyond what the empty program takes in the same way, in nanoseconds.
    ns: f64,
    /// What the report compares it with.
    limit_ns: Option<f64>,
    /// The lookups and the clock that it needs, and nothing else, measured by turns with it.
    parts_ns: f64,
}

/// The kernel programs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Kernel {
    costs: Vec<Cost>,
    parts: BTreeMap<Part, f64>,
    /// Instructions that the verifier walks through, by program.
    verified: Vec<(String, u32)>,
}

/// Single runs of frames that are different each time.
const SINGLE: usize = 20_000;

const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

struct Row {
    what: &'static str,
    verdict: Verdict,
    limit_ns: Option<f64>,
    /// One frame that is run in a row, put back before each run; or several that take turns, one by one.
    frames: Vec<Vec<u8>>,
    parts: &'static [Part],
    is_v6: bool,
    is_master: bool,
}

impl Row {
    const fn new(what: &'static str, verdict: Verdict, frames: Vec<Vec<u8>>) -> Self {
        Self {
            what,
            verdict,
            limit_ns: None,
            frames,
            parts: &[],
            is_v6: false,
            is_master: false,
        }
    }

    const fn of_v6(mut self) -> Self {
        self.is_v6 = true;
        self
    }

    const fn of_master(mut self) -> Self {
        self.is_master = true;
        self
    }

    const fn within(mut self, limit_ns: f64) -> Self {
        self.limit_ns = Some(limit_ns);
        self
    }

    const fn made_of(mut self, parts: &'static [Part]) -> Self {
        self.parts = parts;
        self
    }
}

/// Which router, its slot, when, whether a daemon is alive, and a count.
const ADVERT: &[Part] = &[
    Part::Array,
    Part::Array,
    Part::Clock,
    Part::Array,
    Part::Counter,
];
/// Whether the address can be ours, whose it is, its slot, whether its lease is fresh, and a count.
const ANSWER: &[Part] = &[
    Part::Array,
    Part::Array,
    Part::Array,
    Part::Clock,
    Part::Counter,
];

fn rows() -> Vec<Row> {
    let with = |change: fn(&mut AdvertSpec)| {
        let mut spec = advert(150);
        change(&mut spec);
        vec![spec.build()]
    };
    let mut bad_checksum = advert(150).build();
    if let Some(byte) = bad_checksum.last_mut() {
        *byte ^= 1;
    }
    let (consumed, passed, answered) = (Verdict::Drop, Verdict::Pass, Verdict::Transmit);
    let news = vec![advert(150).build(), advert(151).build()];
    let advert_v6 = vec![advert_v6(PEER_MAC, PEER_V6, VRID, 150, VIP_V6)];
    let question = vec![arp_question(PEER_MAC, PEER, VIP)];
    let solicitation = vec![solicitation(PEER_MAC, PEER_V6, VIP_V6)];
    let foreign = vec![packet_v4((PEER_MAC, OUR_MAC), PEER, OUR_ADDRESS)];
    let stranger = vec![arp_question(PEER_MAC, PEER, OUR_ADDRESS)];
    vec![
        Row::new("a steady advert", consumed, with(|_| ()))
            .within(70.0)
            .made_of(ADVERT),
        Row::new("a steady advert, IPv6", consumed, advert_v6)
            .of_v6()
            .made_of(ADVERT),
        Row::new("news: another priority", consumed, news).made_of(ADVERT),
        Row::new("an ARP answer", answered, question)
            .of_master()
            .within(60.0)
            .made_of(ANSWER),
        Row::new("a neighbour answer", answered, solicitation)
            .of_master()
            .of_v6()
            .within(90.0)
            .made_of(ANSWER),
        Row::new("TTL 254", consumed, with(|spec| spec.ttl = 254)).made_of(ADVERT),
        Row::new("a wrong checksum", consumed, vec![bad_checksum]).made_of(ADVERT),
        Row::new("a VRID of somebody else", passed, with(|it| it.vrid = 77))
            .made_of(&[Part::Array, Part::Counter]),
        Row::new("foreign traffic", passed, foreign)
            .within(10.0)
            .made_of(&[Part::Array]),
        Row::new("an ARP question of somebody else", passed, stranger).made_of(&[Part::Array]),
    ]
}

/// Measures every kind of frame.
pub(super) fn measure() -> Kernel {
    let costs = Entry::BOTH
        .into_iter()
        .flat_map(|entry| rows().into_iter().map(move |row| (entry, row)))
        .map(|(entry, row)| cost(entry, &row))
        .collect();
    Kernel {
        costs,
        parts: parts::measure(),
        verified: verified(),
    }
}

fn verified() -> Vec<(String, u32)> {
    let entries = [Entry::Xdp, Entry::Tc, Entry::Accept, Entry::Egress];
    let count = |entry: Entry| {
        (
            format!("{entry:?}"),
            Bench::new(entry).verified_instructions(),
        )
    };
    entries.map(count).into()
}

fn cost(entry: Entry, row: &Row) -> Cost {
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
    let yardstick = parts::program(row.parts);
    let (ns, parts_ns) = match &row.frames[..] {
        [frame] => in_a_row(entry, &mut bench, frame, row, &yardstick),
        frames => one_by_one(entry, &mut bench, frames, &yardstick),
    };
    Cost {
        entry: format!("{entry:?}"),
        what: row.what.to_owned(),
        ns,
        limit_ns: row.limit_ns,
        parts_ns,
    }
}

/// One frame, put back before each run. Returns what the program takes, and what its parts do.
fn in_a_row(
    entry: Entry,
    bench: &mut Bench,
    frame: &[u8],
    row: &Row,
    yardstick: &Program,
) -> (f64, f64) {
    let (empty, empty_xdp) = (Program::empty(entry), Program::empty(Entry::Xdp));
    let ours = Program::refill(entry, frame, bench.program());
    let nothing = Program::refill(entry, frame, empty.fd());
    let verdict = ours.run(frame, 1).0;
    assert_eq!(entry.verdict(verdict), row.verdict, "{}", row.what);
    let all = [&ours, &nothing, yardstick, &empty_xdp].map(|program| (program, frame));
    let [own, without, parts, none] = parts::quickest(all);
    (own - without, parts - none)
}

/// Frames that take turns: each run is one call, and a processor that was elsewhere meanwhile.
fn one_by_one(
    entry: Entry,
    bench: &mut Bench,
    frames: &[Vec<u8>],
    yardstick: &Program,
) -> (f64, f64) {
    let (empty, empty_xdp) = (Program::empty(entry), Program::empty(Entry::Xdp));
    let mut times: [Vec<f64>; 4] = Default::default();
    for frame in frames.iter().cycle().take(SINGLE) {
        let single = [
            bench.time(frame, 1),
            empty.run(frame, 1).1,
            yardstick.run(frame, 1).1,
            empty_xdp.run(frame, 1).1,
        ];
        for (times, single) in times.iter_mut().zip(single) {
            times.push(single.as_secs_f64() * 1e9);
        }
    }
    let [own, without, parts, none] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        percentile(&times, 0.25)
    });
    (own - without, parts - none)
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "\nkernel: beyond an empty program")?;
        for cost in &self.costs {
            writeln!(f, "{cost}")?;
        }
        for (part, ns) in &self.parts {
            writeln!(f, "  {part:?} by itself: {ns:.1} ns")?;
        }
        for (program, count) in &self.verified {
            writeln!(f, "  {program}: {count} verified instructions")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            entry,
            what,
            ns,
            limit_ns,
            parts_ns,
        } = self;
        let ratio = ns / parts_ns;
        write!(
            f,
            "  {entry:4} {what:34} {ns:7.1} ns = {ratio:4.1} x its parts ({parts_ns:.0} ns)"
        )?;
        match limit_ns {
            Some(limit) => write!(f, "  limit {limit:.0}"),
            None => Ok(()),
        }
    }
}
