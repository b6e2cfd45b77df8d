//! A specification and its space, held for Python: what is asked of single configurations.

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::reason;
use super::group::{simulated, StopFlag};
use super::requests::{blocks, drawn_lengths, requests, with_drawn, Hashes, Pairs};
use super::threads::on_threads;
use crate::error;
use crate::evaluate::{point, recheck, NoPoint, Point};
use crate::perf::closed_loop::closed_loop;
use crate::perf::latency::Latency;
use crate::perf::layout::Layout;
use crate::perf::parallel::Parallel;
use crate::perf::role::Role;
use crate::perf::step::StepModel;
use crate::simulate::router::Rule;
use crate::simulate::traffic::DayCurve;
use crate::simulate::{Options, Traffic};
use crate::space::{resolve, Configuration, Space};
use crate::workload::{Metric, Spec, MAX_CLASSES};

fn metric_name(metric: Option<Metric>) -> Option<&'static str> {
    metric.map(|m| match m {
        Metric::Ttft => "ttft",
        Metric::Tpot => "tpot",
        Metric::E2e => "e2e",
    })
}

/// A specification and its space of configurations.
#[pyclass(frozen, module = "tokenfleet._core")]
pub(super) struct Problem {
    pub(super) spec: Spec,
    pub(super) space: Space,
}

#[pymethods]
impl Problem {
    #[new]
    fn new(spec_json: &str) -> PyResult<Self> {
        let spec = Spec::from_json(spec_json)?;
        let space = Space::new(&spec);
        Ok(Self { spec, space })
    }

    /// The same with other kernels (JSON of the `kernels` list).
    fn with_kernels(&self, kernels_json: &str) -> PyResult<Self> {
        let spec = self.spec.with_kernels(kernels_json)?;
        let space = self.space.clone();
        Ok(Self { spec, space })
    }

    /// Units of work; see `space.rs`.
    #[getter]
    fn unit_count(&self) -> u64 {
        self.space.unit_count()
    }

    /// Workloads on a system each: what a search is fed; see `space.rs`.
    #[getter]
    fn partition_count(&self) -> u64 {
        self.space.partition_count()
    }

    /// Integers in the space.
    #[getter]
    fn space_size(&self) -> u64 {
        self.space.len()
    }

