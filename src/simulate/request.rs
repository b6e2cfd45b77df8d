//! What is served.

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Position in order of arrival.
    pub index: u64,
    /// Arrival, s.
    pub arrived_s: f64,
    /// Class.
    pub class: u32,
    /// Prompt tokens.
    pub input: u32,
    /// Prompt tokens found in the prefix cache; fewer than `input`.
    pub cached: u32,
    /// Tokens to generate.
    pub output: u32,
}

impl Request {
    /// Tokens to compute: uncached prompt plus output.
    pub fn tokens(&self) -> u64 {
        u64::from(self.input - self.cached) + u64::from(self.output)
    }
}
