"""How seconds and memory grow with candidates, workloads, sites, system types and load blocks.

    python benches/growth.py [--quick]

Evaluation: scenarios of `generate_scenario.py` from 10^5 to 10^7 candidates, the parts of building
apart. Mix: one draw of `generate_mix.py`, one of its sizes changed at a time, solved by the package
and by plain HiGHS on the whole model, each to the same gap within the same seconds, by one thread
in a process of its own. Seconds are of the processor, which other programs change little; only the
time limit is of the clock. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import generate_mix
import generate_scenario
import numpy as np
from generate_mix import Shape
from spread import cpu_timed, peak_mb

from tokenfleet.problem_data import Problem, WorkloadData

GAP, LIMIT_S = 0.01, 6.0
_PATIENCE = 10  # times the limit, after which a child that does not heed it is ended
BASE = Shape(workloads=8, sites=4, systems=8, kept=6, fleet=2000.0)
GROWN: dict[str, tuple[int, ...]] = {
    "workloads": (4, 8, 16),
    "sites": (2, 4, 8),
    "systems": (4, 8, 16),
    "blocks": (2, 4, 8),
}
#: Systems and workloads of the scenarios that are evaluated, at five sites.
EVALUATED = ((2, 3), (7, 7), (20, 25))
Row = dict[str, Any]


def measure(quick: bool) -> dict[str, list[Row]]:
    """Rows of both tables; `quick` asks the two smallest of each."""
    sizes = EVALUATED[:1] if quick else EVALUATED
    grown = {name: values[:1] if quick else values for name, values in GROWN.items()}
    return {
        "growth_evaluation": [in_child("evaluate", list(size)) for size in sizes],
        "growth_mix": [mix_row(name, n, quick) for name, ns in grown.items() for n in ns],
    }


def mix_row(name: str, size: int, quick: bool) -> Row:
    """One size of the mix, by both ways."""
    shape = asdict(BASE if name == "blocks" else replace(BASE, **{name: size}))
    if quick:
        shape |= {"kept": 2, "systems": 4, "workloads": 2}
    asked = {"shape": shape, "blocks": size if name == "blocks" else 2}
    ours, plain = (in_child(way, asked) for way in ("ours", "plain"))
    return {"grown": name, "size": size, "ours": ours, "plain": plain}


def in_child(way: str, asked: Any) -> Row:
    """One measurement in a process of its own: the last that it said before it ended."""
    command = [sys.executable, __file__, "--child", way, json.dumps(asked)]
    patience = None if way == "evaluate" else _PATIENCE * LIMIT_S
    try:
        said = subprocess.run(command, check=True, capture_output=True, timeout=patience).stdout
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b"{}"
    row = dict(json.loads(said.splitlines()[-1]))
    print(way, asked, row, file=sys.stderr)
    return row


def evaluate(asked: list[int]) -> Row:
    """Candidates and seconds of building a scenario of so many systems and workloads."""
    from tokenfleet import _core  # noqa: PLC0415 (a child loads what it measures)
    from tokenfleet.problem import build  # noqa: PLC0415
    from tokenfleet.problem.build import respecify  # noqa: PLC0415
    from tokenfleet.scenario.load import load_scenario  # noqa: PLC0415

    systems, workloads = asked
    drawn = generate_scenario.scenario(1, 1000.0, sites=5, systems=systems, workloads=workloads)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_scenario(generate_scenario.write(Path(folder), drawn))
    (_, space), specify_s = cpu_timed(lambda: respecify(loaded))
    search = _core.CandidateSearch()
    _, search_s = cpu_timed(lambda: search.extend(space, 0, space.partition_count))
    built, build_s = cpu_timed(lambda: build(loaded))
    return {
        "candidates": built.compared,
        "evaluated": built.evaluated,
        "kept": len(built.problem.candidates),
        "specify_s": specify_s,
        "search_s": search_s,
        "build_s": build_s,
        "peak_mb": peak_mb(),
    }


def problem_of(asked: Row) -> Problem:
    """The drawn problem, its peak hours cut into blocks that fall a little from one to the next."""
    problem = generate_mix.generate(1, Shape(**asked["shape"]))
    low, peak = problem.blocks
    parts = asked["blocks"] - 1
    falling = 1.0 - 0.3 * np.arange(parts) / parts

    def cut(workload: WorkloadData) -> WorkloadData:
        base, top = workload.demand_rps
        return replace(workload, demand_rps=np.vstack([base, np.outer(falling, top)]))

    return replace(
        problem,
        blocks=(low, *[replace(peak, hours=peak.hours / parts)] * parts),
        workloads=tuple(map(cut, problem.workloads)),
    )


def solved(asked: Row, way: str) -> Row:
    """Seconds and gap of one way."""
    from tokenfleet.mix.model import build, frame_of  # noqa: PLC0415
    from tokenfleet.mix.model.objectives import set_goal  # noqa: PLC0415
    from tokenfleet.mix.solve import solve_mix  # noqa: PLC0415
    from tokenfleet.mix.solver.highs import SolveOptions, run  # noqa: PLC0415

    problem, options = problem_of(asked), SolveOptions(gap=GAP, time_limit_s=LIMIT_S, threads=1)
    if way == "ours":
        result, seconds = cpu_timed(lambda: solve_mix(problem, options, compare_single=False))
        return {"seconds": seconds, "gap": result.gap, "peak_mb": peak_mb()}
    m, build_s = cpu_timed(lambda: build(problem, frame=frame_of(problem, 0.0, every_system=True)))
    set_goal(m)
    row = {"columns": len(m.columns), "rows": len(m.rows), "build_s": build_s}
    print(
        json.dumps({**row, "seconds": math.inf, "gap": math.inf, "peak_mb": peak_mb()}), flush=True
    )
    outcome, seconds = cpu_timed(lambda: run(m.prob, options))
    return {**row, "seconds": build_s + seconds, "gap": outcome.gap, "peak_mb": peak_mb()}


def table(found: dict[str, list[Row]]) -> str:
    """Both tables as Markdown."""
    lines = [
        "| candidates | in full | kept | specify | search | build | memory |",
        "|--:" * 7 + "|",
    ]
    lines += [
        f"| {r['candidates']:,} | {r['evaluated']:,} | {r['kept']:,} | {r['specify_s']:.2f} s | "
        f"{r['search_s']:.2f} s | {r['build_s']:.2f} s | {r['peak_mb']:.0f} MB |"
        for r in found["growth_evaluation"]
    ]
    lines += ["", "| grown | size | columns | rows | ours | gap | memory | HiGHS | gap | memory |"]
    lines += ["|---|" + "--:|" * 9]
    lines += [
        f"| {r['grown']} | {r['size']} | {r['plain']['columns']:,} | {r['plain']['rows']:,} | "
        + " | ".join(f"{took(w)} | {gap(w['gap'])} | {w['peak_mb']:.0f} MB" for w in ways)
        + " |"
        for r in found["growth_mix"]
        for ways in [(r["ours"], r["plain"])]
    ]
    return "\n".join(lines)


def took(row: Row) -> str:
    """Seconds, or that the limit was not heeded."""
    return f"{row['seconds']:.1f} s" if math.isfinite(row["seconds"]) else "ended"


def gap(value: float) -> str:
    """A gap in per cent, or that there is no plan."""
    return f"{value:.1%}" if value < 10 else "no plan" if value == float("inf") else ">1000%"


def main() -> None:
    """Measure and print; as a child, measure one thing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "ASKED"))
    arguments = parser.parse_args()
    if arguments.child:
        way, asked = arguments.child[0], json.loads(arguments.child[1])
        print(json.dumps(evaluate(asked) if way == "evaluate" else solved(asked, way)))
    else:
        print(table(measure(arguments.quick)))


if __name__ == "__main__":
    main()
