//! The loop and its statistics against queues with exact answers.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use rand_pcg::Pcg64;

use crate::simulate::arrivals::{exponential, random, uniform, Drawn, Lengths};
use crate::simulate::dispatch::{Choice, Dispatch, Group, Stage};
use crate::simulate::group::{run_group, Outcome, Watch};
use crate::simulate::judge::Judge;
use crate::simulate::outcome::FleetOutcome;
use crate::simulate::request::{Request, Window};
use crate::simulate::router::Rule;
use crate::simulate::run::{run as fleet_run, Fleet};
use crate::simulate::server::{Departure, Meters, Server};
use crate::simulate::station::{Entry, Occupancy, Station as FleetServer};
use crate::simulate::statistics::{estimate, Estimate};

/// How requests that are being served share the station.
#[derive(Clone, Copy)]
enum Discipline {
    /// First come, first served, by so many servers.
    Servers(usize),
    /// All at once, each at an equal part of the speed.
    Sharing,
}

/// A station whose service times are drawn by `service`.
struct Station {
    discipline: Discipline,
    service: fn(&mut Pcg64) -> f64,
    rng: Pcg64,
    waiting: VecDeque<Request>,
    /// Served now, with the work that is left at `now`, s.
    served: Vec<(Request, f64)>,
    now: f64,
    /// Requests served go on elsewhere.
    hands_on: bool,
    handed: Vec<Request>,
}

impl Station {
    fn new(discipline: Discipline, service: fn(&mut Pcg64) -> f64, seed: u64, number: u64) -> Self {
        Self {
            discipline,
            service,
            rng: random(seed, number, 1),
            waiting: VecDeque::new(),
            served: Vec::new(),
            now: 0.0,
            hands_on: false,
            handed: Vec::new(),
        }
    }

    fn speed(&self) -> f64 {
        match self.discipline {
            Discipline::Servers(_) => 1.0,
            Discipline::Sharing => 1.0 / self.served.len() as f64,
        }
    }

    fn advance(&mut self, now: f64) {
        if !self.served.is_empty() {
            let work = (now - self.now) * self.speed();
            for (_, left) in &mut self.served {
                *left -= work;
            }
        }
        self.now = now;
    }

    fn fill(&mut self) {
        let places = match self.discipline {
            Discipline::Servers(c) => c,
            Discipline::Sharing => usize::MAX,
        };
        while self.served.len() < places {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            let work = (self.service)(&mut self.rng);
            self.served.push((request, work));
        }
    }

    fn shortest(&self) -> Option<usize> {
        (0..self.served.len()).min_by(|a, b| self.served[*a].1.total_cmp(&self.served[*b].1))
    }
}

impl Server for Station {
    fn arrive(&mut self, request: Request) -> bool {
        self.enter(Entry::new(request))
    }

    fn next_s(&self) -> f64 {
        self.shortest().map_or(f64::INFINITY, |i| {
            self.now + self.served[i].1.max(0.0) / self.speed()
        })
    }

    fn fire(&mut self, done: &mut Vec<Departure>) {
        self.advance(self.next_s());
        let i = self.shortest().unwrap();
        let (request, _) = self.served.swap_remove(i);
        if self.hands_on {
            self.handed.push(request);
            self.fill();
            return;
        }
        done.push(Departure {
            request,
            first_s: self.now,
            end_s: self.now,
            late_s: 0.0,
        });
        self.fill();
    }

    fn requests(&self) -> u64 {
        (self.waiting.len() + self.served.len()) as u64
    }

    fn tokens(&self) -> u64 {
        self.requests()
    }

    fn meters(&self) -> Meters {
        Meters::default()
    }
}

impl FleetServer for Station {
    fn enter(&mut self, entry: Entry) -> bool {
        self.advance(entry.now_s);
        self.waiting.push_back(entry.request);
        self.fill();
        true
    }

    fn handed(&mut self, out: &mut Vec<Request>) {
        out.append(&mut self.handed);
    }

