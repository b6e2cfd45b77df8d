"""Names that benchmarks use, as names of the catalog: models, systems, engines, number formats.

Every function raises `UnknownNameError` with a sentence that says what has no counterpart.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from tokenfleet.catalog import Catalog, SystemRow
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.engines import ENGINES, engine_named, engine_within
from tokenfleet.schema.formats import NATIVE_FP4, format_named

_VENDOR = re.compile(r"^(nvidia|amd|instinct|intel)_")
_MEMORY = re.compile(r"_\d+gb(?=_|$)")
_SIZE = re.compile(r"_(nvl|helios)?\d+$")
# What a serving name adds to a model's own: who published it, tuning, number format, date.
_PREFIX = re.compile(r"^(meta-)")
_SUFFIX = re.compile(r"-(instruct|chat|base|it|hf|fp8|fp4|nvfp4|mxfp4|bf16|\d{4})$")
# Families whose published 8-bit checkpoints are scaled in blocks of 128 x 128, as their
# `quantization_config` says (weight_block_size).
_BLOCK_SCALED = ("qwen3", "deepseek", "minimax", "kimi", "glm")


class UnknownNameError(Exception):
    """A name without counterpart in the catalog, or a figure that a row does not state."""


def model(catalog: Catalog, name: str, architecture: str | None) -> str:
    """Catalog model of a serving name, else of the architecture that the row states."""
    for candidate in (name, architecture or ""):
        known = plain(candidate)
        if known in catalog.models:
            return known
        own = {m.casefold(): m for m in catalog.models}  # a user's ids may have capitals
        for name_of in (candidate.casefold(), candidate.rsplit("/", 1)[-1].casefold(), known):
            if name_of in own:
                return own[name_of]
    raise UnknownNameError(f"model {name} is not in the catalog")


def plain(name: str) -> str:
    """A model's name without publisher, tuning, number format and date."""
    bare = _PREFIX.sub("", name.rsplit("/", 1)[-1].lower())
    while _SUFFIX.search(bare):
        bare = _SUFFIX.sub("", bare)
    return bare


def system(catalog: Catalog, name: str) -> str:
    """Catalog system of an accelerator's name.

    The name may be the system's id with or without its size, the accelerator's name or its key in
    the kernel calibration; vendor and memory size do not matter, and a bare name is the SXM form.
    """
    wanted = _device(name)
    for row in catalog.systems.values():
        size = _SIZE.sub("", row.id)
        keys = {row.id, size, row.kernel_key, _device(row.accelerator), _device(size)}
        if wanted in keys or f"{wanted}_sxm" in keys:
            return row.id
    raise UnknownNameError(f"accelerator {name} is not in the catalog")


def _device(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    plain = _MEMORY.sub("", _VENDOR.sub("", plain))
    return plain.removesuffix("_unstated").removesuffix("_nvl72")


def framework(name: str) -> str:
    """Engine of a framework's full name, version and orchestrator included.

    Raises:
        UnknownNameError: none of those with constants in the calibration, or several.
    """
    found = engine_within(name)
    if found is None:
        raise UnknownNameError(f"framework {name or '(blank)'} has no constants in the calibration")
    return found.id


def engine(name: str) -> str:
    """Engine of a benchmark's backend name."""
    found = engine_named(name)
    if found is None:
        raise UnknownNameError(f"engine {name} has no overheads in the kernel calibration")
    return found.id


def precision(catalog: Catalog, name: str, text: str, on: str | None = None) -> str:
    """Weight format of a catalog model under a benchmark's label; blank is the model as published.

    "fp8" is block-scaled where the published 8-bit checkpoint is; "fp4" is the own format of the
    system that it runs `on`.
    """
    if not text:
        return catalog.model(name).native_precision or "bf16"
    weights = format_named(text)
    if weights is None or weights.weight_bytes is None:
        raise UnknownNameError(f"number format {text} has no kernel figures")
    found = weights.id
    blocks = catalog.model(name).native_precision == "fp8_block"
    if found == "fp8" and (blocks or name.startswith(_BLOCK_SCALED)):
        return "fp8_block"
    if found in {"nvfp4", "fp8"} and catalog.model(name).native_precision == "mxfp4":
        return "mxfp4"  # its one published checkpoint, whatever the kernels around it compute in
    if found == "nvfp4" and on is not None:
        return NATIVE_FP4.get(catalog.system(on).vendor, found)
    return found


def kv_format(engine_name: str, weights: str) -> str:
    """Cache format of a benchmark that does not state it: what the engine's recipes set."""
    return "fp8" if weights in ENGINES[engine_name].cache_8_bit_beside else "bf16"


def family(architecture: ModelArchitecture) -> str:
    """Kind of a model: dense or MoE, with its attention where that is not plain."""
    kinds = {group.attention.kind for group in architecture.layers}
    base = "moe" if architecture.is_moe else "dense"
    if "mla" in kinds:
        return f"{base}, mla"
    return f"{base}, hybrid" if "linear" in kinds else base


def generation(row: SystemRow) -> str:
    """Vendor and narrowest format that the matrix units compute in."""
    narrowest = "fp4" if row.fp4_tflops else "fp8" if row.fp8_tflops else "bf16"
    return f"{row.vendor} {narrowest}"


def shape(catalog: Catalog, model: str) -> str:
    """First catalog model of the same shape: DeepSeek-R1 and V3 are one architecture."""
    return _shapes(tuple(catalog.models.values()), catalog.user_rows)[model]


@lru_cache(maxsize=4)
def _shapes(models: tuple[Any, ...], user_rows: frozenset[str]) -> dict[str, str]:
    """Name of every model's shape; a user's row never renames one of the catalog's own."""
    about = {"id", "source", "as_of", "notes"}
    first: dict[str, str] = {}
    shapes = {m.id: m.model_dump_json(exclude=about) for m in models}
    for model in sorted(shapes, key=lambda name: (f"models:{name}" in user_rows, name)):
        first.setdefault(shapes[model], model)
    return {model: first[shape] for model, shape in shapes.items()}
