"""Why two plans differ: what moved, and which inputs the change of the cost is due to.

Inputs are grouped (prices, demand, limits, catalog, calibration, options). V(S) is the best value
of A's scenario with the groups in S as B has them; a group's part is its Shapley value

    sum over S without g of |S|! (G - |S| - 1)! / G! * (V(S and g) - V(S))

which does not depend on the order of the groups and adds up to V(B) - V(A) exactly. With six groups
that is 64 plans at most; groups that are equal take no part.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.explanation.over_time import UNIT, OverTime, open_either
from tokenfleet.explanation.rows import Difference, Moved, Part
from tokenfleet.explanation.study import Answer, systems_by_offer
from tokenfleet.mix.model import Label
from tokenfleet.plan.explored import HowGot
from tokenfleet.plan.rows import Plan
from tokenfleet.problem_data import Api, Flow, Problem
from tokenfleet.scenario.load import LoadedScenario, ScenarioSource, load_scenario
from tokenfleet.verify.mix import annual_cost_items

Path_ = tuple[str, ...]
Watch = Callable[[str, int], None]
_TOO_WIDE = 0.2  # of the difference, that the gaps may add up to

#: Names of fields by the group that they belong to, asked from the innermost outwards.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "prices": (
        "price_vintage", "finance", "price_usd_per_gpu_h", "price_usd_per_system", "price_tier",
        "term_years", "includes", "electricity_usd_per_kwh", "hosting_usd_per_kw_month",
        "power_usd_per_kw_year", "price", "usd_per_mtok_input", "usd_per_mtok_output",
        "usd_per_request", "carbon_price_usd_per_t", "water_price_usd_per_m3",
        "value_usd_per_mtok_output", "shortfall_usd_per_request", "prices", "tariff", "resale",
        "price_change_per_year", "end_value_share", "maintenance_by_age", "upfront_fraction",
        "life_years",
    ),
    "demand": ("demand", "classes", "lengths"),
    "limits": (
        "slos", "quality_floor", "residency", "power_kw", "racks", "rack_units", "rack_kw",
        "cooling", "supply", "max_requests_per_s", "reserve", "power", "lead_months",
        "delivery_limit_per_period", "delivery_delay_months", "order_from", "order_until",
        "expansions",
    ),
    "catalog": ("catalog", "quality"),
    "calibration": ("calibration", "confidence", "engine_versions", "gpu_memory_utilization"),
}  # fmt: skip
_OPTIONS = "options"
_FILES = ("trace", "cdf")  # of `lengths`


def shapley(groups: Sequence[str], value: Callable[[frozenset[str]], float]) -> dict[str, float]:
    """The part of each group in value(all) - value(none).

    >>> shapley(["a", "b"], lambda s: float(len(s)))
    {'a': 1.0, 'b': 1.0}
    """
    n = len(groups)
    known = {
        frozenset(s): value(frozenset(s))
        for size in range(n + 1)
        for s in itertools.combinations(groups, size)
    }
    parts = {}
    for group in groups:
        others = [g for g in groups if g != group]
        parts[group] = sum(
            math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            * (known[frozenset({*s, group})] - known[frozenset(s)])
            for size in range(n)
            for s in itertools.combinations(others, size)
        )  # fmt: skip
    return parts


def difference(
    a: Plan | ScenarioSource, b: Plan | ScenarioSource, *, watch: Watch | None = None, **opened: Any
) -> Difference:
    """What moved from one plan to another, and the inputs that the change is due to.

    `a` and `b` are plans, plan files or scenarios, both of one year or both over time; both are
    solved again. Of plans over time the cost is levelised.

    Raises:
        SchemaError: their goals differ, or one cannot be understood.
        InfeasibleError: one of them has no plan.
    """
    return _Pair(_opened(a, **opened), _opened(b, **opened), watch).compared()


@dataclass(frozen=True)
class _Asked:
    """A scenario that is compared, and its plan when it is asked for."""

    loaded: LoadedScenario
    unit: str
    sign: float
    gap: float
    solve: Callable[[], _Solved]


@dataclass(frozen=True)
class _Solved:
    """A plan as it is compared."""

    loss: float
    bound: float
    how: HowGot
    systems: Mapping[str, float]
    items: Mapping[str, float]
    requests: Mapping[str, float]


def _opened(source: Plan | ScenarioSource, **opened: Any) -> _Asked:
    asked = open_either(source, **opened)
    if isinstance(asked, OverTime):
        return _Asked(asked.built.loaded, UNIT, 1.0, asked.options.gap, lambda: _over_time(asked))
    study = asked.study
    unit = study.problem.objective.goal.unit
    return _Asked(asked.loaded, unit, study.sign, study.options.gap, lambda: _of_a_year(study.base))


def _of_a_year(found: Answer) -> _Solved:
    return _Solved(
        found.loss, found.bound, found.how, systems_by_offer(found.problem, found.values),
        annual_cost_items(found.problem, found.values), _routed(found.problem, found.values),
    )  # fmt: skip


def _over_time(asked: OverTime) -> _Solved:
    base, items = asked.base, asked.levelised_items()
    requests = _routed(base.result.problem, base.result.values)
    return _Solved(base.value, base.bound, base.how, base.systems, items, requests)


class _Pair:
    """Two scenarios and every mixture of them that was solved."""

    def __init__(self, a: _Asked, b: _Asked, watch: Watch | None) -> None:
        self.a, self.b = a, b
        goals = [side.loaded.scenario.objective.kind for side in (a, b)]
        if goals[0] != goals[1]:
            raise SchemaError(
                f"the plans have other goals: {goals[0]} and {goals[1]}",
                "compare plans of one objective",
            )
        if a.unit != b.unit:
            raise SchemaError(
                "one plan is of a year and the other over time: their costs do not compare",
                "compare two plans with `horizon`, or two without",
            )
        self.watch = watch
        self.left, self.right = _flat(a.loaded), _flat(b.loaded)
        changed = [k for k in {**self.left, **self.right} if self._differs(k)]
        self.changed: dict[str, list[str]] = {}
        for key in changed:
            self.changed.setdefault(group_of(key), []).append(_said(key))
        self.gaps = 0.0
        self.solves = 0

    def _differs(self, key: Path_) -> bool:
        left, right = (_in_order(key, side.get(key)) for side in (self.left, self.right))
        return bool(left != right)

    def compared(self) -> Difference:
        """All of the difference."""
        groups = [g for g in (*_GROUPS, _OPTIONS) if g in self.changed]
        before, after = self._base(self.a), self._base(self.b)
        sign = self.a.sign
        ends = {frozenset[str](): before.loss, frozenset(groups): after.loss}
        notes: list[str] = []
        try:
            parts = shapley(groups, lambda s: ends[s] if s in ends else self._value(groups, s))
        except InfeasibleError as error:
            parts = {}
            notes.append(f"no attribution: with a part of the changes alone {error.message}")
        total = after.loss - before.loss
        self.gaps += before.loss - before.bound + after.loss - after.bound
        if parts and self.gaps > _TOO_WIDE * abs(total):
            notes.append(
                "the gaps of the plans add up to more than a fifth of the difference: the parts "
                "are not told apart from rounding; give a smaller --gap"
            )
        if not groups and total:
            notes.append("the scenarios are the same: the plans differ within their gap")
        return Difference(
            before=sign * before.loss,
            after=sign * after.loss,
            change=sign * total,
            objective_unit=self.a.unit,
            parts=tuple(
                Part(group=g, change=sign * parts[g], inputs=tuple(sorted(self.changed[g])))
                for g in groups
                if g in parts
            ),
            systems=_moved(before.systems, after.systems),
            cost_items=_moved(before.items, after.items),
            requests=_moved(before.requests, after.requests),
            notes=tuple(notes),
            solves=self.solves,
            how=before.how if before.how == after.how else "re-solved within gap",
        )

    def _base(self, asked: _Asked) -> _Solved:
        self.solves += 1
        try:
            return asked.solve()
        except InfeasibleError as error:
            name = asked.loaded.source_name
            hint = f"tokenfleet explain {name} says what could give way"
            raise InfeasibleError(f"{name}: {error.message}", error.conflicts, hint) from None

    def _value(self, groups: Sequence[str], chosen: frozenset[str]) -> float:
        """The least loss of A's scenario with some groups as B has them."""
        if self.watch is not None:
            self.watch(f"with {', '.join(sorted(chosen))} of the second", self.solves)
        mixed = {
            key: (self.right if group_of(key) in chosen else self.left).get(key)
            for key in {**self.left, **self.right}
        }
        rows = _nested({k: v for k, v in mixed.items() if v is not None})
        loaded = load_scenario(rows, self.a.loaded.base_dir)
        found = self._base(_opened(loaded, gap=self.a.gap))
        self.gaps += found.loss - found.bound
        return found.loss


