"""The serving engines, once: a new one is a row here and its constants in the kernel calibration.

Everything that asks which engines there are, what people call them and where they run reads this
table: the scenario, the layouts, the importers, the calibration and the published comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tokenfleet.schema.formats import WEIGHT_FORMATS

# Weights beside which published recipes round the cache to 8 bits too.
_ROUNDED = frozenset(f.id for f in WEIGHT_FORMATS.values() if f.bits < 16)


@dataclass(frozen=True)
class ServingEngine:
    """One engine: its name in a scenario, its own name, and what is the same for every run of it.

    `vendors` are those whose accelerators it runs on, as its documentation lists them; None is all.
    `aliases` are other names of it that clients of benchmarks write, in lower case. `frameworks`
    are words that name it inside a longer text, such as "NVIDIA Dynamo TensorRT-LLM 1.0".
    `cache_8_bit_beside` are the weight formats beside which its recipes set an 8-bit KV cache.
    """

    id: str
    name: str
    vendors: frozenset[str] | None
    aliases: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    cache_8_bit_beside: frozenset[str] = _ROUNDED


ENGINES: Mapping[str, ServingEngine] = {
    engine.id: engine
    for engine in (
        ServingEngine(
            "vllm",
            "vLLM",
            vendors=None,
            frameworks=("vllm", "llmboost"),  # Mango LLMBoost serves with a tuned vLLM
        ),
        ServingEngine(
            "sglang",
            "SGLang",
            vendors=frozenset({"NVIDIA", "AMD"}),
            aliases=("sglang-native",),
            frameworks=("sglang",),
            cache_8_bit_beside=frozenset({"nvfp4"}),
        ),
        ServingEngine(
            "trtllm",
            "TensorRT-LLM",
            vendors=frozenset({"NVIDIA"}),
            aliases=("tensorrt-llm", "trt-llm", "trt"),
            frameworks=("tensorrt", "trt"),
        ),
    )
}
# The engine of a row that names none: it runs on every vendor's accelerators.
DEFAULT_ENGINE = "vllm"

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[tuple(ENGINES)]


def engine_named(name: str) -> ServingEngine | None:
    """The engine of a name as people write it ("TensorRT-LLM", "trt"); None where it is none."""
    wanted = name.strip().casefold()
    for engine in ENGINES.values():
        if wanted in (engine.id, engine.name.casefold(), *engine.aliases):
            return engine
    return None


def engines_within(text: str) -> tuple[ServingEngine, ...]:
    """Every engine that a framework's full text names, version and orchestrator included."""
    lowered = text.casefold()
    return tuple(e for e in ENGINES.values() if any(word in lowered for word in e.frameworks))


def engine_within(text: str) -> ServingEngine | None:
    """The one that it names; None of none or several: which of them served is then not known."""
    found = engines_within(text)
    return found[0] if len(found) == 1 else None
