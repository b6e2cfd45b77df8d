//! `step_time`: how long one engine step takes for a batch composition. Operating points, the
//! closed-loop form and the request-level simulator all stand on this one function.
//!
//! What depends on the layout alone (matrix products, experts, collectives over a token count) is
//! tabulated once at powers of two and interpolated; what depends on contexts is linear in them.

use crate::perf::attention::{decode_attention, prompt_attention, PromptAttention};
use crate::perf::layout::{Layout, ACTIVATION_BYTES};
use crate::perf::memory::{kv_bytes, ContextCost};
use crate::perf::operator_tables::{OperatorTables, TokenTable, NODES};
use crate::perf::operators::{prefill_attention, transfer};
use crate::perf::role::Role;

/// A stretch of the time of a decode step over its sequences n, from `from` to the next stretch:
/// `fixed_s + slope_s·n + host_s·n/(1 + n/host_half)`.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Sequences where it begins.
    pub from: f64,
    /// Part that no sequence changes, s.
    pub fixed_s: f64,
    /// Accelerator's time per sequence, s.
    pub slope_s: f64,
    /// Engine's time per sequence, s, while steps are short.
    pub host_s: f64,
    /// Sequences at which half of that is hidden.
    pub host_half: f64,
}

impl Stretch {
    /// Step time of `n` sequences, s.
    #[inline(always)]
    pub fn at(&self, n: f64) -> f64 {
        self.fixed_s + n * (self.slope_s + self.host_s / (1.0 + n * (1.0 / self.host_half)))
    }

    /// Root of `n = own + steps·τ(n)`: sequences that one in decode finds, `own` included, at so many
    /// steps per second, by Little's law.
    ///
    /// τ makes it a quadratic with one positive root, taken in the form that does not cancel.
    #[inline(always)]
    pub fn in_steady_state(&self, own: f64, steps: f64) -> f64 {
        let c = own + steps * self.fixed_s;
        let left = 1.0 - steps * self.slope_s;
        let per_half = 1.0 / self.host_half;
        let a = left * per_half;
        let b = left - steps * self.host_s - c * per_half;
        let root = (b * b + 4.0 * a * c).sqrt();
        let (over, under) = if b > 0.0 {
            (2.0 * c, b + root)
        } else {
            (root - b, 2.0 * a)
        };
        over / under
    }
}

/// Most stretches of a decode step: below one token, then between the nodes of the table.
pub const STRETCHES: usize = NODES;

/// Sequences that one in decode finds on its lane, itself included, at `rate` steps per second: the
/// largest root of `n = 1 + rate·τ(n)`. `last_first` are the stretches of τ from the last to the first,
/// each with `τ(from)`.
///
/// Between the nodes of its table `τ` has a closed root.
fn largest_root(rate: f64, mut last_first: impl Iterator<Item = (Stretch, f64)>) -> f64 {
    last_first
        .find(|(stretch, from_s)| stretch.from <= 1.0 + rate * from_s)
        .map_or(1.0, |(stretch, _)| stretch.in_steady_state(1.0, rate))
}

/// Decode steps of a lane over its sequences, each with the same attention.
#[derive(Debug, Clone, Copy)]
pub struct DecodeCurve {
    /// Each stretch with the step time where it begins, s.
    stretches: [(Stretch, f64); STRETCHES],
}

impl DecodeCurve {
    /// As [`StepModel::in_steady_state`], with the stretches already there.
    pub fn in_steady_state(&self, rate: f64, last: usize) -> f64 {
        largest_root(rate, self.stretches[..=last].iter().rev().copied())
    }
}

/// Engine steps of one layout.
#[derive(Debug, Clone)]
pub struct StepModel {
    decode: TokenTable,
    prefill: TokenTable,
    /// Decode attention per sequence, s, over its context.
    pub attention: ContextCost,
    /// KV bytes per sequence on one accelerator.
    pub kv: ContextCost,
    prompt: Vec<PromptAttention>,
    prompt_fit: crate::catalog::PrefillAttentionFit,
    attention_launch: f64,
    sequence_s: f64,
    sequence_half: f64,
    stage_transfer_s: f64,
    /// Time of drafting, as a factor on the step.
    draft: f64,
    /// Tokens per sequence entering the matrix products of a decode step.
    pub tokens_per_sequence: f64,
    /// Tokens accepted per sequence and step.
    pub accepted: f64,
    /// Engine time of a step without any work, s.
    pub overhead_s: f64,
}

/// New tokens of a prompt, cut into steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chunks {
    whole: f64,
    rest: f64,
}

