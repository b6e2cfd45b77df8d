//! Demand as the core sees it: request classes, latency limits, and the axes of the layout space.

use serde::{Deserialize, Serialize};

use crate::perf::factors::TimeFactors;
use crate::perf::parallel::{self, Parallel};
use crate::perf::role::Role;

/// Percentiles reported and limited: mean, p50, p90, p95, p99.
pub const PERCENTILES: [f64; 5] = [f64::NAN, 0.50, 0.90, 0.95, 0.99];
/// Standard normal quantiles of [`PERCENTILES`]; the mean has none.
pub const NORMAL_QUANTILES: [f64; 5] = [0.0, 0.0, 1.281_551_565_5, 1.644_853_627, 2.326_347_874];
/// Most classes a workload may have (class sets are bit masks).
pub const MAX_CLASSES: usize = 16;

/// Distribution of a token count.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// Mean, p50, p90, p95, p99 in the order of [`PERCENTILES`].
    pub at: [f64; 5],
    /// Second moment.
    pub m2: f64,
    /// Longest.
    pub max: f64,
}

/// A request class.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Identifier.
    pub id: String,
    /// Share of requests, for reports at a set's own mix.
    pub share: f64,
    /// Prompt tokens.
    pub input: Length,
    /// Generated tokens.
    pub output: Length,
    /// Share of prompt tokens found in the prefix cache.
    pub hit_rate: f64,
}

/// What a limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Time to first token.
    Ttft,
    /// Time per output token after the first.
    Tpot,
    /// Whole request.
    E2e,
}

impl Metric {
    /// Every metric, in the order of its number.
    pub const ALL: [Self; 3] = [Self::Ttft, Self::Tpot, Self::E2e];

    /// Its name in specifications and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::E2e => "e2e",
        }
    }
}

/// Requests among which a limit's percentile is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Those of each class by itself.
    #[default]
    Class,
    /// All requests of the workload.
    Workload,
}

/// Classes that a replica takes, and in which proportions.
#[derive(Debug, Clone, Copy)]
pub struct Admitted<'a> {
    /// The classes.
    pub set: u32,
    /// Their proportions.
    pub mix: Mix<'a>,
}

/// Proportions of the classes on a replica.
#[derive(Debug, Clone, Copy)]
pub enum Mix<'a> {
    /// Whatever they are: limits hold for the worst.
    Any,
    /// The workload's own shares.
    Own(&'a [Class]),
    /// These rates, requests/s.
    Rates(&'a [f64]),
}

impl From<u32> for Admitted<'_> {
    fn from(set: u32) -> Self {
        Self { set, mix: Mix::Any }
    }
}

impl Mix<'_> {
    /// How much of class `k` there is.
    pub fn weight(&self, k: usize) -> f64 {
        match self {
            Self::Any => 1.0,
            Self::Own(classes) => classes[k].share,
            Self::Rates(rates) => rates[k],
        }
    }

    /// Whether proportions are known.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Any)
    }
}

/// A latency limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Limited quantity.
    pub metric: Metric,
    /// Index into [`PERCENTILES`].
    pub percentile: usize,
    /// Bound, s.
    pub limit_s: f64,
    /// Class it binds; `None` binds all.
    pub class: Option<usize>,
    /// Whose percentile it is, where it binds all classes.
    #[serde(default)]
    pub over: Over,
}

/// Speculative decoding at one depth.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speculation {
    /// Draft tokens per step.
    pub depth: u32,
    /// Tokens accepted per step, the target's own included.
    pub accepted: f64,
    /// Draft time per draft token, as a share of the target's step.
    pub draft_cost: f64,
}

