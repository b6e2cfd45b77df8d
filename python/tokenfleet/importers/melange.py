"""Mélange inputs as scenarios over measured columns.

`gpu_info` gives $/h and requests/s of each type for each bucket of input x output length,
`workload_distribution` the share of each bucket, `total_request_rate` requests/s. A throughput of
0 means that the type cannot serve the bucket. The scenario asks for the same: every bucket a
request class, every type a system with one accelerator rented at `cost`, and no cost beside rent.
`slice_factor` cuts the buckets so that an integer program can split them; our model splits demand
in any proportion, so it is not needed.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import cell
from tokenfleet.files.read import parse_json
from tokenfleet.schema.faults import brief

_SHARES = 1e-6  # how far shares may be from 1 in sum: files round them
_SOURCE = "imported Mélange file"
_MODEL = "llama-3.1-8b"  # a scenario names a model; with columns nothing is computed from it


@dataclass(frozen=True)
class Melange:
    """A Mélange input: types with $/h and rates by bucket, and the demand."""

    cost_usd_per_h: Mapping[str, float]
    rates: Mapping[str, tuple[tuple[float, ...], ...]]
    shares: tuple[tuple[float, ...], ...]
    requests_per_s: float

    @property
    def buckets(self) -> list[tuple[int, int]]:
        """Row (input) and column (output) of every bucket with demand."""
        return [
            (i, j) for i, row in enumerate(self.shares) for j, share in enumerate(row) if share > 0
        ]


def read_melange(content: str, source: str) -> Melange:
    """Reads a Mélange input.

    Raises:
        SchemaError: not JSON, a negative figure, matrices of different shapes, shares that do not
            sum to 1, or a bucket that no type can serve.
    """
    data = parse_json(content, source)
    if not isinstance(data, dict) or not isinstance(data.get("gpu_info"), dict):
        raise SchemaError(f"{source}: has no gpu_info", "give a Mélange input file")
    shares = _matrix(data.get("workload_distribution"), f"{source}: workload_distribution")
    _check_shares(shares, source)
    costs, rates = {}, {}
    for name, info in data["gpu_info"].items():
        where = f"{source}: gpu_info.{name[:60]}"
        if cell(name) != name or not name.strip():
            raise SchemaError(f"{where}: the name is blank or would run in a spreadsheet", "rename")
        if not isinstance(info, dict):
            raise SchemaError(f"{where}: should have cost and tputs", "give both")
        costs[name] = _amount(info.get("cost"), f"{where}.cost", positive=True)
        rates[name] = _matrix(info.get("tputs"), f"{where}.tputs")
        if [len(r) for r in rates[name]] != [len(r) for r in shares]:
            raise SchemaError(
                f"{where}.tputs: not the shape of workload_distribution", "align them"
            )
    total = _amount(data.get("total_request_rate"), f"{source}: total_request_rate", positive=True)
    found = Melange(costs, rates, shares, total)
    _check_served(found, source)
    return found


def _amount(value: Any, where: str, positive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        raise SchemaError(f"{where}: {brief(value)} is not a number", "write a plain number")
    if value < 0 or (positive and value == 0) or not math.isfinite(value):
        least = "above zero" if positive else "0 or more"
        raise SchemaError(f"{where}: {value} should be {least}", "0 in tputs means: cannot serve")
    return float(value)


def _matrix(value: Any, where: str) -> tuple[tuple[float, ...], ...]:
    if not isinstance(value, list) or not value or not all(isinstance(r, list) for r in value):
        raise SchemaError(f"{where}: should be a matrix, input x output", "write lists in a list")
    return tuple(
        tuple(_amount(value, f"{where}[{i}][{j}]") for j, value in enumerate(row))
        for i, row in enumerate(value)
    )


def _check_shares(shares: tuple[tuple[float, ...], ...], source: str) -> None:
    total = sum(sum(row) for row in shares)
    if abs(total - 1) > _SHARES:
        raise SchemaError(
            f"{source}: workload_distribution sums to {total:.9g}, not 1", "scale the shares"
        )


def _check_served(melange: Melange, source: str) -> None:
    for i, j in melange.buckets:
        if not any(rates[i][j] > 0 for rates in melange.rates.values()):
            raise SchemaError(
                f"{source}: bucket [{i}][{j}] has demand, and no type can serve it",
                "give a throughput above zero, or a share of 0",
            )


def _class_id(i: int, j: int) -> str:
    return f"in{i:02d}-out{j:02d}"


def catalog_rows(melange: Melange) -> dict[str, Any]:
    """The types as systems of one accelerator; only what a hosted system needs is stated."""
    systems = [
        {
            "id": name,
            "vendor": "unknown",
            "accelerator": name,
            "form": "server",
            "gpus": 1,
            "source": _SOURCE,
        }
        for name in melange.cost_usd_per_h
    ]
    return {"systems": systems}


def scenario(
    melange: Melange, name: str, catalog_file: str, columns_file: str, model: str | None = None
) -> dict[str, Any]:
    """Scenario data that asks what Mélange asks: least rent that serves every bucket.

    The two files hold `catalog_rows` and `columns_csv`. Lengths of classes are placeholders: the
    columns give the rates, so that nothing is computed from them.
    """
    total = sum(melange.shares[i][j] for i, j in melange.buckets)
    return {
        "name": name,
        "notes": "Imported from a Mélange file, whose rates are the columns. Nothing is computed "
        "from the token lengths of the classes (1); figures per token mean nothing.",
        "catalog": [catalog_file],
        "objective": {"kind": "least_cost"},
        "systems": sorted(melange.cost_usd_per_h),
        "workloads": [
            {
                "id": "requests",
                "model": model or _MODEL,
                "classes": [
                    {
                        "id": _class_id(i, j),
                        "share": melange.shares[i][j] / total,
                        "input_tokens": 1,
                        "output_tokens": 1,
                    }
                    for i, j in melange.buckets
                ],
                "demand": {"requests_per_s": melange.requests_per_s},
            }
        ],
        "sites": [{"id": "cloud", "region": "any", "power_kw": "unlimited", **_SITE}],
        "offers": [
            {
                "id": f"rent-{gpu}",
                "system": gpu,
                "kind": "rent",
                "term_years": 1,
                "price_usd_per_gpu_h": cost,
            }
            for gpu, cost in melange.cost_usd_per_h.items()
        ],
        "columns": columns_file,
    }


_SITE = {"power_basis": "it", "cooling": ["air"], "hosting_usd_per_kw_month": 0}


def columns_csv(melange: Melange) -> str:
    """One row for each type and bucket that it can serve; a type is one replica for all of them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("workload", "class", "system", "gpus", "rate_rps", "replica"))
    for gpu, rates in melange.rates.items():
        for i, j in melange.buckets:
            if rates[i][j] > 0:
                writer.writerow(("requests", _class_id(i, j), gpu, 1, rates[i][j], "one"))
    return text.getvalue()
