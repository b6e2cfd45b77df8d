"""Hosted APIs as columns: what a request costs, and whether the API may serve the workload."""

from __future__ import annotations

import numpy as np

from tokenfleet.problem.specification import sorted_classes
from tokenfleet.problem.supply import NotConsidered
from tokenfleet.problem_data import ApiData
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import Api, RequestClass, Workload, limit_value


def build_apis(loaded: LoadedScenario) -> tuple[tuple[ApiData, ...], list[NotConsidered]]:
    """APIs that may serve their workload, and those that may not with the reason."""
    workloads = sorted(loaded.scenario.workloads, key=lambda w: w.id)
    position = {w.id: i for i, w in enumerate(workloads)}
    apis, dropped = [], []
    for api in sorted(loaded.scenario.apis, key=lambda a: a.id):
        workload = workloads[position[api.workload]]
        reason = _refusal(api, workload)
        if reason is not None:
            dropped.append(NotConsidered(f"API {api.id}", reason))
            continue
        classes = sorted_classes(loaded.classes[workload.id])
        apis.append(
            ApiData(
                id=api.id,
                workload=position[api.workload],
                cost_usd_per_request=np.array([_request_usd(api, c) for c in classes]),
                max_rps=limit_value(api.max_requests_per_s),
                quality=1.0 if api.quality is None else api.quality,
            )
        )
    return tuple(apis), dropped


def _request_usd(api: Api, c: RequestClass) -> float:
    assert api.usd_per_mtok_input is not None and api.usd_per_mtok_output is not None
    tokens = (
        c.input_tokens.mean * api.usd_per_mtok_input
        + c.output_tokens.mean * api.usd_per_mtok_output
    )
    return tokens / 1e6 + api.usd_per_request


def _refusal(api: Api, workload: Workload) -> str | None:
    """Why the API may not serve the workload; None when it may."""
    if workload.residency is not None and api.region not in workload.residency:
        return f"region {api.region} is outside the residency of {workload.id}"
    floor = workload.quality_floor
    if floor is not None and api.quality is None:
        return f"no quality score, and {workload.id} has a floor"
    if floor is not None and api.quality is not None and api.quality < floor:
        return f"quality {api.quality:g} is below the floor {floor:g} of {workload.id}"
    return None if api.slo_attested else _late(api, workload)


def _late(api: Api, workload: Workload) -> str | None:
    """The first latency limit that the API does not promise; None when it promises all."""
    promised = {"ttft": api.ttft_p99_ms, "tpot": api.tpot_p99_ms}
    for slo in workload.slos:
        # A p99 bounds every lower percentile; the mean and whole requests need the buyer's word.
        value = promised.get(slo.metric) if slo.percentile != "mean" else None
        if value is None:
            return (
                f"states no {slo.metric} for the {slo.percentile} limit of {workload.id}: give "
                f"ttft_p99_ms and tpot_p99_ms, or slo_attested"
            )
        if value > slo.limit_ms:
            return f"promises {slo.metric} {value:g} ms; {workload.id} allows {slo.limit_ms:g} ms"
    return None
