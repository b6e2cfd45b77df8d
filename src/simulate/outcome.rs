//! What became of the requests of a run.

use std::iter::Sum;

use serde::Serialize;

use crate::simulate::series::Sample;
use crate::simulate::server::Meters;
use crate::simulate::statistics::Histogram;

/// Measured requests of one class on one site.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// Finished.
    pub finished: u64,
    /// Finished between the first and the last measured arrival, whoever they were.
    pub served: u64,
    /// Finished within every limit that binds the class.
    pub good: u64,
    /// Output tokens of those.
    pub good_tokens: u64,
    /// Output tokens of all finished.
    pub tokens: u64,
    /// Finished within each limit of the workload; 0 where it does not bind.
    pub within: Vec<u64>,
    /// Time to first token.
    pub ttft: Histogram,
    /// Time per output token after the first.
    pub tpot: Histogram,
    /// Whole request.
    pub e2e: Histogram,
}

impl Cell {
    /// Joins what another site saw of the class.
    pub fn merge(&mut self, other: &Self) {
        self.finished += other.finished;
        self.served += other.served;
        self.good += other.good;
        self.good_tokens += other.good_tokens;
        self.tokens += other.tokens;
        self.within
            .resize(other.within.len().max(self.within.len()), 0);
        for (sum, count) in self.within.iter_mut().zip(&other.within) {
            *sum += count;
        }
        self.ttft.merge(&other.ttft);
        self.tpot.merge(&other.tpot);
        self.e2e.merge(&other.e2e);
    }
}

/// Counts of requests, of one class if measured or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Came.
    pub arrived: u64,
    /// Were finished.
    pub finished: u64,
    /// Were turned away.
    pub rejected: u64,
    /// Were lost with a replica that failed.
    pub lost: u64,
}

impl Counts {
    /// What shares of good requests are shares of: all that came, or, in a run that was stopped, all
    /// that ended.
    pub fn judged(&self, stopped: bool) -> u64 {
        match stopped {
            true => self.finished + self.rejected + self.lost,
            false => self.arrived,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, c| Self {
            arrived: sum.arrived + c.arrived,
            finished: sum.finished + c.finished,
            rejected: sum.rejected + c.rejected,
            lost: sum.lost + c.lost,
        })
    }
}

/// Every request of all replications, measured or not: `arrived` is the sum of the others, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Conservation {
    /// What became of them.
    #[serde(flatten)]
    pub counts: Counts,
    /// Still in the fleet when the run ended, counted there.
    pub in_flight: u64,
}

/// One replication.
#[derive(Debug, Clone)]
pub struct FleetOutcome {
    /// Measured requests by site and class, sites first.
    pub cells: Vec<Vec<Cell>>,
    /// Measured requests by class.
    pub measured: Vec<Counts>,
    /// Every request, measured or not.
    pub all: Counts,
    /// Still in the fleet when the run ended, counted there.
    pub in_flight: u64,
    /// Requests that began again elsewhere.
    pub restarted: u64,
    /// Failures in measured time.
    pub failures: u64,
    /// Time from the first to the last measured arrival, s.
    pub window_s: f64,
    /// What lanes counted in that time, by group.
    pub meters: Vec<Meters>,
    /// Steps of the whole run.
    pub steps: u64,
    /// Requests in the fleet over that time.
    pub backlog: f64,
    /// The backlog grew through the run, and less was served than came.
    pub unstable: bool,
    /// The run was stopped before its end.
    pub stopped: bool,
    /// What the fleet held over time.
    pub series: Vec<Sample>,
}

/// Runs that came to their end, where there is one; else all.
pub fn complete<T>(runs: Vec<T>, stopped: impl Fn(&T) -> bool) -> Vec<T> {
    if runs.iter().all(&stopped) {
        return runs;
    }
    runs.into_iter().filter(|run| !stopped(run)).collect()
}
