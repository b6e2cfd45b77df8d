"""`search`: the best operating points of a scenario over every load and offer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note, say, say_json
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.grid import brief, show_grid
from tokenfleet.cli.options import (
    CatalogOption,
    ForceOption,
    JsonOption,
    ScenarioArgument,
    book,
)
from tokenfleet.cli.pictures import check_picture, write_picture
from tokenfleet.cli.points import table_writer
from tokenfleet.cli.progress import searching
from tokenfleet.errors import SchemaError

_SHOWN = {
    "workload": "workload",
    "class": "class",
    "system": "system",
    "offer": "offer",
    "precision": "weights",
    "tp": "TP",
    "batch_limit": "batch",
    "utilisation": "load",
    "cost_per_mtok_output_usd": "$/Mtok out",
    "output_tokens_per_s_per_gpu": "tok/s/GPU",
    "ttft_p99_ms": "TTFT p99 ms",
    "tpot_p99_ms": "TPOT p99 ms",
}


class Ranking(str, Enum):
    """What ranks points; less is better."""

    cost = "cost"
    ttft = "ttft"
    tpot = "tpot"


_TITLES = {Ranking.cost: "$/Mtok", Ranking.ttft: "TTFT p99", Ranking.tpot: "TPOT p99"}


def search(
    scenario: ScenarioArgument,
    loads: Annotated[
        int, typer.Option("--loads", min=1, help="Steps of utilisation per replica.")
    ] = 99,
    top: Annotated[int, typer.Option("--top", min=0, help="Best points to show per class.")] = 5,
    by: Annotated[
        Ranking,
        typer.Option("--by", help="What ranks them: cost per Mtok, TTFT p99 or TPOT p99."),
    ] = Ranking.cost,
    front: Annotated[
        bool,
        typer.Option(
            "--front/--no-front",
            help="Whether to keep all points that none beats; without, only the best: memory "
            "does not grow with the number of points.",
        ),
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the unbeaten points, or with --no-front the best, to this .csv or .parquet "
            "file.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw cost against latency of the unbeaten points: an .svg file."),
    ] = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search every operating point of a scenario for the best and the unbeaten ones."""
    with answering(as_json):
        from tokenfleet.points.search import search_points
        from tokenfleet.scenario.load import load_scenario

        write = table_writer(output)
        refuse_existing(output, force, scenario)
        check_picture(plot, force)
        if plot is not None and not front:
            raise SchemaError("--plot draws the points that none beats", "leave out --no-front")
        with searching("ordering the points") as progress:
            found = search_points(
                load_scenario(scenario, catalog=book(catalog)),
                loads=loads,
                cheapest=top,
                by=by.value,
                front=front,
                progress=progress,
            )
        if output is not None and write is not None:
            columns = found.front if front else found.cheapest
            write_atomic(output, write(columns), force)
            note(f"wrote {len(columns.get('workload', ()))} points to {output}")
        if plot is not None:
            from tokenfleet.report.figures.points import figures

            write_picture(plot, figures(found.front), str(scenario), force)
        if as_json:
            say_json(
                {
                    "schema_version": 1,
                    "by": by.value,
                    "counts": dict(found.counts),
                    "seconds": found.seconds,
                    "cheapest": _records(found.cheapest),
                    **({"front": _records(found.front)} if front else {}),
                }
            )
            return
        _say(found.counts, found.seconds)
        if front:
            kept = len(found.front.get("workload", ()))
            say(f"{kept:,} within limits are not beaten in cost, TTFT and TPOT together.")
        say(f"The best within limits by {_TITLES[by]}:")
        _table(_records(found.cheapest))


def _records(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lists = {name: values.tolist() for name, values in columns.items()}
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _say(counts: Mapping[str, int], seconds: float) -> None:
    possible = counts.get("total", 0) - counts.get("no_layout", 0) - counts.get("memory", 0)
    skipped = counts.get("skipped_dominated", 0) + counts.get("skipped_beyond_limits", 0)
    say(
        f"{possible:,} operating points that fit: {counts.get('computed', 0):,} computed, "
        f"{skipped:,} skipped by bounds, in {seconds:.2f} s"
    )


def _table(rows: list[dict[str, Any]]) -> None:
    def number(name: str) -> bool:
        return bool(rows) and isinstance(rows[0][name], int | float)

    show_grid(
        [(title, number(name)) for name, title in _SHOWN.items()],
        ([_brief(row[name]) for name in _SHOWN] for row in rows),
    )


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else brief(value)
