"""`explain`, `diff` and `sweep`: why this plan, why another, and what would change it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, UNPROVEN, answering, note, say, say_json
from tokenfleet.cli.files import refuse_existing
from tokenfleet.cli.grid import show_grid
from tokenfleet.cli.meter import metered
from tokenfleet.cli.options import (
    CatalogOption,
    ForceOption,
    GapOption,
    JsonOption,
    NearOption,
    NoCacheOption,
    ScenarioArgument,
    book,
)
from tokenfleet.cli.pictures import check_picture, write_picture
from tokenfleet.cli.where import AddressOption, EngineOption, JobsOption, Where, opened
from tokenfleet.errors import InfeasibleError, SchemaError

if TYPE_CHECKING:
    from tokenfleet.explanation.rows import Difference, Explanation, SweepPoint


WholeLimitOption = Annotated[
    float | None, typer.Option("--time-limit", help="Seconds for all of it together.")
]


def explain(
    plan: Annotated[
        list[Path],
        typer.Argument(metavar="PLAN...", help="Plan as JSON, or a scenario to plan first."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the explanations of several plans."),
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", "-s", help="The plan's scenario, where it was moved."),
    ] = None,
    worth: Annotated[
        bool, typer.Option("--worth", help="Only: what one more of each limit is worth.")
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Only: prices at which the plan changes.")
    ] = False,
    inputs: Annotated[
        bool,
        typer.Option("--inputs", help="Only: energy prices, speeds and terms that change it."),
    ] = False,
    menu: Annotated[
        bool, typer.Option("--menu", help="Only: other plans that cost little more.")
    ] = False,
    repairs: Annotated[
        bool, typer.Option("--repairs", help="Only: what could give way where there is no plan.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Only: the inputs that matter most, 20 % each way.")
    ] = False,
    crossover: Annotated[
        bool, typer.Option("--crossover", help="Only: where one way to get tokens beats another.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Only: which benchmark to run before signing.")
    ] = False,
    of: Annotated[
        list[str] | None,
        typer.Option("--of", help="Only of this site, offer, system type, workload or API."),
    ] = None,
    near: NearOption = None,
    gap: GapOption = None,
    time_limit: WholeLimitOption = None,
    jobs: JobsOption = None,
    engine: EngineOption = "processes",
    ray_address: AddressOption = None,
    catalog: CatalogOption = None,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say why a plan is the best, and what would change it: every figure is solved again.

    Ctrl-C and the time limit keep what was found until then. Several plans are explained by an
    engine, each into a file of the folder.
    """
    with answering(as_json):
        from tokenfleet.compute.open import cores
        from tokenfleet.explanation.explain import explain as explained

        asked = {
            "worth": worth,
            "flip": flip,
            "ranges": flip,
            "inputs": inputs,
            "menu": menu,
            "repairs": repairs,
            "tornado": sweep,
            "crossover": crossover,
            "measure": measure,
        }
        chosen = [part for part, only in asked.items() if only]
        if len(plan) > 1 or output is not None:
            if near is not None or scenario is not None:
                raise SchemaError(
                    "--near and --scenario are of one plan", "explain that one without -o"
                )
            many = {
                "parts": chosen, "of": tuple(of or ()), "gap": gap, "time_limit_s": time_limit,
                "catalog": catalog,
            }  # fmt: skip
            _explain_many(plan, output, many, (engine, jobs, ray_address), as_json)
            return
        given: dict[str, Any] = {"parts": chosen} if chosen else {}
        given["of"] = of or ()
        if engine != "processes" or ray_address is not None:
            raise SchemaError(
                "--engine and --ray-address are of several plans",
                "give -o FOLDER, or leave them out",
            )
        if near is not None:
            from tokenfleet.plan.rows import Plan

            given["near"] = Plan.load(near)
        with _watching() as watch:
            found = explained(
                plan[0],
                scenario=scenario,
                time_limit_s=time_limit,
                gap=gap,
                jobs=cores() if jobs is None else jobs,
                watch=watch,
                catalog=book(catalog),
                **given,
            )
        if as_json:
            say_json(found.to_json())
        else:
            _say(found)
        if found.interrupted:
            raise typer.Exit(INTERRUPTED)
        if found.objective_value is None:
            raise typer.Exit(InfeasibleError.exit_code)
        if not found.proven:
            raise typer.Exit(UNPROVEN)


