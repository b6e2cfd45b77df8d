"""`plan --explore`: plans beside a plan, solved in child processes within a budget of time.

The alternatives keep the stock that is owned and the hosted APIs unless their name says otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from tokenfleet.compute.base import ComputeEngine, WorkLimits
from tokenfleet.compute.open import open_engine
from tokenfleet.errors import InfeasibleError
from tokenfleet.explanation.case import Case, open_case, rebuilt, with_scenario
from tokenfleet.explanation.knobs import Knob, sensible, turned
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, systems_by_offer
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.mix.why.infeasible import explain_infeasible
from tokenfleet.plan.explored import Alternative, Exploration, Relaxed, Resolved, Swing
from tokenfleet.plan.match import scenario_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem_data import Problem, Systems
from tokenfleet.scenario.load import LoadedScenario, ScenarioSource

SECONDS = 120.0
FACTORS = (0.5, 0.6, 0.7, 0.85, 1.25, 1.5, 2.0, 3.0)  # times every latency limit
_SWING = 0.2
_WHY_S = 5.0  # at most, to say why an alternative is none
# What is done with systems of the kinds of an offer.
_KINDS = {
    "buy": "only buying",
    "rent": "only renting",
    "on_demand": "only on demand",
    "spot": "only on demand",
    "all_in": "only at all-in prices",
}
TODAY, NO_APIS, ONLY_APIS = "today", "without hosted APIs", "only hosted APIs"
_OF_TYPE = "only "  # before a system type

#: Told how many plans were solved, of how many.
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Piece:
    """One plan to solve: under another rule, other limits or another input."""

    rule: str = ""
    factor: float = 1.0  # on latency limits, or on the knob
    knob: Knob | None = None


@dataclass(frozen=True)
class Solved:
    """Its answer."""

    plan: Resolved | None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """What every child is given."""

    loaded: LoadedScenario
    seconds: float


def explore(
    plan: Plan,
    *,
    scenario: ScenarioSource | None = None,
    time_limit_s: float = SECONDS,
    jobs: int | None = None,
    watch: Watch | None = None,
) -> Plan:
    """The plan with `exploration`: what else there was, what limits cost, which inputs matter.

    Plans are solved by `jobs` processes (default: one for each core) for so many seconds together;
    what was not done by then stands in `notes`. The scenario is found as `explain` finds it.

    Raises:
        SchemaError: the scenario is not the plan's, or is over time.
        SolverError: not even the plan itself was solved again.
    """
    begun = time.monotonic()
    loaded = scenario_of(plan, "plan", scenario, None)
    case = open_case(loaded)
    pieces, notes = list(_pieces(case, plan)), list(_left_out(case))
    left = time_limit_s - (time.monotonic() - begun)
    found = _run(open_engine("processes", jobs), Source(loaded, left), pieces, left, watch)
    today = found[0].plan if 0 in found else None
    if today is None:
        today = _resolved(case, case.study.base)
    missing = len(pieces) - len(found)
    if missing:
        notes.append(f"{missing} of {len(pieces)} plans were not solved in the time given")
    done = [(pieces[i], solved) for i, solved in sorted(found.items())]
    exploration = Exploration(
        today=today,
        alternatives=tuple(_alternatives(case, done)),
        frontier=tuple(_frontier(done, today)),
        sensitivity=tuple(_swings(done, today)),
        notes=tuple(notes),
        seconds=time.monotonic() - begun,
    )
    return plan.model_copy(update={"exploration": exploration})


def _pieces(case: Case, plan: Plan) -> Iterator[Piece]:
    """The plan itself first, then what is told of it first."""
    yield Piece(TODAY)
    for rule in rules(case):
        yield Piece(rule)
    if case.built.specification is not None:
        for factor in sorted(FACTORS, key=lambda f: abs(math.log(f))):
            yield Piece(factor=factor)
    used = {name for row in plan.systems for name in (row.offer, row.system, row.site)}
    used |= {row.api for row in plan.routing if row.api is not None}
    for knob in sensible(case, used):
        for factor in (1.0 - _SWING, 1.0 + _SWING):
            yield Piece(factor=factor, knob=knob)


def _left_out(case: Case) -> Iterator[str]:
    if case.built.specification is None:
        yield "measured columns hold their latency limits: other limits were not tried"


def rules(case: Case) -> list[str]:
    """One rule more than the scenario has: each kind of purchase alone, each system type alone,
    and with or without hosted APIs."""
    problem = case.study.problem
    kinds = {_KINDS[o.kind] for o in problem.offers if o.kind in _KINDS}
    found = sorted(kinds) if len(kinds) > 1 else []
    systems = sorted({pool.system for pool in problem.pools})
    if len(systems) > 1:
        found += [f"{_OF_TYPE}{system}" for system in systems]
    return [*found, NO_APIS, ONLY_APIS] if problem.apis else found


def under(problem: Problem, rule: str) -> Problem:
    """The problem under one more rule."""
    if rule == NO_APIS:
        return replace(problem, apis=tuple(replace(a, max_rps=0.0) for a in problem.apis))
    if rule == ONLY_APIS:
        return _keep(problem, lambda o: False)
    if rule in _KINDS.values():
        return _keep(problem, lambda o: _KINDS.get(problem.offers[o].kind, rule) == rule)
    if rule.startswith(_OF_TYPE):
        system = rule.removeprefix(_OF_TYPE)
        return _keep(problem, lambda o: problem.pools[problem.offers[o].pool].system == system)
    return problem


def _keep(problem: Problem, kept: Callable[[int], bool]) -> Problem:
    offers = tuple(
        offer if kept(o) else replace(offer, supply=0.0) for o, offer in enumerate(problem.offers)
    )
    return replace(problem, offers=offers)


# In the children


def _run(
    engine: ComputeEngine,
    source: Source,
    pieces: Sequence[Piece],
    seconds: float,
    watch: Watch | None,
) -> dict[int, Solved]:
    """Answers by piece, until all are there or the time is over."""
    found: dict[int, Solved] = {}
    end = time.monotonic() + seconds
    outcomes = engine.run(partial(_solve, source), pieces, WorkLimits(seconds=max(seconds, 0.1)))
    try:
        for outcome in outcomes:
            if outcome.value is not None:
                found[outcome.index] = outcome.value
            if watch is not None:
                watch(len(found), len(pieces))
            if time.monotonic() > end:
                break
    except KeyboardInterrupt:
        pass  # what was found stands
    finally:
        outcomes.close()
    return found


@lru_cache(maxsize=1)
def _opened(source: Source) -> Case:
    return open_case(source.loaded, seconds=source.seconds)


def _solve(source: Source, piece: Piece) -> Solved:
    """One piece, in a child that evaluates the space once."""
    case = _opened(source)
    try:
        problem = _problem(case, piece)
    except InfeasibleError as error:
        return Solved(None, error.message)
    found = case.study.again(problem)
    if found is not None:
        return Solved(_resolved(case, found))
    return Solved(None, _why(problem) if piece.rule else None)


def _problem(case: Case, piece: Piece) -> Problem:
    if piece.knob is not None:
        return turned(case, {piece.knob: piece.factor})
    if piece.rule:
        return under(case.study.problem, piece.rule)
    workloads = tuple(
        w.model_copy(
            update={
                "slos": tuple(
                    slo.model_copy(update={"limit_ms": piece.factor * slo.limit_ms})
                    for slo in w.slos
                )
            }
        )
        for w in case.loaded.scenario.workloads
    )
    return rebuilt(with_scenario(case.loaded, workloads=workloads))


def _why(problem: Problem) -> str:
    """The smallest change that would help, or what is in conflict.

    That a rule takes away supply is no news, so a change of supply is not told.
    """
    error = explain_infeasible(problem, seconds=_WHY_S)
    alone = [way.changes[0] for way in error.repairs if len(way.changes) == 1]
    told = [change.text for change in alone if not change.what.startswith("supply")]
    others = [text for text in error.conflicts if "supply short" not in text]
    return next(iter([*told, *others]), "what is left cannot serve all requests")


def _resolved(case: Case, found: Answer) -> Resolved:
    """A plan as a row of an exploration."""
    problem = found.problem
    output = tokens_per_year(problem, found.values, "output")
    counts: dict[int, float] = {}
    for label, count in found.values.items():
        if isinstance(label, Systems):
            counts[label.offer] = max(counts.get(label.offer, 0.0), count)
    items = {"capex_annuity": 0.0, "residual_credit": 0.0}
    for o, count in counts.items():
        for name in items:
            items[name] += count * problem.offers[o].annual_cost_items_usd.get(name, 0.0)
    usd = found.annual_cost_usd
    return Resolved(
        objective_value=case.study.sign * found.loss,
        annual_cost_usd=usd,
        capex_usd=sum(n * problem.offers[o].capex_usd for o, n in counts.items()),
        running_usd_per_year=usd - sum(items.values()),
        resale_usd_per_year=max(-items["residual_credit"], 0.0),
        cost_per_mtok_output_usd=usd * 1e6 / output if output > 0 else None,
        systems=systems_by_offer(problem, found.values),
        how=found.how,
    )


# Rows


def _alternatives(case: Case, done: Sequence[tuple[Piece, Solved]]) -> Iterator[Alternative]:
    sign = case.study.sign
    rows = [
        Alternative(
            name=piece.rule,
            accelerator=_accelerator(case, piece.rule),
            plan=solved.plan,
            reason=solved.reason,
        )
        for piece, solved in done
        if piece.rule not in ("", TODAY)
    ]
    yield from sorted(
        rows,
        key=lambda r: (r.plan is None, sign * r.plan.objective_value if r.plan else 0.0, r.name),
    )


def _accelerator(case: Case, rule: str) -> str | None:
    system = rule.removeprefix(_OF_TYPE)
    if system not in {pool.system for pool in case.study.problem.pools}:
        return None
    return str(case.loaded.catalog.system(system).accelerator)


def _frontier(done: Sequence[tuple[Piece, Solved]], today: Resolved) -> Iterator[Relaxed]:
    rows = [
        Relaxed(factor=piece.factor, plan=solved.plan)
        for piece, solved in done
        if not piece.rule and piece.knob is None
    ]
    if rows:
        rows.append(Relaxed(factor=1.0, plan=today))
    yield from sorted(rows, key=lambda row: row.factor)


def _swings(done: Sequence[tuple[Piece, Solved]], today: Resolved) -> Iterator[Swing]:
    ends: dict[Knob, dict[bool, Resolved | None]] = {}
    for piece, solved in done:
        if piece.knob is not None:
            ends.setdefault(piece.knob, {})[piece.factor > 1.0] = solved.plan
    rows = []
    for knob, of in ends.items():
        if len(of) < 2:
            continue
        low, high = of[False], of[True]
        known = [today, *(end for end in (low, high) if end is not None)]
        values = [end.objective_value for end in known]
        rows.append(
            Swing(
                input=str(knob),
                by=_SWING,
                value_low=None if low is None else low.objective_value,
                value_high=None if high is None else high.objective_value,
                swing=max(values) - min(values),
                mix_changes_low=low is None or low.systems != today.systems,
                mix_changes_high=high is None or high.systems != today.systems,
                how=PROVEN if all(end.how == PROVEN for end in known) else WITHIN,
            )
        )
    yield from sorted(rows, key=lambda row: (-row.swing, row.input))
