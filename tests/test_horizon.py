"""Plans over periods and outlooks against figures worked out by hand, and against trying all."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from horizon_brute import Brute, random_tree
from horizon_instance import EXACT, Instance, answer, expected_least
from horizon_scip import differences, random_instance
from tokenfleet import _core
from tokenfleet.catalog import load_catalog
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.mix.horizon import measures
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.risk import Risk, set_risk
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.model import build, frame_of, scale_limit
from tokenfleet.problem_data import Held, Horizon, Ordered
from tokenfleet.verify.horizon import cash_by_node, verify_horizon

OWNED = -1  # order of the first row of what was owned at the start

INSTANCES = Path(__file__).parents[2] / "shared" / "horizon" / "instances"
FILES = sorted(INSTANCES.glob("*.json"))
NUMBERS = {
    "expected_npv_usd", "levelised_usd_per_year", "buy_now", "wait_and_see_npv", "evpi", "eev",
    "vss", "mean_scenario_buys", "min_max_regret", "min_max_regret_buys",
    "regret_matrix_own_plans", "own_plans", "mean_cvar",
}  # fmt: skip


def chain(demands: list[float], offers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """An instance without outlooks, of years, with systems of one unit."""
    count = len(demands)
    data = {
        "discount_rate": 0,
        "period_years": [1] * count,
        "systems": [{"id": "A", "capacity": 1}],
        "offers": offers,
        "nodes": [
            {"period": t, "parent": t - 1, "prob": 1, "demand": demand}
            for t, demand in enumerate(demands)
        ],
    }
    return data | more


def horizon_of(data: dict[str, Any]) -> Horizon:
    return Instance(data).horizon()


def solved(data: dict[str, Any], risk: Risk | None = None) -> HorizonResult:
    """The plan of an instance, checked."""
    result = solve_horizon("case", horizon_of(data), EXACT, risk)
    assert result.status == "optimal"
    assert not verify_horizon(result.problem, result.values, result.npv_usd)
    return result


@pytest.mark.skipif(not FILES, reason="no instances beside this checkout")
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_small_instances_have_their_exact_answers(file: Path) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    found, expected = answer(data), data["expected"]
    assert found["status"] == expected["status"]
    for key in NUMBERS & expected.keys():
        if key == "mean_cvar":
            for own, row in zip(found[key], expected[key], strict=True):
                assert own == pytest.approx(row, rel=1e-6)
        elif key == "regret_matrix_own_plans":
            for own, row in zip(found[key], expected[key], strict=True):
                assert own == pytest.approx(row, rel=1e-6, abs=1e-6)
        else:
            assert found[key] == pytest.approx(expected[key], rel=1e-6), key


@pytest.mark.parametrize("seed", range(20))
def test_small_random_trees_cost_what_trying_everything_costs(seed: int) -> None:
    data = random_tree(seed)
    assert solved(data).npv_usd == pytest.approx(Brute(data).least(), rel=1e-7, abs=1e-6)


# Price 40,000 $, four years, a fifth left, 8 %, 1,000 $ a year: two systems hold a demand of 7.
BOOK = {
    "id": "buy", "kind": "buy", "system": "A", "price": 40_000, "life_periods": 4,
    "run_usd_per_year": 1_000, "resale": [1],
}  # fmt: skip


@pytest.mark.parametrize("years", [[1], [1, 1, 1], [0.25] * 4, [0.5, 1.5]])
def test_equal_periods_cost_what_one_year_costs(years: list[float]) -> None:
    data = chain(
        [7] * len(years),
        [BOOK],
        systems=[{"id": "A", "capacity": 4}],
        period_years=years,
        discount_rate=0.08,
    )
    horizon = replace(horizon_of(data), counts_periods=False)
    for node in horizon.nodes:
        (offer,) = node.problem.offers
        assert offer.stock is not None
        stock = replace(offer.stock, life=4.0, residual_fraction=0.2, resale=())
        object.__setattr__(node.problem, "offers", (replace(offer, stock=stock),))
    result = solve_horizon("book", horizon, EXACT)
    assert result.levelised_usd_per_year == pytest.approx(22_602.931485058518, rel=1e-12)


@pytest.mark.parametrize("length", [1, 0.5])
def test_an_instance_without_resale_has_the_annuitys(length: float) -> None:
    """Four years of 30,192.08 $ each, or of two halves, and what runs."""
    offer = BOOK | {"life_periods": int(4 / length)}
    del offer["resale"]
    data = chain([4, 4], [offer], systems=[{"id": "A", "capacity": 4}], discount_rate=0.08,
                 period_years=[length] * 2)  # fmt: skip
    annuity = 40_000 * 0.08 / (1 - 1.08**-4)
    assert solved(data).levelised_usd_per_year == pytest.approx(annuity + 1_000, rel=1e-12)


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"inflation": 0.02}, "instance.inflation"),
        ({"systems": [{"id": "A", "capacity": 1, "racks": 1}]}, r"systems\[0\].racks"),
        ({"offers": [{**BOOK, "deposit": 0.3}]}, r"offers\[0\].deposit"),
        ({"offers": [{**BOOK, "kind": "lease"}]}, r"offers\[0\].kind"),
        ({"offers": [{**BOOK, "kind": "rent", "run_usd_per_year": [1, 2]}]}, "goes by age|resale"),
        ({"offers": [{**BOOK, "resale": [1, 1.2]}]}, "more old than new"),
    ],
)  # fmt: skip
def test_what_an_instance_says_is_honoured_or_refused(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(SchemaError, match=place):
        Instance(chain([1], [BOOK]) | changed)


def test_a_market_curve_makes_one_year_dear() -> None:
    offer = {"id": "buy", "kind": "buy", "system": "A", "price": 100_000, "life_periods": 5,
             "resale": [1, "0.62"]}  # fmt: skip
    result = solved(chain([1], [offer], discount_rate=0.1))
    assert result.npv_usd == pytest.approx(43_636.363636363636)
    assert result.levelised_usd_per_year == pytest.approx(48_000.0)


@pytest.mark.parametrize(("beyond", "usd", "terms"), [(False, 42, 2), (True, 51, 1)])
def test_what_runs_past_the_horizon_decides_the_term(beyond: bool, usd: int, terms: int) -> None:
    offers = [
        {"id": "one", "kind": "rent", "system": "A", "price": 9, "term_periods": 1},
        {"id": "two", "kind": "rent", "system": "A", "price": 6, "term_periods": 2},
        {"id": "od", "kind": "on_demand", "system": "A", "price": 14},
    ]
    result = solved(chain([1, 2, 4], offers, charge_beyond_horizon=beyond))
    assert result.npv_usd == pytest.approx(usd)
    last = result.values.get(Ordered(2, 1 if terms == 2 else 0))
    assert last == 3


def test_wait_for_the_better_system() -> None:
    offers = [
        {"id": "old", "kind": "buy", "system": "old", "price": [60, 50], "life_periods": 3,
         "resale": [1, 0.5, 0.25], "run_usd_per_year": 5},
        {"id": "new", "kind": "buy", "system": "new", "price": [0, 80], "life_periods": 3,
         "resale": [1, 0.7, 0.4], "run_usd_per_year": 6, "from": 1},
        {"id": "od", "kind": "on_demand", "system": "old", "price": 34},
    ]  # fmt: skip
    systems = [{"id": "old", "capacity": 2}, {"id": "new", "capacity": 4}]
    result = solved(chain([4, 8], offers, systems=systems))
    assert result.npv_usd == pytest.approx(2 * 34 + 2 * (80 - 56 + 6))


def test_old_systems_leave_for_power() -> None:
    offers = [
        {"id": "own", "kind": "owned", "system": "old", "market_price": 20, "ages": [[1, 2]],
         "life_periods": 3, "resale": [1, 0.5, 0.25, 0.1], "run_usd_per_year": 2},
        {"id": "new", "kind": "buy", "system": "new", "price": [60, 54], "life_periods": 3,
         "resale": [1, 0.6, 0.4, 0.2], "run_usd_per_year": 3},
        {"id": "api", "kind": "api", "price": 30},
    ]  # fmt: skip
    systems = [{"id": "old", "capacity": 1, "kw": 8}, {"id": "new", "capacity": 3, "kw": 10}]
    result = solved(chain([3, 7], offers, systems=systems, power_kw=[18, 30]))
    assert result.npv_usd == pytest.approx(58.6)
    assert result.values.get(Held(OWNED, 0, 0), 0.0) == 1.0  # one old system is sold at once
    cash = cash_by_node(result.problem, result.values)
    assert cash[0].sold == pytest.approx(-10.0)
    assert cash[0].bought == pytest.approx(60.0)
    assert sum(part.npv for part in cash.values()) == pytest.approx(58.6)


# Order n now at 10, demand 1 or 3 with probability 1/2, on demand at 15.
@pytest.mark.parametrize(
    ("removal", "stay", "usd"), [(0, 0, 5.0), (2, 0, 7.0), (3, 0, 7.5), (0, 2, 7.5), (0, 1, 5.0)]
)
def test_a_system_leaves_when_it_may_and_when_it_pays(removal: int, stay: int, usd: float) -> None:
    """Bought for 10, it brings 5 after a year, less its removal, and is worth 2.5 at the end."""
    buy = {"id": "buy", "kind": "buy", "system": "A", "price": [10, 99], "life_periods": 3,
           "resale": [1, 0.5, 0.25], "removal_usd": removal, "stay_periods": stay}  # fmt: skip
    result = solved(chain([1, 0], [buy]))
    assert result.npv_usd == pytest.approx(usd)
    assert sum(cash.npv for cash in cash_by_node(result.problem, result.values).values()) == (
        pytest.approx(usd)
    )


@pytest.mark.parametrize(("change", "usd"), [(0, 12.5), (2, 14.5), (3, 15.0)])
def test_a_layout_that_comes_up_later_is_paid_for(change: int, usd: float) -> None:
    """A second replica is brought up when it is needed, or runs from the start."""
    buy = {"id": "buy", "kind": "buy", "system": "A", "price": 10, "life_periods": 3,
           "resale": [1, 0.5, 0.25]}  # fmt: skip
    horizon = replace(horizon_of(chain([1, 2], [buy])), change_usd_per_gpu=float(change))
    result = solve_horizon("change", horizon, EXACT)
    assert result.npv_usd == pytest.approx(usd)
    assert not verify_horizon(result.problem, result.values, usd)
    assert verify_horizon(result.problem, result.values, usd + 1.0)


def test_old_systems_pay_to_be_taken_out() -> None:
    """One is worth 20 at once, 12 after a year and 4 at the end; a rented one costs 9."""
    old = {"id": "old", "kind": "owned", "system": "A", "ages": [[0, 1]], "market_price": 20,
           "life_periods": 9, "resale": [1, 0.6, 0.2], "removal_usd": 3}  # fmt: skip
    rent = {"id": "od", "kind": "on_demand", "system": "A", "price": 9}
    kept = solved(chain([1, 1], [old, rent]))
    assert kept.npv_usd == pytest.approx(min(-4, 9 - 9, 18 - 17))
    gone = solved(chain([0, 0], [old, rent]))
    assert gone.npv_usd == pytest.approx(-17)


def test_owned_systems_that_must_stay_are_kept() -> None:
    """Seven that nobody needs: each costs 1 a year and is worth less with age."""
    old = {"id": "old", "kind": "owned", "system": "A", "ages": [[0, 7]], "market_price": 3,
           "life_periods": 5, "resale": [1, 0.9, 0.8], "run_usd_per_year": 1}  # fmt: skip
    data = chain([1, 1], [old])
    assert solved(data).npv_usd == pytest.approx(-18 + 2 - 0.8 * 3)  # six are sold at once
    old["stay_periods"] = 1
    assert solved(data).npv_usd == pytest.approx(7 - 6 * 0.9 * 3 + 1 - 0.8 * 3)
    old["stay_periods"] = 2
    assert solved(data).npv_usd == pytest.approx(14 - 7 * 0.8 * 3)


def two_futures() -> dict[str, Any]:
    return {
        "discount_rate": 0,
        "period_years": [1, 1],
        "systems": [{"id": "A", "capacity": 1}],
        "offers": [
            {"id": "buy", "kind": "buy", "system": "A", "price": 10, "life_periods": 1,
             "resale": [1, 0], "lead_periods": 1, "max_per_period": [5, 0]},
            {"id": "od", "kind": "on_demand", "system": "A", "price": 15},
        ],
        "nodes": [
            {"period": 0, "parent": -1, "prob": 1, "demand": 0},
            {"period": 1, "parent": 0, "prob": "1/2", "demand": 1},
            {"period": 1, "parent": 0, "prob": "1/2", "demand": 3},
        ],
    }  # fmt: skip


def test_an_order_before_the_news_is_one_number() -> None:
    result = solved(two_futures())
    assert result.npv_usd == pytest.approx(25.0)
    assert result.values[Ordered(0, 0)] == 1.0
    assert dict(result.npv_by_leaf) == pytest.approx({1: 10.0, 2: 40.0})


def test_measures_of_two_futures_by_hand() -> None:
    found = answer({"instance": two_futures(), "expected": {"mean_cvar": [
        {"omega": 1, "alpha": 0.5}, {"omega": 0.5, "alpha": 0.5}]}})  # fmt: skip
    assert found["evpi"] == pytest.approx(5.0)
    assert found["vss"] == pytest.approx(2.5)
    assert found["mean_scenario_buys"] == 2
    assert [row["buy_now"] for row in found["mean_cvar"]] == [3, 3]
    assert [row["objective"] for row in found["mean_cvar"]] == pytest.approx([30.0, 30.0])
    horizon = horizon_of(two_futures())
    waits = measures.with_orders(horizon, measures.no_orders(horizon), EXACT)
    assert waits is not None and waits.npv_usd == pytest.approx(30.0)  # on demand alone: 15 or 45
    # Largest regret of n = 1, 2, 3: 10, 10, 20.
    assert found["min_max_regret"] == pytest.approx(10.0)


def test_a_tail_of_weight_zero_is_the_mean() -> None:
    assert solved(two_futures(), Risk("cvar", 0.0, 0.9)).npv_usd == pytest.approx(25.0)


def test_equal_branches_are_the_chain() -> None:
    data = two_futures()
    for node in data["nodes"][1:]:
        node["demand"] = 3
    assert solved(data).npv_usd == pytest.approx(30.0)
    horizon = horizon_of(data)
    known = measures.wait_and_see(horizon, EXACT)
    assert expected_least(horizon, known) == pytest.approx(30.0)


def test_a_chance_of_unmet_demand_is_kept() -> None:
    data = two_futures() | {"shortfall_usd_per_unit_year": 1.0}
    data["nodes"][1]["demand"] = 2
    assert solved(data).npv_usd == pytest.approx(2.5)  # nothing is bought, all is short
    half = solved(data, Risk(most_unmet=0.5))
    assert half.npv_usd == pytest.approx(0.5 * 2 * 15 + 0.5 * 3 * 1)
    assert solved(data, Risk(most_unmet=0.0)).npv_usd == pytest.approx(27.5)


@pytest.mark.parametrize("seed", range(4))
def test_more_of_anything_never_costs_more(seed: int) -> None:
    data = random_tree(seed)
    least = solved(data).npv_usd + 1e-9
    buy = data["offers"][0]
    later = [{**buy, "lead_periods": buy["lead_periods"] + 1}, *data["offers"][1:]]
    assert solved(data | {"offers": later}).npv_usd >= least - 1e-6
    assert solved(data | {"power_kw": 1000.0}).npv_usd <= least + 1e-6
    assert solved(data | {"end_value_share": 1.0}).npv_usd <= least + 1e-6
    horizon = horizon_of(data)
    known = measures.wait_and_see(horizon, EXACT)
    assert expected_least(horizon, known) <= least + 1e-6


def test_infeasible_names_the_period_and_what_is_short() -> None:
    offer = {"id": "buy", "kind": "buy", "system": "A", "price": 10, "life_periods": 3,
             "resale": [1, 0.5, 0.2, 0]}  # fmt: skip
    data = chain([2, 5], [offer], systems=[{"id": "A", "capacity": 1, "kw": 10}], power_kw=[20, 30])
    with pytest.raises(InfeasibleError, match=r"period 1, node 1: site site: power short by 20 kW"):
        solve_horizon("short", horizon_of(data), EXACT)


def test_the_check_sees_what_is_wrong() -> None:
    result = solved(two_futures())
    problem, values = result.problem, dict(result.values)
    assert verify_horizon(problem, values, result.npv_usd + 1.0)
    assert verify_horizon(problem, values | {Ordered(0, 0): 2.0})  # more than is said to stand
    assert verify_horizon(problem, values | {Held(0, 2, 0): 5.0, Ordered(0, 0): 9.0})
    horizon = result.horizon
    nodes = (*horizon.nodes[:2], replace(horizon.nodes[2], probability=0.4))
    wrong = replace(problem, horizon=replace(horizon, nodes=nodes))
    assert any(v.rule == "probability" for v in verify_horizon(wrong, values))


def test_weights_telescope() -> None:
    cuts = [0.0, 0.3, 1.1, 2.0, 3.7]
    total = sum(_core.flow_weight(0.07, a, b) for a, b in itertools.pairwise(cuts))
    assert total == pytest.approx(_core.flow_weight(0.07, 0.0, 3.7), rel=1e-14)


def test_what_is_published_over_time_has_source_and_date() -> None:
    rows = load_catalog().timeline
    assert {row.what for row in rows} >= {"rental", "resale", "lead", "available", "price", "power"}
    assert all(row.source and row.as_of for row in rows)
    blank = [row for row in rows if row.low is row.typical is row.high is None]
    assert {row.what for row in blank} <= {"available", "maturity"}
    (peak,) = [r for r in rows if r.subject == "h100" and r.as_of == "2026-03"]
    assert peak.typical == 2.35


@pytest.mark.parametrize("seed", [4, 11, 17])
def test_every_measure_is_what_another_model_in_another_solver_says(seed: int) -> None:
    pytest.importorskip("pyscipopt")
    assert not differences(random_instance(seed))


@pytest.mark.parametrize("seed", range(20, 26))
def test_scip_finds_the_same_cost(seed: int, tmp_path: Path) -> None:
    """Another solver on the same model: what the brute force judged is the model, not HiGHS."""
    scip = pytest.importorskip("pyscipopt")
    problem = combined("scip", horizon_of(random_tree(seed)))
    m = build(problem, frame=frame_of(problem, scale_limit(problem), every_system=True))
    set_risk(m, Risk())
    m.prob.writeMPS(str(tmp_path / "model.mps"))
    other = scip.Model()
    other.hideOutput()
    other.readProblem(str(tmp_path / "model.mps"))
    other.optimize()
    found = solve_horizon("scip", problem.horizon, EXACT)  # type: ignore[arg-type]
    value = other.getObjVal() + m.prob.objective.constant
    assert found.value == pytest.approx(value, rel=1e-6, abs=1e-6)
