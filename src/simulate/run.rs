//! The loop of a fleet: the next arrival, the next end of a step, or what happens at a set time.
//!
//! It knows lanes only by what they promise ([`Station`]), so that queues with exact answers run
//! through the same loop.

use std::sync::atomic::{AtomicBool, Ordering};

use rand_pcg::Pcg64;

use crate::simulate::arrivals::exponential;
use crate::simulate::dispatch::Dispatch;
use crate::simulate::judge::Judge;
use crate::simulate::outcome::{Cell, Counts, FleetOutcome};
use crate::simulate::request::{Request, Window};
use crate::simulate::router::Tournament;
use crate::simulate::series::{Sample, Series};
use crate::simulate::server::{Departure, Meters};
use crate::simulate::station::{Entry, Station};
use crate::simulate::statistics::Trend;
use crate::simulate::timers::{Happening, Timers};

/// Samples of the backlog in a run.
const SAMPLES: u64 = 512;
/// A run is unstable when its backlog grows by more than this share of what arrives, and as much of
/// it is not served.
const GROWTH: f64 = 0.05;
/// Events between looks at whether to stop.
const LOOK: u64 = 4096;

/// Failures of replicas.
#[derive(Debug, Clone, Copy)]
pub struct Failures {
    /// Mean time from repair to failure, s; exponential.
    pub mtbf_s: f64,
    /// Mean time from failure to repair, s; exponential.
    pub mttr_s: f64,
    /// Requests of a failed replica begin again elsewhere; else they are lost.
    pub restart: bool,
}

/// A time in which a replica takes no requests, and finishes those it has.
#[derive(Debug, Clone, Copy)]
pub struct Maintenance {
    /// Replica of the fleet.
    pub replica: usize,
    /// Start, s.
    pub from_s: f64,
    /// End, s.
    pub to_s: f64,
}

/// A fleet beside its servers.
#[derive(Debug)]
pub struct Fleet<'a> {
    /// Lanes of each replica: the first, and one past the last.
    pub replicas: Vec<(usize, usize)>,
    /// Rank of each lane: lanes of a rank share its link.
    pub rank_of: Vec<usize>,
    /// Site of each lane.
    pub site_of: Vec<usize>,
    /// What one class is judged by on one site: `judges[site][class]`.
    pub judges: &'a [Vec<Judge>],
    /// Failures, if any.
    pub failures: Option<Failures>,
    /// Maintenance.
    pub maintenance: &'a [Maintenance],
    /// Time between the first samples over time, s.
    pub sample_s: f64,
}

struct Run<'a, S> {
    servers: &'a mut [S],
    fleet: &'a Fleet<'a>,
    dispatch: Dispatch,
    events: Tournament,
    timers: Timers,
    rng: Pcg64,
    window: Window,
    /// When the link of each rank is free again, s.
    links: Vec<f64>,
    transfer_s: &'a dyn Fn(usize, u32) -> f64,
    down: Vec<bool>,
    /// Requests whose cache is on its way to a lane, and their tokens: the lane is chosen, so they count
    /// with what it has.
    coming: Vec<(u64, u64)>,
    /// Requests that no lane could take, and who read their prompts.
    stranded: Vec<(Entry, Option<usize>)>,
    sample_every: u64,
    opened_s: f64,
    closed_s: f64,
    opening: Vec<Meters>,
    groups: usize,
    trend: Trend,
    series: Series,
    open: u64,
    now: f64,
    outcome: FleetOutcome,
}

