//! Performance of a layout: pure functions of a layout and a batch composition.
//!
//! Calls go one way: `operators` (time of one kernel) ▸ `layout` (which shapes a layout runs) ▸
//! `operator_tables`, `attention` (what a step is made of) ▸ `step` (time of one engine step) ▸ `replica` (requests on a replica: load, energy) ▸ `prompt`
//! (times of prompts), `queue` (tails of waiting), `among` (several behind a router), `late`
//! (percentiles) ▸ `latency` (all that requests feel) ▸ `mixture` (percentiles of classes together) ▸
//! `limits` (capacity) ▸ `benchmark` (the most a layout serves); `memory` and `closed_loop` read
//! `step`, `pool_loop` both.

pub mod among;
pub mod attention;
pub mod benchmark;
pub mod closed_loop;
pub mod factors;
pub mod late;
pub mod latency;
pub mod layout;
pub mod limits;
pub mod memory;
pub mod mixture;
pub mod operator_tables;
pub mod operators;
pub mod parallel;
pub mod pool_loop;
pub mod prompt;
pub mod queue;
pub mod replica;
pub mod role;
pub mod step;
