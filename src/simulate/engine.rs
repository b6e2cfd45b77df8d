//! One lane of a replica: continuous batching with chunked prefill, step by step.
//!
//! A lane is one data-parallel rank and one micro-batch of its pipeline: it has its share of the batch
//! limit and of the cache, and steps on its own.

use std::collections::VecDeque;

use rand_pcg::Pcg64;

use crate::perf::layout::Layout;
use crate::perf::memory::kv_budget_bytes;
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::simulate::arrivals::{draw, drawn_within};
use crate::simulate::prefix::{Blocks, PrefixCache};
use crate::simulate::request::Request;
use crate::simulate::server::{Departure, Meters, Server};
use crate::simulate::station::{Entry, Occupancy, Station};
use crate::simulate::sum::Sum;

/// Tokens in a block of cache.
const BLOCK: u32 = 16;
/// Share of the cache that stays free when a request is let in, so that those inside can grow.
const WATERMARK: f64 = 0.01;
/// Steps that a first token takes by events alone: half of the one that runs, then its own.
const STEPS_BY_EVENTS: f64 = 1.5;

#[inline]
fn whole_blocks(context: u32) -> u32 {
    context.div_ceil(BLOCK) * BLOCK
}

/// What every lane of a replica kind shares.
#[derive(Debug)]
pub struct StepLoop {
    step: StepModel,
    /// Lanes of one replica.
    pub lanes: usize,
    /// Sequences at once on one lane.
    limit: usize,
    /// Tokens in one step.
    budget: u32,
    /// Cache of one lane, bytes.
    cache_bytes: f64,
    interference: f64,
    late_steps: f64,
    /// Time of a step with a full batch, beside its attention, per sequence, s.
    full_s: f64,
    /// Largest draw at which at least j drafted tokens are accepted, j from 1: never rising.
    accept: Vec<u64>,
    waiting_limit: usize,
    role: Role,
    /// What measurements say about the times: every step takes so many times as long, and delays
    /// count so many times more.
    slower: f64,
    ttft_scale: f64,
    tpot_scale: f64,
    fixed_s: f64,
    /// Link of an accelerator to others beyond the scale-up domain, bytes/s.
    link_bw: Option<f64>,
}

impl StepLoop {
    /// A replica with a batch limit; `waiting_limit` requests may wait on a lane.
    pub fn new(layout: &Layout, step: &StepModel, batch: u32, waiting_limit: usize) -> Self {
        let p = layout.parallel;
        let lanes = p.adp * p.pp;
        let limit = match layout.role {
            // Bound by its tokens in a step and by its cache.
            Role::Prefill(_) => u32::MAX,
            _ => (batch / lanes).max(1),
        };
        let full = f64::from(limit);
        let factors = layout.factors;
        let slower = factors.load(layout.role);
        Self {
            step: step.clone(),
            lanes: lanes as usize,
            limit: limit as usize,
            budget: layout.kernel.chunk_tokens,
            // The micro-batches of a pipeline share the cache of their rank.
            cache_bytes: kv_budget_bytes(layout) / f64::from(p.pp),
            interference: layout.kernel.interference,
            late_steps: (layout.kernel.ttft_steps - STEPS_BY_EVENTS).max(0.0),
            full_s: step.decode_s(full, 0.0) / full,
            accept: acceptance(layout.speculation.depth, step.accepted)
                .into_iter()
                .map(drawn_within)
                .collect(),
            waiting_limit,
            role: layout.role,
            slower,
            ttft_scale: factors.ttft / slower,
            tpot_scale: factors.tpot / slower,
            fixed_s: layout.kernel.ttft_fixed_s,
            link_bw: layout.system.scale_out_bw,
        }
    }

    /// Fixed part of the time to first token, s.
    pub fn fixed_s(&self) -> f64 {
        self.fixed_s
    }

    /// Sequences in decode at once on one lane; none limits a prefill pool.
    pub fn places(&self) -> usize {
        self.limit
    }

    /// Time that a prompt's cache takes over the link of its rank, s; infinite without a figure for it.
    pub fn transfer_s(&self, tokens: u32) -> f64 {
        let bytes = self.step.kv.at(f64::from(tokens));
        self.link_bw.map_or(f64::INFINITY, |bw| bytes / bw)
    }

    /// Cache of one lane, bytes.
    pub fn cache_bytes(&self) -> f64 {
        self.cache_bytes
    }

