//! The only file that knows Python: text and arrays in, GIL released, arrays out, errors mapped.

use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::error::{self, Error};
use crate::evaluate::{point, recheck, search, Counts, Found, GroupKey, NoPoint, Point};
use crate::perf::closed_loop::closed_loop;
use crate::perf::latency::Latency;
use crate::perf::layout::Parallel;
use crate::perf::step::{OperatorTables, StepModel};
use crate::prune::{Front, Kept};
use crate::simulate::arrivals::{cached, Lengths, Request};
use crate::simulate::router::Rule;
use crate::simulate::statistics::Estimate;
use crate::simulate::{simulate, Options, Refused, Report, Traffic};
use crate::space::{resolve, Configuration, Space};
use crate::tco;
use crate::workload::{Metric, Role, Spec, MAX_CLASSES};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Unknown { .. } => PyIndexError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| PyValueError::new_err(format!("threads = {threads}: {e}")))?;
    Ok(pool.install(f))
}

fn metric_name(metric: Option<Metric>) -> Option<&'static str> {
    metric.map(|m| match m {
        Metric::Ttft => "ttft",
        Metric::Tpot => "tpot",
        Metric::E2e => "e2e",
    })
}

/// A specification and its space of configurations.
#[pyclass(frozen, module = "tokenfleet._core")]
struct Problem {
    spec: Spec,
    space: Space,
}

#[pymethods]
impl Problem {
    #[new]
    fn new(spec_json: &str) -> PyResult<Self> {
        let spec = Spec::from_json(spec_json)?;
        let space = Space::new(&spec);
        Ok(Self { spec, space })
    }

    /// Units of work; see `space.rs`.
    #[getter]
    fn unit_count(&self) -> u64 {
        self.space.unit_count()
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
        let [workload, system, engine, precision, kv, speculation] = axes;
        let [tp, pp, ep, adp] = degrees;
        self.check_axes(axes)?;
        if degrees.contains(&0) || load.iter().any(|x| !x.is_finite() || *x <= 0.0) {
            return Err(PyValueError::new_err(format!(
                "closed_loop: degrees {degrees:?} and load {load:?} must be positive"
            )));
        }
        let c = Configuration {
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
        };
        let Some(layout) = resolve(&self.spec, &c) else {
            return Ok(None);
        };
        let step = OperatorTables::build(&layout).and_then(|t| StepModel::build(&layout, &t));
        Ok(step.map(|step| {
            let r = closed_loop(&layout, &step, load[0], load[1], load[2]);
            (r.ttft_s, r.tpot_s, r.output_tokens_per_s_gpu)
        }))
    }

    /// Discrete-event simulation of a fleet under drawn requests; see `simulate/`.
    #[pyo3(signature = (
        id, rates, lengths, *, replicas = 1, router = "join_shortest_queue", burstiness = 1.0,
        requests = 20_000, warmup = 0.25, replications = 10, seed = 0, latency_group = 0,
        waiting_limit = None, threads = 0
    ))]
    #[allow(clippy::too_many_arguments)]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        rates: PyReadonlyArray1<'py, f64>,
        lengths: Vec<(PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, u32>)>,
        replicas: usize,
        router: &str,
        burstiness: f64,
        requests: u64,
        warmup: f64,
        replications: u64,
        seed: u64,
        latency_group: usize,
        waiting_limit: Option<usize>,
        threads: usize,
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
        let classes = &self.spec.workloads[c.workload].classes;
        let lengths: Vec<Lengths> = lengths
            .iter()
            .enumerate()
            .map(|(k, (input, output))| {
                same_rows(&format!("lengths[{k}]"), &[input.len()?, output.len()?])?;
                let (input, output) = (input.as_array(), output.as_array());
                Ok(Lengths {
                    pairs: input.iter().copied().zip(output.iter().copied()).collect(),
                    hit_rate: classes.get(k).map_or(0.0, |class| class.hit_rate),
                })
            })
            .collect::<PyResult<_>>()?;
        let traffic = Traffic::Drawn {
            rates: rates.as_array().to_vec(),
            lengths,
            shape: burstiness,
            requests,
        };
        self.simulated(py, id, &c, &traffic, &options, threads)
    }

    /// The same, of requests with given arrival times (s), classes and lengths.
    #[pyo3(signature = (
        id, times, classes, inputs, outputs, *, replicas = 1, router = "join_shortest_queue",
        warmup = 0.0, seed = 0, latency_group = 0, waiting_limit = None
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
        replicas: usize,
        router: &str,
        warmup: f64,
        seed: u64,
        latency_group: usize,
        waiting_limit: Option<usize>,
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
        let rows = [times.len()?, classes.len()?, inputs.len()?, outputs.len()?];
        same_rows("times, classes, inputs, outputs", &rows)?;
        let hit_rates = &self.spec.workloads[c.workload].classes;
        let (times, classes) = (times.as_array(), classes.as_array());
        let (inputs, outputs) = (inputs.as_array(), outputs.as_array());
        let requests = (0..rows[0])
            .map(|row| {
                let hit_rate = hit_rates.get(classes[row] as usize);
                Request {
                    index: row as u64,
                    arrived_s: times[row],
                    class: classes[row],
                    input: inputs[row],
                    cached: cached(inputs[row], hit_rate.map_or(0.0, |class| class.hit_rate)),
                    output: outputs[row],
                }
            })
            .collect();
        self.simulated(py, id, &c, &Traffic::Replayed(requests), &options, 1)
    }
}

