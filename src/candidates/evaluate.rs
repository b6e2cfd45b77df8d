//! Rows in, answers out, one curve for each group of rows.

use std::ops::Range;

use crate::candidates::answers::{Answers, ANSWERS, MEANS};
use crate::candidates::bench::Bench;
use crate::candidates::groups::{Group, Groups, Load, NOWHERE};
use crate::candidates::prepared::Prepared;
use crate::candidates::rows::{Rows, Status, BLANK};
use crate::perf::layout::Layout;
use crate::perf::replica::{request_joules, sequences_that_fit, ClassWork, Replica};
use crate::perf::step::StepModel;
use crate::points::{points, Columns, Curve, Inputs, NAMES};
use crate::tco::{usd_per_gpu_h_with_energy, usd_per_mtok_at};
use crate::workload::{Class, Length, Spec};

/// Most sequences in decode where the row does not say: vLLM's `max_num_seqs` of old, and what
/// backtests assume.
const DEFAULT_BATCH: f64 = 256.0;
/// Rows worked out at once: their columns stay in the nearest cache.
const CHUNK: usize = 256;
const TTFT: usize = 2;
const WATTS: usize = 6;
const MS: f64 = 1e3;

/// Numbers of a row as they are found, without the means of a closed loop: a line of the cache.
type Numbers = [f64; ANSWERS.len() - MEANS];
type Means = [f64; MEANS];

const UNKNOWN: Numbers = [f64::NAN; ANSWERS.len() - MEANS];
const NO_MEANS: Means = [f64::NAN; MEANS];

/// Evaluates rows of files. Holds the room to work in, so that it is not asked for again.
#[derive(Default)]
pub struct Evaluator {
    groups: Groups,
    found: Found,
    kept: Vec<u32>,
    chunk: Chunk,
}

/// Answers by place of the row in its group.
#[derive(Default)]
struct Found {
    status: Vec<Status>,
    numbers: Vec<Numbers>,
    means: Vec<Means>,
}

/// The answers of one group, or of a chunk of it.
struct Places<'a> {
    status: &'a mut [Status],
    numbers: &'a mut [Numbers],
    means: &'a mut [Means],
}

impl Evaluator {
    /// Evaluates rows; returns how many are answered and not rejected. Their numbers come first in
    /// the columns of `out`.
    ///
    /// # Panics
    /// When a layout index is not prepared, or columns differ in length.
    pub fn evaluate(
        &mut self,
        spec: &Spec,
        prepared: &[Prepared],
        rows: &Rows,
        out: &mut Answers,
    ) -> usize {
        self.groups.fill(rows, out.status);
        self.found.resize(self.groups.loads.len());
        for (group, members) in &self.groups.members {
            let prepared = &prepared[group.layout as usize];
            let loads = &self.groups.loads[members.clone()];
            let places = self.found.places(members.clone());
            match prepared.layout(spec) {
                Some(layout) => self
                    .chunk
                    .group(&layout, &prepared.step, group, loads, places),
                None => places.reject(Status::Layout),
            }
        }
        self.in_rows(out)
    }

    /// Answers in the order of the rows again, without those that are rejected.
    fn in_rows(&mut self, out: &mut Answers) -> usize {
        self.kept.clear();
        for (status, place) in out.status.iter_mut().zip(&self.groups.places) {
            if *place != NOWHERE {
                *status = self.found.status[*place as usize] as u8;
                if *status < Status::Layout as u8 {
                    self.kept.push(*place);
                }
            }
        }
        for (i, places) in self.kept.chunks(CHUNK).enumerate() {
            for c in 0..ANSWERS.len() {
                let value = |place: &u32| match c.checked_sub(UNKNOWN.len()) {
                    None => self.found.numbers[*place as usize][c],
                    Some(mean) => self.found.means[*place as usize][mean],
                };
                out.columns[c].write(i * CHUNK, places.iter().map(value));
            }
        }
        self.kept.len()
    }
}

