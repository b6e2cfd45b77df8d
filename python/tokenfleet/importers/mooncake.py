"""Mooncake traces (github.com/kvcache-ai/Mooncake): JSON lines with hashes of prefix blocks.

Fields: `timestamp` (ms), `input_length`, `output_length`, `hash_ids` (one per block of 512 prompt
tokens; equal hashes mean an equal prefix up to the end of the block).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.files.read import parse_json, read_text
from tokenfleet.importers.trace import (
    MAX_TRACE_BYTES,
    Floats,
    Request,
    RowError,
    Trace,
    build_trace,
    token_count,
)

BLOCK_TOKENS = 512


def read_mooncake(path: Path) -> Trace:
    """Reads a Mooncake trace.

    Raises:
        SchemaError: names file and rows that are not JSON objects or hold unusable values.
    """
    requests, faults = [], []
    for line, text in enumerate(read_text(path, MAX_TRACE_BYTES).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            requests.append(_request(parse_json(text, "line"), line))
        except RowError as error:
            faults.append(f"row {line}: {error}")
        except SchemaError as error:
            faults.append(f"row {line}: {error.message}")
    return build_trace(path, requests, faults, BLOCK_TOKENS)


def _request(row: Any, line: int) -> Request:
    if not isinstance(row, dict):
        raise RowError("is not a JSON object")
    for field in ("timestamp", "input_length", "output_length"):
        if field not in row:
            raise RowError(f"{field} is missing")
    time_ms = row["timestamp"]
    if isinstance(time_ms, bool) or not isinstance(time_ms, int | float):
        raise RowError(f"timestamp {str(time_ms)[:40]!r} is not a number of ms")
    if not math.isfinite(time_ms) or time_ms < 0:
        raise RowError(f"timestamp is {time_ms}; it should be finite and not negative")
    blocks = row.get("hash_ids", [])
    if not isinstance(blocks, list) or not all(type(b) is int for b in blocks):
        raise RowError("hash_ids should be a list of whole numbers")
    return Request(
        time_ms / 1000,
        token_count("input_length", row["input_length"]),
        token_count("output_length", row["output_length"]),
        tuple(blocks),
        row=line,
    )


def block_hit_rate(trace: Trace) -> float:
    """Share of prompt blocks that an unlimited cache already holds when they arrive."""
    seen: set[int] = set()
    hits = total = 0
    for blocks in trace.blocks or ():
        hits += sum(b in seen for b in blocks)
        total += len(blocks)
        seen.update(blocks)
    return hits / total if total else 0.0


def cached_tokens(trace: Trace) -> Floats:
    """Prompt tokens of each request that an unlimited cache holds: its leading known blocks.

    The last prompt token is always computed, because the first output token comes from it.
    """
    seen: set[int] = set()
    cached = np.zeros(len(trace), dtype=np.float64)
    for i, blocks in enumerate(trace.blocks or ()):
        leading = next((j for j, b in enumerate(blocks) if b not in seen), len(blocks))
        cached[i] = min(leading * trace.block_tokens, int(trace.input_tokens[i]) - 1)
        seen.update(blocks)
    return cached
