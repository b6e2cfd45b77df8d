"""`simulate`: a plan held against the request-level simulator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, answering, console, note, say_json
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.options import (
    CatalogOption,
    ForceOption,
    JsonOption,
    ThreadsOption,
    TraceOption,
    book,
    trace_files,
    traces,
)
from tokenfleet.cli.pictures import check_picture, write_picture
from tokenfleet.simulation.settings import SimulationSettings

if TYPE_CHECKING:
    from tokenfleet.simulation.fleet import Whole

PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="Plan file, written by `tokenfleet plan -o`.")
]


class Source(str, Enum):
    """Where token counts of a replayed trace come from, and what its prefix caches go by."""

    auto = "auto"
    classes = "classes"
    trace = "trace"


class Router(str, Enum):
    """How requests are spread over the replicas of a group."""

    join_shortest_queue = "join_shortest_queue"
    least_loaded = "least_loaded"
    round_robin = "round_robin"


_ROUTER = Router(SimulationSettings.router)


def simulate(
    plan: PlanArgument,
    scenario: Annotated[
        Path | None, typer.Option(help="Its scenario; default: the file that the plan names.")
    ] = None,
    trace: TraceOption = None,
    lengths: Annotated[
        Source, typer.Option(help="Token counts of a replay: of the trace or the classes.")
    ] = Source.auto,
    prefixes: Annotated[
        Source,
        typer.Option(
            help="Prefix caches of a replay: by the trace's blocks, or the classes' hits."
        ),
    ] = Source.auto,
    trace_share: Annotated[
        float, typer.Option(help="Share of the requests that the trace gives; the rest is drawn.")
    ] = SimulationSettings.trace_share,
    day: Annotated[
        bool, typer.Option("--day", help="Drawn rates follow the workload's load over 24 hours.")
    ] = SimulationSettings.day,
    scale: Annotated[
        float, typer.Option(help="Offered load over the plan's.")
    ] = SimulationSettings.scale,
    hours: Annotated[float | None, typer.Option(help="Measured hours of each replication.")] = None,
    requests: Annotated[
        int, typer.Option(help="Measured requests of each group and replication, at least.")
    ] = SimulationSettings.requests,
    replications: Annotated[
        int, typer.Option(help="Independent runs, for the intervals.")
    ] = SimulationSettings.replications,
    block: Annotated[int | None, typer.Option(help="Load block; default: the busiest.")] = None,
    router: Annotated[Router, typer.Option(help="Router within a group of replicas.")] = _ROUTER,
    burstiness: Annotated[
        float, typer.Option(help="Shape of Gamma times between requests; 1: Poisson, less: bursts.")
    ] = SimulationSettings.burstiness,
    whole: Annotated[
        bool, typer.Option("--whole", help="Also all groups of a workload behind one router.")
    ] = False,
    failures: Annotated[
        str | None,
        typer.Option(
            metavar="MTBF:REPAIR",
            help="Hours between failures of a replica, and of its repair; implies --whole.",
        ),
    ] = None,
    no_spill: Annotated[
        bool, typer.Option("--no-spill", help="With --whole: keep the plan's shares when full.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Random seed; the same one gives the same bytes.")
    ] = SimulationSettings.seed,
    threads: ThreadsOption = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw latency and cost against load: an .svg file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the result as JSON.")
    ] = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate a plan request by request, beside its own figures."""
    with answering(as_json):
        refuse_existing(output, force, plan, scenario, *trace_files(trace))
        settings = SimulationSettings(
            scale=scale,
            hours=hours,
            requests=requests,
            replications=replications,
            seed=seed,
            router=router.value,
            burstiness=burstiness,
            trace_share=trace_share,
            day=day,
            threads=threads or 0,
        )
        settings.check()
        given: dict[str, Any] = {"scenario": scenario, "trace": traces(trace), "block": block}
        given["whole"] = _whole(whole or no_spill, failures, spill=not no_spill)
        given["catalog"] = book(catalog)
        given |= {"lengths": lengths.value, "prefixes": prefixes.value}
        _simulate(plan, given, settings, (plot, output, force), as_json)


def _whole(whole: bool, failures: str | None, *, spill: bool) -> Whole | None:
    """How groups are simulated together, or None.

    Raises:
        SchemaError: failures are not two numbers.
    """
    from tokenfleet.errors import SchemaError
    from tokenfleet.simulation.fleet import Failures, Whole

    if failures is None:
        return Whole(spill) if whole else None
    try:
        mtbf_h, mttr_h = (float(part) for part in failures.split(":"))
    except ValueError:
        raise SchemaError(
            f"--failures {failures}: should be two numbers",
            "give hours between failures and hours of a repair, as 2000:6",
        ) from None
    return Whole(spill, Failures(mtbf_h, mttr_h))


def _simulate(
    plan: Path,
    given: dict[str, Any],
    settings: SimulationSettings,
    files: tuple[Path | None, Path | None, bool],
    as_json: bool,
) -> None:
    from tokenfleet.report.simulation import render
    from tokenfleet.simulation.loads import LOADS, sweep
    from tokenfleet.simulation.simulate import simulate as simulate_plan

    picture, output, force = files
    check_picture(picture, force)
    with _groups() as progress:
        found = simulate_plan(plan, settings=settings, progress=progress, **given)
    shown: dict[str, Any] = found.to_json()
    interrupted = found.interrupted
    if picture is not None and not found.interrupted:
        with _groups() as progress:
            points = sweep(
                lambda s: simulate_plan(plan, settings=s, progress=progress, **given), settings
            )
        interrupted = any(one.interrupted for one in points)
        points = [one for one in points if not one.interrupted]
        if interrupted:
            note(f"interrupted: {len(points)} of {len(LOADS)} loads were simulated")
        if points:
            from tokenfleet.report.figures.simulation import figures

            write_picture(picture, figures(points, found), points[0].name, force)
    if output is not None:
        write_atomic(output, json.dumps(shown, indent=2, allow_nan=False) + "\n", force)
    if as_json:
        say_json(shown)
    else:
        render(found, console())
        if output is not None:
            note(f"wrote {output}")
    if interrupted:
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _groups() -> Iterator[Callable[[int, int], None] | None]:
    """A bar that counts replica groups, where a person is watching."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("simulating replica groups"), BarColumn(bar_width=12))
    with Progress(
        *columns,
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
