//! The interfaces' counters in the kernel: a row for each, and where to find it.

use std::collections::{BTreeMap, VecDeque};

use aya::maps::{HashMap as BpfHashMap, MapData, PerCpuArray, PerCpuValues};
use vrrp_common::contract::{Counter, InterfaceCounters};

use super::DataplaneError;

/// `COUNTERS` and `ROWS`.
pub(super) struct Counters {
    counts: PerCpuArray<MapData, [u64; Counter::COUNT]>,
    rows: BpfHashMap<MapData, u32, u32>,
    /// By interface index.
    taken: BTreeMap<u32, u32>,
    /// One that is given back is the last to be taken again, when no route remembers it.
    free: VecDeque<u32>,
}

impl Counters {
    pub(super) fn new(
        counts: PerCpuArray<MapData, [u64; Counter::COUNT]>,
        rows: BpfHashMap<MapData, u32, u32>,
    ) -> Self {
        // Row 0 stands for one that has to be looked for.
        let free = (1..counts.len()).collect();
        Self {
            counts,
            rows,
            taken: BTreeMap::new(),
            free,
        }
    }

    /// The row of an interface; 0 where it has none, or one too high for a route to carry.
    pub(super) fn row(&self, ifindex: u32) -> u16 {
        let row = self.taken.get(&ifindex).copied();
        row.and_then(|row| row.try_into().ok()).unwrap_or(0)
    }

    /// Gives an interface a row of zeros, if it has none.
    pub(super) fn add(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        if self.taken.contains_key(&ifindex) {
            return Ok(());
        }
        let Some(row) = self.free.pop_front() else {
            let rows = usize::try_from(self.counts.len()).unwrap_or(usize::MAX);
            return Err(DataplaneError::Uncounted(rows));
        };
        let added = self.zero(row).and_then(|()| {
            let inserted = self.rows.insert(ifindex, row, 0);
            inserted.map_err(DataplaneError::map("ROWS"))
        });
        match added {
            Ok(()) => {
                self.taken.insert(ifindex, row);
            }
            Err(_) => self.free.push_front(row),
        }
        added
    }

    fn zero(&mut self, row: u32) -> Result<(), DataplaneError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| DataplaneError::Cpus(error))?;
        let zero = PerCpuValues::try_from(vec![[0; Counter::COUNT]; cpus])
            .map_err(DataplaneError::Cpus)?;
        self.counts
            .set(row, zero, 0)
            .map_err(DataplaneError::map("COUNTERS"))
    }

    /// Lets an interface that has a row begin from zero.
    pub(super) fn clear(&mut self, ifindex: u32) {
        if let Some(row) = self.taken.get(&ifindex).copied()
            && let Err(error) = self.zero(row)
        {
            tracing::debug!("the counters of interface {ifindex} go on: {error}");
        }
    }

    /// Makes room for another interface.
    pub(super) fn remove(&mut self, ifindex: u32) {
        if let Some(row) = self.taken.remove(&ifindex) {
            // Without an entry there is nothing to forget.
            let _ = self.rows.remove(&ifindex);
            self.free.push_back(row);
        }
    }

    /// Summed over the CPUs; `None` where the interface was never counted.
    pub(super) fn get(&self, ifindex: u32) -> Result<Option<InterfaceCounters>, DataplaneError> {
        let Some(row) = self.taken.get(&ifindex) else {
            return Ok(None);
        };
        let per_cpu = self.counts.get(row, 0);
        let per_cpu = per_cpu.map_err(DataplaneError::map("COUNTERS"))?;
        let mut total = InterfaceCounters::default();
        for counts in per_cpu.iter() {
            total.add(&InterfaceCounters { counts: *counts });
        }
        Ok(Some(total))
    }
}