impl Problem {
    fn simulated<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        c: &Configuration,
        traffic: &Traffic,
        options: &Options,
        threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.check_group(c.workload, options.latency_group)?;
        let result =
            py.detach(|| on_threads(threads, || simulate(&self.spec, c, traffic, options)))?;
        match result {
            Ok(report) => report_dict(py, &report),
            Err(Refused::Input(error)) => Err(error.into()),
            Err(Refused::Point(why)) => Err(PyValueError::new_err(format!(
                "configuration {id}: {}",
                reason(why)
            ))),
            Err(Refused::Role) => Err(PyValueError::new_err(format!(
                "configuration {id}: only replicas of role serve are simulated, not {}",
                c.role.name()
            ))),
        }
    }

    fn check_axes(&self, axes: [usize; 6]) -> PyResult<()> {
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

    fn check_group(&self, workload: usize, group: usize) -> PyResult<()> {
        let len = self.spec.workloads[workload].round_trip_s.len();
        Ok(error::index("latency group", group, len)?)
    }
}

fn rule(name: &str) -> PyResult<Rule> {
    Rule::parse(name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "router = {name:?}: must be round_robin, join_shortest_queue or least_loaded"
        ))
    })
}

fn same_rows(what: &str, rows: &[usize]) -> PyResult<()> {
    if rows.iter().all(|n| *n == rows[0]) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{what}: arrays of {rows:?} rows, must be equally long"
    )))
}

fn report_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let pair = |e: &Estimate| (e.mean, e.half_width);
    out.set_item("replications", report.replications)?;
    out.set_item("unstable_replications", report.unstable)?;
    out.set_item("unstable", 2 * report.unstable > report.replications)?;
    out.set_item("utilisation", pair(&report.utilisation))?;
    out.set_item("busy", pair(&report.busy))?;
    out.set_item("concurrency", pair(&report.concurrency))?;
    out.set_item("backlog", pair(&report.backlog))?;
    out.set_item("steps", report.steps)?;
    out.set_item("preemptions", report.preemptions)?;
    let [arrived, finished, rejected, in_flight] = report.conservation;
    let all = PyDict::new(py);
    all.set_item("arrived", arrived)?;
    all.set_item("finished", finished)?;
    all.set_item("rejected", rejected)?;
    all.set_item("in_flight", in_flight)?;
    out.set_item("conservation", all)?;
    let classes = PyList::empty(py);
    for class in &report.classes {
        let row = PyDict::new(py);
        row.set_item("arrived", class.arrived)?;
        row.set_item("finished", class.finished)?;
        row.set_item("rejected", class.rejected)?;
        row.set_item("unfinished", class.unfinished)?;
        row.set_item("served_per_s", pair(&class.served_per_s))?;
        row.set_item("ttft_s", class.ttft.each_ref().map(pair))?;
        row.set_item("tpot_s", class.tpot.each_ref().map(pair))?;
        row.set_item("e2e_s", class.e2e.each_ref().map(pair))?;
        classes.append(row)?;
    }
    out.set_item("classes", classes)?;
    Ok(out)
}

fn split_of(w: &crate::workload::Workload, role: Role) -> Option<f64> {
    match role {
        Role::Serve => None,
        Role::Prefill(i) | Role::Decode(i) => Some(w.splits[i]),
    }
}

