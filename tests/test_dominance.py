"""Dominated types and hopeless replicas may go: SCIP and the whole model agree."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyscipopt
import pytest

from test_melange import plan_of, usd_per_h
from tokenfleet.mix import solve
from tokenfleet.mix.model import build, frame
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.search.bounds import only
from tokenfleet.mix.search.fixing import may_improve
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem import build as build_problem
from tokenfleet.problem_data import (
    EVERY_BLOCK,
    Block,
    Candidate,
    OfferData,
    Pool,
    Problem,
    Replicas,
    SiteData,
    WorkloadData,
)
from tokenfleet.scenario.load import load_scenario

EXACT = SolveOptions(gap=0.0)


def melange(seed: int, types: int = 7, rows: int = 2, cols: int = 3) -> dict[str, Any]:
    """A seeded Mélange input; every third type is a worse or an equal copy of the one before it."""
    draw = random.Random(seed)
    shares = [[draw.random() for _ in range(cols)] for _ in range(rows)]
    total = sum(map(sum, shares))
    info: dict[str, Any] = {}
    for n in range(types):
        rates = [
            [draw.choice([0, 1, 1, 1]) * draw.uniform(1, 9) for _ in range(cols)] for _ in shares
        ]
        rates = rates if n else [[draw.uniform(1, 9) for _ in range(cols)] for _ in shares]
        cost = draw.uniform(1, 6)
        if n % 3 == 2:
            worse = draw.choice([1.0, 1.2])
            last = info[f"g{n - 1}"]
            cost = last["cost"] * worse
            rates = [[rate / worse for rate in row] for row in last["tputs"]]
        info[f"g{n}"] = {"cost": cost, "tputs": rates}
    shares = [[share / total for share in row] for row in shares]
    return {
        "gpu_info": info,
        "workload_distribution": shares,
        "total_request_rate": draw.uniform(8, 40),
        "slice_factor": 1,
    }


def scip_usd_per_h(data: dict[str, Any]) -> float:
    """Least $/h from SCIP, written from the meaning of the file and from nothing of ours."""
    model = pyscipopt.Model()
    model.hideOutput()
    total = data["total_request_rate"]
    counts = {g: model.addVar(vtype="I", obj=info["cost"]) for g, info in data["gpu_info"].items()}
    used: dict[str, list[Any]] = {g: [] for g in counts}
    for i, row in enumerate(data["workload_distribution"]):
        for j, share in enumerate(row):
            parts = []
            for g, info in data["gpu_info"].items():
                rate = info["tputs"][i][j]
                if rate > 0:
                    part = model.addVar(lb=0.0)
                    parts.append(part)
                    used[g].append(part * (share * total / rate))
            model.addCons(pyscipopt.quicksum(parts) == 1)
    for g, terms in used.items():
        model.addCons(pyscipopt.quicksum(terms) <= counts[g])
    model.optimize()
    assert model.getStatus() == "optimal"
    return float(model.getObjVal())


@pytest.mark.parametrize("seed", range(8))
def test_melange_agrees_with_scip(seed: int, tmp_path: Path) -> None:
    data = melange(seed)
    plan = plan_of(data, tmp_path)
    least = scip_usd_per_h(data)
    assert least * (1 - 1e-6) <= usd_per_h(plan) <= least * (1 + 1e-4 + 1e-6)
    assert plan.bound / 8760 <= least * (1 + 1e-6)


def problem(pools: list[Pool], offers: list[OfferData], loads: dict[str, list[float]]) -> Problem:
    """Two classes at one site; a system holds two replicas."""
    workload = WorkloadData(
        id="w",
        class_ids=("a", "b"),
        demand_rps=np.array([[7.0, 5.0]]),
        output_tokens=np.array([1.0, 1.0]),
        input_tokens=np.array([1.0, 1.0]),
        value_usd_per_request=np.zeros(2),
    )
    candidates = tuple(
        Candidate(i, 0, system, 1, (0,), np.array(load), np.array([3.0, 3.0]), idle_w=5.0)
        for i, (system, load) in enumerate(loads.items())
    )
    return Problem(
        name="p",
        blocks=(Block(8760.0),),
        workloads=(workload,),
        sites=(SiteData("s", power_limit_kw=50.0),),
        pools=tuple(pools),
        offers=tuple(offers),
        candidates=candidates,
    )


BASE = Pool("a", 0, "A", 2, 3.0, 1.0, energy_usd_per_kwh_it=0.1, pue=1.2, systems_per_rack=4.0)
DEAR = OfferData("a", 0, annual_cost_items_usd={"rent": 100.0})
EQUAL = OfferData("b", 1, annual_cost_items_usd={"rent": 100.0})
LOADS = {"A": [1.0, 0.8], "B": [1.0, 0.8]}


def kept_systems(case: Problem) -> set[str]:
    model = build(case)
    return {case.pools[p].system for p, found in model.eligible.items() if found}


def test_of_equal_types_one_stays_whatever_they_are_called() -> None:
    for name in ("B", "0"):
        twin = replace(BASE, id="b", system=name)
        case = problem([BASE, twin], [DEAR, EQUAL], {"A": [1.0, 0.8], name: [1.0, 0.8]})
        assert len(kept_systems(case)) == 1


@pytest.mark.parametrize(
    ("pool", "offer", "load"),
    [
        ({"provisioned_it_kw": 3.1}, {}, [0.5, 0.5]),
        ({"idle_it_kw": 1.1}, {}, [0.5, 0.5]),
        ({"gpus_per_system": 4}, {}, [0.5, 0.5]),
        ({"elastic": True}, {}, [0.5, 0.5]),
        ({"interruptible": True}, {}, [0.5, 0.5]),
        ({"energy_usd_per_kwh_it": 0.11}, {}, [0.5, 0.5]),
        ({"pue": 1.21}, {}, [0.5, 0.5]),
        ({"carbon_kg_per_kwh_it": 0.1}, {}, [0.5, 0.5]),
        ({"systems_per_rack": 3.0}, {}, [0.5, 0.5]),
        ({"reserve": 1}, {}, [0.5, 0.5]),
        ({}, {"annual_cost_items_usd": {"rent": 100.1}}, [0.5, 0.5]),
        ({}, {"capex_usd": 1.0}, [0.5, 0.5]),
        ({}, {"hourly_usd": 0.01}, [0.5, 0.5]),
        ({}, {"supply": 1000.0}, [0.5, 0.5]),
        ({}, {}, [0.5, 0.81]),
        ({}, {}, [np.inf, 0.5]),
    ],
)
def test_whatever_is_worse_in_one_thing_replaces_nothing(
    pool: dict[str, Any], offer: dict[str, Any], load: list[float]
) -> None:
    better = replace(BASE, id="b", system="B")
    case = problem([BASE, better], [DEAR, EQUAL], {"A": [1.0, 0.8], "B": [0.5, 0.5]})
    assert kept_systems(case) == {"B"}
    worse = replace(better, **pool)
    case = problem([BASE, worse], [DEAR, replace(EQUAL, **offer)], {"A": [1.0, 0.8], "B": load})
    assert "A" in kept_systems(case)


@pytest.mark.parametrize(
    ("usd_per_kwh", "kept"),
    [(0.1, {"B"}), ((0.1, 0.05), {"B"}), ((0.11, 0.0), {"A", "B"}), ((0.0, 0.11), {"A", "B"})],
)
def test_a_price_is_compared_in_every_block(usd_per_kwh: Any, kept: set[str]) -> None:
    better = replace(BASE, id="b", system="B")
    case = problem([BASE, better], [DEAR, EQUAL], {"A": [1.0, 0.8], "B": [0.5, 0.5]})
    workload = replace(case.workloads[0], demand_rps=np.array([[7.0, 5.0], [6.0, 4.0]]))
    pools = (BASE, replace(better, energy_usd_per_kwh_it=usd_per_kwh))
    blocks = (Block(3650.0), Block(5110.0))
    case = replace(case, blocks=blocks, workloads=(workload,), pools=pools)
    assert kept_systems(case) == kept


def test_supply_is_unlimited_if_all_of_its_group_is() -> None:
    """Offers of a scenario share one supply, that of their group, at all sites."""
    better = replace(BASE, id="b", system="B")
    loads = {"A": [1.0, 0.8], "B": [0.5, 0.5]}
    grouped = replace(EQUAL, supply_group="g")
    assert kept_systems(problem([BASE, better], [DEAR, grouped], loads)) == {"B"}
    limited = OfferData("c", 1, 1000.0, {"rent": 90.0}, supply_group="g")
    assert "A" in kept_systems(problem([BASE, better], [DEAR, grouped, limited], loads))


@pytest.mark.parametrize("seed", range(4))
def test_of_a_type_and_its_copy_in_a_scenario_one_stays(seed: int, tmp_path: Path) -> None:
    """Every third type of the file is a dearer or an equal copy of the one before it."""
    plan_of(melange(seed, types=9), tmp_path)
    kept = kept_systems(build_problem(load_scenario(tmp_path / "scenario.yaml")).problem)
    assert not any({f"g{n - 1}", f"g{n}"} <= kept for n in (2, 5, 8))


@pytest.mark.parametrize("seed", range(40))
def test_the_types_left_out_are_those_that_a_plain_search_finds(seed: int) -> None:
    """All pairs of types, in the words of the module's text."""
    draw = random.Random(seed)
    pools, offers, loads = [], [], {}
    for i in range(8):
        pools.append(
            replace(
                BASE,
                id=f"p{i}",
                system=f"S{i}",
                hosted=draw.choice([False, True]),
                idle_it_kw=draw.choice([1.0, 1.0, 2.0]),
                gpus_per_system=draw.choice([2, 2, 2, 4]),
            )
        )
        for _ in range(draw.choice([1, 1, 2])):
            supply = draw.choice([np.inf, np.inf, np.inf, 3.0])
            group = draw.choice(["", f"own{i}", "shared"])
            rent = {"rent": draw.choice([60.0, 80.0, 100.0])}
            offers.append(OfferData(f"o{i}", i, supply, rent, supply_group=group))
        loads[f"S{i}"] = [draw.choice([0.5, 0.7]), draw.choice([0.5, 0.7, np.inf])]
    case = problem(pools, offers, loads)
    kept = kept_systems(case)
    replaced = {
        (a, b)
        for a in range(8)
        for b in range(8)
        if a != b and stands_in(case, pools[b], pools[a], loads)
    }
    for a in range(8):
        heirs = {b for x, b in replaced if x == a}
        if f"S{a}" in kept:  # then only equals could take its place, and they went
            assert all((b, a) in replaced and f"S{b}" not in kept for b in heirs)
        else:
            assert any(f"S{b}" in kept for b in heirs)


