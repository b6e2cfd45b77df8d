//! Time of one kernel: a p-norm roofline, `t0 + ((F/P)^q + (B/W)^q)^(1/q)`.
//!
//! The p-norm is the smooth form of the roofline of Williams, Waterman and Patterson (CACM 2009):
//! `q → ∞` takes the larger of compute and memory time, `q = 1` adds them.

use crate::catalog::{AllReduceFit, GemmFit, Kernel, Link, MoeFit, PrefillAttentionFit};

/// A time split into launch and work, because CUDA graphs remove part of the launch only.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Time {
    /// Launch, s.
    pub t0: f64,
    /// Work, s.
    pub work: f64,
}

impl Time {
    /// Launch and work together, s.
    pub fn total(self) -> f64 {
        self.t0 + self.work
    }
}

/// `(a^q + b^q)^(1/q)` without overflow: the larger term is taken out.
pub fn p_norm(a: f64, b: f64, q: f64) -> f64 {
    let (big, small) = if a >= b { (a, b) } else { (b, a) };
    if big <= 0.0 {
        return 0.0;
    }
    big * (1.0 + (small / big).powf(q)).powf(1.0 / q)
}

/// Matrix product of `m×k` by `k×n`; `weight_bytes` per weight, activations of the same width, output bf16.
pub fn gemm(fit: &GemmFit, m: f64, n: f64, k: f64, weight_bytes: f64) -> Time {
    let flop = 2.0 * m * n * k;
    let bytes = weight_bytes * (n * k + m * k) + 2.0 * m * n;
    Time {
        t0: fit.t0,
        work: p_norm(flop / fit.flops, bytes / fit.bw, fit.q),
    }
}

/// Shape of the routed experts on one rank.
#[derive(Debug, Clone, Copy)]
pub struct MoeShape {
    /// Routed experts in the layer.
    pub experts: f64,
    /// Experts per token.
    pub topk: f64,
    /// Width that experts work on.
    pub hidden: f64,
    /// Matrices of an expert: three with a gate, two without.
    pub matrices: f64,
    /// Inner width of an expert.
    pub inter: f64,
    /// Tensor-parallel degree inside an expert.
    pub tp: f64,
    /// Expert-parallel degree.
    pub ep: f64,
    /// Bytes per weight.
    pub weight_bytes: f64,
}

/// Experts on this rank that at least one of `tokens` is routed to: `E/ep·(1−exp(−T·topk/E))`.
pub fn touched_experts(shape: &MoeShape, tokens: f64) -> f64 {
    shape.experts / shape.ep * (1.0 - (-tokens * shape.topk / shape.experts).exp())
}

/// Routed experts for `tokens` of the whole replica, balanced over ranks; a rank hands over and takes
/// back `own` of them: all where attention is cut, its share where attention is data-parallel.
pub fn moe(fit: &MoeFit, shape: &MoeShape, tokens: f64, own: f64) -> Time {
    let routed = tokens * shape.topk / shape.ep;
    let touched = touched_experts(shape, tokens);
    let weights_of_one = shape.matrices * shape.hidden * shape.inter / shape.tp;
    let flop = 2.0 * routed * weights_of_one;
    let padded = flop * (1.0 + fit.pad * touched / routed);
    let weights = touched * weights_of_one * shape.weight_bytes;
    let activations = routed * (2.0 * shape.hidden + 2.0 * shape.matrices * shape.inter / shape.tp)
        + 4.0 * own * shape.hidden;
    let work = p_norm(padded / fit.flops, weights / fit.bw, fit.q) + activations / fit.act_bw;
    Time { t0: fit.t0, work }
}

/// Prefill attention over `flop` and `bytes`, efficiency rising with the sequence `s`.
pub fn prefill_attention(fit: &PrefillAttentionFit, flop: f64, bytes: f64, s: f64) -> Time {
    if s <= 0.0 {
        return Time::default();
    }
    let compute = flop / (fit.flops * s / (s + fit.s0));
    Time {
        t0: fit.t0,
        work: compute + bytes / fit.bw,
    }
}

/// All-reduce of `bytes` over `n` ranks inside the scale-up domain.
///
/// The fit of the next larger measured rank count is used; past the largest, the two-shot form is
/// extended by `2(n−1)/n`, which is its own dependence on `n`.
pub fn all_reduce(fits: &[AllReduceFit], n: u32, bytes: f64) -> Option<f64> {
    if n <= 1 {
        return Some(0.0);
    }
    let fit = fits.iter().find(|f| f.n >= n).or(fits.last())?;
    let ranks = f64::from(n);
    let one_shot = fit.a1 + (ranks - 1.0) * bytes / fit.bw1;
    let two_shot = fit.a2 + 2.0 * (ranks - 1.0) / ranks * bytes / fit.bw2;
    Some(one_shot.min(two_shot))
}

/// `alpha + bytes/bw`.
pub fn transfer(link: &Link, bytes: f64) -> f64 {
    link.alpha + bytes / link.bw
}

/// Collective over `n` ranks: inside the scale-up domain by the fits, beyond it by the scale-out link.
pub fn reduce_over(kernel: &Kernel, domain: u32, n: u32, bytes: f64) -> Option<f64> {
    if n <= domain {
        return all_reduce(&kernel.all_reduce, n, bytes);
    }
    let ranks = f64::from(n);
    let link = kernel.scale_out.as_ref()?;
    Some(transfer(link, 2.0 * (ranks - 1.0) / ranks * bytes))
}

/// Exchange of `bytes` per rank among `n` ranks.
pub fn exchange_over(kernel: &Kernel, domain: u32, n: u32, bytes: f64) -> Option<f64> {
    if n <= 1 {
        return Some(0.0);
    }
    let link = if n <= domain {
        &kernel.all_to_all
    } else {
        kernel.scale_out.as_ref()?
    };
    let ranks = f64::from(n);
    Some(transfer(link, (ranks - 1.0) / ranks * bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_norm_has_its_limits() {
        assert!((p_norm(3.0, 4.0, 1.0) - 7.0).abs() < 1e-12);
        assert!((p_norm(3.0, 4.0, 2.0) - 5.0).abs() < 1e-12);
        assert!((p_norm(3.0, 4.0, 400.0) - 4.0).abs() < 1e-6);
        assert_eq!(p_norm(0.0, 0.0, 2.0), 0.0);
    }

    #[test]
    fn gemm_by_hand() {
        // 2·1·1000·1000 flop at 1e9 flop/s = 2 ms; (1e6 + 1e3) + 2e3 bytes at 1e9 = 1.003 ms; q = 1 adds.
        let fit = GemmFit {
            t0: 1e-3,
            flops: 1e9,
            bw: 1e9,
            q: 1.0,
        };
        let t = gemm(&fit, 1.0, 1000.0, 1000.0, 1.0);
        assert!((t.total() - (1e-3 + 2e-3 + 1.003e-3)).abs() < 1e-12);
    }

    #[test]
    fn every_expert_is_touched_by_many_tokens_and_topk_by_one() {
        let shape = MoeShape {
            experts: 256.0,
            topk: 8.0,
            hidden: 1.0,
            matrices: 3.0,
            inter: 1.0,
            tp: 1.0,
            ep: 1.0,
            weight_bytes: 1.0,
        };
        assert!((touched_experts(&shape, 1e6) - 256.0).abs() < 1e-9);
        let one = touched_experts(&shape, 1.0);
        assert!((one - 8.0).abs() < 0.2, "{one}");
    }
}
