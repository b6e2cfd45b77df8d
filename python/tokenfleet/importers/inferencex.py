"""InferenceX aggregates (`agg_*.json`) and rows of its interface and dumps.

Latencies are in seconds. With prefill and decode apart, `output_tput_per_gpu` divides by the
decode GPUs only and `input_tput_per_gpu` by the prefill GPUs only; that definition stays with the
number. Attention data parallelism is text, "true" or "false": if true, the `tp` ranks each hold
a whole copy of the attention. Rows of the interface have their figures under `metrics`, where 0
means absent. Energy figures changed their meaning and are taken from schema version 2 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.client import LATENCIES, statistics
from tokenfleet.importers.readings import (
    Format,
    Reading,
    Run,
    count,
    day,
    flag,
    json_rows,
    number,
    readings,
    text,
)
from tokenfleet.importers.trace import RowError

_STATISTICS = statistics("75", "90", "95", "99", "99.9")
_POWER_VERSION = 2
_POWER = {
    "avg_total_gpu_power_w": ("gpu_power", "mean", "W", "all GPUs of the run, mean"),
    "total_gpu_energy_j": ("gpu_energy", "total", "J", "all GPUs over the run"),
    "joules_per_input_token": ("energy_per_input_token", "mean", "J/token", "GPU energy"),
    "joules_per_output_token": ("energy_per_output_token", "mean", "J/token", "GPU energy"),
    "joules_per_total_token": ("energy_per_total_token", "mean", "J/token", "GPU energy"),
    "joules_per_successful_query": ("energy_per_request", "mean", "J/request", "GPU energy"),
}


def run(row: Mapping[str, Any]) -> Run:
    """One row.

    Raises:
        RowError: prefill and decode on different hardware, or a value of the wrong kind.
    """
    row = _flattened(row)
    apart = bool(flag(row, "disagg"))
    facts = {**_labels(row), **(_pools(row) if apart else _one_pool(row))}
    found = [*_latencies(row), *_rates(row, apart)]
    notes = []
    power = list(_power(row))
    if power and count(row, "power_metric_schema_version") != _POWER_VERSION:
        notes.append("energy figures left out: not of schema version 2")
    elif power and flag(row, "power_valid") is False:
        notes.append("energy figures left out: marked as not valid")
    else:
        found.extend(power)
    return Run({**facts, "topology": "disagg" if apart else "agg"}, tuple(found), tuple(notes))


def _flattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """An aggregate as it is; a row of the interface in the names of an aggregate."""
    metrics = row.get("metrics")
    if not isinstance(metrics, dict):
        return dict(row)
    outer = {k: v for k, v in row.items() if k != "metrics"}
    present = {k: v for k, v in metrics.items() if v not in (0, 0.0)}
    return {**outer, **present}


def _labels(row: Mapping[str, Any]) -> dict[str, Any]:
    engine = text(row, "framework")
    image = text(row, "image")
    speculation = text(row, "spec_decoding", "spec_method")
    return {
        "model": text(row, "model"),
        "model_short": text(row, "infmax_model_prefix"),
        "system": _hardware(row),
        "engine": engine.removeprefix("dynamo-") if engine else None,
        "engine_version": image.rsplit(":", 1)[-1] if image and ":" in image else image,
        "precision": text(row, "precision"),
        "speculation": None if speculation in (None, "none") else speculation,
        "concurrency": count(row, "conc"),
        "input_tokens": count(row, "isl"),
        "output_tokens": count(row, "osl"),
        "date": day(row.get("date")),
    }


def _hardware(row: Mapping[str, Any]) -> str | None:
    parts = {v for k in ("prefill_hw", "decode_hw") if (v := text(row, k))}
    if len(parts) > 1:
        raise RowError(f"prefill and decode on different hardware: {', '.join(sorted(parts))}")
    return text(row, "hw", "hardware") or next(iter(parts), None)


def _layout(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Ranks of one pool; with attention data parallelism they are copies, not shards."""
    ranks = count(row, f"{prefix}tp")
    copies = flag(row, f"{prefix}dp_attention")
    return {
        "tp": 1 if copies else ranks,
        "dp_attention": ranks if copies else 1,
        "pp": count(row, f"{prefix}pp"),
        "ep": count(row, f"{prefix}ep"),
    }


def _one_pool(row: Mapping[str, Any]) -> dict[str, Any]:
    ranks = count(row, "tp", "decode_tp")
    prefix = "" if count(row, "tp") else "decode_"
    stages = (count(row, f"{prefix}pp") or 1) * (count(row, f"{prefix}pcp_size") or 1)
    return {**_layout(row, prefix), "gpus": ranks * stages if ranks else None}


def _pools(row: Mapping[str, Any]) -> dict[str, Any]:
    prefill, decode = count(row, "num_prefill_gpu"), count(row, "num_decode_gpu")
    if prefill is None or decode is None:
        raise RowError("disagg without num_prefill_gpu and num_decode_gpu")
    workers = {p: count(row, f"{p}_num_workers") for p in ("prefill", "decode")}
    return {
        **_layout(row, "decode_"),
        "workers": workers["decode"],
        "layout_gpus": decode,
        "prefill": {
            **_layout(row, "prefill_"),
            "workers": workers["prefill"],
            "gpus": prefill,
        },
        "gpus": prefill + decode,
    }


def _latencies(row: Mapping[str, Any]) -> Iterator[Reading]:
    for metric, definition in LATENCIES.items():
        keys = {f"{s}_{metric}": statistic for s, statistic in _STATISTICS.items()}
        yield from readings(row, metric, keys, "s", definition)
    # The spread of a reciprocal says nothing, so std_intvty is not taken.
    for name, statistic in _STATISTICS.items():
        if name != "std":
            slow = f"1000 / {name} TPOT in ms: a high percentile is the slow tail"
            keys = {f"{name}_intvty": statistic}
            yield from readings(row, "output_throughput_per_user", keys, "tokens/s/user", slow)


def _rates(row: Mapping[str, Any], apart: bool) -> Iterator[Reading]:
    pools = {
        "tput_per_gpu": "all",
        "input_tput_per_gpu": "prefill",
        "output_tput_per_gpu": "decode",
    }
    names = {
        "tput_per_gpu": "total_throughput_per_gpu",
        "input_tput_per_gpu": "input_throughput_per_gpu",
        "output_tput_per_gpu": "output_throughput_per_gpu",
    }
    for key, metric in names.items():
        pool = f"{pools[key]} GPUs only" if apart and pools[key] != "all" else "all GPUs"
        yield from readings(row, metric, {key: "total"}, "tokens/s/gpu", f"divided by {pool}")


def _power(row: Mapping[str, Any]) -> Iterator[Reading]:
    for key, (metric, statistic, unit, definition) in _POWER.items():
        value = number(row, key)
        if value is not None:
            yield Reading(metric, statistic, value, unit, definition)


FORMAT = Format(json_rows, run)
