"""Requests for a replica group: drawn from its classes, or split off a trace that is sped up.

A trace is scaled by playing it faster, so that the times between requests keep their shape and with
it their bursts, and goes round as often as it takes. Each of its requests is dealt to one of the
groups that serve its class, by the plan's own shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.importers.lengths import read_trace
from tokenfleet.importers.mooncake import cached_tokens
from tokenfleet.importers.trace import Trace
from tokenfleet.problem.specification import Specification, architecture
from tokenfleet.problem_data import FloatArray
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.simulation.lengths import Pairs, class_pairs, classes_of, row_of
from tokenfleet.simulation.prefixes import Hashes, Prefixes, prefixes_of
from tokenfleet.simulation.standing import Group

LengthsFrom = Literal["auto", "classes", "trace"]
PrefixesFrom = Literal["auto", "classes", "trace"]


@dataclass(frozen=True, eq=False)
class Replay:
    """Requests in order of arrival."""

    times_s: FloatArray
    classes: NDArray[np.uint32]
    inputs: NDArray[np.uint32]
    outputs: NDArray[np.uint32]
    hashes: Hashes | None = None  # of the blocks of the prompts


@dataclass(frozen=True, eq=False)
class TraceLoad:
    """A trace as the load of one workload."""

    trace: Trace
    classes: NDArray[np.int64] | None  # of each request; None: classes and lengths are drawn
    gap_s: float  # from the last request to the first of the next round
    prefixes: Prefixes | None = None  # blocks of its prompts, where caches go by them

    def unlimited_hit_rate(self) -> float:
        """Share of the trace's prompt tokens that one cache without end would hold."""
        return float(cached_tokens(self.trace).sum() / self.trace.input_tokens.sum())

    @property
    def round_s(self) -> float:
        """Seconds of one round."""
        return self.trace.span_s + self.gap_s


def pairs_of(
    loaded: LoadedScenario, spec: Specification, workload: int, seed: int
) -> tuple[Pairs, ...]:
    """Equally likely (input, output) tokens of every class of a workload.

    Those of the scenario's own trace where the classes come from one, so that the two lengths stay
    together; otherwise of each class's percentiles.
    """
    classes = spec.classes[workload]
    lengths = spec.workloads[workload].lengths
    if lengths is None or lengths.trace is None or lengths.format is None:
        return tuple(class_pairs(c, seed + k) for k, c in enumerate(classes))
    trace = read_trace(loaded.base_dir / lengths.trace, lengths.format)
    members = classes_of(trace, classes)
    rows = [np.flatnonzero(members == k) for k in range(len(classes))]
    return tuple(
        (trace.input_tokens[r].astype(np.uint32), trace.output_tokens[r].astype(np.uint32))
        for r in rows
    )


def check_trace(trace: Trace) -> None:
    """Refuses a trace that cannot be replayed.

    Raises:
        SchemaError: out of order (names the row), one request, or all at one time.
    """
    if trace.unsorted_row is not None:
        raise SchemaError(
            f"{trace.source}: row {trace.unsorted_row}: comes before the row above it",
            "sort the rows by time",
        )
    if len(trace) < 2 or trace.span_s <= 0:
        raise SchemaError(
            f"{trace.source}: all {len(trace)} requests come at one time; a replay needs a rate",
            "give a trace of at least two requests at different times",
        )


def trace_load(
    trace: Trace,
    loaded: LoadedScenario,
    spec: Specification,
    workload: int,
    *,
    source: LengthsFrom,
    prefixes: PrefixesFrom = "auto",
) -> TraceLoad:
    """A trace as the load of a workload, its lengths checked.

    `auto` takes lengths from the trace where the workload's own classes come from measured lengths,
    and draws them from the classes where the scenario states these. What prefix caches find goes by
    the blocks of the trace where it has some and its lengths are taken (`auto`, `trace`), else by
    the classes' hit rates.

    Raises:
        SchemaError: a request longer than its class or the model's context, or with more blocks
            than its prompt has; names the row. Blocks asked for that are not there.
    """
    check_trace(trace)
    own = spec.workloads[workload]
    take = source == "trace" or (source == "auto" and own.lengths is not None)
    members = None
    if take:
        longest = architecture(loaded, own).max_context
        over = np.flatnonzero(trace.input_tokens + trace.output_tokens > longest)
        if len(over):
            i = int(over[0])
            total = int(trace.input_tokens[i] + trace.output_tokens[i])
            raise SchemaError(
                f"{trace.source}: row {row_of(trace, i)}: a request of {total:,} tokens; "
                f"{own.model} takes {longest:,}",
                "remove the row, or replay only the times: --lengths classes",
            )
        members = classes_of(trace, spec.classes[workload])
    blocks = None
    if prefixes != "classes" and take and trace.blocks is not None:
        blocks = prefixes_of(trace)
    elif prefixes == "trace":
        why = "its lengths are drawn" if trace.blocks is not None else "it has none"
        raise SchemaError(
            f"{trace.source}: prefix caches should go by the blocks of the trace, but {why}",
            "take lengths from a trace with blocks (--lengths trace), or --prefixes classes",
        )
    return TraceLoad(trace, members, trace.span_s / (len(trace) - 1), blocks)


