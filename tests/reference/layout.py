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
    names = {"linear": ["value_heads"], "compressed": ["heads", "o_groups"], "none": []}
    even = all(attention[name] % tp == 0 for name in names.get(attention["kind"], ["heads"]))
    # Key heads are divided, or each of several ranks has a copy of one.
    keys = {"gqa": "kv_heads", "linear": "key_heads"}.get(attention["kind"])
    if keys is not None:
        copied = attention["kind"] == "gqa" or attention.get("copied_keys", False)
        even &= attention[keys] % tp == 0 or (copied and tp % attention[keys] == 0)
    if ffn["kind"] == "none":
        return even
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
        index = a.get("index_dim", 0) * (a.get("index_heads", 0) + 1)
        rank = a.get("q_lora_rank") or 0
        qkv = (rank or queries) + kv * a["head_dim"] + values + index
        up = [(queries, rank)] if rank else []
        return [(qkv, hidden), (hidden, q * a["v_head_dim"]), *up]
    if a["kind"] == "mla":
        q, down = a["heads"] / tp, a["q_lora_rank"] or 0
        index_heads, index_dim = a.get("index_heads", 0), a.get("index_dim", 0)
        latent = down + a["kv_lora_rank"] + a["rope_dim"]
        latent += q * a["v_head_dim"] if a.get("output_gate") else 0
        return [
            (latent + index_dim + index_heads, hidden),
            (q * (a["nope_dim"] + a["rope_dim"]) + index_heads * index_dim, down or hidden),
            (q * (a["nope_dim"] + a["v_head_dim"]), a["kv_lora_rank"]),
            (hidden, q * a["v_head_dim"]),
        ]
    if a["kind"] == "none":
        return []
    if a["kind"] == "compressed":
        return compressed_products(layout, a)
    keys, values = (
        max(a["key_heads"] / tp, 1) * a["key_dim"],
        a["value_heads"] * a["value_dim"] / tp,
    )
    rank = a.get("gate_rank", 0)
    low = [(values, rank)] if rank else []
    return [(2 * keys + values + (rank or values), hidden), (hidden, values), *low]


def compressed_products(layout: Layout, a: Json) -> list[tuple[float, float]]:
    """``(n, k)`` where one latent is key and value: query, entries and index, grouped output."""
    hidden, tp, d, rank = layout.model["hidden"], layout.tp, a["head_dim"], a["q_lora_rank"]
    inputs = rank + d
    if a["ratio"]:
        inputs += 4 * d if a["index_heads"] else 2 * d  # values and weights, twice if overlapping
    if a["index_heads"]:
        inputs += a["index_heads"] + 4 * a["index_dim"]
    width = a["heads"] / tp * d
    return [
        (inputs, hidden),
        (width + a["index_heads"] * a["index_dim"], rank),
        (a["o_lora_rank"], width),
        (hidden, a["o_groups"] / tp * a["o_lora_rank"]),
    ]


def dense_inner(layout: Layout, ffn: Json) -> float:
    """Inner width that every token passes, on one rank."""
    name = {"dense": "inter", "moe": "shared_inter"}.get(ffn["kind"])
    return float(ffn[name] / layout.tp) if name else 0.0


def matrices(ffn: Json) -> int:
    """Matrices of a feed-forward part: up and down, and a gate."""
    return 0 if ffn["kind"] == "none" else 3 if ffn.get("gated", True) else 2


def expert_width(layout: Layout, ffn: Json) -> float:
    """Width that routed experts work on."""
    return float(ffn.get("latent") or layout.model["hidden"])


def dense_products(layout: Layout, ffn: Json) -> list[tuple[float, float]]:
    """``(n, k)`` of the dense part: gate and up together, then down; and of a latent of experts."""
    inner, hidden = dense_inner(layout, ffn), layout.model["hidden"]
    first = (matrices(ffn) - 1) * inner
    latent = ffn.get("latent", 0)
    through = [(latent, hidden), (hidden, latent)] if latent else []
    return [(first, hidden), (hidden, inner), *through] if inner else through
