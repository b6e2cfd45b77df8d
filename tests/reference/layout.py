"""A layout and what it divides."""

from __future__ import annotations

from dataclasses import dataclass

from reference.units import Json


@dataclass(frozen=True)
class Layout:
    """One layout with what it refers to."""

    spec: Json
    workload: Json
    system: Json
    kernel: Json
    model: Json
    precision: Json
    kv: int
    tp: int
    pp: int
    ep: int
    adp: int
    speculation: Json
    role: str
    split: int

    @property
    def gpus(self) -> int:
        """Accelerators in a replica."""
        return self.tp * self.adp * self.pp

    @property
    def stage(self) -> int:
        """Accelerators in a pipeline stage."""
        return self.tp * self.adp

    @property
    def lanes(self) -> int:
        """Batches in flight at once: data-parallel ranks times stages."""
        return self.adp * self.pp

    @property
    def layer_count(self) -> int:
        """Layers of the model."""
        return sum(group["count"] for group in self.model["layers"])

    def weight(self, part: str) -> float:
        """Bytes per weight of a part."""
        return float(self.spec["dtypes"][self.precision[part]]["weight_bytes"])


def group_splits(group: Json, tp: int, stage: int, ep: int) -> bool:
    """Whether heads, widths and experts of a layer group divide evenly."""
    attention, ffn = group["attention"], group["ffn"]
    names = ("key_heads", "value_heads") if attention["kind"] == "linear" else ("heads",)
    even = all(attention[name] % tp == 0 for name in names)
    if attention["kind"] == "gqa":
        even &= attention["kv_heads"] % tp == 0 or tp % attention["kv_heads"] == 0
    if ffn["kind"] == "dense":
        return even and ffn["inter"] % tp == 0
    return even and ffn["experts"] % ep == 0 and ffn["inter"] % (stage // ep) == 0


def is_layout(model: Json, system: Json, w: Json, degrees: tuple[int, int, int, int]) -> bool:
    """Whether ``(tp, pp, ep, adp)`` suit the model and the system."""
    tp, pp, ep, adp = degrees
    stage, gpus = tp * adp, tp * adp * pp
    layer_count = sum(group["count"] for group in model["layers"])
    routed = any(group["ffn"]["kind"] == "moe" for group in model["layers"])
    fits_system = gpus <= system["gpus"] or gpus % system["gpus"] == 0
    experts_split = stage % ep == 0 if routed else (ep, adp) == (1, 1)
    if gpus > w["max_gpus"] or pp > layer_count or not fits_system or not experts_split:
        return False
    return all(group_splits(group, tp, stage, ep) for group in model["layers"])


def attention_products(layout: Layout, a: Json) -> list[tuple[float, float]]:
    """``(n, k)`` of the projections of one layer on one rank."""
    hidden, tp = layout.model["hidden"], layout.tp
    if a["kind"] == "gqa":
        q, kv = a["heads"] / tp, max(a["kv_heads"] // tp, 1)
        queries = q * a["head_dim"] * (2 if a.get("output_gate") else 1)
        values = 0 if a.get("value_is_key") else kv * a["v_head_dim"]
        qkv = queries + kv * a["head_dim"] + values
        return [(qkv, hidden), (hidden, q * a["v_head_dim"])]
    if a["kind"] == "mla":
        q, down = a["heads"] / tp, a["q_lora_rank"] or 0
        index_heads, index_dim = a.get("index_heads", 0), a.get("index_dim", 0)
        latent = down + a["kv_lora_rank"] + a["rope_dim"]
        return [
            (latent + index_dim + index_heads, hidden),
            (q * (a["nope_dim"] + a["rope_dim"]) + index_heads * index_dim, down or hidden),
            (q * (a["nope_dim"] + a["v_head_dim"]), a["kv_lora_rank"]),
            (hidden, q * a["v_head_dim"]),
        ]
    keys, values = a["key_heads"] * a["key_dim"] / tp, a["value_heads"] * a["value_dim"] / tp
    return [(2 * keys + 2 * values, hidden), (hidden, values)]


def dense_inner(layout: Layout, ffn: Json) -> float:
    """Inner width that every token passes, on one rank."""
    return float((ffn["inter"] if ffn["kind"] == "dense" else ffn["shared_inter"]) / layout.tp)


def dense_products(layout: Layout, ffn: Json) -> list[tuple[float, float]]:
    """``(n, k)`` of the gated dense part: gate and up together, then down."""
    inner, hidden = dense_inner(layout, ffn), layout.model["hidden"]
    return [(2 * inner, hidden), (hidden, inner)] if inner else []
