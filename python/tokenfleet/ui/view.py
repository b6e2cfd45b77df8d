"""What the page shows of a plan, beside another one: text and figures, no markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan
from tokenfleet.report import inputs, local, words
from tokenfleet.report.numbers import dollars, number, power, unit_price
from tokenfleet.report.page.parts import Tile
from tokenfleet.ui.form import changes

_ROW = re.compile(r"(?P<table>\w+)\[(?P<row>\d+)\]\.(?P<rest>.+)")


@dataclass(frozen=True)
class View:
    """A plan beside another: `base` is the number of that one, from 0, or None."""

    number: int
    base: int | None
    others: tuple[tuple[int, str], ...]  # plans that it can stand beside: number and name
    proven: bool
    proof: str
    headline: str
    tiles: tuple[Tile, ...]
    warnings: tuple[str, ...]
    changes: tuple[tuple[str, str, str, str], ...]  # path, what it is called, before, now
    systems: tuple[tuple[str, str, str, int, int], ...]  # site, system, how, before, now
    costs: tuple[tuple[str, str, str, str], ...]  # item, before, now, change
    latency: tuple[tuple[str, str, str, str], ...]  # workload, metric, promised, limit


def view(plans: Sequence[tuple[Any, Plan]], shown: int, base: int | None) -> View:
    """Plan number `shown` beside `base`; `plans` has each scenario as plain data and its plan."""
    data, plan = plans[shown]
    other = None if base is None else plans[base][1]
    others = [(i, plan_name(plans, i)) for i in range(len(plans)) if i != shown]
    return View(
        number=shown,
        base=base,
        others=tuple(others),
        proven=plan.proven,
        proof=words.status_words(plan),
        headline=words.headline(plan),
        tiles=_tiles(plan, other),
        warnings=tuple(words.warnings(plan)[:4]),
        changes=tuple(_changes(plans[base][0], data)) if base is not None else (),
        systems=tuple(_systems(plan, other)),
        costs=tuple(_costs(plan, other)),
        latency=tuple(_latency(plan)),
    )


def _changes(before: Any, after: Any) -> Iterator[tuple[str, str, str, str]]:
    for path, then, now in changes(before, after):
        yield path, _called(after, path), then, now


def _called(data: Any, path: str) -> str:
    """What a field is called, with the id of its row; empty where it has no name."""
    found = _ROW.fullmatch(path)
    if found is None:
        return ""
    try:
        row = data[found["table"]][int(found["row"])]["id"]
    except (LookupError, TypeError):
        return ""
    whole = f"{found['table']}[{row}].{found['rest']}"
    name = inputs.called(whole)
    return "" if name == plain(whole) else name


def plan_name(plans: Sequence[tuple[Any, Plan]], i: int) -> str:
    """`Plan 2: 1 change`."""
    return f"Plan {i + 1}: {local.changed(len(changes(plans[0][0], plans[i][0])))}"


_FIGURES: tuple[tuple[str, Callable[[Plan], float | None], Callable[[Plan], str]], ...] = (
    (
        "Million output tokens",
        lambda plan: plan.cost_per_mtok_output_usd,
        lambda plan: unit_price(plan.cost_per_mtok_output_usd),
    ),
    (
        "A year",
        lambda plan: plan.annual_cost_usd,
        lambda plan: dollars(plan.annual_cost_usd),
    ),
    ("Up front", lambda plan: plan.capex_usd, lambda plan: dollars(plan.capex_usd)),
    ("Power held", words.power_held_kw, lambda plan: power(words.power_held_kw(plan))),
)


def _tiles(plan: Plan, other: Plan | None) -> tuple[Tile, ...]:
    return tuple(
        Tile(label, shown(plan), local.against(of(plan), None if other is None else of(other)))
        for label, of, shown in _FIGURES
    )


def _systems(plan: Plan, other: Plan | None) -> list[tuple[str, str, str, int, int]]:
    counts: dict[tuple[str, str, str], list[int]] = {}
    for side, of in enumerate((other, plan)):
        for row in of.systems if of else ():
            key = (row.site, row.system, words.obtained(row.kind))
            counts.setdefault(key, [0, 0])[side] += row.count
    return [(*key, before, now) for key, (before, now) in counts.items()]


def _costs(plan: Plan, other: Plan | None) -> list[tuple[str, str, str, str]]:
    items = {**(other.cost_items if other else {}), **plan.cost_items}
    found = []
    for item in sorted(items, key=lambda name: -items[name]):
        now = plan.cost_items.get(item, 0.0)
        then = other.cost_items.get(item, 0.0) if other else None
        found.append((words.item_name(item), *_beside(now, then)))
    then = other.annual_cost_usd if other else None
    return [*found, ("together", *_beside(plan.annual_cost_usd, then))]


def _beside(now: float, then: float | None) -> tuple[str, str, str]:
    """Dollars before, now, and the change."""
    if then is None:
        return "", dollars(now), ""
    change = now - then
    shown = "–" if abs(change) < 0.5 else f"+{dollars(change)}" if change > 0 else dollars(change)
    return dollars(then), dollars(now), shown


def _latency(plan: Plan) -> list[tuple[str, str, str, str]]:
    return [
        (
            row.workload,
            f"{row.metric.upper()} {row.percentile}",
            f"{number(row.promised_ms)} ms",
            f"{number(row.limit_ms)} ms",
        )
        for row in words.tightest_promises(plan.slo)
    ]
