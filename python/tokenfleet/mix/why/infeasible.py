"""Why a mix problem has no plan, in the user's terms, and by how much.

1. `check_problem` finds what no solver is needed for: a class that nothing can serve, numbers too
   far apart to be trusted.
2. `explain_infeasible` gives one family of requirements at a time a slack column per row and
   minimises the slack relative to the row's own size. Each answer is one repair that is enough
   alone ("site eu-1: power short by 312 kW (limit 500 kW)"): it was applied, and a plan found. The
   smallest comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import Change, InfeasibleError, QuestionError, WayOut
from tokenfleet.mix.model import FleetModel, Frame, Label, Row, build, frame_of, limits
from tokenfleet.mix.model.family import Family
from tokenfleet.mix.model.frame import may_run
from tokenfleet.mix.model.index import CHOSEN, Budget, Demand, Slack
from tokenfleet.mix.model.objectives import cost_coefficients, set_objective
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import (
    Api,
    Flow,
    Held,
    Ordered,
    Placed,
    Pool,
    Problem,
    Racks,
    Replicas,
    Scale,
    Short,
    Slot,
    Systems,
    Used,
)

BoolArray = NDArray[np.bool_]

MAX_SPREAD = 1e9
_EXPLAIN_S = 10.0
_LEAST_S, _MOST_S = 0.3, 5.0  # for one trial
_MOST_TOLD = 2  # classes of which a way alone says that they are not served
_UNSERVED_NODES, _LEAST_UNSERVED_S = 100, 5.0  # for how much it is


class UnboundedError(QuestionError):
    """The objective improves without end; the message names the columns that grow."""


@dataclass(frozen=True)
class Repair:
    """One family relaxed alone: the relative slack needed, what has to change, and the problem
    with just so much more as is said."""

    relative: float
    changes: tuple[Change, ...]
    loosened: Problem

    @property
    def messages(self) -> tuple[str, ...]:
        """What to say about it."""
        return tuple(dict.fromkeys(change.text for change in self.changes))


def check_problem(problem: Problem) -> None:
    """Raise when a class cannot be served by anything, or when numbers spread too far."""
    conflicts = [text for w in range(len(problem.workloads)) for text in _unserved(problem, w)]
    if conflicts:
        raise InfeasibleError(
            "; ".join(conflicts),
            conflicts,
            "loosen its limits, allow another system, offer, site or precision, or add an API",
        )


def _unserved(problem: Problem, w: int) -> list[str]:
    """Classes of the workload that demand something and that nothing serves, by block."""
    workload = problem.workloads[w]
    priced = workload.shortfall_usd_per_request is not None
    if not workload.min_scale if workload.free else priced:
        return []
    texts = []
    lost_sites = {block.lost_site for block in problem.blocks}
    by_lost = {lost: _served_by_systems(problem, w, lost) for lost in lost_sites}
    for b, block in enumerate(problem.blocks):
        served = by_lost[block.lost_site] | _served_by_apis(problem, w, b)
        for k, class_id in enumerate(workload.class_ids):
            if workload.demand_rps[b, k] > 0 and not served[k]:
                lost = "" if block.lost_site < 0 else (
                    f" while site {problem.sites[block.lost_site].id} is lost"
                )  # fmt: skip
                text = f"workload {workload.id}: nothing can serve class {class_id}{lost}"
                texts.append(text)
    return list(dict.fromkeys(texts))


def _served_by_apis(problem: Problem, w: int, b: int) -> BoolArray:
    """Whether some API serves each class in block b."""
    served = np.zeros(len(problem.workloads[w].class_ids), dtype=bool)
    for api in problem.apis:
        if api.workload == w:
            served |= np.isfinite(api.costs(len(problem.blocks))[b])
    return served


def _served_by_systems(problem: Problem, w: int, lost_site: int) -> BoolArray:
    """Whether some candidate or pair of candidates serves each class while a site is lost."""
    served = np.zeros(len(problem.workloads[w].class_ids), dtype=bool)
    phases: dict[tuple[int, int], dict[str, BoolArray]] = {}
    with_offer = {offer.pool for offer in problem.offers if offer.supply >= 1}
    pools: dict[str, list[Pool]] = {}
    for p, pool in enumerate(problem.pools):
        if p in with_offer and pool.site != lost_site:
            pools.setdefault(pool.system, []).append(pool)
    for c in (c for c in problem.candidates if c.workload == w):
        admitted = np.isfinite(c.load)
        for pool in pools.get(c.system, []):
            if c.role == "serve" and served[admitted].all():
                break
            if not may_run(problem, pool, c):
                continue
            if c.role == "serve":
                served |= admitted
            else:
                sides = phases.setdefault((pool.site, c.pair), {})
                sides[c.role] = sides.get(c.role, np.zeros_like(served)) | admitted
    for sides in phases.values():
        if len(sides) == 2:
            served |= sides["prefill"] & sides["decode"]
    return served


def check_scaling(m: FleetModel) -> None:
    """Raise when coefficients of one constraint family, or system prices, spread beyond 1e9.

    Small yearly costs of single flows are harmless, so the budget row is not judged by them.
    """
    ranges: dict[str, dict[float, str]] = {}
    for row, label in zip(m.prob.constraints(), m.rows.values(), strict=True):
        if isinstance(label, Budget):
            continue
        extremes = ranges.setdefault(label.family, {})
        sizes = [(abs(a), v.name) for v, a in row.items() if a]
        if sizes:
            for size, name in (min(sizes), max(sizes)):
                extremes[size] = name
    ranges["price"] = {
        abs(a): m.columns[label].name
        for label, a in cost_coefficients(m).items()
        if a and isinstance(label, Systems)
    }
    for family, extremes in ranges.items():
        if extremes and max(extremes) > MAX_SPREAD * min(extremes):
            low, high = min(extremes), max(extremes)
            raise QuestionError(
                f"{family}: coefficients from {low:.3g} ({describe(m, extremes[low])}) to "
                f"{high:.3g} ({describe(m, extremes[high])}) are too far apart to be trusted",
                "check the units of these rows (ms or s, W or kW, $ per hour or per year)",
            )


def describe(m: FleetModel, name: str) -> str:
    """A column's name in the user's terms."""
    label = next((la for la, v in m.columns.items() if v.name == name), None)
    return name if label is None else describe_label(m.problem, label)


def describe_label(problem: Problem, label: Label) -> str:
    """A label in the user's terms."""
    if isinstance(label, Systems):
        text = f"systems under offer {problem.offers[label.offer].id}"
    elif isinstance(label, (Replicas, Flow)):
        workload = problem.workloads[problem.candidates[label.candidate].workload].id
        what = "replicas" if isinstance(label, Replicas) else "requests"
        text = f"{what} of {workload} in pool {problem.pools[label.pool].id}"
    elif isinstance(label, Api):
        text = f"requests to API {problem.apis[label.api].id}"
    elif isinstance(label, Short):
        text = f"shortfall of workload {problem.workloads[label.workload].id}"
    elif isinstance(label, Scale):
        text = "scale of free demand"
    elif isinstance(label, Slack):
        text = f"what gives way of the {label.row.family} limits"
    elif isinstance(label, CHOSEN):
        text = "number of system types, sites and layouts"
    elif isinstance(label, (Ordered, Held, Placed)):
        text = f"systems {label.tag} under offer {problem.offers[label.offer].id}"
    elif isinstance(label, (Used, Racks, Slot)):
        text = f"{label.tag} of pool {problem.pools[label.pool].id}"
    else:
        text = label.tag
    return text


