"""`batch`: many scenarios in, a folder of plans and a table out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, answering, console, note, say, say_json
from tokenfleet.cli.meter import metered
from tokenfleet.cli.options import GapOption, JsonOption, SeedOption, TimeLimitOption

EngineOption = Annotated[
    str, typer.Option("--engine", help="Where work runs: on this machine, or `ray`.")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--ray-address", help="Ray cluster; default: RAY_ADDRESS, or one started here."),
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", help="Pieces at a time; default: one for each core.")
]
_SHOWN = {
    "scenario": "scenario",
    "meaning": "ended",
    "status": "status",
    "annual_cost_usd": "USD/year",
    "cost_per_mtok_output_usd": "USD/Mtok out",
    "gap": "gap",
    "gpus": "GPUs",
    "systems": "systems",
}

_WIDEST = 60  # characters of a cell; the files have the rest


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
        )
        with metered("scenarios", "scenarios") as progress:
            report = run_batch(
                scenarios,
                output,
                options,
                engine=_engine(engine, jobs, ray_address),
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


def _engine(name: str, jobs: int | None, address: str | None) -> Any:
    from tokenfleet.engines import open_engine
    from tokenfleet.errors import SchemaError

    if name == "threads":
        raise SchemaError(
            "--engine: a scenario needs a process of its own", "use processes, or ray"
        )
    return open_engine(name, jobs, **({"address": address} if name == "ray" else {}))


def _show(rows: Sequence[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, title in _SHOWN.items():
        number = name in ("annual_cost_usd", "cost_per_mtok_output_usd", "gap", "gpus")
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        shown = {**row, "systems": row["systems"] or row["error"]}
        table.add_row(*(Text(_brief(shown[name])) for name in _SHOWN))
    console().print(table)


def _brief(value: Any) -> str:
    from tokenfleet.text import plain

    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    text = plain(value).replace("\n", " ")
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