    /// Layout fields of a configuration.
    fn describe<'py>(&self, py: Python<'py>, id: u64) -> PyResult<Bound<'py, PyDict>> {
        let c = self.space.decode(&self.spec, id)?;
        let w = &self.spec.workloads[c.workload];
        let out = PyDict::new(py);
        out.set_item("workload", &w.id)?;
        out.set_item("system", &self.spec.systems[w.systems[c.system]].id)?;
        out.set_item("engine", &self.spec.engines[w.engines[c.engine]].id)?;
        out.set_item(
            "precision",
            &self.spec.precisions[w.precisions[c.precision]].id,
        )?;
        out.set_item("kv_dtype", &self.spec.kv_dtypes[w.kv[c.kv]].id)?;
        out.set_item("tp", c.parallel.tp)?;
        out.set_item("pp", c.parallel.pp)?;
        out.set_item("ep", c.parallel.ep)?;
        out.set_item("attention_dp", c.parallel.adp)?;
        out.set_item("speculative_depth", w.speculation[c.speculation].depth)?;
        out.set_item("role", c.role.name())?;
        out.set_item("ttft_split", split_of(w, c.role))?;
        out.set_item("batch_limit", w.batches[c.batch])?;
        let set = w.class_sets[c.set];
        let classes: Vec<&str> = (0..w.classes.len())
            .filter(|k| set >> k & 1 == 1)
            .map(|k| w.classes[k].id.as_str())
            .collect();
        out.set_item("classes", classes)?;
        Ok(out)
    }

    /// Operating points of configurations at one latency group, as columns.
    #[pyo3(signature = (ids, latency_group = 0, threads = 0))]
    fn points<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'py, u64>,
        latency_group: usize,
        threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let configurations: Vec<Configuration> = ids
            .as_array()
            .iter()
            .map(|id| self.space.decode(&self.spec, *id))
            .collect::<Result<_, _>>()?;
        for c in &configurations {
            self.check_group(c.workload, latency_group)?;
        }
        let points = py.detach(|| {
            use rayon::prelude::*;
            on_threads(threads, || {
                configurations
                    .par_iter()
                    .map(|c| point(&self.spec, c, latency_group))
                    .collect::<Vec<_>>()
            })
        })?;
        point_columns(py, &points)
    }

    /// Latency of a replica at a given mix of rates (requests/s per class).
    fn recheck<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        latency_group: usize,
        rates: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let c = self.space.decode(&self.spec, id)?;
        self.check_group(c.workload, latency_group)?;
        let rates: Vec<f64> = rates.as_array().to_vec();
        let classes = self.spec.workloads[c.workload].classes.len();
        if rates.len() != classes || rates.iter().any(|f| !f.is_finite() || *f < 0.0) {
            return Err(PyValueError::new_err(format!(
                "rates: {classes} finite values of at least 0 are needed, got {rates:?}"
            )));
        }
        let result = recheck(&self.spec, &c, latency_group, &rates)
            .map_err(|e| PyValueError::new_err(format!("configuration {id}: {}", reason(e))))?;
        let out = PyDict::new(py);
        out.set_item("utilisation", result.utilisation)?;
        out.set_item("broken", metric_name(result.broken))?;
        out.set_item("concurrency", result.latency.map(|l| l.concurrency))?;
        out.set_item(
            "ttft_s",
            latency_rows(result.latency.as_ref(), classes, |l| &l.ttft),
        )?;
        out.set_item(
            "tpot_s",
            latency_rows(result.latency.as_ref(), classes, |l| &l.tpot),
        )?;
        Ok(out)
    }

    /// Closed-loop means of one layout: `(ttft_s, tpot_s, output_tokens_per_s_gpu)`.
    ///
    /// `axes` are the positions (workload, system, engine, precision, kv, speculation), `degrees`
    /// are (tp, pp, ep, attention dp), `load` is (concurrency, input tokens, output tokens).
    /// `None`: no layout, or no kernel for it.
    fn closed_loop(
        &self,
        axes: [usize; 6],
        degrees: [u32; 4],
        load: [f64; 3],
    ) -> PyResult<Option<(f64, f64, f64)>> {
        if load.iter().any(|x| !x.is_finite() || *x <= 0.0) {
            return Err(PyValueError::new_err(format!(
                "closed_loop: load {load:?} must be positive"
            )));
        }
        let Some(layout) = self.layout(axes, degrees)? else {
            return Ok(None);
        };
        Ok(StepModel::of(&layout).map(|step| {
            let r = closed_loop(&layout, &step, load[0], load[1], load[2]);
            (r.ttft_s, r.tpot_s, r.output_tokens_per_s_gpu)
        }))
    }

    /// Discrete-event simulation of a group under drawn requests; see `simulate/`.
    #[pyo3(signature = (
        id, rates, lengths, *, replicas = 1, router = "join_shortest_queue", burstiness = 1.0,
        curve = None, requests = 20_000, warmup = 0.25, replications = 10, seed = 0,
        latency_group = 0, waiting_limit = None, threads = 0, stop = None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        rates: PyReadonlyArray1<'py, f64>,
        lengths: Pairs<'py>,
        replicas: usize,
        router: &str,
        burstiness: f64,
        curve: Option<(Vec<f64>, f64)>,
        requests: u64,
        warmup: f64,
        replications: u64,
        seed: u64,
        latency_group: usize,
        waiting_limit: Option<usize>,
        threads: usize,
        stop: Option<Py<StopFlag>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let c = self.space.decode(&self.spec, id)?;
        let options = Options {
            replicas,
            rule: rule(router)?,
            warmup,
            replications,
            seed,
            latency_group,
            waiting_limit: waiting_limit.unwrap_or(usize::MAX),
        };
        let traffic = Traffic::Drawn {
            rates: rates.as_array().to_vec(),
            lengths: drawn_lengths(&lengths, &self.class_hit_rates(c.workload))?,
            shape: burstiness,
            curve: curve.map(|(weights, period_s)| DayCurve {
                weights,
                period_s,
                start_s: 0.0,
            }),
            requests,
        };
        self.check_group(c.workload, latency_group)?;
        simulated(py, &self.spec, (id, &c), &traffic, &options, threads, stop)
    }

    /// The same, of requests with given arrival times (s), classes and lengths, with drawn ones among
    /// them where `mixed` gives their rates, lengths and burstiness.
    #[pyo3(signature = (
        id, times, classes, inputs, outputs, *, hashes = None, mixed = None, replicas = 1,
        router = "join_shortest_queue", warmup = 0.0, seed = 0, latency_group = 0,
        waiting_limit = None, stop = None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn replay<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        times: PyReadonlyArray1<'py, f64>,
        classes: PyReadonlyArray1<'py, u32>,
        inputs: PyReadonlyArray1<'py, u32>,
        outputs: PyReadonlyArray1<'py, u32>,
        hashes: Option<Hashes<'py>>,
        mixed: Option<(PyReadonlyArray1<'py, f64>, Pairs<'py>, f64)>,
        replicas: usize,
        router: &str,
        warmup: f64,
        seed: u64,
        latency_group: usize,
        waiting_limit: Option<usize>,
        stop: Option<Py<StopFlag>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let c = self.space.decode(&self.spec, id)?;
        let options = Options {
            replicas,
            rule: rule(router)?,
            warmup,
            replications: 1,
            seed,
            latency_group,
            waiting_limit: waiting_limit.unwrap_or(usize::MAX),
        };
        let hit_rates = self.class_hit_rates(c.workload);
        let trace = (times, classes, inputs, outputs);
        let trace = requests(&trace, &hit_rates, hashes.is_some())?;
        let blocks = hashes.map(|h| blocks(&h)).transpose()?;
        let traffic = match mixed {
            None => Traffic::Replayed {
                requests: trace,
                blocks,
            },
            Some((rates, lengths, shape)) => with_drawn(
                (&trace, blocks.as_ref()),
                &rates.as_array().to_vec(),
                &drawn_lengths(&lengths, &hit_rates)?,
                shape,
                seed,
            )?,
        };
        self.check_group(c.workload, latency_group)?;
        simulated(py, &self.spec, (id, &c), &traffic, &options, 1, stop)
    }
}

