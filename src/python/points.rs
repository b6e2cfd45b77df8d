//! Operating points in bulk: of one curve as arrays, and the best of a whole grid.

use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rayon::prelude::*;

use super::problem::Problem;
use super::threads::on_threads;
use crate::error::{self, not_negative};
use crate::points::front::{Front, Ranking};
use crate::points::grid::{curve_of, Grid, Loads, Numbers};
use crate::points::offer::Offer;
use crate::points::search::{Found, Search};
use crate::points::table::points_in;
use crate::points::{Columns, Curve, Inputs, NAMES};

/// Rows that a thread works out at once.
const CHUNK: usize = 1 << 15;

fn columns<'a>(all: &'a mut [&mut [f64]; 9]) -> Columns<'a> {
    let [a, b, c, d, e, f, g, h, i] = all;
    Columns {
        output_tokens_per_s: a,
        tokens_per_s_gpu: b,
        ttft_p50_s: c,
        ttft_p99_s: d,
        tpot_p50_s: e,
        tpot_p99_s: f,
        watts: g,
        usd_per_mtok_output: h,
        concurrency: i,
    }
}

/// Fills one chunk of rows, times in ms.
fn fill(curve: &Curve, inputs: &Inputs, mut out: [&mut [f64]; 9]) {
    points_in(curve, inputs, &mut columns(&mut out), 1e3);
}

/// The first number that is not finite or below 0. In stretches, each without a way out in between, so
/// that the compiler makes vector code of them.
fn first_wrong(values: &[f64]) -> Option<f64> {
    let right = |v: &f64| (*v >= 0.0) & (*v <= f64::MAX);
    // Sums of 64 bits, as wide as what is compared.
    let all_right =
        |stretch: &&[f64]| stretch.iter().map(|v| u64::from(!right(v))).sum::<u64>() == 0;
    let in_chunk = |chunk: &[f64]| {
        let found = chunk.chunks(1024).find(|stretch| !all_right(stretch))?;
        found.iter().copied().find(|v| !right(v))
    };
    values.par_chunks(CHUNK).find_map_first(in_chunk)
}

/// Operating points of one configuration and class at given rates and prices, as columns.
///
/// Arrays of N: `rate_rps` requests/s, `usd_per_gpu_h`, `usd_per_kwh` at the IT equipment. Above
/// capacity latencies and costs are inf, tokens 0 and watts NaN. `out`: columns to write into and
/// return. `None`: the configuration is no layout or does not fit.
#[pyfunction]
#[pyo3(signature = (
    problem, id, class_index, rate_rps, usd_per_gpu_h, usd_per_kwh, *,
    latency_group = 0, threads = 0, out = None
))]
#[allow(clippy::too_many_arguments)]
pub(super) fn operating_points<'py>(
    py: Python<'py>,
    problem: PyRef<'py, Problem>,
    id: u64,
    class_index: usize,
    rate_rps: PyReadonlyArray1<'py, f64>,
    usd_per_gpu_h: PyReadonlyArray1<'py, f64>,
    usd_per_kwh: PyReadonlyArray1<'py, f64>,
    latency_group: usize,
    threads: usize,
    out: Option<Bound<'py, PyDict>>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let c = problem.space.decode(&problem.spec, id)?;
    problem.check_group(c.workload, latency_group)?;
    let classes = problem.spec.workloads[c.workload].classes.len();
    error::index("class", class_index, classes)?;
    let curve = curve_of(&problem.spec, &c, class_index, latency_group).filter(|c| c.fits);
    let Some(curve) = curve else {
        return Ok(None);
    };
    let inputs = [
        ("rate_rps", rate_rps.as_slice()?),
        ("usd_per_gpu_h", usd_per_gpu_h.as_slice()?),
        ("usd_per_kwh", usd_per_kwh.as_slice()?),
    ];
    let len = inputs[0].1.len();
    for (name, values) in inputs {
        if values.len() != len {
            return Err(PyValueError::new_err(format!(
                "{name}: {} rows, but rate_rps has {len}",
                values.len()
            )));
        }
    }
    let out = match out {
        Some(out) => out,
        None => new_columns(py, len)?,
    };
    let arrays = written_columns(&out, len)?;
    let mut guards = Vec::with_capacity(9);
    for (name, array) in NAMES.iter().zip(&arrays) {
        let guard = array.try_readwrite();
        guards.push(guard.map_err(|e| PyValueError::new_err(format!("out[{name:?}]: {e}")))?);
    }
    let mut slices = Vec::with_capacity(9);
    for guard in &mut guards {
        slices.push(guard.as_slice_mut()?);
    }
    let work = || {
        let wrong = |(name, values)| first_wrong(values).map(|bad| (name, bad));
        let found = inputs.into_iter().find_map(wrong);
        if found.is_none() {
            fill_all(&curve, inputs.map(|(_, values)| values), slices);
        }
        found
    };
    if let Some((name, bad)) = py.detach(|| on_threads(threads, work))? {
        not_negative(name, bad)?;
    }
    drop(guards);
    Ok(Some(out))
}

