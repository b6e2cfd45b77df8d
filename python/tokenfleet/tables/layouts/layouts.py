"""Names and degrees of rows as layouts that the core has prepared, or as the reason why not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tokenfleet._core import Candidates, Space
from tokenfleet.catalog import Catalog
from tokenfleet.catalog.names import kv_format
from tokenfleet.points.rates import plain_scenario
from tokenfleet.problem.allowed import runs_on, supports
from tokenfleet.problem.specification import PRECISIONS, build_specification, kernels_used
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema import Speculation, did_you_mean
from tokenfleet.schema.engines import DEFAULT_ENGINE, ENGINES
from tokenfleet.schema.formats import KV_BYTES
from tokenfleet.tables.layouts.columns import COUNTS, KEYS, SHARES

_KV = tuple(KV_BYTES)
MOST_GPUS = 4096
PROVENANCE = ("calibrated", "inherited")


@dataclass(frozen=True)
class Refusal:
    """Why a row's layout is none: the column to look at, its value, and the reason."""

    column: str
    value: str
    reason: str


class RefusedError(Exception):
    """Carries a `Refusal`."""

    def __init__(self, column: str, value: object, reason: str) -> None:
        super().__init__(reason)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        self.refusal = Refusal(column, "" if value is None else text[:80], reason)


