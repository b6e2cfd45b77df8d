//! Which lane gets a request, and which lane acts next: both are the least of many keys, kept in a
//! tournament tree, so that a change costs a logarithm and no event looks at every lane.

use serde::{Deserialize, Serialize};

/// How requests are spread over lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// In turn.
    RoundRobin,
    /// Fewest requests waiting or running.
    #[serde(rename = "join_shortest_queue")]
    ShortestQueue,
    /// Fewest tokens asked by requests waiting or running: uncached prompt plus output.
    LeastLoaded,
}

/// Key of every player and, at each inner node, the winner below it: the least key, the lower number
/// when keys are equal.
#[derive(Debug, Clone)]
pub struct Tournament {
    keys: Vec<u64>,
    winners: Vec<u32>,
    leaves: usize,
}

impl Tournament {
    /// `players` players that all have `key`.
    pub fn new(players: usize, key: u64) -> Self {
        let leaves = players.next_power_of_two();
        let mut keys = vec![u64::MAX; leaves];
        keys[..players].fill(key);
        let mut winners = vec![0; 2 * leaves];
        for i in 0..leaves {
            winners[leaves + i] = i as u32;
        }
        let mut tree = Self {
            keys,
            winners,
            leaves,
        };
        for node in (1..leaves).rev() {
            tree.winners[node] = tree.play(node);
        }
        tree
    }

    fn play(&self, node: usize) -> u32 {
        let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
        if self.keys[right as usize] < self.keys[left as usize] {
            right
        } else {
            left
        }
    }

    /// Changes one key.
    pub fn set(&mut self, player: usize, key: u64) {
        self.keys[player] = key;
        let mut node = (self.leaves + player) / 2;
        while node > 0 {
            self.winners[node] = self.play(node);
            node /= 2;
        }
    }

    /// Player with the least key, and the key.
    pub fn least(&self) -> (usize, u64) {
        let winner = self.winners[1] as usize;
        (winner, self.keys[winner])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_key_wins_and_ties_go_to_the_lower_number() {
        for players in [1, 2, 3, 7, 8, 13] {
            let mut tree = Tournament::new(players, 5);
            assert_eq!(tree.least(), (0, 5));
            let mut state = 1u64;
            let mut keys = vec![5; players];
            for _ in 0..200 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let (player, key) = ((state >> 33) as usize % players, state >> 61);
                keys[player] = key;
                tree.set(player, key);
                let least = *keys.iter().min().unwrap();
                let first = keys.iter().position(|k| *k == least).unwrap();
                assert_eq!(tree.least(), (first, least));
            }
        }
    }

    #[test]
    fn names_are_read() {
        let read = serde_json::from_str::<Rule>;
        assert_eq!(
            read("\"join_shortest_queue\"").unwrap(),
            Rule::ShortestQueue
        );
        assert!(read("\"random\"").is_err());
    }
}
