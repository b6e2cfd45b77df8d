//! Many operating points of one curve: checked, and worked out in pieces by all threads of a pool.

use rayon::prelude::*;

use crate::error::{not_negative, same_rows, Result};
use crate::points::curve::Curve;
use crate::points::table::{points_in, Inputs};

/// Rows that a thread works out at once.
const CHUNK: usize = 1 << 15;
/// Latencies are in ms.
const MS: f64 = 1e3;

/// Fills `out`, in the order of [`crate::points::NAMES`] with times in ms, on the current rayon pool.
///
/// # Errors
/// Columns of different lengths, or an input that is not finite or below 0; nothing is written then.
pub fn fill(curve: &Curve, inputs: &Inputs, out: [&mut [f64]; 9]) -> Result<()> {
    let named = [
        ("rate_rps", inputs.rate_rps),
        ("usd_per_gpu_h", inputs.usd_per_gpu_h),
        ("usd_per_kwh", inputs.usd_per_kwh),
    ];
    let lengths = named.map(|(_, values)| values.len());
    same_rows("rate_rps, usd_per_gpu_h, usd_per_kwh", &lengths)?;
    same_rows("rate_rps, out", &[lengths[0], out[0].len()])?;
    for (name, values) in named {
        first_wrong(values).map_or(Ok(()), |bad| not_negative(name, bad))?;
    }
    chunks(out)
        .into_par_iter()
        .enumerate()
        .for_each(|(i, out)| {
            let rows = i * CHUNK..i * CHUNK + out[0].len();
            fill_chunk(curve, &inputs.rows(rows), out);
        });
    Ok(())
}

/// [`fill`] without checks, on this thread.
pub(super) fn fill_chunk(curve: &Curve, inputs: &Inputs, out: [&mut [f64]; 9]) {
    points_in(curve, inputs, &mut out.into(), MS);
}

/// Columns cut into chunks of rows.
fn chunks(columns: [&mut [f64]; 9]) -> Vec<[&mut [f64]; 9]> {
    let mut columns = columns.map(|column| column.chunks_mut(CHUNK));
    let count = columns[0].len();
    let mut next = || columns.each_mut().map(|c| c.next().unwrap_or_default());
    (0..count).map(|_| next()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_number_is_found_wherever_it_is() {
        for place in [0, 1023, 1024, CHUNK - 1, CHUNK, 2 * CHUNK + 5] {
            for bad in [-1.0, f64::INFINITY, f64::NEG_INFINITY] {
                let mut values = vec![1.0; 2 * CHUNK + 7];
                assert_eq!(first_wrong(&values), None);
                values[place] = bad;
                values[2 * CHUNK + 6] = -2.0;
                assert_eq!(first_wrong(&values), Some(bad));
            }
        }
        assert!(first_wrong(&[0.0, f64::NAN]).is_some_and(f64::is_nan));
    }

    #[test]
    fn chunks_cover_every_row_of_every_column_once() {
        for len in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut columns = vec![vec![0.0; len]; 9];
            let mut each = columns.iter_mut().map(Vec::as_mut_slice);
            let pieces = chunks(std::array::from_fn(|_| each.next().unwrap()));
            for (i, piece) in pieces.into_iter().enumerate() {
                for (c, column) in piece.into_iter().enumerate() {
                    column
                        .iter_mut()
                        .for_each(|v| *v += (10 * i + c) as f64 + 1.0);
                }
            }
            for (c, column) in columns.iter().enumerate() {
                let expected = (0..len).map(|row| (10 * (row / CHUNK) + c) as f64 + 1.0);
                assert!(column.iter().copied().eq(expected));
            }
        }
    }
}