def group_of(key: Path_) -> str:
    """The group of an input: that of its innermost name that has one."""
    for name in reversed(key):
        if "_budget_" in name:
            return "limits"
        for group, names in _GROUPS.items():
            if name in names:
                return group
    return _OPTIONS


def _said(key: Path_) -> str:
    """An input as a person writes it: `offers[h100-buy].price_usd_per_system`."""
    text = ""
    for name in key:
        text += f"[{name[1:]}]" if name.startswith("=") else f".{name}" if text else name
    return text


def _flat(loaded: LoadedScenario) -> dict[Path_, Any]:
    """What a scenario states, by path; a row of a list is known by its id, as `=id`."""
    stated = loaded.scenario.model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude={"solver", "name", "notes", "as_of"}
    )
    stated["catalog"] = [str(_absolute(loaded, p)) for p in loaded.scenario.catalog]
    return dict(_leaves(stated, (), loaded))


def _leaves(value: Any, key: Path_, loaded: LoadedScenario) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, dict) and value and key[-1:] not in (("demand",), ("reserve",)):
        for name, part in value.items():
            yield from _leaves(part, (*key, name), loaded)
    elif (
        isinstance(value, list) and value and all(isinstance(v, dict) and "id" in v for v in value)
    ):
        for row in value:
            yield from _leaves(row, (*key, f"={row['id']}"), loaded)
    elif key[-1:] and key[-1] in _FILES and isinstance(value, str):
        yield key, str(_absolute(loaded, value))
    else:
        yield key, value


