"""Whole fleets as a question to a table: counts by column in, answers by column out."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.fleets.evaluate import (
    SLICE_FLEETS,
    FleetAnswers,
    FleetEvaluator,
    are_counts,
    cases,
)
from tokenfleet.problem_data import FloatArray, Problem
from tokenfleet.schema import did_you_mean
from tokenfleet.tables.cells import Wrong, not_a_number, numeric, row_numbers, with_lines
from tokenfleet.tables.question import REJECTED, ROW, Answered
from tokenfleet.tables.source import LABEL, Bad, Source, label_type

CASE = "case"
_lock = threading.Lock()
_evaluators: dict[tuple[str, bool], FleetEvaluator] = {}  # the last one of this process
_WHOLE_AT_ONCE = 64  # fleets of a part with whole replicas, each of which is solved


@dataclass(frozen=True, eq=False)
class FleetQuestion:
    """What a fleet costs and whether it serves the demand, in one or more cases of demand
    and prices.

    Raises:
        SchemaError: multipliers that are none, or not equally many.
    """

    problem: Problem
    demand: tuple[float, ...] = (1.0,)
    energy_price: tuple[float, ...] = (1.0,)
    system_price: tuple[float, ...] = (1.0,)
    whole_replicas: bool = False
    texts: Sequence[str] = ()
    larger_is_better: Sequence[str] = ("tokens_per_year_output", "utilisation")
    ranked_by: str = "annual_cost_usd"
    counted: Sequence[str] = ("answers", "feasible")

    def __post_init__(self) -> None:
        cases(self.demand, self.energy_price, self.system_price)

    @cached_property
    def key(self) -> str:
        """Digest of all that the problem holds, whatever it was read from."""
        return hashlib.sha256(json.dumps(_plain(self.problem)).encode()).hexdigest()

    @cached_property
    def offers(self) -> list[str]:
        """Columns of counts: `offer@site`."""
        return [offer.id for offer in self.problem.offers]

    @property
    def rows_at_once(self) -> int:
        """As `Question.rows_at_once`: each row has an answer in every case."""
        most = _WHOLE_AT_ONCE if self.whole_replicas else SLICE_FLEETS
        return max(1, most // self._case_count)

    def columns(self, header: Sequence[str], source: str) -> dict[str, str]:
        """As `Question.columns`: any of the offers, and `id`."""
        for name in header:
            if name not in self.offers and name != LABEL:
                raise SchemaError(
                    f"{source}: column {name[:60]!r}: unknown", did_you_mean(name, self.offers)
                )
        if len(set(header)) < len(header):
            twice = next(name for name in header if list(header).count(name) > 1)
            raise SchemaError(f"{source}: column {twice!r}: is there twice", "keep one")
        if not set(header) & set(self.offers):
            raise SchemaError(
                f"{source}: no column of counts", f"columns are {', '.join(self.offers)[:300]}"
            )
        return {name: name for name in header}

    def schema(self, source: Source, inputs: bool) -> pa.Schema:
        """As `Question.schema`."""
        found: list[tuple[str, pa.DataType]] = [(ROW, pa.int64())]
        for name in source.columns:
            if name == LABEL:
                found.append((LABEL, label_type(source)))
            elif inputs:
                found.append((name, pa.int64()))
        if self._case_count > 1:
            found.append((CASE, pa.int64()))
        kinds = {"b": pa.bool_(), "i": pa.int64(), "f": pa.float64(), "O": pa.string()}
        none = self.evaluate(self._evaluator(), np.zeros((0, len(self.offers))), 1)
        found += [(name, kinds[values.dtype.kind]) for name, values in none.columns.items()]
        return pa.schema(found)

    def identity(self) -> dict[str, Any]:
        """As `Question.identity`."""
        scales = [list(s) for s in (self.demand, self.energy_price, self.system_price)]
        replicas = "whole" if self.whole_replicas else "fractions"
        return {"kind": "fleets", "problem": self.key, "cases": scales, "replicas": replicas}

    def answerer(self, threads: int) -> FleetAnswerer:
        """As `Question.answerer`."""
        return FleetAnswerer(self, self._evaluator(), threads)

    def notes(self, source: Source) -> list[str]:
        """As `Question.notes`."""
        left = [name for name in self.offers if name not in source.columns]
        return [f"not bought, for want of a column: {', '.join(left)[:300]}"] if left else []

    @property
    def _case_count(self) -> int:
        return max(len(s) for s in (self.demand, self.energy_price, self.system_price))

    def _evaluator(self) -> FleetEvaluator:
        """The evaluator of this process: threads share it, it is not changed by its work."""
        with _lock:
            key = (self.key, self.whole_replicas)
            if key not in _evaluators:
                _evaluators.clear()
                _evaluators[key] = FleetEvaluator(self.problem, whole_replicas=self.whole_replicas)
            return _evaluators[key]

    def evaluate(self, evaluator: FleetEvaluator, counts: FloatArray, threads: int) -> FleetAnswers:
        """Answers to checked counts in the cases of the question."""
        return evaluator.evaluate(
            counts,
            demand=self.demand,
            energy_price=self.energy_price,
            system_price=self.system_price,
            threads=threads,
        )


@dataclass(frozen=True, eq=False)
class FleetAnswerer:
    """The question with its evaluator."""

    question: FleetQuestion
    evaluator: FleetEvaluator
    threads: int

    def answer(self, batch: pa.RecordBatch, bad: Sequence[Bad], schema: pa.Schema) -> Answered:
        """As `Answerer.answer`: a row for each fleet and case."""
        row = row_numbers(batch.num_rows, bad)
        columns, wrong = numeric(batch, ())
        counts = np.zeros((batch.num_rows, len(self.question.offers)))
        for o, name in enumerate(self.question.offers):
            if name in columns:
                counts[:, o] = columns[name].to_numpy(zero_copy_only=False)
        rejected = _rejected(counts, columns, wrong, self.question.offers)
        kept = np.setdiff1d(np.arange(len(row)), list(rejected), assume_unique=True)
        found = self.question.evaluate(self.evaluator, counts[kept], self.threads)
        repeated = {name: c.take(pa.array(kept)) for name, c in columns.items()}
        accepted = _table(found, row[kept], repeated, schema)
        lines = [(int(row[i]), *rejected[i]) for i in sorted(rejected)]
        table = pa.table(
            [pa.array([line[c] for line in lines], f.type) for c, f in enumerate(REJECTED)],
            schema=REJECTED,
        )
        feasible = int(np.count_nonzero(found["feasible"]))
        counted = {"answers": accepted.num_rows, "feasible": feasible}
        return Answered(accepted, with_lines(table, bad), counted)


def _rejected(
    counts: FloatArray, columns: dict[str, pa.Array], wrong: Wrong, offers: Sequence[str]
) -> dict[int, tuple[str, str, str]]:
    """By place of a row: the column to look at, its value and why it is no count."""
    found: dict[int, tuple[str, str, str]] = {}
    for i, o in np.argwhere(~are_counts(counts)).tolist():
        blank = not columns[offers[o]][i].is_valid
        why = "is blank: write 0 for none" if blank else "must be a whole number from 0"
        value = "" if blank else f"{counts[i, o]:g}"
        found.setdefault(i, (offers[o], value, why))
    for i, (name, text) in wrong.items():
        found[i] = (name, text[:80], not_a_number(text))
    return found


def _table(
    found: FleetAnswers,
    row: NDArray[np.int64],
    columns: dict[str, pa.Array],
    schema: pa.Schema,
) -> pa.Table:
    """Fleets in order, each with its cases in order."""
    cases_given, fleets = found["feasible"].shape
    of_fleet = np.repeat(np.arange(fleets), cases_given)
    arrays: list[pa.Array] = []
    for field in schema:
        if field.name == ROW:
            arrays.append(pa.array(row[of_fleet]))
        elif field.name == CASE and CASE not in found.columns:
            arrays.append(pa.array(np.tile(np.arange(1, cases_given + 1), fleets)))
        elif field.name in columns:
            arrays.append(columns[field.name].take(pa.array(of_fleet)).cast(field.type))
        else:
            flat = found.columns[field.name].T.reshape(-1)
            arrays.append(pa.array(flat, field.type, from_pandas=flat.dtype.kind == "f"))
    return pa.table(arrays, schema=schema)


def _plain(value: Any) -> Any:
    """A value of a problem as what JSON can hold, the same for equal problems."""
    if is_dataclass(value):
        value = [type(value).__name__, *(getattr(value, f.name) for f in fields(value))]
    elif isinstance(value, np.ndarray):
        value = [str(value.dtype), value.shape, value.ravel().tolist()]
    elif isinstance(value, dict):
        value = sorted(value.items())
    elif isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