impl Found {
    /// Makes room; what is in it stays until a group is evaluated.
    fn resize(&mut self, len: usize) {
        self.status.resize(len, Status::Layout);
        self.numbers.resize(len, UNKNOWN);
        self.means.resize(len, NO_MEANS);
    }

    fn places(&mut self, members: Range<usize>) -> Places<'_> {
        Places {
            status: &mut self.status[members.clone()],
            numbers: &mut self.numbers[members.clone()],
            means: &mut self.means[members],
        }
    }
}

impl Places<'_> {
    /// Nothing is known of any row.
    fn reject(self, status: Status) {
        self.status.fill(status);
        self.numbers.fill(UNKNOWN);
        self.means.fill(NO_MEANS);
    }

    fn chunks(self) -> impl Iterator<Item = Self> {
        let places = self.status.chunks_mut(CHUNK);
        let places = places.zip(self.numbers.chunks_mut(CHUNK));
        places
            .zip(self.means.chunks_mut(CHUNK))
            .map(|((status, numbers), means)| Places {
                status,
                numbers,
                means,
            })
    }
}

fn fixed(tokens: f64) -> Length {
    Length {
        at: [tokens; 5],
        m2: tokens * tokens,
        max: tokens,
    }
}

/// Batch limit of a replica with room for so many sequences: as stated, or what fits up to the
/// default. One sequence must fit every lane.
fn batch(layout: &Layout, stated: f64, room: f64) -> Result<u32, Status> {
    let lanes = f64::from(layout.parallel.adp * layout.parallel.pp);
    let limit = if stated == BLANK {
        (room.min(DEFAULT_BATCH.max(lanes)) / lanes).floor() * lanes
    } else if stated % lanes != 0.0 {
        return Err(Status::BatchLanes);
    } else {
        stated
    };
    if limit < lanes || limit > room {
        return Err(Status::Memory);
    }
    Ok(limit as u32)
}

/// Columns of a chunk of rows: inputs, and points in the order of [`crate::points::NAMES`].
struct Chunk {
    rate_rps: [f64; CHUNK],
    usd_per_gpu_h: [f64; CHUNK],
    usd_per_kwh: [f64; CHUNK],
    points: [[f64; CHUNK]; NAMES.len()],
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            rate_rps: [0.0; CHUNK],
            usd_per_gpu_h: [0.0; CHUNK],
            usd_per_kwh: [0.0; CHUNK],
            points: [[0.0; CHUNK]; NAMES.len()],
        }
    }
}

impl Chunk {
    /// Evaluates the rows of a group.
    fn group(
        &mut self,
        layout: &Layout,
        step: &StepModel,
        group: &Group,
        loads: &[Load],
        places: Places,
    ) {
        let [input, output] = group.lengths();
        let class = Class {
            id: String::new(),
            share: 1.0,
            input: fixed(input),
            output: fixed(output),
            hit_rate: 0.0,
        };
        let work = [ClassWork::new(layout, step, &class)];
        let room = sequences_that_fit(layout, work[0].kv_max_bytes);
        let limit = if input + output > f64::from(layout.model.max_context) {
            Err(Status::Context)
        } else {
            batch(layout, group.batch(), room)
        };
        match limit {
            Err(status) => places.reject(status),
            Ok(limit) => {
                let replica = Replica::new(layout, step, &work, limit);
                let curve = Curve::new(layout, &replica, &class, 0, 0.0);
                let bench = Bench {
                    layout,
                    step,
                    request_j: request_joules(layout, &replica, 0),
                    input,
                    output,
                };
                for (loads, places) in loads.chunks(CHUNK).zip(places.chunks()) {
                    self.serve(&bench, &curve, loads, places);
                }
            }
        }
    }