/// Runs until every measured request is finished, rejected or lost, or `stop` is set. While more
/// requests come, unmeasured, that is at most as long again as the measured ones took to arrive: what is
/// left then is unfinished.
///
/// `transfer_s` is the time that the cache of so many tokens takes from a lane over its link.
///
/// # Panics
/// When requests got lost uncounted: arrived must be finished, rejected, lost or in flight.
#[allow(clippy::too_many_arguments)]
pub fn run<S: Station>(
    servers: &mut [S],
    fleet: &Fleet<'_>,
    dispatch: Dispatch,
    rng: Pcg64,
    source: impl Iterator<Item = Request>,
    window: Window,
    transfer_s: &dyn Fn(usize, u32) -> f64,
    stop: &AtomicBool,
) -> FleetOutcome {
    let lanes = servers.len();
    let groups = 1
        + (0..lanes)
            .map(|lane| dispatch.group_of(lane))
            .max()
            .unwrap_or(0);
    let classes = fleet.judges[0].len();
    let cell = |judge: &Judge| Cell {
        within: vec![0; judge.limits()],
        ..Cell::default()
    };
    let cells = fleet
        .judges
        .iter()
        .map(|site| site.iter().map(cell).collect());
    let ranks = 1 + fleet.rank_of.iter().max().copied().unwrap_or(0);
    let mut run = Run {
        servers,
        fleet,
        dispatch,
        events: Tournament::new(lanes, f64::INFINITY.to_bits()),
        timers: Timers::default(),
        rng,
        window,
        links: vec![0.0; ranks],
        transfer_s,
        down: vec![false; fleet.replicas.len()],
        coming: vec![(0, 0); lanes],
        stranded: Vec::new(),
        sample_every: ((window.last - window.first) / SAMPLES).max(1),
        opened_s: f64::NAN,
        closed_s: f64::NAN,
        opening: vec![Meters::default(); groups],
        groups,
        trend: Trend::default(),
        series: Series::new(fleet.sample_s),
        open: window.last - window.first,
        now: 0.0,
        outcome: FleetOutcome {
            cells: cells.collect(),
            measured: vec![Counts::default(); classes],
            all: Counts::default(),
            in_flight: 0,
            restarted: 0,
            failures: 0,
            window_s: 0.0,
            meters: vec![Meters::default(); groups],
            steps: 0,
            backlog: 0.0,
            unstable: false,
            stopped: false,
            series: Vec::new(),
        },
    };
    run.set_timers();
    run.events(source, stop);
    run.finish()
}

