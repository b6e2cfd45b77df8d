"""A plan and its fleet cost the same, item by item, whatever is booked.

The judge of random problems is `verify`, which shares no code with the model or with `fleets`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from problems import candidate, one_pool, random_problem, timed, workload
from tokenfleet.errors import SchemaError
from tokenfleet.fleets import FleetEvaluator
from tokenfleet.fleets.evaluate import FleetAnswers
from tokenfleet.mix.model import FleetModel, Label, columns
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import (
    EVERY_BLOCK,
    Api,
    ApiData,
    Block,
    Flow,
    OfferData,
    Pool,
    Problem,
    Replicas,
    Short,
    Systems,
    Used,
    only_block,
)
from tokenfleet.verify.mix import annual_cost_items, verify_mix

EXACT = SolveOptions(gap=0.0)


def systems_of(problem: Problem, values: Mapping[Label, float]) -> list[float]:
    """Systems of each offer in a plan, at their peak."""
    counts = [0.0] * len(problem.offers)
    for label, value in values.items():
        if isinstance(label, Systems):
            counts[label.offer] = max(counts[label.offer], value)
    return counts


def items_of(answers: FleetAnswers, fleet: int) -> dict[str, float]:
    """Cost items of a fleet that are not zero."""
    money = {n.removesuffix("_usd"): v for n, v in answers.columns.items() if n.endswith("_usd")}
    others = ("annual_cost", "cost_per_mtok_output", "cost_per_mtok_total", "capex")
    return {n: float(v[0, fleet]) for n, v in money.items() if n not in others and v[0, fleet]}


def as_plan(
    problem: Problem,
    counts: np.ndarray[Any, Any],
    answers: FleetAnswers,
    fleet: int,
    *,
    whole: bool = False,
) -> dict[Label, float]:
    """The systems, requests and (fractional or whole) replicas of a fleet as a plan's values."""
    alone = [only_block(b) for b in range(len(problem.blocks))]
    values: dict[Label, float] = {}
    for o, offer in enumerate(problem.offers):
        scopes = alone if problem.pools[offer.pool].elastic else [EVERY_BLOCK]
        values |= {Systems(scope, o): float(counts[o]) for scope in scopes}
    assert answers.routing is not None
    busy: dict[tuple[int, int, int], float] = defaultdict(float)
    for flow, rate in zip(answers.flows, answers.routing[0, fleet], strict=True):
        b = int(str(flow["block"]))
        w = [x.id for x in problem.workloads].index(str(flow["workload"]))
        k = problem.workloads[w].class_ids.index(str(flow["class"]))
        if "api" in flow:
            values[Api(b, [x.id for x in problem.apis].index(str(flow["api"])), k)] = rate
        elif "shortfall" in flow:
            values[Short(b, w, k)] = rate
        else:
            c, p = int(str(flow["candidate"])), pool_of(problem, flow)
            values[Flow(b, p, c, k)] = rate
            busy[b, p, c] += rate * float(problem.candidates[c].load[k])
    for (b, p, c), replicas in busy.items():
        by_block = problem.pools[p].elastic or problem.relayout
        label = Replicas(only_block(b) if by_block else EVERY_BLOCK, p, c)
        count = float(math.ceil(replicas - 1e-6)) if whole else replicas
        values[label] = max(values.get(label, 0.0), count)
    return values


def pool_of(problem: Problem, flow: Mapping[str, object]) -> int:
    """The only pool of a system at a site."""
    (found,) = (
        p
        for p, pool in enumerate(problem.pools)
        if (problem.sites[pool.site].id, pool.system) == (flow["site"], flow["system"])
    )
    return found


def renting(problem: Problem) -> Problem:
    """The problem with what systems cost in a year under the item `rent`."""
    offers = (
        replace(o, annual_cost_items_usd={"rent": sum(o.annual_cost_items_usd.values())})
        for o in problem.offers
    )
    return replace(problem, offers=tuple(offers))


def drawn(seed: int) -> Problem:
    """A random problem in which everything costs: idle watts, joules, shortfall, contracted kW."""
    rng = np.random.default_rng(seed)
    problem = renting(random_problem(seed, classes=1 + seed % 3, peak_rps=30.0))
    first, second, third = problem.pools
    apart = (first, second, replace(third, system="sys2"))  # one pool of a system at a site
    candidates = tuple(
        replace(c, idle_w=float(rng.uniform(0, 300)), energy_j=rng.uniform(10, 900, len(c.load)))
        for c in problem.candidates
    )
    candidates += tuple(
        replace(c, id=len(candidates) + i, system="sys2")
        for i, c in enumerate(candidates)
        if c.system == "sys0"
    )
    return replace(
        problem,
        pools=apart,
        candidates=candidates,
        relayout=bool(seed % 2),
        workloads=tuple(
            replace(w, shortfall_usd_per_request=float(rng.uniform(1e-4, 2e-3)))
            for w in problem.workloads
        ),
        sites=tuple(
            replace(s, contracted_power_usd_per_year=float(rng.uniform(0, 900)))
            for s in problem.sites
        ),
    )


