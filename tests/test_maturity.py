"""An engine's version shortens its steps by the trend of its versions."""

from __future__ import annotations

import math

import pytest

from tokenfleet import optimize_fleet
from tokenfleet.calibration.maturity import log_as_installed, log_step_time
from tokenfleet.points.rates import plain_scenario
from tokenfleet.problem.knowledge import Judge, add_time_factors
from tokenfleet.problem.specification import build_specification
from tokenfleet.scenario.load import load_scenario


@pytest.mark.parametrize(
    ("engine", "version", "factor"),
    [
        ("vllm", None, 1.0),
        ("vllm", "0.13.0", 1.0),
        ("vllm", "0.17.1", math.exp(-0.1)),
        ("vllm", "v0.11.2", math.exp(0.05)),
        ("vllm", "0.40", math.exp(-0.125)),  # 0.18 is the newest that was measured
        ("vllm", "1.0", 1.0),
        ("sglang", "0.5.9", 1.0),
    ],
)
def test_a_step_at_a_version(engine: str, version: str | None, factor: float) -> None:
    assert math.exp(log_step_time(engine, version)) == pytest.approx(factor)


def test_a_plan_has_the_times_of_its_engine_version() -> None:
    data = plain_scenario(["llama-3.3-70b"]) | {"engine_versions": {"vllm": "0.17.0"}}
    loaded = load_scenario(data | {"engines": ["vllm"]})
    spec = build_specification(loaded, ["h100_sxm_8"])
    add_time_factors(Judge(loaded, spec), spec, None)
    factors = spec.data["workloads"][0]["time_factors"]
    assert all(row["tpot"] == row["load"] == pytest.approx(math.exp(-0.1)) for row in factors)
    assert all(row["ttft"] == row["prefill_load"] == 1.0 for row in factors)


@pytest.mark.parametrize(
    ("vendor", "routed", "factor"),
    [("AMD", True, 2.1), ("AMD", False, 1.04), ("NVIDIA", True, 1.0)],
)
def test_a_step_without_a_vendors_own_kernels(vendor: str, routed: bool, factor: float) -> None:
    """What AMD's library is published to give: DeepSeek-V3 and Llama-3.1-405B."""
    assert math.exp(log_as_installed(vendor, routed=routed)) == pytest.approx(factor)


@pytest.mark.parametrize(("system", "said"), [("mi300x_8", 1), ("h200_sxm_8", 0)])
def test_a_plan_says_which_kernels_it_counts_on(system: str, said: int) -> None:
    offer = {"id": "od", "system": system, "kind": "on_demand", "price_usd_per_gpu_h": 3.0}
    data = plain_scenario(["gpt-oss-20b"]) | {"systems": [system], "offers": [offer]}
    named = [row.system for row in optimize_fleet(data).warnings if row.kind == "kernels"]
    assert named == [system] * said