fn new_columns(py: Python<'_>, len: usize) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    for name in NAMES {
        out.set_item(name, PyArray1::<f64>::zeros(py, len, false))?;
    }
    Ok(out)
}

/// The arrays of `out` that results go into.
fn written_columns<'py>(
    out: &Bound<'py, PyDict>,
    len: usize,
) -> PyResult<Vec<Bound<'py, PyArray1<f64>>>> {
    let column = |name: &str| {
        let wrong = || {
            PyValueError::new_err(format!(
                "out[{name:?}]: must be a contiguous array of {len} float64"
            ))
        };
        let array = out.get_item(name)?.ok_or_else(wrong)?;
        let array = array.cast_into::<PyArray1<f64>>().map_err(|_| wrong())?;
        if array.shape() != [len] || !array.is_c_contiguous() {
            return Err(wrong());
        }
        Ok(array)
    };
    NAMES.into_iter().map(column).collect()
}

fn fill_all(curve: &Curve, inputs: [&[f64]; 3], slices: Vec<&mut [f64]>) {
    let mut columns: Vec<_> = slices.into_iter().map(|s| s.chunks_mut(CHUNK)).collect();
    let mut chunks = Vec::new();
    while let Some(out) = columns
        .iter_mut()
        .map(Iterator::next)
        .collect::<Option<Vec<_>>>()
    {
        chunks.push(out);
    }
    chunks.into_par_iter().enumerate().for_each(|(i, out)| {
        let first = i * CHUNK;
        let [rate_rps, usd_per_gpu_h, usd_per_kwh] =
            inputs.map(|column| &column[first..first + out[0].len()]);
        let inputs = Inputs {
            rate_rps,
            usd_per_gpu_h,
            usd_per_kwh,
        };
        if let Ok(out) = <[&mut [f64]; 9]>::try_from(out) {
            fill(curve, &inputs, out);
        }
    });
}

/// Searches a grid of operating points for those worth keeping; see `points/stream.rs`.
#[pyclass(module = "tokenfleet._core")]
pub(super) struct PointSearch {
    problem: Py<Problem>,
    grid: Grid,
    numbers: Numbers,
    cheapest: usize,
    by: Ranking,
    front: bool,
    skip: bool,
    found: Option<Found>,
}

#[pymethods]
impl PointSearch {
    #[new]
    #[pyo3(signature = (
        problem, load_axis, loads, offers, *,
        cheapest = 10, by = "cost", front = true, skip = true, latency_group = 0
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        problem: Py<Problem>,
        load_axis: &str,
        loads: Vec<f64>,
        offers: Vec<Vec<(f64, f64)>>,
        cheapest: usize,
        by: &str,
        front: bool,
        skip: bool,
        latency_group: usize,
    ) -> PyResult<Self> {
        let by = match by {
            "cost" => Ranking::Cost,
            "ttft" => Ranking::Ttft,
            "tpot" => Ranking::Tpot,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "by = {by:?}: must be cost, ttft or tpot"
                )))
            }
        };
        let loads = match load_axis {
            "utilisation" => Loads::Utilisation(loads),
            "rate_rps" => Loads::RateRps(loads),
            "concurrency" => Loads::Concurrency(loads),
            _ => {
                return Err(PyValueError::new_err(format!(
                    "load_axis = {load_axis:?}: must be utilisation, rate_rps or concurrency"
                )))
            }
        };
        let grid = Grid {
            loads,
            offers: offers
                .into_iter()
                .map(|all| all.into_iter().map(offer).collect())
                .collect(),
            latency_group,
        };
        let spec = &problem.get().spec;
        grid.check(spec)?;
        let numbers = Numbers::new(spec, &grid);
        Ok(Self {
            problem,
            grid,
            numbers,
            cheapest,
            by,
            front,
            skip,
            found: None,
        })
    }

    /// Points of the grid.
    #[getter]
    fn size(&self) -> u64 {
        self.numbers.len()
    }

    /// Units of work.
    #[getter]
    fn unit_count(&self) -> u64 {
        self.problem.get().space.unit_count()
    }

    /// Searches places `first` to `last` (exclusive) of the units, each once.
    #[pyo3(signature = (first, last, threads = 0))]
    fn extend(&mut self, py: Python<'_>, first: u64, last: u64, threads: usize) -> PyResult<()> {
        let units = self.unit_count();
        if last > units || first > last {
            return Err(error::Error::Unknown {
                what: "unit",
                index: last.max(first),
                len: units,
            }
            .into());
        }
        let known = self.found.take();
        let problem = self.problem.get();
        let search = Search {
            spec: &problem.spec,
            space: &problem.space,
            grid: &self.grid,
            numbers: &self.numbers,
            best: self.cheapest,
            by: self.by,
            front: self.front,
            skip: self.skip,
        };
        let found = py.detach(|| on_threads(threads, || search.extend(known, first, last)))?;
        self.found = Some(found);
        Ok(())
    }

    /// What became of the points so far.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.found.as_ref().map(|f| f.counts).unwrap_or_default();
        let out = PyDict::new(py);
        out.set_item("computed", counts.computed)?;
        out.set_item("skipped_beyond_limits", counts.beyond_limits)?;
        out.set_item("skipped_dominated", counts.dominated)?;
        out.set_item("no_layout", counts.no_layout)?;
        out.set_item("memory", counts.memory)?;
        out.set_item("total", counts.total())?;
        Ok(out)
    }

    /// Points that no other dominates, by workload, class and number, as columns.
    fn front<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fronts = self.found.iter_mut().flat_map(|found| &mut found.fronts);
        let numbers = fronts.flat_map(Front::numbers).collect::<Vec<_>>();
        self.columns(py, &numbers)
    }

    /// The best points by workload and class, best first, as columns.
    fn cheapest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let lists = self.found.iter().flat_map(|found| &found.best);
        let numbers = lists.flat_map(|list| list.points()).map(|(_, _, n)| *n);
        self.columns(py, &numbers.collect::<Vec<_>>())
    }
}