@pytest.mark.parametrize("draw", [drawn, lambda seed: timed(drawn(seed), seed)])
@pytest.mark.parametrize("seed", range(8))
def test_items_of_random_fleets_are_those_that_the_judge_finds(
    seed: int, draw: Callable[[int], Problem]
) -> None:
    problem = draw(seed)
    counts = np.random.default_rng(seed).integers(0, 5, (6, 3)).astype(float)
    answers = FleetEvaluator(problem).evaluate(counts, routing=True)
    for fleet, row in enumerate(counts):
        judged = annual_cost_items(problem, as_plan(problem, row, answers, fleet))
        stated = items_of(answers, fleet)
        assert set(stated) == set(judged)
        for item, usd in judged.items():
            assert stated[item] == pytest.approx(usd, rel=1e-6, abs=1e-3), item
        assert answers["annual_cost_usd"][0, fleet] == pytest.approx(sum(judged.values()), 1e-9)


@pytest.mark.parametrize("draw", [drawn, lambda seed: timed(drawn(seed), seed)])
@pytest.mark.parametrize("seed", range(8))
def test_a_fleet_with_whole_replicas_is_a_plan(seed: int, draw: Callable[[int], Problem]) -> None:
    """The judge finds the same items, and no limit of a feasible fleet broken."""
    problem = draw(seed)
    counts = np.random.default_rng(seed).integers(0, 5, (6, 3)).astype(float)
    answers = FleetEvaluator(problem, whole_replicas=True).evaluate(counts, routing=True)
    for fleet, row in enumerate(counts):
        values = as_plan(problem, row, answers, fleet, whole=True)
        judged = annual_cost_items(problem, values)
        stated = items_of(answers, fleet)
        assert set(stated) == set(judged)
        for item, usd in judged.items():
            assert stated[item] == pytest.approx(usd, rel=1e-6, abs=1e-3), item
        broken = verify_mix(problem, values)
        assert bool(broken) != bool(answers["feasible"][0, fleet]), broken


@pytest.mark.parametrize("seed", range(8))
def test_the_fleet_of_a_plan_with_whole_replicas_costs_what_the_plan_does(seed: int) -> None:
    """Of systems all year, whose hours are the plan's; the plan is the best, so none costs less."""
    problem = drawn(seed)
    problem = replace(
        problem,
        pools=tuple(replace(pool, elastic=False) for pool in problem.pools),
        offers=tuple(
            replace(
                o, hourly_usd=0.0, annual_cost_items_usd=o.annual_cost_items_usd or {"rent": 9e3}
            )
            for o in problem.offers
        ),
    )
    plan = solve_mix(problem, SolveOptions(gap=1e-7), compare_single=False)
    counts = np.array([systems_of(problem, plan.values)])
    answers = FleetEvaluator(problem, whole_replicas=True).evaluate(counts)
    assert answers["feasible"][0, 0]
    assert answers["annual_cost_usd"][0, 0] <= plan.annual_cost_usd * (1 + 1e-6)
    assert answers["annual_cost_usd"][0, 0] >= plan.bound * (1 - 1e-6)


def hosted_beside_an_api(seed: int) -> Problem:
    """Two systems whose price includes energy, so that routing is free, and an API with a limit."""
    rng = np.random.default_rng(seed)
    blocks, classes = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    pools = [Pool(f"p{i}", 0, f"box{i}", 8, 1.0, 0.0, hosted=True) for i in range(2)]
    offers = [OfferData(f"o{i}", i, annual_cost_items_usd={"rent": 100.0}) for i in range(2)]
    usd, most = rng.uniform(1e-4, 1e-3, classes), float(rng.uniform(1, 4))
    loads = [rng.uniform(0.1, 1.0, classes).tolist() for _ in pools]
    return replace(
        one_pool(rng.uniform(1, 9, (blocks, classes)).tolist()),
        pools=tuple(pools),
        offers=tuple(offers),
        apis=(ApiData("api", 0, usd, max_rps=most),),
        candidates=tuple(candidate(i, 0, f"box{i}", 1, load) for i, load in enumerate(loads)),
    )


