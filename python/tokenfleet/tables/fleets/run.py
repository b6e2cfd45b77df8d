"""Files of fleets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenfleet.compute import ComputeEngine
from tokenfleet.fleets.evaluate import fixed_problem
from tokenfleet.problem_data import Problem
from tokenfleet.scenario.load import ScenarioSource
from tokenfleet.tables import TableOptions, TableReport, evaluate_table
from tokenfleet.tables.fleets.question import FleetQuestion
from tokenfleet.tables.run import Progress


@dataclass(frozen=True)
class FleetOptions(TableOptions):
    """As `TableOptions`, and the cases of demand and prices: multipliers, one for each."""

    demand: tuple[float, ...] = (1.0,)
    energy_price: tuple[float, ...] = (1.0,)
    system_price: tuple[float, ...] = (1.0,)


def evaluate_fleet_file(
    scenario: ScenarioSource | Problem,
    path: Path,
    output: Path,
    options: FleetOptions | None = None,
    *,
    engine: ComputeEngine | None = None,
    progress: Progress | None = None,
) -> TableReport:
    """Answers for every fleet of a .parquet, .arrow or .csv file, in a file; see `evaluate_table`.

    Columns are `offer@site` and, if wanted, `id`; offers without a column are not bought. Under
    several cases a fleet has one row for each. Counts of the report: `answers`, `feasible`.

    Raises:
        SchemaError: a scenario without fixed demand, bad input or options, an output that is
            there, or an unfinished run of other input; names what.
        SolverError: a routing could not be certified.
        OSError: the disk is full; what is done stays for `resume`.
    """
    options = options or FleetOptions()
    question = FleetQuestion(
        fixed_problem(scenario), options.demand, options.energy_price, options.system_price
    )
    return evaluate_table(question, path, output, options, engine=engine, progress=progress)