def stands_in(case: Problem, q: Pool, p: Pool, loads: dict[str, list[float]]) -> bool:
    """Whether a system of q is as good as one of p in everything."""
    limited = {o.supply_group for o in case.offers if o.supply < np.inf and o.supply_group}
    of_q = [o for o in case.offers if case.pools[o.pool] is q]
    of_p = [o for o in case.offers if case.pools[o.pool] is p]
    free = [o for o in of_q if o.supply == np.inf and o.supply_group not in limited]
    cheap = all(
        any(x.annual_cost_items_usd["rent"] <= o.annual_cost_items_usd["rent"] for x in free)
        for o in of_p
    )
    rates = all(a <= b for a, b in zip(loads[q.system], loads[p.system], strict=True))
    housed = q.hosted or not p.hosted
    same = q.gpus_per_system == p.gpus_per_system
    return cheap and rates and housed and same and q.idle_it_kw <= p.idle_it_kw


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_that_of_the_whole_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    pools, offers, loads = [], [], {}
    for i in range(5):
        pools.append(
            replace(
                BASE,
                id=f"p{i}",
                system=f"S{i}",
                provisioned_it_kw=draw.choice([2.0, 3.0]),
                reserve=draw.choice([0, 0, 1]),
                systems_per_rack=draw.choice([2.0, 4.0]),
            )
        )
        rent = draw.choice([60.0, 80.0, 100.0])
        supply = draw.choice([np.inf, np.inf, 3.0])
        offers.append(OfferData(f"o{i}", i, supply, {"rent": rent}))
        loads[f"S{i}"] = [draw.choice([0.5, 0.7, 1.0]), draw.choice([0.5, 0.7, np.inf])]
    case = problem(pools, offers, loads)
    found = solve.solve_mix(case, EXACT)
    monkeypatch.setattr(frame, "dominated_systems", lambda *_: frozenset())
    whole = build(case)
    objective.set_goal(whole, "least_cost")
    assert found.value == pytest.approx(run(whole.prob, EXACT).value, rel=1e-7)
    single = min(_alone(case, f"S{i}") for i in range(5))
    assert found.best_single is not None
    assert found.best_single.value == pytest.approx(single, rel=1e-6)
    assert found.best_single.bound <= single * (1 + 1e-7)


