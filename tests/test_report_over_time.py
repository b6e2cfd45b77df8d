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
from tokenfleet.report.redact import redacted


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
    assert f"{plan.horizon.levelised_usd_per_year:,.0f} USD a year levelised" in repr(plan)
    for row in plan.horizon.outlooks:
        assert row.outlook in read.text and short_dollars(row.npv_usd) in read.text
        assert row.sign and row.sign in read.text
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


def test_ten_outlooks_have_a_page(plan: Plan) -> None:
    """The dearest and the cheapest are named, the others are grey; the page stays small."""
    assert plan.horizon is not None
    first = plan.horizon.periods[0].model_copy(update={"outlook": None, "probability": 1.0})
    last = plan.horizon.periods[-1]
    rows = [first]
    for i in range(10):
        change = {
            "period": f"{last.period.split(' ')[0]} o{i}", "outlook": f"o{i}", "probability": 0.1,
            "after": first.period, "paid_usd": 1000.0 * (i + 1),
        }  # fmt: skip
        rows.append(last.model_copy(update=change))
    one = plan.horizon.outlooks[0]
    outlooks = [one.model_copy(update={"outlook": f"o{i}", "probability": 0.1}) for i in range(10)]
    horizon = plan.horizon.model_copy(update={"periods": tuple(rows), "outlooks": tuple(outlooks)})
    lines = over_time.cash(horizon).series
    named = [s.name for s in lines if s.name]
    assert named == ["8 other outlooks", "o9 (the most)", "o0 (the least)", "mean of the outlooks"]
    assert len(lines) == 11
    ends = [s.points[-1][1] for s in lines]
    assert max(ends[:-1]) - min(ends[:-1]) == pytest.approx(9000.0)
    page = html(plan.model_copy(update={"horizon": horizon}), DAY)
    assert len(page.encode()) < 300_000
    assert not ACTIVE & set(Reader(page).elements)


def test_passed_on_it_names_no_outlook_and_no_offer(plan: Plan) -> None:
    """Periods and orders carry the names of outlooks; what to do now is told without dollars."""
    data = scenario(horizon=over(2), outlooks=NEWS)
    data["offers"] = [
        {"id": "secret-lease", "system": "h100_sxm_8", "kind": "rent", "term_years": 1,
         "price_usd_per_gpu_h": 1.9},
    ]  # fmt: skip
    data["outlooks"] = [{**row, "id": f"secret-{row['id']}"} for row in NEWS]
    given = tf.optimize_fleet(data)
    assert given.horizon is not None
    page = html(redacted(given), DAY)
    assert "secret" not in page and "outlook 1" in page
    assert "sign 2 x h100_sxm_8 (offer 1) at site 1 by 2026-10-01." in page
    assert "secret" not in str(redacted(given).to_json())
    assert not any(row.sign for row in redacted(given).horizon.outlooks)  # type: ignore[union-attr]
    assert redacted(given).horizon.npv_usd != given.horizon.npv_usd  # type: ignore[union-attr]
