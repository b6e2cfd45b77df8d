//! Candidates as rows of a file: each names its layout, lengths, load and prices.
//!
//! Rows that share layout, lengths and batch limit share one [`Curve`](crate::points::Curve), so they
//! are brought together first; rates and prices are then worked out in bulk. A row does not depend on
//! its neighbours: any cut of the rows gives the same answers.
//!
//! - Open loop (`rate_rps`): the point of [`crate::points`] at that arrival rate per replica.
//! - Closed loop (`concurrency`): means and throughput of a benchmark that holds so many requests in
//!   flight ([`crate::perf::closed_loop`]). Its percentiles are those of the open loop at the same requests/s: what
//!   users would see if the same requests came at random. Where that rate is above the capacity of
//!   the open loop there are none.
//!
//! Calls go one way: `rows`, `prepared`, `answers` ▸ `groups`, `bench` ▸ `evaluate`; `distinct` stands alone.

mod answers;
mod bench;
mod distinct;
mod evaluate;
mod groups;
mod prepared;
mod rows;

pub use answers::{Answers, Column, ANSWERS};
pub use distinct::distinct_rows;
pub use evaluate::Evaluator;
pub use prepared::Prepared;
pub use rows::{Rows, Status, BLANK, NUMBERS};
