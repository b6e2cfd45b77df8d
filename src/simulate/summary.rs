//! A simulated fleet in figures: sums over replications, and means with their intervals.

use serde::Serialize;

use crate::simulate::fleet::{FleetReport, FleetSpec};
use crate::simulate::outcome::{Cell, Conservation, Counts, FleetOutcome};
use crate::simulate::series::{as_columns, Sample};
use crate::simulate::server::Meters;
use crate::simulate::statistics::{estimate, estimates, Estimate};

/// What a simulation of a fleet says.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Seed.
    pub seed: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Replications that the figures are of.
    pub replications: usize,
    /// Those whose backlog grew through the run.
    pub unstable_replications: usize,
    /// Whether these are most of them: latencies are then those of a queue that diverges.
    pub unstable: bool,
    /// Requests in the fleet.
    pub backlog: Estimate,
    /// Measured time, s.
    pub window_s: Estimate,
    /// Engine steps.
    pub steps: u64,
    /// Requests that began again elsewhere.
    pub restarted: u64,
    /// Failures in measured time.
    pub failures: u64,
    /// Every request.
    pub conservation: Conservation,
    /// Measured requests by class.
    pub classes: Vec<ClassSummary>,
    /// Those of all classes together.
    pub all_classes: ClassSummary,
    /// By group.
    pub groups: Vec<GroupSummary>,
    /// What the fleet held over time, in the first replication.
    #[serde(serialize_with = "as_columns")]
    pub series: Vec<Sample>,
}

/// Measured requests of one class: on all sites together, and on each.
#[derive(Debug, Clone, Serialize)]
pub struct ClassSummary {
    /// Came.
    pub arrived: u64,
    /// Were turned away.
    pub rejected: u64,
    /// Were lost with a replica that failed.
    pub lost: u64,
    /// Had not ended when the run did.
    pub unfinished: u64,
    /// Share of those that came, finished within every limit.
    pub attainment: Estimate,
    /// The same for each limit of the workload; 0 where it does not bind.
    pub within: Vec<Estimate>,
    /// On all sites.
    #[serde(flatten)]
    pub all: CellSummary,
    /// On each.
    pub sites: Vec<CellSummary>,
}

/// Measured requests of one class on one site.
#[derive(Debug, Clone, Serialize)]
pub struct CellSummary {
    /// Finished.
    pub finished: u64,
    /// Finished within every limit that binds the class.
    pub good: u64,
    /// Finished, requests/s.
    pub served_per_s: Estimate,
    /// Finished within every limit, requests/s.
    pub good_per_s: Estimate,
    /// Output tokens/s.
    pub tokens_per_s: Estimate,
    /// Output tokens/s of requests within every limit.
    pub good_tokens_per_s: Estimate,
    /// Mean, p50, p90, p95, p99 of the time to first token, round trip included, s.
    pub ttft_s: [Estimate; 5],
    /// The same of the time per output token after the first.
    pub tpot_s: [Estimate; 5],
    /// The same of the whole request.
    pub e2e_s: [Estimate; 5],
}

/// What a group did in measured time.
#[derive(Debug, Clone, Serialize)]
pub struct GroupSummary {
    /// Work done, each sequence charged its part of a full batch: 1 is all there is.
    pub utilisation: Estimate,
    /// Share of time in which a lane runs a step.
    pub busy: Estimate,
    /// Sequences in decode on one replica.
    pub concurrency: Estimate,
    /// Share of the prompt tokens that prefix caches held.
    pub hit_rate: Estimate,
    /// Sequences put back and computed again.
    pub preemptions: u64,
    /// IT watts of all its replicas.
    pub drawn_w: Estimate,
    /// Energy, J.
    pub energy_j: Estimate,
}

impl FleetReport {
    /// The report in figures.
    pub fn summary(&self, fleet: &FleetSpec) -> Summary {
        let outcomes = &self.outcomes;
        let over = |f: &dyn Fn(&FleetOutcome) -> f64| estimate(outcomes.iter().map(f));
        let sum = |f: &dyn Fn(&FleetOutcome) -> u64| outcomes.iter().map(f).sum();
        let unstable = outcomes.iter().filter(|o| o.unstable).count();
        Summary {
            seed: fleet.seed,
            interrupted: self.stopped,
            replications: outcomes.len(),
            unstable_replications: unstable,
            unstable: 2 * unstable > outcomes.len(),
            backlog: over(&|o| o.backlog),
            window_s: over(&|o| o.window_s),
            steps: sum(&|o| o.steps),
            restarted: sum(&|o| o.restarted),
            failures: sum(&|o| o.failures),
            conservation: Conservation {
                counts: outcomes.iter().map(|o| o.all).sum(),
                in_flight: sum(&|o| o.in_flight),
            },
            classes: (0..outcomes[0].measured.len())
                .map(|k| class(outcomes, &[k]))
                .collect(),
            all_classes: class(
                outcomes,
                &(0..outcomes[0].measured.len()).collect::<Vec<_>>(),
            ),
            groups: (0..self.lanes.len())
                .map(|g| self.group(g, fleet.groups[g].replicas as f64))
                .collect(),
            series: outcomes[0].series.clone(),
        }
    }

