"""`evaluate-fleets`: each row of a table is a whole mix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenfleet.cli.answer import answering
from tokenfleet.cli.options import (
    CatalogOption,
    ForceOption,
    InputsOption,
    JsonOption,
    ResumeOption,
    book,
)
from tokenfleet.cli.tables import answer_table, table_packages
from tokenfleet.cli.where import AddressOption, EngineOption, JobsOption

if TYPE_CHECKING:
    from tokenfleet.tables import TableReport

_SHOWN = {
    "row": "row",
    "id": "id",
    "case": "case",
    "feasible": "feasible",
    "annual_cost_usd": "USD/year",
    "cost_per_mtok_output_usd": "USD/Mtok out",
    "limit": "limit",
}

_WHOLE = "with whole replicas"
_FRACTIONS = (
    "with replicas as fractions (a small fleet may lack its last one; --whole-replicas counts "
    "whole ones)"
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
        typer.Option("--demand", help="Times the demand; again for another case."),
    ] = None,
    energy_price: Annotated[
        list[float] | None, typer.Option("--energy-price", help="Times the price of energy.")
    ] = None,
    system_price: Annotated[
        list[float] | None, typer.Option("--system-price", help="Times the price of systems.")
    ] = None,
    whole_replicas: Annotated[
        bool,
        typer.Option(
            "--whole-replicas",
            help="Count whole replicas, not fractions: as a plan has; a second a fleet.",
        ),
    ] = False,
    select: Annotated[
        str | None, typer.Option("--select", help="Answers to keep: 'feasible and drawn_kw < 90'.")
    ] = None,
    top: Annotated[int | None, typer.Option("--top", help="How many answers to keep.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Column that ranks them; default: annual_cost_usd.")
    ] = None,
    resume: ResumeOption = False,
    inputs: InputsOption = None,
    engine: EngineOption = "threads",
    jobs: JobsOption = None,
    ray_address: AddressOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate whole fleets: feasible or not and why, cost, power and headroom of each.

    Every row is a mix of systems; the demand goes where it costs least. Replicas are fractions
    unless whole ones are asked for.
    Over a horizon every row is a schedule: orders by column `offer@site period`.
    """
    with answering(as_json):
        with table_packages(fleets):
            from tokenfleet.scenario.load import load_scenario
            from tokenfleet.tables.fleets.run import FleetOptions, evaluate_fleet_file

        options = FleetOptions(
            select=select,
            top=top,
            by=by,
            inputs=inputs,
            resume=resume,
            force=force,
            demand=tuple(demand or [1.0]),
            energy_price=tuple(energy_price or [1.0]),
            system_price=tuple(system_price or [1.0]),
            whole_replicas=whole_replicas,
        )

        loaded = load_scenario(scenario, catalog=book(catalog))

        def words(report: TableReport) -> str:
            counts = report.counts
            said = (
                f"{report.rows:,} fleets, {report.rejected:,} rejected: {counts['feasible']:,} of "
                f"{counts['answers']:,} answers are feasible"
            )
            if loaded.scenario.horizon is not None:
                return said
            return f"{said}, {_WHOLE if whole_replicas else _FRACTIONS}"

        answer_table(
            fleets.name,
            lambda where, progress: evaluate_fleet_file(
                loaded, fleets, output, options, engine=where, progress=progress
            ),
            (engine, jobs, ray_address),
            as_json,
            (words, _SHOWN),
        )
