//! What the parts cost that no program of this kind can do without: the same helpers and lookups, in the
//! same run.

use std::collections::BTreeMap;

use serde::Serialize;
use vrrp_common::{
    contract::{InterfaceCounters, VipKey, VipTarget, VridKey, VridTarget},
    slot::Slot,
};

use super::bytecode::{Code, Helper, Map, MapKind, Program, R};
use crate::bench::Entry;

/// A part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// `bpf_ktime_get_boot_ns`.
    Clock,
    /// Finding a virtual router by interface, VLAN, family and VRID in a hash table, where there is no shorter
    /// way to it.
    FindRouter,
    /// Finding a virtual address so.
    FindAddress,
    /// A value of an array.
    Array,
    /// A counter of this processor.
    Counter,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Clock,
        Self::FindRouter,
        Self::FindAddress,
        Self::Array,
        Self::Counter,
    ];

    /// A map with one entry, and its key.
    fn map(self) -> Option<(Map, Vec<u8>)> {
        let size = |bytes: usize| u32::try_from(bytes).expect("a size");
        let (kind, key, value, entries) = match self {
            Self::Clock => return None,
            Self::FindRouter => (
                MapKind::Hash,
                size_of::<VridKey>(),
                size_of::<VridTarget>(),
                256,
            ),
            Self::FindAddress => (
                MapKind::Hash,
                size_of::<VipKey>(),
                size_of::<VipTarget>(),
                1024,
            ),
            Self::Array => (MapKind::Array, 4, size_of::<Slot>(), 256),
            Self::Counter => (MapKind::PerCpuArray, 4, size_of::<InterfaceCounters>(), 256),
        };
        let map = Map::new(kind, size(key), size(value), entries);
        let key = vec![1; key];
        if kind == MapKind::Hash {
            map.put(&key, &vec![0; value]);
            return Some((map, key));
        }
        Some((map, 1_u32.to_ne_bytes().to_vec()))
    }

    /// Does it, and keeps what it needs.
    fn write(self, code: &mut Code, maps: &mut Vec<Map>) {
        /// The key's place on the stack, where the longest has room.
        const KEY: i16 = -32;
        let Some((map, key)) = self.map() else {
            return code.call(Helper::BootTime);
        };
        for (offset, byte) in (KEY..).zip(&key) {
            code.store_byte(R(10), offset, *byte);
        }
        code.set_map(R(1), &map);
        code.copy(R(2), R(10));
        code.add(R(2), i32::from(KEY));
        code.call(Helper::MapLookup);
        maps.push(map);
    }
}

/// A program that does all of these, once.
pub(super) fn program(parts: &[Part]) -> Program {
    let (mut code, mut maps) = (Code::default(), Vec::new());
    for part in parts {
        part.write(&mut code, &mut maps);
    }
    code.exit(2);
    Program::load(Entry::Xdp, &code, maps)
}

/// What each part takes by itself, in nanoseconds, where one follows the other.
pub(super) fn measure() -> BTreeMap<Part, f64> {
    const TIMES: usize = 32;
    let frame = [0_u8; 64];
    let empty = Program::empty(Entry::Xdp);
    let cost = |part: Part| {
        let times = program(&[part; TIMES]);
        let [own, nothing] = quickest([(&times, &frame[..]), (&empty, &frame[..])]);
        (part, (own - nothing) / super::float(TIMES as u64))
    };
    Part::ALL.into_iter().map(cost).collect()
}

/// Runs in a row, and how many rows of each.
const REPEAT: u32 = 30_000;
const ROWS: usize = 40;

/// The quickest row of each program on its frame, in nanoseconds a run. They take turns: whatever else the
/// machine does can only make a row slower, and does so to all of them.
pub(super) fn quickest<const N: usize>(programs: [(&Program, &[u8]); N]) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for _ in 0..ROWS {
        for (best, (program, frame)) in best.iter_mut().zip(programs) {
            let ns = program.run(frame, REPEAT).1.as_secs_f64() * 1e9;
            *best = best.min(ns);
        }
    }
    best
}