    /// Tokens of short sequences that fill it; with windows of attention, long ones take less each.
    pub fn cache_tokens(&self) -> f64 {
        let block = self.step.kv.at(f64::from(BLOCK));
        self.cache_bytes / block * f64::from(BLOCK)
    }

    fn is_prefill(&self) -> bool {
        !self.role.decodes()
    }

    /// Whether a request of this length could ever run.
    fn holds(&self, request: &Request) -> bool {
        let longest = whole_blocks(request.input.saturating_add(request.output));
        self.step.kv.at(f64::from(longest)) <= self.cache_bytes
    }
}

/// Probabilities that at least 1, 2, … `depth` drafted tokens are accepted: powers of the one α whose
/// mean `1 + α + … + α^depth` is `mean`.
fn acceptance(depth: u32, mean: f64) -> Vec<f64> {
    let total = |alpha: f64| (0..=depth).map(|j| alpha.powi(j as i32)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if total(middle) < mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    (1..=depth).map(|j| high.powi(j as i32)).collect()
}

/// A request with what was done of it.
#[derive(Debug, Clone, Copy)]
struct Job {
    request: Request,
    /// Prompt tokens whose cache is there.
    cached: u32,
    /// Blocks of the prefix cache that it holds.
    held: usize,
    generated: u32,
    first_s: f64,
    late_s: f64,
    /// Order of admission.
    order: u64,
}

impl Job {
    /// Tokens whose cache must exist before the next one is generated.
    fn context(&self) -> u32 {
        self.request.input + self.generated
    }
}

/// A prompt that is being read: `done` of `target` tokens.
#[derive(Debug, Clone, Copy)]
struct Prompt {
    job: Job,
    done: u32,
}

/// One lane.
#[derive(Debug)]
pub struct Lane<'a> {
    engine: &'a StepLoop,
    rng: Pcg64,
    waiting: VecDeque<Job>,
    prompts: VecDeque<Prompt>,
    /// Sequences in decode: context, tokens left, the rest.
    contexts: Vec<u32>,
    left: Vec<u32>,
    jobs: Vec<Job>,
    /// Tokens that each got in the last step, where some are drafted.
    gained: Vec<u32>,
    attention: Sum,
    cache: Sum,
    ends_s: f64,
    /// Decode part of the running step, s.
    decode_s: f64,
    tokens: u64,
    admitted: u64,
    meters: Meters,
    /// Sequences at the end of `jobs` whose first token the running step makes.
    fresh: usize,
    /// Prompts read that go on elsewhere.
    handed: Vec<Request>,
    blocks: Option<&'a Blocks>,
    prefix: PrefixCache,
}

/// What became of the first waiting request.
#[derive(PartialEq)]
enum Admitted {
    Nobody,
    Prompt,
    /// Its prompt was read elsewhere: it is in decode.
    Answer,
}

impl<'a> Lane<'a> {
    /// An empty lane; with the hashes of its trace's `blocks`, prompts share their prefixes.
    pub fn new(engine: &'a StepLoop, rng: Pcg64, blocks: Option<&'a Blocks>) -> Self {
        Self {
            fresh: 0,
            handed: Vec::new(),
            blocks,
            prefix: PrefixCache::default(),
            engine,
            rng,
            waiting: VecDeque::new(),
            prompts: VecDeque::new(),
            contexts: Vec::new(),
            left: Vec::new(),
            jobs: Vec::new(),
            gained: Vec::new(),
            attention: Sum::new(&engine.step.attention),
            cache: Sum::new(&engine.step.kv),
            ends_s: f64::INFINITY,
            decode_s: 0.0,
            tokens: 0,
            admitted: 0,
            meters: Meters::default(),
        }
    }

    fn running(&self) -> usize {
        self.prompts.len() + self.jobs.len()
    }

    /// Lets the first waiting request in if there is a place and cache for its prompt.
    fn admit(&mut self) -> Admitted {
        let Some(&job) = self.waiting.front() else {
            return Admitted::Nobody;
        };
        let running = self.running();
        if running >= self.engine.limit {
            return Admitted::Nobody;
        }
        let context = whole_blocks(job.context());
        self.cache.add(context);
        let room = (1.0 - WATERMARK) * self.engine.cache_bytes;
        if running > 0 && self.cache.value(running + 1) > room {
            self.cache.remove(context);
            return Admitted::Nobody;
        }
        self.waiting.pop_front();
        self.admitted += 1;
        let mut job = Job {
            order: self.admitted,
            ..job
        };
        if job.cached >= job.context() {
            self.meters.prompt_tokens += u64::from(job.request.input);
            self.push(job);
            self.fresh += 1;
            return Admitted::Answer;
        }
        self.look_up(&mut job);
        self.meters.prompt_tokens += u64::from(job.request.input);
        self.meters.cached_tokens += u64::from(job.cached);
        self.prompts.push_back(Prompt {
            job,
            done: job.cached,
        });
        Admitted::Prompt
    }

