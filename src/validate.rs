//! Checks a specification before anything is computed from it: after this, no index is out of range,
//! no divisor is zero, and no figure is NaN, infinite or negative.

use crate::catalog::{Attention, FeedForward, Kernel, Link, Model, Precision};
use crate::error::{not_negative, positive, within, Error, Result};
use crate::workload::{Class, Length, Spec, Workload, MAX_CLASSES, PERCENTILES};

impl Spec {
    /// Reads and checks the JSON text.
    pub fn from_json(text: &str) -> Result<Self> {
        let spec: Self = serde_json::from_str(text).map_err(|e| Error::Spec(e.to_string()))?;
        check(&spec)?;
        Ok(spec)
    }

    /// The same specification with other kernels, read from JSON and checked.
    pub fn with_kernels(&self, text: &str) -> Result<Self> {
        let kernels = serde_json::from_str(text).map_err(|e| Error::Spec(e.to_string()))?;
        let spec = Self {
            kernels,
            ..self.clone()
        };
        check(&spec)?;
        Ok(spec)
    }
}

/// Refuses an index that points past the end of its table.
fn index(field: impl Into<String>, index: usize, len: usize) -> Result<()> {
    if index < len {
        return Ok(());
    }
    let field = field.into();
    Err(Error::Spec(format!(
        "{field} = {index}: there are only {len}"
    )))
}

/// Checks everything.
pub fn check(spec: &Spec) -> Result<()> {
    for (i, system) in spec.systems.iter().enumerate() {
        system.check(i)?;
    }
    for (i, model) in spec.models.iter().enumerate() {
        check_model(model, &format!("models[{i}]"))?;
    }
    for (i, dtype) in spec.dtypes.iter().enumerate() {
        positive(format!("dtypes[{i}].weight_bytes"), dtype.weight_bytes)?;
    }
    for (i, kv) in spec.kv_dtypes.iter().enumerate() {
        positive(format!("kv_dtypes[{i}].bytes"), kv.bytes)?;
    }
    for (i, precision) in spec.precisions.iter().enumerate() {
        check_precision(spec, precision, &format!("precisions[{i}]"))?;
    }
    for (i, kernel) in spec.kernels.iter().enumerate() {
        index(
            format!("kernels[{i}].system"),
            kernel.system,
            spec.systems.len(),
        )?;
        index(
            format!("kernels[{i}].engine"),
            kernel.engine,
            spec.engines.len(),
        )?;
        check_kernel(kernel, &format!("kernels[{i}]"))?;
    }
    for (i, workload) in spec.workloads.iter().enumerate() {
        check_workload(spec, workload, &format!("workloads[{i}] ({})", workload.id))?;
    }
    Ok(())
}

fn check_model(model: &Model, at: &str) -> Result<()> {
    let whole = |field: &str, value: u32| positive(format!("{at}.{field}"), f64::from(value));
    whole("hidden", model.hidden)?;
    whole("vocab", model.vocab)?;
    whole("layers", model.layers.len() as u32)?;
    for group in &model.layers {
        whole("layers.count", group.count)?;
        let sizes = match group.attention {
            Attention::Gqa {
                heads,
                kv_heads,
                head_dim,
                v_head_dim,
                window,
                index_heads,
                index_topk,
                ..
            } => {
                let selected = if index_heads > 0 { index_topk } else { 1 };
                let window = window.unwrap_or(1);
                vec![heads, kv_heads, head_dim, v_head_dim, window, selected]
            }
            Attention::Compressed {
                heads,
                head_dim,
                q_lora_rank,
                o_groups,
                o_lora_rank,
                window,
                index_heads,
                index_topk,
                ..
            } => {
                let selected = if index_heads > 0 { index_topk } else { 1 };
                let query = [heads, head_dim, q_lora_rank, o_groups, o_lora_rank];
                [&query[..], &[window, selected]].concat()
            }
            Attention::None {} => Vec::new(),
            Attention::Mla {
                heads,
                kv_lora_rank,
                nope_dim,
                v_head_dim,
                index_heads,
                index_topk,
                ..
            } => {
                let selected = if index_heads > 0 { index_topk } else { 1 };
                vec![heads, kv_lora_rank, nope_dim, v_head_dim, selected]
            }
            Attention::Linear {
                key_heads,
                value_heads,
                key_dim,
                value_dim,
                ..
            } => {
                vec![key_heads, value_heads, key_dim, value_dim]
            }
        };
        for size in sizes {
            whole("layers.attention", size)?;
        }
        match group.ffn {
            FeedForward::None {} => {}
            FeedForward::Dense { inter, .. } => whole("layers.ffn.inter", inter)?,
            FeedForward::Moe {
                experts,
                topk,
                inter,
                ..
            } => {
                whole("layers.ffn.experts", experts)?;
                whole("layers.ffn.topk", topk)?;
                whole("layers.ffn.inter", inter)?;
            }
        }
    }
    Ok(())
}

