"""Names that benchmarks use, as names of the catalog: models, systems, engines, number formats.

Every function raises `UnknownNameError` with a sentence that says what has no counterpart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tokenfleet.catalog import Catalog, SystemRow, devices
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.engines import ENGINES, engine_named, engines_within
from tokenfleet.schema.formats import NATIVE_FP4, format_named
from tokenfleet.schema.near import nearest

# Of accelerators, which have a file of their own.
UnknownNameError = devices.UnknownNameError
system = devices.system
# Models of the shape and the published format of another, as their configs say.
_SAME_AS = {
    "deepseek-r1-distill-llama-8b": "llama-3.1-8b",
    "deepseek-r1-distill-llama-70b": "llama-3.3-70b",
    "dsr1": "deepseek-r1",
    "llama-3.1-nemotron-70b": "llama-3.1-70b",
    "minimax-m2": "minimax-m2.5",
    "minimax-m2.1": "minimax-m2.5",
    "llama-3-3-nemotron-super-49b-v1": "nemotron-super-49b",
    "llama-3.3-nemotron-super-49b-v1": "nemotron-super-49b",
    "mistral-large-instruct-2407": "mistral-large-2",
    "mistral-large-instruct-2411": "mistral-large-2",
}
# What a serving name adds to a model's own: who published it, tuning, number format, date.
_PREFIX = re.compile(r"^(meta[-.]|nvidia-)")
_FORMAT = (
    r"fp8|fp4|nvfp4|mxfp4|bf16|fp16|int4|int8|awq|gptq|w4a16|w8a8|fp8-dynamic|fp8-block|fp8-kv|"
    r"n?v?fp4-v\d|mxfp4-preview|gptq-int4|gptq-int8|awq-int4|qat|gguf|bnb-4bit|quantized\.w4a16|"
    r"quantized\.w8a8|mxfp8|w8a8-fp8|w4a8|w4afp8|nf4|[48]bit|q\d(-k)?(-[sml01])?"
)
_SUFFIX = re.compile(
    rf"-(instruct|chat|base|it|hf|exp|terminus|v0\.\d|v\d-0|99(\.9)?|edge|\d+b-\d+e|\d{{4}}|{_FORMAT})$"
)
# Sizes at the end of a name: "-30b-a3b"; one that the catalog's own name has not: "-671b".
_SIZES = re.compile(r"(-a?\d+(\.\d+)?b)+")
_SIZE_ADDED = re.compile(r"(?P<own>.+)-(?P<size>\d+(\.\d+)?)b")
_SAME_SIZE = 0.03  # published sizes are rounded, or count the drafting layers
_FORMAT_SUFFIX = re.compile(rf"-({_FORMAT})$")
# Families whose published 8-bit checkpoints are scaled in blocks of 128 x 128, as their
# `quantization_config` says (weight_block_size); those of GLM-4 are scaled by channel.
_BLOCK_SCALED = ("qwen3", "deepseek", "minimax", "kimi", "glm-5")


def model(catalog: Catalog, name: str, architecture: str | None) -> str:
    """Catalog model of a serving name, else of the architecture that the row states."""
    own = {m.casefold(): m for m in catalog.models}  # a user's ids may have capitals
    bare = {_squeezed(m): m for m in catalog.models}
    for candidate in (name, architecture or ""):
        # The most that is known of the name: Kimi-K2-Thinking before Kimi-K2.
        for name_of in (candidate.casefold(), *_shortened(candidate)):
            alike = _SAME_AS.get(name_of, name_of)
            found = own.get(alike) or bare.get(_squeezed(alike)) or _by_size(catalog, alike)
            if found is not None:
                return found
    near = nearest(plain(name), sorted(catalog.models)) if name else []
    beside = f": did you mean {', '.join(near)}?" if near else ""
    raise UnknownNameError(f"model {name or '(blank)'} is not in the catalog{beside}")


def _by_size(catalog: Catalog, name: str) -> str | None:
    """The one model that a name lacks the size of (Nemotron-3-Nano), or whose size it adds
    (DeepSeek-R1-671B, which the 70B of that name is not)."""
    longer = {m for m in catalog.models if _SIZES.fullmatch(m.removeprefix(name))}
    if len(longer) == 1:
        return longer.pop()
    added = _SIZE_ADDED.fullmatch(name)
    known = catalog.models.get(added["own"]) if added else None
    if added is None or known is None:
        return None
    share = float(added["size"]) * 1e9 / known.total_params
    return known.id if abs(share - 1.0) < _SAME_SIZE else None


def _squeezed(name: str) -> str:
    """A model's name without what people put between its parts: "llama3.1-8b", "DeepSeek R1"."""
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def plain(name: str) -> str:
    """A model's name without publisher, tuning, number format and date."""
    return _shortened(name)[-1]


