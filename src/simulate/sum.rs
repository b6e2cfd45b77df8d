//! Sums over the sequences of a lane that change by a token at a time.

use crate::perf::memory::ContextCost;

/// `Σ cost(context)` over the sequences of a lane, in whole tokens, so that it never drifts.
#[derive(Debug, Clone)]
pub struct Sum {
    fixed: f64,
    terms: Vec<(f64, u32, u64)>,
}

impl Sum {
    /// Over no sequence.
    pub fn new(cost: &ContextCost) -> Self {
        // Beyond u32 a window is none.
        let terms = cost.terms.iter().map(|&(slope, w)| (slope, w as u32, 0));
        Self {
            fixed: cost.fixed,
            terms: terms.collect(),
        }
    }

    /// A sequence comes.
    pub fn add(&mut self, context: u32) {
        self.replace(0, context);
    }

    /// A sequence goes.
    pub fn remove(&mut self, context: u32) {
        self.replace(context, 0);
    }

    /// A sequence grows.
    pub fn replace(&mut self, old: u32, new: u32) {
        for (_, window, sum) in &mut self.terms {
            *sum = *sum + u64::from(new.min(*window)) - u64::from(old.min(*window));
        }
    }

    /// Contexts of all sequences have grown by one token to these.
    pub fn grown_by_one(&mut self, contexts: &[u32]) {
        for (_, window, sum) in &mut self.terms {
            *sum += if *window == u32::MAX {
                contexts.len() as u64
            } else {
                contexts.iter().filter(|c| **c <= *window).count() as u64
            };
        }
    }

    /// Contexts have grown by one token to these: `begun` of them begin a block of so many tokens, all
    /// of which is held from now on.
    pub fn grown_by_blocks(&mut self, contexts: &[u32], block: u32, begun: u32) {
        for (_, window, sum) in &mut self.terms {
            *sum += if *window == u32::MAX {
                u64::from(begun) * u64::from(block)
            } else {
                let begins = contexts.iter().filter(|context| *context % block == 1);
                let held = |tokens: u32| u64::from(tokens.min(*window));
                begins.map(|c| held(c - 1 + block) - held(c - 1)).sum()
            };
        }
    }

    /// Each of these contexts grows by so many tokens, and costs what `held` makes of it.
    pub fn grown(&mut self, contexts: &[u32], by: &[u32], held: impl Fn(u32) -> u32) {
        for (_, window, sum) in &mut self.terms {
            let cost = |context: u32| held(context).min(*window);
            let each = contexts.iter().zip(by);
            *sum += each
                .map(|(context, tokens)| u64::from(cost(context + tokens) - cost(*context)))
                .sum::<u64>();
        }
    }

    /// The sum, for so many sequences.
    pub fn value(&self, sequences: usize) -> f64 {
        let slopes = self.terms.iter().map(|(slope, _, sum)| slope * *sum as f64);
        self.fixed * sequences as f64 + slopes.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_together_is_what_each_grows_to() {
        let cost = ContextCost {
            fixed: 1.0,
            terms: vec![(2.0, f64::INFINITY), (5.0, 20.0)],
        };
        let blocks = |context: u32| context.div_ceil(16) * 16;
        let (contexts, by) = ([15, 16, 19, 40], [1, 3, 2, 4]);
        let mut sum = Sum::new(&cost);
        contexts
            .iter()
            .for_each(|context| sum.add(blocks(*context)));
        sum.grown(&contexts, &by, blocks);
        // 16, 32, 32 and 48 tokens; of a window of 20 they are 16, 20, 20 and 20.
        assert_eq!(sum.value(4), 4.0 + 2.0 * 128.0 + 5.0 * 76.0);
    }

    #[test]
    fn a_block_is_held_from_its_first_token_on() {
        let cost = ContextCost {
            fixed: 0.0,
            terms: vec![(2.0, f64::INFINITY), (5.0, 20.0)],
        };
        let mut sum = Sum::new(&cost);
        [16, 16, 32].iter().for_each(|held| sum.add(*held));
        // One more token each: 17 and 33 begin a block, 16 ends one.
        sum.grown_by_blocks(&[17, 16, 33], 16, 2);
        // 32, 16 and 48 tokens; of a window of 20 they are 20, 16 and 20.
        assert_eq!(sum.value(3), 2.0 * 96.0 + 5.0 * 56.0);
    }
}