fn reason(e: NoPoint) -> &'static str {
    match e {
        NoPoint::NoLayout => "no_layout",
        NoPoint::Memory => "memory",
        NoPoint::NotAdmitted => "a rate for a class that it does not admit",
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

/// A search that is fed ranges of units and can be read at any time.
#[pyclass(module = "tokenfleet._core")]
#[derive(Default)]
struct Search {
    found: Found,
}

#[pymethods]
impl Search {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds units `first..last` of a problem, on `threads` threads (0: all cores).
    #[pyo3(signature = (problem, first, last, threads = 0))]
    fn extend(
        &mut self,
        py: Python<'_>,
        problem: &Problem,
        first: u64,
        last: u64,
        threads: usize,
    ) -> PyResult<()> {
        let len = problem.space.unit_count();
        if first > last || last > len {
            return Err(Error::Unknown {
                what: "unit",
                index: last,
                len,
            }
            .into());
        }
        let more = py.detach(|| {
            on_threads(threads, || {
                search(&problem.spec, &problem.space, first, last)
            })
        })?;
        self.found = std::mem::take(&mut self.found).merge(more);
        Ok(())
    }

    /// Counts by workload: `{workload index: {reason: count}}`.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for (workload, counts) in &self.found.counts {
            out.set_item(workload, counts_dict(py, counts)?)?;
        }
        Ok(out)
    }

    /// Kept candidates as columns, in canonical order.
    fn kept<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows: Vec<(GroupKey, Kept)> = self
            .found
            .fronts
            .iter()
            .flat_map(|(key, front)| {
                front
                    .clone()
                    .into_sorted()
                    .into_iter()
                    .map(|kept| (*key, kept))
            })
            .collect();
        kept_columns(py, &rows)
    }
}

fn counts_dict<'py>(py: Python<'py>, counts: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("evaluated", counts.evaluated())?;
    out.set_item("usable", counts.usable)?;
    out.set_item("no_layout", counts.no_layout)?;
    out.set_item("memory", counts.memory)?;
    out.set_item("ttft", counts.ttft)?;
    out.set_item("tpot", counts.tpot)?;
    out.set_item("e2e", counts.e2e)?;
    Ok(out)
}

fn kept_columns<'py>(py: Python<'py>, rows: &[(GroupKey, Kept)]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    let whole = |name: &str, f: &dyn Fn(&(GroupKey, Kept)) -> u64| -> PyResult<()> {
        out.set_item(
            name,
            rows.iter().map(f).collect::<Vec<u64>>().into_pyarray(py),
        )
    };
    whole("id", &|(_, kept)| kept.id)?;
    whole("workload", &|(key, _)| key.workload as u64)?;
    whole("latency_group", &|(key, _)| key.latency_group as u64)?;
    whole("system", &|(key, _)| key.system as u64)?;
    whole("kv", &|(key, _)| key.kv as u64)?;
    whole("gpus", &|(_, kept)| u64::from(kept.gpus))?;
    let roles: Vec<&str> = rows.iter().map(|(key, _)| key.role.name()).collect();
    out.set_item("role", roles)?;
    let splits: Vec<i64> = rows
        .iter()
        .map(|(key, _)| match key.role {
            Role::Serve => -1,
            Role::Prefill(i) | Role::Decode(i) => i as i64,
        })
        .collect();
    out.set_item("split", splits.into_pyarray(py))?;
    let real = |f: &dyn Fn(&Kept) -> f64| -> Vec<f64> { rows.iter().map(|(_, k)| f(k)).collect() };
    out.set_item("capacity", real(&|k| k.capacity).into_pyarray(py))?;
    out.set_item("quality", real(&|k| k.quality).into_pyarray(py))?;
    let loads: Vec<Vec<f64>> = rows
        .iter()
        .map(|(_, k)| k.load[..k.classes].to_vec())
        .collect();
    let joules: Vec<Vec<f64>> = rows
        .iter()
        .map(|(_, k)| k.joules[..k.classes].to_vec())
        .collect();
    out.set_item("load_s", PyList::new(py, loads)?)?;
    out.set_item("energy_j", PyList::new(py, joules)?)?;
    Ok(out)
}

