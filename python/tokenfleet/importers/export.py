"""Imported measurements as points to backtest or calibrate with, and as columns of a scenario."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenfleet.catalog.huggingface import ImportedModel
from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import cell
from tokenfleet.importers.measurements import Measurement, figure, group_runs
from tokenfleet.schema.engines import ENGINES

_POINT = (
    "id", "system", "backend", "backend_version", "model", "precision", "gpus", "attn_tp",
    "attn_dp", "ep", "concurrency", "isl", "osl", "ttft_ms", "tpot_ms", "output_tok_s_gpu",
    "measured", "source",
)  # fmt: skip
_COLUMN = ("workload", "class", "system", "gpus", "rate_rps", "source")


def points(measurements: Iterable[Measurement]) -> tuple[str, list[str]]:
    """Closed-loop runs as the CSV that `backtest` and `calibrate` read, and what was left out.

    Means of TTFT and TPOT, output tokens/s of all accelerators of the run.
    """
    rows, left_out = [], []
    for run in group_runs(measurements):
        reason = _unfit(run)
        if reason:
            left_out.append(f"{_name(run)}: {reason}")
        else:
            rows.append(_point(run))
    return _table(_POINT, rows), left_out


def _name(run: Sequence[Measurement]) -> str:
    return f"{run[0].source}:{run[0].run}"


def _unfit(run: Sequence[Measurement]) -> str | None:
    """Why a run is no closed-loop point, or None."""
    first = run[0]
    layout = first.parallelism
    tests = {
        "is a prediction": first.origin == "predicted",
        "prefill and decode apart": first.topology == "disagg",
        "speculative decoding": first.speculation is not None,
        "no engine that has a calibration": first.engine not in ENGINES,
        "no concurrency": first.concurrency is None or first.request_rate is not None,
        "no lengths": first.input_tokens is None or first.output_tokens is None,
        "no tp": layout.tp is None,
        "several copies or stages": (layout.tp or 0) * (layout.dp_attention or 1) != first.gpus,
        "no mean TTFT and TPOT": None in (figure(run, "ttft", "mean"), figure(run, "tpot", "mean")),
    }
    return next((reason for reason, unfit in tests.items() if unfit), None)


def _point(run: Sequence[Measurement]) -> dict[str, Any]:
    first = run[0]
    output = figure(run, "output_throughput", "total")
    per_gpu = figure(run, "output_throughput_per_gpu", "total")
    return {
        "id": _name(run),
        "system": first.hardware,
        "backend": first.engine,
        "backend_version": first.engine_version,
        "model": first.model,
        "precision": first.precision,
        "gpus": first.gpus,
        "attn_tp": first.parallelism.tp,
        "attn_dp": first.parallelism.dp_attention or 1,
        "ep": first.parallelism.ep or 1,
        "concurrency": first.concurrency,
        "isl": first.input_tokens,
        "osl": first.output_tokens,
        "ttft_ms": figure(run, "ttft", "mean"),
        "tpot_ms": figure(run, "tpot", "mean"),
        "output_tok_s_gpu": per_gpu or (output / first.gpus if output else None),
        "measured": first.date,
        "source": first.source,
    }


def columns(
    measurements: Iterable[Measurement], workload: str, request_class: str
) -> tuple[str, list[str]]:
    """Runs as the CSV of a scenario's `columns`: requests/s that one replica sustains for a class.

    Latencies are not looked at: give only runs that are within the limits of the workload.
    """
    rows, left_out = [], []
    for run in group_runs(measurements):
        rate = figure(run, "request_throughput", "total", "mean")
        if rate and run[0].origin == "measured":
            rows.append(_column(run[0], rate, workload, request_class))
        else:
            left_out.append(f"{_name(run)}: no measured request throughput")
    return _table(_COLUMN, rows), left_out


def _column(run: Measurement, rate: float, workload: str, request_class: str) -> dict[str, Any]:
    return {
        "workload": workload,
        "class": request_class,
        "system": run.hardware,
        "gpus": run.gpus,
        "rate_rps": rate,
        "source": f"{run.source}:{run.run}",
    }


def models(imported: Iterable[tuple[str, ImportedModel]]) -> list[dict[str, Any]]:
    """Rows of a catalog file, each with the file it was read from.

    Raises:
        SchemaError: two configs of one id.
    """
    rows = [
        {
            **model.architecture.model_dump(mode="json", exclude_none=True, exclude_defaults=False),
            "source": f"imported from {name}",
            **({"notes": "; ".join(model.warnings)} if model.warnings else {}),
        }
        for name, model in imported
    ]
    ids = [row["id"] for row in rows]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise SchemaError(f"two models of the id {twice[0]!r}", "import one, with --model NAME")
    return rows


def _table(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if row[h] is None else cell(row[h]) for h in header])
    return text.getvalue()
