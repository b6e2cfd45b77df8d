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

use crate::perf::closed_loop::closed_loop;
use crate::perf::layout::Layout;
use crate::perf::replica::{sequences_that_fit, ClassWork, Replica, RequestEnergy};
use crate::perf::step::{OperatorTables, StepModel};
use crate::points::{points, Columns, Curve, Inputs};
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

/// Answers as columns; NaN where a row has none.
#[derive(Debug, Clone)]
pub struct Answers {
    /// [`Status`] as a number.
    pub status: Vec<u8>,
    /// In the order of [`ANSWERS`].
    pub columns: [Vec<f64>; ANSWERS.len()],
}

/// Names of the numeric answers. Throughput and watts are of one replica.
pub const ANSWERS: [&str; 10] = [
    "output_tokens_per_s",
    "output_tokens_per_s_per_gpu",
    "ttft_p50_ms",
    "ttft_p99_ms",
    "tpot_p50_ms",
    "tpot_p99_ms",
    "watts",
    "cost_per_mtok_output_usd",
    "ttft_mean_ms",
    "tpot_mean_ms",
];
const TOKENS: usize = 0;
const TOKENS_GPU: usize = 1;
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
    let mut answers = Answers {
        status: vec![0; len],
        columns: std::array::from_fn(|_| vec![f64::NAN; len]),
    };
    for (group, members) in bring_together(rows, &mut answers.status) {
        let prepared = &prepared[group.layout as usize];
        let Some(layout) = prepared.layout(spec) else {
            continue;
        };
        evaluate_group(&layout, &prepared.step, rows, &members, &mut answers);
    }
    answers
}

