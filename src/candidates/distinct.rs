//! Rows of codes that are equal.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use rustc_hash::FxBuildHasher;

use crate::error::{same_rows, within, Result};

/// Distinct rows of code columns: the first row of each, and for every row which one it is.
///
/// # Errors
/// Columns of different lengths, or too many of them.
pub fn distinct_rows(columns: &[&[u32]]) -> Result<(Vec<u32>, Vec<u32>)> {
    let lengths: Vec<usize> = columns.iter().map(|codes| codes.len()).collect();
    same_rows("columns of codes", &lengths)?;
    let most = MOST_CODES as f64 + 1.0;
    within(
        "columns of codes",
        lengths.len() as f64,
        0.0..most,
        "at most 12",
    )?;
    Ok(distinct(columns, lengths.first().copied().unwrap_or(0)))
}

fn distinct(columns: &[&[u32]], len: usize) -> (Vec<u32>, Vec<u32>) {
    if let Some(strides) = strides(columns) {
        return distinct_numbers(columns, &strides, len);
    }
    let mut index: HashMap<Codes, u32, FxBuildHasher> = HashMap::default();
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

/// Most numbers that code columns may be read as for a table of them.
const MOST_NUMBERS: u64 = 1 << 20;

/// Strides that read a row of codes as one small number; the last is how many numbers there are.
fn strides(columns: &[&[u32]]) -> Option<Vec<u32>> {
    let mut strides = vec![1];
    let mut stride: u64 = 1;
    for codes in columns {
        stride *= u64::from(codes.iter().copied().max().unwrap_or(0)) + 1;
        if stride > MOST_NUMBERS {
            return None;
        }
        strides.push(stride as u32);
    }
    Some(strides)
}

/// [`distinct_rows`] by a table of all numbers.
fn distinct_numbers(columns: &[&[u32]], strides: &[u32], len: usize) -> (Vec<u32>, Vec<u32>) {
    const NONE: u32 = u32::MAX;
    let mut of_row = vec![0; len];
    for (codes, stride) in columns.iter().zip(strides) {
        for (number, code) in of_row.iter_mut().zip(*codes) {
            *number += code * stride;
        }
    }
    let mut known = vec![NONE; strides.last().map_or(1, |numbers| *numbers as usize)];
    let mut firsts = Vec::new();
    for (row, number) in of_row.iter_mut().enumerate() {
        let place = &mut known[*number as usize];
        if *place == NONE {
            *place = firsts.len() as u32;
            firsts.push(row as u32);
        }
        *number = *place;
    }
    (firsts, of_row)
}

/// Most columns of [`distinct_rows`].
const MOST_CODES: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Codes([u32; MOST_CODES]);

impl Hash for Codes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for pair in self.0.chunks_exact(2) {
            state.write_u64(u64::from(pair[0]) << 32 | u64::from(pair[1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_rows_by_table_and_by_hash() {
        let few = [3, 0, 3, 3, 7, 0];
        let other = [1, 1, 1, 2, 1, 1];
        // As a small number, and with a code so large that no table holds it.
        for far in [9, 1 << 30] {
            let last = [0, 0, 0, 0, far, 0];
            let (firsts, of_row) = distinct_rows(&[&few, &other, &last]).unwrap();
            assert_eq!(firsts, [0, 1, 3, 4]);
            assert_eq!(of_row, [0, 1, 0, 2, 3, 1]);
        }
        assert_eq!(distinct_rows(&[&[], &[]]).unwrap(), (vec![], vec![]));
        assert!(distinct_rows(&[&[1], &[1, 2]]).is_err());
    }
}
