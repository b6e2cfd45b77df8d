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

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        query = hidden * self.heads * self.head_dim * (2 if self.output_gate else 1)
        value = 0 if self.value_is_key else hidden * self.kv_heads * self.v_head_dim
        key = hidden * self.kv_heads * self.head_dim
        return query + key + value + self.heads * self.v_head_dim * hidden

    def kv_elements(self) -> int:
        """Cached elements per token and layer."""
        return self.kv_heads * (self.head_dim + self.v_head_dim)


class MlaAttention(Row):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434), with or without an index.

    With an index (DeepSeek-V3.2) only `index_topk` tokens are attended to; the index keeps a key
    of `index_dim` elements per token beside the latent.
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
    index_heads: CountField = about("Heads of the sparse index; 0: dense", default=0)
    index_dim: CountField = about("Width of an index head", default=0)
    index_topk: CountField = about("Tokens the index selects", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        query_width = self.heads * (self.nope_dim + self.rope_dim)
        rank = self.q_lora_rank
        query = hidden * query_width if rank is None else rank * (hidden + query_width)
        latent = hidden * (self.kv_lora_rank + self.rope_dim)
        expand = self.kv_lora_rank * self.heads * (self.nope_dim + self.v_head_dim)
        output = self.heads * self.v_head_dim * hidden
        index = self.index_heads * self.index_dim * (hidden if rank is None else rank)
        index += hidden * (self.index_dim + self.index_heads)
        return query + latent + expand + output + index

    def kv_elements(self) -> int:
        """Cached elements per token and layer, without the index."""
        return self.kv_lora_rank + self.rope_dim


class LinearAttention(Row):
    """Gated linear attention: a state of fixed size per sequence instead of a cache."""

    kind: Literal["linear"] = about("Kind", default="linear")
    key_heads: PositiveCount = about("Key heads")
    value_heads: PositiveCount = about("Value heads")
    key_dim: PositiveCount = about("Width of a key head")
    value_dim: PositiveCount = about("Width of a value head")
    conv_kernel: CountField = about("Length of the short convolution; 0: none", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer: q, k, v, output gate, decay and step gates, convolution, output."""
        keys = self.key_heads * self.key_dim
        values = self.value_heads * self.value_dim
        inputs = hidden * (2 * keys + 2 * values + 2 * self.value_heads)
        return inputs + (2 * keys + values) * self.conv_kernel + values * hidden

    def kv_elements(self) -> int:
        """Nothing is cached per token."""
        return 0


class DenseFfn(Row):
    """A gated feed-forward layer that every token passes."""

    kind: Literal["dense"] = about("Kind", default="dense")
    inter: PositiveCount = about("Inner width")

    def params(self, hidden: int) -> int:
        """Weights of one layer."""
        return 3 * hidden * self.inter

    def active_params(self, hidden: int) -> int:
        """Weights one token passes."""
        return self.params(hidden)


class MoeFfn(Row):
    """A mixture of gated experts, with shared experts that every token passes."""

    kind: Literal["moe"] = about("Kind", default="moe")
    experts: PositiveCount = about("Routed experts")
    topk: PositiveCount = about("Experts per token")
    inter: PositiveCount = about("Inner width of one expert")
    shared_inter: CountField = about("Inner width of the shared experts together", default=0)

    def params(self, hidden: int) -> int:
        """Weights of one layer, router included."""
        return self._with(self.experts, hidden)

    def active_params(self, hidden: int) -> int:
        """Weights one token passes."""
        return self._with(self.topk, hidden)

    def _with(self, experts: int, hidden: int) -> int:
        return hidden * (3 * (experts * self.inter + self.shared_inter) + self.experts)


Attention = Annotated[GqaAttention | MlaAttention | LinearAttention, Field(discriminator="kind")]
FeedForward = Annotated[DenseFfn | MoeFfn, Field(discriminator="kind")]


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
    def kv_elements_per_token(self) -> int:
        """Cached elements per token in all layers, before any window takes effect."""
        return sum(g.count * g.attention.kv_elements() for g in self.layers)
