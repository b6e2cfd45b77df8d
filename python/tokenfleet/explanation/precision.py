"""Precisions that a workload may be served in: what a premium on their tokens would have to be.

Weights have no price, but tokens of a precision may be worth more or less than others. The flip
price of a precision is the premium for a million of its output tokens from which a best plan serves
some in it, or, for one in use, the charge above which none does (a negative premium). A precision
that a workload is not planned in, since nobody has published such weights, has none. Layouts of a
precision that others beat are not among a plan's candidates, so each is evaluated apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tokenfleet.errors import TokenfleetError
from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.flip import Target
from tokenfleet.explanation.study import Study
from tokenfleet.mix.model import Label
from tokenfleet.mix.model.frame import peak_demand
from tokenfleet.problem import Built, build
from tokenfleet.problem.allowed import planned_formats
from tokenfleet.problem_data import SECONDS_PER_HOUR, Candidate, Flow, Problem
from tokenfleet.schema.formats import PLANNED

_PART = 1e-4  # of the peak of a workload, that is served where a precision is held


def precisions(
    built: Built, study: Study, about: About = EVERYTHING
) -> Iterator[tuple[Study, Target]]:
    """Each precision of each workload that is asked about, with the study of a problem that has its
    layouts.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before all were found.
    """
    if built.specification is None:
        return
    problem, found = study.problem, {name: _at(built, name) for name in PLANNED}
    for candidates in found.values():
        problem = with_candidates(problem, candidates)
    apart = study.beside(problem)
    for w, workload in enumerate(problem.workloads):
        if not about(workload.id):
            continue
        for name, candidates in found.items():
            target = _target(apart, w, name)
            if target.amount and any(c.workload == w for c in candidates):
                yield apart, replace(target, name=f"{name} of {workload.id}")


def _at(built: Built, precision: str) -> list[Candidate]:
    """Layouts of all workloads in one precision, those that another precision beats as well."""
    scenario, catalog = built.loaded.scenario, built.loaded.catalog
    workloads = tuple(
        w.model_copy(update={"precisions": (precision,)})
        if w.unit == "token" and precision in planned_formats(scenario, catalog, w)
        else w
        for w in scenario.workloads
    )
    changed = scenario.model_copy(update={"workloads": workloads})
    try:
        apart = build(replace(built.loaded, scenario=changed))
    except TokenfleetError:  # nothing computes in it
        return []
    return [c for c in apart.problem.candidates if c.label.get("precision") == precision]


def with_candidates(problem: Problem, more: Sequence[Candidate]) -> Problem:
    """The problem with further candidates; those that it has keep their numbers."""
    kept = list(problem.candidates)
    first = 1 + max((c.pair for c in kept), default=-1)
    for candidate in more:
        pair = candidate.pair if candidate.pair < 0 else candidate.pair + first
        kept.append(replace(candidate, id=len(kept), pair=pair, plainer=False))
    return replace(problem, candidates=tuple(kept))


def _target(study: Study, w: int, precision: str) -> Target:
    """The requests of a workload that are served in a precision, and their output tokens."""
    problem = study.problem
    hours = [block.counted_hours for block in problem.blocks]
    output = problem.workloads[w].output_tokens
    served: list[Flow] = [
        flow
        for flow in study.model.of(Flow)
        if problem.candidates[flow.candidate].workload == w
        and problem.candidates[flow.candidate].role != "prefill"
        and problem.candidates[flow.candidate].label.get("precision") == precision
    ]
    mtok: dict[Label, float] = {
        f: hours[f.block] * SECONDS_PER_HOUR * float(output[f.cls]) / 1e6 for f in served
    }
    least = _PART * float(peak_demand(problem, w, study.model.scale_max).max())
    return Target("precision", precision, dict.fromkeys(mtok, 1.0), mtok, least)
