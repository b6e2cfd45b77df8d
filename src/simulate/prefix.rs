//! Prefix caches: which blocks of prompts a lane still holds, by the hashes that a trace gives them.
//!
//! A block that a running request needs is held; one that none needs stays as long as there is room,
//! and the one unused for longest goes first. Blocks that several running requests share are counted
//! with each of them, so the cache is never larger than it would be.

use std::collections::{HashMap, VecDeque};

use crate::error::{positive, within, Error, Result};
use crate::simulate::request::Request;

/// Hashes of the blocks of every prompt of a trace, in order.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    /// Hashes of all prompts, one after the other.
    pub hashes: Vec<u64>,
    /// Where the hashes of each request begin, and a last entry where they end.
    pub starts: Vec<usize>,
    /// Tokens in a block.
    pub tokens: u32,
}

impl Blocks {
    /// Of hashes one after the other, with where those of each request begin, and of the last end.
    pub fn new(hashes: &[u64], starts: &[u64], tokens: u32) -> Result<Self> {
        let rise = starts.windows(2).all(|w| w[0] <= w[1]);
        if !rise || starts.last().is_some_and(|end| *end != hashes.len() as u64) {
            let text = "hashes: starts must rise and end at the number of hashes";
            return Err(Error::Input(text.to_owned()));
        }
        Ok(Self {
            hashes: hashes.to_vec(),
            starts: starts.iter().map(|start| *start as usize).collect(),
            tokens,
        })
    }

    /// Hashes of a request; none for one that the trace does not have.
    pub fn of(&self, request: u64) -> &[u64] {
        let i = request as usize;
        match (self.starts.get(i), self.starts.get(i + 1)) {
            (Some(from), Some(to)) => &self.hashes[*from..*to],
            _ => &[],
        }
    }

    /// The hashes of some requests, in another order; none for those that are no row here.
    pub fn picked(&self, rows: &[Option<u64>]) -> Self {
        let mut picked = Self {
            hashes: Vec::new(),
            starts: vec![0],
            tokens: self.tokens,
        };
        for row in rows {
            let own = row.map_or(&[][..], |row| self.of(row));
            picked.hashes.extend_from_slice(own);
            picked.starts.push(picked.hashes.len());
        }
        picked
    }

    /// Refuses hashes that do not fit the prompts they are of.
    pub fn check(&self, requests: &[Request]) -> Result<()> {
        positive("tokens in a block", f64::from(self.tokens))?;
        for (row, r) in requests.iter().enumerate() {
            let most = f64::from(r.input.div_ceil(self.tokens)) + 1.0;
            within(
                format!("row {row}: hashes"),
                self.of(row as u64).len() as f64,
                0.0..most,
                "at most the blocks of its prompt",
            )?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Running requests that need it.
    by: u32,
    /// When it was last let go.
    stamp: u64,
}

/// Blocks that a lane holds.
#[derive(Debug, Clone, Default)]
pub struct PrefixCache {
    blocks: HashMap<u64, Held>,
    /// Blocks let go, oldest first; an entry counts while its stamp is the block's.
    idle: VecDeque<(u64, u64)>,
    idle_count: u64,
    clock: u64,
}

impl PrefixCache {
    /// Leading blocks of a prompt that are here.
    pub fn hits(&self, hashes: &[u64]) -> usize {
        hashes
            .iter()
            .take_while(|hash| self.blocks.contains_key(hash))
            .count()
    }

    /// A running request needs these.
    pub fn hold(&mut self, hashes: &[u64]) {
        for hash in hashes {
            let known = self.blocks.contains_key(hash);
            let held = self.blocks.entry(*hash).or_default();
            if known && held.by == 0 {
                self.idle_count -= 1;
            }
            held.by += 1;
        }
    }

    /// A request that needed these has ended. The end of a prompt goes before its beginning, which
    /// others are likelier to share.
    pub fn release(&mut self, hashes: &[u64]) {
        for hash in hashes.iter().rev() {
            if let Some(held) = self.blocks.get_mut(hash) {
                held.by -= 1;
                if held.by == 0 {
                    self.clock += 1;
                    held.stamp = self.clock;
                    self.idle.push_back((*hash, self.clock));
                    self.idle_count += 1;
                }
            }
        }
    }

    /// Blocks that no running request needs.
    pub fn idle(&self) -> u64 {
        self.idle_count
    }

    /// Drops blocks that none needs until at most `most` are left.
    pub fn keep(&mut self, most: u64) {
        while self.idle_count > most {
            let Some((hash, stamp)) = self.idle.pop_front() else {
                return;
            };
            if self.is_idle(hash, stamp) {
                self.blocks.remove(&hash);
                self.idle_count -= 1;
            }
        }
        if self.idle.len() as u64 > 2 * self.idle_count + 64 {
            let idle = std::mem::take(&mut self.idle);
            let alive = idle.into_iter().filter(|(h, s)| self.is_idle(*h, *s));
            self.idle = alive.collect();
        }
    }

    fn is_idle(&self, hash: u64, stamp: u64) -> bool {
        let held = self.blocks.get(&hash);
        held.is_some_and(|held| held.by == 0 && held.stamp == stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_unused_for_longest_goes_first_and_held_ones_stay() {
        let mut cache = PrefixCache::default();
        cache.hold(&[1, 2, 3]);
        assert_eq!((cache.hits(&[1, 2, 9]), cache.idle()), (2, 0));
        cache.release(&[1, 2, 3]);
        cache.hold(&[1]);
        assert_eq!(cache.idle(), 2);
        cache.keep(1);
        // The end of the prompt went; its beginning is held.
        assert_eq!(cache.hits(&[1, 2, 3]), 2);
        cache.keep(0);
        assert_eq!(cache.hits(&[1, 2, 3]), 1);
        cache.release(&[1]);
        cache.keep(0);
        assert_eq!((cache.hits(&[1]), cache.idle()), (0, 0));
    }

    #[test]
    fn what_is_used_again_and_again_takes_no_memory() {
        let mut cache = PrefixCache::default();
        for _ in 0..10_000 {
            cache.hold(&[7, 8]);
            cache.release(&[7, 8]);
            cache.keep(2);
        }
        assert!(cache.idle.len() < 100 && cache.hits(&[7, 8]) == 2);
    }

    #[test]
    fn a_trace_gives_each_request_its_hashes() {
        let blocks = Blocks {
            hashes: vec![5, 6, 7],
            starts: vec![0, 2, 3],
            tokens: 512,
        };
        assert_eq!(
            (blocks.of(0), blocks.of(1), blocks.of(2)),
            (&[5, 6][..], &[7][..], &[][..])
        );
    }
}
