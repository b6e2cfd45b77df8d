//! The loop: the next arrival or the next end of a step, whichever comes first. It knows lanes only by
//! what they promise ([`Server`]), so queues with exact answers run through the same loop.

use crate::simulate::arrivals::Request;
use crate::simulate::judge::Judge;
use crate::simulate::router::{Router, Rule, Tournament};
use crate::simulate::statistics::{Histogram, Trend};

/// Samples of the backlog in a run.
const SAMPLES: u64 = 512;
/// A run is unstable when its backlog grows by more than this share of what arrives, and as much of
/// it is not served.
const GROWTH: f64 = 0.05;

/// A request that is finished.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    /// The request.
    pub request: Request,
    /// First token, s.
    pub first_s: f64,
    /// Last token, s.
    pub end_s: f64,
    /// Added to both on the way to the user, s.
    pub late_s: f64,
}

/// What servers count from their start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Meters {
    /// Steps.
    pub steps: u64,
    /// Sequences put back into the queue because the cache was full.
    pub preemptions: u64,
    /// Time with a step running, s.
    pub busy_s: f64,
    /// The same, each sequence charged its part of a step with a full batch, s.
    pub work_s: f64,
    /// Sequences in decode, summed over time, s.
    pub sequence_s: f64,
    /// Part of `busy_s` in which prompts are read, s.
    pub prompt_s: f64,
    /// Prompt tokens of requests let in.
    pub prompt_tokens: u64,
    /// Of these, found in a prefix cache.
    pub cached_tokens: u64,
}

impl Meters {
    /// Of all servers together.
    pub fn sum<S: Server>(servers: &[S]) -> Self {
        let mut sum = Self::default();
        servers.iter().for_each(|server| sum.add(server.meters()));
        sum
    }

    /// Adds what another counted.
    pub fn add(&mut self, m: Self) {
        self.steps += m.steps;
        self.preemptions += m.preemptions;
        self.busy_s += m.busy_s;
        self.work_s += m.work_s;
        self.sequence_s += m.sequence_s;
        self.prompt_s += m.prompt_s;
        self.prompt_tokens += m.prompt_tokens;
        self.cached_tokens += m.cached_tokens;
    }

    /// What was counted since `start`.
    pub fn since(self, start: Self) -> Self {
        Self {
            steps: self.steps - start.steps,
            preemptions: self.preemptions - start.preemptions,
            busy_s: self.busy_s - start.busy_s,
            work_s: self.work_s - start.work_s,
            sequence_s: self.sequence_s - start.sequence_s,
            prompt_s: self.prompt_s - start.prompt_s,
            prompt_tokens: self.prompt_tokens - start.prompt_tokens,
            cached_tokens: self.cached_tokens - start.cached_tokens,
        }
    }
}

/// Something that serves requests and changes only at arrivals and at its own next event.
pub trait Server {
    /// Takes a request; `false` when it is turned away.
    fn arrive(&mut self, request: Request) -> bool;
    /// Time of the next event; infinite when there is none.
    fn next_s(&self) -> f64;
    /// The next event happens.
    fn fire(&mut self, done: &mut Vec<Departure>);
    /// Requests waiting or running.
    fn requests(&self) -> u64;
    /// Tokens that those asked for.
    fn tokens(&self) -> u64;
    /// Counts so far.
    fn meters(&self) -> Meters;
}

/// Which requests are measured: those from `first` to before `last`, in order of arrival.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// First one after warm-up.
    pub first: u64,
    /// One past the last.
    pub last: u64,
}

/// What became of the measured requests of one class.
#[derive(Debug, Clone, Default)]
pub struct ClassOutcome {
    /// Measured requests.
    pub arrived: u64,
    /// Of these, finished.
    pub finished: u64,
    /// Of these, turned away.
    pub rejected: u64,
    /// Finished between the first and the last measured arrival, whoever they were.
    pub served: u64,
    /// Of the measured ones, finished within every limit that binds the class.
    pub good: u64,
    /// Of the measured ones, finished within each limit of the workload; 0 where it does not bind.
    pub within: Vec<u64>,
    /// Time to first token.
    pub ttft: Histogram,
    /// Time per output token after the first.
    pub tpot: Histogram,
    /// Whole request.
    pub e2e: Histogram,
}

