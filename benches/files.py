"""Candidate files from end to end: a seeded Parquet file in, a Parquet file out, rows per second.

python benches/files.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from spread import spread

HERE = Path(__file__).resolve().parent
SEED = 20260701
ROWS = 10_000_000
GROUP_ROWS = 1 << 19
_SYSTEMS = ("h100_sxm_8", "h200_sxm_8", "b200_sxm_8", "mi300x_8", "h20_sxm_8")
_MODELS = ("llama-3.1-8b", "llama-3.1-70b", "qwen3-32b", "gpt-oss-120b")
_LENGTHS = ((128, 128), (500, 100), (1024, 1024), (2048, 256), (4000, 500), (8192, 1024))


def generate(path: Path, rows: int) -> None:
    """Random layouts, lengths, rates and prices; about a row in seven is in a closed loop.

    Some rows do not fit memory, some are above capacity and one in a thousand is wrong.
    """
    random = np.random.default_rng(SEED)
    writer = None
    for first in range(0, rows, GROUP_ROWS):
        table = _table(random, min(GROUP_ROWS, rows - first))
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _table(random: np.random.Generator, rows: int) -> pa.Table:
    def words(choice: tuple[str, ...]) -> pa.Array:
        codes = random.integers(0, len(choice), rows, dtype=np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(choice))

    lengths = np.array(_LENGTHS, dtype=np.int32)[random.integers(0, len(_LENGTHS), rows)]
    closed = random.random(rows) < 1 / 7
    rates = np.where(random.random(rows) < 1e-3, -1.0, random.uniform(0.1, 8.0, rows))
    return pa.table(
        {
            "system": words(_SYSTEMS),
            "model": words(_MODELS),
            "precision": words(("bf16", "fp8")),
            "tp": np.array((1, 2, 4, 8), dtype=np.int32)[random.integers(0, 4, rows)],
            "input_tokens": np.ascontiguousarray(lengths[:, 0]),
            "output_tokens": np.ascontiguousarray(lengths[:, 1]),
            "concurrency": pa.array(random.integers(1, 257, rows).astype(float), mask=~closed),
            "rate_rps": pa.array(rates, mask=closed),
            "price_usd_per_gpu_h": random.uniform(1.0, 6.0, rows),
            "tariff_usd_per_kwh": random.uniform(0.04, 0.2, rows),
            "pue": random.uniform(1.1, 1.5, rows),
        }
    )


_CHILD = """
import json, sys, time
from pathlib import Path
from spread import peak_mb
from tokenfleet.tables.layouts import FileOptions, evaluate_file
begun = time.perf_counter()
report = evaluate_file(Path(sys.argv[1]), Path(sys.argv[2]), FileOptions(force=True))
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "rejected": report.rejected}))
"""


def run(rows: int, runs: int) -> dict[str, Any]:
    """Rows/s of some runs, each in its own process, and the largest peak of memory, MB."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "candidates.parquet"), Path(folder, "results.parquet")
        generate(source, rows)
        found = []
        for _ in range(runs):
            command = [sys.executable, "-c", _CHILD, str(source), str(output)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
            found.append(json.loads(done.stdout))
        return {
            "rows": rows,
            "rows_per_s": spread([rows / r["seconds"] for r in found]),
            "peak_mb": max(r["peak_mb"] for r in found),
            "rejected": found[0]["rejected"],
        }


def measure(quick: bool) -> dict[str, Any]:
    """The figure of the goal, and how it goes with the size of the file."""
    sizes = (100_000, 1_000_000) if quick else (100_000, 1_000_000, ROWS)
    swept = [run(rows, 3) for rows in sizes]
    return {
        "parquet_rows_per_s": swept[-1]["rows_per_s"],
        "parquet_peak_mb": max(s["peak_mb"] for s in swept),
        "parquet_by_rows": {str(s["rows"]): s["rows_per_s"]["median"] for s in swept},
    }


def main() -> None:
    """Prints the measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(measure(parser.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()
