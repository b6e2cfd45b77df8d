"""Number formats of a checkpoint: `config.json`, and `hf_quant_config.json` beside it.

What is not known leaves the native precision blank, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.schema.formats import format_named

_QUANT_PROBES = {
    "attention": "model.layers.9.self_attn.q_proj",
    "dense": "model.layers.9.mlp.gate_proj",
    "experts": "model.layers.9.mlp.experts.0.gate_proj",
}
# Methods that round weights to integers and leave activations as they are.
_WEIGHTS_ALONE = ("awq", "gptq")


@dataclass(frozen=True)
class Precision:
    """The formats of one config: its speaking tower, the whole, and the file beside it."""

    c: Mapping[str, Any]
    outer: Mapping[str, Any]
    hf_quant: Any
    source: str
    warnings: list[str]

    def row(self) -> dict[str, Any]:
        """Native precision, per part where it differs, and the cache format that is stated."""
        quant = self.c.get("quantization_config") or self.outer.get("quantization_config")
        kv = None
        if isinstance(self.hf_quant, Mapping) and "quantization" in self.hf_quant:
            stated = self.hf_quant["quantization"]
            if not isinstance(stated, Mapping):
                raise SchemaError(f"{self.source}: quantization is not an object", "fix the file")
            kv = stated.get("kv_cache_quant_algo")
            native = self.algorithm(stated.get("quant_algo"))
            ignored = sequence(stated, "exclude_modules", self.source)
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
        dtype = self.c.get("dtype") or self.c.get("torch_dtype") or self.outer.get("torch_dtype")
        plain = format_named(str(dtype))
        return plain.id if plain else self.unsupported(f"dtype {dtype}")

    def quantised(self, quant: Mapping[str, Any]) -> tuple[str | None, list[Any]]:
        method = quant.get("quant_method")
        ignored = sequence(quant, "modules_to_not_convert", self.source) or sequence(
            quant, "ignore", self.source
        )
        if method == "fp8":
            return ("fp8_block" if quant.get("weight_block_size") else "fp8"), ignored
        if method in _WEIGHTS_ALONE:
            bits = quant.get("bits")
            return ("int4" if bits == 4 else self.unsupported(f"{method} in {bits} bits")), ignored
        named = format_named(str(method))
        if named is not None:
            return named.id, ignored
        if method == "compressed-tensors":
            return self.compressed(quant), ignored
        if "quant_algo" in quant:
            return self.algorithm(quant["quant_algo"]), ignored
        return self.unsupported(f"quant_method {method}"), ignored

    def compressed(self, quant: Mapping[str, Any]) -> str | None:
        weights = [
            g["weights"]
            for g in _values(quant.get("config_groups"))
            if isinstance(g, Mapping) and isinstance(g.get("weights"), Mapping)
        ]
        formats = {_compressed(w) for w in weights}
        only = next(iter(formats)) if len(formats) == 1 else None
        return only or self.unsupported(f"compressed-tensors weights {weights!r:.200}")

    def algorithm(self, name: Any) -> str | None:
        found = format_named(str(name))
        return found.id if found else self.unsupported(f"quant_algo {name}")

    def unsupported(self, what: str) -> str | None:
        self.warnings.append(f"{what} is not known: native precision left blank")
        return None


def sequence(level: Mapping[str, Any], key: str, source: str) -> list[Any]:
    """A list of any length; absent or null is empty.

    Raises:
        SchemaError: anything else.
    """
    value = level.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise SchemaError(f"{source}: {key} should be a list, got {value!r:.60}", "fix the config")
    return value


def _values(groups: Any) -> list[Any]:
    return list(groups.values()) if isinstance(groups, Mapping) else []


def _compressed(weights: Mapping[str, Any]) -> str | None:
    """Format of one group of compressed tensors."""
    kind = (weights.get("type"), weights.get("num_bits"))
    if kind == ("float", 8):
        return "fp8_block" if weights.get("strategy") == "block" else "fp8"
    if kind == ("float", 4):  # scales per 16 weights, or per 32
        return {"16": "nvfp4", "32": "mxfp4"}.get(str(weights.get("group_size")))
    return "int4" if kind == ("int", 4) else None


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
