"""What must hold of plans over time, whatever the numbers: tried on random small trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizon_brute import random_tree
from horizon_instance import EXACT, Instance
from tokenfleet.mix.horizon import measures
from tokenfleet.mix.horizon.combine import period_weight
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.problem_data import Horizon
from tokenfleet.verify.horizon import cash_by_node

SEEDS = st.integers(min_value=0, max_value=10_000)
TRIED = settings(max_examples=25, deadline=None, derandomize=True)


def solved(data: dict[str, Any], risk: Risk | None = None) -> HorizonResult:
    return solve_horizon("case", Instance(data).horizon(), EXACT, risk)


def no_dearer(one: float, other: float) -> bool:
    return one <= other + 1e-6 * max(1.0, abs(other))


def with_offer(data: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    """The instance with some fields of one offer changed."""
    offers = [row | changes if row["id"] == name else row for row in data["offers"]]
    return data | {"offers": offers}


@TRIED
@given(SEEDS, st.integers(0, 2))
def test_later_power_never_costs_less(seed: int, late: int) -> None:
    """Every node has its power, or that of the period before where it comes late."""
    data = random_tree(seed) | {"power_kw": 7.0}
    now = [node.get("power_factor", 1.0) for node in data["nodes"]]
    before = [
        min(now[u], now[node["parent"]]) if 0 < node["period"] <= late else now[u]
        for u, node in enumerate(data["nodes"])
    ]
    delayed = [node | {"power_factor": f} for node, f in zip(data["nodes"], before, strict=True)]
    assert no_dearer(solved(data).npv_usd, solved(data | {"nodes": delayed}).npv_usd)


@TRIED
@given(SEEDS)
def test_a_longer_lead_never_costs_less(seed: int) -> None:
    """At one price for all dates: else a later delivery is a later payment of a known price, which
    may be worth waiting for."""
    data = with_offer(random_tree(seed) | {"discount_rate": 0.0}, "buy", price=80.0)
    data["nodes"] = [{k: v for k, v in n.items() if k != "price_factor"} for n in data["nodes"]]
    usd = [solved(with_offer(data, "buy", lead_periods=lead)).npv_usd for lead in (0, 1, 2)]
    assert no_dearer(usd[0], usd[1]) and no_dearer(usd[1], usd[2])


@TRIED
@given(SEEDS)
def test_knowing_never_costs_more_and_planning_for_one_never_less(seed: int) -> None:
    """Wait and see <= plan <= what the mean future's orders cost."""
    horizon = Instance(random_tree(seed)).horizon()
    plan = solve_horizon("case", horizon, EXACT).npv_usd
    known = measures.wait_and_see(horizon, EXACT).least
    mean = sum(horizon.nodes[leaf].probability * usd for leaf, usd in known.items())
    assert no_dearer(mean, plan)
    orders = measures.orders_of_chain(horizon, measures.mean_plan(horizon, EXACT))
    eev = measures.with_orders(horizon, orders, EXACT)
    assert eev is None or no_dearer(plan, eev.npv_usd)


@TRIED
@given(SEEDS)
def test_news_that_comes_earlier_never_costs_more(seed: int) -> None:
    """A tree that splits at its root knows more than one that splits later."""
    horizon = Instance(random_tree(seed)).horizon()
    assert no_dearer(known_first(horizon), solve_horizon("case", horizon, EXACT).npv_usd)


def known_first(horizon: Horizon) -> float:
    """What the plan costs that knows the second period's news in the first."""
    total = 0.0
    for first in horizon.children[0]:
        share = horizon.nodes[first].probability
        kept = [0, *(u for u in horizon.below(first))]
        place = {u: i for i, u in enumerate(kept)}
        nodes = tuple(
            replace(
                horizon.nodes[u],
                parent=place.get(horizon.nodes[u].parent, -1),
                probability=1.0 if u == 0 else horizon.nodes[u].probability / share,
            )
            for u in kept
        )
        plan = solve_horizon("case", replace(horizon, nodes=nodes), EXACT)
        total += share * plan.npv_usd
    return total


@TRIED
@given(SEEDS, st.sampled_from([0.0, 0.5, 0.8]))
def test_a_tail_lies_between_mean_and_worst(seed: int, alpha: float) -> None:
    """Weight 0 is the mean, and the objective grows with the weight; all futures are a tail of
    alpha 0."""
    data = random_tree(seed)
    mean = solved(data).npv_usd
    values = [solved(data, Risk("cvar", weight, alpha)).value for weight in (0.0, 0.5, 1.0)]
    assert values[0] == pytest.approx(mean, rel=1e-6, abs=1e-6)
    assert no_dearer(values[0], values[1]) and no_dearer(values[1], values[2])
    if alpha == 0.0:
        assert values[2] == pytest.approx(mean, rel=1e-6, abs=1e-6)


@TRIED
@given(SEEDS)
def test_what_is_worth_more_at_the_end_costs_less(seed: int) -> None:
    data = random_tree(seed)
    usd = [solved(data | {"end_value_share": share}).npv_usd for share in (1.0, 0.5, 0.0)]
    assert no_dearer(usd[0], usd[1]) and no_dearer(usd[1], usd[2])


@TRIED
@given(SEEDS, st.floats(0.0, 20.0), st.integers(0, 2))
def test_what_must_stay_or_costs_to_leave_never_costs_less(
    seed: int, removal: float, stay: int
) -> None:
    data = random_tree(seed)
    bound = with_offer(data, "buy", stay_periods=stay, removal_usd=removal)
    assert no_dearer(solved(data).npv_usd, solved(bound).npv_usd)


@TRIED
@given(SEEDS, st.floats(0.0, 20.0))
def test_cash_is_worth_what_the_economic_view_says(seed: int, removal: float) -> None:
    """Prices, sales and end values at their dates, and capital by period with what runs."""
    data = with_offer(random_tree(seed), "buy", removal_usd=removal)
    result = solved(data)
    horizon, cash = result.horizon, cash_by_node(result.problem, result.values)
    total = sum(node.probability * cash[u].npv for u, node in enumerate(horizon.nodes))
    assert total == pytest.approx(result.npv_usd, rel=1e-9, abs=1e-7)
    economic = at_start(data)
    for u, node in enumerate(horizon.nodes):
        weight = node.probability * period_weight(horizon, node.period)
        economic += weight * (cash[u].yearly + cash[u].rental + cash[u].capital)
        rest = cash[u].beyond
        if rest:  # past the end: in no period of the economic view
            seen = cash[u].npv - weight / node.probability * (cash[u].yearly + cash[u].rental)
            discount = (1.0 + horizon.rate) ** -horizon.starts[node.period]
            last = (1.0 + horizon.rate) ** -horizon.starts[node.period + 1]
            paid = (cash[u].bought + cash[u].sold) * discount + cash[u].end * last
            economic += node.probability * (seen - paid)
    assert economic == pytest.approx(result.npv_usd, rel=1e-9, abs=1e-7)


def at_start(data: dict[str, Any]) -> float:
    """What stood there at the start would bring at once: it was paid for before."""
    (old,) = [row for row in data["offers"] if row["kind"] == "owned"]
    return -sum(count * old["market_price"] * old["resale"][age] for age, count in old["ages"])