impl ClassOutcome {
    fn judged_by(judge: &Judge) -> Self {
        Self {
            within: vec![0; judge.limits()],
            ..Self::default()
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

struct Run<'a, S> {
    servers: &'a mut [S],
    router: Router,
    events: Tournament,
    window: Window,
    judges: &'a [Judge],
    sample_every: u64,
    opened_s: f64,
    closed_s: f64,
    opening: Meters,
    trend: Trend,
    outcome: Outcome,
}

/// Runs until every measured request is finished. While more requests come, unmeasured, that is at most
/// as long again as the measured ones took to arrive: what is left then is unfinished. Every class has
/// its judge.
///
/// # Panics
/// When requests got lost: arrived must be finished, rejected or in flight.
pub fn run<S: Server>(
    servers: &mut [S],
    rule: Rule,
    source: impl Iterator<Item = Request>,
    window: Window,
    judges: &[Judge],
) -> Outcome {
    let lanes = servers.len();
    let mut run = Run {
        servers,
        router: Router::new(rule, lanes),
        events: Tournament::new(lanes, f64::INFINITY.to_bits()),
        window,
        judges,
        sample_every: ((window.last - window.first) / SAMPLES).max(1),
        opened_s: f64::NAN,
        closed_s: f64::NAN,
        opening: Meters::default(),
        trend: Trend::default(),
        outcome: Outcome {
            classes: judges.iter().map(ClassOutcome::judged_by).collect(),
            arrived: 0,
            finished: 0,
            rejected: 0,
            in_flight: 0,
            window_s: 0.0,
            meters: Meters::default(),
            steps: 0,
            backlog: 0.0,
            unstable: false,
        },
    };
    run.events(source);
    run.finish()
}

impl<S: Server> Run<'_, S> {
    fn events(&mut self, mut source: impl Iterator<Item = Request>) {
        let mut done = Vec::new();
        let mut deadline = f64::INFINITY;
        let mut open = self.window.last - self.window.first;
        let mut coming = source.next();
        while open > 0 {
            let (lane, bits) = self.events.least();
            let event = f64::from_bits(bits);
            let arrival = coming.map_or(f64::INFINITY, |r| r.arrived_s);
            let now = event.min(arrival);
            if now > deadline || now == f64::INFINITY {
                break;
            }
            // At equal times a step ends before a request comes.
            if event <= arrival {
                self.servers[lane].fire(&mut done);
                open -= done.drain(..).map(|d| self.depart(&d)).sum::<u64>();
                self.settle(lane);
            } else if let Some(request) = coming {
                coming = source.next();
                if !self.arrive(request) && self.measured(&request) {
                    open -= 1;
                }
                if request.index + 1 == self.window.last {
                    self.close(now);
                    if coming.is_some() {
                        deadline = now + self.outcome.window_s;
                    }
                }
            }
        }
    }

    fn measured(&self, request: &Request) -> bool {
        (self.window.first..self.window.last).contains(&request.index)
    }

    fn settle(&mut self, lane: usize) {
        let server = &self.servers[lane];
        self.events.set(lane, server.next_s().to_bits());
        self.router.update(lane, server.requests(), server.tokens());
    }

    fn arrive(&mut self, request: Request) -> bool {
        if request.index == self.window.first {
            self.opened_s = request.arrived_s;
            self.opening = Meters::sum(self.servers);
        }
        let measured = self.measured(&request);
        let lane = self.router.choose();
        let taken = self.servers[lane].arrive(request);
        self.settle(lane);
        let class = &mut self.outcome.classes[request.class as usize];
        self.outcome.arrived += 1;
        self.outcome.rejected += u64::from(!taken);
        if measured {
            class.arrived += 1;
            class.rejected += u64::from(!taken);
            if request.index % self.sample_every == 0 {
                let o = &self.outcome;
                let backlog = o.arrived - o.finished - o.rejected;
                self.trend.add(request.arrived_s, backlog as f64);
            }
        }
        taken
    }

    /// Folds a finished request into the statistics; 1 when it is a measured one.
    fn depart(&mut self, d: &Departure) -> u64 {
        let measured = self.measured(&d.request);
        let class = &mut self.outcome.classes[d.request.class as usize];
        self.outcome.finished += 1;
        if d.end_s >= self.opened_s && self.closed_s.is_nan() {
            class.served += 1;
        }
        if !measured {
            return 0;
        }
        let judge = &self.judges[d.request.class as usize];
        let late_s = d.late_s + judge.shift_s;
        let ttft_s = d.first_s - d.request.arrived_s + late_s;
        let e2e_s = d.end_s - d.request.arrived_s + late_s;
        let later = f64::from(d.request.output - 1);
        let tpot_s = (later > 0.0).then(|| (d.end_s - d.first_s) / later);
        class.finished += 1;
        class.ttft.add(ttft_s);
        class.e2e.add(e2e_s);
        if let Some(tpot_s) = tpot_s {
            class.tpot.add(tpot_s);
        }
        class.good += u64::from(judge.meets(ttft_s, tpot_s, e2e_s, &mut class.within));
        1
    }

    fn close(&mut self, now: f64) {
        self.closed_s = now;
        self.outcome.window_s = now - self.opened_s;
        self.outcome.meters = Meters::sum(self.servers).since(self.opening);
        self.outcome.backlog = self.trend.mean();
        let sum = |f: &dyn Fn(&ClassOutcome) -> u64| self.outcome.classes.iter().map(f).sum();
        let came: u64 = sum(&|c| c.arrived - c.rejected);
        let served: u64 = sum(&|c| c.served);
        let came = came as f64;
        let grown = self.trend.slope() * self.outcome.window_s;
        self.outcome.unstable = grown > GROWTH * came && (served as f64) < (1.0 - GROWTH) * came;
    }

    fn finish(mut self) -> Outcome {
        self.outcome.steps = Meters::sum(self.servers).steps;
        self.outcome.in_flight = self.servers.iter().map(Server::requests).sum();
        let o = &self.outcome;
        assert_eq!(
            o.arrived,
            o.finished + o.rejected + o.in_flight,
            "every request is finished, rejected or in flight"
        );
        self.outcome
    }
}