impl Chunks {
    /// `new` tokens in steps of at most `chunk`.
    pub fn of(new: f64, chunk: f64) -> Self {
        let whole = (new / chunk).floor();
        Self {
            whole,
            rest: new - whole * chunk,
        }
    }
}

/// Steps that carry some decode tokens, as prompts find them.
#[derive(Debug, Clone, Copy)]
pub struct StepsBeside<'a> {
    table: &'a TokenTable,
    base: f64,
    chunk_s: f64,
}

impl StepsBeside<'_> {
    /// Time that the matrix products of a prompt add, s.
    pub fn products_s(&self, prompt: Chunks) -> f64 {
        prompt.whole * self.chunk_s + self.table.added(self.base, prompt.rest)
    }
}

/// Step models of layouts that share operator tables, which the first of them works out.
#[derive(Debug, Default)]
pub struct Steps {
    tables: Option<Option<OperatorTables>>,
    exist: Option<bool>,
}

impl Steps {
    /// The step model of a layout; `None` without a kernel for it.
    pub fn of(&mut self, layout: &Layout) -> Option<StepModel> {
        let built = || OperatorTables::build(layout);
        let tables = (*self.tables.get_or_insert_with(built))?;
        StepModel::build(layout, &tables)
    }

    /// Whether [`Self::of`] gives any, at less cost.
    pub fn exist(&mut self, layout: &Layout) -> bool {
        let exist = || OperatorTables::exist(layout);
        *self.exist.get_or_insert_with(exist)
            && StepModel::build(layout, &OperatorTables::EMPTY).is_some()
    }
}

impl StepModel {
    /// The step model of a layout by itself; `None` without a kernel for it.
    pub fn of(layout: &Layout) -> Option<Self> {
        Steps::default().of(layout)
    }

    /// Tables plus what contexts, pipeline depth, KV dtype and speculation add.
    /// `None` when a kernel or a link that the layout needs has no figure.
    pub fn build(layout: &Layout, tables: &OperatorTables) -> Option<Self> {
        let kernel = layout.kernel;
        let decode_fit = kernel.decode_attention.get(layout.kv)?.as_ref()?;
        let prompt_fit = *kernel.prefill_attention.get(layout.kv)?.as_ref()?;
        let s = &kernel.scales;
        let speculation = layout.speculation;
        // A pool of one role hands its cache over the scale-out link; without a figure there is none.
        if layout.role != Role::Serve && layout.system.scale_out_bw.is_none() {
            return None;
        }
        Some(Self {
            decode: tables.decode,
            prefill: tables.prefill,
            attention: decode_attention(layout, decode_fit, s.attention),
            kv: kv_bytes(layout),
            prompt: layout
                .model
                .layers
                .iter()
                .flat_map(|g| prompt_attention(layout, g))
                .collect(),
            prompt_fit,
            attention_launch: s.attention_t0
                * decode_fit.t0
                * layout.sum_layers(|g| f64::from(u8::from(g.attends()))),
            sequence_s: kernel.sequence_s,
            sequence_half: kernel.sequence_half,
            stage_transfer_s: stage_transfer(layout)?,
            draft: 1.0 + f64::from(speculation.depth) * speculation.draft_cost,
            tokens_per_sequence: 1.0 + f64::from(speculation.depth),
            accepted: speculation.accepted,
            overhead_s: f64::from(layout.model.layer_count()) * kernel.layer_s + kernel.step_s,
        })
    }

    /// Time of a decode step, s: `sequences` on one rank and stage, each with `attention_s` of attention.
    pub fn decode_s(&self, sequences: f64, attention_s: f64) -> f64 {
        let [time_s] = self.decodes_s(sequences, [attention_s]);
        time_s
    }

    /// The same at several times of attention.
    pub fn decodes_s<const N: usize>(&self, sequences: f64, attention_s: [f64; N]) -> [f64; N] {
        let host_s = self.sequence_s / (1.0 + sequences / self.sequence_half);
        let products_s = self.decode.at(sequences * self.tokens_per_sequence);
        attention_s.map(|attention_s| {
            let work = products_s
                + sequences * (host_s + attention_s)
                + self.attention_launch
                + self.stage_transfer_s;
            work * self.draft
        })
    }

    /// The stretch of [`Self::decode_s`] that `sequences` on a lane fall on.
    pub fn stretch_of(&self, sequences: f64) -> usize {
        match (sequences * self.tokens_per_sequence) as u64 {
            0 => 0,
            tokens => (tokens.ilog2() as usize + 1).min(STRETCHES - 1),
        }
    }

