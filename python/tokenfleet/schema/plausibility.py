"""Warnings about values that are legal but look like a slip of unit, and about near-equal ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from tokenfleet.problem_data import GOALS
from tokenfleet.schema.cures import rows_in
from tokenfleet.schema.fields import Percentile
from tokenfleet.schema.scenario import Scenario, id_groups, sanitised
from tokenfleet.schema.workload import FreeDemand

# Smallest and largest plausible limit, ms, per metric.
_LIMIT_MS = {"ttft": (10.0, 600_000.0), "tpot": (1.0, 2_000.0), "e2e": (50.0, 3_600_000.0)}
_PERCENTILES = get_args(Percentile)
_MAX_KW_PER_RACK = 1_000.0
_MAX_W_PER_GPU = 5_000.0


@dataclass(frozen=True)
class SchemaWarning:
    """A value that is accepted but looks wrong: where, what, and the probable cause."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def scenario_warnings(scenario: Scenario) -> tuple[SchemaWarning, ...]:
    """Every implausible value and near-equal id of a valid scenario, in order of appearance."""
    found = list(_bands(scenario, ""))
    found.extend(_limits(scenario))
    found.extend(_implied(scenario))
    found.extend(_density(scenario))
    found.extend(_near_ids(scenario))
    found.extend(_aims(scenario))
    found.extend(_without_effect(scenario))
    found.extend(_measured(scenario))
    return tuple(found)


def row_warnings(row: BaseModel) -> tuple[SchemaWarning, ...]:
    """Implausible values of one row, by the bands of its fields."""
    return tuple(_bands(row, ""))


def _bands(row: BaseModel, path: str) -> Iterator[SchemaWarning]:
    for name, shown, band in _judged(type(row)):
        value = getattr(row, name)
        here = f"{path}.{shown}" if path else shown
        if band:
            yield from _band(value, here, band)
        yield from _inside(value, here)


@cache
def _judged(model: type[BaseModel]) -> list[tuple[str, str, dict[str, Any]]]:
    """Fields with a band or with rows inside: name, name in a file, the band ({}: none).

    A table of rows without any may be long; its rows are not walked.
    """
    found = []
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        band = extra if isinstance(extra, dict) and "unit" in extra else {}
        band = band if band.keys() & {"plausible_low", "plausible_high"} else {}
        if band or any(_judged(inner) for inner in rows_in(field.annotation)):
            found.append((name, field.alias or name, dict(band)))
    return found


def _inside(value: Any, path: str) -> Iterator[SchemaWarning]:
    if isinstance(value, BaseModel):
        yield from _bands(value, path)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            if isinstance(item, BaseModel) and _judged(type(item)):
                name = getattr(item, "id", None)
                label = f" (id {name!r})" if name is not None else ""
                yield from _bands(item, f"{path}[{i}]{label}")