def deal(
    load: TraceLoad,
    group: Group,
    totals: FloatArray,
    pairs: Sequence[Pairs],
    *,
    replicas: int,
    requests: int,
    seed: int,
    scale: float = 1.0,
) -> Replay:
    """The group's requests of a trace whose mean rate is `scale` times that of the workload.

    `totals` (K,) are the workload's requests/s over all groups and APIs, `replicas` those of the
    group that are simulated. The trace starts at a place of its own for every seed.

    Raises:
        SchemaError: the trace has no request of the group's classes.
    """
    rng = np.random.default_rng(seed)
    kept = group.rates * (replicas / group.count)
    rounds = int(np.ceil(requests / (_expected(load, kept, totals) * len(load.trace)))) + 1
    speed = scale * totals.sum() / (len(load.trace) / load.round_s)
    start = int(rng.integers(len(load.trace)))
    at = np.roll(load.trace.timestamp_s, -start)
    at = np.where(np.arange(len(at)) < len(at) - start, at, at + load.round_s) - at[0]
    parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]] = []
    found = 0
    for turn in range(100 * rounds):
        classes, mine = _mine(load, kept, totals, rng, start)
        chosen = np.flatnonzero(mine)
        rows = (chosen + start) % len(at)
        parts.append(((at[chosen] + turn * load.round_s) / speed, classes[chosen], rows))
        found += len(chosen)
        if found >= requests:
            break
    if not found:
        raise SchemaError(
            f"{load.trace.source}: has no request of the classes of {group.name}",
            "draw the lengths: --lengths classes",
        )
    times, members, rows = (
        np.concatenate(column)[:requests] for column in zip(*parts, strict=True)
    )
    # Requests at one time can fall out of order by the last digit where a round begins.
    times = np.maximum.accumulate(times)
    inputs, outputs = _lengths(load, members, rows, pairs, rng)
    hashes = None
    if load.prefixes is not None:
        turns = np.repeat(np.arange(len(parts)), [len(rows) for _, _, rows in parts])
        hashes = load.prefixes.of(rows, turns[: len(rows)])
    return Replay(times - times[0], members.astype(np.uint32), inputs, outputs, hashes)


def _expected(load: TraceLoad, kept: FloatArray, totals: FloatArray) -> float:
    """Share of the trace's requests that come to the group."""
    if load.classes is None:
        return float(kept.sum() / totals.sum())
    share = np.divide(kept, totals, out=np.zeros_like(kept), where=totals > 0)
    return max(float(share[load.classes].mean()), 1.0 / len(load.trace))


def _mine(
    load: TraceLoad, kept: FloatArray, totals: FloatArray, rng: np.random.Generator, start: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class of each request of one round, and whether it comes to the group."""
    if load.classes is None:
        classes = rng.choice(len(totals), size=len(load.trace), p=totals / totals.sum())
    else:
        classes = np.roll(load.classes, -start)
    share = np.divide(kept, totals, out=np.zeros_like(kept), where=totals > 0)
    return classes, rng.random(len(classes)) < share[classes]


def _lengths(
    load: TraceLoad,
    members: NDArray[np.int64],
    rows: NDArray[np.int64],
    pairs: Sequence[Pairs],
    rng: np.random.Generator,
) -> Pairs:
    if load.classes is not None:
        trace = load.trace
        return trace.input_tokens[rows].astype(np.uint32), trace.output_tokens[rows].astype(
            np.uint32
        )
    inputs = np.zeros(len(members), dtype=np.uint32)
    outputs = np.zeros(len(members), dtype=np.uint32)
    for k, (prompt, output) in enumerate(pairs):
        own = np.flatnonzero(members == k)
        if len(own):
            drawn = rng.integers(len(prompt), size=len(own))
            inputs[own], outputs[own] = prompt[drawn], output[drawn]
    return inputs, outputs


def totals_of(groups: Sequence[Group], apis: Mapping[int, FloatArray]) -> dict[int, FloatArray]:
    """Requests/s by workload and class over all groups and APIs of one block."""
    totals = {w: row.copy() for w, row in apis.items()}
    for group in groups:
        if group.replica.role != "prefill":
            known = totals.get(group.workload)
            totals[group.workload] = group.rates + (0.0 if known is None else known)
    return totals
