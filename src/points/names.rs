//! Names of what a point has, one for each column: the only list, which Python reads too.

/// In the order of [`crate::points::Columns`]. Times are in ms there and in s here.
pub const NAMES: [&str; 9] = [
    "output_tokens_per_s",
    "output_tokens_per_s_per_gpu",
    "ttft_p50_ms",
    "ttft_p99_ms",
    "tpot_p50_ms",
    "tpot_p99_ms",
    "drawn_w",
    "cost_per_mtok_output_usd",
    "concurrency",
];
