//! Candidates as rows of a file: each names its layout, lengths, load and prices.
//!
//! Rows that share layout, lengths and batch limit share one [`Curve`], so they are brought together
//! first; rates and prices are then worked out in bulk. A row does not depend on its neighbours: any
//! cut of the rows gives the same answers.
//!
//! - Open loop (`rate_rps`): the point of [`crate::points`] at that arrival rate per replica.
//! - Closed loop (`concurrency`): means and throughput of [`closed_loop`], a benchmark that holds so
//!   many requests in flight. Its percentiles are those of the open loop at the same requests/s: what
//!   users would see if the same requests came at random. Where that rate is above the capacity of
//!   the open loop there are none.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Range;

use crate::perf::closed_loop::{closed_loop, ClosedLoop};
use crate::perf::layout::Layout;
use crate::perf::replica::{sequences_that_fit, ClassWork, Replica, RequestEnergy};
use crate::perf::step::{OperatorTables, StepModel};
use crate::points::{points, Columns, Curve, Inputs, NAMES};
use crate::space::{resolve, Configuration};
use crate::tco::{energy_usd_per_kwh_it, usd_per_gpu_h_with_energy, usd_per_mtok_at};
use crate::workload::{Class, Length, Spec, Speculation};

/// An optional number that is left blank. Not NaN: that one is an error.
pub const BLANK: f64 = f64::MIN;
/// Most sequences in decode where the row does not say: vLLM's `max_num_seqs` of old, and what
/// backtests assume.
const DEFAULT_BATCH: f64 = 256.0;
/// Most sequences a row may ask for.
const MOST_SEQUENCES: f64 = 1e6;
/// Longest request, tokens: far above every context length there is.
const MOST_TOKENS: f64 = 1e9;

/// How a row ended. The first three are answers, the others say which column is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Evaluated.
    Ok,
    /// Weights or caches do not fit.
    Memory,
    /// The rate is more than the replica serves: latency grows without bound.
    AboveCapacity,
    /// Its layout is none.
    Layout,
    /// `input_tokens` is no positive number.
    Input,
    /// `output_tokens` is not at least 1.
    Output,
    /// Input and output are longer than the model's context.
    Context,
    /// Neither a rate nor a concurrency.
    NoLoad,
    /// Both of them.
    TwoLoads,
    /// `rate_rps` is not a positive number.
    Rate,
    /// `concurrency` is not a number from 1.
    Concurrency,
    /// `batch_limit` is no whole number from 1, or below the concurrency.
    Batch,
    /// `batch_limit` does not divide over ranks and stages.
    BatchLanes,
    /// `price_usd_per_gpu_h` is no number from 0.
    Price,
    /// `tariff_usd_per_kwh` is no number from 0.
    Tariff,
    /// `pue` is no number from 1.
    Pue,
}

/// A layout with its tables, prepared once for all its rows.
#[derive(Debug, Clone)]
pub struct Prepared {
    configuration: Configuration,
    speculation: Speculation,
    step: StepModel,
}

impl Prepared {
    /// `None`: it is no layout, or a kernel or link that it needs has no figure.
    pub fn new(
        spec: &Spec,
        configuration: Configuration,
        speculation: Speculation,
    ) -> Option<Self> {
        let mut layout = resolve(spec, &configuration)?;
        layout.speculation = speculation;
        let step = StepModel::build(&layout, &OperatorTables::build(&layout)?)?;
        Some(Self {
            configuration,
            speculation,
            step,
        })
    }

    fn layout<'a>(&self, spec: &'a Spec) -> Option<Layout<'a>> {
        let mut layout = resolve(spec, &self.configuration)?;
        layout.speculation = self.speculation;
        Some(layout)
    }
}

/// Rows as columns of equal length; optional ones may be empty, which is all blank.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Index of the prepared layout; negative where there is none.
    pub layout: &'a [i32],
    /// Prompt tokens.
    pub input_tokens: &'a [f64],
    /// Generated tokens.
    pub output_tokens: &'a [f64],
    /// Requests in flight in a closed loop, or blank.
    pub concurrency: &'a [f64],
    /// Requests/s of an open loop, or blank.
    pub rate_rps: &'a [f64],
    /// Most sequences in decode, or blank.
    pub batch_limit: &'a [f64],
    /// USD per accelerator and hour, or blank.
    pub usd_per_gpu_h: &'a [f64],
    /// USD per kWh at the meter, or blank for none.
    pub usd_per_kwh: &'a [f64],
    /// Utility energy over IT energy, or blank for 1.
    pub pue: &'a [f64],
}