    /// Open loops from the curve; closed loops over them, with percentiles of the same rate.
    fn serve(&mut self, bench: &Bench, curve: &Curve, loads: &[Load], places: Places) {
        let mut runs = Vec::new();
        for (i, load) in loads.iter().enumerate() {
            self.usd_per_gpu_h[i] = load.usd_per_gpu_h;
            self.usd_per_kwh[i] = load.usd_per_kwh;
            self.rate_rps[i] = if load.rate_rps == BLANK {
                let run = bench.run(load.concurrency);
                runs.push((i, run));
                bench.rate_rps(&run)
            } else {
                load.rate_rps
            };
        }
        self.bulk(curve, loads.len());
        places.means.fill(NO_MEANS);
        for (i, (status, numbers)) in places
            .status
            .iter_mut()
            .zip(places.numbers.iter_mut())
            .enumerate()
        {
            (*status, *numbers) = self.open(i);
        }
        for (i, run) in &runs {
            let watts = bench.watts(run);
            let gpus = f64::from(bench.layout.parallel.gpus());
            let load = &loads[*i];
            let hour =
                usd_per_gpu_h_with_energy(load.usd_per_gpu_h, watts / gpus, load.usd_per_kwh);
            let tokens = run.output_tokens_per_s_gpu;
            places.status[*i] = Status::Ok;
            let [total, per_gpu, _, _, _, _, drawn, cost] = &mut places.numbers[*i];
            *total = tokens * gpus;
            *per_gpu = tokens;
            *drawn = watts;
            *cost = usd_per_mtok_at(hour, tokens);
            places.means[*i] = [run.ttft_s * MS, run.tpot_s * MS];
        }
    }

    /// Points of the chunk.
    fn bulk(&mut self, curve: &Curve, len: usize) {
        let inputs = Inputs {
            rate_rps: &self.rate_rps[..len],
            usd_per_gpu_h: &self.usd_per_gpu_h[..len],
            usd_per_kwh: &self.usd_per_kwh[..len],
        };
        let mut out = Columns::from(self.points.each_mut().map(|column| &mut column[..len]));
        points(curve, &inputs, &mut out);
    }

    /// An open loop: nothing is known above capacity.
    fn open(&self, i: usize) -> (Status, Numbers) {
        if self.points[TTFT][i] == f64::INFINITY {
            return (Status::AboveCapacity, UNKNOWN);
        }
        let mut numbers = UNKNOWN;
        for (c, (number, column)) in numbers.iter_mut().zip(&self.points).enumerate() {
            let unit = if (TTFT..WATTS).contains(&c) { MS } else { 1.0 };
            *number = column[i] * unit;
        }
        (Status::Ok, numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_rows_without_those_that_are_rejected() {
        // Row 1 was in no group; rows came together as 3, 0, 4, 2, and row 4 turned out too long.
        let [ok, memory, context, rate] =
            [Status::Ok, Status::Memory, Status::Context, Status::Rate];
        let mut evaluator = Evaluator::default();
        evaluator.groups.places = vec![1, NOWHERE, 3, 0, 2];
        evaluator.found.status = vec![ok, ok, context, memory];
        evaluator.found.numbers = vec![[30.0; 8], [0.5; 8], [9.0; 8], UNKNOWN];
        evaluator.found.means = vec![[3.0; 2], NO_MEANS, NO_MEANS, NO_MEANS];
        let mut status = [0, rate as u8, 0, 0, 0];
        let mut values = [[0.0; 5]; ANSWERS.len()];
        let mut valid = [[0; 1]; ANSWERS.len()];
        let mut columns = values.iter_mut().zip(&mut valid);
        let columns = std::array::from_fn(|_| {
            let (values, valid) = columns.next().unwrap();
            (&mut values[..], &mut valid[..])
        });
        let mut out = Answers::new(5, &mut status, columns).unwrap();
        assert_eq!(evaluator.in_rows(&mut out), 3);
        let missing = out.columns.map(|c| c.missing);
        assert_eq!(status, [ok, rate, memory, ok, context].map(|s| s as u8));
        assert_eq!(missing, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);
        assert_eq!(valid[0], [0b101]);
        assert_eq!((values[0][0], values[0][2]), (0.5, 30.0));
        assert_eq!((valid[9], values[9][2]), ([0b100], 3.0));
    }
}