fn check_precision(spec: &Spec, precision: &Precision, at: &str) -> Result<()> {
    for dtype in [
        precision.attention,
        precision.dense,
        precision.experts,
        precision.head,
    ] {
        index(format!("{at}: dtype"), dtype, spec.dtypes.len())?;
    }
    Ok(())
}

fn check_kernel(kernel: &Kernel, at: &str) -> Result<()> {
    let above = |field: &str, value: f64| positive(format!("{at}.{field}"), value);
    let from_zero = |field: &str, value: f64| not_negative(format!("{at}.{field}"), value);
    for fit in kernel.gemm.iter().flatten() {
        from_zero("gemm.t0", fit.t0)?;
        above("gemm.flops", fit.flops)?;
        above("gemm.bw", fit.bw)?;
        within(
            format!("{at}.gemm.q"),
            fit.q,
            1.0..f64::INFINITY,
            "at least 1",
        )?;
    }
    for fit in kernel.moe.iter().flatten() {
        from_zero("moe.t0", fit.t0)?;
        above("moe.flops", fit.flops)?;
        above("moe.bw", fit.bw)?;
        within(
            format!("{at}.moe.q"),
            fit.q,
            1.0..f64::INFINITY,
            "at least 1",
        )?;
        above("moe.act_bw", fit.act_bw)?;
        from_zero("moe.pad", fit.pad)?;
    }
    for fit in kernel.decode_attention.iter().flatten() {
        from_zero("decode_attention.t0", fit.t0)?;
        above("decode_attention.bw", fit.bw)?;
        above("decode_attention.mla_flops", fit.mla_flops)?;
        above("decode_attention.mla_bw", fit.mla_bw)?;
    }
    for fit in kernel.prefill_attention.iter().flatten() {
        from_zero("prefill_attention.t0", fit.t0)?;
        above("prefill_attention.flops", fit.flops)?;
        from_zero("prefill_attention.s0", fit.s0)?;
        above("prefill_attention.bw", fit.bw)?;
    }
    for fit in &kernel.all_reduce {
        from_zero("all_reduce.a1", fit.a1)?;
        above("all_reduce.bw1", fit.bw1)?;
        from_zero("all_reduce.a2", fit.a2)?;
        above("all_reduce.bw2", fit.bw2)?;
    }
    for link in std::iter::once(&kernel.all_to_all).chain(&kernel.scale_out) {
        check_link(link, at)?;
    }
    check_engine_time(kernel, at)
}

fn check_link(link: &Link, at: &str) -> Result<()> {
    not_negative(format!("{at}: link alpha"), link.alpha)?;
    positive(format!("{at}: link bw"), link.bw)
}

fn check_engine_time(kernel: &Kernel, at: &str) -> Result<()> {
    let s = &kernel.scales;
    let figures = [
        ("scales.gemm", s.gemm),
        ("scales.gemm_t0", s.gemm_t0),
        ("scales.moe", s.moe),
        ("scales.moe_t0", s.moe_t0),
        ("scales.comm", s.comm),
        ("scales.attention", s.attention),
        ("scales.attention_t0", s.attention_t0),
        ("scales.prefill_moe", s.prefill_moe),
        ("scales.prefill_comm", s.prefill_comm),
        ("layer_s", kernel.layer_s),
        ("step_s", kernel.step_s),
        ("index_s", kernel.index_s),
        ("sequence_s", kernel.sequence_s),
        ("interference", kernel.interference),
        ("ttft_fixed_s", kernel.ttft_fixed_s),
        ("ttft_steps", kernel.ttft_steps),
        ("attention_dp_prefill", kernel.attention_dp_prefill),
        ("attention_dp_experts", kernel.attention_dp_experts),
    ];
    let c = kernel.closed_ttft;
    for (field, value) in figures
        .into_iter()
        .chain([c.own, c.queue, c.exponent, c.together_s].map(|x| ("closed_ttft", x)))
    {
        not_negative(format!("{at}.{field}"), value)?;
    }
    positive(format!("{at}.elementwise_bw"), kernel.elementwise_bw)?;
    positive(format!("{at}.sequence_half"), kernel.sequence_half)?;
    positive(format!("{at}.closed_ttft.together_half"), c.together_half)?;
    positive(format!("{at}.chunk_tokens"), f64::from(kernel.chunk_tokens))?;
    positive(format!("{at}.mem_fraction"), kernel.mem_fraction)?;
    within(
        format!("{at}.mem_fraction"),
        kernel.mem_fraction,
        0.0..1.0 + f64::EPSILON,
        "at most 1",
    )
}

fn check_workload(spec: &Spec, w: &Workload, at: &str) -> Result<()> {
    let k = w.classes.len();
    if k == 0 || k > MAX_CLASSES {
        return Err(Error::Spec(format!(
            "{at}: {k} classes, must be 1 to {MAX_CLASSES}"
        )));
    }
    index(format!("{at}.model"), w.model, spec.models.len())?;
    for (list, what, len) in [
        (&w.systems, "systems", spec.systems.len()),
        (&w.engines, "engines", spec.engines.len()),
        (&w.precisions, "precisions", spec.precisions.len()),
        (&w.kv, "kv", spec.kv_dtypes.len()),
    ] {
        for i in list {
            index(format!("{at}.{what}"), *i, len)?;
        }
    }
    for (i, class) in w.classes.iter().enumerate() {
        check_class(class, &format!("{at}.classes[{i}]"))?;
    }
    check_shapes(w, at)?;
    check_limits(w, at)?;
    check_factors(w, at)?;
    check_axes(w, at)
}