/// Answers as columns.
#[derive(Debug, Clone)]
pub struct Answers {
    /// [`Status`] of every row as a number.
    pub status: Vec<u8>,
    /// In the order of [`ANSWERS`], of the rows that are not rejected; NaN where one has none.
    pub columns: [Vec<f64>; ANSWERS.len()],
}

/// Names of the numbers of a row, in the order of [`Rows`]; the first two must be there.
pub const NUMBERS: [&str; 8] = [
    "input_tokens",
    "output_tokens",
    "concurrency",
    "rate_rps",
    "batch_limit",
    "price_usd_per_gpu_h",
    "tariff_usd_per_kwh",
    "pue",
];

/// Names of the numeric answers: those of a point, without its concurrency, and the means of a
/// closed loop. Throughput and watts are of one replica.
pub const ANSWERS: [&str; 10] = {
    let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, _, cost, _] = NAMES;
    let means = ["ttft_mean_ms", "tpot_mean_ms"];
    [
        tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, "watts", cost, means[0], means[1],
    ]
};
const TOKENS: usize = 0;
const TOKENS_GPU: usize = 1;
const TTFT: usize = 2;
const WATTS: usize = 6;
const COST: usize = 7;
const MEAN_TTFT: usize = 8;
const MEAN_TPOT: usize = 9;
const MS: f64 = 1e3;

fn at(column: &[f64], row: usize) -> f64 {
    column.get(row).copied().unwrap_or(BLANK)
}

fn at_least(low: f64, value: f64) -> bool {
    value >= low && value < f64::INFINITY
}

fn blank_or(low: f64, value: f64) -> bool {
    value == BLANK || at_least(low, value)
}

impl Rows<'_> {
    /// What is wrong with a row before anything is known of its layout; `Ok` where nothing is.
    fn check(&self, row: usize) -> Status {
        let (rate, concurrency) = (at(self.rate_rps, row), at(self.concurrency, row));
        let batch = at(self.batch_limit, row);
        let within = |low: f64, x: f64| (low..=MOST_TOKENS).contains(&x);
        if self.layout[row] < 0 {
            Status::Layout
        } else if !within(f64::MIN_POSITIVE, self.input_tokens[row]) {
            Status::Input
        } else if !within(1.0, self.output_tokens[row]) {
            Status::Output
        } else if rate == BLANK && concurrency == BLANK {
            Status::NoLoad
        } else if rate != BLANK && concurrency != BLANK {
            Status::TwoLoads
        } else if !blank_or(f64::MIN_POSITIVE, rate) {
            Status::Rate
        } else if concurrency != BLANK && !(1.0..=MOST_SEQUENCES).contains(&concurrency) {
            Status::Concurrency
        } else if batch != BLANK
            && !((1.0..=MOST_SEQUENCES).contains(&batch)
                && batch.fract() == 0.0
                && concurrency <= batch)
        {
            Status::Batch
        } else if !blank_or(0.0, at(self.usd_per_gpu_h, row)) {
            Status::Price
        } else if !blank_or(0.0, at(self.usd_per_kwh, row)) {
            Status::Tariff
        } else if !blank_or(1.0, at(self.pue, row)) {
            Status::Pue
        } else {
            Status::Ok
        }
    }

    fn group(&self, row: usize) -> Group {
        Group {
            layout: self.layout[row],
            lengths: [self.input_tokens[row], self.output_tokens[row]].map(f64::to_bits),
            batch: at(self.batch_limit, row).to_bits(),
        }
    }

    /// Price of energy at the IT equipment, USD/kWh; none without a tariff.
    fn energy_usd_per_kwh(&self, row: usize) -> f64 {
        let [tariff, pue] = [(self.usd_per_kwh, 0.0), (self.pue, 1.0)].map(|(column, none)| {
            let value = at(column, row);
            if value == BLANK {
                none
            } else {
                value
            }
        });
        energy_usd_per_kwh_it(tariff, pue, 0.0, 0.0, 0.0, 0.0).unwrap_or(f64::NAN)
    }
}

