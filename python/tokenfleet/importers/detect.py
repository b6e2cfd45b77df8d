"""Any file that tokenfleet can import, its kind told from the content and never from the name."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.catalog.config_keys import NESTED
from tokenfleet.catalog.huggingface import ImportedModel, read_config
from tokenfleet.errors import SchemaError
from tokenfleet.files.read import decode, parse_json, read_text, require_file
from tokenfleet.importers import (
    aiconfigurator,
    aiperf,
    aiperf_records,
    guidellm,
    inference_perf,
    inferencex,
    llmperf,
    mlperf,
    mlperf_endpoints,
    sglang_bench,
    vllm_bench,
    vllm_offline,
)
from tokenfleet.importers.azure import COLUMNS as AZURE_COLUMNS
from tokenfleet.importers.azure import read_azure
from tokenfleet.importers.burstgpt import COLUMNS as BURSTGPT_COLUMNS
from tokenfleet.importers.burstgpt import read_burstgpt
from tokenfleet.importers.lengths import QuantileFunction, read_cdf
from tokenfleet.importers.measurements import METRICS, Measurement, from_cells
from tokenfleet.importers.melange import Melange, read_melange
from tokenfleet.importers.mooncake import read_mooncake
from tokenfleet.importers.others import other_object, refuse_known_others
from tokenfleet.importers.readings import (
    MAX_RUN_BYTES,
    Format,
    Reading,
    Rejected,
    convert,
    csv_source,
    json_rows,
    raw_text,
)
from tokenfleet.importers.resolve import Collected, Given, collect
from tokenfleet.importers.trace import RowError, Trace
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.rows import validate

FORMATS: Mapping[str, Format] = {
    "vllm_bench": vllm_bench.FORMAT,
    "vllm_throughput": vllm_offline.THROUGHPUT_FORMAT,
    "vllm_latency": vllm_offline.LATENCY_FORMAT,
    "sglang_bench": sglang_bench.FORMAT,
    "guidellm": guidellm.FORMAT,
    "inference_perf": inference_perf.FORMAT,
    "llmperf": llmperf.FORMAT,
    "aiperf_json": aiperf.JSON_FORMAT,
    "aiperf_v2": aiperf.SERIES_FORMAT,
    "aiperf_csv": aiperf.CSV_FORMAT,
    "aiperf_records": aiperf_records.FORMAT,
    "inferencex": inferencex.FORMAT,
    "aiconfigurator": aiconfigurator.FORMAT,
    "mlperf_summary": mlperf.SUMMARY_FORMAT,
    "mlperf_endpoints": mlperf_endpoints.FORMAT,
    "mlperf_log": mlperf.LOG_FORMAT,
    "mlperf_detail": mlperf.DETAIL_FORMAT,
}
_HEAD = 65_536
# CSV kinds by columns that only they have.
_CSV: Mapping[str, tuple[str, ...]] = {
    "azure": AZURE_COLUMNS,
    "burstgpt": BURSTGPT_COLUMNS,
    "cdf": ("side", "tokens", "cdf"),
    "measurements": ("model", "hardware", "metric", "statistic", "value", "unit"),
    "aiconfigurator": ("ttft", "tpot", "tokens/s/gpu", "num_total_gpus"),
}
# JSON kinds by keys, the most telling first.
_JSON: Mapping[str, tuple[str, ...]] = {
    "melange": ("gpu_info", "workload_distribution"),
    "mlperf_summary": ("Performance_Units",),
    "mooncake": ("timestamp", "input_length", "output_length"),
    "inferencex": ("isl", "osl", "conc"),
    "sglang_bench": ("mean_e2e_latency_ms", "request_throughput"),
    "vllm_bench": ("completed", "total_token_throughput"),
    "vllm_throughput": ("elapsed_time", "num_requests", "total_num_tokens"),
    "vllm_latency": ("avg_latency", "latencies"),
    "llmperf": ("results_num_completed_requests",),
    "inference_perf": ("load_summary", "successes"),
    "mlperf_endpoints": ("n_samples_completed", "duration_ns"),
    "aiperf_v2": ("aiperf_version", "metrics"),
    "guidellm": ("benchmarks",),
    "aiperf_records": ("metadata", "metrics"),
    "huggingface": ("num_hidden_layers",),
}


@dataclass(frozen=True)
class Imported:
    """What a file held. Exactly one of the contents is there, by `kind`."""

    kind: str
    measurements: tuple[Measurement, ...] = ()
    trace: Trace | None = None
    lengths: Mapping[str, QuantileFunction] | None = None
    model: ImportedModel | None = None
    melange: Melange | None = None
    warnings: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()


def import_file(
    path: Path, catalog: Catalog | None = None, *, ignore: Sequence[str] = (), **given: Any
) -> Imported:
    """Reads a file of any kind that is known, or the `config.json` of a checkpoint's folder.

    `given` says what the file does not: `model`, `system`, `tp` and the other fields of `Given`.
    `ignore` are keys of a config that are left out of the reading.

    Raises:
        SchemaError: unreadable, of no known kind, or a run lacks a fact that must be given.
    """
    told = validate(Given, {k: v for k, v in given.items() if v is not None}, "given")
    path = config if (config := path / "config.json").is_file() else path
    head = _head(path)
    refuse_known_others(path, head)
    kind = _csv_kind(head) or _text_kind(head) or _line_kind(head)
    if kind in _TRACES:
        trace = _TRACES[kind](path)
        return Imported(kind, trace=trace, warnings=trace.warnings)
    if kind == "cdf":
        return Imported(kind, lengths=read_cdf(path))
    content = read_text(path, MAX_RUN_BYTES)
    kind = kind or _json_kind(content, path)
    if kind == "huggingface":
        model = read_config(path, told.model, ignore)
        return Imported(kind, model=model, warnings=model.warnings)
    if kind == "melange":
        return Imported(kind, melange=read_melange(content, str(path)))
    book = catalog or load_catalog()
    if kind == "measurements":
        return _imported(kind, _own(content, str(path), book))
    return _imported(kind, collect(content, str(path), FORMATS[kind], told, book))


_TRACES = {"azure": read_azure, "burstgpt": read_burstgpt, "mooncake": read_mooncake}


def _imported(kind: str, found: Collected) -> Imported:
    return Imported(
        kind,
        measurements=tuple(found.measurements),
        warnings=tuple(found.warnings),
        rejected=tuple(found.rejected),
    )


# Kinds


def _head(path: Path) -> str:
    """The first whole lines, without reading the rest."""
    try:
        require_file(path)
        with path.open("rb") as file:
            raw = file.read(_HEAD)
    except (OSError, ValueError) as error:
        raise SchemaError(f"{str(path)!r}: cannot be read: {error}", "check the path") from None
    cut = raw.rfind(b"\n") if len(raw) == _HEAD else len(raw)
    return decode(raw[:cut] if cut > 0 else b"", str(path))


def _csv_kind(head: str) -> str | None:
    """The kind whose columns the first line has."""
    line = next((text for text in head.splitlines() if text.strip()), "")
    try:
        header = {cell.strip() for cell in next(csv.reader([line]), [])}
    except csv.Error:
        return None
    for kind, columns in _CSV.items():
        if header.issuperset(columns):
            return kind
    return "aiperf_csv" if line.startswith(("Metric,", '"Metric"')) else None


def _text_kind(head: str) -> str | None:
    if mlperf.MARK in head:
        return "mlperf_detail"
    return "mlperf_log" if mlperf.TITLE in head and not head.lstrip().startswith("{") else None


def _line_kind(head: str) -> str | None:
    """`mooncake` if the first line is one of its objects: such files may be very large."""
    line = next((text for text in head.splitlines() if text.strip()), "")
    try:
        first = parse_json(line, "line")
    except SchemaError:
        return None
    found = isinstance(first, dict) and set(_JSON["mooncake"]) <= set(first)
    return "mooncake" if found else None


def _json_kind(content: str, path: Path) -> str:
    """The kind of the first JSON object.

    Raises:
        SchemaError: not JSON, or of no known kind.
    """
    if not content.lstrip().startswith(("{", "[")):
        raise _unknown(path, "its first line has no known columns")
    for _, row in json_rows(content, str(path)).rows:
        return _object_kind(row, path)
    raise _unknown(path, "it has no JSON object")


def _object_kind(row: Mapping[str, Any], path: Path) -> str:
    for kind, keys in _JSON.items():
        if set(keys) <= set(row):
            return kind
    if mlperf.is_numbered(row):
        return "mlperf_summary"
    if "architectures" in row or any(isinstance(row.get(name), dict) for name in NESTED):
        return "huggingface"
    if any(isinstance(v, dict) and {"unit", "avg"} <= set(v) for v in row.values()):
        return "aiperf_json"
    other = other_object(row)
    if other is not None:
        raise SchemaError(f"{path}: {other[0]}", other[1])
    if isinstance(row.get("quantization"), dict):
        raise SchemaError(
            f"{path}: says how a model is quantised, not what it is",
            "import the config.json beside it; both are read",
        )
    raise _unknown(path, f"it has the keys {', '.join(map(str, row))[:200]}")


def _unknown(path: Path, why: str) -> SchemaError:
    kinds = ", ".join(sorted({*FORMATS, *_CSV, *_JSON}))
    return SchemaError(
        f"{path}: of no known kind: {why}",
        f"known kinds: {kinds}; anything else goes into a CSV of measurements (docs/formats.md)",
    )


# Our own table


def _own(content: str, source: str, catalog: Catalog) -> Collected:
    """Measurements that `to_csv` wrote, or that somebody wrote by hand; names must be in the
    catalog."""
    rows = csv_source(content, source)
    found = Collected(rejected=list(rows.rejected))
    runs: dict[tuple[str, ...], int] = {}
    for line, cells in rows.rows:
        try:
            row = _completed(from_cells(cells), cells, Path(source).name, line, runs)
            measurement = validate(Measurement, row, f"row {line}")
            _check_names(measurement, catalog)
        except (SchemaError, RowError) as error:
            said, *cure = str(error).split("\nhint: ")
            reason = "; ".join([said.splitlines()[0], *cure])
            found.rejected.append(Rejected(line, reason, raw_text(cells)))
        else:
            found.measurements.append(measurement)
    return found


_OF_A_FIGURE = ("metric", "statistic", "value", "unit", "definition", "line", "raw")


def _completed(
    row: dict[str, Any],
    cells: Mapping[str, str],
    name: str,
    line: int,
    runs: dict[tuple[str, ...], int],
) -> dict[str, Any]:
    """A row with what a hand-written table leaves out; figures of equal context are one run."""
    layout = row.get("parallelism", {})
    ranks = [layout.get(k, 1) for k in ("tp", "pp", "dp_attention")]
    context = tuple(v for k, v in sorted(cells.items()) if k not in _OF_A_FIGURE)
    own: dict[str, Any] = {
        "topology": "agg",
        "definition": "as its source has it",
        "source": name,
        "line": line,
        "run": runs.setdefault(context, len(runs) + 1),
        "raw": raw_text(cells),
    }
    if "tp" in layout and all(type(n) is int for n in ranks):
        own["gpus"] = math.prod(ranks)
    return {**own, **row, **_in_own_unit(row)}


def _in_own_unit(row: Mapping[str, Any]) -> dict[str, Any]:
    """Value and unit as they are kept; what is no figure is left to validation.

    Raises:
        RowError: an unknown unit, or one of something else.
    """
    metric, value, unit = row.get("metric"), row.get("value"), row.get("unit")
    kept = METRICS.get(str(metric))
    if kept is None or unit is None or not isinstance(value, int | float):
        return {}
    reading = Reading(str(metric), "", float(value), str(unit), "")
    return {"value": value if unit == kept else convert(reading, kept), "unit": kept}


def _check_names(measurement: Measurement, catalog: Catalog) -> None:
    pairs = (
        ("model", measurement.model, catalog.models),
        ("system", measurement.hardware, catalog.systems),
    )
    for what, name, known in pairs:
        if name not in known:
            hint = did_you_mean(name, known)
            raise SchemaError(f"{what} {name!r} is not in the catalog; {hint}", hint)
