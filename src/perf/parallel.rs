//! Degrees of parallelism, and how they join the ranks of a stage.

/// Degrees of parallelism. A pipeline stage has `tp·adp` accelerators; experts are split over the
/// same ones as `ep` groups of `tp·adp/ep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallel {
    /// Tensor parallel (attention).
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Expert parallel.
    pub ep: u32,
    /// Attention data parallel.
    pub adp: u32,
}

impl Parallel {
    /// Accelerators in a replica.
    pub fn gpus(&self) -> u32 {
        self.tp * self.adp * self.pp
    }

    /// Accelerators in a pipeline stage.
    pub fn stage(&self) -> u32 {
        self.tp * self.adp
    }

    /// Tensor-parallel degree inside an expert.
    pub fn expert_tp(&self) -> u32 {
        self.stage() / self.ep
    }
}

/// How ranks of a stage are joined; kernels and with them efficiencies differ.
pub const GROUPS: usize = 3;

/// A lone accelerator, tensor parallel ranks, or ranks with data-parallel attention.
pub fn group(parallel: Parallel) -> usize {
    match (parallel.tp, parallel.adp) {
        (1, 1) => 0,
        (_, 1) => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_ranks() {
        let of = |tp, adp| {
            group(Parallel {
                tp,
                pp: 4,
                ep: 1,
                adp,
            })
        };
        assert_eq!([of(1, 1), of(8, 1), of(1, 8), of(2, 4)], [0, 1, 2, 2]);
    }
}