/// What rows share that share a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    layout: i32,
    lengths: [u64; 2],
    batch: u64,
}

/// Evaluates rows of a file.
///
/// # Panics
/// When a layout index is not prepared, or columns differ in length.
pub fn evaluate(spec: &Spec, prepared: &[Prepared], rows: &Rows) -> Answers {
    let len = rows.layout.len();
    let mut status = vec![0; len];
    let (groups, order) = bring_together(rows, &mut status);
    let mut together = Together::new(rows, &order);
    let mut first = 0;
    for (group, count) in groups {
        let members = first..first + count;
        first += count;
        let prepared = &prepared[group.layout as usize];
        if let Some(layout) = prepared.layout(spec) {
            together.evaluate(&layout, &prepared.step, &group, members);
        }
    }
    for (row, found) in order.iter().zip(&together.status) {
        status[*row as usize] = *found;
    }
    let columns = apart(&status, &order, together.answers);
    Answers { status, columns }
}

/// Columns in the order of the rows again, without those that are rejected.
fn apart<const N: usize>(status: &[u8], order: &[u32], columns: [Vec<f64>; N]) -> [Vec<f64>; N] {
    const NONE: u32 = u32::MAX;
    let mut kept = 0;
    let place: Vec<u32> = status
        .iter()
        .map(|s| {
            if *s >= Status::Layout as u8 {
                return NONE;
            }
            kept += 1;
            kept - 1
        })
        .collect();
    let places: Vec<u32> = order.iter().map(|row| place[*row as usize]).collect();
    columns.map(|column| {
        let mut apart = vec![0.0; kept as usize];
        for (place, value) in places.iter().zip(column) {
            if let Some(there) = apart.get_mut(*place as usize) {
                *there = value;
            }
        }
        apart
    })
}

/// Groups with their sizes, in order of their first rows, and the rows one group after the other;
/// rows that are wrong get their status and are in none.
fn bring_together(rows: &Rows, status: &mut [u8]) -> (Vec<(Group, usize)>, Vec<u32>) {
    const NONE: u32 = u32::MAX;
    let mut index: HashMap<Group, u32, BuildHasherDefault<Mixer>> = HashMap::default();
    let mut groups: Vec<(Group, usize)> = Vec::new();
    let mut of_row = vec![NONE; status.len()];
    for (row, status) in status.iter_mut().enumerate() {
        let found = rows.check(row);
        *status = found as u8;
        if found == Status::Ok {
            let group = rows.group(row);
            let number = *index.entry(group).or_insert_with(|| {
                groups.push((group, 0));
                groups.len() as u32 - 1
            });
            groups[number as usize].1 += 1;
            of_row[row] = number;
        }
    }
    let mut next: Vec<usize> = groups
        .iter()
        .scan(0, |sum, (_, count)| {
            let start = *sum;
            *sum += count;
            Some(start)
        })
        .collect();
    let mut order = vec![0; groups.iter().map(|(_, count)| count).sum()];
    for (row, number) in of_row.iter().enumerate().filter(|(_, n)| **n != NONE) {
        let place = &mut next[*number as usize];
        order[*place] = row as u32;
        *place += 1;
    }
    (groups, order)
}

/// Multiplies and rotates; keys are short and no one gains by making them collide.
#[derive(Default)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_i32(&mut self, word: i32) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
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

/// Rows in the order of their groups: what differs inside a group, and answers.
struct Together {
    concurrency: Vec<f64>,
    rate_rps: Vec<f64>,
    usd_per_gpu_h: Vec<f64>,
    usd_per_kwh: Vec<f64>,
    status: Vec<u8>,
    answers: [Vec<f64>; ANSWERS.len()],
    running: Vec<f64>,
}

impl Together {
    fn new(rows: &Rows, order: &[u32]) -> Self {
        let gather = |f: &dyn Fn(usize) -> f64| order.iter().map(|row| f(*row as usize)).collect();
        Self {
            concurrency: gather(&|row| at(rows.concurrency, row)),
            rate_rps: gather(&|row| at(rows.rate_rps, row)),
            usd_per_gpu_h: gather(&|row| match at(rows.usd_per_gpu_h, row) {
                BLANK => f64::NAN,
                price => price,
            }),
            usd_per_kwh: gather(&|row| rows.energy_usd_per_kwh(row)),
            status: vec![Status::Ok as u8; order.len()],
            answers: std::array::from_fn(|_| vec![f64::NAN; order.len()]),
            running: vec![f64::NAN; order.len()],
        }
    }

