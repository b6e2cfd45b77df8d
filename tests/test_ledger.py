"""Costs cut by systems, routes and workloads: worked out by hand, and adding up on random mixes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from problems import candidate, one_pool, random_problem, workload
from tokenfleet.errors import SchemaError
from tokenfleet.mix.result import Booking
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem_data import (
    ApiData,
    Block,
    OfferData,
    Pool,
    Problem,
    Replicas,
    SiteData,
)

YEAR_H = 8760.0


def planned(problem: Problem) -> Plan:
    """The plan of a problem, proven."""
    return plan_of(solve_mix(problem, SolveOptions(gap=0.0)))


def shared_box() -> Problem:
    """One system of 8 accelerators at 1,000 $ a year, 1 kW idle at 0.1 $/kWh, for two workloads.

    `a` has 4 requests/s of 900 J on replicas of 2 accelerators that serve 2/s: two of them. `b` has
    4 requests/s of 1,800 J on replicas of 4 accelerators that serve 4/s: one of them.
    """
    pool = Pool("p", 0, "box", 8, 1.0, 1.0, pue=1.2, energy_usd_per_kwh_it=0.1)
    return Problem(
        name="shared",
        blocks=(Block(YEAR_H),),
        workloads=(workload("a", [[4.0]]), workload("b", [[4.0]])),
        sites=(SiteData("s"),),
        pools=(pool,),
        offers=(OfferData("o", 0, annual_cost_items_usd={"capex": 1000.0}),),
        candidates=(
            candidate(0, 0, "box", 2, [0.5], energy_j=np.array([900.0])),
            candidate(1, 1, "box", 4, [0.25], energy_j=np.array([1800.0])),
        ),
    )


def test_workloads_pay_their_requests_and_by_accelerator_hours_their_systems() -> None:
    """Both hold 4 of 8 accelerators: half of 1,000 $ and of 876 $ idle energy each. Requests draw
    3.6 and 7.2 kW: 3,153.60 and 6,307.20 $ a year."""
    plan = planned(shared_box())
    a, b = plan.workloads
    assert a.annual_cost_usd == pytest.approx(500.0 + 438.0 + 3153.6)
    assert b.annual_cost_usd == pytest.approx(500.0 + 438.0 + 6307.2)
    assert a.cost_items_usd == pytest.approx({"capex": 500.0, "energy": 438.0 + 3153.6})
    assert (a.gpus, a.load_mean, a.api_share) == (4, pytest.approx(1.0), 0.0)
    tokens = 4.0 * YEAR_H * 3600.0 * 100.0
    assert a.output_tokens_per_year == pytest.approx(tokens)
    assert a.cost_per_mtok_output_usd == pytest.approx(4091.6 / tokens * 1e6)
    assert a.cost_per_mtok_total_usd == pytest.approx(4091.6 / (4 * tokens) * 1e6)


def test_a_replica_that_serves_nothing_is_a_spare_of_its_pool() -> None:
    """Beside the 8 accelerators in use stands a third replica of `a` without a request: its 0.1 kW
    for a year, 87.60 $, is paid by those who use the pool, 43.80 $ each."""
    problem = shared_box()
    empty = candidate(2, 0, "box", 2, [0.5], idle_w=100.0)
    mix = solve_mix(problem, SolveOptions(gap=0.0))
    label = Replicas(0, 0, 2)
    more = replace(
        mix,
        problem=replace(problem, candidates=(*problem.candidates, empty)),
        values={**mix.values, label: 1.0},
        bookings=(*mix.bookings, Booking("energy", label, 87.6)),
        value=mix.value + 87.6,
    )
    a, b = plan_of(more).workloads
    assert a.annual_cost_usd == pytest.approx(500.0 + 438.0 + 3153.6 + 43.8)
    assert b.annual_cost_usd == pytest.approx(500.0 + 438.0 + 6307.2 + 43.8)


def test_a_row_of_systems_has_its_cost_capex_and_energy() -> None:
    """1 kW idle and 10.8 kW of requests are 103,368 kWh of IT energy."""
    problem = shared_box()
    offer = replace(problem.offers[0], capex_usd=3000.0)
    (row,) = planned(replace(problem, offers=(offer,))).systems
    assert row.it_kwh_per_year == pytest.approx(11.8 * YEAR_H)
    assert row.energy_usd_per_kwh_it == pytest.approx(0.1)
    assert row.cost_items_usd == pytest.approx({"capex": 1000.0, "energy": 10336.8})
    assert row.annual_cost_usd == pytest.approx(11336.8)
    assert (row.capex_usd, row.hours_per_year) == (3000.0, YEAR_H)


def test_classes_share_a_replica_by_the_time_they_keep_it_busy() -> None:
    """1 request/s of half a second and 2 of an eighth: the first keeps it busy for two thirds."""
    problem = one_pool([[1.0, 2.0]], gpus=1, usd=300.0)
    quick = replace(problem.candidates[0], load=np.array([0.5, 0.125]))
    plan = planned(replace(problem, candidates=(quick,)))
    assert [row.cost_usd_per_year for row in plan.routing] == pytest.approx([200.0, 100.0])
    assert plan.replicas[0].load_mean == pytest.approx(0.75)


def test_spares_are_paid_by_those_who_use_the_pool() -> None:
    """Two of eight accelerators are used, and a system more stands spare."""
    problem = one_pool([[2.0]])
    plan = planned(replace(problem, pools=(replace(problem.pools[0], reserve=1),)))
    assert plan.systems[0].count == 2
    assert plan.workloads[0].annual_cost_usd == pytest.approx(200.0)
    assert [(row.systems, row.replica_gpus) for row in plan.placement] == [(1, (1, 1)), (1, ())]


def test_an_api_is_paid_by_what_goes_to_it() -> None:
    """One request/s fits into the only system; the other costs 0.001 $ at the API."""
    problem = one_pool([[2.0]], gpus=1)
    offer = replace(problem.offers[0], supply=1.0)
    api = ApiData("api", 0, np.array([0.001]))
    plan = planned(replace(problem, offers=(offer,), apis=(api,)))
    own, sent = plan.routing
    assert own.cost_usd_per_year == pytest.approx(100.0)
    assert sent.cost_usd_per_year == pytest.approx(0.001 * YEAR_H * 3600.0)
    assert plan.workloads[0].api_share == pytest.approx(0.5)


def test_contracted_power_is_paid_by_what_stands_there_or_by_tokens() -> None:
    """The full site goes to its pool, the empty one by output tokens: 100 of 100 and 300 a request.

    Both workloads have a replica of one accelerator in the box: 100 + 500 $ in halves; of 400 $
    contracted where nothing stands the second pays three quarters.
    """
    problem = one_pool([[1.0]], gpus=2)
    two = replace(
        problem,
        workloads=(
            workload("a", [[1.0]]),
            workload("b", [[1.0]], output_tokens=np.array([300.0])),
        ),
        sites=(
            SiteData("s", contracted_power_usd_per_year=500.0),
            SiteData("empty", contracted_power_usd_per_year=400.0),
        ),
        candidates=(candidate(0, 0, "box", 1, [1.0]), candidate(1, 1, "box", 1, [1.0])),
    )
    a, b = planned(two).workloads
    assert a.annual_cost_usd == pytest.approx(50.0 + 250.0 + 100.0)
    assert b.annual_cost_usd == pytest.approx(50.0 + 250.0 + 300.0)
    assert b.cost_items_usd["contracted_power"] == pytest.approx(550.0)


def test_offers_of_one_pool_share_its_energy_by_system_hours() -> None:
    """One system owned, two bought: energy of 3,000 W of requests in thirds."""
    problem = one_pool([[3.0]], gpus=1)
    pool = replace(problem.pools[0], energy_usd_per_kwh_it=0.1)
    owned = OfferData("owned", 0, supply=1.0, annual_cost_items_usd={"staff": 1.0})
    hot = replace(problem.candidates[0], energy_j=np.array([1000.0]))
    plan = planned(
        replace(problem, pools=(pool,), offers=(*problem.offers, owned), candidates=(hot,))
    )
    rows = {row.offer: row for row in plan.systems}
    whole = 3.0 * YEAR_H * 0.1
    assert rows["owned"].cost_items_usd == pytest.approx({"staff": 1.0, "energy": whole / 3})
    assert rows["o"].cost_items_usd == pytest.approx({"capex": 200.0, "energy": whole * 2 / 3})
    assert rows["o"].it_kwh_per_year == pytest.approx(2.0 * YEAR_H)


@pytest.mark.parametrize("seed", range(20))
def test_every_cut_adds_up_on_random_mixes(seed: int) -> None:
    """A `Plan` refuses rows that do not add up; here the sums are formed again."""
    problem = random_problem(seed, classes=2)
    plan = planned(
        replace(
            problem,
            sites=tuple(replace(s, contracted_power_usd_per_year=100.0) for s in problem.sites),
        )
    )
    paid = sum(row.cost_usd_per_year for row in plan.routing)
    assert paid == pytest.approx(plan.annual_cost_usd, rel=1e-9)
    for item, usd in plan.cost_items.items():
        of_workloads = sum(row.cost_items_usd.get(item, 0.0) for row in plan.workloads)
        assert of_workloads == pytest.approx(usd, rel=1e-9)
        if item not in ("api_tokens", "contracted_power"):
            of_systems = sum(row.cost_items_usd.get(item, 0.0) for row in plan.systems)
            assert of_systems == pytest.approx(usd, rel=1e-9)
    tokens = sum(row.output_tokens_per_year for row in plan.routing)
    assert tokens == pytest.approx(plan.tokens_per_year_output, rel=1e-9)
    assert sum(row.output_tokens_per_year for row in plan.workloads) == pytest.approx(tokens)


def test_a_plan_whose_rows_do_not_add_up_is_refused() -> None:
    document = planned(shared_box()).to_json()
    document["systems"][0]["cost_items_usd"]["energy"] += 1.0
    with pytest.raises(SchemaError, match=r"cost_items\.energy: is 10336\.8, and its systems add"):
        Plan.from_json(document, "plan.json")
