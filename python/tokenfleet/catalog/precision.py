"""Number formats of a checkpoint: `config.json`, and `hf_quant_config.json` beside it.

A checkpoint rounds some modules and leaves others as they were; what holds of most of a part's
modules is said of the part. What is not known leaves the native precision blank, with a warning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.schema.formats import WEIGHT_FORMATS, format_named

# Where the layers of a checkpoint stand.
_ROOTS = ("model.", "language_model.model.", "model.language_model.", "backbone.", "")
# Modules of a layer, by part and by the ways that families name them; {} is a projection.
_GATED = ("gate_proj", "up_proj", "down_proj")
_MODULES: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "attention": (
        ("self_attn.{}", ("q_proj", "k_proj", "v_proj", "o_proj")),
        ("self_attn.{}", ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")),
        ("linear_attn.{}", ("in_proj_qkv", "in_proj_z", "out_proj")),
        ("mixer.{}", ("in_proj", "out_proj", "q_proj", "k_proj", "v_proj", "o_proj")),
        ("attn.{}", ("wq_a", "wq_b", "wkv", "wo_a", "wo_b")),
    ),
    "dense": (
        ("mlp.{}", _GATED),
        ("mlp.shared_experts.{}", _GATED),
        ("mlp.shared_expert.{}", _GATED),
        ("block_sparse_moe.shared_experts.{}", _GATED),
        ("mixer.shared_experts.{}", ("up_proj", "down_proj")),
        ("ffn.shared_experts.{}", ("w1", "w2", "w3")),
        ("ffn.shared_experts.{}", _GATED),
    ),
    "experts": (
        ("mlp.experts.0.{}", _GATED),
        ("experts.0.{}", _GATED),
        ("block_sparse_moe.experts.0.{}", ("w1", "w2", "w3")),
        ("mixer.experts.0.{}", ("up_proj", "down_proj")),
        ("ffn.experts.0.{}", ("w1", "w2", "w3")),
        ("ffn.experts.0.{}", _GATED),
    ),
}
# Modules of a part, in the names of those that a checkpoint lists with a format.
_PART_OF = (
    ("experts", re.compile(r"(?<!shared_)experts?(\.|$)")),
    ("dense", re.compile(r"shared_experts?\.|(mlp|ffn|mixer)\.(gate|up|down)_proj|mlp$")),
    ("attention", re.compile(r"attn|mixer\.(in|out|q|k|v|o)_proj")),
)
_LAYER = re.compile(r"layers\.(\d+)(?!\d)")
_HALF = 0.5
# Methods that round weights to integers and leave activations as they are.
_WEIGHTS_ALONE = ("awq", "gptq")
# Formats without a row of their own, and the one that they are counted as.
_COUNTED_AS = {"mxfp8": "fp8_block", "w4a16_nvfp4": "nvfp4"}


@dataclass(frozen=True)
class Precision:
    """The formats of one config: its speaking tower, the whole, and the file beside it."""

    c: Mapping[str, Any]
    outer: Mapping[str, Any]
    hf_quant: Any
    source: str
    warnings: list[str]
    depth: int

    def row(self) -> dict[str, Any]:
        """Native precision, per part where it differs, and the cache format that is stated."""
        quant = self.c.get("quantization_config") or self.outer.get("quantization_config")
        stated = quant if isinstance(quant, Mapping) else {}
        if isinstance(self.hf_quant, Mapping) and "quantization" in self.hf_quant:
            beside = self.hf_quant["quantization"]
            if not isinstance(beside, Mapping):
                raise SchemaError(f"{self.source}: quantization is not an object", "fix the file")
            stated = beside
        parts = self.parts(stated, quant if isinstance(quant, Mapping) else {})
        if parts is None:
            return {}
        moe = self.c.get("expert_dtype") or self.has_experts()
        kv = self.cache(stated)
        return {
            "native_precision": parts["experts" if moe else "dense"],
            "native_weights": {**parts, "head": "bf16"},
            **({"native_kv": kv} if kv else {}),
        }

    def has_experts(self) -> bool:
        """Whether the config names routed experts."""
        counts = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
        return any((self.c.get(name) or 0) not in (0, 1) for name in counts)

    def parts(self, stated: Mapping[str, Any], quant: Mapping[str, Any]) -> dict[str, str] | None:
        """Format of every part; None where it is not known."""
        if not stated:
            plain = self.plain_dtype()
            return None if plain is None else dict.fromkeys(_MODULES, plain)
        if stated.get("quantized_layers"):
            return self.mixed(stated, quant)
        rounded = self.by_group(stated) or self.by_method(stated)
        if rounded is None:
            return None
        ignored = [
            str(pattern)
            for key in ("exclude_modules", "modules_to_not_convert", "ignore")
            for pattern in sequence(stated, key, self.source)
        ]
        return {p: "bf16" if self.left_out(p, ignored) else rounded[p] for p in _MODULES}

    def by_method(self, stated: Mapping[str, Any]) -> dict[str, str] | None:
        """One format of all that is rounded."""
        native = self.quantised(stated)
        if native is None:
            return None
        parts = dict.fromkeys(_MODULES, native)
        of_experts = str(self.c.get("expert_dtype"))
        if stated.get("quant_method") == "fp8" and of_experts == "fp4":
            parts["experts"] = "mxfp4"  # DeepSeek-V4: a scale of 8 bits per 32 weights
        return parts

    def by_group(self, stated: Mapping[str, Any]) -> dict[str, str] | None:
        """Compressed tensors in several formats: of a part that of the group whose targets are most
        of its modules, 16 bits without any. None where all groups have one format."""
        groups = [
            (_compressed(g["weights"]), [str(t) for t in sequence(g, "targets", self.source)])
            for g in _values(stated.get("config_groups"))
            if isinstance(g, Mapping) and isinstance(g.get("weights"), Mapping)
        ]
        formats = {name for name, _ in groups}
        if stated.get("quant_method") != "compressed-tensors" or len(formats) < 2:
            return None
        if None in formats:
            return None  # which `quantised` says
        parts = {}
        for part in _MODULES:
            shares = [(max(self.shares(part, targets)), name) for name, targets in groups]
            share, name = max(shares, key=lambda pair: pair[0])
            parts[part] = str(name) if share > _HALF else "bf16"
        return parts

    def plain_dtype(self) -> str | None:
        """The format of a checkpoint that is not rounded, such as `bf16`; None if unknown."""
        dtype = self.c.get("dtype") or self.c.get("torch_dtype") or self.outer.get("torch_dtype")
        plain = format_named(str(dtype))
        return plain.id if plain else self.unsupported(f"dtype {dtype}")

    def quantised(self, quant: Mapping[str, Any]) -> str | None:
        """The format of what is rounded."""
        method = quant.get("quant_method")
        if method == "compressed-tensors":
            return self.compressed(quant)
        if "quant_algo" in quant:
            return self.algorithm(quant["quant_algo"], quant)
        if method == "fp8":
            return "fp8_block" if quant.get("weight_block_size") else "fp8"
        if method in _WEIGHTS_ALONE:
            bits = quant.get("bits", quant.get("w_bit"))
            found = _integer(bits, quant.get("group_size", quant.get("q_group_size")))
            return found or self.unsupported(f"{method} in {bits} bits")
        named = format_named(str(method))
        return named.id if named else self.unsupported(f"quant_method {method}")

    def compressed(self, quant: Mapping[str, Any]) -> str | None:
        """The format that `compressed-tensors` groups agree on; None where it is not known."""
        weights = [
            g["weights"]
            for g in _values(quant.get("config_groups"))
            if isinstance(g, Mapping) and isinstance(g.get("weights"), Mapping)
        ]
        formats = {_compressed(w) for w in weights}
        only = next(iter(formats)) if len(formats) == 1 else None
        return only or self.unsupported(f"compressed-tensors weights {weights!r:.200}")

    def algorithm(self, name: Any, quant: Mapping[str, Any]) -> str | None:
        """The format that a method's name stands for, such as `fp8`; None if unknown."""
        found = format_named(str(name))
        if found is not None and found.integer:
            return _integer(4, quant.get("group_size"))
        if found is not None:
            return found.id
        counted = _COUNTED_AS.get(str(name).casefold())
        if counted is None:
            return self.unsupported(f"quant_algo {name}")
        self.warnings.append(f"quant_algo {name} is counted as {counted}")
        return counted

    def mixed(self, stated: Mapping[str, Any], quant: Mapping[str, Any]) -> dict[str, str] | None:
        """A format per module: that of most modules of a part. What is not listed is as it was
        before, in the 8 bits that the method of the whole says, or in 16."""
        listed = stated["quantized_layers"]
        if not isinstance(listed, Mapping):
            raise SchemaError(f"{self.source}: quantized_layers is not an object", "fix the file")
        before = quant.get("weight_block_size") and quant.get("quant_method") == "fp8"
        votes: dict[str, Counter[str]] = {part: Counter() for part in _MODULES}
        for module, entry in listed.items():
            part = next((p for p, names in _PART_OF if names.search(str(module))), None)
            if part is not None and isinstance(entry, Mapping):
                votes[part][str(entry.get("quant_algo"))] += 1
        parts: dict[str, str] = {}
        for part, count in votes.items():
            rest = "fp8_block" if before else "bf16"
            found = self.algorithm(count.most_common(1)[0][0], {}) if count else rest
            if found is None:
                return None
            parts[part] = found
        return parts

    def cache(self, stated: Mapping[str, Any]) -> str | None:
        """The cache format that is stated."""
        kv = stated.get("kv_cache_quant_algo") or stated.get("kv_cache_scheme")
        if kv is None:
            return None
        if isinstance(kv, Mapping):
            kv = "FP8" if (kv.get("num_bits"), kv.get("type")) == (8, "float") else kv
        return "fp8" if kv == "FP8" else self.unsupported(f"KV format {kv}")

    def left_out(self, part: str, ignored: Sequence[str]) -> bool:
        """Whether most modules of a part are left as they were, by whichever names it has.

        Experts are under one of several names, and a pattern of another is not of them.
        """
        shares = self.shares(part, ignored)
        return (min(shares) if part == "experts" else max(shares)) > _HALF

    def shares(self, part: str, patterns: Sequence[str]) -> list[float]:
        """Share of a part's modules that patterns match, by each way that families name them."""
        at = _by_layer(patterns, self.depth)
        return [
            max(_share(root, form, names, at) for root in _ROOTS) for form, names in _MODULES[part]
        ]

    def unsupported(self, what: str) -> str | None:
        """No format, and a warning that says what was not known."""
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
    return _integer(4, weights.get("group_size")) if kind == ("int", 4) else None