impl PointSearch {
    /// Where points are on the axes, and their values.
    fn columns<'py>(&self, py: Python<'py>, numbers: &[u64]) -> PyResult<Bound<'py, PyDict>> {
        let problem = self.problem.get();
        let (spec, space) = (&problem.spec, &problem.space);
        let len = numbers.len();
        let mut places: [Vec<u64>; 5] = std::array::from_fn(|_| Vec::with_capacity(len));
        let mut inputs: [Vec<f64>; 4] = std::array::from_fn(|_| Vec::with_capacity(len));
        let mut values: [Vec<f64>; 9] = std::array::from_fn(|_| Vec::with_capacity(len));
        let group = self.grid.latency_group;
        // Kept points come in runs of one curve.
        let mut last: Option<((u64, usize), Curve)> = None;
        for number in numbers {
            let place = self.numbers.decode(spec, space, *number)?;
            let c = space.decode(spec, place.configuration)?;
            let key = (place.configuration, place.class);
            if last.as_ref().is_none_or(|(known, _)| *known != key) {
                last = curve_of(spec, &c, place.class, group).map(|curve| (key, curve));
            }
            let Some((_, curve)) = &last else {
                return Err(PyValueError::new_err(format!(
                    "operating point {number}: no layout"
                )));
            };
            let w = &spec.workloads[place.workload];
            let rate = self.grid.loads.rate(curve, place.load);
            let offer = self.grid.offers[w.systems[c.system]][place.offer];
            let (price, tariff) = (offer.usd_per_gpu_h, offer.usd_per_kwh);
            let mut row = [[0.0]; 9];
            let one = Inputs {
                rate_rps: &[rate],
                usd_per_gpu_h: &[price],
                usd_per_kwh: &[tariff],
            };
            fill(curve, &one, row.each_mut().map(|v| v.as_mut_slice()));
            let at = [
                *number,
                place.configuration,
                place.workload as u64,
                place.class as u64,
                place.offer as u64,
            ];
            let axes = [rate, rate / curve.full_rate(), price, tariff];
            push(&mut places, at);
            push(&mut inputs, axes);
            push(&mut values, row.map(|[v]| v));
        }
        let out = PyDict::new(py);
        let names = [
            "number",
            "configuration",
            "workload_index",
            "class_index",
            "offer_index",
        ];
        for (name, column) in names.into_iter().zip(places) {
            out.set_item(name, column.into_pyarray(py))?;
        }
        let names = ["rate_rps", "utilisation", "usd_per_gpu_h", "usd_per_kwh"];
        for (name, column) in names.into_iter().zip(inputs) {
            out.set_item(name, column.into_pyarray(py))?;
        }
        for (name, column) in NAMES.iter().zip(values) {
            out.set_item(name, column.into_pyarray(py))?;
        }
        Ok(out)
    }
}

fn push<T, const N: usize>(columns: &mut [Vec<T>; N], row: [T; N]) {
    for (column, value) in columns.iter_mut().zip(row) {
        column.push(value);
    }
}

fn offer((usd_per_gpu_h, usd_per_kwh): (f64, f64)) -> Offer {
    Offer {
        usd_per_gpu_h,
        usd_per_kwh,
    }
}