    /// Finds the beginning of a prompt in the prefix cache; at least one token is always computed.
    fn look_up(&mut self, job: &mut Job) {
        if let Some(blocks) = self.blocks {
            let hashes = blocks.of(job.request.index);
            if hashes.is_empty() {
                return; // no request of the trace: its class's share is found
            }
            job.held = self.prefix.hits(hashes);
            self.prefix.hold(&hashes[..job.held]);
            let tokens = (job.held as u32).saturating_mul(blocks.tokens);
            job.cached = tokens.min(job.request.input - 1);
        }
    }

    /// A prompt is read: its blocks are there for others.
    fn remember(&mut self, job: &mut Job) {
        if let Some(blocks) = self.blocks {
            let hashes = blocks.of(job.request.index);
            self.prefix.hold(&hashes[job.held..]);
            job.held = hashes.len();
        }
    }

    /// A request leaves: its blocks stay while there is room.
    fn forget(&mut self, job: &mut Job) {
        if let Some(blocks) = self.blocks {
            let hashes = blocks.of(job.request.index);
            self.prefix.release(&hashes[..job.held]);
            job.held = 0;
        }
    }

    /// Drops blocks that none needs where running requests want the room.
    fn trim(&mut self) {
        if let Some(blocks) = self.blocks {
            let room = self.engine.cache_bytes - self.cache.value(self.running());
            let block = self.engine.step.kv.at(f64::from(blocks.tokens));
            self.prefix.keep((room / block).max(0.0) as u64);
        }
    }

    /// Reads prompts up to the token budget; what they add to the step and to one with a full batch, s.
    fn read_prompts(&mut self) -> (f64, f64) {
        let base = self.jobs.len() as f64 * self.engine.step.tokens_per_sequence;
        let mut left = self.engine.budget.saturating_sub(base as u32).max(1);
        let (mut tokens, mut attention_s) = (0u32, 0.0);
        let mut next = 0;
        while left > 0 {
            if next == self.prompts.len() {
                match self.admit() {
                    Admitted::Nobody => break,
                    Admitted::Answer => continue,
                    Admitted::Prompt => {}
                }
            }
            let prompt = &mut self.prompts[next];
            let new = left.min(prompt.job.context() - prompt.done);
            let (now, done) = (f64::from(new), f64::from(prompt.done));
            attention_s += self.engine.step.prompt_attention_s(now, done);
            prompt.done += new;
            tokens += new;
            left -= new;
            next += 1;
        }
        if tokens == 0 {
            return (0.0, 0.0);
        }
        let step = &self.engine.step;
        let tokens = f64::from(tokens);
        let base = self.jobs.len() as f64 * step.tokens_per_sequence;
        let full = match self.engine.is_prefill() {
            true => 0.0,
            false => self.engine.limit as f64 * step.tokens_per_sequence,
        };
        let products_s = |base| step.prefill_products_s(base, tokens, tokens);
        (
            products_s(base) + attention_s,
            products_s(full) + attention_s,
        )
    }

    /// A sequence's part of a decode step without attention, s, when as many as those that run fill the
    /// cache.
    fn densest_s(&self) -> f64 {
        let (engine, running) = (self.engine, self.running());
        let fill = running as f64 * engine.cache_bytes / self.cache.value(running);
        if fill > engine.limit as f64 {
            engine.step.decode_s(fill, 0.0) / fill
        } else {
            engine.full_s
        }
    }

