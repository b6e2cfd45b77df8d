"""Every example planned with ``verify="simulate"``, at a reduced size, attains what it promises.

In full: ``tokenfleet plan examples/NAME.yaml --verify simulate -o PLAN``, then ``tokenfleet
simulate PLAN --seed 1``; with ``--trace`` where the traces are at hand.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet as tf

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TRACES = ROOT.parent / "shared" / "traces"
# An even number of degrees of freedom: Student's distribution is then a sum of a few terms.
FEW = tf.SimulationSettings(requests=1000, replications=17)
FRESH = replace(FEW, seed=1)
HALF_WIDTH = 2.1199  # standard errors in half of a 95 % interval, with 16 degrees of freedom
# A plan whose every limit is met breaks the test in one of a hundred runs, however many it has.
FAMILY = 0.01

Json = dict[str, Any]


def chance(t: float, freedom: int) -> float:
    """Probability that Student's t is above `t`: Abramowitz and Stegun, 26.7.4 (even freedom)."""
    angle = math.atan(t / math.sqrt(freedom))
    term = total = 1.0
    for i in range(1, freedom // 2):
        term *= (2 * i - 1) / (2 * i) * math.cos(angle) ** 2
        total += term
    return 0.5 * (1.0 - math.sin(angle) * total)


def misses(found: tf.Simulation) -> list[Json]:
    """Limits whose share cannot be that of a limit that is met, all of them judged at once: by
    Bonferroni's bound the chance of any is at most `FAMILY`."""
    rows = [row for row in found.limits if row["target"] is not None]
    missed = []
    for row in rows:
        short, error = row["target"] - row["within"], row["within_half_width"] / HALF_WIDTH
        if error == 0.0:
            unlikely = short > 0.0
        else:
            unlikely = chance(short / error, found.replications - 1) < FAMILY / len(rows)
        if unlikely:
            missed.append(row)
    return missed


def test_the_bound_is_that_of_the_tables() -> None:
    """Upper points of Student's t in Abramowitz and Stegun, table 26.10; and a plan that fails."""
    for freedom, t, above in ((2, 4.303, 0.025), (10, 2.764, 0.01), (16, HALF_WIDTH, 0.025)):
        assert chance(t, freedom) == pytest.approx(above, rel=2e-3)
    assert chance(-1.0, 16) == pytest.approx(1.0 - chance(1.0, 16))


def scenario(name: str) -> Json:
    own: Json = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return own


def hyperscaler() -> Json:
    """A hundredth of the demand of two workloads, on two systems."""
    own = scenario("hyperscaler")
    own["workloads"] = [w for w in own["workloads"] if w["id"] in ("assistant", "autocomplete")]
    for workload in own["workloads"]:
        workload["demand"]["requests_per_s"] /= 100
    own["systems"] = ["h200_sxm_8", "b200_sxm_8"]
    own["offers"] = [o for o in own["offers"] if o["system"] in own["systems"]]
    del own["speculation"]
    own["solver"] = {"gap": 0.02, "time_limit_s": 60}
    return own


@pytest.mark.parametrize(
    "own", [scenario("enterprise"), hyperscaler()], ids=["enterprise", "scaled"]
)
def test_verified_examples_attain_what_they_promise(own: Json) -> None:
    plan = tf.optimize_fleet(own, verify="simulate", simulation=FEW)
    told = plan.verification
    assert told is not None and told.holds is True
    assert told.verified_good_share >= told.unverified_good_share - 0.01
    # Other random numbers than those it was verified with.
    found = tf.simulate(plan, own, settings=FRESH)
    assert found.limits and not found.unstable
    assert not misses(found)


def test_the_ai_factory_attains_what_it_promises() -> None:
    """A tenth of its power; its long answers make it the slowest to simulate."""
    own = scenario("ai_factory")
    own["sites"][0]["power_kw"] = 500
    few = replace(FEW, requests=300)
    plan = tf.optimize_fleet(own, verify="simulate", simulation=few)
    assert plan.verification is not None and plan.verification.holds is True
    assert not misses(tf.simulate(plan, own, settings=replace(few, seed=1)))


@pytest.mark.parametrize(
    ("workload", "name", "requests"),
    [
        ("assistant", "AzureLLMInferenceTrace_conv.csv", 3000),
        ("autocomplete", "AzureLLMInferenceTrace_code.csv", 6000),
    ],
)
def test_plans_hold_on_the_trace_they_were_verified_on(
    workload: str, name: str, requests: int
) -> None:
    """Arrivals and lengths of the trace that the workload's classes come from: what was verified on
    it holds on it from other places, and drawn requests hold too."""
    path = TRACES / name
    if not path.is_file():
        pytest.skip("the traces are not here")
    own = hyperscaler()
    own["workloads"] = [w for w in own["workloads"] if w["id"] == workload]
    settings = replace(FEW, requests=requests)
    plan = tf.optimize_fleet(own, verify="simulate", simulation=settings, trace=path)
    told = plan.verification
    assert told is not None and told.holds is True and told.trace == str(path)
    assert told.verified_trace_good_share >= told.unverified_trace_good_share
    found = tf.simulate(plan, own, trace=path, settings=replace(settings, seed=1))
    drawn = tf.simulate(plan, own, settings=FRESH)
    assert not found.unstable
    assert not misses(found)
    assert not misses(drawn)
    # The plan is for the peak; the trace has peaks of its own about the mean.
    peak = own["workloads"][0]["demand"]["peak_to_mean"]
    for a, b in zip(found.groups, drawn.groups, strict=True):
        assert peak * a["offered_requests_per_s"] == pytest.approx(b["offered_requests_per_s"])
    # Neither share is known to better than its intervals.
    assert found.delivered["good_share"] == pytest.approx(told.verified_trace_good_share, abs=0.02)