def explain_infeasible(
    problem: Problem, frame: Frame | None = None, seconds: float = _EXPLAIN_S
) -> InfeasibleError:
    """The error that says which requirement cannot be met and by how much.

    Free demand counts at its least scale: whatever meets the requirements at a larger one does so
    at that. Every repair is applied and solved before it is shown.
    """
    if frame is None:
        frame = _least_frame(problem)
    deadline = Deadline(seconds)
    names = limits.that_give_way(problem)
    trials = [_repair(problem, [name], frame, deadline) for name in names]
    repairs = [r for r in trials if r is not None]
    if not repairs:
        together = _repair(problem, names, frame, deadline)
        repairs = [together] if together is not None else []
    return infeasible(repairs)


def unserved(problem: Problem, options: SolveOptions) -> str:
    """The fewest requests that a problem without a plan leaves, in words; empty: not found out.

    One solve, where `explain_infeasible` seeks every limit that could give way and tries each.
    """
    try:
        check_problem(problem)
    except InfeasibleError as error:
        return error.conflicts[0]
    m = build(problem, relax=frozenset({"demand"}), frame=_least_frame(problem))
    slacks = m.of(Slack)
    if not slacks:
        return ""
    set_objective(m, {la: 1.0 / max(limits.size_of_limit(problem, la.row), 1e-6) for la in slacks})
    # Little is missing from the relaxation, and so a search begun anew learns next to nothing from
    # it. Nodes end the search, so that a busy machine says the same as an idle one.
    seconds = max(options.time_limit_s, _LEAST_UNSERVED_S)
    briefly = replace(options, restarts=False, nodes=_UNSERVED_NODES, time_limit_s=seconds)
    outcome = run(m.prob, briefly)
    if not outcome.has_incumbent:
        return ""
    repair = repair_of(problem, {la: outcome.values[v.name] for la, v in slacks.items()})
    return "; ".join(repair.messages[:_MOST_TOLD]) if repair is not None else ""


