"""From a loaded scenario to the mix problem: blocks, supply, search of the space, candidates."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet import _core
from tokenfleet import problem_data as data
from tokenfleet.errors import SchemaError
from tokenfleet.problem.funnel import never_built
from tokenfleet.problem.hosted import build_apis
from tokenfleet.problem.knowledge import Judge, add_time_factors, without_factors
from tokenfleet.problem.least_load import true_loads, with_least_load
from tokenfleet.problem.load_blocks import LoadBlocks, scenario_blocks
from tokenfleet.problem.measured import measured_candidates
from tokenfleet.problem.money import Terms, resolve_terms
from tokenfleet.problem.space_cache import Searched, recall_space, remember_space
from tokenfleet.problem.specification import (
    Specification,
    build_specification,
    quality,
    sorted_classes,
)
from tokenfleet.problem.supply import NotConsidered, Supply, build_supply, site_data
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import FreeDemand, RequestClass, Scenario, Workload, limit_value

Progress = Callable[[int, int], None]
# Ranges of the space handed to the core: short enough to report progress and to stop on Ctrl-C.
_CHUNKS = 50


@dataclass(frozen=True, eq=False)
class Built:
    """A mix problem with what its numbers came from."""

    loaded: LoadedScenario
    problem: data.Problem
    true_loads: Mapping[int, NDArray[np.float64]]  # of candidates that count as more than they take
    terms: Terms
    supply: Supply
    specification: Specification | None  # None: measured columns took the model's place
    judge: Judge | None  # says what is known of the specification's layouts
    core: _core.Space | None
    counts: Mapping[str, Mapping[str, int]]  # by workload: how many configurations ended how
    origins: dict[int, tuple[int, int]]  # candidate id -> (number in the space, latency group)
    not_considered: tuple[NotConsidered, ...]
    never_built: Mapping[str, int]  # by reason: configurations kept out before evaluation

    @property
    def evaluated(self) -> int:
        """Configurations that fit memory and were evaluated in full."""
        return sum(c["evaluated"] for c in self.counts.values())

    @property
    def compared(self) -> int:
        """Candidates: the evaluated ones and those that a bound showed to be beaten."""
        return self.evaluated + sum(c["dominated"] for c in self.counts.values())


def build(loaded: LoadedScenario, progress: Progress | None = None) -> Built:
    """Builds the problem of a scenario; `progress(done, total)` counts partitions of the space."""
    scenario, catalog = loaded.scenario, loaded.catalog
    terms = resolve_terms(scenario.finance, catalog)
    systems = scenario.systems_among(catalog.systems)
    load = scenario_blocks(loaded)
    supply = build_supply(loaded, systems, terms, load)
    used = sorted({p.system for p in supply.pools})
    notes = list(supply.not_considered)
    never: dict[str, int] = {}
    if scenario.columns is not None:
        candidates, refused = measured_candidates(loaded)
        notes += refused
        found = _Found(None, None, None, candidates, {}, {})
    else:
        found = _search(loaded, *_specified(loaded, used), progress)
        spec = found.specification
        if spec is not None:
            notes += [NotConsidered(r.what, r.text) for r in spec.refused]
            never = never_built(loaded, spec, supply, systems)
    apis, dropped_apis = build_apis(loaded)
    notes += dropped_apis
    problem = data.Problem(
        name=scenario.name,
        blocks=tuple(
            data.Block(hours, lost_site=lost)
            for hours, lost in zip(load.hours.tolist(), load.lost_site.tolist(), strict=True)
        ),
        workloads=_workloads(loaded, load),
        sites=site_data(scenario.sites),
        pools=tuple(supply.pools),
        offers=tuple(supply.offers),
        candidates=found.candidates,
        apis=apis,
        objective=_objective(scenario),
        relayout=scenario.relayout,
    )
    weighed = _weighed(scenario, problem)
    return Built(
        loaded=loaded,
        problem=weighed,
        true_loads=true_loads(problem, weighed),
        terms=terms,
        supply=supply,
        specification=found.specification,
        judge=found.judge,
        core=found.core,
        counts=found.counts,
        origins=found.origins,
        not_considered=tuple(notes),
        never_built=never,
    )


def at_confidence(built: Built, confidence: float | str) -> Built:
    """What `build` makes of the scenario at another confidence, of which only the candidates know.

    The scenario has no measured columns, which hold at no confidence.
    """
    assert built.specification is not None and built.judge is not None
    scenario = built.loaded.scenario.model_copy(update={"confidence": confidence})
    loaded = replace(built.loaded, scenario=scenario)
    specification = without_factors(built.specification)
    add_time_factors(built.judge, specification, scenario.sure)
    found = _search(loaded, specification, built.judge, None)
    problem = replace(built.problem, candidates=found.candidates)
    weighed = _weighed(scenario, problem)
    return replace(
        built,
        loaded=loaded,
        problem=weighed,
        true_loads=true_loads(problem, weighed),
        specification=specification,
        core=found.core,
        counts=found.counts,
        origins=found.origins,
    )


def _weighed(scenario: Scenario, problem: data.Problem) -> data.Problem:
    """The problem with least loads, which over a horizon are those of all periods together."""
    return with_least_load(problem, [problem]) if scenario.horizon is None else problem


def _objective(scenario: Scenario) -> data.Objective:
    """The goal and its budgets: what the scenario states under the names that the mix has."""
    stated = scenario.objective
    return data.Objective(**{f.name: getattr(stated, f.name) for f in fields(data.Objective)})


# Demand


def _ordered(scenario: Scenario) -> list[Workload]:
    return sorted(scenario.workloads, key=lambda w: w.id)


def _workloads(loaded: LoadedScenario, load: LoadBlocks) -> tuple[data.WorkloadData, ...]:
    scenario = loaded.scenario
    ordered = _ordered(scenario)
    free = [w for w in ordered if isinstance(w.demand, FreeDemand)]
    mix = sum(w.demand.mix_share for w in free if isinstance(w.demand, FreeDemand))
    return tuple(_workload(loaded, w, load.multiplier[:, i], mix) for i, w in enumerate(ordered))


def _workload(
    loaded: LoadedScenario, workload: Workload, multiplier: data.FloatArray, mix: float
) -> data.WorkloadData:
    classes = sorted_classes(loaded.classes[workload.id])
    share = np.array([c.share for c in classes])
    demand = workload.demand
    low, high = 0.0, math.inf
    if isinstance(demand, FreeDemand):
        mean = demand.mix_share / mix
        low = demand.min_requests_per_s / mean
        high = limit_value(demand.max_requests_per_s) / mean
    else:
        mean = demand.requests_per_s
    tokens = 0.0 if workload.unit == "image" else 1.0
    return data.WorkloadData(
        id=workload.id,
        class_ids=tuple(c.id for c in classes),
        demand_rps=np.outer(multiplier, share * mean),
        output_tokens=np.array([tokens * c.output_tokens.mean for c in classes]),
        input_tokens=np.array([tokens * c.input_tokens.mean for c in classes]),
        value_usd_per_request=np.array([_value(workload, c) for c in classes]),
        free=isinstance(demand, FreeDemand),
        min_scale=low,
        max_scale=high,
        shortfall_usd_per_request=workload.shortfall_usd_per_request,
        interruptible=workload.interruptible,
    )


def _value(workload: Workload, c: RequestClass) -> float:
    per_mtok = c.value_usd_per_mtok_output
    if per_mtok is None:
        per_mtok = workload.value_usd_per_mtok_output or 0.0
    return per_mtok * c.output_tokens.mean / 1e6


# Candidates


@dataclass(frozen=True, eq=False)
class _Found:
    specification: Specification | None
    judge: Judge | None
    core: _core.Space | None
    candidates: tuple[data.Candidate, ...]
    counts: Mapping[str, Mapping[str, int]]
    origins: dict[int, tuple[int, int]]


def respecify(loaded: LoadedScenario) -> tuple[Specification, _core.Space]:
    """Specification and core that `build` makes of a scenario, without searching its space.

    Raises:
        SchemaError: as `build`; or the scenario brings its own columns, of which the core knows
            nothing.
    """
    scenario, catalog = loaded.scenario, loaded.catalog
    if scenario.columns is not None:
        raise SchemaError(
            f"{loaded.source_name}: brings measured columns, which have no layouts",
            "leave `columns` out to have the model's own layouts",
        )
    terms = resolve_terms(scenario.finance, catalog)
    systems = scenario.systems_among(catalog.systems)
    supply = build_supply(loaded, systems, terms, scenario_blocks(loaded))
    specification, _ = _specified(loaded, sorted({p.system for p in supply.pools}))
    return specification, _core.Space(json.dumps(specification.data))


def _specified(loaded: LoadedScenario, systems: Sequence[str]) -> tuple[Specification, Judge]:
    specification = build_specification(loaded, systems)
    judge = Judge(loaded, specification)
    add_time_factors(judge, specification, loaded.scenario.sure)
    return specification, judge


def _search(
    loaded: LoadedScenario, specification: Specification, judge: Judge, progress: Progress | None
) -> _Found:
    text = json.dumps(specification.data)
    core = _core.Space(text)
    searched = recall_space(text)
    if searched is None:
        searched = _searched(core, loaded.scenario.solver.threads or 0, progress)
        remember_space(text, searched)
    elif progress is not None:
        progress(core.partition_count, core.partition_count)
    candidates, origins = _candidates(loaded.scenario, specification, core, searched["kept"])
    counts = {specification.workloads[w].id: found for w, found in searched["counts"]}
    return _Found(specification, judge, core, candidates, counts, origins)


def _searched(core: _core.Space, threads: int, progress: Progress | None) -> Searched:
    """Kept candidates and counts of a whole space."""
    search = _core.CandidateSearch()
    total = core.partition_count
    step = max(1, total // _CHUNKS)
    for first in range(0, total, step):
        last = min(first + step, total)
        search.extend(core, first, last, threads)
        if progress is not None:
            progress(last, total)
    columns = search.kept().items()
    kept = {name: c.tolist() if isinstance(c, np.ndarray) else c for name, c in columns}
    return {"kept": kept, "counts": [*search.counts().items()]}


def _candidates(
    scenario: Scenario, spec: Specification, core: _core.Space, kept: Mapping[str, Any]
) -> tuple[tuple[data.Candidate, ...], dict[int, tuple[int, int]]]:
    candidates = []
    origins = {}
    pairs: dict[tuple[int, int, int], int] = {}
    shares = [tuple(c.share for c in classes) for classes in spec.classes]
    for i in range(len(kept["id"])):
        w, group = int(kept["workload"][i]), int(kept["latency_group"][i])
        if not spec.groups[w]:
            continue
        number = int(kept["id"][i])
        label = core.describe(number)
        pair = -1
        if kept["role"][i] != "serve":
            key = (w, int(kept["kv"][i]), int(kept["split"][i]))
            pair = pairs.setdefault(key, len(pairs))
        origins[i] = (number, group)
        candidates.append(
            data.Candidate(
                id=i,
                workload=w,
                system=spec.systems[int(kept["system"][i])],
                gpus=int(kept["gpus"][i]),
                sites=spec.groups[w][group],
                load=np.array(kept["load_s"][i]),
                energy_j=np.array(kept["energy_j"][i]),
                idle_w=float(kept["idle_w"][i]),
                role=kept["role"][i],
                pair=pair,
                quality=quality(scenario, spec.workloads[w], label["precision"]),
                oddities=int(kept["oddities"][i]),
                plainer=kept["plainer"][i],
                mix=shares[w] if kept["own_mix"][i] else None,
                label={**label, "capacity": float(kept["capacity"][i])},
            )
        )
    return tuple(candidates), origins
