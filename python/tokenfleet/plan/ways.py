"""Buy, rent and API side by side: the best plan of each way alone, in a few figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tokenfleet.files.plain import finite, plain
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import Alone
from tokenfleet.plan.by_block import PlanNumbers
from tokenfleet.plan.rows import Way


def ways(found: MixResult, alone: Mapping[str, Alone]) -> tuple[Way, ...]:
    """Rows of the plans that each way has `alone`, beside the one that was `found`."""
    rows = [_way(name, way, found) for name, way in alone.items()]
    return best_first(rows, found.problem.objective.goal.sign)


def best_first(rows: Iterable[Way], sign: float) -> tuple[Way, ...]:
    """The rows of ways, the best first, then those without a plan."""
    return tuple(
        sorted(
            rows,
            key=lambda r: (r.objective_value is None, sign * (r.objective_value or 0.0), r.name),
        )
    )


def without_plan(name: str, why: str | None, *, impossible: bool) -> Way:
    """The row of a way that has no plan, or of which none was found; `why` where that is known."""
    none = ("objective_value", "difference_relative", "gap", "annual_cost_usd", "capex_usd")
    said = plain(why or "") or None
    return Way(name=name, gpus=None, impossible=impossible, why=said, **dict.fromkeys(none))


def _way(name: str, way: Alone, found: MixResult) -> Way:
    mix = way.best
    if mix is None:
        return without_plan(name, way.why, impossible=way.impossible)
    problem, held = mix.problem, dict[int, float]()
    for o, counts in PlanNumbers(mix).systems.items():
        held[o] = max(counts)
    pools = {o: problem.pools[problem.offers[o].pool] for o in held}
    return Way(
        name=name,
        impossible=False,
        why=None,
        objective_value=mix.value,
        difference_relative=mix.value / found.value - 1.0 if found.value else None,
        gap=finite(mix.gap),
        annual_cost_usd=mix.annual_cost_usd,
        capex_usd=sum(n * problem.offers[o].capex_usd for o, n in held.items()),
        gpus=sum(round(n) * pools[o].gpus_per_system for o, n in held.items()),
    )