    fn halt(&mut self, out: &mut Vec<Entry>) {
        let served = self.served.drain(..).map(|(request, _)| request);
        out.extend(served.chain(self.waiting.drain(..)).map(Entry::new));
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy::default()
    }
}

const REPLICATIONS: u64 = 12;
const WINDOW: Window = Window {
    first: 4_000,
    last: 20_000,
};

fn one_token() -> [Lengths; 1] {
    [Lengths {
        pairs: vec![(1, 1)],
        hit_rate: 0.0,
    }]
}

/// Mean time in a fleet of single servers of mean service 1 s, one for each of `shares`.
fn fleet_sojourn(
    stages: &[Stage],
    shares: &[f64],
    rule: (Choice, Rule),
    rate: f64,
    seed: u64,
) -> Estimate {
    let lengths = one_token();
    let outcomes: Vec<FleetOutcome> = (0..REPLICATIONS)
        .map(|number| {
            let mut servers = Vec::new();
            let mut groups = Vec::new();
            for (i, (stage, share)) in stages.iter().zip(shares).enumerate() {
                let seed = seed + 1000 * i as u64;
                let mut server = Station::new(Discipline::Servers(1), exponential, seed, number);
                server.hands_on = *stage == Stage::Prompts;
                servers.push(server);
                groups.push(Group::new(*stage, i, 1, 1.0, vec![*share]));
            }
            let dispatch = Dispatch::new(groups, rule.0, rule.1, random(seed, number, 2));
            let fleet = Fleet {
                replicas: (0..servers.len()).map(|i| (i, i + 1)).collect(),
                rank_of: (0..servers.len()).collect(),
                site_of: vec![0; servers.len()],
                judges: &[vec![Judge::default()]],
                failures: None,
                maintenance: &[],
                sample_s: 100.0,
            };
            let source = Drawn::new(&[rate], &lengths, 1.0, random(seed, number, 0));
            let (rng, stop) = (random(seed, number, 3), AtomicBool::new(false));
            fleet_run(
                &mut servers,
                &fleet,
                dispatch,
                rng,
                source,
                WINDOW,
                &|_, _| 0.0,
                &stop,
            )
        })
        .collect();
    assert!(outcomes
        .iter()
        .all(|o| !o.unstable && o.all.finished > 19_000));
    estimate(outcomes.iter().map(|o| o.cells[0][0].e2e.summary()[0]))
}

/// Mean time in a server of mean service 1 s to which every second of Poisson requests goes: the
/// probability of waiting is the root σ of `σ = (2λ/(2λ + 1 − σ))²` below one.
fn every_second(rate: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0 - 1e-9);
    for _ in 0..100 {
        let sigma: f64 = 0.5 * (low + high);
        let transform = (2.0 * rate / (2.0 * rate + 1.0 - sigma)).powi(2);
        if transform > sigma {
            low = sigma;
        } else {
            high = sigma;
        }
    }
    1.0 / (1.0 - low)
}

/// Mean time in a station of mean service 1 s and load `rate`, over replications.
fn sojourn(d: Discipline, service: fn(&mut Pcg64) -> f64, rate: f64, seed: u64) -> [Estimate; 2] {
    let lengths = one_token();
    let outcomes: Vec<Outcome> = (0..REPLICATIONS)
        .map(|number| {
            let mut station = [Station::new(d, service, seed, number)];
            let source = Drawn::new(&[rate], &lengths, 1.0, random(seed, number, 0));
            run_group(
                &mut station,
                1,
                Rule::RoundRobin,
                source,
                WINDOW,
                &[Judge::default()],
                Watch::default(),
            )
        })
        .collect();
    assert!(outcomes.iter().all(|o| !o.unstable && o.finished > 19_000));
    [0, 4].map(|i| estimate(outcomes.iter().map(|o| o.classes[0].e2e.summary()[i])))
}

/// Probability that all of `c` servers are busy (Erlang C).
fn erlang_c(c: usize, offered: f64) -> f64 {
    let mut blocked = 1.0;
    for servers in 1..=c {
        blocked = offered * blocked / (servers as f64 + offered * blocked);
    }
    let rho = offered / c as f64;
    blocked / (1.0 - rho * (1.0 - blocked))
}