impl Problem {
    pub(super) fn class_hit_rates(&self, workload: usize) -> Vec<f64> {
        let classes = &self.spec.workloads[workload].classes;
        classes.iter().map(|class| class.hit_rate).collect()
    }

    /// The `serve` layout at positions (workload, system, engine, precision, kv, speculation) with
    /// degrees (tp, pp, ep, attention dp); `None`: it is no layout.
    pub(super) fn layout(
        &self,
        axes: [usize; 6],
        degrees: [u32; 4],
    ) -> PyResult<Option<Layout<'_>>> {
        self.check_axes(axes)?;
        if degrees.contains(&0) {
            return Err(PyValueError::new_err(format!(
                "degrees {degrees:?} must be positive"
            )));
        }
        Ok(resolve(&self.spec, &serving(axes, degrees)))
    }

    pub(super) fn check_axes(&self, axes: [usize; 6]) -> PyResult<()> {
        let [workload, system, engine, precision, kv, speculation] = axes;
        error::index("workload", workload, self.spec.workloads.len())?;
        let w = &self.spec.workloads[workload];
        error::index("system", system, w.systems.len())?;
        error::index("engine", engine, w.engines.len())?;
        error::index("precision", precision, w.precisions.len())?;
        error::index("KV dtype", kv, w.kv.len())?;
        Ok(error::index(
            "speculation",
            speculation,
            w.speculation.len(),
        )?)
    }

    pub(super) fn check_group(&self, workload: usize, group: usize) -> PyResult<()> {
        let len = self.spec.workloads[workload].round_trip_s.len();
        Ok(error::index("latency group", group, len)?)
    }
}

