//! Operating points in bulk: one replica serving one class, at many rates and prices.
//!
//! A point is (layout, batch limit, class, arrival rate, price, tariff) with throughput, TTFT and
//! TPOT at percentiles, watts, fit and $/Mtok. What rate and prices do not change is prepared once
//! per (layout, batch limit, class) as a [`Curve`]; [`points`] then takes slices of rates and prices
//! and fills slices of results. So sort candidates by layout, batch limit and class, build one curve
//! per group, and call [`points`] once for its rows:
//!
//! ```text
//! let step = StepModel::of(&layout)?;
//! let work = [ClassWork::new(&layout, &step, &class)];
//! let replica = Replica::new(&layout, &step, &work, batch_limit);
//! let curve = Curve::new(&layout, &replica, &class, 0, round_trip_s);
//! points(&curve, wanted, &Inputs { rate_rps, usd_per_gpu_h, usd_per_kwh }, &mut outputs);
//! ```
//!
//! A concurrency becomes a rate by [`Curve::rate_at_concurrency`], a utilisation by `u/curve.load`.
//! Calls go one way: `lanes`, `elementary`, `offer`, `curve` ▸ `waiting`, `block` ▸ `table` ▸ `bulk` (many rows,
//! all threads), and ▸ `front`, `grid` ▸ `search` (what is sought and found) ▸ `walk` (one curve) ▸ `stream`, which
//! searches a grid of points, and `kept`, which works out again what is kept ▸ `session`, which is fed ranges.

pub mod block;
pub mod bulk;
pub mod curve;
pub mod elementary;
pub mod front;
pub mod grid;
pub mod kept;
pub mod lanes;
pub mod names;
pub mod offer;
pub mod search;
pub mod session;
pub mod stream;
pub mod table;
mod waiting;
mod walk;

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

pub use curve::Curve;
pub use names::NAMES;
pub use table::{points, Columns, Inputs};
