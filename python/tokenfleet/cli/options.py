"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenfleet.files.cache import VARIABLE

if TYPE_CHECKING:
    from tokenfleet.catalog import Catalog

ScenarioArgument = Annotated[
    Path, typer.Argument(metavar="SCENARIO", help="Scenario file: YAML, TOML or JSON.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON with stable keys, and nothing else.")
]
CatalogOption = Annotated[
    list[Path] | None,
    typer.Option("--catalog", help="Catalog file with own systems, models or prices; repeatable."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite the output file.")]
GapOption = Annotated[float | None, typer.Option("--gap", help="Relative gap to prove.")]
TimeLimitOption = Annotated[
    float | None, typer.Option("--time-limit", help="Seconds for the solver.")
]
ConfidenceOption = Annotated[
    str | None,
    typer.Option(
        "--confidence",
        metavar="NUMBER|expected",
        help="Hold limits and rates at this confidence, 0.5 to 0.99, or as the model expects them.",
    ),
]


def _without_cache(no_cache: bool) -> bool:
    """Neither reads nor keeps evaluated spaces, in this process and those it starts."""
    if no_cache:
        os.environ[VARIABLE] = ""
    return no_cache


NoCacheOption = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        callback=_without_cache,
        help="Search the configurations anew, and keep nothing of it in the user's cache folder.",
    ),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Threads; default: all.")]
VerifyOption = Annotated[
    str | None,
    typer.Option(
        "--verify",
        metavar="brief|simulate|none",
        help="Simulate the plan: its largest groups in brief (default), or all of it in full. "
        "Where a limit fails with confidence, lower that capacity and plan again.",
    ),
]
TraceOption = Annotated[
    list[str] | None,
    typer.Option(help="Trace to replay, for all workloads or as WORKLOAD=FILE; repeatable."),
]
NearOption = Annotated[
    Path | None,
    typer.Option("--near", help="A plan that stands: prefer what moves fewest of its systems."),
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a scenario of which anything is assumed; name each."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Random seed of the solver.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with a table where an earlier run was cut off.")
]
InputsOption = Annotated[
    bool | None,
    typer.Option(
        "--inputs/--no-inputs",
        help="Whether a table's own columns go before the answers; default: where rows leave.",
    ),
]


def book(files: list[Path] | None) -> Catalog | None:
    """The catalog with one's own rows on top; None, without files, is the shipped one.

    Raises:
        SchemaError: a faulty file, row or field.
    """
    from tokenfleet.catalog import load_catalog, merge_files

    return merge_files(load_catalog(), files) if files else None


def traces(given: list[str] | None) -> str | dict[str, str] | None:
    """One file for all workloads, or files by workload.

    Raises:
        SchemaError: both at once, or a workload named twice.
    """
    from tokenfleet.errors import SchemaError

    if not given:
        return None
    if len(given) == 1 and ("=" not in given[0] or Path(given[0]).is_file()):
        return given[0]
    found: dict[str, str] = {}
    for text in given:
        workload, _, path = text.partition("=")
        if not path or workload in found:
            raise SchemaError(f"--trace {text}", "give one FILE, or WORKLOAD=FILE once for each")
        found[workload] = path
    return found


def trace_files(given: list[str] | None) -> list[Path]:
    """Every file that `--trace` may mean: FILE, or WORKLOAD=FILE."""
    return [Path(part) for text in given or () for part in {text, text.partition("=")[2]} if part]