def _integer(bits: Any, group: Any) -> str | None:
    """The integer format of a group size; of no stated one, of 128, as recipes have it."""
    if bits != WEIGHT_FORMATS["int4"].bits:
        return None
    small = isinstance(group, int) and 0 < group < 128
    return "int4_g32" if small else "int4"


def _by_layer(patterns: Iterable[str], depth: int) -> list[list[str]]:
    """The patterns that can match a module of each layer."""
    everywhere = [p for p in patterns if not _LAYER.search(p)]
    at = [list(everywhere) for _ in range(depth)]
    for pattern in patterns:
        named = _LAYER.search(pattern)
        if named is not None and int(named[1]) < depth:
            at[int(named[1])].append(pattern)
    return at


def _share(root: str, form: str, names: Sequence[str], at: Sequence[Sequence[str]]) -> float:
    """Share of these modules, over all layers, that a pattern matches."""
    matched = 0
    for layer, patterns in enumerate(at):
        for name in names:
            module = f"{root}layers.{layer}.{form.format(name)}"
            matched += any(_matches(p, module) for p in patterns)
    return matched / (len(names) * max(len(at), 1))


def _matches(pattern: str, module: str) -> bool:
    if pattern == "Linear":  # of compressed tensors: every matrix
        return True
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], module) is not None
        except re.error:
            return False
    if "*" in pattern:
        body = re.escape(pattern).replace(r"\*", ".*")
        return re.match(body + r"(\.|$)", module) is not None
    return module == pattern or module.startswith(pattern + ".")
