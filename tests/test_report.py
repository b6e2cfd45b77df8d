"""The report of a plan: one file that says what the plan says, and nothing that it does not."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tokenfleet.report import ages
from tokenfleet.report.numbers import (
    count,
    difference,
    digits,
    duration,
    exact_dollars,
    power,
    short_dollars,
)

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"


# Figures


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0.0, "$0"),
        (0.42, "$0.420"),
        (999.4, "$999"),
        (999.6, "$1.00k"),
        (323_540.28, "$324k"),
        (-13_385.6, "−$13.4k"),
        (999_499.0, "$999k"),
        (999_600.0, "$1.00M"),
        (1.2345e9, "$1.23B"),
        (1e200, "over $999Qd"),
    ],
)
def test_dollars_have_three_digits(usd: float, text: str) -> None:
    assert short_dollars(usd) == text


def test_figures_have_units_that_suit_them() -> None:
    space = "\u00a0"
    assert exact_dollars(-13_385.6) == "−$13,386"
    assert [power(kw) for kw in (0.0, 0.98, 50.1, 4992.2, 1.2e6, None)] == [
        f"0{space}kW", f"980{space}W", f"50.1{space}kW", f"4.99{space}MW", f"1.20{space}GW", "–",
    ]  # fmt: skip
    assert [duration(ms) for ms in (40.0, 2500.0, 190e3)] == [
        f"40.0{space}ms", f"2.50{space}s", f"3.17{space}min",
    ]  # fmt: skip
    assert [count(n) for n in (12, 103_438_080_000.0, 1.4658e12)] == [
        "12", f"103{space}billion", f"1.47{space}trillion",
    ]  # fmt: skip
    assert [difference(d) for d in (0.2198, -0.041, 0.0)] == ["+22%", "−4.1%", "±0%"]
    assert [digits(x) for x in (0.01234, 1.234, 1234.0, -0.5)] == [
        "0.0123", "1.23", "1,234", "−0.500",
    ]  # fmt: skip


# Age of prices


def test_a_price_is_at_least_as_old_as_its_source_says() -> None:
    on = date(2026, 7, 15)
    assert ages.age_days("2026-07-01", on) == 14
    assert ages.age_days("2026-06", on) == 15  # of the 30th
    assert ages.age_days("2025", on) == 196  # of 2025-12-31
    assert ages.age_days("2026-08", on) == 0  # not below
    assert ages.age_days(None, on) is None
    assert ages.age_days("last week", on) is None
    assert ages.age_days("2026-13", on) is None
