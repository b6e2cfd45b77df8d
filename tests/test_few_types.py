"""Plans of few system types: they stand, none is better than can be, and good ones are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from problems import candidate, one_pool, random_problem, workload
from reference_mix import scip_cost
from tokenfleet.mix import generated
from tokenfleet.mix.model import FleetModel, build
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.search.by_workload import ByWorkload
from tokenfleet.mix.search.few_types import few_types, is_few
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.solve import result_of, solve_mix
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import OfferData, Pool, Problem, Systems
from tokenfleet.verify.mix import verify_mix

ROOT = Path(__file__).parent.parent
EXACT = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)


def found_in(problem: Problem) -> tuple[FleetModel, Incumbent]:
    """A model and what a search over few types has in hand at its end."""
    m = build(problem)
    set_goal(m)
    relaxed = run(m.prob, EXACT, mip=False)
    best = Incumbent(m, 0.0, relaxed.bound)
    assert is_few(m, relaxed, best)
    few_types(m, Effort.of(EXACT), best)
    return m, best


@pytest.mark.parametrize("seed", range(12))
def test_plans_stand_and_cost_no_less_than_the_least(seed: int) -> None:
    problem = random_problem(seed, classes=1 + seed % 3)
    m, best = found_in(problem)
    result = result_of(m, best.found())
    assert verify_mix(problem, result.values, result.cost_items, result.value) == []
    assert result.value >= scip_cost(problem) * (1.0 - 1e-6)


def two_workloads_and_racks() -> Problem:
    """Two workloads of 3 requests/s, a request/s on each accelerator: boxes of 4 at 100 $, a rack
    of 40 at 500 $, of which a relaxation takes 6/40."""
    base = one_pool([[3.0]], gpus=4)
    return replace(
        base,
        workloads=(workload("v", [[3.0]]), workload("w", [[3.0]])),
        pools=(*base.pools, Pool("r", 0, "rack", 40, 1.0, 0.0)),
        offers=(*base.offers, OfferData("q", 1, annual_cost_items_usd={"capex": 500.0})),
        candidates=tuple(
            candidate(2 * w + s, w, system, 1, [1.0])
            for w in range(2)
            for s, system in enumerate(("box", "rack"))
        ),
    )


def test_what_one_workload_leaves_of_a_system_is_there_for_the_next() -> None:
    """Six accelerators are two boxes, 200 $, of which the second workload fills the first."""
    m, best = found_in(two_workloads_and_racks())
    assert best.value == pytest.approx(200.0)
    systems = {m.problem.offers[la.offer].id: v.name for la, v in m.of(Systems).items()}
    assert best.plan is not None
    assert best.plan[systems["o"]] == pytest.approx(2.0)


def test_no_plan_where_nothing_fits() -> None:
    problem = two_workloads_and_racks()
    m = build(replace(problem, sites=(replace(problem.sites[0], power_limit_kw=1.0),)))
    set_goal(m)
    is_open = np.array([v.upBound != 0.0 for v in m.prob.variables()])
    boxes = {v.name for la, v in m.of(Systems).items() if la.offer == 0}
    is_open &= np.array([v.name not in boxes for v in m.prob.variables()])
    steps = ByWorkload(m, Effort.of(EXACT))
    plan = steps.plan(is_open)
    assert plan is not None  # of a rack, which has room for both
    racks = [v.name for la, v in m.of(Systems).items() if la.offer == 1]
    assert sum(plan[name] for name in racks) == pytest.approx(1.0)
    for la, v in m.of(Systems).items():
        is_open &= np.array([v.name != u.name for u in m.prob.variables()])
        assert la.offer in (0, 1)
    assert steps.plan(is_open) is None


def test_over_generated_columns_a_plan_of_few_types_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mix of some six systems by generation of columns: its plan stands and is no worse than the
    plan of few types alone."""
    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    import generate_mix  # noqa: PLC0415 (of the benches)

    monkeypatch.setattr("tokenfleet.mix.generate.generation.GENERATED", 0)
    known: list[float] = []
    real = generated.few_types

    def told(m: FleetModel, effort: Effort, best: Incumbent) -> None:
        real(m, effort, best)
        known.append(best.value)

    monkeypatch.setattr(generated, "few_types", told)
    shape = generate_mix.Shape(workloads=3, sites=2, systems=3, kept=3, fleet=4.0)
    problem = generate_mix.generate(3, shape)
    result = solve_mix(problem, SolveOptions(gap=0.01, time_limit_s=10.0, threads=1))
    assert known and result.value <= known[0] * (1.0 + 1e-9)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []
