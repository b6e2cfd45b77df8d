"""A calibration as a record that can be kept: constants, biases and intervals.

Constants are the model's own: overheads of the engines and weights of composed kernels. A bias is a
factor on TPOT, on TTFT or on capacity, held as its natural logarithm, and a sum of effects: of the
accelerator, of the engine on a kind of model, of the cell (accelerator x architecture) and so on.
What has no points has no effect. In a closed loop throughput follows from the two times. Beside the
effects stands how far predictions were off on points left out of both fits, by what was known of
them: that is the 80 % interval.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tokenfleet.calibration.runs import Target
from tokenfleet.errors import SchemaError
from tokenfleet.files.read import load_data
from tokenfleet.files.whole import write_whole
from tokenfleet.schema.rows import Row, validate

SCHEMA_VERSION = 3

Level = Literal["known_cell", "new_version", "new_cell", "new_kind"]
Term = Literal["level", "concurrency", "input"]


class Constant(Row):
    """One constant of the model: of an engine, or of all (`engine` empty).

    `prior` is where the fit starts from and `spread` the standard deviation of its logarithm.
    """

    name: str
    engine: str
    value: float = Field(gt=0)
    prior: float = Field(gt=0)
    spread: float = Field(gt=0)


class Effect(Row):
    """One bias: what it is of, and how many points it rests on."""

    time: Target
    kind: str
    key: str
    term: Term
    log_bias: float = Field(ge=-10, le=10)
    n: int = Field(ge=1)


class Spread(Row):
    """How far predictions were off on points left out: the half-width of the 80 % interval."""

    level: Level
    metric: Literal["tpot", "ttft", "tokens_s_gpu", "capacity"]
    log_half_width: float = Field(gt=0, le=10)
    n: int = Field(ge=0)  # points left out; 0: none could be, and a default stands in


class Calibration(Row):
    """Constants, biases and intervals with where they come from."""

    schema_version: Literal[3] = 3
    sources: tuple[str, ...]
    measured_from: str  # dates of the oldest and newest point; empty when none is stated
    measured_to: str
    points: int = Field(ge=1)
    constants: tuple[Constant, ...]
    fitted: tuple[str, ...]  # fingerprints of the points
    effects: tuple[Effect, ...]
    spreads: tuple[Spread, ...]

    def fitted_constants(self) -> Iterator[tuple[str, str, float]]:
        """Name, engine (empty: all) and value of every constant."""
        return ((c.name, c.engine, c.value) for c in self.constants)

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
        """The record as JSON, one row a line; equal records have equal texts."""
        data = self.model_dump(mode="json")
        lists = {k: data.pop(k) for k in ("constants", "fitted", "effects", "spreads")}
        head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in data.items()]
        body = [f"{json.dumps(k)}: [\n{_lines(v)}\n]" for k, v in lists.items()]
        return "{\n" + ",\n".join((*head, *body)) + "\n}\n"

    def write(self, path: str | Path) -> None:
        """Writes the text into a file, as `write_whole`.

        Raises:
            OSError: the disk is full or read-only; no half file stays.
        """
        write_whole(Path(path), self.text())


def _lines(values: Iterable[Any]) -> str:
    return ",\n".join(f"  {json.dumps(v, ensure_ascii=False)}" for v in values)
