"""Outlooks from figures, histories and intervals, against what is worked out by hand."""

from __future__ import annotations

import math

import pytest

from tokenfleet.errors import SchemaError
from tokenfleet.horizon.outlooks import from_history, from_interval, three_points, together
from tokenfleet.plan.signs import sign_of
from tokenfleet.schema import Outlook, validate


def test_three_points_have_mean_and_spread_of_a_normal() -> None:
    tenth = 1.2815515655446004  # 90 % point of a normal
    rows = three_points("prices", 1 - 0.1 * tenth, 1.0, 1 + 0.1 * tenth, "2027-04")
    mean = sum(row["probability"] * row["prices"] for row in rows)
    spread = sum(row["probability"] * (row["prices"] - mean) ** 2 for row in rows)
    assert mean == pytest.approx(1.0)
    assert math.sqrt(spread) == pytest.approx(0.1, rel=0.01)  # 0.6 * tenth**2 = 0.985
    assert [validate(Outlook, row, "here").prices for row in rows] == [r["prices"] for r in rows]


def test_an_interval_is_wider_at_less_confidence() -> None:
    low, _, high = from_interval("efficiency", 0.8, 1.25, 0.8, "2027-04", name="vr200_nvl72")
    assert low["efficiency"]["vr200_nvl72"] == pytest.approx(0.8)
    assert high["efficiency"]["vr200_nvl72"] == pytest.approx(1.25)
    _, _, wider = from_interval("efficiency", 0.8, 1.25, 0.5, "2027-04")
    # ln 1.25 is 0.674 standard deviations at a half, and 1.2816 at a tenth of either side
    assert wider["efficiency"] == pytest.approx(1.25 ** (1.2815515655 / 0.6744897502))


def test_a_history_of_even_growth_has_one_future() -> None:
    rows = from_history("demand", [1.0, 1.5, 2.25, 3.375], 4, "2027-04", count=3)
    assert [row["demand"] for row in rows] == pytest.approx([1.0, 1.0, 1.0])
    assert sum(row["probability"] for row in rows) == pytest.approx(1.0)


def test_a_history_that_doubles_or_stays_has_both() -> None:
    low, high = from_history("demand", [1, 2, 2, 4, 4], 1, "2027-04", count=2, name="chat")
    assert low["demand"]["chat"] == pytest.approx(1 / 1.5, rel=0.02)
    assert high["demand"]["chat"] == pytest.approx(2 / 1.5, rel=0.02)


def test_combinations_multiply_and_share_no_row() -> None:
    demand = three_points("demand", 0.5, 1.0, 2.0, "2027-04", name="chat")
    other = three_points("demand", 0.5, 1.0, 2.0, "2027-04", name="code")
    rows = together(demand, other)
    assert len(rows) == 9
    assert rows[0]["demand"] == {"chat": 0.5, "code": 0.5}
    assert sum(row["probability"] for row in rows) == pytest.approx(1.0)
    with pytest.raises(SchemaError, match="demand of two outlooks"):
        together(demand, demand)
    with pytest.raises(SchemaError, match="81 combinations"):
        together(demand, demand, demand, demand)


def test_figures_out_of_order_are_refused() -> None:
    with pytest.raises(SchemaError, match="do not ascend"):
        three_points("demand", 2.0, 1.0, 3.0, "2027-04")
    with pytest.raises(SchemaError, match="no interval"):
        from_interval("efficiency", 0.0, 1.0, 0.8, "2027-04")
    with pytest.raises(SchemaError, match="a history of 2 values"):
        from_history("demand", [1.0, 2.0], 4, "2027-04")


def test_an_outlook_says_its_sign() -> None:
    row = {"id": "late", "probability": 0.2, "from": "2027-04", "demand": {"chat": 0.5},
           "prices": 1.1, "delivery_delay_months": {"vr200": 6}}  # fmt: skip
    said = sign_of(validate(Outlook, row, "here"))
    expected = "demand of chat x 0.5, price x 1.1, deliveries of vr200 6 months later"
    assert said == f"{expected}, from 2027-04-01"
    assert sign_of(validate(Outlook, {"id": "base", "probability": 1.0}, "here")) == "all as stated"