def _explain_many(
    plans: list[Path], folder: Path | None, asked: dict[str, Any], where: Where, as_json: bool
) -> None:
    """Each plan into a file of the folder; one that fails is said, and the others go on."""
    from tokenfleet.explanation.many import Question, explain_many, file_names
    from tokenfleet.explanation.parts import USUAL
    from tokenfleet.files.whole import write_whole
    from tokenfleet.report import explained

    if folder is None:
        raise SchemaError("explanations of several plans go into a folder", "give -o FOLDER")
    if where[0] == "threads":
        raise SchemaError("--engine: a plan needs a process of its own", "use processes, or ray")
    names = dict(zip(plans, file_names(plans), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    for name in names.values():
        _refuse_to_lose(folder / name, plans)
    asked["parts"] = tuple(asked["parts"] or USUAL)
    asked["catalog"] = book(asked["catalog"])
    rows, failed = [], False
    for row in explain_many(plans, Question(**asked), opened(where)):
        failed |= row.found is None
        file = None if row.found is None else str(folder / names[row.source])
        if row.found is not None:
            text = json.dumps(row.found.to_json(), indent=1, allow_nan=False)
            write_whole(folder / names[row.source], text.encode())
        rows.append({"source": str(row.source), "file": file, "error": row.error or None})
        if not as_json:
            said = row.error if row.found is None else explained.status(row.found)
            say(f"{row.source}: {said}")
    if as_json:
        say_json({"schema_version": 1, "explanations": rows})
    if failed:
        raise typer.Exit(1)


def _refuse_to_lose(path: Path, plans: list[Path]) -> None:
    """An explanation takes the place of an earlier one, and of nothing else.

    Raises:
        SchemaError: the file is a plan that is read, or no explanation.
    """
    from tokenfleet.cli.files import refuse_existing
    from tokenfleet.cli.reports import read_explanation

    refuse_existing(path, True, *plans)
    if path.exists():
        try:
            read_explanation(path)
        except SchemaError:
            text = f"{path}: is already there, and no explanation"
            raise SchemaError(text, "give another folder") from None


def _say(found: Explanation) -> None:
    from tokenfleet.report import explained

    say(explained.status(found))
    for title, lines in explained.sections(found):
        if lines:
            say(f"\n{title}")
            for line in lines:
                say(f"  {line}")
    for axis in ("utilisation", "volume"):
        cells = explained.routes(found.crossover, axis)
        if cells:
            say(f"\nUSD per million output tokens by {axis}")
            show_grid([(name, True) for name in cells[0]], cells[1:])
    say(f"\n{found.solves} problems solved in {found.seconds:.1f} s")


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Plan as JSON, or a scenario.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other one.")],
    gap: GapOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what moved from one plan to another, and which inputs the change is due to."""
    with answering(as_json):
        from tokenfleet.explanation.difference import difference

        with _watching() as watch:
            found = difference(first, second, watch=watch, gap=gap, catalog=book(catalog))
        if as_json:
            say_json(found.to_json())
        else:
            _say_difference(found)


def _say_difference(found: Difference) -> None:
    from tokenfleet.report import explained
    from tokenfleet.report.words import item_name

    say(explained.difference(found))
    for title, rows in (
        ("Due to", [explained.part(row, found.objective_unit) for row in found.parts]),
        ("Systems", [explained.moved(row) for row in found.systems]),
        (
            "Cost items, USD a year",
            [explained.moved(row, item_name(row.what)) for row in found.cost_items],
        ),
        ("Requests/s at the peak", [explained.moved(row) for row in found.requests]),
        ("Notes", list(found.notes)),
    ):
        if rows:
            say(f"\n{title}")
            for row in rows:
                say(f"  {row}")
    say(f"\n{found.solves} plans solved")


def sweep(
    scenario: ScenarioArgument,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            help="Input and factors: demand=0.5..2:7, price.OFFER=0.8,1,1.2; once or twice.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .parquet, .csv, .arrow or .json file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the cost against the input: an .svg file.")
    ] = None,
    force: ForceOption = False,
    gap: GapOption = None,
    time_limit: WholeLimitOption = None,
    catalog: CatalogOption = None,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
) -> None:
    """Plan a scenario again and again with one or two inputs turned; mark where the mix changes.

    Inputs: demand, tariff, price, api_price, power and speed, each also of one row
    (price.h100-buy), and cost_of_capital. Ctrl-C keeps the points that are done.
    """
    with answering(as_json):
        refuse_existing(output, force, scenario)
        check_picture(plot, force)
        from tokenfleet.explanation.over_time import OverTime, open_either
        from tokenfleet.explanation.study import OutOfTimeError
        from tokenfleet.explanation.sweep import check_table, parse, points, write_points
        from tokenfleet.explanation.sweep_over_time import points_over_time

        if output is not None:
            check_table(output)
        seconds = float("inf") if time_limit is None else time_limit
        case = open_either(scenario, seconds=seconds, gap=gap, catalog=book(catalog))
        varied = [parse(case, text) for text in vary]
        rows, cut = [], False
        with metered("settings", "settings") as progress:
            every = (
                points_over_time(case, varied, progress)
                if isinstance(case, OverTime)
                else points(case, varied, progress)
            )
            try:
                for row in every:
                    rows.append(row)
            except (KeyboardInterrupt, OutOfTimeError):
                cut = True
        if output is not None:
            write_points(rows, output)
        if plot is not None and not any(row.feasible for row in rows):
            note(f"{plot} was not drawn: no setting has a plan")
        elif plot is not None:
            from tokenfleet.report.figures.sweep import figures

            write_picture(plot, figures(rows), case.built.loaded.scenario.name, force)
        if as_json:
            say_json({"schema_version": 1, "interrupted": cut,
                      "points": [row.model_dump(mode="json") for row in rows]})  # fmt: skip
        else:
            _say_points(rows)
            if output is not None:
                note(f"wrote {output}")
        if cut:
            raise typer.Exit(INTERRUPTED)


def _say_points(rows: list[SweepPoint]) -> None:
    from tokenfleet.report import explained

    if not rows:
        say("no setting was solved")
        return
    names = list(rows[0].factors)
    head = [*names, "USD/year", "USD/Mtok out", "GPUs", "by API", "mix", "systems"]
    say(f"{' and '.join(names)}: times what the scenario says; by API: share of the requests")
    show_grid(
        [(name, name not in ("mix", "systems")) for name in head],
        (explained.sweep_point(row) for row in rows),
    )


@contextmanager
def _watching() -> Iterator[Callable[[str, int], None] | None]:
    """What is being worked out, on standard error, when a person is watching it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.status import Status

    with Status("evaluating layouts", console=Console(stderr=True)) as status:
        yield lambda what, solves: status.update(f"{what} ({solves} solved; Ctrl-C keeps them)")
