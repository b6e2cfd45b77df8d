"""Candidates as a question to a table: does it fit, how fast is it, what does a token cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tokenfleet._core import file_checksum
from tokenfleet.catalog import load_catalog, merge_files
from tokenfleet.schema.engines import DEFAULT_ENGINE
from tokenfleet.tables.layouts.columns import LARGER_IS_BETTER, TEXTS, named
from tokenfleet.tables.layouts.layouts import Layouts
from tokenfleet.tables.layouts.rows import COUNTED, evaluate_slice, result_schema
from tokenfleet.tables.question import Answered
from tokenfleet.tables.source import SLICE_ROWS, Bad, Source, label_type

_lock = threading.Lock()
_prepared = threading.local()  # layouts of this thread, by catalog files


@dataclass(frozen=True)
class CandidateQuestion:
    """What a candidate is worth. `catalogs` are files with rows over the shipped catalog's."""

    catalogs: tuple[str, ...] = ()
    texts: Sequence[str] = TEXTS
    larger_is_better: Sequence[str] = LARGER_IS_BETTER
    ranked_by: str = "cost_per_mtok_output_usd"
    counted: Sequence[str] = tuple(COUNTED)
    rows_at_once: int = SLICE_ROWS

    def columns(self, header: Sequence[str], source: str) -> dict[str, str]:
        """As `Question.columns`."""
        return named(header, source)

    def schema(self, source: Source, inputs: bool) -> pa.Schema:
        """As `Question.schema`."""
        return result_schema(source.columns, label_type(source), inputs)

    def identity(self) -> dict[str, Any]:
        """As `Question.identity`."""
        return {"kind": "candidates", "catalogs": [file_checksum(p) for p in self.catalogs]}

    def answerer(self, threads: int) -> _Answerer:
        """As `Question.answerer`; layouts that were prepared stay for the thread's next part."""
        if getattr(_prepared, "catalogs", None) != self.catalogs:
            with _lock:  # one loads the catalog, the others find it
                files = [Path(c) for c in self.catalogs]
                _prepared.layouts = Layouts(merge_files(load_catalog(), files))
            _prepared.catalogs = self.catalogs
        return _Answerer(_prepared.layouts)

    def notes(self, source: Source) -> list[str]:
        """As `Question.notes`."""
        return list(_notes(source))


@dataclass(frozen=True)
class _Answerer:
    layouts: Layouts

    def answer(self, batch: pa.RecordBatch, bad: Sequence[Bad], schema: pa.Schema) -> Answered:
        """As `Answerer.answer`."""
        return evaluate_slice(self.layouts, batch, bad, schema)


def _notes(source: Source) -> Iterator[str]:
    """What a reader of the costs should know."""
    if "price_usd_per_gpu_h" not in source.columns:
        yield "no price_usd_per_gpu_h: there is no cost"
    elif "tariff_usd_per_kwh" not in source.columns:
        yield "no tariff_usd_per_kwh: prices are taken to include energy"
    elif "pue" not in source.columns:
        yield "no pue: energy is charged as metered at the IT equipment (PUE 1)"
    if "engine" not in source.columns:
        yield f"no engine: rows are evaluated for {DEFAULT_ENGINE}"
