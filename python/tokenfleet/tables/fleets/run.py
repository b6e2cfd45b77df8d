"""Files of fleets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenfleet.compute import ComputeEngine
from tokenfleet.errors import SchemaError
from tokenfleet.fleets.evaluate import fixed_problem
from tokenfleet.optimize import solve_options
from tokenfleet.problem import build
from tokenfleet.problem_data import Problem
from tokenfleet.scenario.load import ScenarioSource, load_scenario
from tokenfleet.tables import TableOptions, TableReport, evaluate_table
from tokenfleet.tables.fleets.question import FleetQuestion
from tokenfleet.tables.fleets.schedules import schedule_question
from tokenfleet.tables.run import Progress

_AS_A_PLAN = "leave it out: a schedule is planned, with replicas as a plan over time has them"


@dataclass(frozen=True)
class FleetOptions(TableOptions):
    """As `TableOptions`, and the cases of demand and prices: multipliers, one for each.

    `whole_replicas` counts whole replicas where else they are fractions.
    """

    demand: tuple[float, ...] = (1.0,)
    energy_price: tuple[float, ...] = (1.0,)
    system_price: tuple[float, ...] = (1.0,)
    whole_replicas: bool = False


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
    several cases a fleet has one row for each. Over a horizon a row is a schedule of orders, with
    columns `offer@site period`. Counts of the report: `answers`, `feasible`.

    Raises:
        SchemaError: a scenario without fixed demand, bad input or options, an output that is
            there, or an unfinished run of other input; names what.
        SolverError: a routing could not be certified.
        OSError: the disk is full; what is done stays for `resume`.
    """
    options = options or FleetOptions()
    question = _question(scenario, options)
    return evaluate_table(question, path, output, options, engine=engine, progress=progress)


def _question(scenario: ScenarioSource | Problem, options: FleetOptions) -> FleetQuestion:
    cases = (options.demand, options.energy_price, options.system_price)
    if not isinstance(scenario, Problem):
        scenario = load_scenario(scenario)
        if scenario.scenario.horizon is not None:
            if options.whole_replicas:
                raise SchemaError("whole replicas over a horizon", _AS_A_PLAN)
            names = ("demand", "energy_price", "system_price")
            given = dict(zip(names, cases, strict=True))
            return schedule_question(build(scenario), solve_options(scenario.scenario), **given)
    problem = fixed_problem(scenario)
    return FleetQuestion(problem, *cases, whole_replicas=options.whole_replicas)
