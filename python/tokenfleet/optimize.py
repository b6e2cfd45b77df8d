"""`optimize_fleet` and `evaluate`: a scenario in, an answer out. Reads top to bottom.

load ▸ build (evaluate, prune) ▸ solve (re-check, tighten, again) ▸ verify ▸ plan
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import InfeasibleError, SchemaError, SolverError
from tokenfleet.mix.highs import SolveOptions
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.plan import Extras, Plan
from tokenfleet.problem import Built, build
from tokenfleet.problem.build import Progress
from tokenfleet.problem.knowledge import PROMISED, Judge
from tokenfleet.problem.origin import origin
from tokenfleet.promises import recheck, slo_rows
from tokenfleet.provenance import (
    confidence_warnings,
    gpus_by_system,
    inherited_warnings,
    provenance_rows,
    quality_warnings,
)
from tokenfleet.scenario_file import LoadedScenario, load_scenario
from tokenfleet.schema import Scenario
from tokenfleet.verify import verify_mix
from tokenfleet.verify_latency import verify_latency

if TYPE_CHECKING:  # the simulator is imported when a plan is to be verified by it
    from tokenfleet.simulation.arrivals import TraceSource
    from tokenfleet.simulation.certainty import Certainty, Note
    from tokenfleet.simulation.run import SimulationSettings

Verify = Literal["simulate"]
ScenarioSource = str | Path | Mapping[str, Any] | Scenario
# Largest plan search that nobody asked to limit, s.
DEFAULT_TIME_LIMIT_S = 60.0
_REASONS = 8  # shown where nothing can be built


def optimize_fleet(
    scenario: ScenarioSource | LoadedScenario,
    *,
    progress: Progress | None = None,
    compare_single: bool = True,
    verify: Verify | None = None,
    simulation: SimulationSettings | None = None,
    trace: TraceSource = None,
    note: Note | None = None,
) -> Plan:
    """The hardware mix that is best by the scenario's objective, with its proof.

    `scenario` is a path to a YAML, TOML or JSON file, plain data, or a `Scenario`. `progress(done,
    total)` is called while the space of configurations is searched. Ctrl-C during the solve returns
    the best plan found so far, with `interrupted` set.

    With `verify="simulate"` every replica group of the plan is simulated at its routed mix, by the
    settings of `simulation`; where a limit fails with confidence the column's capacity is lowered
    and the mix solved again. `plan.verification` has the rounds and the price of certainty;
    `note(text)` is told how far it is. With a `trace`, for all workloads or by name, limits must
    also hold when it is replayed in the busiest load block at the mean rate over the year.

    Raises:
        SchemaError: the input cannot be understood; names file, field, row and value.
        InfeasibleError: no plan meets every requirement; names those in conflict and by how much.
        SolverError: the solver failed, or its answer did not pass the independent check.
    """
    begun = time.perf_counter()
    if trace is not None and verify is None:
        raise SchemaError("a trace without verify", 'write verify="simulate" (--verify simulate)')
    loaded = scenario if isinstance(scenario, LoadedScenario) else load_scenario(scenario)
    built = build(loaded, progress)
    require_candidates(built)
    if verify is None:
        result = solve_mix(
            built.problem,
            solve_options(loaded.scenario),
            lambda found: recheck(built, found),
            compare_single=compare_single,
        )
        check(result, built)
        return Plan.from_mix(result, extras(built, result, time.perf_counter() - begun))
    judge = replace(_judge(built, verify, simulation, trace), note=note)
    result = _solve_verified(built, judge, compare_single)
    check(result, built)
    known = extras(built, result, time.perf_counter() - begun)
    return Plan.from_mix(result, replace(known, verification=judge.verification()))


def _judge(
    built: Built, verify: str, simulation: SimulationSettings | None, trace: TraceSource
) -> Certainty:
    if verify != "simulate":
        raise SchemaError(f"verify is {verify!r}", "write simulate, or leave it out")
    if built.core is None or built.specification is None:
        raise SchemaError(
            f"{built.loaded.source_name}: measured columns have no layouts to simulate",
            "plan without verify",
        )
    from tokenfleet.simulation import arrivals, certainty, run  # noqa: PLC0415 (only when asked for)

    settings = simulation or run.SimulationSettings()
    settings.check()
    named = Extras(origin=origin(built.loaded, built.specification), configurations=built.origins)
    return certainty.Certainty(
        built,
        as_plan=lambda found: Plan.from_mix(found, named),
        analytic=lambda found: recheck(built, found),
        settings=settings,
        loads=arrivals.loads_of(built.loaded, built.specification, trace),
    )


def _solve_verified(built: Built, judge: Certainty, compare_single: bool) -> MixResult:
    from tokenfleet.simulation import certainty  # noqa: PLC0415 (only when asked for)

    try:
        result = solve_mix(
            built.problem,
            solve_options(built.loaded.scenario),
            judge,
            max_rounds=certainty.MAX_ROUNDS,
            compare_single=compare_single,
        )
    except InfeasibleError as error:
        raise judge.missing(error) from None
    return replace(result, interrupted=result.interrupted or judge.interrupted)


def require_candidates(built: Built) -> None:
    """Refuses a workload that no layout and no API can serve, with how many failed at what.

    Raises:
        InfeasibleError: names each such workload and its funnel.
    """
    problem = built.problem
    served = {c.workload for c in problem.candidates} | {a.workload for a in problem.apis}
    conflicts = []
    for w, workload in enumerate(problem.workloads):
        counts = built.counts.get(workload.id)
        if w in served or workload.shortfall_usd_per_request is not None:
            continue
        if not problem.pools and built.loaded.scenario.columns is None:
            conflicts.append(f"workload {workload.id}: {_without_systems(built)}")
            continue
        if counts is None:
            continue
        conflicts.append(
            f"workload {workload.id}: of {counts['evaluated']:,} layouts that fit, "
            f"{counts['ttft']:,} break a TTFT limit, {counts['tpot']:,} a TPOT limit and "
            f"{counts['e2e']:,} a whole-request limit even when idle; {counts['memory']:,} more "
            "do not fit memory"
        )
    if conflicts:
        looks = "; ".join(str(w) for w in built.loaded.warnings[:3])
        hint = "loosen the limit, allow another system or precision, or add an API"
        raise InfeasibleError("; ".join(conflicts), conflicts, f"{hint}. {looks}".strip(". "))


def _without_systems(built: Built) -> str:
    """Why no system can be had: what is missing of each."""
    reasons = [f"{n.what}: {n.reason}" for n in built.not_considered]
    shown = "; ".join(reasons[:_REASONS])
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"no system can be had ({shown}{more})"


def solve_options(scenario: Scenario) -> SolveOptions:
    """Solver settings of a scenario."""
    solver = scenario.solver
    return SolveOptions(
        gap=solver.gap,
        time_limit_s=solver.time_limit_s or DEFAULT_TIME_LIMIT_S,
        threads=solver.threads or 0,
        seed=solver.seed,
    )


def check(result: MixResult, built: Built | None = None) -> None:
    """The independent checks of `verify.py` and, for a built scenario, `verify_latency.py`.

    Raises:
        SolverError: a requirement does not hold, or the cost is not what it was said to be.
    """
    cost = result.value if result.kind == "least_cost" else None
    violations = verify_mix(result.problem, result.values, result.cost_items, cost)
    violations += verify_latency(built, result) if built is not None else []
    if violations:
        text = "; ".join(str(v) for v in violations[:5])
        raise SolverError(
            f"the plan failed its independent check: {text}",
            "this is a bug: please report the scenario",
        )


def extras(built: Built, result: MixResult, seconds: float) -> Extras:
    """What the plan shows beside the mix."""
    provenance = provenance_rows(built, result)
    dropped = dict(built.never_built)
    for counts in built.counts.values():
        for reason, count in counts.items():
            if reason not in ("evaluated", "usable"):
                dropped[reason] = dropped.get(reason, 0) + count
    return Extras(
        candidates_evaluated=built.evaluated,
        candidates_kept=len(built.problem.candidates),
        seconds=seconds,
        slo=slo_rows(built, result),
        provenance=provenance,
        not_considered=tuple({"what": n.what, "reason": n.reason} for n in built.not_considered),
        confidence=built.loaded.scenario.confidence,
        warnings=(
            *(str(w) for w in built.loaded.warnings),
            *confidence_warnings(built.loaded.scenario.confidence),
            *inherited_warnings(provenance, gpus_by_system(result)),
            *quality_warnings(built, result),
        ),
        dropped=dropped,
        origin=origin(built.loaded, built.specification),
        configurations=built.origins,
    )


def evaluate(
    scenario: ScenarioSource | LoadedScenario, *, progress: Progress | None = None
) -> dict[str, NDArray[Any]]:
    """Operating points of the kept candidates, as columns of equal length.

    Names carry units; latencies are at capacity, under the worst mix of the admitted classes. Each
    point says how it is known (`provenance`, `known`, `runs`) and the half-widths of its 80 %
    intervals (`*_interval80_pct`: x/(1 + w) to x (1 + w)). Make a table of it with
    `polars.DataFrame(...)` or `pandas.DataFrame(...)`.

    Raises:
        SchemaError: as `optimize_fleet`; or the scenario brings its own columns.
    """
    loaded = scenario if isinstance(scenario, LoadedScenario) else load_scenario(scenario)
    built = build(loaded, progress)
    if built.core is None:
        raise SchemaError(
            "the scenario brings measured columns: there is nothing to evaluate",
            "leave `columns` out to evaluate the model",
        )
    return _points(built)


def _points(built: Built) -> dict[str, NDArray[Any]]:
    assert built.core is not None and built.specification is not None
    candidates = built.problem.candidates
    origin = [built.origins[c.id] for c in candidates]
    labels: dict[str, list[Any]] = {}
    for candidate in candidates:
        for key, value in candidate.label.items():
            if key != "capacity":
                shown = "+".join(value) if isinstance(value, list) else value
                labels.setdefault(key, []).append(shown)
    columns: dict[str, NDArray[Any]] = {key: np.array(column) for key, column in labels.items()}
    groups = np.array([group for _, group in origin])
    columns["latency_group"] = groups
    columns.update(_by_group(built, np.array([n for n, _ in origin], dtype=np.uint64), groups))
    return {**columns, **_known(built)}


def _known(built: Built) -> dict[str, NDArray[Any]]:
    """How the times of each candidate are known."""
    assert built.specification is not None
    judge = Judge(built.loaded, built.specification)
    known = [judge.of(c.workload, c.label) for c in built.problem.candidates]
    widths = {m: [100.0 * math.expm1(k.half_width[m]) for k in known] for m in PROMISED}
    return {
        "provenance": np.array([k.provenance for k in known]),
        "known": np.array([k.level for k in known]),
        "runs": np.array([k.runs for k in known]),
        **{f"{metric}_interval80_pct": np.array(values) for metric, values in widths.items()},
    }


def _by_group(
    built: Built, numbers: NDArray[np.uint64], groups: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    assert built.core is not None
    columns: dict[str, NDArray[Any]] = {}
    for group in np.unique(groups):
        rows = groups == group
        for name, values in built.core.points(numbers[rows], int(group)).items():
            column = np.asarray(values)
            columns.setdefault(name, np.empty(len(numbers), dtype=column.dtype))
            columns[name] = columns[name].astype(np.result_type(columns[name], column))
            columns[name][rows] = column
    return columns