/// The `serve` configuration at positions (workload, system, engine, precision, kv, speculation)
/// with degrees (tp, pp, ep, attention dp).
pub(super) fn serving(axes: [usize; 6], degrees: [u32; 4]) -> Configuration {
    let [workload, system, engine, precision, kv, speculation] = axes;
    let [tp, pp, ep, adp] = degrees;
    Configuration {
        workload,
        system,
        engine,
        precision,
        parallel: Parallel { tp, pp, ep, adp },
        kv,
        speculation,
        role: Role::Serve,
        batch: 0,
        set: 0,
    }
}

fn rule(name: &str) -> PyResult<Rule> {
    Rule::parse(name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "router = {name:?}: must be round_robin, join_shortest_queue or least_loaded"
        ))
    })
}

fn split_of(w: &crate::workload::Workload, role: Role) -> Option<f64> {
    match role {
        Role::Serve => None,
        Role::Prefill(i) | Role::Decode(i) => Some(w.splits[i]),
    }
}

fn latency_rows(
    latency: Option<&Latency>,
    classes: usize,
    rows: impl Fn(&Latency) -> &[[f64; 5]; MAX_CLASSES],
) -> Option<Vec<[f64; 5]>> {
    latency.map(|l| rows(l)[..classes].to_vec())
}

/// Largest value over the classes of a point; NaN without one.
fn worst(point: &Point, rows: impl Fn(&Latency) -> &[[f64; 5]; MAX_CLASSES], i: usize) -> f64 {
    point.latency.as_ref().map_or(f64::NAN, |l| {
        rows(l).iter().map(|row| row[i]).fold(f64::NAN, f64::max)
    })
}

fn point_columns<'py>(
    py: Python<'py>,
    points: &[Result<Point, NoPoint>],
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let column = |name: &str, f: &dyn Fn(&Point) -> f64| -> PyResult<()> {
        let values: Vec<f64> = points
            .iter()
            .map(|p| p.as_ref().map_or(f64::NAN, f))
            .collect();
        out.set_item(name, values.into_pyarray(py))
    };
    column("gpus", &|p| f64::from(p.gpus))?;
    column("capacity", &|p| p.capacity)?;
    column("requests_per_s", &|p| p.requests_per_s)?;
    column("output_tokens_per_s", &|p| p.output_tokens_per_s)?;
    column("drawn_w", &|p| p.drawn_w)?;
    column("weight_bytes_per_gpu", &|p| p.weight_bytes)?;
    column("kv_bytes_per_gpu", &|p| p.kv_bytes)?;
    column("concurrency", &|p| {
        p.latency.as_ref().map_or(f64::NAN, |l| l.concurrency)
    })?;
    for (i, name) in ["mean", "p50", "p90", "p95", "p99"].iter().enumerate() {
        column(&format!("ttft_{name}_ms"), &|p| {
            1e3 * worst(p, |l| &l.ttft, i)
        })?;
        column(&format!("tpot_{name}_ms"), &|p| {
            1e3 * worst(p, |l| &l.tpot, i)
        })?;
    }
    let status: Vec<&str> = points
        .iter()
        .map(|p| match p {
            Err(e) => reason(*e),
            Ok(p) if p.capacity > 0.0 => "ok",
            Ok(p) => metric_name(p.stopped_by).unwrap_or("ok"),
        })
        .collect();
    out.set_item("status", status)?;
    Ok(out)
}
