//! Which group of replicas, and which of its lanes, a request goes to.

use rand_pcg::Pcg64;

use crate::simulate::arrivals::uniform;
use crate::simulate::router::{Rule, Tournament};

/// Key of a lane that takes no requests.
const CLOSED: u64 = u64::MAX;

/// What a group does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Takes requests as they come, and serves them.
    Whole,
    /// Takes requests as they come, and reads their prompts.
    Prompts,
    /// Takes prompts that were read, and generates their answers.
    Answers,
}

/// How a group is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The group whose best lane is best by the rule, per place.
    Best,
    /// At random, in the shares of a plan.
    Shares,
    /// In those, but where every place of the group's best lane is taken, the best other group.
    SharesThenSpill,
}

/// One group of equal replicas.
#[derive(Debug)]
pub struct Group {
    /// What it does.
    pub stage: Stage,
    /// First of its lanes, in the fleet.
    pub first: usize,
    /// Its lanes.
    pub lanes: usize,
    /// Requests that a lane serves at once.
    pub places: f64,
    /// Share of each class that a plan sends here; 0 of classes that it does not admit.
    pub shares: Vec<f64>,
    /// Prompts read here are answered by groups of the same number.
    pub partner: usize,
    keys: Vec<u64>,
    tree: Tournament,
    open: usize,
    turn: usize,
}

impl Group {
    /// A group whose lanes are all open and empty.
    pub fn new(stage: Stage, first: usize, lanes: usize, places: f64, shares: Vec<f64>) -> Self {
        Self {
            stage,
            first,
            lanes,
            places,
            shares,
            partner: 0,
            keys: vec![0; lanes],
            tree: Tournament::new(lanes, 0),
            open: lanes,
            turn: 0,
        }
    }

    /// The same, with partners of another number.
    pub fn with_partner(self, partner: usize) -> Self {
        Self { partner, ..self }
    }

    /// Whether it takes requests of a class as they come, or answers to prompts read by `partner`.
    fn takes(&self, class: usize, partner: Option<usize>) -> bool {
        let stage = match partner {
            None => self.stage != Stage::Answers,
            Some(number) => self.stage == Stage::Answers && self.partner == number,
        };
        self.open > 0 && stage && self.shares[class] > 0.0
    }

    /// Requests or tokens of the best lane, per place.
    fn load(&self) -> f64 {
        self.tree.least().1 as f64 / self.places
    }
}

/// Chooses lanes.
#[derive(Debug)]
pub struct Dispatch {
    groups: Vec<Group>,
    choice: Choice,
    rule: Rule,
    rng: Pcg64,
    turn: usize,
    group_of: Vec<usize>,
    /// Reasons for which each lane is closed.
    closed: Vec<u32>,
    /// Requests on each lane.
    requests: Vec<u64>,
}

impl Dispatch {
    /// Over groups whose lanes follow each other.
    pub fn new(groups: Vec<Group>, choice: Choice, rule: Rule, rng: Pcg64) -> Self {
        let numbers = groups.iter().enumerate();
        let group_of: Vec<usize> = numbers
            .flat_map(|(g, group)| std::iter::repeat_n(g, group.lanes))
            .collect();
        let lanes = group_of.len();
        Self {
            groups,
            choice,
            rule,
            rng,
            turn: 0,
            group_of,
            closed: vec![0; lanes],
            requests: vec![0; lanes],
        }
    }

    /// Group of a lane.
    pub fn group_of(&self, lane: usize) -> usize {
        self.group_of[lane]
    }

    /// The number that the partners of a lane's group have.
    pub fn partner_of(&self, lane: usize) -> usize {
        self.groups[self.group_of[lane]].partner
    }

    /// Whether a lane takes requests.
    pub fn is_open(&self, lane: usize) -> bool {
        self.closed[lane] == 0
    }

    /// Lane for a request of a class, or for an answer to a prompt that `partner` read; `None`: no lane
    /// is open.
    pub fn choose(&mut self, class: usize, partner: Option<usize>) -> Option<usize> {
        let group = match self.choice {
            Choice::Best if self.rule == Rule::RoundRobin => return self.in_turn(class, partner),
            Choice::Best => self.best(class, partner),
            Choice::Shares => self.by_shares(class, partner),
            Choice::SharesThenSpill => self.by_shares(class, partner).map(|g| {
                let full = self.least_requests(g) >= self.groups[g].places;
                match self.best(class, partner) {
                    Some(best) if full && self.groups[best].load() < self.groups[g].load() => best,
                    _ => g,
                }
            }),
        }?;
        Some(self.lane_in(group))
    }

    /// The group whose best lane has least per place.
    fn best(&self, class: usize, partner: Option<usize>) -> Option<usize> {
        let open = (0..self.groups.len()).filter(|g| self.groups[*g].takes(class, partner));
        open.min_by(|a, b| self.groups[*a].load().total_cmp(&self.groups[*b].load()))
    }

    fn by_shares(&mut self, class: usize, partner: Option<usize>) -> Option<usize> {
        let open = |group: &&Group| group.takes(class, partner);
        let total: f64 = self
            .groups
            .iter()
            .filter(open)
            .map(|g| g.shares[class])
            .sum();
        let mut point = (1.0 - uniform(&mut self.rng)) * total;
        let mut last = None;
        for (g, group) in self.groups.iter().enumerate() {
            if group.takes(class, partner) {
                last = Some(g);
                point -= group.shares[class];
                if point < 0.0 {
                    break;
                }
            }
        }
        last
    }

    /// Requests on the lane that the group's rule would choose.
    fn least_requests(&self, g: usize) -> f64 {
        let group = &self.groups[g];
        self.requests[group.first + group.tree.least().0] as f64
    }