    fn start(&mut self, now: f64) {
        self.fresh = 0;
        let (prompt_s, full_prompt_s) = self.read_prompts();
        if self.running() == 0 {
            self.ends_s = f64::INFINITY;
            return;
        }
        let sequences = self.jobs.len() as f64;
        let engine = self.engine;
        let (decode_s, prompt_s, work_s, dense_s) = if sequences > 0.0 {
            let attention_s = self.attention.value(self.jobs.len()) / sequences;
            let [decode_s, bare_s] = engine.step.decodes_s(sequences, [attention_s, 0.0]);
            // A full batch has the same attention per sequence.
            let full_s = decode_s - bare_s;
            let prompt_s = engine.interference * prompt_s;
            let work_s = sequences * engine.full_s + full_s;
            let dense_s = sequences * self.densest_s() + full_s;
            (decode_s, prompt_s, work_s, dense_s)
        } else {
            (engine.step.overhead_s, prompt_s, 0.0, 0.0)
        };
        // A pool that only reads prompts is full when it always runs a step.
        let work_s = match engine.is_prefill() {
            true => decode_s + prompt_s,
            false => work_s + engine.interference * full_prompt_s,
        };
        let (decode_s, prompt_s) = (engine.slower * decode_s, engine.slower * prompt_s);
        let duration = decode_s + prompt_s;
        self.decode_s = decode_s;
        self.ends_s = now + duration;
        self.meters.steps += 1;
        self.meters.busy_s += duration;
        self.meters.prompt_s += if sequences > 0.0 { prompt_s } else { duration };
        self.meters.work_s += engine.slower * work_s;
        self.meters.dense_s += engine.slower * dense_s;
        self.meters.sequence_s += sequences * duration;
    }

    /// Every sequence in decode gets its tokens.
    fn decode(&mut self, now: f64, done: &mut Vec<Departure>) {
        let late_s = self.engine.late_steps * self.decode_s;
        let first = self.jobs.len() - self.fresh;
        for job in self.jobs[first..].iter_mut().filter(|j| j.first_s.is_nan()) {
            (job.first_s, job.late_s) = (now, late_s);
        }
        let finished = if self.engine.accept.is_empty() {
            self.decode_one()
        } else {
            self.decode_drafted()
        };
        if !finished {
            return;
        }
        for i in (0..self.jobs.len()).rev() {
            if self.left[i] == 0 {
                let job = self.take(i);
                self.depart(job, now, done);
            }
        }
    }

    /// One token each; whether any sequence is finished.
    fn decode_one(&mut self) -> bool {
        let (mut blocks, mut finished) = (0u32, 0u32);
        for (context, left) in self.contexts.iter_mut().zip(&mut self.left) {
            *context += 1;
            *left -= 1;
            blocks += u32::from(*context % BLOCK == 1);
            finished += u32::from(*left == 0);
        }
        self.attention.grown_by_one(&self.contexts);
        if blocks > 0 {
            self.cache.grown_by_blocks(&self.contexts, BLOCK, blocks);
        }
        finished > 0
    }

    /// One token each and those drafted ones that are accepted; whether any sequence is finished.
    ///
    /// Loops are short, one after the other: only the first waits for a draw.
    fn decode_drafted(&mut self) -> bool {
        let (accept, rng) = (&self.engine.accept, &mut self.rng);
        self.gained.clear();
        self.gained.extend(self.left.iter().map(|left| {
            let drawn = draw(rng);
            let accepted = accept.iter().map(|most| u32::from(drawn <= *most));
            (1 + accepted.sum::<u32>()).min(*left)
        }));
        let (contexts, gained) = (&mut self.contexts, &self.gained);
        self.attention.grown(contexts, gained, |context| context);
        self.cache.grown(contexts, gained, whole_blocks);
        let mut finished = 0u32;
        for ((context, left), tokens) in contexts.iter_mut().zip(&mut self.left).zip(gained) {
            *context += tokens;
            *left -= tokens;
            finished += u32::from(*left == 0);
        }
        finished > 0
    }

    /// Takes a sequence out of decode.
    fn take(&mut self, i: usize) -> Job {
        let context = self.contexts.swap_remove(i);
        let left = self.left.swap_remove(i);
        let mut job = self.jobs.swap_remove(i);
        self.attention.remove(context);
        self.cache.remove(whole_blocks(context));
        job.generated = job.request.output - left;
        job
    }

    /// Puts a request into decode.
    fn push(&mut self, job: Job) {
        self.attention.add(job.context());
        self.contexts.push(job.context());
        self.left.push(job.request.output - job.generated);
        self.jobs.push(job);
    }