fn check_class(class: &Class, at: &str) -> Result<()> {
    not_negative(format!("{at}.share"), class.share)?;
    within(
        format!("{at}.hit_rate"),
        class.hit_rate,
        0.0..1.0,
        "at least 0 and below 1",
    )?;
    check_length(&class.input, &format!("{at}.input"))?;
    check_length(&class.output, &format!("{at}.output"))
}

fn check_length(length: &Length, at: &str) -> Result<()> {
    for value in length.at {
        positive(format!("{at}.at"), value)?;
    }
    positive(format!("{at}.max"), length.max)?;
    let least = length.at[0].powi(2) * (1.0 - 1e-9);
    within(
        format!("{at}.m2"),
        length.m2,
        least..f64::INFINITY,
        "at least the mean squared",
    )
}

fn check_shapes(w: &Workload, at: &str) -> Result<()> {
    if w.quality.len() != w.precisions.len() {
        return Err(Error::Spec(format!(
            "{at}.quality: one value per precision"
        )));
    }
    if !w.fewer_bits.is_empty() && w.fewer_bits.len() != w.precisions.len() {
        return Err(Error::Spec(format!(
            "{at}.fewer_bits: one value per precision, or none"
        )));
    }
    let square = w.kv_allowed.len() == w.precisions.len()
        && w.kv_allowed.iter().all(|row| row.len() == w.kv.len());
    if !square {
        return Err(Error::Spec(format!(
            "{at}.kv_allowed: precisions × KV dtypes"
        )));
    }
    if w.round_trip_s.is_empty() || w.round_trip_s.iter().any(|r| r.len() != w.classes.len()) {
        return Err(Error::Spec(format!(
            "{at}.round_trip_s: one value per class"
        )));
    }
    for value in w.round_trip_s.iter().flatten().chain(&w.quality) {
        not_negative(format!("{at}.round_trip_s or quality"), *value)?;
    }
    let everything = (1u64 << w.classes.len()) - 1;
    match w
        .class_sets
        .iter()
        .find(|set| **set == 0 || u64::from(**set) & !everything != 0)
    {
        Some(set) => Err(Error::Spec(format!(
            "{at}.class_sets: {set} names no class, or none that exists"
        ))),
        None => Ok(()),
    }
}

fn check_factors(w: &Workload, at: &str) -> Result<()> {
    let at = format!("{at}.time_factors");
    for row in &w.time_factors {
        for value in [row.ttft, row.tpot, row.load, row.prefill_load] {
            positive(at.as_str(), value)?;
        }
    }
    let cells = if w.time_factors.is_empty() {
        0
    } else {
        w.factor_cells()
    };
    if w.time_factors_of.len() != cells {
        return Err(Error::Spec(format!(
            "{at}_of: {} positions, must be {cells}",
            w.time_factors_of.len()
        )));
    }
    for i in &w.time_factors_of {
        index(format!("{at}_of"), *i, w.time_factors.len())?;
    }
    Ok(())
}

fn check_limits(w: &Workload, at: &str) -> Result<()> {
    for slo in &w.slos {
        positive(format!("{at}.slos.limit_s"), slo.limit_s)?;
        index(
            format!("{at}.slos.percentile"),
            slo.percentile,
            PERCENTILES.len(),
        )?;
        index(
            format!("{at}.slos.class"),
            slo.class.unwrap_or(0),
            w.classes.len(),
        )?;
    }
    for split in &w.splits {
        positive(format!("{at}.splits"), *split)?;
        within(
            format!("{at}.splits"),
            *split,
            0.0..1.0,
            "above 0 and below 1",
        )?;
    }
    Ok(())
}

fn check_axes(w: &Workload, at: &str) -> Result<()> {
    for (field, axis) in [
        ("tp", &w.tp),
        ("pp", &w.pp),
        ("ep", &w.ep),
        ("adp", &w.adp),
        ("batches", &w.batches),
    ] {
        for value in axis {
            positive(format!("{at}.{field}"), f64::from(*value))?;
        }
    }
    for s in &w.speculation {
        within(
            format!("{at}.speculation.accepted"),
            s.accepted,
            1.0..f64::INFINITY,
            "at least 1",
        )?;
        not_negative(format!("{at}.speculation.draft_cost"), s.draft_cost)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_length_names_its_field() {
        let length = Length {
            at: [10.0; 5],
            m2: 99.0,
            max: 10.0,
        };
        let error = check_length(&length, "workloads[0].classes[1].input").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("workloads[0].classes[1].input.m2"),
            "{error}"
        );
    }
}
