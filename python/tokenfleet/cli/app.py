"""The commands by name. Their modules load the solver and the tables only when they run."""

from __future__ import annotations

import gc

import typer

from tokenfleet.cli import (
    assistants,
    batches,
    calibrations,
    catalogs,
    explanations,
    exports,
    fleets,
    imports,
    pages,
    plans,
    points,
    published,
    reports,
    schemas,
    search,
    simulations,
    sizing,
)

_COLLECT_AFTER = 50_000  # new objects, before cycles among them are looked for

app = typer.Typer(
    name="tokenfleet",
    help="Which AI hardware serves a demand for tokens at the least cost per token, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 3 infeasible, 4 stopped with a plan that is "
    "not proven, 130 interrupted.",
)
app.command()(plans.demo)
app.command()(sizing.quick)
app.command()(plans.check)
app.command()(plans.plan)
app.command()(explanations.explain)
app.command()(explanations.diff)
app.command()(explanations.sweep)
app.command()(points.evaluate)
app.command("evaluate-fleets")(fleets.evaluate_fleets)
app.command()(search.search)
app.command()(simulations.simulate)
app.command()(reports.report)
app.command()(pages.ui)
app.command()(exports.export)
app.command()(assistants.mcp)
app.command()(batches.batch)
app.command("import")(imports.import_files)
app.command()(published.compare)
app.command()(calibrations.backtest)
app.command()(calibrations.calibrate)
app.command()(schemas.schema)
app.add_typer(catalogs.app, name="catalog")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from tokenfleet._core import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the command.

    What a command reads and builds stays until it ends: to look through all of it for cycles, again
    and again and once more at the end, takes time and finds nothing.
    """
    gc.set_threshold(_COLLECT_AFTER)
    try:
        app()
    finally:
        gc.freeze()
