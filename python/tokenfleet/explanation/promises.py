"""Promises that may give way where there is no plan: latency limits, quality floors, residencies,
the reserve, and over time when an offer is delivered.

Each is tried in a few round steps, every one looser than the last, for what has to be known is how
far it must give way. For example of a limit of 20 ms on the first token 25, 30, 40 and 600 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tokenfleet.explanation.repair import Concession
from tokenfleet.schema import Offer, Scenario, Workload

# How far a promise may give way: times a latency limit, and off a quality floor.
_LONGER = (
    1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0, 150.0,
    200.0, 300.0, 500.0, 1000.0,
)  # fmt: skip
_LOWER = (0.01, 0.02, 0.05, 0.1, 0.2)
_SOONER = (1.0, 2.0, 3.0, 6.0, 9.0, 12.0, 18.0, 24.0, 36.0)  # months off a lead time

Changes = Mapping[str, object]  # of a scenario's fields
S = TypeVar("S")


@dataclass(frozen=True)
class Promise:
    """What may give way, with its limit; the scenarios that are tried, and their limits."""

    what: Concession
    tried: Sequence[Changes]
    values: Sequence[float]

    def conceded(self, i: int) -> Concession:
        """What gives way in the try of that number."""
        amount, lower = abs(self.values[i] - self.what.limit), self.values[i] < self.what.limit
        return replace(self.what, amount=amount, lower=lower)


def promises(scenario: Scenario) -> Iterator[Promise]:
    """Every promise of a scenario."""
    for workload in scenario.workloads:
        yield from _of_workload(scenario, workload)
    for offer in scenario.offers if scenario.horizon is not None else ():
        if offer.lead_months > 0:
            yield _sooner(scenario, offer)
    reserve = scenario.reserve
    spare = reserve.systems_per_pool
    if spare:
        counts = [*reversed(range(spare))]
        fewer = [reserve.model_copy(update={"systems_per_pool": count}) for count in counts]
        what = Concession("reserve in each pool", "all", 0.0, "systems", float(spare))
        yield Promise(what, [{"reserve": row} for row in fewer], [*map(float, counts)])
    if reserve.survive_site_loss:
        none = reserve.model_copy(update={"survive_site_loss": False})
        what = Concession("loss of a site that is survived", "all", 0.0, "sites", 1.0)
        yield Promise(what, [{"reserve": none}], [0.0])


def _sooner(scenario: Scenario, offer: Offer) -> Promise:
    """An offer delivered some months earlier."""
    lead = offer.lead_months
    leads = [*(lead - months for months in _SOONER if months < lead), 0.0]
    rows = [offer.model_copy(update={"lead_months": months}) for months in leads]
    tried = [
        {"offers": tuple(row if o.id == offer.id else o for o in scenario.offers)} for row in rows
    ]
    return Promise(Concession("lead time", offer.id, 0.0, "months", lead), tried, leads)


def _of_workload(scenario: Scenario, workload: Workload) -> Iterator[Promise]:
    """Its latency limits, its quality floor, and one region more that may see its requests."""

    def instead(changed: Workload) -> Changes:
        rows = scenario.workloads
        return {"workloads": tuple(changed if w.id == workload.id else w for w in rows)}

    for metric in dict.fromkeys(slo.metric for slo in workload.slos):
        limit = min(slo.limit_ms for slo in workload.slos if slo.metric == metric)
        steps = [limit * (factor - 1.0) for factor in _LONGER]
        yield Promise(
            Concession(f"{metric.upper()} limit", workload.id, 0.0, "ms", limit),
            [instead(looser_limit(workload, metric, step)) for step in steps],
            [limit + step for step in steps],
        )
    floor = workload.quality_floor
    if floor is not None:
        values = [floor - step for step in _LOWER if floor > step]
        yield Promise(
            Concession("quality floor", workload.id, 0.0, "score", floor),
            [instead(workload.model_copy(update={"quality_floor": v})) for v in values],
            values,
        )
    if workload.residency is None:
        return
    allowed = tuple(workload.residency)
    regions = {site.region for site in scenario.sites}
    regions |= {api.region for api in scenario.apis if api.workload == workload.id}
    for region in sorted(regions - set(allowed)):
        more = workload.model_copy(update={"residency": (*allowed, region)})
        here = float(len(allowed))
        what = Concession(f"residency with {region}", workload.id, 0.0, "regions", here)
        yield Promise(what, [instead(more)], [here + 1.0])


def looser_limit(workload: Workload, metric: str, step: float) -> Workload:
    """The workload with a latency limit higher by a step."""
    slos = tuple(
        slo.model_copy(update={"limit_ms": slo.limit_ms + step}) if slo.metric == metric else slo
        for slo in workload.slos
    )
    return workload.model_copy(update={"slos": slos})


def first_kept(
    promise: Promise, solve: Callable[[Changes], S | None]
) -> tuple[Concession, S] | None:
    """The first try with which there is a plan, with that plan; None where none is enough."""
    none, some, found = -1, len(promise.tried), None
    while some - none > 1:
        middle = len(promise.tried) - 1 if some == len(promise.tried) else (none + some) // 2
        plan = solve(promise.tried[middle])
        if plan is not None:
            some, found = middle, plan
        elif some == len(promise.tried):
            return None
        else:
            none = middle
    return None if found is None else (promise.conceded(some), found)
