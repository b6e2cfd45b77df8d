"""Wall power of whole systems: under load, and idle before the run.

A row of a model that serves tokens is two runs: the load, and the node before it. Others (speech,
images, graphs) have no step that the model knows; of them only the idle node is read.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tokenfleet.backtest import mlperf
from tokenfleet.backtest.result import Result
from tokenfleet.backtest.run import AtCapacity, Cells, Run, Tokens, count, number
from tokenfleet.catalog import Catalog, names, require
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.points.rates import Layout
from tokenfleet.problem.hardware import active_kw, full_load_kw, idle_kw

COLUMNS = ("accelerator", "accelerators", "cooling", "model", "average_watts", "pre_run_min_watts")
IDLE = "idle"
# Watts of host and fans per accelerator, an assumption, of the systems whose boards were metered.
HOST_W: Mapping[str, float] = {"b200_sxm_8": 300.0, "h100_sxm_8": 345.0}
_LIQUID = "liquid"


def read(catalog: Catalog, file: str, row: int, cells: Cells) -> tuple[Run, ...]:
    """The runs of a row; raises like `serving.read`."""
    where = f"{file}: row {row}"
    system = names.system(catalog, cells["accelerator"])
    if catalog.system(system).gpus != count(cells, "accelerators", where):
        raise UnknownNameError("not one whole system of the catalog")
    runs = []
    if cells.get("tokens_s"):
        runs.append(_loaded(catalog, file, row, cells, system))
    if cells.get("pre_run_min_watts"):
        runs.append(_idle(catalog, file, row, cells, system))
    if not runs:
        raise UnknownNameError("neither tokens/s nor idle watts")
    return tuple(runs)


def _loaded(catalog: Catalog, file: str, row: int, cells: Cells, system: str) -> Run:
    where = f"{file}: row {row}"
    workload = mlperf.workload(cells["model"])
    model = names.model(catalog, workload["model"], None)
    precision = names.precision(catalog, model, cells.get("precision", ""))
    gpus = int(catalog.system(system).gpus or 1)
    engine = "trtllm"
    plain = (system, model, engine, precision, names.kv_format(engine, precision))
    return Run(
        file=file,
        row=row,
        id=f"{cells['model']} {cells['scenario']}",
        kind="power",
        layouts=tuple(Layout(*plain, tp=tp) for tp in (1, 2, 4, 8) if tp <= gpus),
        load=number(cells, "tokens_s", where) / gpus,
        input=mlperf.prompts(workload),
        output=mlperf.answers(workload, cells),
        measured={"watts": number(cells, "average_watts", where)},
        at=AtCapacity(),
        architecture=names.shape(catalog, model),
        benchmark=_cooling(cells),
        label=_model(cells),
        source=cells.get("source", ""),
    )


def _idle(catalog: Catalog, file: str, row: int, cells: Cells, system: str) -> Run:
    # Any model names the specification that an idle node does not need.
    model = sorted(catalog.models)[0]
    return Run(
        file=file,
        row=row,
        id=f"{IDLE}, before {cells['model']} {cells['scenario']}",
        kind="power",
        layouts=(Layout(system, model, "vllm", "bf16", "bf16"),),
        load=0.0,
        input=Tokens(1.0),
        output=Tokens(1.0),
        measured={"watts": number(cells, "pre_run_min_watts", f"{file}: row {row}")},
        architecture=IDLE,
        benchmark=_cooling(cells),
        label=_model(cells),
        source=cells.get("source", ""),
    )


def _model(cells: Cells) -> str:
    """Without the quality target: 99 and 99.9 are one model, often one run."""
    return cells["model"].removesuffix(".9").removesuffix("-99")


def _cooling(cells: Cells) -> str:
    return "air" if cells["cooling"].lower().startswith("air") else _LIQUID


def system_watts(catalog: Catalog, run: Run, most_tokens_s_gpu: float | None) -> float:
    """IT watts of a run's system: those of any decode, and above them by its load; `None`: idle."""
    idle, full = _range_w(catalog, run)
    if most_tokens_s_gpu is None:
        return idle
    row, liquid = catalog.system(run.layouts[0].system), run.benchmark == _LIQUID
    active = 1e3 * active_kw(catalog, row, liquid=liquid)
    return active + min(run.load / most_tokens_s_gpu, 1.0) * (full - active)


def watts_per_accelerator(catalog: Catalog, system: str, share: float) -> float:
    """IT watts of one accelerator of a system, host included, at a share of its full load."""
    row = catalog.system(system)
    active, full = active_kw(catalog, row), full_load_kw(catalog, row)
    return 1e3 * (active + min(share, 1.0) * (full - active)) / int(row.gpus or 1)


def _range_w(catalog: Catalog, run: Run) -> tuple[float, float]:
    """IT watts of the run's system, idle and under full load."""
    row = catalog.system(run.layouts[0].system)
    liquid = run.benchmark == _LIQUID
    idle, full = idle_kw(catalog, row, liquid=liquid), full_load_kw(catalog, row, liquid=liquid)
    return 1e3 * idle, 1e3 * full


def left_out_watts(catalog: Catalog, results: Sequence[Result]) -> list[Result]:
    """Every model's watts from the others' runs: shares of the rating are medians without it."""
    found = []
    for label in sorted({r.run.label for r in results}):
        others = _shares([r for r in results if r.run.label != label], catalog)
        for r in results:
            if r.run.label == label and others is not None:
                watts = _watts(catalog, r, others)
                found += [replace(r, predicted={"watts": watts})] if watts is not None else []
    return found


@dataclass(frozen=True)
class _Shares:
    """Of a system's rating: idle by cooling, and what a full load adds."""

    idle: Mapping[str, float]
    load: float


def _rating_w(catalog: Catalog, result: Result) -> float:
    return 1e3 * float(require(catalog.system(result.layout.system), "system_kw"))


def _busy(catalog: Catalog, result: Result) -> float:
    """Share of full load, from the prediction that the shipped shares made."""
    idle, full = _range_w(catalog, result.run)
    return (result.predicted["watts"] - idle) / (full - idle)


def _shares(results: Sequence[Result], catalog: Catalog) -> _Shares | None:
    idle: dict[str, list[float]] = {}
    for r in results:
        if r.run.load == 0.0:
            share = r.run.measured["watts"] / _rating_w(catalog, r)
            idle.setdefault(r.run.benchmark, []).append(share)
    at_rest = {cooling: statistics.median(own) for cooling, own in idle.items()}
    load = [
        (r.run.measured["watts"] / _rating_w(catalog, r) - at_rest[r.run.benchmark])
        / _busy(catalog, r)
        for r in results
        if r.run.load > 0.0 and r.run.benchmark in at_rest
    ]
    return _Shares(at_rest, statistics.median(load)) if load else None


def _watts(catalog: Catalog, result: Result, shares: _Shares) -> float | None:
    idle = shares.idle.get(result.run.benchmark)
    if idle is None:
        return None
    busy = _busy(catalog, result) if result.run.load > 0.0 else 0.0
    return _rating_w(catalog, result) * (idle + busy * shares.load)