    /// Evaluates the rows of a group.
    fn evaluate(
        &mut self,
        layout: &Layout,
        step: &StepModel,
        group: &Group,
        members: Range<usize>,
    ) {
        let [input, output] = group.lengths.map(f64::from_bits);
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
            batch(layout, f64::from_bits(group.batch), room)
        };
        match limit {
            Err(why) => self.status[members].fill(why as u8),
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
                self.serve(&bench, &curve, members);
            }
        }
    }

    /// Open loops from the curve; closed loops over them, with percentiles of the same rate.
    fn serve(&mut self, bench: &Bench, curve: &Curve, members: Range<usize>) {
        let runs: Vec<(usize, ClosedLoop)> = members
            .clone()
            .filter(|i| self.rate_rps[*i] == BLANK)
            .map(|i| (i, bench.run(self.concurrency[i])))
            .collect();
        for (i, run) in &runs {
            self.rate_rps[*i] = bench.rate_rps(run);
        }
        self.bulk(curve, members.clone());
        for i in members {
            if self.answers[TTFT][i] == f64::INFINITY {
                self.status[i] = Status::AboveCapacity as u8;
                for column in &mut self.answers {
                    column[i] = f64::NAN;
                }
            }
            for column in &mut self.answers[TTFT..WATTS] {
                column[i] *= MS;
            }
        }
        for (i, run) in &runs {
            let watts = bench.watts(run);
            let gpus = f64::from(bench.layout.parallel.gpus());
            let per_gpu = watts / gpus;
            let hour =
                usd_per_gpu_h_with_energy(self.usd_per_gpu_h[*i], per_gpu, self.usd_per_kwh[*i]);
            let tokens = run.output_tokens_per_s_gpu;
            self.status[*i] = Status::Ok as u8;
            for (column, value) in [
                (TOKENS, tokens * gpus),
                (TOKENS_GPU, tokens),
                (WATTS, watts),
                (COST, usd_per_mtok_at(hour, tokens)),
                (MEAN_TTFT, run.ttft_s * MS),
                (MEAN_TPOT, run.tpot_s * MS),
            ] {
                self.answers[column][*i] = value;
            }
        }
    }

    /// Points of one curve.
    fn bulk(&mut self, curve: &Curve, members: Range<usize>) {
        let inputs = Inputs {
            rate_rps: &self.rate_rps[members.clone()],
            usd_per_gpu_h: &self.usd_per_gpu_h[members.clone()],
            usd_per_kwh: &self.usd_per_kwh[members.clone()],
        };
        let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, watts, cost, _, _] =
            &mut self.answers;
        let mut out = Columns {
            output_tokens_per_s: &mut tokens[members.clone()],
            tokens_per_s_gpu: &mut tokens_gpu[members.clone()],
            ttft_p50_s: &mut ttft_50[members.clone()],
            ttft_p99_s: &mut ttft_99[members.clone()],
            tpot_p50_s: &mut tpot_50[members.clone()],
            tpot_p99_s: &mut tpot_99[members.clone()],
            watts: &mut watts[members.clone()],
            usd_per_mtok_output: &mut cost[members.clone()],
            concurrency: &mut self.running[members],
        };
        points(curve, &inputs, &mut out);
    }
}

/// One replica serving requests of fixed lengths in a closed loop.
struct Bench<'a> {
    layout: &'a Layout<'a>,
    step: &'a StepModel,
    replica: &'a Replica<'a>,
    energy: RequestEnergy,
    input: f64,
    output: f64,
}