    fn lane_in(&mut self, g: usize) -> usize {
        let group = &mut self.groups[g];
        if self.rule != Rule::RoundRobin {
            return group.first + group.tree.least().0;
        }
        loop {
            let lane = group.first + group.turn;
            group.turn = (group.turn + 1) % group.lanes;
            if self.closed[lane] == 0 {
                return lane;
            }
        }
    }

    /// The next open lane of any group that takes the class.
    fn in_turn(&mut self, class: usize, partner: Option<usize>) -> Option<usize> {
        for _ in 0..self.group_of.len() {
            let lane = self.turn;
            self.turn = (lane + 1) % self.group_of.len();
            let group = &self.groups[self.group_of[lane]];
            if self.closed[lane] == 0 && group.takes(class, partner) {
                return Some(lane);
            }
        }
        None
    }

    /// Takes note of what a lane holds now.
    pub fn update(&mut self, lane: usize, requests: u64, tokens: u64) {
        self.requests[lane] = requests;
        let key = match self.rule {
            Rule::RoundRobin if self.choice == Choice::Best => return,
            Rule::LeastLoaded => tokens,
            _ => requests,
        };
        let group = &mut self.groups[self.group_of[lane]];
        group.keys[lane - group.first] = key;
        if self.closed[lane] == 0 {
            group.tree.set(lane - group.first, key);
        }
    }

    /// A lane takes no more requests, for one more reason.
    pub fn close(&mut self, lane: usize) {
        self.closed[lane] += 1;
        if self.closed[lane] == 1 {
            let group = &mut self.groups[self.group_of[lane]];
            group.tree.set(lane - group.first, CLOSED);
            group.open -= 1;
        }
    }

    /// One of the reasons is gone.
    pub fn open(&mut self, lane: usize) {
        self.closed[lane] -= 1;
        if self.closed[lane] == 0 {
            let group = &mut self.groups[self.group_of[lane]];
            group
                .tree
                .set(lane - group.first, group.keys[lane - group.first]);
            group.open += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::arrivals::random;

    fn two(choice: Choice, rule: Rule) -> Dispatch {
        let groups = vec![
            Group::new(Stage::Whole, 0, 2, 10.0, vec![0.25, 1.0]),
            Group::new(Stage::Whole, 2, 1, 40.0, vec![0.75, 0.0]),
        ];
        Dispatch::new(groups, choice, rule, random(3, 0, 2))
    }

    #[test]
    fn the_best_group_has_least_per_place() {
        let mut d = two(Choice::Best, Rule::ShortestQueue);
        d.update(0, 5, 0);
        d.update(1, 4, 0);
        d.update(2, 12, 0);
        // 4 of 10 against 12 of 40.
        assert_eq!(d.choose(0, None), Some(2));
        // The second group does not take the second class.
        assert_eq!(d.choose(1, None), Some(1));
        d.close(1);
        assert_eq!(d.choose(1, None), Some(0));
        d.close(0);
        assert_eq!((d.choose(1, None), d.choose(0, Some(0))), (None, None));
        d.open(1);
        assert_eq!(d.choose(1, None), Some(1));
    }

    #[test]
    fn rules_look_at_requests_or_at_tokens() {
        for (rule, lane) in [(Rule::ShortestQueue, 0), (Rule::LeastLoaded, 1)] {
            let mut d = two(Choice::Best, rule);
            d.update(0, 1, 900);
            d.update(1, 2, 100);
            assert_eq!(d.choose(1, None), Some(lane));
        }
    }

    #[test]
    fn shares_are_kept_and_spill_goes_where_there_is_room() {
        let mut d = two(Choice::Shares, Rule::ShortestQueue);
        let second = (0..20_000).filter(|_| d.choose(0, None) == Some(2)).count();
        assert!((second as f64 / 20_000.0 - 0.75).abs() < 0.02, "{second}");
        let mut d = two(Choice::SharesThenSpill, Rule::ShortestQueue);
        d.update(2, 40, 0);
        assert!((0..100).all(|_| d.choose(0, None) != Some(2)));
        // Full everywhere: the plan's shares again, as far as none is better.
        d.update(0, 40, 0);
        d.update(1, 40, 0);
        assert!((0..100).any(|_| d.choose(0, None) == Some(2)));
    }

    #[test]
    fn answers_go_to_partners_only() {
        let pool = |stage, first, partner| {
            Group::new(stage, first, 1, 1.0, vec![1.0]).with_partner(partner)
        };
        let groups = [
            pool(Stage::Prompts, 0, 0),
            pool(Stage::Answers, 1, 0),
            pool(Stage::Prompts, 2, 1),
            pool(Stage::Answers, 3, 1),
        ];
        for choice in [Choice::Best, Choice::Shares, Choice::SharesThenSpill] {
            for rule in [Rule::ShortestQueue, Rule::RoundRobin] {
                let groups = groups.iter().map(|g| pool(g.stage, g.first, g.partner));
                let mut d = Dispatch::new(groups.collect(), choice, rule, random(1, 0, 2));
                for prompts in [0, 2] {
                    let answers = d.choose(0, Some(d.partner_of(prompts)));
                    assert_eq!(answers, Some(prompts + 1));
                }
                assert_eq!(d.choose(0, Some(7)), None);
            }
        }
    }

    #[test]
    fn turns_pass_over_closed_lanes() {
        let mut d = two(Choice::Best, Rule::RoundRobin);
        assert_eq!([0; 4].map(|_| d.choose(0, None).unwrap()), [0, 1, 2, 0]);
        d.close(1);
        assert_eq!([0; 3].map(|_| d.choose(0, None).unwrap()), [2, 0, 2]);
        assert_eq!([0; 2].map(|_| d.choose(1, None).unwrap()), [0, 0]);
    }
}
