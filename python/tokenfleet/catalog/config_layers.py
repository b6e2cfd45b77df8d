"""Layers of a Hugging Face `config.json`: the attention and the feed-forward part of each.

Every family says in its own way which layer is of which kind; the ways stand here one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tokenfleet.catalog import config_keys as keys
from tokenfleet.catalog.config_values import Values
from tokenfleet.errors import SchemaError

Part = dict[str, Any]
_NONE: Mapping[str, Any] = {"kind": "none"}
_FULL, _SLIDING, _CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
_LINEAR, _MAMBA = "linear_attention", "mamba"
# Layers with routed experts; of the first ones of DeepSeek-V4 a hash of the token is the router.
_ROUTED = ("sparse", "moe", "hash_moe")
_KINDS = (_FULL, _SLIDING, _LINEAR, _CHUNKED, _MAMBA)
# Blocks of Nemotron-H, as letters and as words.
_BLOCKS = {"M": _MAMBA, "*": "attention", "E": "moe", "-": "mlp"}


class LayerReader(Values):
    """Reads the layers of the tower that speaks."""

    model_type = ""

    def layers(self) -> list[Part]:
        """Attention and feed-forward part of every layer, in order."""
        if self.c.get("block_configs"):
            return self.searched_layers()
        if self.c.get("hybrid_override_pattern") or self.c.get("layers_block_type"):
            return self.blocks()
        return [{"attention": self.attention(i), "ffn": self.ffn(i)} for i in range(self.depth())]

    # Layers that are written as blocks of one part each

    def blocks(self) -> list[Part]:
        """Nemotron-H: a mixer, and the feed-forward part that follows it, are one layer."""
        listed = self.listed("hybrid_override_pattern") or self.listed("layers_block_type") or []
        found: list[Part] = []
        for name in listed:
            kind = _BLOCKS.get(str(name), str(name))
            if kind in (_MAMBA, "attention"):
                mixer = self.mamba() if kind == _MAMBA else self.gqa(_FULL)
                found.append({"attention": mixer, "ffn": dict(_NONE)})
            elif kind not in ("moe", "mlp"):
                raise self.refusal("layers_block_type", f"has {name!r:.40}, which is not modelled")
            else:
                ffn = self.moe() if kind == "moe" else self.dense()
                if not found or found[-1]["ffn"] != _NONE:
                    found.append({"attention": dict(_NONE), "ffn": ffn})
                else:
                    found[-1]["ffn"] = ffn
        return found

    def searched_layers(self) -> list[Part]:
        """Nemotron by architecture search: every layer has heads, or a width, or neither."""
        blocks = self.listed("block_configs") or []
        return [
            {
                "attention": self.searched("attention", block, self.searched_attention),
                "ffn": self.searched("ffn", block, self.searched_ffn),
            }
            for block in blocks
        ]

    def searched(self, name: str, block: Any, read: Any) -> Part:
        """A part of one searched block, its attention or its FFN; `no_op` is no part."""
        part = block.get(name) if isinstance(block, Mapping) else None
        if not isinstance(part, Mapping):
            raise self.refusal("block_configs", f"has an entry without {name}")
        if part.get("no_op") is True:
            return dict(_NONE)
        other = [
            key
            for key, value in part.items()
            if key not in ("no_op", "n_heads_in_group", "ffn_mult") and value
        ]
        if other:
            raise self.refusal("block_configs", f"has {', '.join(other)}, which is not modelled")
        return dict(read(part))

    def searched_attention(self, part: Mapping[str, Any]) -> Part:
        """Grouped attention, such as 64 heads in groups of 8: 8 KV heads."""
        heads = self.integer("num_attention_heads")
        group = Values(part, self.source, self.warnings).integer("n_heads_in_group")
        return {**self.gqa(_FULL), "kv_heads": heads // max(group, 1)}

    def searched_ffn(self, part: Mapping[str, Any]) -> Part:
        """Two thirds of a multiple of the hidden width, in whole 256."""
        times = part.get("ffn_mult")
        if not isinstance(times, int | float):
            raise self.refusal("block_configs", "has a feed-forward part without ffn_mult")
        width = int(2 * times * self.integer("hidden_size") / 3)
        return {"kind": "dense", "inter": -(-width // 256) * 256, "gated": self.gated()}

    # Attention

    def attention(self, layer: int) -> Part:
        """Attention of a layer."""
        if not keys.says_nothing("linear_attn_config", self.c.get("linear_attn_config")):
            return self.delta() if self.is_delta(layer) else self.mla(layer)
        ratios = self.listed("compress_ratios") or self.ratios()
        if ratios is not None:
            return self.compressed(ratios[layer])
        kind = self.layer_type(layer)
        if kind == _LINEAR:
            return self.linear()
        if kind == _MAMBA:
            return self.mamba()
        if self.c.get("kv_lora_rank") is not None:
            return self.mla(layer)
        return self.gqa(kind, layer)

    def layer_type(self, layer: int) -> str:
        """Kind of a layer's attention, by whichever rule the family uses."""
        types = self.listed("layer_types")
        if types is not None:
            return self.known_type(types[layer])
        slides = self.listed("hybrid_layer_pattern")  # MiMo: 1 slides
        if slides is not None:
            return _SLIDING if slides[layer] else _FULL
        if self.c.get("attention_chunk_size") is not None:
            return self.llama4_type(layer)
        return self.state_type(layer) or self.window_type(layer)

    def state_type(self, layer: int) -> str | None:
        """Kind of a layer where some keep a state instead of a cache; None where none does."""
        if self.c.get("attn_layer_period") is not None:  # Jamba
            offset = self.integer("attn_layer_offset", default=0)
            attends = (layer - offset) % self.integer("attn_layer_period") == 0
            return _FULL if attends else _MAMBA
        attending = self.numbers("attn_layer_indices")  # Bamba
        if attending is not None:
            return _FULL if layer in attending else _MAMBA
        interval = self.optional("full_attention_interval")
        if interval is not None and self.c.get("linear_num_value_heads") is not None:
            return _FULL if (layer + 1) % interval == 0 else _LINEAR
        return None

    def known_type(self, kind: Any) -> str:
        """A layer's type as the config names it, such as `sliding_attention`."""
        if kind == keys.SPARSE and self.c.get("index_topk") is not None:
            return _FULL  # over what the index selects, which `mla` reads
        if kind == "attention":
            return _FULL
        if kind not in _KINDS:
            raise SchemaError(
                f"{self.source}: layer_types has {kind!r:.60}, known are {', '.join(_KINDS)}",
                "this attention kind is not supported",
            )
        return str(kind)

    def llama4_type(self, layer: int) -> str:
        """A Llama 4 layer attends to its chunk, or to all where it has no rotary part."""
        rotary = self.listed("no_rope_layers")  # 1: the layer has a rotary part
        if rotary is not None:
            return _CHUNKED if rotary[layer] else _FULL
        self.warnings.append(
            "attention_chunk_size without no_rope_layers: every fourth layer attends to all "
            "(the default of the model class)"
        )
        return _FULL if (layer + 1) % keys.LLAMA4_FULL_EVERY == 0 else _CHUNKED

    def window_type(self, layer: int) -> str:
        """Whether a layer slides a window, by the config's pattern, such as every sixth full."""
        if self.optional("sliding_window") is None or self.c.get("use_sliding_window") is False:
            return _FULL
        pattern = self.optional("sliding_window_pattern")
        if pattern is not None:
            return _FULL if (layer + 1) % pattern == 0 else _SLIDING
        if self.c.get("use_sliding_window") is True:
            first = self.integer("max_window_layers", default=0)
            return _SLIDING if layer >= first else _FULL
        if self.model_type not in keys.ALL_LAYERS_SLIDE:
            raise SchemaError(
                f"{self.source}: key sliding_window: which layers slide is not said, and not known "
                f"of model_type {self.model_type or 'none'}",
                "add layer_types, or sliding_window_pattern",
            )
        return _SLIDING

    def gqa(self, kind: str, layer: int = 0) -> Part:
        """Grouped queries; layers of a kind may have heads of their own."""
        heads = self.integer("num_attention_heads")
        kv_heads = self.integer("num_key_value_heads", "num_attention_groups", default=heads)
        dim = self.optional("head_dim", "attention_head_dim")
        if dim is None:
            dim = self.derived_head_dim(heads)
        full = kind == _FULL
        v_dim = self.optional("v_head_dim")
        own = self.heads_of(kind)
        heads = own.integer("num_attention_heads", default=heads)
        kv_heads = own.integer("num_key_value_heads", "num_attention_groups", default=kv_heads)
        dim = own.integer("head_dim", default=dim)
        window = "attention_chunk_size" if kind == _CHUNKED else "sliding_window"
        return {
            "kind": "gqa",
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": dim,
            "v_head_dim": own.integer("v_head_dim", default=v_dim or dim),
            "q_lora_rank": self.optional("share_q_dim"),
            "window": None if full else self.integer(window),
            "output_gate": self.value("attn_output_gate", "attention_output_gate") is True,
            "value_is_key": full and self.c.get("attention_k_eq_v") is True,
            **self.block_index(layer),
        }

    def heads_of(self, kind: str) -> Values:
        """Settings of heads that only layers of one kind have."""
        if kind == _FULL and self.c.get("global_head_dim") is not None:  # Gemma 4
            names = {"global_head_dim": "head_dim"}
        elif kind == _SLIDING:  # MiMo
            names = {
                f"swa_{name}": name
                for name in ("num_attention_heads", "num_key_value_heads", "head_dim", "v_head_dim")
            }
        else:
            names = {}
        if kind == _FULL:
            names["num_global_key_value_heads"] = "num_key_value_heads"
        other = self.within("attention_other_setting")  # Step
        if other.c and other.c.get("attention_type", _SLIDING) == kind:
            return other
        own = {new: self.c[old] for old, new in names.items() if self.c.get(old) is not None}
        return Values(own, self.source, self.warnings)

    def derived_head_dim(self, heads: int) -> int:
        """The hidden width over the heads, such as 4096 / 32 = 128."""
        hidden = self.integer("hidden_size")
        if heads == 0 or hidden % heads:
            raise SchemaError(
                f"{self.source}: head_dim is missing and hidden_size {hidden} is not a multiple "
                f"of num_attention_heads {heads}",
                "add head_dim",
            )
        return hidden // heads

    def block_index(self, layer: int) -> Part:
        """MiniMax-M3: an index selects blocks of tokens, on the layers that a list names."""
        sparse = self.within("sparse_attention_config")
        if sparse.c.get("use_sparse_attention") is False or not sparse.c:
            return {}
        on = sparse.c.get("sparse_attention_freq")
        if not isinstance(on, list) or len(on) != self.depth():
            raise self.refusal("sparse_attention_config", "does not say which layers are sparse")
        if not on[layer]:
            return {}
        block = sparse.integer("sparse_block_size")
        return {
            "index_heads": sparse.integer("sparse_num_index_heads"),
            "index_dim": sparse.integer("sparse_index_dim"),
            "index_topk": block * sparse.integer("sparse_topk_blocks"),
        }

    def mla(self, layer: int) -> Part:
        """Latent attention, with a sparse index where there is one."""
        row: Part = {
            "kind": "mla",
            "heads": self.integer("num_attention_heads"),
            "q_lora_rank": self.optional("q_lora_rank"),
            "kv_lora_rank": self.integer("kv_lora_rank"),
            "rope_dim": self.integer("qk_rope_head_dim"),
            "nope_dim": self.integer("qk_nope_head_dim"),
            "v_head_dim": self.integer("v_head_dim"),
            "output_gate": self.c.get("mla_use_output_gate") is True,
        }
        if self.c.get("index_topk") is None:
            return row
        row["index_topk"] = self.integer("index_topk")
        if self.has_index(layer):
            row["index_heads"] = self.integer("index_n_heads")
            row["index_dim"] = self.integer("index_head_dim")
        return row

    def has_index(self, layer: int) -> bool:
        """Whether a layer has an index, or attends to what an earlier one's selected (GLM-5.2)."""
        types = self.listed("indexer_types")
        if types is None:
            if self.integer("index_topk_freq", default=1) != 1:
                raise self.refusal("index_topk_freq", "is not 1, and no indexer_types say where")
            return True
        if types[layer] not in ("full", "shared"):
            raise self.refusal(
                "indexer_types", f"has {types[layer]!r:.40}: neither full nor shared"
            )
        return bool(types[layer] == "full")

    def ratios(self) -> list[Any] | None:
        """Compression of every layer where kinds of layers have a rate, as Transformers writes it;
        of the window alone 0. None where no rates are given."""
        rates = self.within("compress_rates").c
        if not rates:
            return None
        types = self.listed("layer_types")
        if types is None:
            raise self.refusal("compress_rates", "is given without layer_types")
        return [0 if kind == _SLIDING else rates.get(kind, kind) for kind in types]

    def compressed(self, ratio: Any) -> Part:
        """DeepSeek-V4: an index selects among entries of few tokens; those of many are all read."""
        if isinstance(ratio, bool) or not isinstance(ratio, int) or ratio < 0:
            raise self.refusal("compress_ratios", f"has {ratio!r:.40}, which is no count")
        if self.integer("num_key_value_heads", default=1) != 1:
            raise self.refusal("compress_ratios", "is modelled with one key-value head")
        row = {
            "kind": "compressed",
            "heads": self.integer("num_attention_heads"),
            "head_dim": self.integer("head_dim"),
            "q_lora_rank": self.integer("q_lora_rank"),
            "o_groups": self.integer("o_groups"),
            "o_lora_rank": self.integer("o_lora_rank"),
            "window": self.integer("sliding_window"),
            "ratio": ratio,
        }
        if 0 < ratio <= keys.INDEXED_RATIO:
            row["index_heads"] = self.integer("index_n_heads")
            row["index_dim"] = self.integer("index_head_dim")
            row["index_topk"] = self.integer("index_topk")
        return row

    def linear(self) -> Part:
        """Gated DeltaNet."""
        return {
            "kind": "linear",
            "key_heads": self.integer("linear_num_key_heads"),
            "value_heads": self.integer("linear_num_value_heads"),
            "key_dim": self.integer("linear_key_head_dim"),
            "value_dim": self.integer("linear_value_head_dim"),
            "conv_kernel": self.integer("linear_conv_kernel_dim", default=0),
        }

    def is_delta(self, layer: int) -> bool:
        """Whether a layer of Kimi Linear is of delta attention; its lists count from one."""
        own = self.within("linear_attn_config")
        delta, full = own.numbers("kda_layers") or [], own.numbers("full_attn_layers") or []
        if sorted(delta + full) != list(range(1, self.depth() + 1)):
            raise self.refusal(
                "linear_attn_config", "does not name every layer once, as kda or as full attention"
            )
        return layer + 1 in delta

    def delta(self) -> Part:
        """Kimi Delta Attention: decays per channel by a low rank, as wide as a head."""
        own = self.within("linear_attn_config")
        heads, dim = own.integer("num_heads"), own.integer("head_dim")
        return {
            "kind": "linear",
            "key_heads": heads,
            "value_heads": heads,
            "key_dim": dim,
            "value_dim": dim,
            "conv_kernel": own.integer("short_conv_kernel_size", default=0),
            "decay_rank": dim,
            "gate_rank": 0 if own.c.get("use_full_rank_gate") is True else dim,
        }

    def mamba(self) -> Part:
        """Mamba-2, or Mamba where the rank of the time step is given (Jamba)."""
        hidden = self.integer("hidden_size")
        states = self.integer("ssm_state_size", "mamba_d_state")
        conv = self.integer("conv_kernel", "mamba_d_conv", default=0)
        heads = self.optional("mamba_num_heads", "mamba_n_heads")
        if heads is None:
            inner = self.integer("mamba_expand") * hidden
            rank = self.integer("mamba_dt_rank", default=math.ceil(hidden / 16))
            shape = {"heads": inner, "head_dim": 1, "dt_rank": rank}
            return {"kind": "mamba", "state_dim": states, "conv_kernel": conv, **shape}
        dim = self.value("mamba_head_dim", "mamba_d_head")
        if dim in (None, "auto"):
            dim = self.integer("mamba_expand") * hidden // max(heads, 1)
        return {
            "kind": "mamba",
            "heads": heads,
            "head_dim": dim,
            "state_dim": states,
            "groups": self.integer("n_groups", "mamba_n_groups", default=1),
            "conv_kernel": conv,
        }

    # Feed-forward

    def gated(self) -> bool:
        """Whether feed-forward parts have a gate."""
        activation = self.value("mlp_hidden_act", "hidden_act")
        return not (self.model_type in keys.UNGATED or activation in keys.UNGATED_ACTIVATIONS)

    def ffn(self, layer: int) -> Part:
        """Feed-forward part of a layer."""
        return self.moe() if self.experts() > 1 and self.is_sparse(layer) else self.dense()

    def experts(self) -> int:
        """How many routed experts a layer has; 0 for a dense model."""
        return self.integer(
            "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", default=0
        )

    def dense(self) -> Part:
        """A dense FFN: its inner width and whether it is gated."""
        width = self.optional("intermediate_size_mlp", "dense_intermediate_size")
        if self.model_type == "granitemoehybrid":
            width = self.optional("shared_intermediate_size")
        return {
            "kind": "dense",
            "inter": width or self.integer("intermediate_size"),
            "gated": self.gated(),
        }

    def moe(self) -> Part:
        """A layer of experts: their number, width, how many a token uses, and what is shared."""
        inter = self.integer("moe_intermediate_size", default=0)
        return {
            "kind": "moe",
            "experts": self.experts(),
            "topk": self.integer(
                "num_experts_per_tok",
                "num_experts_per_token",
                "experts_per_token",
                "top_k_experts",
                "moe_top_k",
                "moe_topk",
                "moe_k",
            ),
            "inter": inter or self.integer("intermediate_size"),
            "shared_inter": self.shared_inter(inter),
            "gated": self.gated(),
            "latent": self.integer("moe_latent_size", "routed_expert_hidden_size", default=0),
        }

    def is_sparse(self, layer: int) -> bool:
        """Whether this layer routes to experts, by whichever rule the family uses."""
        types = self.listed("mlp_layer_types")
        if types is not None:
            if types[layer] not in ("dense", *_ROUTED):
                raise self.refusal("mlp_layer_types", f"has {types[layer]!r:.40}")
            return types[layer] in _ROUTED
        if layer < self.integer("first_k_dense_replace", default=0):
            return False
        if layer in (self.numbers("mlp_only_layers") or []):
            return False
        if self.c.get("moe_layer_start_index") is not None:
            return self.in_sparse_range(layer)
        named = self.numbers("moe_layers" if "moe_layers" in self.c else "moe_layers_enum")
        if named is not None:
            return layer in named
        return self.is_sparse_by_period(layer)

    def is_sparse_by_period(self, layer: int) -> bool:
        """Whether a layer has experts by a period, such as every second one of Jamba."""
        frequency = self.c.get("moe_layer_freq")
        if isinstance(frequency, list):
            return bool((self.listed("moe_layer_freq") or [True] * (layer + 1))[layer])
        if isinstance(frequency, int) and frequency > 1:
            return layer % frequency == 0
        if self.c.get("expert_layer_period") is not None:  # Jamba
            offset = self.integer("expert_layer_offset", default=0)
            return (layer - offset) % self.integer("expert_layer_period") == 0
        step = self.integer("decoder_sparse_step", "interleave_moe_layer_step", default=1)
        return (layer + 1) % max(step, 1) == 0

    def in_sparse_range(self, layer: int) -> bool:
        """ERNIE's rule: every so many layers of a range; an end of -1 is the last layer."""
        end = self.c.get("moe_layer_end_index", -1)
        last = self.depth() - 1 if end == -1 else end
        interval = max(self.integer("moe_layer_interval", default=1), 1)
        inside = self.integer("moe_layer_start_index") <= layer <= last
        return inside and (layer + 1) % interval == 0

    def shared_inter(self, moe_inter: int) -> int:
        """Width that every token passes beside the routed experts."""
        if self.c.get("enable_moe_block") is True:  # Gemma: a dense block runs in parallel
            return self.integer("intermediate_size")
        if self.c.get("model_type") == "llama4_text":  # one shared expert as wide as a routed one
            return self.integer("intermediate_size")
        width = self.integer(
            "shared_expert_intermediate_size",
            "shared_intermediate_size",
            "share_expert_dim",
            default=0,
        )
        shared = self.integer(
            "n_shared_experts",
            "num_shared_experts",
            "num_shared_expert",
            "moe_num_shared_experts",
            default=0,
        )
        if shared and not moe_inter and not width:
            raise SchemaError(
                f"{self.source}: n_shared_experts needs moe_intermediate_size",
                "add the width of an expert",
            )
        own = self.integer("moe_shared_expert_intermediate_size", default=moe_inter)
        return shared * own or width