def _alone(case: Problem, system: str) -> float:
    one = replace(case, candidates=tuple(c for c in case.candidates if c.system == system))
    model = build(one)
    objective.set_goal(model, "least_cost")
    outcome = run(model.prob, EXACT)
    return outcome.value if outcome.has_incumbent else np.inf


@pytest.mark.parametrize("seed", range(6))
def test_replicas_ruled_out_are_in_no_better_plan(seed: int, tmp_path: Path) -> None:
    """The optimum of a model that must use a replica ruled out is above the plan's value."""
    draw = random.Random(seed)
    pools = [replace(BASE, id=f"p{i}", system=f"S{i}") for i in range(6)]
    offers = [
        OfferData(f"o{i}", i, np.inf, {"rent": draw.uniform(60, 160)}) for i in range(len(pools))
    ]
    loads = {p.system: [draw.uniform(0.4, 1.2), draw.uniform(0.4, 1.2)] for p in pools}
    model = build(problem(pools, offers, loads))
    objective.set_goal(model, "least_cost")
    relaxed = run(model.prob, EXACT, mip=False)
    value = run(model.prob, EXACT).value * 1.02
    kept = may_improve(model, relaxed, value)
    everything = {(p, c) for p, found in model.eligible.items() for c in found}
    with only(model, kept):
        assert run(model.prob, EXACT).value * 1.02 == pytest.approx(value)
    for p, c in everything - kept:
        column = model.columns[Replicas(EVERY_BLOCK, p, c)]
        column.lowBound = 1.0
        assert run(model.prob, EXACT).value > value
        column.lowBound = 0.0