    /// Stretch `i` of [`Self::decode_s`] over its first argument.
    pub fn decode_stretch(&self, i: usize, attention_s: f64) -> Stretch {
        let (from, value, slope) = self.decode.line(i);
        let fixed = value - slope * from + self.attention_launch + self.stage_transfer_s;
        let per_sequence = slope * self.tokens_per_sequence + attention_s;
        Stretch {
            from: from / self.tokens_per_sequence,
            fixed_s: fixed * self.draft,
            slope_s: per_sequence * self.draft,
            host_s: self.sequence_s * self.draft,
            host_half: self.sequence_half,
        }
    }

    /// Stretch `i` with the step time where it begins, s.
    fn entered(&self, i: usize, attention_s: f64) -> (Stretch, f64) {
        let stretch = self.decode_stretch(i, attention_s);
        (stretch, stretch.at(stretch.from))
    }

    /// Every stretch of [`Self::decode_s`].
    pub fn decode_curve(&self, attention_s: f64) -> DecodeCurve {
        DecodeCurve {
            stretches: std::array::from_fn(|i| self.entered(i, attention_s)),
        }
    }

    /// Sequences that one in decode finds on its lane, itself included, each with `attention_s`, at so
    /// many steps per second; no stretch after `last` is looked at.
    pub fn in_steady_state(&self, rate: f64, last: usize, attention_s: f64) -> f64 {
        let last_first = (0..=last).rev();
        largest_root(rate, last_first.map(|i| self.entered(i, attention_s)))
    }

    /// Time that `new` prompt tokens after `cached` ones add to steps that carry `base` decode
    /// tokens, split into steps of at most `chunk`, s.
    pub fn prefill_s(&self, base: f64, new: f64, cached: f64, chunk: f64) -> f64 {
        self.prefill_products_s(base, new, chunk) + self.prompt_attention_s(new, cached)
    }

    /// The matrix-product part of [`Self::prefill_s`]: linear in whole chunks.
    pub fn prefill_products_s(&self, base: f64, new: f64, chunk: f64) -> f64 {
        self.beside(base, chunk).products_s(Chunks::of(new, chunk))
    }

    /// What prompts add to steps that carry `base` decode tokens, `chunk` of theirs in each.
    pub fn beside(&self, base: f64, chunk: f64) -> StepsBeside<'_> {
        StepsBeside {
            table: &self.prefill,
            base,
            chunk_s: self.prefill.added(base, chunk),
        }
    }

    /// Bound on what `chunk` prompt tokens add to a step of any number of tokens up to `base`, s.
    pub fn most_added_s(&self, base: f64, chunk: f64) -> f64 {
        self.prefill.at(base + chunk) - self.prefill.at(1.0)
    }

    /// The attention part of [`Self::prefill_s`].
    pub fn prompt_attention_s(&self, new: f64, cached: f64) -> f64 {
        self.prompt
            .iter()
            .map(|p| self.one_prompt_attention(p, new, cached))
            .sum()
    }

    fn one_prompt_attention(&self, p: &PromptAttention, new: f64, cached: f64) -> f64 {
        // Each new token sees the cached ones and half of the new ones, at most its window.
        let keys = (cached + 0.5 * new).min(p.window);
        let time = prefill_attention(
            &self.prompt_fit,
            p.pair_flop * new * keys,
            p.token_bytes * new,
            (cached + new).min(p.window),
        );
        p.layers * time.total()
    }

    /// Time of one engine step, s, for a batch composition on one rank: `sequences` in decode with
    /// `context` tokens each, and `new` prompt tokens after `cached` ones.
    pub fn step_time(&self, sequences: f64, context: f64, new: f64, cached: f64) -> f64 {
        let decode = if sequences > 0.0 {
            self.decode_s(sequences, self.attention.at(context))
        } else {
            self.overhead_s
        };
        let base = sequences * self.tokens_per_sequence;
        let prefill = if new > 0.0 {
            self.prefill_s(base, new, cached, new)
        } else {
            0.0
        };
        decode + prefill
    }
}

/// Sending one token's activation between pipeline stages, latency only: payloads overlap.
fn stage_transfer(layout: &Layout) -> Option<f64> {
    let p = layout.parallel;
    if p.pp == 1 {
        return Some(0.0);
    }
    let inside = p.gpus() <= layout.system.scale_up_domain;
    let link = if inside {
        &layout.kernel.all_to_all
    } else {
        layout.kernel.scale_out.as_ref()?
    };
    Some(f64::from(p.pp - 1) * transfer(link, f64::from(layout.model.hidden) * ACTIVATION_BYTES))
}