/// One workload with the axes of its layout space.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Identifier.
    pub id: String,
    /// Index of the model.
    pub model: usize,
    /// Request classes.
    pub classes: Vec<Class>,
    /// Limits; all bind.
    pub slos: Vec<Slo>,
    /// Round-trip time by latency group and class, s. A group is a set of sites that look alike.
    pub round_trip_s: Vec<Vec<f64>>,
    /// Admitted class sets as bit masks.
    pub class_sets: Vec<u32>,
    /// Whether replicas that take all classes in the workload's own shares are built as well.
    #[serde(default)]
    pub own_mix: bool,
    /// Allowed systems (indices).
    pub systems: Vec<usize>,
    /// Allowed engines.
    pub engines: Vec<usize>,
    /// Allowed precisions.
    pub precisions: Vec<usize>,
    /// Answer quality by allowed precision, in the order of `precisions`; equal where it does not matter.
    pub quality: Vec<f64>,
    /// By allowed precision, whether its weights have fewer bits than 8 and than the published ones;
    /// none where it does not matter.
    #[serde(default)]
    pub fewer_bits: Vec<bool>,
    /// KV dtypes on the axis.
    pub kv: Vec<usize>,
    /// Whether a precision may have a KV dtype: a row per precision, a value per KV dtype.
    pub kv_allowed: Vec<Vec<bool>>,
    /// Tensor-parallel degrees of attention.
    pub tp: Vec<u32>,
    /// Pipeline stages.
    pub pp: Vec<u32>,
    /// Expert-parallel degrees.
    pub ep: Vec<u32>,
    /// Attention data-parallel degrees.
    pub adp: Vec<u32>,
    /// Speculative decoding, depth 0 first.
    pub speculation: Vec<Speculation>,
    /// Batch limits per replica (sequences in decode).
    pub batches: Vec<u32>,
    /// Whether prefill and decode pools are built, and at which shares of the TTFT budget.
    pub splits: Vec<f64>,
    /// Most accelerators in a replica.
    pub max_gpus: u32,
    /// Distinct factors on times; none leaves every layout at the model's own.
    #[serde(default)]
    pub time_factors: Vec<TimeFactors>,
    /// Position in `time_factors` by system, engine, precision, KV dtype (positions on this
    /// workload's axes) and [`parallel::group`], the last running fastest.
    #[serde(default)]
    pub time_factors_of: Vec<usize>,
}

impl Workload {
    /// By class, the share of a prompt that is found in prefix caches.
    pub fn hit_rates(&self) -> Vec<f64> {
        self.classes.iter().map(|class| class.hit_rate).collect()
    }

    /// Whether weights at this position among the precisions have fewer bits than people take
    /// without a reason.
    pub fn has_fewer_bits(&self, precision: usize) -> bool {
        self.fewer_bits.get(precision).copied().unwrap_or(false)
    }

    /// Sets of classes that a replica may take: the stated ones, and all in their own shares.
    pub fn set_count(&self) -> usize {
        self.class_sets.len() + usize::from(self.own_mix)
    }

    /// What replicas of the set with this number take.
    pub fn admitted(&self, set: usize) -> Admitted<'_> {
        match self.class_sets.get(set) {
            Some(set) => Admitted {
                set: *set,
                mix: Mix::Any,
            },
            None => self.own(),
        }
    }

    /// All classes in the workload's own shares.
    pub fn own(&self) -> Admitted<'_> {
        Admitted {
            set: ((1u64 << self.classes.len()) - 1) as u32,
            mix: Mix::Own(&self.classes),
        }
    }

    /// Roles in canonical order.
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Serve];
        roles.extend((0..self.splits.len()).map(Role::Prefill));
        roles.extend((0..self.splits.len()).map(Role::Decode));
        roles
    }

    /// Rows of `time_factors_of`.
    pub fn factor_cells(&self) -> usize {
        let axes = [&self.systems, &self.engines, &self.precisions, &self.kv];
        axes.iter().map(|axis| axis.len()).product::<usize>() * parallel::GROUPS
    }

    /// Factors on the times of a layout; `at` is its system, engine, precision and KV dtype.
    pub fn factors(&self, at: [usize; 4], degrees: Parallel) -> TimeFactors {
        if self.time_factors.is_empty() {
            return TimeFactors::ONE;
        }
        let [system, engine, precision, kv] = at;
        let pair = system * self.engines.len() + engine;
        let format = precision * self.kv.len() + kv;
        let cell = pair * self.precisions.len() * self.kv.len() + format;
        let index = cell * parallel::GROUPS + parallel::group(degrees);
        self.time_factors[self.time_factors_of[index]]
    }
}

/// The whole input of the core.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Systems.
    pub systems: Vec<crate::catalog::System>,
    /// Models.
    pub models: Vec<crate::catalog::Model>,
    /// Dtypes.
    pub dtypes: Vec<crate::catalog::Dtype>,
    /// Precisions.
    pub precisions: Vec<crate::catalog::Precision>,
    /// KV dtypes.
    pub kv_dtypes: Vec<crate::catalog::KvDtype>,
    /// Engines.
    pub engines: Vec<crate::catalog::Engine>,
    /// Kernels by (system, engine).
    pub kernels: Vec<crate::catalog::Kernel>,
    /// Workloads.
    pub workloads: Vec<Workload>,
}

impl Spec {
    /// The kernel of (system, engine), if there is one.
    pub fn kernel(&self, system: usize, engine: usize) -> Option<&crate::catalog::Kernel> {
        self.kernels
            .iter()
            .find(|k| k.system == system && k.engine == engine)
    }
}
