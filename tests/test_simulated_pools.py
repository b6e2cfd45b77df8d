"""Plans whose prompts are read in one pool and answered in another, on the simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import tokenfleet as tf
from test_simulation import LIGHT, scenario

Json = dict[str, Any]


def apart(ttft_ms: float, tpot_ms: float, requests_per_s: float) -> Json:
    """Long prompts, for which it is worth while to read them apart."""
    own = scenario(
        slos=[
            {"metric": "ttft", "percentile": "p95", "limit_ms": ttft_ms},
            {"metric": "tpot", "percentile": "p95", "limit_ms": tpot_ms},
        ],
        demand={"requests_per_s": requests_per_s},
    )
    own["workloads"][0]["classes"][0]["input_tokens"] = 6000
    own["search"]["disaggregate"] = True
    own["sites"][0]["power_kw"] = 2000
    return own


def test_pools_of_one_role_are_simulated_as_one_fleet() -> None:
    own = apart(500, 8, 300)
    plan = tf.optimize_fleet(own)
    assert {r.role for r in plan.replicas} >= {"prefill", "decode"}
    found = tf.simulate(plan, own, settings=tf.SimulationSettings(requests=3000, replications=3))
    (fleet,) = found.fleets
    assert fleet["classes"][0]["finished"] > 0 and not fleet["unstable_replications"]
    assert 0.95 < fleet["classes"][0]["attainment"] <= 1.0
    limits = fleet["classes"][0]["limits"]
    assert [row["metric"] for row in limits] == ["ttft", "tpot"]
    assert found.held == all(row["verdict"] != "failed" for row in limits)
    assert [row["role"] for row in fleet["groups"]] == [r.role for r in plan.replicas]
    # All decode lanes share the load: as much of them is used as the load asks.
    for row in fleet["groups"]:
        assert 0.2 < row["utilisation"] < 1.0


def test_pools_that_hold_cost_nothing_more() -> None:
    own = apart(500, 8, 300)
    told = tf.optimize_fleet(own, verify="simulate", simulation=LIGHT).verification
    assert told is not None and told.holds is True and told.price_of_certainty_usd == 0
    assert [r.groups for r in told.rounds] == [1]


def test_the_pool_at_fault_is_tightened_until_the_limits_hold() -> None:
    """Bursts, of which the formulas know nothing, break the first plan."""
    own = apart(500, 8, 300)
    settings = replace(LIGHT, burstiness=0.02)
    first = tf.optimize_fleet(own)
    last = tf.optimize_fleet(own, verify="simulate", simulation=settings)
    told = last.verification
    assert told is not None and told.holds is True and len(told.rounds) >= 2
    failed = told.rounds[0].failed
    assert {row.role for row in failed} == {"decode"}  # whose steps or places are short
    assert all((row.load_factor or 0) > 1 for row in failed)
    assert told.price_of_certainty_usd == pytest.approx(
        last.annual_cost_usd - first.annual_cost_usd
    )
    assert told.price_of_certainty_usd > 0
    fresh = replace(settings, seed=99, replications=8)
    before, after = (tf.simulate(p, own, settings=fresh) for p in (first, last))
    assert not before.held and after.held
    assert after.delivered["good_share"] > before.delivered["good_share"]
