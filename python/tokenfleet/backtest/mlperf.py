"""MLPerf inference results: tokens/s of whole systems, offline or under latency limits.

Rows may leave the layout open; then every layout that fits one system is tried, as the submitter
did. What a workload's requests are like stands in `mlperf_workloads.csv` of the catalog.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from tokenfleet.backtest.run import (
    PERCENTILES,
    AtCapacity,
    Cells,
    Kind,
    LatencyLimits,
    Run,
    Tokens,
    number,
)
from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.load import DATA
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.catalog.tables import read_csv
from tokenfleet.points.rates import Layout

COLUMNS = ("accelerator_key", "model", "scenario", "tokens_s_per_accelerator", "framework")
_LATENCY_BOUND = 0.9  # of its limit a server run must use, or something else stopped it
# Most data sets publish mean lengths alone. Their answers and prompts are taken as log-normal with
# this standard deviation of the logarithm, which puts p99 at four times the mean, as in the traces
# we know.
_LOG_SD = 0.7
_DEGREES = (1, 2, 4, 8)
_FIRST = "v5.1"  # the round of rows that name none
_DATES = {_FIRST: "2025-09", "v6.0": "2026-04"}


@lru_cache(maxsize=1)
def workloads() -> dict[str, dict[str, str]]:
    """Rows of `mlperf_workloads.csv` by the benchmark's name, without its quality suffix."""
    _, rows = read_csv(DATA / "mlperf_workloads.csv")
    return {cells["workload"]: cells for _, cells in rows}


def read(catalog: Catalog, file: str, row: int, cells: Cells) -> tuple[Run, ...]:
    """The run of a row; raises like `serving.read`."""
    where = f"{file}: row {row}"
    if cells.get("duplicate_of"):
        raise UnknownNameError(f"a copy of {cells['duplicate_of']}")
    requests = workload(cells["model"])
    model = names.model(catalog, requests["model"], None)
    system = names.system(catalog, cells["accelerator_key"])
    engine = names.framework(cells.get("framework", ""))
    precision = names.precision(catalog, model, cells.get("precision", ""), system)
    kind: Kind = "offline" if cells["scenario"] == "Offline" else "server"
    if kind == "server" and float(cells.get("slo_utilisation") or 0.0) <= _LATENCY_BOUND:
        raise UnknownNameError("a server run that is far below its latency limits")
    plain = {"system": system, "model": model, "engine": engine, "precision": precision}
    at = _at(cells, requests, kind, where)
    run = Run(
        file=file,
        row=row,
        id=cells.get("row_id", ""),
        kind=kind,
        layouts=tuple(_layouts(catalog, {**plain, "kv": "fp8"}, cells, at.accelerators)),
        load=0.0,
        input=prompts(requests),
        output=answers(requests, cells),
        measured={"tokens_s_gpu": number(cells, "tokens_s_per_accelerator", where)},
        at=at,
        architecture=names.shape(catalog, model),
        flag=cells.get("flag", ""),
        benchmark=f"MLPerf {cells['scenario'].lower()}",
        label=cells["model"],
        date=_DATES.get(cells.get("round", ""), _DATES[_FIRST]),
        source=cells.get("source_path", "") and f"MLPerf inference {cells.get('round') or _FIRST}",
    )
    return (run,)


def workload(name: str) -> dict[str, str]:
    """What the requests of an MLPerf model are like.

    Raises:
        UnknownNameError: no row.
    """
    plain = name.removesuffix(".9").removesuffix("-99")
    if plain not in workloads():
        raise UnknownNameError(f"MLPerf workload {name}: no lengths in mlperf_workloads.csv")
    return workloads()[plain]


def prompts(requests: Cells) -> Tokens:
    """Prompt lengths of a workload.

    Raises:
        UnknownNameError: their mean has no source.
    """
    return _lengths(requests, "isl", number(requests, "mean_isl", requests["workload"]))


def answers(requests: Cells, cells: Cells) -> Tokens:
    """Answer lengths of a workload, with the mean that a result states."""
    mean = float(cells.get("tokens_per_sample") or requests["mean_osl"])
    return _lengths(requests, "osl", mean)


def _lengths(requests: Cells, which: str, mean: float) -> Tokens:
    """As the data set has them, with this mean; log-normal where it states no percentiles."""
    longest = float(requests.get(f"max_{which}") or math.inf)
    if mean >= longest:
        return Tokens(mean)
    stated = [requests.get(f"{p}_{which}", "") for p in PERCENTILES]
    if not all(stated):
        return Tokens.log_normal(mean, _LOG_SD, longest)
    longer = mean / float(requests[f"mean_{which}"])
    return Tokens(mean, tuple(min(longer * float(x), longest) for x in stated))


def _at(cells: Cells, requests: Cells, kind: Kind, where: str) -> AtCapacity:
    # Several configurations in one submission are written with a slash; the first is the largest.
    batch = cells.get("batch_limit", "").split("/", maxsplit=1)[0]
    accelerators = number(cells, "total_accelerators", where)
    seconds = float(requests["min_duration_s"])
    rate = number(cells, "tokens_s_per_accelerator", where)
    served = seconds * rate / float(requests["mean_osl"])
    limits = None
    if kind == "server":
        # Its operator kept some distance from the limits, which is no matter of the layout's.
        columns, used = ("ttft_limit_ms", "tpot_limit_ms"), number(cells, "slo_utilisation", where)
        limits = LatencyLimits(*(used * number(cells, c, where) for c in columns))
    return AtCapacity(
        batch_per_rank=int(float(batch)) if batch else None,
        requests_per_gpu=max(float(requests["samples"]) / accelerators, served),
        accelerators=accelerators,
        limits=limits,
    )


def _layouts(
    catalog: Catalog, plain: dict[str, Any], cells: Cells, accelerators: float
) -> Iterator[Layout]:
    """The stated layout, or every one within a system of eight and what accelerators there were.

    Experts may be whole or cut.
    """
    columns = ("tensor_parallel", "pipeline_parallel", "expert_parallel")
    tp, pp, ep = (_degree(cells, c) for c in columns)
    routed = catalog.model(plain["model"]).is_moe
    gpus = int(catalog.system(plain["system"]).gpus or 1)
    most = min(gpus, max(_DEGREES), int(accelerators))
    for size in [tp] if tp else [d for d in _DEGREES if d <= most]:
        if routed and size > 1 and ep != 1 and (pp or 1) == 1:
            yield Layout(**plain, tp=size, ep=ep or size)
            yield Layout(**plain, attention_dp=size, ep=ep or size)
        if routed and ep and ep > 1:
            continue
        for stages in _stages(tp, pp):
            if size * stages <= most:
                yield Layout(**plain, tp=size, pp=stages)


def _stages(tp: int | None, pp: int | None) -> Sequence[int]:
    """Pipeline depths to try: as stated, or one; two as well where nothing is stated."""
    if pp:
        return (pp,)
    return (1,) if tp else (1, 2)


def _degree(cells: Cells, column: str) -> int | None:
    text = cells.get(column, "").split("/", maxsplit=1)[0]
    return int(float(text)) if text else None
