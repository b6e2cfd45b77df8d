"""`demo`, `check` and `plan`: a scenario in, an answer out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, UNPROVEN, answering, console, note, say, say_json
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.options import (
    CatalogOption,
    ConfidenceOption,
    ForceOption,
    GapOption,
    JsonOption,
    NearOption,
    NoCacheOption,
    ScenarioArgument,
    SeedOption,
    StrictOption,
    ThreadsOption,
    TimeLimitOption,
    TraceOption,
    VerifyOption,
    book,
    trace_files,
    traces,
)
from tokenfleet.cli.pictures import check_picture
from tokenfleet.cli.progress import searching
from tokenfleet.cli.reports import check_output, draw
from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.simulation.settings import SimulationSettings

if TYPE_CHECKING:
    from tokenfleet.cli.progress import Report
    from tokenfleet.plan.rows import Plan
    from tokenfleet.problem.check import Checked
    from tokenfleet.scenario.load import LoadedScenario

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Also write the plan as JSON to this file.")
]
BRIEF = "brief"
DEMO = Path(__file__).parent.parent / "examples" / "enterprise.yaml"


def demo(
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the example scenario here, to start from.")
    ] = None,
    force: ForceOption = False,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
) -> None:
    """Plan the enterprise example that comes with the package."""
    with answering(as_json):
        if save is not None:
            write_atomic(save, DEMO.read_bytes(), force)
            note(f"wrote {save}")
        _plan(_load(DEMO, {}), as_json, how={"verify": BRIEF})


def check(
    scenario: ScenarioArgument,
    strict: StrictOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Validate a scenario and count what would be planned over, without solving."""
    with answering(as_json):
        from tokenfleet.problem.check import check as check_scenario
        from tokenfleet.problem.inputs import refuse_assumed

        loaded = _load(scenario, {}, catalog=catalog)
        checked = check_scenario(loaded)
        if strict:
            refuse_assumed(loaded, checked.assumed)
        if as_json:
            say_json(checked.to_json())
        else:
            _say_checked(checked)


