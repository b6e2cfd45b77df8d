"""Biases of the performance model on measured closed-loop runs, as a record that can be kept.

A bias is a factor on TPOT or TTFT, held as its natural logarithm, and a sum of effects: of the
accelerator, of the engine on a kind of model, of the cell (accelerator x architecture) and so on.
What has no points has no effect. Throughput follows from the two times. Beside the effects stands
how far predictions were off on points left out of the fit, by what was known of them: that is the
80 % interval.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tokenfleet.catalog.load import DATA
from tokenfleet.errors import SchemaError
from tokenfleet.importers.text import load_data
from tokenfleet.schema.rows import Row, validate

SCHEMA_VERSION = 1
SHIPPED = DATA / "calibration.json"
TIMES = ("tpot", "ttft")
METRICS = (*TIMES, "tokens_s_gpu")
# What is known of a point, from most to least.
LEVELS = ("known_cell", "new_version", "new_cell")
# Slopes count from here, and go no further than a factor of 32 away: beyond that nobody measured.
CENTRE = {"concurrency": 32.0, "input": 2048.0}
_REACH = math.log(32.0)

Time = Literal["tpot", "ttft"]
Level = Literal["known_cell", "new_version", "new_cell"]
Term = Literal["level", "concurrency", "input"]


@dataclass(frozen=True)
class Point:
    """A closed-loop run in the catalog's names, measured and predicted; times in ms."""

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

    @property
    def cell(self) -> str:
        """What a split leaves out whole."""
        return f"{self.accelerator} | {self.architecture}"

    @property
    def version_cell(self) -> str:
        """An engine version on a cell."""
        return f"{self.engine} {self.version or 'unstated'} | {self.cell}"

    @property
    def fingerprint(self) -> str:
        """Equal for copies and repetitions of one measured configuration."""
        lengths = f"{self.concurrency:g} {self.isl:g} {self.osl:g}"
        text = f"{self.version_cell} | {self.precision} | {self.layout} | {lengths}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def keys(self) -> dict[str, str]:
        """This point's key under every kind of effect."""
        return {
            "accelerator": self.accelerator,
            "engine_family": f"{self.engine} | {self.family}",
            "precision_generation": f"{self.precision} | {self.generation}",
            "cell": self.cell,
            "version_cell": self.version_cell,
            "layout": f"{self.version_cell} | {self.precision} | {self.layout}",
        }

    def term(self, name: str) -> float:
        """What an effect is multiplied with: 1, or how far a slope's quantity is from its centre.

        Distances are logarithms.
        """
        if name == "level":
            return 1.0
        value = self.concurrency if name == "concurrency" else self.isl
        return max(-_REACH, min(_REACH, math.log(value / CENTRE[name])))


class Effect(Row):
    """One bias: what it is of, and how many points it rests on."""

    time: Time
    kind: str
    key: str
    term: Term
    log_bias: float = Field(ge=-10, le=10)
    n: int = Field(ge=1)


class Spread(Row):
    """How far predictions were off on points left out: the half-width of the 80 % interval."""

    level: Level
    metric: Literal["tpot", "ttft", "tokens_s_gpu"]
    log_half_width: float = Field(gt=0, le=10)
    n: int = Field(ge=0)  # points left out; 0: none could be, and a default stands in


class Calibration(Row):
    """Biases and intervals with where they come from."""

    schema_version: Literal[1] = 1
    sources: tuple[str, ...]
    measured_from: str  # dates of the oldest and newest point; empty when none is stated
    measured_to: str
    points: int = Field(ge=1)
    fitted: tuple[str, ...]  # fingerprints of the points
    effects: tuple[Effect, ...]
    spreads: tuple[Spread, ...]

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """The record of a file.

        Raises:
            SchemaError: not a calibration, or of another version.
        """
        data = load_data(Path(path))
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise SchemaError(
                f"{path}: is not a calibration of version {SCHEMA_VERSION}",
                "write one with `tokenfleet calibrate POINTS... -o FILE`",
            )
        return validate(cls, data, str(path), "calibration")

    def text(self) -> str:
        """The record as JSON, one effect a line; equal records have equal texts."""
        data = self.model_dump(mode="json")
        lists = {k: data.pop(k) for k in ("fitted", "effects", "spreads")}
        head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in data.items()]
        body = [f"{json.dumps(k)}: [\n{_lines(v)}\n]" for k, v in lists.items()]
        return "{\n" + ",\n".join((*head, *body)) + "\n}\n"

    def write(self, path: str | Path) -> None:
        """Writes beside the target, then renames: a reader sees the old file or the whole new one.

        Raises:
            OSError: the disk is full or read-only; no half file stays.
        """
        target = Path(path)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".calibration.", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.text())
            part.chmod(0o644)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _lines(values: Iterable[Any]) -> str:
    return ",\n".join(f"  {json.dumps(v, ensure_ascii=False)}" for v in values)


@dataclass(frozen=True)
class Corrected:
    """A corrected prediction. `half_width` is a logarithm: x/e^h to x e^h holds 80 %."""

    predicted: Mapping[str, float]
    half_width: Mapping[str, float]
    level: str


class Corrector:
    """Applies a calibration to predictions."""

    def __init__(self, calibration: Calibration) -> None:
        self._effects: dict[tuple[str, str, str, str], float] = {
            (e.time, e.kind, e.key, e.term): e.log_bias for e in calibration.effects
        }
        self._spreads: dict[str, dict[str, float]] = {level: {} for level in LEVELS}
        for spread in calibration.spreads:
            self._spreads[spread.level][spread.metric] = spread.log_half_width
        self._known = {(e.kind, e.key) for e in calibration.effects}
        self._fitted = frozenset(calibration.fitted)

    def level(self, point: Point) -> str:
        """What the fit knew of a point's cell and engine version."""
        if ("version_cell", point.version_cell) in self._known:
            return "known_cell"
        return "new_version" if ("cell", point.cell) in self._known else "new_cell"

    def fitted(self, point: Point) -> bool:
        """Whether the fit saw this very configuration."""
        return point.fingerprint in self._fitted

    def correct(self, point: Point) -> Corrected:
        """A prediction times its biases, with its interval."""
        biases = {time: self._bias(point, time) for time in TIMES}
        level = self.level(point)
        return Corrected(corrected(point, biases), self._spreads[level], level)

    def _bias(self, point: Point, time: str) -> float:
        keys = point.keys()
        return sum(
            self._effects.get((time, kind, keys[kind], term), 0.0) * point.term(term)
            for kind, term in effect_kinds()
        )


def effect_kinds() -> tuple[tuple[str, str], ...]:
    """Kinds of effect with their terms, the widest first."""
    wide = ("accelerator", "engine_family", "precision_generation", "cell")
    slopes = (("version_cell", "concurrency"), ("version_cell", "input"))
    return (*((k, "level") for k in (*wide, "version_cell", "layout")), *slopes)


def corrected(point: Point, log_bias: Mapping[str, float]) -> dict[str, float]:
    """Times multiplied by their biases; in a closed loop throughput goes with 1 / request time."""
    before = point.predicted
    after = {t: before[t] * math.exp(log_bias[t]) for t in TIMES}
    steps = max(point.osl - 1.0, 0.0)
    slower = (after["ttft"] + steps * after["tpot"]) / (before["ttft"] + steps * before["tpot"])
    return {**after, "tokens_s_gpu": before["tokens_s_gpu"] / slower}