class Layouts:
    """Layouts seen so far, by what their rows say. Not for several threads at once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._systems = [s for s in sorted(catalog.systems) if not _missing(catalog, s)]
        self._models = sorted(catalog.models)
        loaded = load_scenario(plain_scenario(self._models), catalog=catalog)
        self._specification = build_specification(loaded, self._systems)
        for workload in self._specification.data["workloads"]:
            workload["max_gpus"] = MOST_GPUS
        self._engines = [e["id"] for e in self._specification.data["engines"]]
        self.core = Candidates(Space(json.dumps(self._specification.data)))
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._refusals: list[Refusal] = []
        self._provenance: list[int] = []

    @property
    def provenance(self) -> Sequence[int]:
        """Place in `PROVENANCE` of each prepared layout."""
        return self._provenance

    def number(self, values: tuple[Any, ...]) -> int:
        """The layout's number, or `-1 - i` where refusal `i` says why there is none.

        `values` are a row's in the order of `KEYS`, None where blank.
        """
        if values not in self._numbers:
            try:
                number = self._add(dict(zip(KEYS, values, strict=True)))
            except RefusedError as error:
                self._refusals.append(error.refusal)
                number = -len(self._refusals)
            self._numbers[values] = number
        return self._numbers[values]

    def refusal(self, number: int) -> Refusal:
        """Why a negative number is no layout."""
        return self._refusals[-1 - number]

    def _add(self, row: Mapping[str, Any]) -> int:
        given = {name: self._name(name, row[name]) for name in ("system", "model", "precision")}
        system, model = given["system"], given["model"]
        precision = given["precision"]
        engine = self._engine(row["engine"], system)
        kv = row["kv"] or kv_format(engine, precision)
        if kv not in _KV:
            raise RefusedError("kv", kv, f"unknown cache format; {did_you_mean(str(kv), _KV)}")
        degrees = [_whole(row[name], name, 1, MOST_GPUS) or 1 for name in COUNTS[:4]]
        if math.prod((degrees[0], degrees[1], degrees[3])) > MOST_GPUS:
            raise RefusedError("tp", degrees[0], f"a replica of more than {MOST_GPUS} accelerators")
        axes = self._axes(system, model, precision, engine, kv)
        number = self.core.add(axes, degrees, _speculation(row, model))
        if number is None:
            raise RefusedError("tp", degrees[0], self._no_layout(system, precision, kv, degrees))
        ranks = (degrees[0], degrees[3])
        self._provenance.append(self._inherited(system, engine, axes[0], (precision, kv), ranks))
        return number

    def _name(self, column: str, value: Any) -> str:
        known: Mapping[str, Any] = {
            "system": self._catalog.systems,
            "model": self._catalog.models,
            "precision": dict.fromkeys(PRECISIONS),
        }[column]
        if value is None:
            raise RefusedError(column, None, "is blank")
        if value not in known:
            raise RefusedError(column, value, f"unknown {column}; {did_you_mean(value, known)}")
        if column == "system" and value not in self._systems:
            missing = ", ".join(_missing(self._catalog, value))
            raise RefusedError(column, value, f"the catalog has no sourced {missing} of it")
        return str(value)

    def _engine(self, value: Any, system: str) -> str:
        engine = str(value or DEFAULT_ENGINE)
        if engine not in ENGINES:
            raise RefusedError("engine", engine, f"unknown engine; {did_you_mean(engine, ENGINES)}")
        row = self._catalog.system(system)
        if not runs_on(engine, row):
            raise RefusedError("engine", engine, f"does not run on accelerators of {row.vendor}")
        return engine

    def _axes(self, system: str, model: str, precision: str, engine: str, kv: str) -> list[int]:
        data = self._specification.data
        w = next(i for i, x in enumerate(data["workloads"]) if x["id"] == model)
        axis = [data["precisions"][p]["id"] for p in data["workloads"][w]["precisions"]]
        row = self._catalog.system(system)
        if precision not in axis or not supports(row, precision):
            why = "has no kernel figures for this model" if precision not in axis else ""
            raise RefusedError("precision", precision, why or f"{system} does not compute in it")
        return [
            w,
            self._systems.index(system),
            self._engines.index(engine),
            axis.index(precision),
            _KV.index(kv),
        ]

    def _inherited(
        self, system: str, engine: str, w: int, formats: tuple[str, str], ranks: tuple[int, int]
    ) -> int:
        """1 where a kernel that the layout runs has its figures from a relative."""
        notes = self._specification.inherited.notes.get((system, engine), {})
        used = kernels_used(self._specification, w, *formats, ranks)
        return int(not used.isdisjoint(notes))

    def _no_layout(self, system: str, precision: str, kv: str, degrees: Sequence[int]) -> str:
        tp, pp, ep, adp = degrees
        what = f"tp {tp}, pp {pp}, ep {ep}, attention_dp {adp}, {precision} weights, {kv} cache"
        return (
            f"no layout: {what} does not divide the model's heads, layers and experts over whole "
            f"parts of {system}, or a kernel or link has no figure"
        )


def _missing(catalog: Catalog, system: str) -> tuple[str, ...]:
    return catalog.missing_figures(system, hosted=True)


def _whole(value: Any, column: str, low: int, high: int) -> int | None:
    """A whole number within bounds, or None for a blank."""
    if value is None:
        return None
    whole = isinstance(value, (int, float)) and math.isfinite(value) and value == int(value)
    if not whole or not low <= value <= high:
        raise RefusedError(column, value, f"must be a whole number from {low} to {high}")
    return int(value)


def _speculation(row: Mapping[str, Any], model: str) -> dict[str, float]:
    """The core's `Speculation`: draft tokens, accepted ones, their cost as a share of a step."""
    depth = _whole(row["speculative_depth"], "speculative_depth", 0, 16) or 0
    shares = {name: row[name] for name in SHARES}
    if depth == 0:
        return {"depth": 0, "accepted": 1.0, "draft_cost": 0.0}
    for name, value in shares.items():
        if value is None:
            reason = f"is blank beside a speculative_depth of {depth}"
            raise RefusedError(name, None, reason)
    try:
        drafts = Speculation(
            model=model,
            max_depth=depth,
            acceptance=shares["acceptance"],
            draft_cost_fraction=shares["draft_cost_fraction"],
            source="candidate file",
        )
    except ValidationError as error:
        first = error.errors()[0]
        column = str(first["loc"][0]) if first["loc"] else "acceptance"
        name = column if column in SHARES else "acceptance"
        raise RefusedError(name, shares[name], str(first["msg"]).lower()) from None
    cost = drafts.draft_cost()
    return {"depth": depth, "accepted": drafts.accepted(depth), "draft_cost": cost}
