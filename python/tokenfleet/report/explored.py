"""An exploration in words: its titles, notes and the figures of its rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tokenfleet.files.plain import plain
from tokenfleet.plan.explored import Alternative, Exploration, Resolved
from tokenfleet.plan.rows import Plan
from tokenfleet.report import findings, words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import difference, exact_dollars, short_dollars, spelled

NOT_FOUND = "no plan was found in the time given"
STAYS = "What is owned and hosted APIs stay in each, unless its name says otherwise."
_WORTH_A_NOTE = 0.02  # of the value, between two neighbouring settings of the limits


def solved_anew(plan: Plan, found: Exploration) -> Iterator[str]:
    """Why "this plan" has another figure here than at the head of the page."""
    if value(plan, found.today) != value_of(plan, plan.objective_value):
        yield (
            "Every figure here, this plan's too, is of the best mix, found anew in the same way. "
            f"The plan itself comes to {value_of(plan, plan.objective_value)}."
        )


def rule(row: Alternative) -> str:
    """A rule in words: `only H100 SXM 80GB`."""
    return plain(clip(row.name if row.accelerator is None else f"only {row.accelerator}", 60))


def value(plan: Plan, solved: Resolved) -> str:
    """The value of a plan, in the objective's unit."""
    return value_of(plan, solved.objective_value)


def value_of(plan: Plan, found: float) -> str:
    """A value in the objective's unit."""
    if not plan.objective_unit.startswith("USD"):
        return spelled(found)
    if "token" in plan.objective_unit:
        return findings.money_per_mtok(found)
    return exact_dollars(found)


def more(today: Resolved, solved: Resolved) -> float:
    """How much more its value is, over today's."""
    return solved.objective_value / today.objective_value - 1.0 if today.objective_value else 0.0


def systems(solved: Resolved) -> str:
    """`3 a100-stock@eu-dublin, 3 h100-buy@eu-frankfurt`."""
    return plain(", ".join(f"{n} {name}" for name, n in solved.systems.items())) or "no systems"


def without_plan(found: Exploration) -> list[str]:
    """Alternatives that have no plan, by the reason why there is none."""
    by_reason: dict[str, list[str]] = {}
    for row in found.alternatives:
        if row.plan is None:
            by_reason.setdefault(row.reason or "", []).append(rule(row))
    return [
        f"{sentence(', '.join(names))}: " + (f"no plan: {clip(why, 150)}" if why else NOT_FOUND)
        for why, names in by_reason.items()
    ]


def alternatives_title(plan: Plan, found: Exploration) -> str:
    """What the next best and the dearest come to."""
    others = [
        (rule(r), relative)
        for r in found.alternatives
        if r.plan is not None and not words.is_tie(plan, relative := more(found.today, r.plan))
    ]
    if not others:
        return "No alternative has a plan that differs"
    (first, least), (last, most) = others[0], others[-1]
    title = sentence(f"{first} {findings.against(plan, least)}")
    if len(others) > 1:
        title += f"; {last}, {difference(most)}"
    return title


def money_term(plan: Plan, name: str) -> float | None:
    """A money term of the plan, where it rests on one."""
    found = (row.value for row in plan.inputs if row.what == f"finance.{name}")
    known = next(found, None)
    return known if isinstance(known, float) else None


def paying_otherwise(found: Exploration) -> list[tuple[str, Resolved]]:
    """Alternatives of which less or more is paid up front than today, in words."""
    front = found.today.capex_usd
    return [
        (rule(r), r.plan)
        for r in found.alternatives
        if r.plan is not None
        and abs(r.plan.capex_usd - front) > 0.01 * max(front, r.plan.capex_usd)
    ]


def cash_by_year(solved: Resolved, life: float, resale: float) -> Iterator[tuple[float, float]]:
    """Years and USD paid until then; at the end what is bought brings a share of its price."""
    yield 0.0, solved.capex_usd
    years = [float(year) for year in range(1, int(life) + 1)]
    for year in years if not years or years[-1] == life else [*years, life]:
        yield year, solved.capex_usd + year * solved.running_usd_per_year
    paid = solved.capex_usd + life * solved.running_usd_per_year
    yield life, paid - resale * solved.capex_usd


def payback_years(today: Resolved, other: Resolved) -> float | None:
    """When what is paid up front for today's plan is made good by its lower running cost."""
    front = today.capex_usd - other.capex_usd
    saved = other.running_usd_per_year - today.running_usd_per_year
    return front / saved if front > 0 and saved > 0 else None


def payback_title(plan: Plan, found: Exploration) -> str:
    """When this plan is paid back against the best of those that cost less up front."""
    life = money_term(plan, "life_years") or 0.0
    known = [
        (years, name)
        for name, solved in paying_otherwise(found)
        if (years := payback_years(found.today, solved)) is not None and years <= life
    ]
    if known:
        years, name = known[0]
        return f"The purchase is paid back against {name} after {years:.1f} years"
    front, running = found.today.capex_usd, found.today.running_usd_per_year
    return f"{short_dollars(front)} up front, then {short_dollars(running)} a year"


def frontier_title(plan: Plan, found: Exploration) -> str:
    """What the tightest and the loosest limits cost and save."""
    solved = [(r.factor, r.plan) for r in found.frontier if r.plan is not None]
    parts = []
    for factor, of in (solved[0], solved[-1]):
        if factor == 1.0:
            continue
        costs = of.objective_value > found.today.objective_value
        how = "tighter" if factor < 1 else "looser"
        said = _apart(plan, of.objective_value - found.today.objective_value)
        more = f"cost {said} more" if costs else f"save {said}"
        parts.append(f"limits at {100 * factor:.0f}% ({how}) {more}")
    return sentence("; ".join(parts))


def frontier_notes(plan: Plan, found: Exploration) -> Iterator[str]:
    """The largest step between two settings, and where there is no plan."""
    none = [r.factor for r in found.frontier if r.plan is None]
    if none:
        yield f"At {100 * max(none):.0f}% of the limits there is no plan."
    solved = [(r.factor, r.plan.objective_value) for r in found.frontier if r.plan is not None]
    steps = [(abs(a[1] - b[1]), a, b) for a, b in itertools.pairwise(solved)]
    size, (tight, _), (loose, _) = max(steps)
    if size > _WORTH_A_NOTE * abs(found.today.objective_value):
        yield (
            f"The largest step is between {100 * tight:.0f}% and {100 * loose:.0f}% of the limits: "
            f"{_apart(plan, size)}."
        )


def _apart(plan: Plan, by: float) -> str:
    """A difference of values, without its sign."""
    unit = plan.objective_unit
    if unit == "USD per year":
        return f"{short_dollars(abs(by))} a year"
    if unit.startswith("USD"):
        return f"{findings.money_per_mtok(abs(by))} per million tokens"
    return f"{spelled(abs(by))} {unit}"
