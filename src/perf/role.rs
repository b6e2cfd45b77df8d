//! What a replica does of a request.

/// What a replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Prefill and decode together.
    Serve,
    /// Prefill only; the TTFT budget share is `splits[i]`.
    Prefill(usize),
    /// Decode only; it has what `splits[i]` leaves.
    Decode(usize),
}

impl Role {
    /// Whether prompts and decode share steps.
    pub fn shares_steps(self) -> bool {
        matches!(self, Self::Serve)
    }

    /// Whether it makes output tokens.
    pub fn decodes(self) -> bool {
        !matches!(self, Self::Prefill(_))
    }

    /// Name used in plans.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Prefill(_) => "prefill",
            Self::Decode(_) => "decode",
        }
    }
}
