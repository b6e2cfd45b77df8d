//! Requests of a simulation from arrays.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use crate::error::Result;
use crate::simulate::arrivals::{self, Lengths};
use crate::simulate::prefix::Blocks;
use crate::simulate::request::Request;

type Real<'py> = PyReadonlyArray1<'py, f64>;
type Whole<'py> = PyReadonlyArray1<'py, u32>;
type Long<'py> = PyReadonlyArray1<'py, u64>;

/// Input and output tokens to draw from, for each class.
pub(super) type Pairs<'py> = Vec<(Whole<'py>, Whole<'py>)>;
/// Arrival times (s), classes, input and output tokens.
pub(super) type Trace<'py> = (Real<'py>, Whole<'py>, Whole<'py>, Whole<'py>);
/// Hashes of blocks, where those of each row begin, tokens in a block.
pub(super) type Hashes<'py> = (Long<'py>, Long<'py>, u32);

pub(super) fn drawn_lengths(pairs: &Pairs<'_>, hit_rates: &[f64]) -> PyResult<Vec<Lengths>> {
    let one = |(k, (input, output)): (usize, &(Whole<'_>, Whole<'_>))| {
        let (input, output) = (input.as_slice()?, output.as_slice()?);
        Ok(Lengths::of_class(k, input, output, hit_rates)?)
    };
    pairs.iter().enumerate().map(one).collect()
}

/// Rows of a trace with the blocks of their prompts.
pub(super) fn traced(
    (times, classes, inputs, outputs): &Trace<'_>,
    hashes: Option<&Hashes<'_>>,
    hit_rates: &[f64],
) -> PyResult<(Vec<Request>, Option<Blocks>)> {
    let rows = arrivals::Trace {
        times_s: times.as_slice()?,
        classes: classes.as_slice()?,
        inputs: inputs.as_slice()?,
        outputs: outputs.as_slice()?,
    };
    let blocks = hashes.map(|(ids, starts, tokens)| -> PyResult<Result<Blocks>> {
        Ok(Blocks::new(ids.as_slice()?, starts.as_slice()?, *tokens))
    });
    let blocks = blocks.transpose()?.transpose()?;
    Ok((rows.requests(hit_rates, blocks.is_some())?, blocks))
}
