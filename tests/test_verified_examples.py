"""Every example planned with ``verify="simulate"``, at a reduced size, attains what it promises.

In full: ``tokenfleet plan examples/NAME.yaml --verify simulate -o PLAN``, then ``tokenfleet
simulate PLAN --seed 1``. With the traces at hand, plans are replayed on them too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet as tf

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TRACES = ROOT.parent / "shared" / "traces"
FEW = tf.SimulationSettings(requests=3000, replications=4)
FRESH = replace(FEW, seed=1)
# Some fifty limits are judged at once, and a fresh run would break one in forty of those that are
# met exactly. A half width at 1 - 0.05/30 is already 2.8 times that at 0.95, with four replications
# (Student's t, three degrees of freedom).
AT_ONCE = 2.8

Json = dict[str, Any]


def assert_met(found: tf.Simulation) -> None:
    """No limit is missed by more than chance among so many."""
    for row in found.limits:
        if row["target"] is not None:
            assert row["within"] + AT_ONCE * row["within_half_width"] >= row["target"], row


def scenario(name: str) -> Json:
    own: Json = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return own


def hyperscaler() -> Json:
    """A hundredth of the demand of three workloads, on three systems."""
    own = scenario("hyperscaler")
    own["workloads"] = [
        w for w in own["workloads"] if w["id"] in ("assistant", "autocomplete", "tools")
    ]
    for workload in own["workloads"]:
        workload["demand"]["requests_per_s"] /= 100
    own["systems"] = ["h100_sxm_8", "h200_sxm_8", "b200_sxm_8"]
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
    assert told is not None and told["holds"] is True
    assert told["verified_good_share"] >= told["unverified_good_share"] - 0.01
    # Other random numbers than those it was verified with.
    found = tf.simulate(plan, own, settings=FRESH)
    assert found.limits and not found.unstable
    assert_met(found)


def test_the_ai_factory_attains_what_it_promises() -> None:
    """A tenth of its power; its long answers make it the slowest to simulate."""
    own = scenario("ai_factory")
    own["sites"][0]["power_kw"] = 500
    few = replace(FEW, requests=600, replications=3)
    plan = tf.optimize_fleet(own, verify="simulate", simulation=few)
    assert plan.verification is not None and plan.verification["holds"] is True
    assert_met(tf.simulate(plan, own, settings=replace(few, seed=1)))


@pytest.mark.parametrize(
    ("workload", "name"),
    [
        ("assistant", "AzureLLMInferenceTrace_conv.csv"),
        ("autocomplete", "AzureLLMInferenceTrace_code.csv"),
    ],
)
def test_plans_are_replayed_on_their_traces(workload: str, name: str) -> None:
    """Arrivals and lengths of the trace that the workload's classes come from."""
    path = TRACES / name
    if not path.is_file():
        pytest.skip("the traces are not here")
    own = hyperscaler()
    own["workloads"] = [w for w in own["workloads"] if w["id"] == workload]
    plan = tf.optimize_fleet(own, verify="simulate", simulation=FEW)
    found = tf.simulate(plan, own, trace=path, settings=replace(FRESH, requests=6000))
    drawn = tf.simulate(plan, own, settings=FRESH)
    assert not found.unstable
    assert_met(drawn)
    # The plan is for the peak; the trace has peaks of its own about the mean.
    peak = own["workloads"][0]["demand"]["peak_to_mean"]
    for a, b in zip(found.groups, drawn.groups, strict=True):
        assert peak * a["offered_requests_per_s"] == pytest.approx(b["offered_requests_per_s"])
    assert found.delivered["good_share"] > 0.95
