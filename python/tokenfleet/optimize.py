"""`optimize_fleet`: a scenario in, a proven plan out. Reads top to bottom.

load ▸ build (evaluate, prune) ▸ solve (re-check, tighten, again) ▸ verify ▸ plan
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from tokenfleet.errors import InfeasibleError, SchemaError, SolverError
from tokenfleet.mix.generate.generation import applies, is_large, pairs_of
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.search.incumbent import Watch
from tokenfleet.mix.search.nearest import Standing
from tokenfleet.mix.search.simplest import MOST_PAIRS
from tokenfleet.mix.solve import best_alone, solve_mix
from tokenfleet.mix.solver.beside import Beside
from tokenfleet.mix.solver.effort import Slowness
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.mix.why.routes import MIX, routes_of
from tokenfleet.plan.extras import extras
from tokenfleet.plan.from_mix import Extras, plan_of
from tokenfleet.plan.known_rows import OtherAnswer
from tokenfleet.plan.match import origin_of
from tokenfleet.plan.other import other_answer
from tokenfleet.plan.promises import no_earlier
from tokenfleet.plan.rows import Plan, Way
from tokenfleet.plan.ways import ways
from tokenfleet.problem import Built, build
from tokenfleet.problem.build import Progress, at_confidence
from tokenfleet.problem.check import check as checked_scenario
from tokenfleet.problem.inputs import refuse_assumed
from tokenfleet.problem.required import require_candidates, with_hints
from tokenfleet.scenario.load import ScenarioSource, load_scenario
from tokenfleet.schema import DEFAULT_CONFIDENCE, Scenario
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.verify.bound import with_checked_bound
from tokenfleet.verify.latency import verify_latency
from tokenfleet.verify.mix import refuse, verify_mix
from tokenfleet.verify.routed import recheck

if TYPE_CHECKING:  # the simulator is imported when a plan is to be verified by it
    from tokenfleet.simulation.arrivals import TraceSource
    from tokenfleet.simulation.check import Note, SimulationCheck

SimulationMode = Literal["brief", "simulate"]
Value = TypeVar("Value")
# Largest plan search that nobody asked to limit, s.
DEFAULT_TIME_LIMIT_S = 60.0
NEAR_TOLERANCE = 0.01  # of the best value, given up to keep what stands
_ALONE_SHARE = 0.1  # of the time limit, for each way to get the tokens alone
_ALONE_GAP = 0.005
_CHECK_SHARE = 0.25  # of the time limit, for the check of the bound at least


def optimize_fleet(
    scenario: ScenarioSource,
    *,
    progress: Progress | None = None,
    watch: Watch | None = None,
    compare_single: bool = True,
    verify: SimulationMode | None = None,
    simulation: SimulationSettings | None = None,
    trace: TraceSource = None,
    note: Note | None = None,
    both: bool = False,
    alone: bool = False,
    period: str | None = None,
    fixed: Plan | None = None,
    near: Plan | None = None,
    near_tolerance: float = NEAR_TOLERANCE,
    strict: bool = False,
) -> Plan:
    """The hardware mix that is best by the scenario's objective, with its proof.

    `scenario` is a path to a YAML, TOML or JSON file, plain data, or a `Scenario`. `progress(done,
    total)` is called while the space of configurations is searched, and `watch(value, bound)` as
    the best plan and its bound move (not under cost per token). Ctrl-C during the solve returns
    the best plan found so far, with `interrupted` set.

    With `verify="simulate"` every replica group of the plan is simulated at its routed mix, by the
    settings of `simulation`; where a limit fails with confidence the column's capacity is lowered
    and the mix solved again. With `verify="brief"` the largest groups are, by few requests, which
    takes about a second; measured columns, which have no layouts, are left as they are.
    `plan.verification` has the rounds and the price of certainty; `note(text)` is told how far it
    is. With a `trace`, for all workloads or by name, limits must also hold when it is replayed in
    the busiest load block at the mean rate over the year.

    With `both`, `plan.other` is the best plan at the model's expectation beside one that is held at
    a confidence, or the one held at the default confidence beside one at the expectation.

    With `alone`, `plan.ways` are the best plans of each way alone (buying, renting, on demand,
    hosted APIs), within a tenth of the time limit; a large problem is not asked. Over a horizon
    they and the best plan of one system type take at most 15 % of it.

    A scenario with a `horizon` is planned over its periods and outlooks: `plan.horizon` has the
    orders, periods and risks, and the other keys are those of the first period, or of `period`
    ("2027-Q1"). Orders before the first news are kept as they are in the plan `fixed`.

    `near` is a plan that stands: of the plans whose value is within `near_tolerance` of the best
    (a share of it), that which moves the fewest accelerators is taken, not the simplest.

    With `strict` a scenario of which anything would be assumed is refused, and each blank named.

    Raises:
        SchemaError: the input cannot be understood; names file, field, row and value.
        InfeasibleError: no plan meets every requirement; names those in conflict and by how much.
        SolverError: the solver failed, or its answer did not pass the independent check.
    """
    begun, slowness = time.perf_counter(), Slowness()
    if trace is not None and verify is None:
        raise SchemaError("a trace without verify", 'write verify="simulate" (--verify simulate)')
    loaded = load_scenario(scenario)
    if strict:
        refuse_assumed(loaded, checked_scenario(loaded).assumed)
    built = build(loaded, progress)
    options = solve_options(loaded.scenario)
    if loaded.scenario.horizon is not None:
        if near is not None:
            hint = "keep its first orders with --fix-first, or state what is owned"
            raise SchemaError("a plan over a horizon is not held near another", hint)
        if verify not in (None, "brief"):
            hint = "plan one period (--period 2027-Q1), and simulate that plan"
            raise SchemaError("a plan over a horizon is not verified by simulation at once", hint)
        from tokenfleet.horizon.run import plan_horizon  # noqa: PLC0415 (only when asked for)

        try:
            return plan_horizon(
                built, options, begun=begun, period=period, fixed=fixed, watch=watch, alone=alone
            )
        except InfeasibleError as error:
            raise with_hints(error, built) from None
    if period is not None or fixed is not None:
        raise SchemaError(
            "a period, or orders that are kept, in a scenario of one steady year", "add `horizon`"
        )
    if verify == "brief" and built.specification is None:
        verify = None
    standing = None if near is None else standing_of(near, near_tolerance)
    judge = None if verify is None else _judge(built, verify, simulation, trace)
    require_candidates(built)
    with Beside(threaded=_is_quick(built, options)) as beside:
        apart = beside.begin(lambda: _apart(built, options)) if both else None
        try:
            if judge is None:
                result = _solve(built, options, compare_single, watch, standing)
            else:
                judge = replace(judge, note=note)
                result = _solve_verified(built, judge, compare_single, watch, standing)
        except InfeasibleError as error:
            raise with_hints(error, built) from None
        each = beside.begin(partial(_ways, built, result, options, slowness)) if alone else None
        result = _checked(result, built, options, slowness)
        other = None if apart is None else _other(built, result, apart)
        rows = () if each is None else _unless_stopped(each) or ()
    known = extras(built, result, time.perf_counter() - begun)
    verification = None
    if judge is not None:
        verification = judge.verification()
        known = replace(known, slo=no_earlier(known.slo, judge.latest_ms))
    return plan_of(result, replace(known, verification=verification, other=other, ways=rows))


def _is_quick(built: Built, options: SolveOptions) -> bool:
    """Whether a problem takes seconds, so that no time limit is felt by two solves at a time."""
    return options.threads != 1 and pairs_of(built.problem) <= MOST_PAIRS


def _unless_stopped(value: Callable[[], Value]) -> Value | None:
    """The value, or None where Ctrl-C came."""
    try:
        return value()
    except KeyboardInterrupt:
        return None


def standing_of(plan: Plan, tolerance: float = 0.0) -> Standing:
    """The systems of a plan, by offer and site.

    Raises:
        SchemaError: the tolerance is no share.
    """
    if not 0.0 <= tolerance <= 1.0:
        raise SchemaError(
            f"near_tolerance is {tolerance:g}", "give a share of the best value, 0.01 for 1 %"
        )
    systems: dict[tuple[str, str], float] = {}
    for row in plan.systems:
        key = (row.offer, row.site)
        systems[key] = systems.get(key, 0.0) + row.count
    return Standing(systems, tolerance)


def _solve(
    built: Built,
    options: SolveOptions,
    compare_single: bool,
    watch: Watch | None = None,
    near: Standing | None = None,
) -> MixResult:
    return solve_mix(
        built.problem,
        to_search(options),
        lambda found: recheck(built, found),
        compare_single=compare_single,
        watch=watch,
        near=near,
    )


@dataclass(frozen=True)
class _Apart:
    """A problem at the other confidence; without a mix where it has none."""

    built: Built
    mix: MixResult | None


def _apart(built: Built, options: SolveOptions) -> _Apart | None:
    """The best mix at the other confidence; None for measured columns."""
    if built.specification is None:
        return None
    sure = built.loaded.scenario.sure
    confidence: float | str = DEFAULT_CONFIDENCE if sure is None else "expected"
    apart = at_confidence(built, confidence)
    try:
        require_candidates(apart)
        return _Apart(apart, _solve(apart, options, compare_single=False))
    except (InfeasibleError, SolverError):
        return _Apart(apart, None)


def _other(
    built: Built, found: MixResult, apart: Callable[[], _Apart | None]
) -> OtherAnswer | None:
    """The answer at the other confidence; None where there is none, or where Ctrl-C came."""
    other = None if found.interrupted else _unless_stopped(apart)
    return None if other is None else other_answer(found, built, other.mix, other.built)


def _ways(
    built: Built, found: MixResult, options: SolveOptions, slowness: Slowness
) -> tuple[Way, ...]:
    """Each way alone; none where Ctrl-C came, or where the model is too large to be built whole."""
    problem = found.problem
    if found.interrupted or (applies(problem) and is_large(problem)):
        return ()
    terms = {offer.id: offer.term_years for offer in built.loaded.scenario.offers}
    routes = {name: p for name, p in routes_of(problem, terms).items() if name != MIX}
    share = _ALONE_SHARE * _patience(built, slowness)
    seconds = share * options.time_limit_s / max(len(routes), 1)
    limits = replace(options, gap=max(options.gap, _ALONE_GAP), time_limit_s=seconds)
    return ways(found, {name: best_alone(p, limits) for name, p in routes.items()})


def _judge(
    built: Built, verify: str, simulation: SimulationSettings | None, trace: TraceSource
) -> SimulationCheck:
    if verify not in ("brief", "simulate"):
        raise SchemaError(f"verify is {verify!r}", "write brief or simulate, or leave it out")
    if built.core is None or built.specification is None:
        raise SchemaError(
            f"{built.loaded.source_name}: measured columns have no layouts to simulate",
            "plan without verify",
        )
    from tokenfleet.simulation import arrivals  # noqa: PLC0415 (only when asked for)
    from tokenfleet.simulation.check import SimulationCheck  # noqa: PLC0415

    brief = verify == "brief"
    settings = simulation or (SimulationSettings.brief() if brief else SimulationSettings())
    settings.check()
    named = Extras(
        origin=origin_of(built.loaded, built.specification), configurations=built.origins
    )
    return SimulationCheck(
        built,
        as_plan=lambda found: plan_of(found, named),
        analytic=lambda found: recheck(built, found),
        settings=settings,
        brief=brief,
        loads=arrivals.loads_of(built.loaded, built.specification, trace),
    )


def _solve_verified(
    built: Built,
    judge: SimulationCheck,
    compare_single: bool,
    watch: Watch | None,
    near: Standing | None,
) -> MixResult:
    from tokenfleet.simulation import check as judging  # noqa: PLC0415 (only when asked for)

    try:
        result = solve_mix(
            built.problem,
            to_search(solve_options(built.loaded.scenario)),
            judge,
            max_rounds=judging.MAX_BRIEF_ROUNDS if judge.brief else judging.MAX_ROUNDS,
            compare_single=compare_single,
            watch=watch,
            near=near,
        )
    except InfeasibleError as error:
        raise judge.missing(error) from None
    return replace(result, interrupted=result.interrupted or judge.interrupted)


def solve_options(scenario: Scenario) -> SolveOptions:
    """Solver settings of a scenario."""
    solver = scenario.solver
    return SolveOptions(
        gap=solver.gap,
        time_limit_s=solver.time_limit_s or DEFAULT_TIME_LIMIT_S,
        threads=solver.threads or 0,
        seed=solver.seed,
    )


def to_search(options: SolveOptions) -> SolveOptions:
    """The options of the search, which leaves time to check its bound."""
    return replace(options, time_limit_s=options.time_limit_s - least_to_check(options))


def least_to_check(options: SolveOptions) -> float:
    """Seconds of the time limit that the check of the bound has at least."""
    return _CHECK_SHARE * options.time_limit_s


def _checked(
    result: MixResult, built: Built, options: SolveOptions, slowness: Slowness
) -> MixResult:
    """The result, if its plan is one, with the bound that holds by other means as well.

    Where nobody stated a time limit, the check has more of it on a busy machine: what it takes is
    capped in work, and the plan is as well proven as on an idle one.

    Raises:
        SolverError: as `check`.
    """
    check(result, built)
    least = least_to_check(options)
    left = options.time_limit_s - result.seconds
    seconds = least if result.interrupted else max(least, left)
    try:
        return with_checked_bound(result, options.gap, seconds * _patience(built, slowness))
    except KeyboardInterrupt:  # the plan stands, with as much of a check as one has at least
        return with_checked_bound(replace(result, interrupted=True), options.gap, least)


def _patience(built: Built, slowness: Slowness) -> float:
    """How much longer than stated a part may take: on a busy machine, where nobody limited it."""
    return slowness.factor() if built.loaded.scenario.solver.time_limit_s is None else 1.0


def check(result: MixResult, built: Built | None = None) -> None:
    """The independent checks of `verify/mix.py` and, for a built scenario, `verify/latency.py`.

    Raises:
        SolverError: a requirement does not hold, or the cost is not what it was said to be.
    """
    violations = verify_mix(result.problem, result.values, result.cost_items, result.value)
    violations += verify_latency(built, result) if built is not None else []
    refuse(violations)
