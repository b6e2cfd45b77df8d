"""Prompts longer than a chunk do not share a step: their waiting against the simulator."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tokenfleet._core import Space, simulate
from tokenfleet.catalog import load_catalog
from tokenfleet.points.rates import plain_scenario
from tokenfleet.problem.specification import build_specification
from tokenfleet.scenario.load import load_scenario

MODEL, SYSTEM, P99 = "llama-3.1-405b", "h200_sxm_8", 4
PROMPT, ANSWER, REQUESTS = 9400, 650, 12_000


@pytest.mark.parametrize("rate", [0.3, 0.43, 0.5])
def test_p99_of_long_prompts_is_that_of_the_simulator(rate: float) -> None:
    """Below half load of decode: where places run short too, the queue for those decides."""
    data = {
        **plain_scenario([MODEL], None, ["fp8"]),
        "engines": ["trtllm"],
        "search": {
            "tensor_parallel": [8],
            "pipeline_parallel": [1],
            "kv_precisions": ["fp8"],
            "batch_limits": [64],
            "max_gpus_per_replica": 8,
        },
    }
    request = data["workloads"][0]["classes"][0]
    request["input_tokens"], request["output_tokens"] = PROMPT, ANSWER
    specification = build_specification(load_scenario(data, catalog=load_catalog()), [SYSTEM])
    core = Space(json.dumps(specification.data))
    every = np.arange(core.space_size, dtype=np.uint64)
    (one,) = [i for i, status in enumerate(core.points(every)["status"]) if status == "ok"]
    promised = core.recheck(one, 0, np.array([rate]))["ttft_s"]
    assert promised is not None
    lengths = (np.array([PROMPT], dtype=np.uint32), np.array([ANSWER], dtype=np.uint32))
    found = simulate(
        core, one, np.array([rate]), [lengths], requests=REQUESTS, replications=4, seed=1
    )
    simulated = found["classes"][0]["ttft_s"][P99][0]
    assert 0.9 <= simulated / promised[0][P99] <= 1.05