    /// Prompts read to their end give a token and go to decode, or are handed over.
    fn end_prompts(&mut self, now: f64, done: &mut Vec<Departure>) {
        while let Some(prompt) = self.prompts.front() {
            let mut job = prompt.job;
            if prompt.done < job.context() {
                break;
            }
            self.prompts.pop_front();
            self.cache.remove(whole_blocks(job.context()));
            self.remember(&mut job);
            if self.engine.is_prefill() {
                self.forget(&mut job);
                self.tokens -= job.request.tokens();
                self.handed.push(job.request);
                continue;
            }
            job.generated += 1;
            if job.first_s.is_nan() {
                job.first_s = now;
                job.late_s = self.engine.late_steps * self.decode_s;
            }
            if job.generated == job.request.output {
                self.depart(job, now, done);
                continue;
            }
            self.cache.add(whole_blocks(job.context()));
            self.push(job);
        }
    }

    fn depart(&mut self, mut job: Job, now: f64, done: &mut Vec<Departure>) {
        self.forget(&mut job);
        self.tokens -= job.request.tokens();
        let engine = self.engine;
        let waited = job.first_s - job.request.arrived_s;
        let first_s = job.request.arrived_s + engine.ttft_scale * waited;
        done.push(Departure {
            request: job.request,
            first_s,
            end_s: first_s + engine.tpot_scale * (now - job.first_s),
            late_s: engine.ttft_scale * job.late_s
                + (engine.ttft_scale * engine.slower - 1.0) * engine.fixed_s,
        });
    }

    /// Puts the latest requests back into the queue until the cache holds the rest; their tokens are
    /// computed again.
    fn preempt(&mut self) {
        while self.running() > 1 && self.cache.value(self.running()) > self.engine.cache_bytes {
            let job = match self.prompts.pop_back() {
                Some(prompt) => {
                    self.cache.remove(whole_blocks(prompt.job.context()));
                    prompt.job
                }
                None => {
                    let latest = (0..self.jobs.len()).max_by_key(|i| self.jobs[*i].order);
                    self.take(latest.unwrap_or(0))
                }
            };
            let mut job = job;
            self.forget(&mut job);
            // A cache that came over the link is gone as well.
            job.cached = job.cached.min(job.request.cached);
            self.waiting.push_front(job);
            self.meters.preemptions += 1;
        }
    }
}

impl Server for Lane<'_> {
    fn arrive(&mut self, request: Request) -> bool {
        self.enter(Entry::new(request))
    }

    fn next_s(&self) -> f64 {
        self.ends_s
    }

    fn fire(&mut self, done: &mut Vec<Departure>) {
        let now = self.ends_s;
        self.decode(now, done);
        self.end_prompts(now, done);
        self.preempt();
        self.start(now);
        self.trim();
    }

    fn requests(&self) -> u64 {
        (self.waiting.len() + self.running()) as u64
    }

    fn tokens(&self) -> u64 {
        self.tokens
    }

    fn meters(&self) -> Meters {
        self.meters
    }
}

impl Station for Lane<'_> {
    fn enter(&mut self, entry: Entry) -> bool {
        let request = entry.request;
        if self.waiting.len() >= self.engine.waiting_limit || !self.engine.holds(&request) {
            return false;
        }
        self.tokens += request.tokens();
        self.waiting.push_back(Job {
            request,
            cached: request.cached.max(entry.read),
            held: 0,
            generated: 0,
            first_s: entry.first_s,
            late_s: entry.late_s,
            order: 0,
        });
        if self.ends_s == f64::INFINITY {
            self.start(entry.now_s);
        }
        true
    }

    fn handed(&mut self, out: &mut Vec<Request>) {
        out.append(&mut self.handed);
    }

    fn halt(&mut self, out: &mut Vec<Entry>) {
        let prompts = self.prompts.drain(..).map(|prompt| prompt.job);
        let jobs = self
            .jobs
            .drain(..)
            .chain(prompts)
            .chain(self.waiting.drain(..));
        out.extend(jobs.map(|job| Entry {
            first_s: job.first_s,
            late_s: job.late_s,
            ..Entry::new(job.request)
        }));
        self.contexts.clear();
        self.left.clear();
        self.attention = Sum::new(&self.engine.step.attention);
        self.cache = Sum::new(&self.engine.step.kv);
        self.prefix = PrefixCache::default();
        (self.ends_s, self.tokens, self.fresh) = (f64::INFINITY, 0, 0);
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy {
            waiting: self.waiting.len() as u64,
            running: self.running() as u64,
            cache_share: self.cache.value(self.running()) / self.engine.cache_bytes,
        }
    }
}
