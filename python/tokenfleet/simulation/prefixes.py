"""Blocks of the prompts of a trace, as the core's prefix caches know them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.importers.trace import Trace
from tokenfleet.simulation.lengths import row_of

# Hashes of all prompts one after the other, where those of each begin and the last ends, and tokens
# in a block.
Hashes = tuple[NDArray[np.uint64], NDArray[np.uint64], int]


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Blocks of every request of a trace, numbered from 0."""

    blocks: NDArray[np.uint64]  # of all requests, one after the other
    starts: NDArray[np.int64]  # (N + 1,)
    distinct: int
    tokens: int  # in a block

    def of(self, rows: NDArray[np.int64], turns: NDArray[np.int64]) -> Hashes:
        """Hashes of requests of the trace, each in its round.

        Rounds share no block: a trace that goes round would otherwise find itself in the caches.
        """
        counts = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        inside = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        picked = self.blocks[np.repeat(self.starts[rows], counts) + inside]
        shift = np.repeat(turns, counts).astype(np.uint64) * np.uint64(self.distinct)
        return picked + shift, starts.astype(np.uint64), self.tokens


def prefixes_of(trace: Trace) -> Prefixes:
    """The blocks of a trace that has some.

    Raises:
        SchemaError: a request with more blocks than its prompt has; names the row.
    """
    assert trace.blocks is not None
    counts = np.array([len(blocks) for blocks in trace.blocks], dtype=np.int64)
    most = -(-trace.input_tokens // trace.block_tokens)
    over = np.flatnonzero(counts > most)
    if len(over):
        i = int(over[0])
        raise SchemaError(
            f"{trace.source}: row {row_of(trace, i)}: {counts[i]} blocks of {trace.block_tokens} "
            f"tokens for a prompt of {trace.input_tokens[i]:,}",
            "fix the row, or let hit rates of the classes count: --prefixes classes",
        )
    flat = np.fromiter((b for blocks in trace.blocks for b in blocks), dtype=object)
    known, numbers = np.unique(flat, return_inverse=True)
    return Prefixes(
        blocks=numbers.astype(np.uint64),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        distinct=len(known),
        tokens=trace.block_tokens,
    )