def _shortened(name: str) -> list[str]:
    """A model's name without publisher, then with one addition less each."""
    last = name.strip(" /").rsplit("/", 1)[-1]
    bare = re.sub(r"[\s_@():]+", "-", last.lower()).strip("-")
    # Qwen3's thinking models are trained from one shape; Kimi-K2-Thinking is a model of its own.
    bare = bare.replace("-thinking", "") if bare.startswith("qwen3") else bare
    found = [bare, _PREFIX.sub("", bare)]
    while _SUFFIX.search(found[-1]):
        found.append(_SUFFIX.sub("", found[-1]))
    return found


def stated_format(cells: Mapping[str, str]) -> str:
    """Number format of a row's weights as it states it: in its column, or in the model's name."""
    return cells.get("precision", "") or format_in(cells.get("model", ""))


def format_in(name: str) -> str:
    """The number format that a model's serving name ends in; empty where it states none."""
    stated = [m[1] for text in _shortened(name) if (m := _FORMAT_SUFFIX.search(text))]
    bare = stated[0].removeprefix("quantized.") if stated else ""
    return re.sub(r"-(dynamic|kv|v\d|preview|int4)$", "", bare)


def framework(name: str) -> str:
    """Engine of a framework's full name, version and orchestrator included.

    Raises:
        UnknownNameError: none of those with constants in the calibration, or several.
    """
    found = engines_within(name)
    if len(found) > 1:
        named = " and ".join(engine.name for engine in found)
        raise UnknownNameError(f"framework {name} names {named}: which of them served is not said")
    if not found:
        why = "is stated" if not name else f"with constants in the calibration is named in {name}"
        raise UnknownNameError(f"no framework {why}")
    return found[0].id


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
    if text.casefold() in ("", "auto"):
        return catalog.model(name).native_precision or "bf16"
    weights = format_named(text)
    if weights is None or weights.weight_bytes is None:
        raise UnknownNameError(f"number format {text} has no kernel figures")
    found = weights.id
    native = catalog.model(name).native_precision
    if weights.integer and native is not None and format_named(native) is not None:
        published = format_named(native)
        return native if published is not None and published.integer else found
    blocks = catalog.model(name).native_precision == "fp8_block"
    if found == "fp8" and (blocks or name.startswith(_BLOCK_SCALED)):
        return "fp8_block"
    if found in {"nvfp4", "fp8"} and catalog.model(name).native_precision == "mxfp4":
        return "mxfp4"  # its one published checkpoint, whatever the kernels around it compute in
    if found == "nvfp4" and on is not None:
        return NATIVE_FP4.get(catalog.system(on).vendor, found)
    return found


def kv_format(engine_name: str, weights: str, *, latent_fp4: bool = False) -> str:
    """Cache format of a benchmark that does not state it: what the engine's recipes set.

    `latent_fp4`: latent attention on an accelerator that computes in four bits, where every recipe
    beside 8-bit weights sets an 8-bit cache.
    """
    narrow = weights in ENGINES[engine_name].cache_8_bit_beside
    return "fp8" if narrow or (latent_fp4 and weights != "bf16") else "bf16"


def latent_fp4(catalog: Catalog, system_id: str, model_id: str) -> bool:
    """Whether a model of latent attention meets an accelerator that computes in four bits."""
    fp4 = catalog.system(system_id).fp4_tflops is not None
    return fp4 and "mla" in family(catalog.model(model_id))


def family(architecture: ModelArchitecture) -> str:
    """Kind of a model: dense or MoE, with its attention where that is not plain."""
    kinds = {group.attention.kind for group in architecture.layers}
    base = "moe" if architecture.is_moe else "dense"
    if kinds & {"mla", "compressed"}:
        return f"{base}, mla"
    return f"{base}, hybrid" if kinds & {"linear", "mamba"} else base


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
