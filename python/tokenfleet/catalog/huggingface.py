"""Hugging Face `config.json` (and `hf_quant_config.json`) -> `ModelArchitecture`.

Shapes are read key by key. A key that is needed and absent is an error that names it, and so is one
that is known to change the shape in a way that is not modelled (`config_keys.py`); a key that is
not known at all is reported as a warning, never guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.catalog import config_keys as keys
from tokenfleet.catalog.precision import Precision, sequence
from tokenfleet.errors import SchemaError
from tokenfleet.files.read import parse_json, read_text
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.rows import validate

_MAX_LAYERS = 10_000
_TIED = "tie_word_embeddings"


@dataclass(frozen=True)
class ImportedModel:
    """An architecture and what could not be read with certainty."""

    architecture: ModelArchitecture
    warnings: tuple[str, ...]


def read_config(
    path: Path, model_id: str | None = None, ignore: Sequence[str] = ()
) -> ImportedModel:
    """Reads `config.json` (a file, or the folder that holds it) and the quantisation beside it.

    Keys of `ignore` are left out of the reading, at the caller's word.

    Raises:
        SchemaError: the file is not JSON, or lacks a key; names file and key.
    """
    file = path / "config.json" if path.is_dir() else path
    config = parse_json(read_text(file), str(file), foreign=True)
    beside = file.with_name(file.name.replace("config.json", "hf_quant_config.json"))
    quant = None
    if beside != file and beside.is_file():
        quant = parse_json(read_text(beside), str(beside))
    return import_config(config, model_id or file.parent.name, quant, str(file), ignore)


def import_config(
    config: Any,
    model_id: str,
    hf_quant: Any = None,
    source: str = "config.json",
    ignore: Sequence[str] = (),
) -> ImportedModel:
    """Architecture from the content of a `config.json`.

    Raises:
        SchemaError: a needed key is missing, of the wrong kind, contradicts another, or changes
            the shape in a way that is not modelled.
    """
    if not isinstance(config, dict):
        raise SchemaError(f"{source}: is not a JSON object", "give a Hugging Face config.json")
    return _Reader(config, model_id, hf_quant, source, ignore).read()


class _Reader:
    """One import: the flat text part of a config, and the warnings collected on the way."""

    def __init__(
        self,
        config: dict[str, Any],
        model_id: str,
        hf_quant: Any,
        source: str,
        ignore: Sequence[str],
    ) -> None:
        nested = (config.get(name) for name in keys.NESTED)
        own = next((level for level in nested if isinstance(level, dict)), config)
        self.outer = config
        self.own = {k: v for k, v in own.items() if k not in ignore}
        types = (own.get("model_type"), config.get("model_type"))
        named = "" if "model_type" in ignore else next((t for t in types if t), "")
        self.model_type = str(named)
        self.defaults = keys.CLASS_DEFAULTS.get(self.model_type, {})
        self.c: dict[str, Any] = {**self.defaults, **self.own}
        self.model_id = model_id
        self.hf_quant = hf_quant
        self.source = source
        self.warnings = [f"key {key} was left out, as asked" for key in ignore if key in own]

    def read(self) -> ImportedModel:
        self.refuse_other_shapes()
        self.note_defaults()
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
            **Precision(self.c, self.outer, self.hf_quant, self.source, self.warnings).row(),
        }
        architecture = validate(ModelArchitecture, row, self.source)
        return ImportedModel(architecture, tuple(dict.fromkeys(self.warnings)))

    def refuse_other_shapes(self) -> None:
        """Refuses what would be read wrongly: named by its key."""
        for key, value in self.own.items():
            known = key in keys.KNOWN or keys.HARMLESS.fullmatch(key)
            empty = value in (None, False, 0, "", [], {}) or keys.says_full(value)
            if not known and not empty and keys.SHAPING.fullmatch(key):
                raise self.refusal(key, "changes the shape in a way that is not modelled")
        if self.model_type in keys.MISLEADING:
            raise self.refusal(
                "model_type", f"{self.model_type}: {keys.MISLEADING[self.model_type]}"
            )
        activation = str(self.c.get("hidden_act"))
        for key, value, ungated in (
            ("model_type", self.model_type, keys.UNGATED),
            ("hidden_act", activation, keys.UNGATED_ACTIVATIONS),
        ):
            if value in ungated:
                text = f"{value}: its feed-forward part has two matrices, and only gated ones of "
                raise self.refusal(key, f"{text}three are modelled")

    def refusal(self, key: str, why: str) -> SchemaError:
        """The error about a key that must not be read over."""
        return SchemaError(
            f"{self.source}: key {key} {why}",
            "give the layers by hand in a catalog file; or, if it changes little, read the config "
            f"without it: --ignore {key}, or `ignore: [{key}]` beside `config:`",
        )

    def note_defaults(self) -> None:
        """Says which values were left out of the config and taken from its class."""
        taken = {k: v for k, v in self.defaults.items() if k not in self.own and k != _TIED}
        if taken:
            text = ", ".join(f"{k} {v}" for k, v in taken.items())
            self.warnings.append(f"taken from the class of {self.model_type}: {text}")

    def value(self, *names: str) -> Any:
        """The first of several names of one setting; those present must agree."""
        found = {k: self.c[k] for k in names if self.c.get(k) is not None}
        if len({repr(v) for v in found.values()}) > 1:
            raise SchemaError(
                f"{self.source}: {', '.join(found)} contradict each other: {found}",
                "keep one of them",
            )
        return next(iter(found.values()), None)

    def integer(self, *names: str, default: int | None = None) -> int:
        """A count. A missing one without default is an error that names the key."""
        value = self.value(*names)
        if value is None:
            if default is not None:
                return default
            raise SchemaError(
                f"{self.source}: key {' or '.join(names)} is missing",
                "the architecture cannot be read without it",
            )
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SchemaError(
                f"{self.source}: {names[0]} should be a count, got {value!r:.60}", "fix the config"
            )
        return value

    def optional(self, *names: str) -> int | None:
        """A count, or None where it is absent or null."""
        return None if self.value(*names) is None else self.integer(*names)

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
        if kind == keys.SPARSE and self.c.get("index_topk") is not None:
            return "full_attention"  # over what the index selects, which `mla` reads
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
        full = (layer + 1) % keys.LLAMA4_FULL_EVERY == 0
        return "full_attention" if full else "chunked_attention"

    def window_type(self, layer: int) -> str:
        if self.optional("sliding_window") is None or self.c.get("use_sliding_window") is False:
            return "full_attention"
        pattern = self.optional("sliding_window_pattern")
        if pattern is not None:
            return "full_attention" if (layer + 1) % pattern == 0 else "sliding_attention"
        if self.c.get("use_sliding_window") is True:
            first = self.integer("max_window_layers", default=0)
            return "sliding_attention" if layer >= first else "full_attention"
        if self.model_type not in keys.ALL_LAYERS_SLIDE:
            raise SchemaError(
                f"{self.source}: key sliding_window: which layers slide is not said, and not known "
                f"of model_type {self.model_type or 'none'}",
                "add layer_types, or sliding_window_pattern",
            )
        return "sliding_attention"

    def gqa(self, kind: str) -> dict[str, Any]:
        heads = self.integer("num_attention_heads")
        kv_heads = self.integer("num_key_value_heads", default=heads)
        dim = self.optional("head_dim", "attention_head_dim")
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
        experts = self.integer(
            "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", default=0
        )
        if experts == 0 or not self.is_sparse(layer):
            width = self.optional("intermediate_size_mlp")
            return {"kind": "dense", "inter": width or self.integer("intermediate_size")}
        inter = self.integer("moe_intermediate_size", default=0)
        return {
            "kind": "moe",
            "experts": experts,
            "topk": self.integer(
                "num_experts_per_tok", "experts_per_token", "top_k_experts", "moe_k"
            ),
            "inter": inter or self.integer("intermediate_size"),
            "shared_inter": self.shared_inter(inter),
        }

    def is_sparse(self, layer: int) -> bool:
        """Whether this layer routes to experts, by whichever rule the family uses."""
        dense = range(self.integer("first_k_dense_replace", default=0))
        if layer in dense or layer in sequence(self.c, "mlp_only_layers", self.source):
            return False
        if self.c.get("moe_layer_start_index") is not None:
            return self.in_sparse_range(layer)
        if isinstance(self.c.get("moe_layers"), list):
            return layer in self.c["moe_layers"]
        frequency = self.c.get("moe_layer_freq")
        if isinstance(frequency, list):
            return bool((self.listed("moe_layer_freq") or [True] * (layer + 1))[layer])
        if isinstance(frequency, int) and frequency > 1:
            return layer % frequency == 0
        step = self.integer("decoder_sparse_step", "interleave_moe_layer_step", default=1)
        return (layer + 1) % max(step, 1) == 0

    def in_sparse_range(self, layer: int) -> bool:
        """ERNIE's rule: every so many layers of a range; an end of -1 is the last layer."""
        end = self.c.get("moe_layer_end_index", -1)
        last = self.integer("num_hidden_layers") - 1 if end == -1 else end
        interval = max(self.integer("moe_layer_interval", default=1), 1)
        inside = self.integer("moe_layer_start_index") <= layer <= last
        return inside and (layer + 1) % interval == 0

    def shared_inter(self, moe_inter: int) -> int:
        """Width that every token passes beside the routed experts."""
        if self.c.get("enable_moe_block") is True:  # Gemma: a dense block runs in parallel
            return self.integer("intermediate_size")
        if self.c.get("model_type") == "llama4_text":  # one shared expert as wide as a routed one
            return self.integer("intermediate_size")
        shared = self.integer(
            "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", default=0
        )
        if shared and not moe_inter:
            raise SchemaError(
                f"{self.source}: n_shared_experts needs moe_intermediate_size",
                "add the width of an expert",
            )
        width = self.integer(
            "shared_expert_intermediate_size", "shared_intermediate_size", default=0
        )
        own = self.integer("moe_shared_expert_intermediate_size", default=moe_inter)
        return shared * own or width

    # The rest

    def tied(self) -> bool:
        for level in (self.own, self.outer, self.defaults):
            if isinstance(level.get(_TIED), bool):
                return bool(level[_TIED])
        self.warnings.append("tie_word_embeddings is not given: head and embedding counted apart")
        return False

    def mtp_layers(self) -> int:
        if self.c.get("use_mtp") is True:
            return self.integer("num_mtp_modules") * self.integer(
                "mtp_transformer_layers", default=1
            )
        return self.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", default=0)

    def unknown_keys(self) -> None:
        for key, value in self.own.items():
            known = key in keys.KNOWN or keys.HARMLESS.fullmatch(key)
            if known or key.endswith("_config"):
                continue
            if value not in (None, False, 0) and not isinstance(value, str):
                self.warnings.append(f"key {key} is not known and was not used")
