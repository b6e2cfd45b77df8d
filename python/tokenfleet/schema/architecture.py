"""Architecture of a model: groups of equal layers, from which weights and caches are counted.

Parameter counts are matrix weights computed from the shapes, never taken from a model's name:
norms, biases, and vision or audio towers are left out, as are multi-token-prediction layers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tokenfleet.schema.fields import Count as CountField
from tokenfleet.schema.fields import Flag, Name, PositiveCount, about
from tokenfleet.schema.formats import KvPrecision, Precision
from tokenfleet.schema.rows import Row


class GqaAttention(Row):
    """Grouped-query attention; multi-head and multi-query are special cases."""

    kind: Literal["gqa"] = about("Kind", default="gqa")
    heads: PositiveCount = about("Query heads")
    kv_heads: PositiveCount = about("Key-value heads")
    head_dim: PositiveCount = about("Width of a query or key head")
    v_head_dim: PositiveCount = about("Width of a value head")
    window: PositiveCount | None = about(
        "Sliding window, tokens; blank attends to all", default=None
    )
    output_gate: Flag = about("A gate as wide as the queries multiplies the output", default=False)
    value_is_key: Flag = about("Values are the keys: no value projection", default=False)
    q_lora_rank: PositiveCount | None = about(
        "Rank of the query; blank projects directly", default=None
    )
    index_heads: CountField = about("Heads of a sparse index; 0: none", default=0)
    index_dim: CountField = about("Width of an index head", default=0)
    index_topk: CountField = about("Tokens the index selects; 0: all", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        width = self.heads * self.head_dim * (2 if self.output_gate else 1)
        rank = self.q_lora_rank
        query = hidden * width if rank is None else rank * (hidden + width)
        value = 0 if self.value_is_key else hidden * self.kv_heads * self.v_head_dim
        key = hidden * self.kv_heads * self.head_dim
        index = hidden * self.index_dim * (self.index_heads + 1)
        return query + key + value + index + self.heads * self.v_head_dim * hidden

    def kv_elements(self) -> float:
        """Cached elements per token and layer, the index's key included."""
        return self.kv_heads * (self.head_dim + self.v_head_dim) + self.index_dim


class MlaAttention(Row):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434), with or without an index.

    With an index (DeepSeek-V3.2) only `index_topk` tokens are attended to; the index keeps a key
    of `index_dim` elements per token beside the latent. A layer that attends to what an earlier
    one's index selected (GLM-5.2) has `index_topk` alone.
    """

    kind: Literal["mla"] = about("Kind", default="mla")
    heads: PositiveCount = about("Query heads")
    q_lora_rank: PositiveCount | None = about(
        "Rank of the query; blank projects directly", default=None
    )
    kv_lora_rank: PositiveCount = about("Rank of the cached latent")
    rope_dim: PositiveCount = about("Width of the rotary part, cached beside the latent")
    nope_dim: PositiveCount = about("Width of the part without position")
    v_head_dim: PositiveCount = about("Width of a value head")
    index_heads: CountField = about("Heads of the layer's own sparse index; 0: none", default=0)
    index_dim: CountField = about("Width of an index head", default=0)
    index_topk: CountField = about("Tokens that an index selects; 0: all", default=0)
    output_gate: Flag = about("A gate as wide as the values multiplies the output", default=False)

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        query_width = self.heads * (self.nope_dim + self.rope_dim)
        rank = self.q_lora_rank
        query = hidden * query_width if rank is None else rank * (hidden + query_width)
        latent = hidden * (self.kv_lora_rank + self.rope_dim)
        expand = self.kv_lora_rank * self.heads * (self.nope_dim + self.v_head_dim)
        output = self.heads * self.v_head_dim * hidden * (2 if self.output_gate else 1)
        index = self.index_heads * self.index_dim * (hidden if rank is None else rank)
        index += hidden * (self.index_dim + self.index_heads)
        return query + latent + expand + output + index

    def kv_elements(self) -> float:
        """Cached elements per token and layer, the index's key included."""
        return self.kv_lora_rank + self.rope_dim + self.index_dim


