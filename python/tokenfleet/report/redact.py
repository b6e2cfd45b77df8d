"""A plan to be passed on: a user's names become numbers, and prices are left out.

What stays is what the hardware is and does: systems, counts, power, tokens, latency, shares. Money
is told per 100 dollars of yearly cost, so that parts still add up and nobody learns a price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.plan.rows import Plan
from tokenfleet.report import words
from tokenfleet.report.numbers import part

NAME = "redacted: dollars are of each 100 a year"
# Keys whose text is a user's name, and what it is the name of.
_NAMED = {
    "site": "site",
    "lost_site": "site",
    "offer": "offer",
    "workload": "workload",
    "api": "API",
    "pool": "pool",
    "model": "model",
    "outlook": "outlook",
}
_CLASS_ROWS = ("routing", "unserved", "slo")  # elsewhere `class` says how a figure is known
LEFT_OUT = "what stands in the way is left out of this page"
_KEPT_WARNINGS = ("inherited", "confidence")  # the others may name anything
_PRICES = ("price_usd_per_system", "price_usd_per_gpu_h", "price_source", "energy_usd_per_kwh_it")
_PER_TOKEN = ("cost_per_mtok_output_usd", "cost_per_mtok_input_usd", "cost_per_mtok_total_usd")
_PER_IMAGE = "cost_per_thousand_images_usd"
_OF_OBJECTIVE = ("objective_value", "best_objective_value", "bound", "difference")
_LISTED = {"classes": "class", "workloads": "workload"}  # keys whose lists are of such names
_MONEY = re.compile(r"(^|_)usd(_|$)")


def redacted(plan: Plan) -> Plan:
    """The plan without a user's names and without prices; see the module for what stays.

    Sources, fingerprints, inputs and warnings that could name somebody are left out.
    """
    data = plan.to_json()
    scale = 100.0 / plan.annual_cost_usd if plan.annual_cost_usd > 0 else 0.0
    data = {key: _scaled(key, value, scale) for key, value in data.items()}
    _leave_out(data)
    _scale_objective(data, plan)
    _without_reasons(data)
    return _committed(Plan.from_json(_renamed(data, Names(data)), "redacted plan"))


def _committed(plan: Plan) -> Plan:
    """The plan with what is to be decided now told anew, without dollars, and without what outlooks
    say, which has names."""
    if plan.horizon is None:
        return plan
    now = [order for order in plan.horizon.orders if order.decided == "now"]
    said = tuple(order.sentence(paid=False) for order in now)
    outlooks = tuple(row.model_copy(update={"sign": ""}) for row in plan.horizon.outlooks)
    changed = {"commitments": said, "outlooks": outlooks}
    return plan.model_copy(update={"horizon": plan.horizon.model_copy(update=changed)})


def redacted_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without a plan: what kind it is, and of each way out which kinds of limits give way
    and by what share. Its sentences, which name sites and amounts, are left out."""
    repairs, conflicts = error.get("repairs") or (), len(error.get("conflicts") or ())
    named: dict[tuple[str, str], str] = {}
    ways = [
        {"relative": 0.0, "changes": [{"text": _gives_way(c, named)} for c in way["changes"]]}
        for way in repairs
    ]
    return {
        "type": error.get("type"),
        "name": "redacted",
        "message": LEFT_OUT,
        "hint": "",
        "repairs": ways,
        "conflicts": [LEFT_OUT] * min(conflicts, 1) if not ways else [],
    }


def _gives_way(change: Mapping[str, Any], named: dict[tuple[str, str], str]) -> str:
    """`power of site 1: 36% more than its limit`; sites, offers, APIs and workloads numbered."""
    what, where = str(change["what"]), str(change["where"])
    name, kind = ("demand", "workload") if what == "demand" else words.limit_words(what)
    if (kind, where) not in named:
        named[kind, where] = f"{kind} {sum(k == kind for k, _ in named) + 1}"
    of = f" of {named[kind, where]}" if kind else ""
    limit, short = float(change["limit"]), float(change["short_by"])
    if what == "demand":
        return f"demand{of}: {part(short, limit)} of it cannot be served"
    more = f"{part(short, limit)} more than its limit" if limit > 0 else "it allows none"
    return f"{name or 'a limit'}{of}: {more}"


