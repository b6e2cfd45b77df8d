//! What is answered to rows, and the names of it.

use crate::points::NAMES;

/// Answers as columns.
#[derive(Debug, Clone)]
pub struct Answers {
    /// [`Status`] of every row as a number.
    pub status: Vec<u8>,
    /// In the order of [`ANSWERS`], of the rows that are not rejected; NaN where one has none.
    pub columns: [Vec<f64>; ANSWERS.len()],
}

/// Names of the numeric answers: those of a point, without its concurrency, and the means of a
/// closed loop. Throughput and watts are of one replica.
pub const ANSWERS: [&str; 10] = {
    let [tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, _, cost, _] = NAMES;
    let means = ["ttft_mean_ms", "tpot_mean_ms"];
    [
        tokens, tokens_gpu, ttft_50, ttft_99, tpot_50, tpot_99, "watts", cost, means[0], means[1],
    ]
};
