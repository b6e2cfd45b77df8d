"""A measured run beside its prediction, and the effects that may explain the difference.

Two kinds of run: a closed loop has TTFT, TPOT and output tokens/s/GPU, and what is explained are
the two times; a run at capacity (offline, or under latency limits) has output tokens/s/GPU alone,
and what is explained is that `capacity`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["closed", "capacity"]
Target = Literal["tpot", "ttft", "capacity"]
TIMES = ("tpot", "ttft")
TARGETS: Mapping[str, tuple[str, ...]] = {"closed": ("tpot", "ttft"), "capacity": ("capacity",)}
METRICS_OF: Mapping[str, tuple[str, ...]] = {
    "closed": (*TIMES, "tokens_s_gpu"),
    "capacity": ("capacity",),
}
METRICS = METRICS_OF["closed"]
# What is known of a point, from most to least.
LEVELS = ("known_cell", "new_version", "new_cell", "new_kind")
# Effects without which a run is of a new kind: nothing of its engine on its family of models, or of
# its number format on its generation of accelerators, was measured.
KINDS = ("engine_family", "precision_generation")
# Slopes count from here, and go no further than a factor of 32 away: beyond that nobody measured.
CENTRE = {"concurrency": 32.0, "input": 2048.0}
_REACH = math.log(32.0)
# Standard deviation of log biases by target and effect. What engine versions share is held tight:
# from a dozen cells, looser effects carry the error of one to the next (docs/accuracy.md). An
# accelerator without kernels of its own gets room, and shares what it needs over its models.
_CLOSED_KINDS = (
    "accelerator",
    "engine_family",
    "precision_generation",
    "cell",
    "version_cell",
    "layout",
)
_SPREAD: Mapping[str, Mapping[str, float]] = {
    "tpot": {
        "inherited_accelerator": 0.2,
        **dict.fromkeys(_CLOSED_KINDS[:4], 0.02),
        **dict.fromkeys(_CLOSED_KINDS[4:], 0.1),
        "slope": 0.05,
    },
    "ttft": {
        "inherited_accelerator": 0.2,
        **dict.fromkeys(_CLOSED_KINDS[:4], 0.02),
        **dict.fromkeys(_CLOSED_KINDS[4:], 0.2),
        "slope": 0.15,
    },
    "capacity": {
        "accelerator": 0.05,
        "inherited_accelerator": 0.4,
        "inherited_generation": 0.3,
        "engine_family": 0.1,
        "precision_generation": 0.15,
        "architecture_generation": 0.25,
        "attention_dp": 0.1,
        "benchmark": 0.15,
        "cell": 0.2,
        "layout": 0.2,
    },
}


@dataclass(frozen=True)
class MeasuredRun:
    """A run in the catalog's names, measured and predicted; times in ms, output tokens/s/GPU."""

    where: str  # file and row, for messages
    accelerator: str
    generation: str
    engine: str
    version: str  # of the engine; empty when it is not stated
    family: str
    architecture: str
    precision: str
    layout: str
    concurrency: float
    isl: float
    osl: float
    measured: Mapping[str, float]
    predicted: Mapping[str, float]
    kind: Kind = "closed"
    inherited: bool = False  # its accelerator has no kernels of its own
    benchmark: str = ""  # who ran it and how

    @property
    def targets(self) -> tuple[str, ...]:
        """What of it is measured and explained."""
        return tuple(t for t in TARGETS[self.kind] if t in self.measured)

    @property
    def cell(self) -> str:
        """What a split leaves out whole."""
        return f"{self.accelerator} | {self.architecture}"

    @property
    def version_cell(self) -> str:
        """An engine version on a cell."""
        return f"{self.engine} {self.version or 'unstated'} | {self.cell}"

    @property
    def group(self) -> str:
        """Runs that count as one kind of run of a cell."""
        return f"{self.kind} | {self.cell}"

    @property
    def fingerprint(self) -> str:
        """Equal for copies and repetitions of one measured configuration."""
        lengths = f"{self.concurrency:g} {self.isl:g} {self.osl:g}"
        text = f"{self.version_cell} | {self.precision} | {self.layout} | {lengths}"
        if self.kind != "closed":
            text = f"{self.kind} {self.benchmark} | {text}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def effects(self, target: str) -> Iterator[tuple[str, str, str, float]]:
        """Kind, key and term of every effect on a target, with what it is multiplied by.

        The widest kind comes first.
        """
        keys = self._capacity_keys() if target == "capacity" else self._closed_keys()
        for kind, key in keys.items():
            yield kind, key, "level", 1.0
        if target != "capacity":
            for term, value in (("concurrency", self.concurrency), ("input", self.isl)):
                away = max(-_REACH, min(_REACH, math.log(value / CENTRE[term])))
                yield "version_cell", self.version_cell, term, away

    def kinds(self) -> dict[str, str]:
        """This run's key under each of `KINDS`."""
        keys = self._capacity_keys() if self.kind == "capacity" else self._closed_keys()
        return {kind: keys[kind] for kind in KINDS}

    def keys(self) -> dict[str, str]:
        """This run's key under every kind of effect on its times."""
        return self._closed_keys()

    def _closed_keys(self) -> dict[str, str]:
        whose = "inherited_accelerator" if self.inherited else "accelerator"
        return {
            whose: self.accelerator,
            "engine_family": f"{self.engine} | {self.family}",
            "precision_generation": f"{self.precision} | {self.generation}",
            "cell": self.cell,
            "version_cell": self.version_cell,
            "layout": f"{self.version_cell} | {self.precision} | {self.layout}",
        }

    def _capacity_keys(self) -> dict[str, str]:
        whose = (
            {"inherited_accelerator": self.accelerator, "inherited_generation": self.generation}
            if self.inherited
            else {"accelerator": self.accelerator}
        )
        ranks = "data" if "attention DP 1" not in self.layout else "tensor"
        return {
            **whose,
            "engine_family": f"{self.engine} | {self.family}",
            "precision_generation": f"{self.precision} | {self.generation}",
            "architecture_generation": f"{self.architecture} | {self.generation}",
            "attention_dp": f"{ranks} parallel attention | {self.family}",
            "benchmark": self.benchmark,
            "cell": self.cell,
            "layout": " | ".join((self.cell, self.precision, self.engine, self.benchmark, ranks)),
        }


def spread(target: str, kind: str, term: str) -> float:
    """Prior standard deviation of an effect's logarithm."""
    return _SPREAD[target][kind if term == "level" else "slope"]