impl<S: Station> Run<'_, S> {
    fn set_timers(&mut self) {
        for replica in 0..self.fleet.replicas.len() {
            self.set_failure(replica);
        }
        for m in self.fleet.maintenance {
            self.timers.set(m.from_s, Happening::Closes(m.replica));
            self.timers.set(m.to_s, Happening::Opens(m.replica));
        }
    }

    fn set_failure(&mut self, replica: usize) {
        if let Some(failures) = self.fleet.failures {
            let after = failures.mtbf_s * exponential(&mut self.rng);
            self.timers.set(self.now + after, Happening::Fails(replica));
        }
    }

    fn events(&mut self, mut source: impl Iterator<Item = Request>, stop: &AtomicBool) {
        let (mut done, mut handed) = (Vec::new(), Vec::new());
        let mut deadline = f64::INFINITY;
        let mut coming = source.next();
        let mut looked = 0;
        while self.open > 0 {
            looked += 1;
            if looked % LOOK == 0 && stop.load(Ordering::Relaxed) {
                self.outcome.stopped = true;
                break;
            }
            let (lane, bits) = self.events.least();
            let event = f64::from_bits(bits);
            let arrival = coming.map_or(f64::INFINITY, |r| r.arrived_s);
            let timer = self.timers.next_s();
            let next = event.min(arrival).min(timer);
            if next > deadline || next == f64::INFINITY || self.at_rest(event, arrival) {
                break;
            }
            while self.series.next_s() <= next {
                self.sample();
            }
            self.now = next;
            // At equal times a step ends before a request comes.
            if event <= arrival && event <= timer {
                self.servers[lane].fire(&mut done);
                done.drain(..).for_each(|d| self.depart(lane, &d));
                self.settle(lane);
                self.servers[lane].handed(&mut handed);
                handed
                    .drain(..)
                    .for_each(|request| self.transfer(lane, request));
            } else if timer <= arrival {
                self.happen();
            } else if let Some(request) = coming {
                coming = source.next();
                self.arrive(request);
                if request.index + 1 == self.window.last {
                    self.close();
                    if coming.is_some() {
                        deadline = next + self.outcome.window_s;
                    }
                }
            }
        }
    }

    /// Whether nothing is left but failures and repairs that concern nobody.
    fn at_rest(&self, event: f64, arrival: f64) -> bool {
        event == f64::INFINITY
            && arrival == f64::INFINITY
            && self.stranded.is_empty()
            && self.timers.in_transfer() == 0
    }

    fn measured(&self, request: &Request) -> bool {
        (self.window.first..self.window.last).contains(&request.index)
    }

    fn settle(&mut self, lane: usize) {
        let server = &self.servers[lane];
        let (requests, tokens) = self.coming[lane];
        self.events.set(lane, server.next_s().to_bits());
        self.dispatch
            .update(lane, server.requests() + requests, server.tokens() + tokens);
    }

    fn arrive(&mut self, request: Request) {
        if request.index == self.window.first {
            self.opened_s = self.now;
            self.opening = self.meters();
        }
        self.outcome.all.arrived += 1;
        if self.measured(&request) {
            self.outcome.measured[request.class as usize].arrived += 1;
            if request.index % self.sample_every == 0 {
                let all = self.outcome.all;
                let backlog = all.arrived - all.finished - all.rejected - all.lost;
                self.trend.add(request.arrived_s, backlog as f64);
            }
        }
        self.place(Entry::new(request), None);
    }

    /// Finds a lane for a request, or for an answer to a prompt that a group of `partner` read.
    fn place(&mut self, entry: Entry, partner: Option<usize>) {
        match self.dispatch.choose(entry.request.class as usize, partner) {
            Some(lane) => self.enter(lane, entry),
            None => self.stranded.push((entry, partner)),
        }
    }

    fn enter(&mut self, lane: usize, entry: Entry) {
        if !self.servers[lane].enter(Entry {
            now_s: self.now,
            ..entry
        }) {
            self.drop(&entry.request, false);
        }
        self.settle(lane);
    }

    /// A request ends without an answer.
    fn drop(&mut self, request: &Request, lost: bool) {
        let measured = self.measured(request);
        let count = |c: &mut Counts| match lost {
            true => c.lost += 1,
            false => c.rejected += 1,
        };
        count(&mut self.outcome.all);
        if measured {
            count(&mut self.outcome.measured[request.class as usize]);
            self.open -= 1;
        }
    }

    /// A prompt's cache goes over the link of its rank and that of the lane chosen for its answer, when
    /// both are free: first come, first served.
    fn transfer(&mut self, from: usize, request: Request) {
        let entry = Entry {
            read: request.input,
            ..Entry::new(request)
        };
        let partner = Some(self.dispatch.partner_of(from));
        let Some(lane) = self.dispatch.choose(request.class as usize, partner) else {
            self.stranded.push((entry, partner));
            return;
        };
        let (a, b) = (self.fleet.rank_of[from], self.fleet.rank_of[lane]);
        let start = self.now.max(self.links[a]).max(self.links[b]);
        let takes = |at: usize| (self.transfer_s)(at, request.input);
        let end = start + takes(from).max(takes(lane));
        (self.links[a], self.links[b]) = (end, end);
        self.timers.set(end, Happening::Transferred(lane, entry));
        let (requests, tokens) = self.coming[lane];
        self.coming[lane] = (requests + 1, tokens + request.tokens());
        self.settle(lane);
    }

    /// A prompt's cache has come to a lane, which may have closed meanwhile.
    fn transferred(&mut self, lane: usize, entry: Entry) {
        let (requests, tokens) = self.coming[lane];
        self.coming[lane] = (requests - 1, tokens - entry.request.tokens());
        if self.dispatch.is_open(lane) {
            self.enter(lane, entry);
        } else {
            self.settle(lane);
            self.place(entry, Some(self.dispatch.partner_of(lane)));
        }
    }

    fn happen(&mut self) {
        match self.timers.take() {
            Some(Happening::Transferred(lane, entry)) => self.transferred(lane, entry),
            Some(Happening::Fails(replica)) => self.fail(replica),
            Some(Happening::Repaired(replica)) => {
                self.down[replica] = false;
                self.set_failure(replica);
                self.open_lanes(replica);
            }
            Some(Happening::Closes(replica)) => self.close_lanes(replica),
            Some(Happening::Opens(replica)) => self.open_lanes(replica),
            None => {}
        }
    }

    fn close_lanes(&mut self, replica: usize) {
        let (first, last) = self.fleet.replicas[replica];
        (first..last).for_each(|lane| self.dispatch.close(lane));
    }

    fn open_lanes(&mut self, replica: usize) {
        let (first, last) = self.fleet.replicas[replica];
        (first..last).for_each(|lane| self.dispatch.open(lane));
        for (entry, partner) in std::mem::take(&mut self.stranded) {
            self.place(entry, partner);
        }
    }

    fn fail(&mut self, replica: usize) {
        let Some(failures) = self.fleet.failures else {
            return;
        };
        self.down[replica] = true;
        self.outcome.failures += u64::from(self.closed_s.is_nan() && !self.opened_s.is_nan());
        let after = failures.mttr_s * exponential(&mut self.rng);
        self.timers
            .set(self.now + after, Happening::Repaired(replica));
        self.close_lanes(replica);
        let mut entries = Vec::new();
        let (first, last) = self.fleet.replicas[replica];
        for lane in first..last {
            self.servers[lane].halt(&mut entries);
            self.settle(lane);
        }
        for entry in entries {
            if failures.restart {
                self.outcome.restarted += 1;
                self.place(entry, None);
            } else {
                self.drop(&entry.request, true);
            }
        }
    }

    /// Folds a finished request into the statistics.
    fn depart(&mut self, lane: usize, d: &Departure) {
        let (site, class) = (self.fleet.site_of[lane], d.request.class as usize);
        let measured = self.measured(&d.request);
        let cell = &mut self.outcome.cells[site][class];
        self.outcome.all.finished += 1;
        if self.now >= self.opened_s && self.closed_s.is_nan() {
            cell.served += 1;
        }
        if !measured {
            return;
        }
        self.open -= 1;
        self.outcome.measured[class].finished += 1;
        let judge = &self.fleet.judges[site][class];
        let late_s = d.late_s + judge.shift_s;
        let ttft_s = d.first_s - d.request.arrived_s + late_s;
        let e2e_s = d.end_s - d.request.arrived_s + late_s;
        let later = f64::from(d.request.output - 1);
        let tpot_s = (later > 0.0).then(|| (d.end_s - d.first_s) / later);
        cell.finished += 1;
        cell.tokens += u64::from(d.request.output);
        cell.ttft.add(ttft_s);
        cell.e2e.add(e2e_s);
        if let Some(tpot_s) = tpot_s {
            cell.tpot.add(tpot_s);
        }
        if judge.meets(ttft_s, tpot_s, e2e_s, &mut cell.within) {
            cell.good += 1;
            cell.good_tokens += u64::from(d.request.output);
        }
    }

    fn meters(&self) -> Vec<Meters> {
        let mut meters = vec![Meters::default(); self.groups];
        for (lane, server) in self.servers.iter().enumerate() {
            meters[self.dispatch.group_of(lane)].add(server.meters());
        }
        meters
    }

    fn sample(&mut self) {
        let mut sample = Sample::default();
        for server in self.servers.iter() {
            let o = server.occupancy();
            sample.waiting += o.waiting as f64;
            sample.running += o.running as f64;
            sample.cache_share += o.cache_share / self.servers.len() as f64;
        }
        sample.replicas_up = self.down.iter().filter(|down| !**down).count() as f64;
        self.series.add(sample);
    }

    /// The last measured request has come.
    fn close(&mut self) {
        self.closed_s = self.now;
        self.measure_window();
        let came: u64 = self
            .outcome
            .measured
            .iter()
            .map(|c| c.arrived - c.rejected)
            .sum();
        let cells = self.outcome.cells.iter().flatten();
        let served: u64 = cells.map(|cell| cell.served).sum();
        let came = came as f64;
        let grown = self.trend.slope() * self.outcome.window_s;
        self.outcome.unstable = grown > GROWTH * came && (served as f64) < (1.0 - GROWTH) * came;
    }

    fn measure_window(&mut self) {
        if self.opened_s.is_nan() {
            return;
        }
        self.outcome.window_s = self.now - self.opened_s;
        let meters = self.meters().into_iter().zip(&self.opening);
        self.outcome.meters = meters.map(|(now, opening)| now.since(*opening)).collect();
        self.outcome.backlog = self.trend.mean();
    }

    fn finish(mut self) -> FleetOutcome {
        if self.closed_s.is_nan() {
            self.measure_window();
        }
        self.outcome.steps = self.meters().iter().map(|m| m.steps).sum();
        let inside: u64 = self.servers.iter().map(|server| server.requests()).sum();
        let moving = self.timers.in_transfer() + self.stranded.len() as u64;
        self.outcome.in_flight = inside + moving;
        self.outcome.series = std::mem::take(&mut self.series.samples);
        let all = self.outcome.all;
        assert_eq!(
            all.arrived,
            all.finished + all.rejected + all.lost + self.outcome.in_flight,
            "every request is finished, rejected, lost or in flight"
        );
        self.outcome
    }
}