def _in_order(key: Path_, value: Any) -> Any:
    """Names and rows in one order, which says nothing but where a later catalog file counts."""
    if key == ("catalog",) or not isinstance(value, list):
        return value
    if all(isinstance(of, str | dict) for of in value):
        return sorted(json.dumps(of, sort_keys=True) for of in value)
    return value


def _are_rows(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(row, dict) and "id" in row for row in value)


def _absolute(loaded: LoadedScenario, name: str) -> Path:
    return (loaded.base_dir / name).resolve()


def _nested(flat: Mapping[Path_, Any]) -> dict[str, Any]:
    """Plain data of paths; a row whose id was dropped is dropped."""
    root: dict[str, Any] = {"name": "mixture"}
    for key, value in flat.items():
        place = root
        for name in key[:-1]:
            place = place.setdefault(name, {})
        place[key[-1]] = value
    return {name: _listed(value) for name, value in root.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(str(name).startswith("=") for name in value):
        rows = [_listed(row) for row in value.values()]
        return [row for row in rows if "id" in row]
    return {name: _listed(part) for name, part in value.items()}


def _moved(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[Moved, ...]:
    """What differs, by name."""
    rows = []
    for name in sorted({*before, *after}):
        a, b = float(before.get(name, 0.0)), float(after.get(name, 0.0))
        if abs(a - b) > 1e-9 * max(abs(a), abs(b)):
            rows.append(Moved(what=name, before=a, after=b, change=b - a))
    return tuple(rows)


def _routed(problem: Problem, values: Mapping[Label, float]) -> dict[str, float]:
    """Requests/s at the peak by workload and place that serves them."""
    rates: dict[tuple[str, int], float] = {}
    for label, rate in values.items():
        if isinstance(label, Flow):
            candidate = problem.candidates[label.candidate]
            if candidate.role == "prefill":
                continue
            workload = problem.workloads[candidate.workload].id
            key = (f"{workload} on {problem.pools[label.pool].id}", label.block)
        elif isinstance(label, Api):
            api = problem.apis[label.api]
            key = (f"{problem.workloads[api.workload].id} on API {api.id}", label.block)
        else:
            continue
        rates[key] = rates.get(key, 0.0) + rate
    peak: dict[str, float] = {}
    for (name, _), rate in rates.items():
        peak[name] = max(peak.get(name, 0.0), rate)
    return peak