def plan(
    scenario: ScenarioArgument,
    output: OutputOption = None,
    force: ForceOption = False,
    gap: GapOption = None,
    time_limit: TimeLimitOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    confidence: ConfidenceOption = None,
    verify: VerifyOption = BRIEF,
    requests: Annotated[
        int,
        typer.Option(help="With --verify simulate: requests of each group and replication."),
    ] = SimulationSettings.requests,
    burstiness: Annotated[
        float,
        typer.Option(help="With --verify simulate: shape of Gamma times of arrival; 1: Poisson."),
    ] = SimulationSettings.burstiness,
    trace: TraceOption = None,
    period: Annotated[
        str | None,
        typer.Option(help="Over a horizon: show this period (2027-Q1), not the first."),
    ] = None,
    fix_first: Annotated[
        Path | None,
        typer.Option("--fix-first", help="Over a horizon: keep the first orders of this plan."),
    ] = None,
    near: NearOption = None,
    near_tolerance: Annotated[
        float,
        typer.Option("--near-tolerance", help="With --near: share of the best value given up."),
    ] = 0.01,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Also write the answer as a page (.html), where there is no plan too, or a "
            "spreadsheet (.xlsx).",
        ),
    ] = None,
    explore: Annotated[
        bool,
        typer.Option(
            "--explore", help="Also solve plans beside it: alternatives, other limits and inputs."
        ),
    ] = False,
    explore_limit: Annotated[
        float, typer.Option("--explore-limit", min=1.0, help="Seconds for that.")
    ] = 120.0,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw load and power over the day, or cash over time: an .svg file."),
    ] = None,
    strict: StrictOption = False,
    catalog: CatalogOption = None,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the hardware mix with the least cost, with its proof."""
    with answering(as_json):
        refuse_existing(output, force, scenario, near, fix_first, *trace_files(trace))
        check_output(report, force)
        check_picture(plot, force)
        solver = {"gap": gap, "time_limit_s": time_limit, "threads": threads, "seed": seed}
        given = {name: value for name, value in solver.items() if value is not None}
        sure = {} if confidence is None else {"confidence": _confidence(confidence)}
        judge: dict[str, Any] = {"seed": seed or 0, "threads": threads or 0}
        replay = traces(trace)
        how: dict[str, Any] = {"verify": None if verify == "none" else verify, "trace": replay}
        how["strict"] = strict
        if period is not None:
            how["period"] = period
        if fix_first is not None:
            from tokenfleet.plan.rows import Plan

            how["fixed"] = Plan.load(fix_first)
        if near is not None:
            from tokenfleet.plan.rows import Plan

            how |= {"near": Plan.load(near), "near_tolerance": near_tolerance}
        if verify == BRIEF:
            how["simulation"] = SimulationSettings.brief(**judge)
        elif verify == "simulate":
            how["simulation"] = SimulationSettings(
                requests=requests, burstiness=burstiness, **judge
            )
        loaded = _load(scenario, given, sure, catalog)
        with _reporting(report, plot, loaded) as told:
            beside = explore_limit if explore else None
            _plan(loaded, as_json, (output, force), how, told, beside_s=beside)


def _confidence(text: str) -> float | str:
    """A number where it is one; the schema judges the rest."""
    try:
        return float(text)
    except ValueError:
        return text


def _load(
    path: Path,
    solver: dict[str, Any],
    given: dict[str, Any] | None = None,
    catalog: list[Path] | None = None,
) -> LoadedScenario:
    """The scenario with solver settings and other fields of the command line over its own.

    Raises:
        SchemaError: the file or a setting cannot be understood.
    """
    from tokenfleet.scenario.load import load_scenario, with_solver

    loaded = load_scenario(path, given=given, catalog=book(catalog))
    return with_solver(loaded, solver, "command line")


def _plan(
    loaded: LoadedScenario,
    as_json: bool,
    file: tuple[Path | None, bool] = (None, False),
    how: dict[str, Any] | None = None,
    told: Callable[[Plan], None] | None = None,
    *,
    beside_s: float | None = None,
) -> None:
    from tokenfleet.optimize import optimize_fleet

    output, force = file
    watched = note if sys.stderr.isatty() else None
    with searching("solving (Ctrl-C keeps the plan)") as progress:
        best = None if progress is None else _best(progress, loaded)
        found = optimize_fleet(
            loaded,
            progress=progress,
            watch=best,
            note=watched,
            both=True,
            alone=True,
            **(how or {}),
        )
    if beside_s is not None and not found.interrupted:
        found = _explored(found, loaded, beside_s)
    if output is not None:
        write_atomic(output, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n", force)
    if told is not None:
        told(found)
    if as_json:
        say_json(found.to_json())
    else:
        _say_plan(found)
        if output is not None:
            note(f"wrote {output}")
    code = _exit_code(found)
    if code:
        raise typer.Exit(code)


def _explored(found: Plan, loaded: LoadedScenario, seconds: float) -> Plan:
    """The plan with what is beside it."""
    from tokenfleet.cli.meter import metered
    from tokenfleet.explanation.explore import explore

    with metered("plans beside it", "plans") as progress:
        return explore(found, scenario=loaded, time_limit_s=seconds, watch=progress)


@contextmanager
def _reporting(
    report: Path | None, plot: Path | None, loaded: LoadedScenario
) -> Iterator[Callable[[Plan], None]]:
    """Takes the plan and writes its report and charts; that there is none is an answer to a page
    too."""
    from tokenfleet.report.write import write_report

    def told(found: Plan) -> None:
        if report is not None:
            write_report(found, report)
            note(f"wrote {report}")
        if plot is not None:
            draw(found, plot, force=True)

    try:
        yield told
    except (InfeasibleError, SolverError) as error:
        if report is not None and report.suffix.lower() == ".html":
            write_report({"name": loaded.scenario.name, **error.to_json()}, report)
            note(f"wrote {report}")
        raise


def _best(report: Report, loaded: LoadedScenario) -> Callable[[float, float], None]:
    """Says on a terminal what the best plan so far is, and how far it is proven."""
    from tokenfleet.problem_data import GOALS
    from tokenfleet.report import words

    unit = GOALS[loaded.scenario.objective.kind].unit
    return lambda value, bound: report.best(words.best_so_far(value, bound, unit))


def _exit_code(found: Plan) -> int:
    if found.interrupted:
        return INTERRUPTED
    return 0 if found.proven else UNPROVEN


def _say_plan(found: Plan) -> None:
    from tokenfleet.report.terminal import render

    render(found, console())
    if found.verification is not None and found.verification.method != BRIEF:
        from tokenfleet.report.simulation import verified

        for line in verified(found.verification):
            say(line)


def _say_checked(checked: Checked) -> None:
    from tokenfleet.report import inputs
    from tokenfleet.report.numbers import counted

    say(f"{checked.name}: the scenario is valid")
    classes = counted(checked.classes, "request class", "request classes")
    offers = counted(checked.offers, "offer in place", "offers in place")
    say(
        f"  {counted(checked.workloads, 'workload')} with {classes}, "
        f"{counted(checked.sites, 'site')}, {offers}, {counted(checked.apis, 'hosted API')}"
    )
    say(f"  systems considered: {', '.join(checked.systems) or 'none'}")
    if checked.space_size is not None:
        units = counted(checked.space_units or 0, "unit")
        say(f"  space of {counted(checked.space_size, 'configuration')} in {units}")
    relatives = [key for key, what in checked.inherited.items() if set(what) - {"scale-out"}]
    for title, rows in (
        ("not considered", [f"{n['what']}: {n['reason']}" for n in checked.not_considered]),
        ("assumed, because it was left blank", [inputs.assumed(row) for row in checked.assumed]),
        ("efficiencies inherited from a relative", relatives),
        ("warnings", list(checked.warnings)),
    ):
        if rows:
            say(f"{title} ({len(rows)})")
            for row in rows:
                say(f"  {row}")
