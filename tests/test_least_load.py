"""A demand next to nothing is served by a whole replica, and counts as it is once it has grown."""

from __future__ import annotations

from typing import Any

import pytest

import tokenfleet as tf
from scenarios import buy, hall
from tokenfleet.explanation.case import open_case
from tokenfleet.explanation.sweep import parse, points


def scenario(demand: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Replicas of one GPU that serve one request/s, on servers of eight."""
    return {
        "name": "next to nothing",
        "systems": ["h100_sxm_8"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [{"id": "q", "share": 1.0, "input_tokens": 500, "output_tokens": 100}],
                "demand": demand,
            }
        ],
        "sites": [hall()],
        "offers": [buy()],
        "columns": [
            {"workload": "chat", "class": "q", "system": "h100_sxm_8", "gpus": 1, "rate_rps": 1.0,
             "watts": 500}
        ],
        **changes,
    }  # fmt: skip


def servers(plan: tf.Plan) -> int:
    return sum(row.count for row in plan.systems)


@pytest.mark.parametrize("rps", [1e-5, 1e-4, 1e-3, 1.0, 8.0])
def test_one_server_holds_what_takes_less(rps: float) -> None:
    plan = tf.optimize_fleet(scenario({"requests_per_s": rps}))
    assert (plan.status, servers(plan)) == ("optimal", 1)


def test_what_has_grown_takes_no_more_than_it_does() -> None:
    """20 requests/s in the second year take 20 GPUs: three servers."""
    steps = [["2026-10", 1e-4], ["2027-10", 20.0]]
    horizon = {"start": "2026-10", "periods": 2}
    asked = scenario(
        {"requests_per_s": 1e-4, "requests_per_s_by_date": steps},
        horizon=horizon,
        finance={"cost_of_capital": 0.08, "life_years": 4, "residual_fraction": 0.2},
    )
    later = tf.optimize_fleet(asked, period="2027-10")
    assert (servers(tf.optimize_fleet(asked)), servers(later)) == (1, 3)


def test_a_steady_horizon_of_next_to_nothing_is_its_year() -> None:
    asked = scenario({"requests_per_s": 1e-5}, horizon={"start": "2026-10", "periods": 2})
    assert servers(tf.optimize_fleet(asked)) == 1


def test_a_sweep_of_what_has_grown_takes_no_more_than_it_does() -> None:
    """0.0001 requests/s count as a thousandth of a replica: 200,000 times as many are 20 GPUs, and
    ten times as many are still next to nothing."""
    case = open_case(scenario({"requests_per_s": 1e-4}))
    rows = [*points(case, [parse(case, "demand=10,200000")])]
    assert [(row.gpus, row.feasible) for row in rows] == [(8, True), (24, True)]
