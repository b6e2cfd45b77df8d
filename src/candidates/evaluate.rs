//! Rows in, answers out, one curve for each group of rows.

use crate::candidates::answers::{Answers, ANSWERS};
use crate::candidates::bench::Bench;
use crate::candidates::groups::{Group, Groups, Load, NOWHERE};
use crate::candidates::prepared::Prepared;
use crate::candidates::rows::{Rows, Status, BLANK};
use crate::perf::layout::Layout;
use crate::perf::replica::{sequences_that_fit, ClassWork, Replica, RequestEnergy};
use crate::perf::step::StepModel;
use crate::points::{points, Columns, Curve, Inputs};
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

type Numbers = [f64; ANSWERS.len()];

/// Answers to a row, at the place of the row in its group.
#[derive(Debug, Clone, Copy)]
struct Found {
    status: Status,
    numbers: Numbers,
}

const NONE: Found = Found {
    status: Status::Layout,
    numbers: [f64::NAN; ANSWERS.len()],
};

/// Evaluates rows of a file.
///
/// # Panics
/// When a layout index is not prepared, or columns differ in length.
pub fn evaluate(spec: &Spec, prepared: &[Prepared], rows: &Rows) -> Answers {
    let mut status = vec![0; rows.layout.len()];
    let groups = Groups::of(rows, &mut status);
    let mut found = vec![NONE; groups.loads.len()];
    let mut scratch = Scratch::default();
    for (group, members) in &groups.members {
        let prepared = &prepared[group.layout as usize];
        let loads = &groups.loads[members.clone()];
        let found = &mut found[members.clone()];
        if let Some(layout) = prepared.layout(spec) {
            scratch.group(&layout, &prepared.step, group, loads, found);
        }
    }
    in_rows(status, &groups.places, &found)
}

/// Answers in the order of the rows again, without those that are rejected.
fn in_rows(mut status: Vec<u8>, places: &[u32], found: &[Found]) -> Answers {
    let mut kept = Vec::with_capacity(places.len());
    for (status, place) in status.iter_mut().zip(places) {
        if *place != NOWHERE {
            *status = found[*place as usize].status as u8;
            if *status < Status::Layout as u8 {
                kept.push(*place);
            }
        }
    }
    let mut columns: [Vec<f64>; ANSWERS.len()] =
        std::array::from_fn(|_| Vec::with_capacity(kept.len()));
    for chunk in kept.chunks(CHUNK) {
        for (c, column) in columns.iter_mut().enumerate() {
            column.extend(chunk.iter().map(|place| found[*place as usize].numbers[c]));
        }
    }
    Answers { status, columns }
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
struct Scratch {
    rate_rps: [f64; CHUNK],
    usd_per_gpu_h: [f64; CHUNK],
    usd_per_kwh: [f64; CHUNK],
    points: [[f64; CHUNK]; 9],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            rate_rps: [0.0; CHUNK],
            usd_per_gpu_h: [0.0; CHUNK],
            usd_per_kwh: [0.0; CHUNK],
            points: [[0.0; CHUNK]; 9],
        }
    }
}

impl Scratch {
    /// Evaluates the rows of a group.
    fn group(
        &mut self,
        layout: &Layout,
        step: &StepModel,
        group: &Group,
        loads: &[Load],
        found: &mut [Found],
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
            Err(status) => found.fill(Found { status, ..NONE }),
            Ok(limit) => {
                let replica = Replica::new(layout, step, &work, limit);
                let curve = Curve::new(layout, &replica, &class, 0, 0.0);
                let bench = Bench {
                    layout,
                    step,
                    replica: &replica,
                    energy: RequestEnergy::new(layout, &replica, 0),
                    input,
                    output,
                };
                for (loads, found) in loads.chunks(CHUNK).zip(found.chunks_mut(CHUNK)) {
                    self.serve(&bench, &curve, loads, found);
                }
            }
        }
    }

    /// Open loops from the curve; closed loops over them, with percentiles of the same rate.
    fn serve(&mut self, bench: &Bench, curve: &Curve, loads: &[Load], found: &mut [Found]) {
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
        for (i, found) in found.iter_mut().enumerate() {
            *found = self.open(i);
        }
        for (i, run) in &runs {
            let watts = bench.watts(run);
            let gpus = f64::from(bench.layout.parallel.gpus());
            let load = &loads[*i];
            let hour =
                usd_per_gpu_h_with_energy(load.usd_per_gpu_h, watts / gpus, load.usd_per_kwh);
            let tokens = run.output_tokens_per_s_gpu;
            let found = &mut found[*i];
            found.status = Status::Ok;
            let [total, per_gpu, _, _, _, _, drawn, cost, ttft, tpot] = &mut found.numbers;
            *total = tokens * gpus;
            *per_gpu = tokens;
            *drawn = watts;
            *cost = usd_per_mtok_at(hour, tokens);
            *ttft = run.ttft_s * MS;
            *tpot = run.tpot_s * MS;
        }
    }

    /// Points of the chunk.
    fn bulk(&mut self, curve: &Curve, len: usize) {
        let inputs = Inputs {
            rate_rps: &self.rate_rps[..len],
            usd_per_gpu_h: &self.usd_per_gpu_h[..len],
            usd_per_kwh: &self.usd_per_kwh[..len],
        };
        let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, watts, cost, running] =
            &mut self.points;
        let mut out = Columns {
            output_tokens_per_s: &mut tokens[..len],
            tokens_per_s_gpu: &mut tokens_gpu[..len],
            ttft_p50_s: &mut ttft_50[..len],
            ttft_p99_s: &mut ttft_99[..len],
            tpot_p50_s: &mut tpot_50[..len],
            tpot_p99_s: &mut tpot_99[..len],
            watts: &mut watts[..len],
            usd_per_mtok_output: &mut cost[..len],
            concurrency: &mut running[..len],
        };
        points(curve, &inputs, &mut out);
    }

    /// An open loop: nothing is known above capacity.
    fn open(&self, i: usize) -> Found {
        if self.points[TTFT][i] == f64::INFINITY {
            return Found {
                status: Status::AboveCapacity,
                ..NONE
            };
        }
        let mut numbers = NONE.numbers;
        for (c, (number, column)) in numbers.iter_mut().zip(&self.points[..8]).enumerate() {
            let unit = if (TTFT..WATTS).contains(&c) { MS } else { 1.0 };
            *number = column[i] * unit;
        }
        Found {
            status: Status::Ok,
            numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_rows_without_those_that_are_rejected() {
        let of = |status, x: f64| Found {
            status,
            numbers: [x; ANSWERS.len()],
        };
        // Row 1 was in no group; rows came together as 3, 0, 4, 2, and row 4 turned out too long.
        let found = [
            of(Status::Ok, 30.0),
            of(Status::Ok, 0.5),
            of(Status::Context, 9.0),
            of(Status::Memory, 20.0),
        ];
        let status = vec![0, Status::Rate as u8, 0, 0, 0];
        let answers = in_rows(status, &[1, NOWHERE, 3, 0, 2], &found);
        let [ok, memory, context, rate] =
            [Status::Ok, Status::Memory, Status::Context, Status::Rate].map(|s| s as u8);
        assert_eq!(answers.status, [ok, rate, memory, ok, context]);
        assert!(answers.columns.iter().all(|c| *c == [0.5, 20.0, 30.0]));
    }
}