fn constant(_: &mut Pcg64) -> f64 {
    1.0
}

/// Mean 1, squared coefficient of variation 1.96.
fn two_phases(rng: &mut Pcg64) -> f64 {
    let mean = if uniform(rng) < 0.2 { 3.0 - 0.2 } else { 0.55 };
    mean * exponential(rng)
}

#[test]
fn exact_queues_are_inside_their_intervals() {
    let mut inside = 0;
    let mut cases = 0;
    let mut judge = |name: &str, e: Estimate, exact: f64| {
        let hit = (e.mean - exact).abs() <= e.half_width;
        cases += 1;
        inside += u32::from(hit);
        assert!(
            (e.mean / exact - 1.0).abs() < 0.15,
            "{name}: {e:?}, exactly {exact}"
        );
        if !hit {
            println!("outside: {name}: {e:?}, exactly {exact}");
        }
    };
    for (i, rho) in [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8]
        .into_iter()
        .enumerate()
    {
        let seed = 100 + i as u64;
        let one = Discipline::Servers(1);
        let [mean, p99] = sojourn(one, exponential, rho, seed);
        judge("M/M/1 mean", mean, 1.0 / (1.0 - rho));
        judge("M/M/1 p99", p99, 100f64.ln() / (1.0 - rho));
        let [mean, _] = sojourn(one, constant, rho, seed + 100);
        judge("M/D/1 mean", mean, 1.0 + 0.5 * rho / (1.0 - rho));
        for c in [2, 5] {
            let offered = rho * c as f64;
            let [mean, _] = sojourn(Discipline::Servers(c), exponential, offered, seed + 200);
            let wait = erlang_c(c, offered) / (c as f64 - offered);
            judge("M/M/c mean", mean, 1.0 + wait);
        }
        // One queue after the other: by Burke's theorem the second is M/M/1 as well.
        let (pools, best) = ([Stage::Prompts, Stage::Answers], Choice::Best);
        let e = fleet_sojourn(
            &pools,
            &[1.0, 1.0],
            (best, Rule::ShortestQueue),
            rho,
            seed + 400,
        );
        judge("M/M/1 -> M/M/1 mean", e, 2.0 / (1.0 - rho));
        // A plan's shares split Poisson arrivals into Poisson arrivals.
        let whole = [Stage::Whole; 2];
        let (shares, plan) = ([0.6, 0.4], (Choice::Shares, Rule::ShortestQueue));
        let e = fleet_sojourn(&whole, &shares, plan, 1.5 * rho, seed + 500);
        let part = |share: f64| share / (1.0 - 1.5 * rho * share);
        judge("M/M/1 in shares mean", e, part(0.6) + part(0.4));
        let turns = (Choice::Best, Rule::RoundRobin);
        let e = fleet_sojourn(&whole, &[1.0, 1.0], turns, 2.0 * rho, seed + 600);
        judge("E2/M/1 in turn mean", e, every_second(rho));
        // Processor sharing: the mean does not depend on the distribution of service.
        let [mean, _] = sojourn(Discipline::Sharing, two_phases, rho, seed + 300);
        judge("M/G/1-PS mean", mean, 1.0 / (1.0 - rho));
    }
    let share = f64::from(inside) / f64::from(cases);
    println!("{inside} of {cases} inside");
    assert!(cases >= 40 && share >= 0.85, "{inside} of {cases}");
}

#[test]
fn overload_is_unstable() {
    let lengths = [Lengths {
        pairs: vec![(1, 1)],
        hit_rate: 0.0,
    }];
    let window = Window {
        first: 1_000,
        last: 6_000,
    };
    for number in 0..10 {
        let mut station = [Station::new(Discipline::Servers(1), exponential, 9, number)];
        let source = Drawn::new(&[1.2], &lengths, 1.0, random(9, number, 0));
        let outcome = run_group(
            &mut station,
            1,
            Rule::RoundRobin,
            source,
            window,
            &[Judge::default()],
            Watch::default(),
        );
        assert!(outcome.unstable);
    }
}