def _scaled(key: str, value: Any, scale: float) -> Any:
    """Money per 100 dollars of yearly cost."""
    if isinstance(value, Mapping):
        money = key in ("cost_items", "cost_items_usd")
        return {k: v * scale if money else _scaled(k, v, scale) for k, v in value.items()}
    if isinstance(value, list):
        return [_scaled(key, each, scale) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and _MONEY.search(key):
        return value * scale
    return value


def _leave_out(data: dict[str, Any]) -> None:
    """What could name somebody or give a price away."""
    data.update(name=NAME, price_vintage=None, origin=None, verification=None)
    data.pop("exploration", None)
    data.update(inputs=[], checkpoints=[], not_considered=[], **dict.fromkeys(_PER_TOKEN))
    data["warnings"] = [row for row in data["warnings"] if row["kind"] in _KEPT_WARNINGS]
    data["limits"] = [row for row in data["limits"] if "usd" not in row["what"]]
    for row in data["systems"]:
        row.update(dict.fromkeys(_PRICES))
    for row in data["workloads"]:
        row.update(dict.fromkeys((*_PER_TOKEN, _PER_IMAGE)))
    for row in data["sites"]:
        row["region"] = None
    for row in data["replicas"]:
        row["source"] = None
    if data["best_single_system"] is not None:
        data["best_single_system"]["systems_by_offer"] = {}
    if data["other"] is not None:
        data["other"].update(systems={}, undecided=None)
    own = {row["system"] for row in data["hardware"] if row["own"]}
    for row in data["hardware"]:
        if row["own"]:
            row.update(vendor="own", accelerator="own system", source="own figures")
    data["provenance"] = [row for row in data["provenance"] if row["system"] not in own]


def _without_reasons(data: dict[str, Any]) -> None:
    """Why a way alone has no plan names workloads and what they ask for."""
    for row in data["ways"]:
        row["why"] = None


def _scale_objective(data: dict[str, Any], plan: Plan) -> None:
    """The value per 100 of itself, where it is money; so is that of every plan beside it."""
    if "USD" not in plan.objective_unit or not plan.objective_value:
        return
    scale = 100.0 / plan.objective_value
    beside = (data["best_single_system"], data["other"], *data["ways"], *data["without"])
    for row in (data, *(row for row in beside if row is not None)):
        for key in _OF_OBJECTIVE:
            if row.get(key) is not None:
                row[key] *= scale


class Names:
    """A number for every name that a user gave, in the order of the plan."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._of: dict[tuple[str, str], str] = {}
        own = {row["system"] for row in data.get("hardware", ()) if row["own"]}
        for kind, name in (*(("system", name) for name in sorted(own)), *_given(data)):
            self.numbered(kind, name)

    def numbered(self, kind: str, name: str) -> str:
        """The number of a name, a new one for a name that the plan does not have."""
        if (kind, name) not in self._of:
            number = sum(k == kind for k, _ in self._of) + 1
            self._of[kind, name] = f"{kind} {number}"
        return self._of[kind, name]

    def of_lot(self, name: str) -> str:
        """The numbers of an offer and the site that it is for: `h100-buy@hall`."""
        offer, at, site = name.rpartition("@")
        if not at:
            return self.numbered("offer", name)
        return f"{self.numbered('offer', offer)}@{self.numbered('site', site)}"

    def of(self, kind: str, name: str) -> str:
        """The number of a name; a name that nobody gave stays."""
        return self._of.get((kind, name), name)

    def of_any(self, name: str) -> str:
        """The number of a name of a site, offer or API."""
        kinds = (self._of.get((kind, name)) for kind in ("site", "offer", "API"))
        return "all" if name == "all" else next(filter(None, kinds), "not in the plan")


def _given(data: Any, table: str = "") -> Iterator[tuple[str, str]]:
    """Names with their kinds, from every row."""
    if isinstance(data, list):
        for each in data:
            yield from _given(each, table)
    elif isinstance(data, Mapping):
        for key, value in data.items():
            if isinstance(value, str):
                kind = _kind(key, table)
                yield from () if kind is None else ((kind, value),)
            elif key == "classes":
                yield from (("class", name) for name in value)
            else:
                yield from _given(value, key if isinstance(value, list) and not table else table)


def _kind(key: str, table: str) -> str | None:
    if key == "class":
        return "class" if table in _CLASS_ROWS else None
    return _NAMED.get(key)


def _renamed(data: Any, names: Names, table: str = "", key: str = "") -> Any:
    """The same data under other names."""
    if isinstance(data, list):
        return [
            names.of(_LISTED[key], each)
            if key in _LISTED and isinstance(each, str)
            else _renamed(each, names, table)
            for each in data
        ]
    if isinstance(data, Mapping):
        return {
            names.of("class", k) if key == "energy_j_per_request" else k:
            _renamed(v, names, table or (k if isinstance(v, list) else ""), k)
            for k, v in data.items()
        }  # fmt: skip
    return _text(data, names, table, key) if isinstance(data, str) else data


def _text(text: str, names: Names, table: str, key: str) -> str:
    if key == "where":
        return names.of_any(text)
    if key == "system":
        return names.of("system", text)
    if key in ("period", "after"):
        day, space, outlook = text.partition(" ")
        return f"{day}{space}{names.of('outlook', outlook)}"
    if key == "decided":
        return names.of("outlook", text)
    kind = _kind(key, table)
    return text if kind is None else names.of(kind, text)
