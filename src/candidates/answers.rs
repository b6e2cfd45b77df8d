//! What is answered to rows, and the names of it.

use crate::error::{same_rows, Result};
use crate::points::NAMES;

/// Room for the answers to rows.
#[derive(Debug)]
pub struct Answers<'a> {
    /// [`crate::candidates::Status`] of every row as a number.
    pub status: &'a mut [u8],
    /// In the order of [`ANSWERS`], as long as there are rows.
    pub columns: [Column<'a>; ANSWERS.len()],
}

/// Numbers, and a bit for each that says whether there is one: the first row in the lowest bit.
#[derive(Debug)]
pub struct Column<'a> {
    /// Values; NaN where there is none.
    pub values: &'a mut [f64],
    /// Bits, eight rows in a byte.
    pub valid: &'a mut [u8],
    /// How many have none.
    pub missing: usize,
}

impl<'a> Answers<'a> {
    /// Room for so many rows: a column and its bits for each answer.
    pub fn new(
        rows: usize,
        status: &'a mut [u8],
        columns: [(&'a mut [f64], &'a mut [u8]); ANSWERS.len()],
    ) -> Result<Self> {
        same_rows("layout, status", &[rows, status.len()])?;
        for (name, (values, valid)) in ANSWERS.iter().zip(&columns) {
            let room = values.len().min(8 * valid.len());
            same_rows(format!("layout, room for {name}"), &[rows, room.min(rows)])?;
        }
        let columns = columns.map(|(values, valid)| Column {
            values,
            valid,
            missing: 0,
        });
        Ok(Self { status, columns })
    }
}

impl Column<'_> {
    /// Writes values from a row on whose number is a multiple of eight.
    pub(super) fn write(&mut self, first: usize, values: impl Iterator<Item = f64>) {
        let mut bits = 0_u8;
        let mut end = first;
        for (value, room) in values.zip(&mut self.values[first..]) {
            *room = value;
            let there = !value.is_nan();
            self.missing += usize::from(!there);
            bits |= u8::from(there) << (end % 8);
            end += 1;
            if end % 8 == 0 {
                self.valid[end / 8 - 1] = std::mem::take(&mut bits);
            }
        }
        if end % 8 != 0 {
            self.valid[end / 8] = bits;
        }
    }
}

/// How many of the answers are means of a closed loop: the last ones.
pub const MEANS: usize = 2;

/// Names of the numeric answers: those of a point, without its concurrency, and the means of a
/// closed loop. Throughput and watts are of one replica.
pub const ANSWERS: [&str; 10] = {
    let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, _, cost, _] = NAMES;
    let means = ["ttft_mean_ms", "tpot_mean_ms"];
    [
        tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, "watts", cost, means[0], means[1],
    ]
};
