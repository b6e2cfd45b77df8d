"""`evaluate-fleets`: each row of a table is a whole mix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tokenfleet.cli.answer import answering, console, note, say, say_json
from tokenfleet.cli.meter import metered
from tokenfleet.cli.options import ForceOption, JsonOption
from tokenfleet.errors import SchemaError
from tokenfleet.text import plain

_SHOWN = (
    "row",
    "id",
    "scenario",
    "feasible",
    "annual_cost_usd",
    "cost_per_mtok_output_usd",
    "limit",
)


def evaluate_fleets(
    fleets: Annotated[
        Path,
        typer.Argument(help="A .parquet, .arrow or .csv table: counts by column offer@site."),
    ],
    scenario: Annotated[
        Path, typer.Option("--scenario", "-s", help="The scenario whose offers are counted.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .parquet, .arrow or .csv file of answers.")
    ],
    demand: Annotated[
        list[float] | None,
        typer.Option("--demand", help="Times the demand; again for another scenario."),
    ] = None,
    energy_price: Annotated[
        list[float] | None, typer.Option("--energy-price", help="Times the price of energy.")
    ] = None,
    system_price: Annotated[
        list[float] | None, typer.Option("--system-price", help="Times the price of systems.")
    ] = None,
    select: Annotated[
        str | None, typer.Option("--select", help="Answers to keep: 'feasible and drawn_kw < 90'.")
    ] = None,
    top: Annotated[int | None, typer.Option("--top", help="How many answers to keep.")] = None,
    by: Annotated[str, typer.Option("--by", help="Column that ranks them.")] = "annual_cost_usd",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate whole fleets: feasible or not and why, cost, power and headroom of each.

    Every row is a mix of systems; the demand goes where it costs least, with replicas relaxed.
    """
    with answering(as_json):
        try:
            from tokenfleet.fleets.table import FleetOptions, evaluate_fleet_file
        except ImportError as error:
            raise SchemaError(
                f"{fleets}: tables need the packages polars and pyarrow ({error.name})",
                "pip install 'tokenfleet[tables]'",
            ) from None
        from tokenfleet.fleets import FleetEvaluator

        options = FleetOptions(
            tuple(demand or [1.0]),
            tuple(energy_price or [1.0]),
            tuple(system_price or [1.0]),
            select,
            top,
            by,
            force=force,
        )
        evaluator = FleetEvaluator(scenario)
        with metered(fleets.name, "rows") as progress:
            report = evaluate_fleet_file(evaluator, fleets, output, options, progress=progress)
        note(f"wrote {report.written:,} answers to {output}")
        best = report.best.to_pylist()
        if as_json:
            say_json(
                {
                    "schema_version": 1,
                    "rows": report.rows,
                    "answers": report.answers,
                    "feasible": report.feasible,
                    "written": report.written,
                    "output": str(output),
                    "by": by,
                    "best": best,
                }
            )
        else:
            say(f"{report.feasible:,} of {report.answers:,} answers are feasible")
            _show(best)


def _show(best: list[dict[str, Any]]) -> None:
    from rich.table import Table

    names = [name for name in _SHOWN if best and name in best[0]]
    table = Table(*names)
    for row in best:
        table.add_row(*(_text(row[name]) for name in names))
    if best:
        console().print(table)


def _text(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else plain(str(value))