    fn group(&self, g: usize, replicas: f64) -> GroupSummary {
        let (outcomes, lanes) = (&self.outcomes, self.lanes[g] as f64);
        let over = |f: &dyn Fn(&Meters) -> f64| estimate(outcomes.iter().map(|o| f(&o.meters[g])));
        let per_s = |f: &dyn Fn(&Meters) -> f64| {
            estimate(outcomes.iter().map(|o| f(&o.meters[g]) / o.window_s))
        };
        let joules = || self.energy_j.iter().map(|of_groups| of_groups[g]);
        let watts = outcomes.iter().zip(joules()).map(|(o, j)| j / o.window_s);
        GroupSummary {
            utilisation: per_s(&|m| m.work_s / lanes),
            busy: per_s(&|m| m.busy_s / lanes),
            concurrency: per_s(&|m| m.sequence_s / replicas),
            hit_rate: over(&|m| m.cached_tokens as f64 / m.prompt_tokens as f64),
            preemptions: outcomes.iter().map(|o| o.meters[g].preemptions).sum(),
            drawn_w: estimate(watts),
            energy_j: estimate(joules()),
        }
    }
}

/// Requests of these classes.
fn class(outcomes: &[FleetOutcome], classes: &[usize]) -> ClassSummary {
    let measured = |o: &FleetOutcome| -> Counts { classes.iter().map(|k| o.measured[*k]).sum() };
    let counts: Counts = outcomes.iter().map(measured).sum();
    let on_sites = |o: &FleetOutcome| -> Vec<Cell> {
        let of_site = |site: &Vec<Cell>| merged(classes.iter().map(|k| &site[*k]));
        o.cells.iter().map(of_site).collect()
    };
    let by_site: Vec<Vec<Cell>> = outcomes.iter().map(on_sites).collect();
    let joined: Vec<Cell> = by_site.iter().map(|sites| merged(sites.iter())).collect();
    let share = |good: &dyn Fn(&Cell) -> u64| {
        let judged = outcomes.iter().map(|o| measured(o).judged(o.stopped));
        let shares = joined
            .iter()
            .zip(judged)
            .map(|(c, n)| good(c) as f64 / n as f64);
        estimate(shares)
    };
    let on_site = |site: usize| cell(outcomes, |r| &by_site[r][site]);
    ClassSummary {
        arrived: counts.arrived,
        rejected: counts.rejected,
        lost: counts.lost,
        unfinished: counts.arrived - counts.finished - counts.rejected - counts.lost,
        attainment: share(&|c| c.good),
        within: (0..joined[0].within.len())
            .map(|i| share(&|c| c.within[i]))
            .collect(),
        all: cell(outcomes, |r| &joined[r]),
        sites: (0..outcomes[0].cells.len()).map(on_site).collect(),
    }
}

fn merged<'a>(cells: impl Iterator<Item = &'a Cell>) -> Cell {
    let mut sum = Cell::default();
    cells.for_each(|cell| sum.merge(cell));
    sum
}

/// The cells `of` each replication in figures.
fn cell<'a>(outcomes: &[FleetOutcome], of: impl Fn(usize) -> &'a Cell) -> CellSummary {
    let cells: Vec<&Cell> = (0..outcomes.len()).map(of).collect();
    let rate = |f: &dyn Fn(&Cell) -> u64| {
        let timed = cells.iter().zip(outcomes);
        estimate(timed.map(|(c, o)| f(c) as f64 / o.window_s))
    };
    let times =
        |f: &dyn Fn(&Cell) -> [f64; 5]| estimates(&cells.iter().map(|c| f(c)).collect::<Vec<_>>());
    CellSummary {
        finished: cells.iter().map(|c| c.finished).sum(),
        good: cells.iter().map(|c| c.good).sum(),
        served_per_s: rate(&|c| c.served),
        good_per_s: rate(&|c| c.good),
        tokens_per_s: rate(&|c| c.tokens),
        good_tokens_per_s: rate(&|c| c.good_tokens),
        ttft_s: times(&|c| c.ttft.summary()),
        tpot_s: times(&|c| c.tpot.summary()),
        e2e_s: times(&|c| c.e2e.summary()),
    }
}
