"""Explanations of many plans, each a piece of work for an engine: threads, processes or Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tokenfleet.catalog import Catalog
from tokenfleet.compute.base import ComputeEngine
from tokenfleet.errors import SchemaError
from tokenfleet.explanation.explain import explain
from tokenfleet.explanation.parts import Part
from tokenfleet.explanation.rows import Explanation


@dataclass(frozen=True)
class Question:
    """What is asked of every plan."""

    parts: tuple[Part, ...]
    of: tuple[str, ...] = ()
    gap: float | None = None
    time_limit_s: float | None = None  # of each plan
    catalog: Catalog | None = None


@dataclass(frozen=True)
class Explained:
    """A plan's explanation, or why there is none."""

    source: Path
    found: Explanation | None
    error: str = ""


def explain_many(
    sources: Sequence[Path], question: Question, engine: ComputeEngine
) -> Iterator[Explained]:
    """An explanation of each plan or scenario, as they end; what fails does not end the others."""
    for outcome in engine.run(partial(_explained, question), [str(path) for path in sources]):
        yield Explained(sources[outcome.index], outcome.value, outcome.error)


def _explained(question: Question, source: str) -> Explanation:
    return explain(
        source,
        parts=question.parts,
        of=question.of,
        gap=question.gap,
        time_limit_s=question.time_limit_s,
        catalog=question.catalog,
    )


def file_names(sources: Sequence[Path]) -> list[str]:
    """A file for each explanation, by the name of what is explained.

    Raises:
        SchemaError: two of them would have one file.
    """
    names = [f"{path.stem}.json" for path in sources]
    for name in names:
        if names.count(name) > 1:
            raise SchemaError(f"two plans would be explained in {name}", "give them other names")
    return names
