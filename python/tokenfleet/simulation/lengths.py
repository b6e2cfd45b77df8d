"""Token counts to draw from: of a class's percentiles, or of the requests of a trace.

A class gives percentiles, a mean and the longest. Its quantile function goes straight from one
percentile to the next where its start can be chosen so that the mean is met; otherwise every piece
bends by the same power, which keeps the percentiles and meets the mean exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.importers.trace import Trace
from tokenfleet.schema import Length, RequestClass
from tokenfleet.schema.workload import LEVELS

SAMPLES = 8192
Tokens = NDArray[np.uint32]
Pairs = tuple[Tokens, Tokens]
_LEAST, _MOST = 0.02, 0.98  # share of a piece's rise that its mean may lie at


def quantiles(length: Length, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tokens at cumulative shares, with the class's percentiles and its mean.

    A mean that lies outside what the percentiles allow scales the whole, up to the longest.
    """
    tops = np.array(length.quantiles)
    widths = np.diff([0.0, *LEVELS])
    straight = float(widths @ (np.array([0.0, *tops[:-1]]) + tops) / 2)
    low = min(max((length.mean - straight) / (widths[0] / 2), 0.0), tops[0])
    bottoms = np.array([low, *tops[:-1]])
    base, rise = float(widths @ bottoms), float(widths @ (tops - bottoms))
    share = (length.mean - base) / rise if rise > 0 else 0.5
    share = min(max(share, _LEAST), _MOST)
    power = 1.0 / share - 1.0
    piece = np.minimum(np.searchsorted(LEVELS, levels, side="left"), len(LEVELS) - 1)
    starts = np.array([0.0, *LEVELS[:-1]])
    inside = (levels - starts[piece]) / widths[piece]
    tokens = bottoms[piece] + (tops - bottoms)[piece] * inside**power
    scaled: NDArray[np.float64] = np.minimum(
        tokens * length.mean / (base + share * rise), length.max
    )
    return scaled


def class_pairs(c: RequestClass, seed: int, samples: int = SAMPLES) -> Pairs:
    """Equally likely (input, output) tokens of a class, with its rank correlation.

    Both keep their distributions; which output goes with which prompt is that of a Gaussian copula,
    whose correlation for a rank correlation of r is 2 sin(pi r / 6).
    """
    levels = (np.arange(samples) + 0.5) / samples
    rng = np.random.default_rng(seed)
    first, other = rng.standard_normal((2, samples))
    r = 2.0 * np.sin(np.pi * c.length_correlation / 6.0)
    second = r * first + np.sqrt(max(1.0 - r * r, 0.0)) * other
    order = np.argsort(np.argsort(second[np.argsort(first)]))
    return whole(quantiles(c.input_tokens, levels)), whole(
        quantiles(c.output_tokens, levels)[order]
    )


def whole(tokens: NDArray[np.float64]) -> Tokens:
    """Whole tokens, at least one."""
    rounded: Tokens = np.maximum(np.rint(tokens), 1).astype(np.uint32)
    return rounded


def classes_of(trace: Trace, classes: Sequence[RequestClass]) -> NDArray[np.int64]:
    """Class of each request of a trace: the first, by longest prompt, that its prompt fits.

    Raises:
        SchemaError: a request longer than every class; names file and row.
    """
    order = sorted(range(len(classes)), key=lambda k: (classes[k].input_tokens.max, k))
    tops = np.array([classes[k].input_tokens.max for k in order])
    place = np.searchsorted(np.ceil(tops), trace.input_tokens, side="left")
    outputs = np.array([np.ceil(classes[k].output_tokens.max) for k in order])
    fits = place < len(order)
    fits[fits] = trace.output_tokens[fits] <= outputs[place[fits]]
    if not fits.all():
        raise _too_long(trace, int(np.flatnonzero(~fits)[0]), classes)
    found: NDArray[np.int64] = np.array(order, dtype=np.int64)[place]
    return found


def _too_long(trace: Trace, i: int, classes: Sequence[RequestClass]) -> SchemaError:
    prompt, output = int(trace.input_tokens[i]), int(trace.output_tokens[i])
    longest = max(c.input_tokens.max for c in classes)
    return SchemaError(
        f"{trace.source}: row {row_of(trace, i)}: a request of {prompt:,} + {output:,} tokens is "
        f"longer than its class allows; the workload's longest prompt has {longest:,.0f}",
        "replay only the times of the trace: --lengths classes",
    )


def row_of(trace: Trace, i: int) -> int:
    """Line of a request in its file; its position where the trace has none."""
    return int(trace.rows[i]) if trace.rows is not None else i + 1
