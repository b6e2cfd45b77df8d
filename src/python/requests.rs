//! Requests of a simulation from arrays.

use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::errors::same_rows;
use crate::simulate::arrivals::{cached, random, Drawn, Lengths};
use crate::simulate::prefix::Blocks;
use crate::simulate::request::Request;
use crate::simulate::traffic::joined;
use crate::simulate::{check_drawn, Traffic};

/// Random numbers of requests that are drawn among those of a trace.
const MIXED: u64 = 0;

pub(super) type Trace<'py> = (
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u32>,
);
pub(super) type Hashes<'py> = (PyReadonlyArray1<'py, u64>, PyReadonlyArray1<'py, u64>, u32);
pub(super) type Pairs<'py> = Vec<(PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, u32>)>;

pub(super) fn drawn_lengths(lengths: &Pairs<'_>, hit_rates: &[f64]) -> PyResult<Vec<Lengths>> {
    let one = |(k, (input, output)): (usize, &(_, PyReadonlyArray1<'_, u32>))| {
        let input: &PyReadonlyArray1<'_, u32> = input;
        same_rows(&format!("lengths[{k}]"), &[input.len()?, output.len()?])?;
        let (input, output) = (input.as_array(), output.as_array());
        Ok(Lengths {
            pairs: input.iter().copied().zip(output.iter().copied()).collect(),
            hit_rate: hit_rates.get(k).copied().unwrap_or(0.0),
        })
    };
    lengths.iter().enumerate().map(one).collect()
}

/// Rows of a trace; where it has hashes, these say what is cached, and no hit rate.
pub(super) fn requests(
    trace: &Trace<'_>,
    hit_rates: &[f64],
    hashed: bool,
) -> PyResult<Vec<Request>> {
    let (times, classes, inputs, outputs) = trace;
    let rows = [times.len()?, classes.len()?, inputs.len()?, outputs.len()?];
    same_rows("times, classes, inputs, outputs", &rows)?;
    let (times, classes) = (times.as_array(), classes.as_array());
    let (inputs, outputs) = (inputs.as_array(), outputs.as_array());
    let request = |row: usize| {
        let hit_rate = hit_rates.get(classes[row] as usize).copied().unwrap_or(0.0);
        let whole = inputs[row] > 0 && !hashed;
        Request {
            index: row as u64,
            arrived_s: times[row],
            class: classes[row],
            input: inputs[row],
            cached: if whole {
                cached(inputs[row], hit_rate)
            } else {
                0
            },
            output: outputs[row],
        }
    };
    Ok((0..rows[0]).map(request).collect())
}

pub(super) fn blocks(hashes: &Hashes<'_>) -> PyResult<Blocks> {
    let (ids, starts, tokens) = hashes;
    let ids = ids.as_array().to_vec();
    let starts: Vec<usize> = starts.as_array().iter().map(|s| *s as usize).collect();
    let ordered = starts.windows(2).all(|w| w[0] <= w[1]);
    if !ordered || starts.last().is_some_and(|last| *last != ids.len()) {
        return Err(PyValueError::new_err(
            "hashes: starts must rise and end at the number of hashes",
        ));
    }
    Ok(Blocks {
        hashes: ids,
        starts,
        tokens: *tokens,
    })
}

/// Requests of a trace with others, drawn at `rates` requests/s by class, among them.
pub(super) fn with_drawn(
    (trace, blocks): (&[Request], Option<&Blocks>),
    rates: &[f64],
    lengths: &[Lengths],
    shape: f64,
    seed: u64,
) -> PyResult<Traffic> {
    check_drawn(rates, lengths, shape)?;
    let drawn = Drawn::new(rates, lengths, shape, random(seed, 0, MIXED));
    let (requests, blocks) = joined(trace, blocks, drawn);
    Ok(Traffic::Replayed { requests, blocks })
}
