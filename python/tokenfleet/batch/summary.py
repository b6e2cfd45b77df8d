"""The table of a batch: one row per scenario, read from the manifest and the results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenfleet.batch.files import write_inside
from tokenfleet.batch.manifest import Entry
from tokenfleet.batch.solve import MEANINGS
from tokenfleet.files.plain import cell, plain

Row = dict[str, Any]
_FROM_PLAN = (
    "name",
    "status",
    "objective",
    "objective_value",
    "objective_unit",
    "bound",
    "gap",
    "annual_cost_usd",
    "cost_per_mtok_output_usd",
    "cost_per_mtok_total_usd",
    "tokens_per_year_output",
    "capex_usd",
    "gpus",
)
#: Costs of one period where a plan has several: a horizon's row has `_OF_HORIZON` in their place.
_OF_A_YEAR = ("annual_cost_usd", "cost_per_mtok_output_usd", "cost_per_mtok_total_usd")
_OF_HORIZON = (
    "npv_usd",
    "levelised_usd_per_year",
    "levelised_cost_per_mtok_output_usd",
    "levelised_cost_per_mtok_total_usd",
)
COLUMNS = (
    *("scenario", "exit_code", "meaning", *_FROM_PLAN, *_OF_HORIZON),
    *("first_period", "systems", "error", "hint", "file"),
)
_HOW = {"crashed": "crashed", "timeout": "timed out", "raised": "failed"}


def summary_rows(entries: Mapping[str, Entry], names: Sequence[str], results: Path) -> list[Row]:
    """A row for each scenario, in order of its name. Nothing in it depends on a clock."""
    return [_row(name, entries.get(name), results) for name in names]


def _row(name: str, entry: Entry | None, results: Path) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    row["scenario"] = name
    if entry is None:
        return {**row, "meaning": "not solved yet"}
    row["exit_code"] = entry.exit_code
    row["meaning"] = _HOW.get(entry.kind, MEANINGS.get(entry.exit_code, "failed"))
    row["error"] = entry.error or None
    if not entry.file:
        return row
    row["file"] = f"{results.name}/{entry.file}"
    data: Any = json.loads((results / entry.file).read_text(encoding="utf-8"))
    if "error" in data:
        error = data["error"]
        return {**row, "error": error["message"], "hint": error["hint"] or None}
    counts = sorted((s["site"], s["system"], s["offer"], s["count"]) for s in data["systems"])
    row["systems"] = "; ".join(f"{n:g} {system} at {site}" for site, system, _, n in counts)
    row |= {key: data[key] for key in _FROM_PLAN}
    return row if "horizon" not in data else {**row, **_over_time(data["horizon"])}


def _over_time(horizon: Mapping[str, Any]) -> Row:
    """What a horizon costs in all, in place of what its first period costs by itself."""
    found: Row = {**dict.fromkeys(_OF_A_YEAR), **{key: horizon[key] for key in _OF_HORIZON}}
    return {**found, "first_period": horizon["periods"][0]["period"]}


def write_summary(output: Path, rows: Sequence[Row]) -> None:
    """`summary.json` and `summary.csv`: numbers stay numbers; no text runs as a formula."""
    text = json.dumps({"schema_version": 1, "scenarios": rows}, indent=2, allow_nan=False)
    write_inside(output, "summary.json", (text + "\n").encode())
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if row[c] is None else _line(cell(row[c])) for c in COLUMNS])
    write_inside(output, "summary.csv", table.getvalue().encode())


def _line(value: object) -> object:
    """Text on one line."""
    return " ".join(plain(value).split("\n")) if isinstance(value, str) else value
