//! What is served, and what of it is measured.

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

/// Which requests are measured: those from `first` to before `last`, in order of arrival.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// First one after warm-up.
    pub first: u64,
    /// One past the last.
    pub last: u64,
}
