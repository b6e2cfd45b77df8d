"""Hugging Face `config.json` (and `hf_quant_config.json`) -> `ModelArchitecture`.

Shapes are read key by key. A key that is needed and absent is an error that names it; a key that
is not known and could change the shape is reported as a warning, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.importers.text import parse_json, read_text
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.rows import validate

# Llama4TextConfig: without `no_rope_layers`, every fourth layer has no rotary part and attends
# to the whole context; the others attend within a chunk.
_LLAMA4_FULL_EVERY = 4
_GEMMA2_FULL_EVERY = 2
_MAX_LAYERS = 10_000
_QUANT_PROBES = {
    "attention": "model.layers.9.self_attn.q_proj",
    "dense": "model.layers.9.mlp.gate_proj",
    "experts": "model.layers.9.mlp.experts.0.gate_proj",
}
_PLAIN_DTYPES = {"bfloat16": "bf16", "float16": "bf16"}
_QUANT_ALGOS = {"FP8": "fp8", "FP8_BLOCK": "fp8_block", "NVFP4": "nvfp4", "MXFP4": "mxfp4"}
# Read for the shape, or known not to change it.
_KNOWN = frozenset(
    [
        "architectures",
        "attention_bias",
        "attention_chunk_size",
        "attention_k_eq_v",
        "attn_output_gate",
        "auto_map",
        "decoder_sparse_step",
        "dtype",
        "enable_moe_block",
        "experts_per_token",
        "first_k_dense_replace",
        "full_attention_interval",
        "global_head_dim",
        "head_dim",
        "hidden_size",
        "index_head_dim",
        "index_n_heads",
        "index_topk",
        "interleave_moe_layer_step",
        "intermediate_size",
        "intermediate_size_mlp",
        "kv_lora_rank",
        "layer_types",
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "max_position_embeddings",
        "max_window_layers",
        "mlp_only_layers",
        "model_type",
        "moe_intermediate_size",
        "moe_layer_freq",
        "moe_layers",
        "mtp_num_hidden_layers",
        "mtp_transformer_layers",
        "n_routed_experts",
        "n_shared_experts",
        "no_rope_layers",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_global_key_value_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_local_experts",
        "num_mtp_modules",
        "num_nextn_predict_layers",
        "q_lora_rank",
        "qk_head_dim",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "quantization_config",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "sliding_window",
        "sliding_window_pattern",
        "tie_word_embeddings",
        "top_k_experts",
        "torch_dtype",
        "transformers_version",
        "use_mtp",
        "use_sliding_window",
        "v_head_dim",
        "vocab_size",
    ]
)
_HARMLESS = re.compile(
    r"""_.*|.*_token_id|.*_token_index|.*dropout.*|.*_eps|rope_.*|rotary_dim|.*rope_interleave|
    initializer_range|hidden_act(ivation)?|use_cache|.*aux_loss.*|output_router_logits|
    norm_topk_prob|routed_scaling_factor|scoring_func|topk_(group|method)|n_group|seq_aux|
    ep_size|pretraining_tp|use_qk_norm|qk_norm_type|use_routing_bias|mlp_bias|qkv_bias|
    initial_context_length|swiglu_limit|final_logit_softcapping|attn_logit_softcapping|
    query_pre_attn_scalar|mamba_ssm_dtype|mtp_use_dedicated_embeddings|
    use_bidirectional_attention|vocab_size_per_layer_input|cache_implementation|
    attention_multiplier|swa_rope_theta|name_or_path|is_decoder|is_encoder_decoder|
    (chunk_size_feed_forward|diversity_penalty|early_stopping|id2label|label2id|length_penalty)|
    (max_length|min_length|no_repeat_ngram_size|num_beam_groups|num_beams|num_return_sequences)|
    (output_attentions|output_hidden_states|output_scores|pruned_heads|remove_invalid_values)|
    (repetition_penalty|return_dict|return_dict_in_generate|temperature|tf_legacy_loss|top_[kp])|
    (torchscript|typical_p|use_bfloat16|add_cross_attention|encoder_no_repeat_ngram_size)|
    (tie_encoder_decoder|do_sample)""".replace("\n", "").replace(" ", "")
)


@dataclass(frozen=True)
class ImportedModel:
    """An architecture and what could not be read with certainty."""

    architecture: ModelArchitecture
    warnings: tuple[str, ...]


def read_config(path: Path, model_id: str | None = None) -> ImportedModel:
    """Reads `config.json` (a file, or the folder that holds it) and the quantisation beside it.

    Raises:
        SchemaError: the file is not JSON, or lacks a key; names file and key.
    """
    file = path / "config.json" if path.is_dir() else path
    config = parse_json(read_text(file), str(file))
    beside = file.with_name(file.name.replace("config.json", "hf_quant_config.json"))
    quant = None
    if beside != file and beside.is_file():
        quant = parse_json(read_text(beside), str(beside))
    return import_config(config, model_id or file.parent.name, quant, str(file))


def import_config(
    config: Any, model_id: str, hf_quant: Any = None, source: str = "config.json"
) -> ImportedModel:
    """Architecture from the content of a `config.json`.

    Raises:
        SchemaError: a needed key is missing, of the wrong kind, or contradicts another.
    """
    if not isinstance(config, dict):
        raise SchemaError(f"{source}: is not a JSON object", "give a Hugging Face config.json")
    return _Reader(config, model_id, hf_quant, source).read()


class _Reader:
    """One import: the flat text part of a config, and the warnings collected on the way."""

    def __init__(self, config: dict[str, Any], model_id: str, hf_quant: Any, source: str) -> None:
        nested = config.get("text_config")
        self.outer = config
        self.c: dict[str, Any] = nested if isinstance(nested, dict) else config
        self.model_id = model_id
        self.hf_quant = hf_quant
        self.source = source
        self.warnings: list[str] = []

    def read(self) -> ImportedModel:
        groups: dict[str, dict[str, Any]] = {}
        depth = self.integer("num_hidden_layers")
        if depth > _MAX_LAYERS:
            raise SchemaError(f"{self.source}: num_hidden_layers is {depth}", "fix the config")
        for i in range(depth):
            layer = {"attention": self.attention(i), "ffn": self.ffn(i)}
            group = groups.setdefault(repr(layer), {"count": 0, **layer})
            group["count"] += 1
        self.unknown_keys()
        row = {
            "id": self.model_id,
            "hidden": self.integer("hidden_size"),
            "vocab": self.integer("vocab_size"),
            "tied": self.tied(),
            "max_context": self.integer("max_position_embeddings"),
            "layers": list(groups.values()),
            "mtp_layers": self.mtp_layers(),
            **self.precision(),
        }
        architecture = validate(ModelArchitecture, row, self.source)
        return ImportedModel(architecture, tuple(dict.fromkeys(self.warnings)))

    def value(self, *keys: str) -> Any:
        """The first of several names of one setting; those present must agree."""
        found = {k: self.c[k] for k in keys if self.c.get(k) is not None}
        if len({repr(v) for v in found.values()}) > 1:
            raise SchemaError(
                f"{self.source}: {', '.join(found)} contradict each other: {found}",
                "keep one of them",
            )
        return next(iter(found.values()), None)

    def integer(self, *keys: str, default: int | None = None) -> int:
        """A count. A missing one without default is an error that names the key."""
        value = self.value(*keys)
        if value is None:
            if default is not None:
                return default
            raise SchemaError(
                f"{self.source}: key {' or '.join(keys)} is missing",
                "the architecture cannot be read without it",
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SchemaError(
                f"{self.source}: {keys[0]} should be a count, got {value!r:.60}", "fix the config"
            )
        return value

    def optional(self, *keys: str) -> int | None:
        """A count, or None where it is absent or null."""
        return None if self.value(*keys) is None else self.integer(*keys)

    def sequence(self, level: Mapping[str, Any], key: str) -> list[Any]:
        """A list of any length; absent or null is empty."""
        value = level.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise SchemaError(
                f"{self.source}: {key} should be a list, got {value!r:.60}", "fix the config"
            )
        return value

    def listed(self, key: str) -> list[Any] | None:
        """A list with one entry per layer, or None."""
        value = self.c.get(key)
        if not isinstance(value, list) or not value:
            return None
        if len(value) != self.integer("num_hidden_layers"):
            raise SchemaError(
                f"{self.source}: {key} has {len(value)} entries for "
                f"{self.integer('num_hidden_layers')} layers",
                "fix the config",
            )
        return value

    # Attention

    def attention(self, layer: int) -> dict[str, Any]:
        kind = self.layer_type(layer)
        if kind == "linear_attention":
            return self.linear()
        if self.c.get("kv_lora_rank") is not None:
            return self.mla()
        return self.gqa(kind)

    def layer_type(self, layer: int) -> str:
        types = self.listed("layer_types")
        if types is not None:
            return self.known_type(types[layer])
        if self.c.get("attention_chunk_size") is not None:
            return self.llama4_type(layer)
        interval = self.optional("full_attention_interval")
        if interval is not None and self.c.get("linear_num_value_heads") is not None:
            return "full_attention" if (layer + 1) % interval == 0 else "linear_attention"
        return self.window_type(layer)

    def known_type(self, kind: Any) -> str:
        kinds = ("full_attention", "sliding_attention", "linear_attention", "chunked_attention")
        if kind not in kinds:
            raise SchemaError(
                f"{self.source}: layer_types has {kind!r:.60}, known are {', '.join(kinds)}",
                "this attention kind is not supported",
            )
        return str(kind)

    def llama4_type(self, layer: int) -> str:
        rotary = self.listed("no_rope_layers")  # 1: the layer has a rotary part
        if rotary is not None:
            return "chunked_attention" if rotary[layer] else "full_attention"
        self.warnings.append(
            "attention_chunk_size without no_rope_layers: every fourth layer attends to all "
            "(the default of the model class)"
        )
        full = (layer + 1) % _LLAMA4_FULL_EVERY == 0
        return "full_attention" if full else "chunked_attention"

    def window_type(self, layer: int) -> str:
        if self.optional("sliding_window") is None or self.c.get("use_sliding_window") is False:
            return "full_attention"
        pattern = self.optional("sliding_window_pattern")
        if self.c.get("model_type") == "gemma2":
            pattern = _GEMMA2_FULL_EVERY
        if pattern is not None:
            return "full_attention" if (layer + 1) % pattern == 0 else "sliding_attention"
        if self.c.get("use_sliding_window") is True:
            first = self.integer("max_window_layers", default=0)
            return "sliding_attention" if layer >= first else "full_attention"
        return "sliding_attention"

    def gqa(self, kind: str) -> dict[str, Any]:
        heads = self.integer("num_attention_heads")
        kv_heads = self.integer("num_key_value_heads", default=heads)
        dim = self.optional("head_dim")
        if dim is None:
            dim = self.derived_head_dim(heads)
        full = kind == "full_attention"
        if full:
            kv_heads = self.integer("num_global_key_value_heads", default=kv_heads)
            dim = self.integer("global_head_dim", default=dim)
        return {
            "kind": "gqa",
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": dim,
            "v_head_dim": self.integer("v_head_dim", default=dim),
            "window": None
            if full
            else self.integer(
                "attention_chunk_size" if kind == "chunked_attention" else "sliding_window"
            ),
            "output_gate": self.c.get("attn_output_gate") is True,
            "value_is_key": full and self.c.get("attention_k_eq_v") is True,
        }

    def derived_head_dim(self, heads: int) -> int:
        hidden = self.integer("hidden_size")
        if heads == 0 or hidden % heads:
            raise SchemaError(
                f"{self.source}: head_dim is missing and hidden_size {hidden} is not a multiple "
                f"of num_attention_heads {heads}",
                "add head_dim",
            )
        return hidden // heads

    def mla(self) -> dict[str, Any]:
        row = {
            "kind": "mla",
            "heads": self.integer("num_attention_heads"),
            "q_lora_rank": self.optional("q_lora_rank"),
            "kv_lora_rank": self.integer("kv_lora_rank"),
            "rope_dim": self.integer("qk_rope_head_dim"),
            "nope_dim": self.integer("qk_nope_head_dim"),
            "v_head_dim": self.integer("v_head_dim"),
        }
        if self.c.get("index_topk") is not None:
            row["index_heads"] = self.integer("index_n_heads")
            row["index_dim"] = self.integer("index_head_dim")
            row["index_topk"] = self.integer("index_topk")
        return row

    def linear(self) -> dict[str, Any]:
        return {
            "kind": "linear",
            "key_heads": self.integer("linear_num_key_heads"),
            "value_heads": self.integer("linear_num_value_heads"),
            "key_dim": self.integer("linear_key_head_dim"),
            "value_dim": self.integer("linear_value_head_dim"),
            "conv_kernel": self.integer("linear_conv_kernel_dim", default=0),
        }

    # Feed-forward

    def ffn(self, layer: int) -> dict[str, Any]:
        experts = self.integer("n_routed_experts", "num_local_experts", "num_experts", default=0)
        if experts == 0 or not self.is_sparse(layer):
            width = self.optional("intermediate_size_mlp")
            return {"kind": "dense", "inter": width or self.integer("intermediate_size")}
        inter = self.integer("moe_intermediate_size", default=0)
        return {
            "kind": "moe",
            "experts": experts,
            "topk": self.integer("num_experts_per_tok", "experts_per_token", "top_k_experts"),
            "inter": inter or self.integer("intermediate_size"),
            "shared_inter": self.shared_inter(inter),
        }

    def is_sparse(self, layer: int) -> bool:
        """Whether this layer routes to experts, by whichever rule the family uses."""
        if layer < self.integer("first_k_dense_replace", default=0):
            return False
        if layer in self.sequence(self.c, "mlp_only_layers"):
            return False
        if isinstance(self.c.get("moe_layers"), list):
            return layer in self.c["moe_layers"]
        frequency = self.c.get("moe_layer_freq")
        if isinstance(frequency, list):
            return bool((self.listed("moe_layer_freq") or [True] * (layer + 1))[layer])
        if isinstance(frequency, int) and frequency > 1:
            return layer % frequency == 0
        step = self.integer("decoder_sparse_step", "interleave_moe_layer_step", default=1)
        return (layer + 1) % max(step, 1) == 0

    def shared_inter(self, moe_inter: int) -> int:
        """Width that every token passes beside the routed experts."""
        if self.c.get("enable_moe_block") is True:  # Gemma: a dense block runs in parallel
            return self.integer("intermediate_size")
        if self.c.get("model_type") == "llama4_text":  # one shared expert as wide as a routed one
            return self.integer("intermediate_size")
        shared = self.integer("n_shared_experts", default=0)
        if shared and not moe_inter:
            raise SchemaError(
                f"{self.source}: n_shared_experts needs moe_intermediate_size",
                "add the width of an expert",
            )
        width = self.integer(
            "shared_expert_intermediate_size", "shared_intermediate_size", default=0
        )
        return shared * moe_inter or width

    # The rest

    def tied(self) -> bool:
        for level in (self.c, self.outer):
            if isinstance(level.get("tie_word_embeddings"), bool):
                return bool(level["tie_word_embeddings"])
        self.warnings.append("tie_word_embeddings is not given: head and embedding counted apart")
        return False

    def mtp_layers(self) -> int:
        if self.c.get("use_mtp") is True:
            return self.integer("num_mtp_modules") * self.integer(
                "mtp_transformer_layers", default=1
            )
        return self.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", default=0)

    def unknown_keys(self) -> None:
        for key, value in self.c.items():
            if key in _KNOWN or _HARMLESS.fullmatch(key) or key.endswith("_config"):
                continue
            if value not in (None, False, 0) and not isinstance(value, str):
                self.warnings.append(f"key {key} is not known and was not used")

    # Precision

    def precision(self) -> dict[str, Any]:
        quant = self.c.get("quantization_config") or self.outer.get("quantization_config")
        kv = None
        if isinstance(self.hf_quant, Mapping) and "quantization" in self.hf_quant:
            stated = self.hf_quant["quantization"]
            if not isinstance(stated, Mapping):
                raise SchemaError(f"{self.source}: quantization is not an object", "fix the file")
            kv = stated.get("kv_cache_quant_algo")
            native = self.algorithm(stated.get("quant_algo"))
            ignored = self.sequence(stated, "exclude_modules")
        elif isinstance(quant, Mapping):
            native, ignored = self.quantised(quant)
        else:
            native, ignored = self.plain_dtype(), []
        if native is None:
            return {}
        parts = {p: _part(native, probe, ignored) for p, probe in _QUANT_PROBES.items()}
        row: dict[str, Any] = {
            "native_precision": native,
            "native_weights": {**parts, "head": "bf16"},
        }
        if kv is not None:
            row["native_kv"] = "fp8" if kv == "FP8" else self.unsupported(f"KV format {kv}")
        return row

    def plain_dtype(self) -> str | None:
        dtype = self.value("dtype", "torch_dtype") or self.outer.get("torch_dtype")
        plain = _PLAIN_DTYPES.get(str(dtype))
        return plain or self.unsupported(f"dtype {dtype}")

    def quantised(self, quant: Mapping[str, Any]) -> tuple[str | None, list[Any]]:
        method = quant.get("quant_method")
        ignored = self.sequence(quant, "modules_to_not_convert") or self.sequence(quant, "ignore")
        if method == "fp8":
            return ("fp8_block" if quant.get("weight_block_size") else "fp8"), ignored
        if method == "mxfp4":
            return "mxfp4", ignored
        if method == "compressed-tensors":
            return self.compressed(quant), ignored
        if "quant_algo" in quant:
            return self.algorithm(quant["quant_algo"]), ignored
        return self.unsupported(f"quant_method {method}"), ignored

    def compressed(self, quant: Mapping[str, Any]) -> str | None:
        formats = {
            (str(g["weights"].get("type")), str(g["weights"].get("num_bits")))
            for g in _values(quant.get("config_groups"))
            if isinstance(g, Mapping) and isinstance(g.get("weights"), Mapping)
        }
        known = {("int", "4"): "int4", ("float", "8"): "fp8", ("float", "4"): "nvfp4"}
        if len(formats) == 1 and (only := next(iter(formats))) in known:
            return known[only]
        return self.unsupported(f"compressed-tensors weights {sorted(map(str, formats))}")

    def algorithm(self, name: Any) -> str | None:
        return _QUANT_ALGOS.get(str(name)) or self.unsupported(f"quant_algo {name}")

    def unsupported(self, what: str) -> str | None:
        self.warnings.append(f"{what} is not known: native precision left blank")
        return None


def _values(groups: Any) -> list[Any]:
    return list(groups.values()) if isinstance(groups, Mapping) else []


def _part(native: str, probe: str, ignored: Sequence[str]) -> str:
    """`bf16` where the quantisation leaves a module of this part out."""
    return "bf16" if any(_matches(str(p), probe) for p in ignored) else native


def _matches(pattern: str, module: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], module) is not None
        except re.error:
            return False
    if "*" in pattern:
        body = re.escape(pattern).replace(r"\*", ".*")
        return re.match(body + r"(\.|$)", module) is not None
    return module == pattern or module.startswith(pattern + ".")
