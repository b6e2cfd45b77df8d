"""One benchmark figure as a record, and records as CSV.

Every importer of benchmark results ends here: one `Measurement` per figure, in the units of
`METRICS`, with the definition that its source uses. The CSV form keeps every field, so that
import, export and import again give equal records.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date as calendar_date
from typing import Annotated, Any, Literal

from pydantic import Field

from tokenfleet.files.plain import cell
from tokenfleet.schema.fields import (
    Count,
    Day,
    Name,
    NonNegative,
    Positive,
    PositiveCount,
    about,
    quantity,
)
from tokenfleet.schema.rows import Row

# Metrics and the unit that each is kept in.
METRICS: Mapping[str, str] = {
    "ttft": "ms",
    "tpot": "ms",
    "itl": "ms",
    "e2el": "ms",
    "request_throughput": "requests/s",
    "goodput": "requests/s",
    "input_throughput": "tokens/s",
    "output_throughput": "tokens/s",
    "total_throughput": "tokens/s",
    "input_throughput_per_gpu": "tokens/s/gpu",
    "output_throughput_per_gpu": "tokens/s/gpu",
    "total_throughput_per_gpu": "tokens/s/gpu",
    "output_throughput_per_user": "tokens/s/user",
    "in_flight": "requests",
    "acceptance_length": "tokens",
    "gpu_power": "W",
    "power": "W",
    "gpu_energy": "J",
    "energy_per_input_token": "J/token",
    "energy_per_output_token": "J/token",
    "energy_per_total_token": "J/token",
    "energy_per_request": "J/request",
}
_STATISTIC = r"^(mean|std|min|max|total|(adj_)?p(0|[1-9][0-9]?)(\.[0-9]{1,3})?)$"
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Metric = Annotated[Name, Field(pattern="^(" + "|".join(METRICS) + ")$")]


class Parallelism(Row):
    """How one copy of a model is spread; blank where the source does not say.

    `tp` counts ranks that share the attention heads, `dp_attention` copies of the attention beside
    each other; with experts both together make up the accelerators of a stage.
    """

    tp: PositiveCount | None = quantity("Tensor-parallel ranks", "ranks", default=None)
    pp: PositiveCount | None = quantity("Pipeline stages", "stages", default=None)
    ep: PositiveCount | None = quantity("Expert-parallel ranks", "ranks", default=None)
    dp_attention: PositiveCount | None = quantity(
        "Data-parallel ranks of the attention", "ranks", default=None
    )
    workers: PositiveCount | None = quantity("Copies", "copies", default=None)
    gpus: PositiveCount | None = quantity("Accelerators of all copies", "GPUs", default=None)


class Measurement(Row):
    """One figure of one benchmark run."""

    model: Name = about("Model of the catalog")
    hardware: Name = about("System of the catalog")
    engine: Name | None = about("Serving engine", default=None)
    engine_version: Name | None = about("Version or image of the engine", default=None)
    precision: Name | None = about("Number format of the weights", default=None)
    speculation: Name | None = about("Speculative decoding; blank: none stated", default=None)
    topology: Literal["agg", "disagg"] = about("One pool, or prefill and decode apart")
    parallelism: Parallelism = about("Layout; of decode where the topology is disagg")
    prefill: Parallelism | None = about("Layout of prefill where apart", default=None)
    gpus: PositiveCount = quantity("Accelerators of the run", "GPUs")
    input_tokens: Positive | None = quantity("Mean prompt", "tokens", default=None)
    output_tokens: Positive | None = quantity("Mean output", "tokens", default=None)
    concurrency: Positive | None = quantity("Requests held in flight", "requests", default=None)
    request_rate: Positive | None = quantity("Arrival rate", "requests/s", default=None)
    metric: Metric = about("What was measured")
    statistic: Annotated[Name, Field(pattern=_STATISTIC)] = about("mean, p50, total and so on")
    value: NonNegative = quantity("The figure, in `unit`", "see unit")
    unit: Name = about("Unit of the value")
    definition: Name = about("What the source means by the figure")
    origin: Literal["measured", "predicted"] = about("Whether it was measured", default="measured")
    n: Count | None = quantity("Requests behind the figure", "requests", default=None)
    date: Day | None = about("Day of the run", default=None)
    source: Name = about("File")
    line: PositiveCount = quantity("Line in the file", "lines")
    run: PositiveCount = quantity("Run in the file, counted from 1", "runs")
    raw: Annotated[str, Field(strict=True, max_length=100_000)] = about("The row as it was, JSON")


_LAYOUT = tuple(Parallelism.model_fields)
_PLAIN = tuple(f for f in Measurement.model_fields if f not in ("parallelism", "prefill"))
COLUMNS = (
    *(f for f in _PLAIN if f != "raw"),
    *(f"layout_{name}" for name in _LAYOUT),
    *(f"prefill_{name}" for name in _LAYOUT),
    "raw",
)


def to_csv(measurements: Iterable[Measurement]) -> str:
    """Measurements as CSV with `COLUMNS`; text that a spreadsheet would run gets a quote."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for measurement in measurements:
        flat = _flat(measurement)
        writer.writerow([_written(flat[c]) for c in COLUMNS])
    return text.getvalue()


def _flat(measurement: Measurement) -> dict[str, Any]:
    row = {name: getattr(measurement, name) for name in _PLAIN}
    for prefix, layout in (("layout", measurement.parallelism), ("prefill", measurement.prefill)):
        row.update({f"{prefix}_{name}": getattr(layout, name, None) for name in _LAYOUT})
    return row


def _written(value: Any) -> Any:
    """A cell; a quote is doubled, because `from_cells` takes one away."""
    if value is None:
        return ""
    if isinstance(value, calendar_date):
        return value.isoformat()
    if isinstance(value, str):
        return f"'{value}" if value.startswith("'") else cell(value)
    return repr(value)


def from_cells(cells: Mapping[str, str]) -> dict[str, Any]:
    """Plain data of a measurement from the cells of a CSV row."""
    row: dict[str, Any] = {n: _read(n, cells[n]) for n in _PLAIN if cells.get(n)}
    row["parallelism"] = _layout("layout", cells)
    prefill = _layout("prefill", cells)
    return {**row, "prefill": prefill} if prefill else row


def _layout(prefix: str, cells: Mapping[str, str]) -> dict[str, Any]:
    named = {name: cells.get(f"{prefix}_{name}") for name in _LAYOUT}
    return {name: _number(text) for name, text in named.items() if text}


def _read(name: str, text: str) -> Any:
    extra = Measurement.model_fields[name].json_schema_extra
    if isinstance(extra, dict) and "unit" in extra:
        return _number(text)
    return text[1:] if text.startswith("'") else text


def _number(text: str) -> int | float | str:
    """A number, or the text itself, which validation then refuses."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def group_runs(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """Measurements of one run of one file together, in order."""
    runs: dict[tuple[str, int], list[Measurement]] = {}
    for measurement in measurements:
        runs.setdefault((measurement.source, measurement.run), []).append(measurement)
    return list(runs.values())


def figure(run: Sequence[Measurement], metric: str, *statistics: str) -> float | None:
    """The value of a metric in a run, by the first of the statistics that it has."""
    found = {m.statistic: m.value for m in run if m.metric == metric}
    return next((found[s] for s in statistics if s in found), None)