def _least_frame(problem: Problem) -> Frame:
    least = max((w.min_scale for w in problem.workloads if w.free), default=0.0)
    return frame_of(problem, least, every_system=False)


def infeasible(repairs: Sequence[Repair]) -> InfeasibleError:
    """The error that names repairs, the smallest first."""
    ordered = sorted(repairs, key=lambda r: r.relative)
    conflicts = [text for repair in ordered for text in repair.messages]
    if not conflicts:
        return InfeasibleError(
            "no plan meets every requirement, and none of them alone is the cause", ()
        )
    alternatives = "; or ".join(", ".join(repair.messages) for repair in ordered)
    return InfeasibleError(
        f"no plan meets every requirement: {alternatives}",
        conflicts,
        "each alternative is enough alone; the first is the smallest change relative to its limit",
        [WayOut(repair.relative, repair.changes) for repair in ordered],
    )


def _repair(
    problem: Problem, families: Sequence[str], frame: Frame | None, deadline: Deadline
) -> Repair | None:
    """Least relative slack when only these families may give way; None if that is no cure."""
    m = build(problem, relax=frozenset(families), frame=frame)
    slacks = m.of(Slack)
    if not slacks or deadline.left() <= 0:
        return None
    set_objective(m, {la: 1.0 / max(limits.size_of_limit(problem, la.row), 1e-6) for la in slacks})
    outcome = run(m.prob, _trial(deadline))
    if not outcome.has_incumbent:
        return None
    repair = repair_of(problem, {la: outcome.values[v.name] for la, v in slacks.items()})
    return repair if repair is not None and _is_enough(repair, deadline) else None


def _is_enough(repair: Repair, deadline: Deadline) -> bool:
    """Whether there is a plan once the repair is made."""
    m = build(repair.loosened, frame=_least_frame(repair.loosened))
    set_objective(m, {})
    return run(m.prob, _trial(deadline)).has_incumbent


def _trial(deadline: Deadline) -> SolveOptions:
    return SolveOptions(gap=1e-3, time_limit_s=min(max(deadline.left() / 2, _LEAST_S), _MOST_S))


def repair_of(problem: Problem, slack: Mapping[Slack, float]) -> Repair | None:
    """The repair that slack columns ask for; None if they ask for none."""
    short = {
        label.row: amount
        for label, amount in slack.items()
        if amount > 1e-6 * max(limits.size_of_limit(problem, label.row), 1e-6)
    }
    changes, relative, loosened, given = [], 0.0, problem, set()
    # What is short in several load blocks is said, and given, once: as much as is needed most.
    for row, amount in sorted(short.items(), key=lambda item: -item[1]):
        family, enough = _family(row), _family(row).unit.enough(amount)
        relative += amount / max(limits.size_of_limit(problem, row), 1e-6)
        changes.append(family.change(problem, row, enough))
        place = row if isinstance(row, Demand) else (family.name, family.at(problem, row))
        if place not in given:
            given.add(place)
            loosened = family.loosened(loosened, row, enough)
    return Repair(relative, tuple(dict.fromkeys(changes)), loosened) if changes else None


def _family(row: Row) -> Family:
    family = limits.family_of(row)
    assert family is not None, row
    return family
