"""The form: which figures of a scenario can be changed, with the units of the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tokenfleet.report.labels import field_name
from tokenfleet.schema import Api, Demand, Finance, FreeDemand, Objective, Offer, Site, Slo
from tokenfleet.ui.edit import FieldPath

_MOST_ROWS = 40  # of each table; more are changed in the text


@dataclass(frozen=True)
class Field:
    """One figure: `path` leads to it in the scenario, `id` is the same as text."""

    path: FieldPath
    label: str
    meaning: str
    unit: str
    value: str

    @property
    def id(self) -> str:
        """The path as messages write it, without the ids of rows."""
        return path_text(self.path)


@dataclass(frozen=True)
class Group:
    """Figures that belong together."""

    title: str
    note: str
    fields: tuple[Field, ...]


def path_text(path: Sequence[str | int]) -> str:
    """`workloads[0].slos[1].limit_ms`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def without_ids(path: str) -> str:
    """A path of a message without the ids that it names: `workloads[1] (id 'chat').demand`."""
    return re.sub(r"\] \(id (?:'[^']*'|\"[^\"]*\")\)", "]", path)


def groups(data: Any) -> list[Group]:
    """The form of a scenario's plain data, which need not be valid."""
    if not isinstance(data, Mapping):
        return []
    found = [
        *_workloads(data),
        *_rows(data, "sites", Site, _SITE, "region"),
        *_rows(data, "offers", Offer, _OFFER, "kind"),
        *_rows(data, "apis", Api, _API, "workload"),
        Group("Money terms", "blank: typical figures", _fields(Finance, data, ("finance",))),
        Group("Budgets", "", _fields(Objective, data, ("objective",), _BUDGETS)),
    ]
    return [group for group in found if group.fields]


_SITE = (
    "power_kw",
    "electricity_usd_per_kwh",
    "pue",
    "racks",
    "hosting_usd_per_kw_month",
    "carbon_kg_per_kwh",
)
_OFFER = ("price_usd_per_system", "price_usd_per_gpu_h", "supply")
_API = ("usd_per_mtok_input", "usd_per_mtok_output")
_BUDGETS = ("annual_budget_usd", "capex_budget_usd")
_DEMAND = ("requests_per_s", "peak_to_mean", "peak_hours_per_day")
_FREE = ("mix_share", "min_requests_per_s", "max_requests_per_s")


def _workloads(data: Mapping[str, Any]) -> Iterator[Group]:
    for i, row in _listed(data, "workloads"):
        demand = row.get("demand")
        free = isinstance(demand, Mapping) and "free" in demand
        model, names = (FreeDemand, _FREE) if free else (Demand, _DEMAND)
        path: FieldPath = ("workloads", i)
        found = list(_fields(model, row, (*path, "demand"), names, row_at=len(path)))
        for j, slo in _listed(row, "slos"):
            said = f"{str(slo.get('metric', '')).upper()} {slo.get('percentile', '')}"
            at = (*path, "slos", j, "limit_ms")
            found += _field(Slo, "limit_ms", at, slo.get("limit_ms"), said)
        yield Group(str(row.get("id", i)), str(row.get("model", "")), tuple(found))


def _rows(
    data: Mapping[str, Any],
    table: str,
    model: type[BaseModel],
    names: Sequence[str],
    note: str,
) -> Iterator[Group]:
    for i, row in _listed(data, table):
        shown = [n for n in names if n not in _BY_KIND or row.get("kind") in _BY_KIND[n]]
        fields = _fields(model, {table: {i: row}}, (table, i), shown)
        yield Group(str(row.get("id", i)), f"{table[:-1]}, {row.get(note, '')}", fields)


# Kinds of offers that a price belongs to.
_BY_KIND = {
    "price_usd_per_system": ("buy",),
    "price_usd_per_gpu_h": ("rent", "on_demand", "spot", "all_in"),
}


def _fields(
    model: type[BaseModel],
    data: Mapping[str, Any],
    path: FieldPath,
    names: Sequence[str] | None = None,
    row_at: int = 0,
) -> tuple[Field, ...]:
    """Fields of a group at `path`, of which `data` begins at step `row_at`; () without it."""
    at: Any = data
    for step in path[row_at:]:
        at = at.get(step) if isinstance(at, Mapping) else None
    if not isinstance(at, Mapping) or not at:
        return ()
    found: list[Field] = []
    for name in names or model.model_fields:
        found += _field(model, name, (*path, name), at.get(name), field_name(name))
    return tuple(found)


def _field(
    model: type[BaseModel], name: str, path: FieldPath, value: Any, label: str
) -> list[Field]:
    """A field whose value is a figure, a word or blank; what is more is changed in the text."""
    if isinstance(value, dict | list | bool):
        return []
    info = model.model_fields[name]
    extra: Any = info.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    shown = "" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
    return [Field(path, label, info.description or "", unit, shown)]


def _listed(data: Mapping[str, Any], table: str) -> list[tuple[int, Mapping[str, Any]]]:
    rows = data.get(table)
    if not isinstance(rows, list):
        return []
    return [(i, row) for i, row in enumerate(rows[:_MOST_ROWS]) if isinstance(row, Mapping)]


def changes(before: Any, after: Any) -> list[tuple[str, str, str]]:
    """What differs between two scenarios: path, the value before and the value now."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    keys = [*old, *(key for key in new if key not in old)]
    return [
        (key, old.get(key, "–"), new.get(key, "–")) for key in keys if old.get(key) != new.get(key)
    ]


def _leaves(data: Any, path: FieldPath = ()) -> Iterator[tuple[str, str]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _leaves(value, (*path, i))
    elif data is not None:
        yield path_text(path), f"{data:.12g}" if isinstance(data, float) else str(data)
