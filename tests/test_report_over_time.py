"""A plan over periods and outlooks on its page."""

from __future__ import annotations

import pytest

import tokenfleet as tf
from scenarios import buy
from test_horizon_scenario import NEWS, over, scenario
from test_report import ACTIVE, DAY, Reader
from tokenfleet import Plan
from tokenfleet.report.numbers import short_dollars
from tokenfleet.report.page import over_time
from tokenfleet.report.page.render import html


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two years, the second with twice or half the demand; orders take a year."""
    data = scenario(horizon=over(2), outlooks=NEWS)
    data["offers"] = [
        buy(lead_months=3),
        {"id": "cloud", "system": "h100_sxm_8", "kind": "on_demand", "price_usd_per_gpu_h": 2.5},
    ]
    return tf.optimize_fleet(data)


def test_a_page_shows_orders_periods_and_futures(plan: Plan) -> None:
    assert plan.horizon is not None
    page = html(plan, DAY)
    read = Reader(page)
    for label in ("What to order, and when", "Over time", "How bad it gets"):
        assert label in read.text
    assert "from 2026-10 to 2028-10" in read.text
    assert f"{short_dollars(plan.horizon.npv_usd)} worth today" in read.text
    now = [order for order in plan.horizon.orders if order.decided == "now"]
    assert f"{len(now)} order" in read.text
    for row in plan.horizon.outlooks:
        assert row.outlook in read.text and short_dollars(row.npv_usd) in read.text
    assert read.text.count("2026-10") > 3  # orders, and the axes of the charts
    assert not ACTIVE & set(read.elements)


def test_cash_adds_up_on_the_page(plan: Plan) -> None:
    """The last sum of the table is the mean of all cash, undiscounted, and the last point of the
    mean's line."""
    assert plan.horizon is not None
    cash = sum(
        p.probability * (p.bought_usd - p.sold_usd + p.paid_usd) for p in plan.horizon.periods
    )
    dots = Reader(html(plan, DAY)).text
    assert f"{short_dollars(cash)} " in dots.split("Until then, USD")[1]
    mean = over_time.cash(plan.horizon).series[-1]
    assert mean.name == "mean of the outlooks"
    assert mean.points[-1][1] == pytest.approx(cash)
    ends = [s.points[-1][1] for s in over_time.cash(plan.horizon).series[:-1]]
    chances = [o.probability for o in plan.horizon.outlooks]
    assert sum(p * usd for p, usd in zip(chances, ends, strict=True)) == pytest.approx(cash)


def test_one_future_has_no_section_of_futures() -> None:
    plan = tf.optimize_fleet(scenario(horizon=over(1)))
    text = Reader(html(plan, DAY)).text
    assert "How bad it gets" not in text
    assert "1 order, all decided now" in text
