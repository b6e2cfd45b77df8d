//! One group of servers behind one rule.

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::simulate::arrivals::random;
use crate::simulate::dispatch::{Choice, Dispatch, Group, Stage};
use crate::simulate::judge::Judge;
use crate::simulate::outcome::{Cell, Counts, FleetOutcome};
use crate::simulate::request::{Request, Window};
use crate::simulate::router::Rule;
use crate::simulate::run::{run, Fleet};
use crate::simulate::series::Sample;
use crate::simulate::server::Meters;
use crate::simulate::station::Station;
use crate::simulate::statistics::Histogram;

/// How a run is watched.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// Time between the first samples over time, s.
    pub sample_s: f64,
    /// Ends the run when it is set.
    pub stop: &'a AtomicBool,
}

impl Default for Watch<'static> {
    /// One sample, at the start, and no end before the last request.
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self {
            sample_s: f64::INFINITY,
            stop: &NEVER,
        }
    }
}

/// What became of the measured requests of one class.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClassOutcome {
    /// Measured requests.
    pub arrived: u64,
    /// Those that shares of good ones are shares of: all that arrived, or, in a run that was stopped,
    /// all that ended.
    pub judged: u64,
    /// Of these, finished.
    pub finished: u64,
    /// Of these, turned away.
    pub rejected: u64,
    /// Finished between the first and the last measured arrival, whoever they were.
    #[serde(skip)]
    pub served: u64,
    /// Of the measured ones, finished within every limit that binds the class.
    pub good: u64,
    /// Of the measured ones, finished within each limit of the workload; 0 where it does not bind.
    pub within: Vec<u64>,
    /// Time to first token.
    #[serde(skip)]
    pub ttft: Histogram,
    /// Time per output token after the first.
    #[serde(skip)]
    pub tpot: Histogram,
    /// Whole request.
    #[serde(skip)]
    pub e2e: Histogram,
}

impl ClassOutcome {
    fn new(counts: Counts, cell: Cell, stopped: bool) -> Self {
        Self {
            arrived: counts.arrived,
            judged: counts.judged(stopped),
            finished: counts.finished,
            rejected: counts.rejected,
            served: cell.served,
            good: cell.good,
            within: cell.within,
            ttft: cell.ttft,
            tpot: cell.tpot,
            e2e: cell.e2e,
        }
    }
}

/// One replication.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// By class.
    pub classes: Vec<ClassOutcome>,
    /// Every request that came, measured or not.
    pub arrived: u64,
    /// Every one that was finished.
    pub finished: u64,
    /// Every one that was turned away.
    pub rejected: u64,
    /// Still in the servers when the run ended, counted there.
    pub in_flight: u64,
    /// Time from the first to the last measured arrival, s.
    pub window_s: f64,
    /// What the servers counted in that time.
    pub meters: Meters,
    /// Steps of the whole run.
    pub steps: u64,
    /// Requests in the servers over that time.
    pub backlog: f64,
    /// The backlog grew through the run, and less was served than came.
    pub unstable: bool,
    /// The run was stopped before its end.
    pub stopped: bool,
    /// What the servers held over time.
    pub series: Vec<Sample>,
}

impl Outcome {
    /// `amount` per second of measured time; NaN when that is none, as with a single request.
    pub fn per_s(&self, amount: f64) -> f64 {
        if self.window_s > 0.0 {
            amount / self.window_s
        } else {
            f64::NAN
        }
    }
}

/// Runs replicas of so many lanes each behind one rule, as [`crate::simulate::run::run`] runs a fleet.
pub fn run_group<S: Station>(
    servers: &mut [S],
    lanes: usize,
    rule: Rule,
    source: impl Iterator<Item = Request>,
    window: Window,
    judges: &[Judge],
    watch: Watch<'_>,
) -> Outcome {
    let count = servers.len();
    let shares = vec![1.0; judges.len()];
    let groups = vec![Group::new(Stage::Whole, 0, count, 1.0, shares)];
    // Nothing is drawn: there is one group, and no replica fails.
    let none = || random(0, 0, 0);
    let dispatch = Dispatch::new(groups, Choice::Best, rule, none());
    let judges = [judges.to_vec()];
    let fleet = Fleet {
        replicas: (0..count).step_by(lanes).map(|i| (i, i + lanes)).collect(),
        rank_of: (0..count).collect(),
        site_of: vec![0; count],
        judges: &judges,
        failures: None,
        maintenance: &[],
        sample_s: watch.sample_s,
    };
    let link = |_: usize, _: u32| f64::INFINITY;
    run(
        servers,
        &fleet,
        dispatch,
        none(),
        source,
        window,
        &link,
        watch.stop,
    )
    .into()
}

impl From<FleetOutcome> for Outcome {
    fn from(mut fleet: FleetOutcome) -> Self {
        let cells = fleet.cells.swap_remove(0);
        let classes = fleet.measured.into_iter().zip(cells);
        Self {
            classes: classes
                .map(|(n, cell)| ClassOutcome::new(n, cell, fleet.stopped))
                .collect(),
            arrived: fleet.all.arrived,
            finished: fleet.all.finished,
            rejected: fleet.all.rejected,
            in_flight: fleet.in_flight,
            window_s: fleet.window_s,
            meters: fleet.meters[0],
            steps: fleet.steps,
            backlog: fleet.backlog,
            unstable: fleet.unstable,
            stopped: fleet.stopped,
            series: fleet.series,
        }
    }
}