/// Indices that survive dominance pruning within one group; see `prune.rs`.
///
/// `load_s` and `energy_j` are (N, K); `gpus`, `idle_w` and `quality` are (N,); `per_system` is the
/// number of accelerators in a system.
#[pyfunction]
fn prune<'py>(
    load_s: PyReadonlyArray2<'py, f64>,
    energy_j: PyReadonlyArray2<'py, f64>,
    gpus: PyReadonlyArray1<'py, u32>,
    idle_w: PyReadonlyArray1<'py, f64>,
    quality: PyReadonlyArray1<'py, f64>,
    per_system: u32,
) -> PyResult<Vec<u64>> {
    let (load_s, energy_j) = (load_s.as_array(), energy_j.as_array());
    let (rows, classes) = load_s.dim();
    let lengths = [
        gpus.as_array().len(),
        idle_w.as_array().len(),
        quality.as_array().len(),
    ];
    if energy_j.dim() != (rows, classes) || lengths.iter().any(|n| *n != rows) {
        return Err(PyValueError::new_err(format!(
            "prune: {rows} rows of load_s, but energy_j is {:?} and gpus, idle_w, quality have {lengths:?}",
            energy_j.dim()
        )));
    }
    if classes > MAX_CLASSES {
        return Err(PyValueError::new_err(format!(
            "prune: {classes} classes, at most {MAX_CLASSES}"
        )));
    }
    let numbers = load_s
        .iter()
        .chain(energy_j)
        .chain(idle_w.as_array())
        .chain(quality.as_array());
    if numbers.into_iter().any(|x| x.is_nan()) || gpus.as_array().iter().any(|g| *g == 0) {
        return Err(PyValueError::new_err(
            "prune: NaN, or a replica without accelerators",
        ));
    }
    let mut front = Front::default();
    for i in 0..rows {
        let mut kept = Kept {
            id: i as u64,
            gpus: gpus.as_array()[i],
            per_system,
            classes,
            load: [f64::INFINITY; MAX_CLASSES],
            joules: [f64::INFINITY; MAX_CLASSES],
            idle_w: idle_w.as_array()[i],
            quality: quality.as_array()[i],
            capacity: 1.0,
        };
        for k in 0..classes {
            kept.load[k] = load_s[[i, k]];
            kept.joules[k] = energy_j[[i, k]];
        }
        front.add(kept);
    }
    Ok(front.into_sorted().iter().map(|k| k.id).collect())
}

/// Yearly cost of one system, itemised (USD), from the JSON of an `Ownership`; see `tco.rs`.
#[pyfunction]
fn system_year<'py>(py: Python<'py>, ownership_json: &str) -> PyResult<Bound<'py, PyDict>> {
    let ownership: tco::Ownership =
        serde_json::from_str(ownership_json).map_err(|e| PyValueError::new_err(e.to_string()))?;
    let year = tco::system_year(&ownership)?;
    let out = PyDict::new(py);
    out.set_item("capex_annuity", year.capex_annuity)?;
    out.set_item("residual_credit", year.residual_credit)?;
    out.set_item("maintenance", year.maintenance)?;
    out.set_item("staff", year.staff)?;
    out.set_item("licences", year.licences)?;
    out.set_item("hosting", year.hosting)?;
    out.set_item("rental", year.rental)?;
    out.set_item("capex_usd", year.capex_usd)?;
    Ok(out)
}

/// Price of one kWh at the IT equipment, USD; see `tco.rs`.
#[pyfunction]
fn energy_usd_per_kwh_it(
    tariff_usd_per_kwh: f64,
    pue: f64,
    carbon_kg_per_kwh: f64,
    carbon_usd_per_t: f64,
    water_l_per_kwh_it: f64,
    water_usd_per_m3: f64,
) -> PyResult<f64> {
    Ok(tco::energy_usd_per_kwh_it(
        tariff_usd_per_kwh,
        pue,
        carbon_kg_per_kwh,
        carbon_usd_per_t,
        water_l_per_kwh_it,
        water_usd_per_m3,
    )?)
}

/// USD per million tokens at full load: `($/GPU-h)/(tok/s/GPU × 0.0036)`.
#[pyfunction]
fn usd_per_mtok(usd_per_gpu_h: f64, tokens_per_s_gpu: f64) -> PyResult<f64> {
    Ok(tco::usd_per_mtok(usd_per_gpu_h, tokens_per_s_gpu)?)
}

/// USD per million tokens from yearly totals.
#[pyfunction]
fn usd_per_mtok_delivered(annual_usd: f64, tokens_per_year: f64) -> PyResult<f64> {
    Ok(tco::usd_per_mtok_delivered(annual_usd, tokens_per_year)?)
}

/// Rust core of tokenfleet.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Problem>()?;
    m.add_class::<Search>()?;
    m.add_function(wrap_pyfunction!(prune, m)?)?;
    m.add_function(wrap_pyfunction!(system_year, m)?)?;
    m.add_function(wrap_pyfunction!(energy_usd_per_kwh_it, m)?)?;
    m.add_function(wrap_pyfunction!(usd_per_mtok, m)?)?;
    m.add_function(wrap_pyfunction!(usd_per_mtok_delivered, m)?)?;
    m.add("HOURS_PER_YEAR", tco::HOURS_PER_YEAR)?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
