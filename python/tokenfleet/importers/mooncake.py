"""Traces with hashes of prefix blocks, JSON lines: Mooncake's, and Bailian's, which has its keys.

Fields: `timestamp`, `input_length`, `output_length`, `hash_ids` (one per block of prompt tokens;
equal hashes mean an equal prefix up to the end of the block). Mooncake
(github.com/kvcache-ai/Mooncake) counts milliseconds and blocks of 512 tokens; Bailian
(github.com/alibaba-edu/qwen-bailian-usagetraces-anon) seconds and blocks of 16. Which one a file is
shows in its facts: hashes times the size of a block make up a prompt, and Bailian names a chat.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
    requests_of,
    token_count,
)

BLOCK_TOKENS = 512
_SIZES: tuple[int, ...] = (BLOCK_TOKENS, *(2**i for i in range(13)))
_FITS = 0.99  # share of rows that a block size must explain
_CHAT = "chat_id"  # a key of Bailian's rows alone
_MOST_PER_S = 200.0  # requests/s beyond which ms were probably seconds


def read_mooncake(path: Path) -> Trace:
    """Reads a trace of Mooncake's or Bailian's form.

    Raises:
        SchemaError: names file and rows that are not JSON objects or hold unusable values; or the
            hashes fit no size of blocks.
    """
    rows = list(_rows(path))
    first = next((row for _, row in rows if isinstance(row, dict)), {})
    unit_s = 1.0 if _CHAT in first else 1e-3
    requests, faults, notes = requests_of(path, rows, lambda row, i: _request(row, i, unit_s))
    size = BLOCK_TOKENS if faults else _block_tokens(path, requests)
    if size != BLOCK_TOKENS:
        notes.append(f"{path}: blocks of {size} tokens, as the hashes and lengths show")
    if unit_s == 1.0:
        notes.append(f"{path}: times are seconds, as in every file that has {_CHAT}")
    trace = build_trace(path, requests, faults, size, notes)
    rate = len(trace) / trace.span_s if trace.span_s > 0 else 0.0
    if unit_s != 1.0 and rate > _MOST_PER_S:
        told = f"{path}: times read as ms make {rate:,.0f} requests/s; are they seconds?"
        return replace(trace, warnings=(*trace.warnings, told))
    return trace


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Parsed lines; one that is no JSON stands as its error."""
    for line, text in enumerate(read_text(path, MAX_TRACE_BYTES).splitlines(), start=1):
        if text.strip():
            try:
                yield line, parse_json(text, "line")
            except SchemaError as error:
                yield line, error


def _request(row: Any, line: int, unit_s: float) -> Request:
    if isinstance(row, SchemaError):
        raise RowError(row.message)
    if not isinstance(row, dict):
        raise RowError("is not a JSON object; write one { } a line, without [ ] around them")
    for field in ("timestamp", "input_length", "output_length"):
        if field not in row:
            raise RowError(f"{field} is missing")
    time = row["timestamp"]
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise RowError(f"timestamp {str(time)[:40]!r} is not a number")
    if not math.isfinite(time) or time < 0:
        raise RowError(f"timestamp is {time}; it should be finite and not negative")
    blocks = row.get("hash_ids", [])
    if not isinstance(blocks, list) or not all(type(b) is int for b in blocks):
        raise RowError("hash_ids should be a list of whole numbers")
    return Request(
        time * unit_s,
        token_count("input_length", row["input_length"]),
        token_count("output_length", row["output_length"]),
        tuple(blocks),
        row=line,
    )


def _block_tokens(path: Path, requests: Sequence[Request]) -> int:
    """The size of a block: the one by which hashes make up the prompts, a last part or not.

    Raises:
        SchemaError: no size does, and a prompt has more hashes than blocks of 512 tokens.
    """
    hashed = [(r.input_tokens, len(r.blocks), r.row) for r in requests if r.blocks]
    for size in _SIZES:
        fitting = sum(n in (tokens // size, -(-tokens // size)) for tokens, n, _ in hashed)
        if fitting >= _FITS * len(hashed):
            return size
    for tokens, n, row in hashed:
        if n > -(-tokens // BLOCK_TOKENS):
            raise SchemaError(
                f"{path}: row {row}: {n} hash_ids for a prompt of {tokens:,} tokens; no size of "
                "blocks makes up the prompts",
                "give one hash per block of equally many tokens",
            )
    return BLOCK_TOKENS


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
