//! # tokenfleet core
//!
//! For every workload, the cheapest way to make its tokens is hidden among millions of
//! configurations: system × engine × precision × parallelism × speculation × role × batch limit ×
//! admitted request classes. This crate evaluates them and keeps those that a plan could want.
//!
//! For configuration c and request class k it computes
//!
//! - `load[c,k]`, replica-seconds per request, and `cap[c]`, the utilisation up to which every
//!   latency limit of every admitted class holds for **every** mix of them;
//! - joules per request above idle, and whether the weights and caches fit;
//! - the yearly cost of the systems below them, itemised.
//!
//! | symbol | code | unit |
//! |---|---|---|
//! | `τ(n)` time of a decode step with n sequences | [`perf::replica::Replica::tau`] | s |
//! | `P` prompt work of a request | [`perf::replica::ClassTimes::prompt_s`] | s |
//! | `load` | [`perf::replica::ClassTimes::load`] | s |
//! | `cap` | [`perf::limits::Limits::capacity`] | – |
//! | `P(W > t)` tail of waiting | [`perf::queue::Tail`] | – |
//!
//! Data go one way: [`catalog`], [`workload`] ▸ [`validate`] ▸ [`space`] ▸ [`perf`] ▸ [`evaluate`] ▸ [`search`] ▸ [`prune`];
//! [`simulate`] judges a layout by discrete events; [`tco`] stands apart. Only the `python` module knows Python.

pub mod candidates;
pub mod catalog;
pub mod checksum;
pub mod error;
pub mod evaluate;
pub mod fleets;
pub mod labels;
pub mod perf;
pub mod points;
pub mod prune;
pub mod search;
pub mod simulate;
pub mod space;
pub mod splice;
pub mod tco;
pub mod validate;
pub mod workload;

#[cfg(feature = "python")]
mod python;
