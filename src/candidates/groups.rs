//! Rows brought together that share a curve: same layout, lengths and batch limit.

use std::collections::HashMap;
use std::ops::Range;

use rustc_hash::FxBuildHasher;

use crate::candidates::rows::{at, Rows, Status, BLANK};

/// What rows share that share a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub layout: i32,
    lengths: [u64; 2],
    batch: u64,
}

impl Group {
    fn of(rows: &Rows, row: usize) -> Self {
        Self {
            layout: rows.layout[row],
            lengths: [rows.input_tokens[row], rows.output_tokens[row]].map(f64::to_bits),
            batch: at(rows.batch_limit, row).to_bits(),
        }
    }

    /// Input and output tokens.
    pub fn lengths(&self) -> [f64; 2] {
        self.lengths.map(f64::from_bits)
    }

    /// Batch limit, or blank.
    pub fn batch(&self) -> f64 {
        f64::from_bits(self.batch)
    }
}

/// What differs inside a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub concurrency: f64,
    pub rate_rps: f64,
    /// NaN where blank.
    pub usd_per_gpu_h: f64,
    pub usd_per_kwh: f64,
}

impl Load {
    fn of(rows: &Rows, row: usize) -> Self {
        let price = at(rows.usd_per_gpu_h, row);
        Self {
            concurrency: at(rows.concurrency, row),
            rate_rps: at(rows.rate_rps, row),
            usd_per_gpu_h: if price == BLANK { f64::NAN } else { price },
            usd_per_kwh: rows.energy_usd_per_kwh(row),
        }
    }
}

/// Place of a row that is in no group.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Rows one group after the other. Both ways between the orders are walked row by row, so that only
/// one place of each group is touched at a time: that stays in the cache.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Groups in order of their first rows, with their places.
    pub members: Vec<(Group, Range<usize>)>,
    /// Loads by place.
    pub loads: Vec<Load>,
    /// Place of every row, or [`NOWHERE`].
    pub places: Vec<u32>,
    index: HashMap<Group, u32, FxBuildHasher>,
    next: Vec<u32>,
}

impl Groups {
    /// Brings rows together; rows that are wrong get their status and are nowhere.
    pub fn fill(&mut self, rows: &Rows, status: &mut [u8]) {
        self.number(rows, status);
        let mut first = 0;
        for ((_, members), next) in self.members.iter_mut().zip(&mut self.next) {
            *next = first as u32;
            *members = first..first + members.len();
            first = members.end;
        }
        self.loads.resize(first, Load::default());
        for (row, place) in self.places.iter_mut().enumerate() {
            if *place != NOWHERE {
                let next = &mut self.next[*place as usize];
                *place = *next;
                *next += 1;
                self.loads[*place as usize] = Load::of(rows, row);
            }
        }
    }

    /// Groups with their sizes, and as the place of each row the number of its group.
    fn number(&mut self, rows: &Rows, status: &mut [u8]) {
        self.index.clear();
        self.members.clear();
        self.places.clear();
        for (row, status) in status.iter_mut().enumerate() {
            let found = rows.check(row);
            *status = found as u8;
            if found != Status::Ok {
                self.places.push(NOWHERE);
                continue;
            }
            let group = Group::of(rows, row);
            let number = *self.index.entry(group).or_insert_with(|| {
                self.members.push((group, 0..0));
                self.members.len() as u32 - 1
            });
            self.members[number as usize].1.end += 1;
            self.places.push(number);
        }
        self.next.resize(self.members.len(), 0);
    }
}