impl Bench<'_> {
    fn run(&self, concurrency: f64) -> ClosedLoop {
        closed_loop(self.layout, self.step, concurrency, self.input, self.output)
    }

    /// Requests/s that a run serves.
    fn rate_rps(&self, run: &ClosedLoop) -> f64 {
        run.output_tokens_per_s_gpu * f64::from(self.layout.parallel.gpus()) / self.output
    }

    /// IT watts that the replica draws in a run.
    fn watts(&self, run: &ClosedLoop) -> f64 {
        let running = run.running.max(1.0);
        let step_s = self
            .replica
            .tau(running, self.replica.classes[0].attention_s);
        let idle_w = f64::from(self.layout.parallel.gpus()) * self.layout.system.idle_w;
        idle_w + self.rate_rps(run) * self.energy.joules(step_s / running)
    }
}

/// Distinct rows of code columns: the first row of each, and for every row which one it is.
///
/// # Panics
/// When columns differ in length.
pub fn distinct_rows(columns: &[&[u32]], len: usize) -> (Vec<u32>, Vec<u32>) {
    if let Some(strides) = strides(columns) {
        return distinct_numbers(columns, &strides, len);
    }
    let mut index: HashMap<Codes, u32, BuildHasherDefault<Mixer>> = HashMap::default();
    let (mut firsts, mut of_row) = (Vec::new(), Vec::with_capacity(len));
    let mut last = None;
    for row in 0..len {
        let codes = Codes(std::array::from_fn(|c| {
            columns.get(c).map_or(0, |codes| codes[row])
        }));
        let number = match last {
            Some((before, number)) if before == codes => number,
            _ => *index.entry(codes).or_insert_with(|| {
                firsts.push(row as u32);
                firsts.len() as u32 - 1
            }),
        };
        last = Some((codes, number));
        of_row.push(number);
    }
    (firsts, of_row)
}

/// Most numbers that code columns may be read as for a table of them.
const MOST_NUMBERS: u64 = 1 << 20;

/// Strides that read a row of codes as one small number; the last is how many numbers there are.
fn strides(columns: &[&[u32]]) -> Option<Vec<u32>> {
    let mut strides = vec![1];
    let mut stride: u64 = 1;
    for codes in columns {
        stride *= u64::from(codes.iter().copied().max().unwrap_or(0)) + 1;
        if stride > MOST_NUMBERS {
            return None;
        }
        strides.push(stride as u32);
    }
    Some(strides)
}

/// [`distinct_rows`] by a table of all numbers.
fn distinct_numbers(columns: &[&[u32]], strides: &[u32], len: usize) -> (Vec<u32>, Vec<u32>) {
    const NONE: u32 = u32::MAX;
    let mut of_row = vec![0; len];
    for (codes, stride) in columns.iter().zip(strides) {
        for (number, code) in of_row.iter_mut().zip(*codes) {
            *number += code * stride;
        }
    }
    let mut known = vec![NONE; strides.last().map_or(1, |numbers| *numbers as usize)];
    let mut firsts = Vec::new();
    for (row, number) in of_row.iter_mut().enumerate() {
        let place = &mut known[*number as usize];
        if *place == NONE {
            *place = firsts.len() as u32;
            firsts.push(row as u32);
        }
        *number = *place;
    }
    (firsts, of_row)
}

/// Most columns of [`distinct_rows`].
pub const MOST_CODES: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Codes([u32; MOST_CODES]);

impl Hash for Codes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for pair in self.0.chunks_exact(2) {
            state.write_u64(u64::from(pair[0]) << 32 | u64::from(pair[1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_rows_by_table_and_by_hash() {
        let few = [3, 0, 3, 3, 7, 0];
        let other = [1, 1, 1, 2, 1, 1];
        // As a small number, and with a code so large that no table holds it.
        for far in [9, 1 << 30] {
            let last = [0, 0, 0, 0, far, 0];
            let (firsts, of_row) = distinct_rows(&[&few, &other, &last], 6);
            assert_eq!(firsts, [0, 1, 3, 4]);
            assert_eq!(of_row, [0, 1, 0, 2, 3, 1]);
        }
        assert_eq!(distinct_rows(&[&[], &[]], 0), (vec![], vec![]));
    }

    #[test]
    fn answers_leave_out_rejected_rows() {
        let rejected = Status::Rate as u8;
        let status = [0, rejected, 1, 0];
        // Row 1 was in no group; rows came together as 3, 0, 2.
        let columns = apart(&status, &[3, 0, 2], [vec![30.0, 0.5, 20.0]]);
        assert_eq!(columns, [vec![0.5, 20.0, 30.0]]);
    }
}