@pytest.mark.parametrize("seed", range(8))
def test_fleets_whose_routing_is_free_are_judged_too(seed: int) -> None:
    """A cost of zero is certified: the rounding of a price is no gap of a free routing."""
    problem = hosted_beside_an_api(seed)
    counts = np.array([[a, b] for a in range(6) for b in range(6)], dtype=float)
    answers = FleetEvaluator(problem).evaluate(counts, routing=True)
    assert (answers["feasible"][0] & (answers["annual_cost_usd"][0] == 100 * counts.sum(1))).any()
    for fleet, row in enumerate(counts):
        judged = sum(annual_cost_items(problem, as_plan(problem, row, answers, fleet)).values())
        assert answers["annual_cost_usd"][0, fleet] == pytest.approx(judged, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_a_fleet_of_random_plans_costs_no_more_than_the_plan(seed: int) -> None:
    """The fleet routes anew, with replicas relaxed; systems by the hour are paid for all hours."""
    problem = drawn(seed)
    plan = solve_mix(problem, SolveOptions(gap=1e-6), compare_single=False)
    counts = np.array([systems_of(problem, plan.values)])
    answers = FleetEvaluator(problem).evaluate(counts, routing=True)
    assert answers["feasible"][0, 0]
    whole = annual_cost_items(problem, plan.values)
    rented = items_of(answers, 0).get("rental", 0.0) - whole.get("rental", 0.0)
    idle = sum(
        float(counts[0, o]) * 8760 * pool.idle_it_kw * pool.energy_usd_per_kwh_it
        for o, pool in enumerate(problem.pools)
        if pool.elastic
    )
    assert answers["annual_cost_usd"][0, 0] <= sum(whole.values()) + rented + idle + 1e-3


def test_a_new_cost_item_shows_in_plan_and_fleet_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 requests/s at a millionth of a dollar for leaving the network: 126.144 $ a year."""
    defined = columns.define_flows

    def define_flows(m: FleetModel) -> None:
        defined(m)
        for flow in m.of(Flow):
            hours = m.problem.blocks[flow.block].hours
            m.terms.append(columns.Term("egress", flow, 1e-6 * hours * 3600))

    definitions = [define_flows if d is defined else d for d in columns.DEFINITIONS]
    monkeypatch.setattr(columns, "DEFINITIONS", tuple(definitions))
    problem = renting(one_pool([[4.0]]))
    expected = {"rent": 100.0, "egress": 4 * 8760 * 3600 * 1e-6}
    plan = solve_mix(problem, EXACT)
    assert dict(plan.cost_items) == pytest.approx(expected)
    assert plan.annual_cost_usd == pytest.approx(226.144)
    answers = FleetEvaluator(problem).evaluate(np.array([[1.0]]))
    assert items_of(answers, 0) == pytest.approx(expected)
    assert answers["annual_cost_usd"][0, 0] == pytest.approx(226.144)


def test_a_cost_that_a_fleet_does_not_tell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fee for each block in which a pool is used is nothing that counts and routing add up to."""
    base = one_pool([[4.0]])
    problem = replace(base, pools=(replace(base.pools[0], reserve=1),))
    built = FleetEvaluator(problem).model
    fee = columns.Term("opening", next(iter(built.of(Used))), 7.0)
    monkeypatch.setattr("tokenfleet.fleets.routing.build", lambda *_, **__: _with(built, fee))
    with pytest.raises(SchemaError, match="cannot add the cost item 'opening'"):
        FleetEvaluator(problem)


def _with(m: FleetModel, term: columns.Term) -> FleetModel:
    m.terms.append(term)
    return m


def test_demand_of_two_blocks_is_paid_by_the_hour_of_each() -> None:
    """1 request/s for 4,380 h and 3 for as long, each of 3,600 J: 2 kW x 8,760 h at 0.1 $."""
    base = renting(one_pool([[1.0], [3.0]]))
    problem = replace(
        base,
        blocks=(Block(4380.0), Block(4380.0)),
        workloads=(workload("w", [[1.0], [3.0]]),),
        pools=(replace(base.pools[0], energy_usd_per_kwh_it=0.1),),
        candidates=(replace(base.candidates[0], energy_j=np.array([1000.0])),),
    )
    answers = FleetEvaluator(problem).evaluate(np.array([[1.0]]))
    assert items_of(answers, 0) == pytest.approx({"rent": 100.0, "energy": 2 * 8760 * 0.1})
