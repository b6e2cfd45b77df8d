//! What a server promises, and what it counts.

use crate::simulate::request::Request;

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
    /// Decode alone, each sequence charged its part of a step with memory full, s.
    pub dense_s: f64,
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
    /// Adds what another counted.
    pub fn add(&mut self, m: Self) {
        self.steps += m.steps;
        self.preemptions += m.preemptions;
        self.busy_s += m.busy_s;
        self.work_s += m.work_s;
        self.dense_s += m.dense_s;
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
            dense_s: self.dense_s - start.dense_s,
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