/// Rows by what they share, in order of its first row; those that are wrong get their status.
fn bring_together(rows: &Rows, status: &mut [u8]) -> Vec<(Group, Vec<u32>)> {
    let mut index: HashMap<Group, usize, BuildHasherDefault<Mixer>> = HashMap::default();
    let mut groups: Vec<(Group, Vec<u32>)> = Vec::new();
    for (row, status) in status.iter_mut().enumerate() {
        let found = rows.check(row);
        *status = found as u8;
        if found == Status::Ok {
            let group = rows.group(row);
            let i = *index.entry(group).or_insert_with(|| {
                groups.push((group, Vec::new()));
                groups.len() - 1
            });
            groups[i].1.push(row as u32);
        }
    }
    groups
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

fn evaluate_group(
    layout: &Layout,
    step: &StepModel,
    rows: &Rows,
    members: &[u32],
    answers: &mut Answers,
) {
    let first = members[0] as usize;
    let (input, output) = (rows.input_tokens[first], rows.output_tokens[first]);
    let class = Class {
        id: String::new(),
        share: 1.0,
        input: fixed(input),
        output: fixed(output),
        hit_rate: 0.0,
    };
    let work = [ClassWork::new(layout, step, &class)];
    let room = sequences_that_fit(layout, work[0].kv_max_bytes);
    let stated = at(rows.batch_limit, first);
    let status = if input + output > f64::from(layout.model.max_context) {
        Err(Status::Context)
    } else {
        batch(layout, stated, room)
    };
    let limit = match status {
        Ok(limit) => limit,
        Err(why) => {
            for &row in members {
                answers.status[row as usize] = why as u8;
            }
            return;
        }
    };
    let replica = Replica::new(layout, step, &work, limit);
    let curve = Curve::new(layout, &replica, &class, 0, 0.0);
    let bench = Bench {
        layout,
        step,
        replica: &replica,
        input,
        output,
    };
    bench.fill(&curve, rows, members, answers);
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

/// One replica serving requests of fixed lengths.
struct Bench<'a> {
    layout: &'a Layout<'a>,
    step: &'a StepModel,
    replica: &'a Replica<'a>,
    input: f64,
    output: f64,
}

impl Bench<'_> {
    fn fill(&self, curve: &Curve, rows: &Rows, members: &[u32], answers: &mut Answers) {
        let mut inputs: [Vec<f64>; 3] = std::array::from_fn(|_| Vec::with_capacity(members.len()));
        for &row in members {
            let row = row as usize;
            let price = at(rows.usd_per_gpu_h, row);
            inputs[0].push(match at(rows.rate_rps, row) {
                BLANK => self.close(rows, row, answers),
                rate => rate,
            });
            inputs[1].push(if price == BLANK { f64::NAN } else { price });
            inputs[2].push(rows.energy_usd_per_kwh(row));
        }
        let mut results: [Vec<f64>; 9] = std::array::from_fn(|_| vec![0.0; members.len()]);
        bulk(curve, &inputs, &mut results);
        for (i, &row) in members.iter().enumerate() {
            let row = row as usize;
            let closed = at(rows.rate_rps, row) == BLANK;
            let stable = results[2][i] < f64::INFINITY;
            if !stable && !closed {
                answers.status[row] = Status::AboveCapacity as u8;
            }
            for column in (2..6).filter(|_| stable) {
                answers.columns[column][row] = results[column][i] * MS;
            }
            for column in [TOKENS, TOKENS_GPU, WATTS, COST] {
                if stable && !closed {
                    answers.columns[column][row] = results[column][i];
                }
            }
        }
    }

    /// Answers of a closed loop, and the requests/s that it serves.
    fn close(&self, rows: &Rows, row: usize, answers: &mut Answers) -> f64 {
        let concurrency = at(rows.concurrency, row);
        let run = closed_loop(self.layout, self.step, concurrency, self.input, self.output);
        let gpus = f64::from(self.layout.parallel.gpus());
        let tokens = run.output_tokens_per_s_gpu * gpus;
        let rate = tokens / self.output;
        let running = run.running.max(1.0);
        let share_s = self
            .replica
            .tau(running, self.replica.classes[0].attention_s)
            / running;
        let joules = RequestEnergy::new(self.layout, self.replica, 0).joules(share_s);
        let watts = gpus * self.layout.system.idle_w + rate * joules;
        let hour = usd_per_gpu_h_with_energy(
            at(rows.usd_per_gpu_h, row),
            watts / gpus,
            rows.energy_usd_per_kwh(row),
        );
        let columns = &mut answers.columns;
        columns[TOKENS][row] = tokens;
        columns[TOKENS_GPU][row] = run.output_tokens_per_s_gpu;
        columns[WATTS][row] = watts;
        columns[MEAN_TTFT][row] = run.ttft_s * MS;
        columns[MEAN_TPOT][row] = run.tpot_s * MS;
        if at(rows.usd_per_gpu_h, row) != BLANK {
            columns[COST][row] = usd_per_mtok_at(hour, run.output_tokens_per_s_gpu);
        }
        rate
    }
}

/// Points of one curve, in the order of [`ANSWERS`] with the concurrency last.
fn bulk(curve: &Curve, inputs: &[Vec<f64>; 3], results: &mut [Vec<f64>; 9]) {
    let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, watts, cost, concurrency] =
        results;
    let inputs = Inputs {
        rate_rps: &inputs[0],
        usd_per_gpu_h: &inputs[1],
        usd_per_kwh: &inputs[2],
    };
    let mut out = Columns {
        output_tokens_per_s: tokens,
        tokens_per_s_gpu: tokens_gpu,
        ttft_p50_s: ttft_50,
        ttft_p99_s: ttft_99,
        tpot_p50_s: tpot_50,
        tpot_p99_s: tpot_99,
        watts,
        usd_per_mtok_output: cost,
        concurrency,
    };
    points(curve, &inputs, &mut out);
}

/// Distinct rows of code columns: the first row of each, and for every row which one it is.
///
/// # Panics
/// When columns differ in length.
pub fn distinct_rows(columns: &[&[u32]], len: usize) -> (Vec<u32>, Vec<u32>) {
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