def _band(value: Any, path: str, extra: Any) -> Iterator[SchemaWarning]:
    if isinstance(value, dict | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _band(item, f"{path}[{key}]", extra)
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or value == 0:
        return
    unit = extra["unit"]
    low, high = extra.get("plausible_low"), extra.get("plausible_high")
    if low is not None and value < low:
        yield _implausible(path, value, unit, "low", extra["if_low"])
    if high is not None and value > high:
        yield _implausible(path, value, unit, "high", extra["if_high"])


def _implausible(path: str, value: float, unit: str, side: str, cause: str) -> SchemaWarning:
    question = f"; did you mean {cause}?" if cause else ""
    return SchemaWarning(path, f"{value:g} {unit} is unusually {side}{question}")


def _without_effect(scenario: Scenario) -> Iterator[SchemaWarning]:
    """What is stated and changes nothing, so that somebody may believe that it does."""
    origins = {o for w in scenario.workloads for c in w.classes or () for o in c.origin_shares}
    derived = any(w.classes is None for w in scenario.workloads)
    for i, site in enumerate(scenario.sites):
        path = f"sites[{i}] (id {site.id!r})"
        if site.power_usd_per_kw_year and not site.power_is_contracted:
            text = "has no effect without power_is_contracted: true"
            yield SchemaWarning(f"{path}.power_usd_per_kw_year", text)
        unknown = sorted(site.round_trip_ms.keys() - origins)
        if unknown and not derived:
            text = f"no request comes from {', '.join(unknown)}: name origins in the classes"
            yield SchemaWarning(f"{path}.round_trip_ms", text)
    for i, offer in enumerate(scenario.offers):
        path = f"offers[{i}] (id {offer.id!r})"
        priced = offer.price_usd_per_system or offer.price_usd_per_gpu_h
        if offer.term_years is not None and offer.kind != "rent":
            text = f"has no effect: {offer.kind} has no contract of years"
            yield SchemaWarning(f"{path}.term_years", text)
        if offer.price_tier is not None and priced:
            text = "has no effect beside a price of your own"
            yield SchemaWarning(f"{path}.price_tier", text)
        if offer.kind == "spot" and not any(w.interruptible for w in scenario.workloads):
            text = "spot serves workloads with interruptible: true alone, and there is none"
            yield SchemaWarning(f"{path}.kind", text)


def _measured(scenario: Scenario) -> Iterator[SchemaWarning]:
    """Rows of measured columns that draw more than accelerators do."""
    if scenario.columns is None or isinstance(scenario.columns, str):
        return
    for i, row in enumerate(scenario.columns):
        if row.watts is not None and row.watts > _MAX_W_PER_GPU * row.gpus:
            cause = "mW" if row.watts > 1e5 * row.gpus else "the watts of a whole rack"
            what = "W of one accelerator" if row.gpus == 1 else f"W of {row.gpus} accelerators"
            yield _implausible(f"columns[{i}].watts", row.watts, what, "high", cause)


def _aims(scenario: Scenario) -> Iterator[SchemaWarning]:
    """Goals to which the demand leaves nothing, or all: legal, and hardly ever meant."""
    kind, goal = scenario.objective.kind, GOALS[scenario.objective.kind]
    free = [w.demand for w in scenario.workloads if isinstance(w.demand, FreeDemand)]
    if goal.gains_by_volume:
        short = any(w.shortfall_usd_per_request is not None for w in scenario.workloads)
        if goal.most and not free and not short:
            text = f"{kind} of a demand that is stated: every plan that serves it is as good"
            yield SchemaWarning("objective.kind", f"{text}; did you mean least_cost, or free?")
    elif len(free) == len(scenario.workloads) and not any(d.min_requests_per_s for d in free):
        text = f"{kind} of free demand without min_requests_per_s: serving nothing is best"
        yield SchemaWarning("objective.kind", text)


def _limits(scenario: Scenario) -> Iterator[SchemaWarning]:
    for i, workload in enumerate(scenario.workloads):
        for j, slo in enumerate(workload.slos):
            low, high = _LIMIT_MS[slo.metric]
            path = f"workloads[{i}] (id {workload.id!r}).slos[{j}].limit_ms"
            if slo.limit_ms < low:
                yield _implausible(path, slo.limit_ms, f"ms of {slo.metric}", "low", "seconds")
            elif slo.limit_ms > high:
                cause = "microseconds"
                yield _implausible(path, slo.limit_ms, f"ms of {slo.metric}", "high", cause)


def _implied(scenario: Scenario) -> Iterator[SchemaWarning]:
    """Limits that another one implies, such as a p95 of 3 s beside a p99 of 2 s."""
    for i, workload in enumerate(scenario.workloads):
        for j, slo in enumerate(workload.slos):
            for k, other in enumerate(workload.slos):
                rank = _PERCENTILES.index(slo.percentile), _PERCENTILES.index(other.percentile)
                same = all(
                    getattr(slo, of) == getattr(other, of) for of in ("metric", "over", "cls")
                )
                if j == k or not same or not rank[1] >= rank[0] > 0:
                    continue
                if (slo.limit_ms, -rank[0], j) > (other.limit_ms, -rank[1], k):
                    path = f"workloads[{i}] (id {workload.id!r}).slos[{j}]"
                    other_says = f"{other.percentile} within {other.limit_ms:g} ms"
                    yield SchemaWarning(
                        path, f"says nothing beside slos[{k}]: {other_says} is stricter"
                    )
                    break


def _density(scenario: Scenario) -> Iterator[SchemaWarning]:
    for i, site in enumerate(scenario.sites):
        if isinstance(site.racks, str) or isinstance(site.power_kw, str) or not site.racks:
            continue
        density = site.power_kw / site.racks
        if density > _MAX_KW_PER_RACK:
            path = f"sites[{i}] (id {site.id!r}).power_kw"
            yield _implausible(path, density, "kW per rack position", "high", "W")


def _near_ids(scenario: Scenario) -> Iterator[SchemaWarning]:
    for path, names in id_groups(scenario):
        first: dict[str, str] = {}
        for i, name in enumerate(names):
            other = first.setdefault(sanitised(name), name)
            if other != name:
                yield SchemaWarning(
                    f"{path}[{i}]", f"id {name!r} is nearly {other!r}; are they the same?"
                )
