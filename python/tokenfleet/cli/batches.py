"""`batch`: many scenarios in, a folder of plans and a table out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, answering, note, say, say_json
from tokenfleet.cli.grid import brief, show_grid
from tokenfleet.cli.meter import metered
from tokenfleet.cli.options import (
    CatalogOption,
    GapOption,
    JsonOption,
    SeedOption,
    TimeLimitOption,
)
from tokenfleet.cli.where import AddressOption, EngineOption, JobsOption, Where, opened
from tokenfleet.files.plain import plain
from tokenfleet.report.numbers import percent

if TYPE_CHECKING:
    from tokenfleet.compute import ComputeEngine

_SHOWN = {
    "scenario": "scenario",
    "meaning": "ended",
    "status": "status",
    "annual_cost_usd": "USD/year",
    "levelised_usd_per_year": "USD/year levelised",
    "cost_per_mtok_output_usd": "USD/Mtok out",
    "levelised_cost_per_mtok_output_usd": "USD/Mtok out levelised",
    "gap": "gap",
    "gpus": "GPUs",
    "systems": "systems",
}


def batch(
    scenarios: Annotated[
        list[Path],
        typer.Argument(metavar="SCENARIO|FOLDER...", help="Scenarios, or their folders."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for plans, manifest and summary.")
    ],
    jobs: JobsOption = None,
    time_limit: TimeLimitOption = None,
    kill_after: Annotated[
        float | None,
        typer.Option("--kill-after", help="Seconds by the clock for one attempt at a scenario."),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            "--retries",
            min=0,
            help="More attempts, each with another seed, at a "
            "scenario whose process crashed or whose solver failed.",
        ),
    ] = 1,
    gap: GapOption = None,
    seed: SeedOption = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads for each scenario.")
    ] = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Solve again what is done; use a folder with content.")
    ] = False,
    engine: EngineOption = "processes",
    ray_address: AddressOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan many scenarios, each in its own process; run it again to go on where it stopped.

    A scenario that fails is noted in the summary and the others go on: the exit code is 0 when all
    have ended, 130 after Ctrl-C, which keeps what is done.
    """
    with answering(as_json):
        from tokenfleet.batch import BatchOptions, run_batch

        given = {"gap": gap, "time_limit_s": time_limit, "threads": threads, "seed": seed}
        options = BatchOptions(
            solver={name: value for name, value in given.items() if value is not None},
            retries=retries,
            kill_after_s=kill_after,
            force=force,
            catalogs=tuple(catalog or ()),
        )
        with metered("scenarios", "scenarios") as progress:
            report = run_batch(
                scenarios,
                output,
                options,
                engine=_engine((engine, jobs, ray_address)),
                progress=progress,
            )
        if as_json:
            say_json(
                {
                    "schema_version": 1,
                    "done_before": report.skipped,
                    "interrupted": report.interrupted,
                    "scenarios": list(report.rows),
                }
            )
        else:
            _show(report.rows)
            say(f"{report.skipped} done before; plans, summary.csv and summary.json in {output}")
        if report.interrupted:
            note("interrupted: run the same command again to go on")
            raise typer.Exit(INTERRUPTED)


def _engine(where: Where) -> ComputeEngine:
    from tokenfleet.errors import SchemaError

    if where[0] == "threads":
        raise SchemaError(
            "--engine: a scenario needs a process of its own", "use processes, or ray"
        )
    return opened(where)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table; a cost that no scenario has gets no column."""
    costs = [name for name in _SHOWN if "usd" in name]
    gone = {name for name in costs if all(row[name] is None for row in rows)} - {costs[0]}
    titles = {name: title for name, title in _SHOWN.items() if name not in gone}
    numbers = {*costs, "gap", "gpus"}
    show_grid(
        [(title, name in numbers) for name, title in titles.items()],
        ([_cell(name, row[name]) for name in titles] for row in rows),
    )
    for row in rows:
        if row["error"]:
            say(f"{plain(row['scenario'])}: {plain(row['error'])}")


def _cell(name: str, value: Any) -> str:
    """A figure in few characters; a gap in percent, as a plan says it."""
    if name == "gap" and value is not None:
        return percent(value)
    return brief(value).replace("\n", " ")