class CompressedAttention(Row):
    """One latent per token is key and value of every head (DeepSeek-V4).

    The last `window` tokens are attended to as they are; of the others, one compressed entry is
    kept per `ratio` tokens, and all entries are attended to, or the `index_topk` that an index
    selects. With an index, entries overlap: what makes them is twice as wide.
    """

    kind: Literal["compressed"] = about("Kind", default="compressed")
    heads: PositiveCount = about("Query heads")
    head_dim: PositiveCount = about("Width of a head and of the latent")
    q_lora_rank: PositiveCount = about("Rank of the query")
    o_groups: PositiveCount = about("Groups of heads whose outputs are compressed by themselves")
    o_lora_rank: PositiveCount = about("Rank of the output of a group")
    window: PositiveCount = about("Tokens attended to as they are")
    ratio: CountField = about("Tokens of one compressed entry; 0: the window alone", default=0)
    index_heads: CountField = about("Heads of the sparse index; 0: every entry", default=0)
    index_dim: CountField = about("Width of an index head", default=0)
    index_topk: CountField = about("Entries the index selects", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        width = self.heads * self.head_dim
        query = self.q_lora_rank * (hidden + width)
        output = self.o_lora_rank * (width + self.o_groups * hidden)
        entries = 2 * self.head_dim if self.ratio else 0
        index = 0
        if self.index_heads:
            entries *= 2
            index = self.index_heads * (self.index_dim * self.q_lora_rank + hidden)
            index += 4 * self.index_dim * hidden
        return query + output + index + hidden * (self.head_dim + entries)

    def kv_elements(self) -> float:
        """Cached elements per token and layer beyond the window."""
        return (self.head_dim + self.index_dim) / self.ratio if self.ratio else 0


class LinearAttention(Row):
    """Gated linear attention: a state of fixed size per sequence instead of a cache.

    Gated DeltaNet has one decay per head; Kimi Delta Attention one per channel, by a low rank.
    """

    kind: Literal["linear"] = about("Kind", default="linear")
    key_heads: PositiveCount = about("Key heads")
    value_heads: PositiveCount = about("Value heads")
    key_dim: PositiveCount = about("Width of a key head")
    value_dim: PositiveCount = about("Width of a value head")
    conv_kernel: CountField = about("Length of the short convolution; 0: none", default=0)
    decay_rank: CountField = about("Rank of decays per channel; 0: one per head", default=0)
    gate_rank: CountField = about("Rank of the output gate; 0: projects directly", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer: q, k, v, output gate, decay and step gates, convolution, output."""
        keys = self.key_heads * self.key_dim
        values = self.value_heads * self.value_dim
        heads = self.value_heads
        gate = self.gate_rank * (hidden + values) if self.gate_rank else hidden * values
        decay = self.decay_rank * (hidden + heads * self.key_dim) or hidden * heads
        inputs = hidden * (2 * keys + values + heads) + gate + decay
        return inputs + (2 * keys + values) * self.conv_kernel + values * hidden

    def kv_elements(self) -> float:
        """Nothing is cached per token."""
        return 0


class MambaAttention(Row):
    """A state-space layer: Mamba-2 (arXiv:2405.21060), or Mamba where `dt_rank` is given.

    Mamba has a head per channel (`head_dim` 1) and one group.
    """

    kind: Literal["mamba"] = about("Kind", default="mamba")
    heads: PositiveCount = about("Heads of the state")
    head_dim: PositiveCount = about("Width of a head")
    state_dim: PositiveCount = about("Width of the state of a channel")
    groups: PositiveCount = about("Groups of heads that share inputs to the state", default=1)
    conv_kernel: CountField = about("Length of the short convolution; 0: none", default=0)
    dt_rank: CountField = about("Rank of the time step; 0: one per head (Mamba-2)", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer: inputs and gate, state inputs, time step, convolution, output."""
        inner = self.heads * self.head_dim
        states = 2 * self.groups * self.state_dim
        through = hidden * 3 * inner
        if self.dt_rank:
            steps = inner * (2 * self.dt_rank + states + self.state_dim)
            return through + steps + inner * self.conv_kernel
        return through + hidden * (states + self.heads) + (inner + states) * self.conv_kernel

    def kv_elements(self) -> float:
        """Nothing is cached per token."""
        return 0


class NoAttention(Row):
    """The layer has a feed-forward part alone."""

    kind: Literal["none"] = about("Kind", default="none")

    def params(self, hidden: int) -> int:
        """No weights."""
        return 0

    def kv_elements(self) -> float:
        """Nothing is cached."""
        return 0


class DenseFfn(Row):
    """A feed-forward layer that every token passes."""

    kind: Literal["dense"] = about("Kind", default="dense")
    inter: PositiveCount = about("Inner width")
    gated: Flag = about("Has a gate: three matrices, not two", default=True)

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        return (2 + self.gated) * hidden * self.inter

    def active_params(self, hidden: int) -> int:
        """Weights one token passes."""
        return self.params(hidden)


class MoeFfn(Row):
    """A mixture of experts, with shared experts that every token passes."""

    kind: Literal["moe"] = about("Kind", default="moe")
    experts: PositiveCount = about("Routed experts")
    topk: PositiveCount = about("Experts per token")
    inter: PositiveCount = about("Inner width of one expert")
    shared_inter: CountField = about("Inner width of the shared experts together", default=0)
    gated: Flag = about("Experts have a gate: three matrices, not two", default=True)
    latent: CountField = about(
        "Width that routed experts work on, projected to and from it; 0: the hidden width",
        default=0,
    )

    def params(self, hidden: int) -> int:
        """Weights of one layer, router included."""
        return self._with(self.experts, hidden)

    def active_params(self, hidden: int) -> int:
        """Weights one token passes."""
        return self._with(self.topk, hidden)

    def _with(self, experts: int, hidden: int) -> int:
        width, matrices = self.latent or hidden, 2 + self.gated
        routed = matrices * experts * self.inter * width + 2 * self.latent * hidden
        return routed + hidden * (matrices * self.shared_inter + self.experts)


class NoFfn(Row):
    """The layer has an attention part alone."""

    kind: Literal["none"] = about("Kind", default="none")

    def params(self, hidden: int) -> int:
        """No weights."""
        return 0

    def active_params(self, hidden: int) -> int:
        """No weights."""
        return 0


Attention = Annotated[
    GqaAttention
    | MlaAttention
    | CompressedAttention
    | LinearAttention
    | MambaAttention
    | NoAttention,
    Field(discriminator="kind"),
]
FeedForward = Annotated[DenseFfn | MoeFfn | NoFfn, Field(discriminator="kind")]


class LayerGroup(Row):
    """Equal layers, wherever they stand in the model."""

    count: PositiveCount = about("How many")
    attention: Attention = about("Attention")
    ffn: FeedForward = about("Feed-forward part")


class NativeWeights(Row):
    """Format in which the weights are published, per part."""

    attention: Precision = about("Attention projections")
    dense: Precision = about("Dense layers and shared experts")
    experts: Precision = about("Routed experts")
    head: Precision = about("Embedding and output head")


class ModelArchitecture(Row):
    """Shape of a model, as read from its `config.json`."""

    id: Name = about("Catalog identifier")
    hidden: PositiveCount = about("Hidden width")
    vocab: PositiveCount = about("Vocabulary size")
    tied: Flag = about("Embedding and output head share weights")
    max_context: PositiveCount = about("Longest context, tokens")
    layers: Annotated[tuple[LayerGroup, ...], Field(min_length=1)] = about("Layers in groups")
    mtp_layers: CountField = about("Multi-token-prediction layers", default=0)
    native_precision: Precision | None = about("Format of most published weights", default=None)
    native_weights: NativeWeights | None = about("The same, per part", default=None)
    native_kv: KvPrecision | None = about("KV format that the publisher states", default=None)

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return sum(g.count for g in self.layers)

    @property
    def is_moe(self) -> bool:
        """Whether any layer routes tokens to experts."""
        return any(g.ffn.kind == "moe" for g in self.layers)

    @property
    def total_params(self) -> int:
        """Matrix weights of the language model."""
        body = sum(
            g.count * (g.attention.params(self.hidden) + g.ffn.params(self.hidden))
            for g in self.layers
        )
        return body + self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def active_params(self) -> int:
        """Weights one token passes: the input embedding is one row and is not counted."""
        body = sum(
            g.count * (g.attention.params(self.hidden) + g.ffn.active_params(self.hidden))
            for g in self.layers
        )
        return body + self.vocab * self.hidden

    @property
    def kv_elements_per_token(self) -> float:
        """Cached elements per token in all layers, before any window takes effect."""
        return sum(g.count * g.attention.kv_elements() for g in self.layers)
