"""Time, gap, share of model building and memory of plans with 10^7 candidates, at two sizes.

    python benches/big_plan.py [--quick]

Prints JSON: median, least and most over three draws. Each plan is made in a process of its own by
`optimize_fleet`, which is what the command `plan` does: `big_plan_command_s` is the whole of it,
`big_plan_evaluate_s` the search of the space of configurations, `big_plan_s` the mix with its
proof, re-checks and all rounds included. `big_plan_build_fraction` is the part of the whole that is
spent on building models, `big_plan_build_of_mix` the part of the mix. Of the `_candidates` that fit
memory, `_computed` were evaluated in full; the others were beaten by a bound before. The same for
`mid_plan`. Seconds and gap of `..._bare` are those of the least cost alone, at the model's
expectation and with no search for a simpler plan; the others ask what `plan` asks: limits held at
the default confidence, and of the plans that are as good the simplest.
`--quick` plans a fraction of the size, for a test that the bench runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from generate_scenario import gap_for, scenario, sized, systems_in, units_per_system, write
from spread import Spread, peak_mb, spread

from tokenfleet import optimize
from tokenfleet.mix import solve
from tokenfleet.mix.generate import generation, master
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.result import MixResult
from tokenfleet.problem_data import Systems
from tokenfleet.scenario.load import load_scenario

SEEDS = (1, 2, 3)
SIZES = {"big_plan": 12_000.0, "mid_plan": 1_500.0}
# What makes models: the frame, the first relaxation, the pairs added to it, the model of the plan.
BUILDERS = (
    (solve, "frame_of"),
    (Pairs, "of"),
    (generation, "Master"),
    (master.Master, "add"),
    (solve, "build"),
)
BARE = {"confidence": "expected", "objective": {"simplicity_tolerance": 0.0}}
BARE_FIGURES = ("s", "command_s", "gap")
QUICK = {"sites": 3, "systems": 6, "workloads": 3}
_QUICK_PART = 5  # of the systems
_FULL = 0.99  # of a site's power


def measure(quick: bool) -> dict[str, Spread]:
    """Figures of both sizes, over draws."""
    runs = [_of_seed(seed, quick) for seed in (SEEDS[:1] if quick else SEEDS)]
    return {key: spread([run[key] for run in runs]) for key in runs[0]}


def _of_seed(seed: int, quick: bool) -> dict[str, float]:
    shape = QUICK if quick else {}
    per_system = units_per_system(seed, **shape)
    spawn = multiprocessing.get_context("spawn")
    figures: dict[str, float] = {}
    for name, fleet in SIZES.items():
        units = sized(fleet / _QUICK_PART if quick else fleet, per_system)
        drawn = scenario(seed, units, gap=gap_for(fleet), **shape)
        for question, asked in ((name, drawn), (f"{name}_bare", drawn | BARE)):
            with ProcessPoolExecutor(1, mp_context=spawn) as child:
                found = child.submit(_one, asked).result()
            keys = found if question == name else BARE_FIGURES
            figures |= {f"{question}_{key}": found[key] for key in keys}
    return figures


def _one(drawn: dict[str, Any]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as clocks:
        loaded = load_scenario(write(Path(folder), drawn))
        evaluated = clocks.enter_context(_timed((optimize, "build")))
        mixed = clocks.enter_context(_timed((optimize, "solve_mix")))
        built = clocks.enter_context(_timed(*BUILDERS))
        begun = time.perf_counter()
        plan = optimize.optimize_fleet(loaded)
        seconds = time.perf_counter() - begun
    (mix,) = (found for _, found in mixed)
    mix_s = _seconds(mixed)
    return {
        "s": mix_s,
        "gap": mix.gap,
        "build_fraction": _seconds(built) / seconds,
        "build_of_mix": _seconds(built) / mix_s,
        "command_s": seconds,
        "evaluate_s": _seconds(evaluated),
        "peak_mb": peak_mb(),
        "rounds": mix.rounds,
        "candidates": plan.candidates,
        "computed": plan.candidates_evaluated,
        "systems": systems_in(mix.values),
        "full_sites": _full_sites(mix),
    }


def _full_sites(mix: MixResult) -> int:
    """Sites whose power is used up."""
    problem = mix.problem
    used = [0.0] * len(problem.sites)
    for label, systems in mix.values.items():
        if isinstance(label, Systems):
            pool = problem.pools[problem.offers[label.offer].pool]
            if not pool.hosted:
                basis = pool.pue if problem.sites[pool.site].power_is_utility else 1.0
                used[pool.site] += systems * pool.provisioned_it_kw * basis
    return sum(u >= _FULL * s.power_limit_kw for u, s in zip(used, problem.sites, strict=True))


def _seconds(calls: list[tuple[float, Any]]) -> float:
    return sum(seconds for seconds, _ in calls)


@contextmanager
def _timed(*functions: tuple[Any, str]) -> Iterator[list[tuple[float, Any]]]:
    """Seconds and answer of every call of the functions meanwhile."""
    calls: list[tuple[float, Any]] = []

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def with_clock(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            found = work(*args, **kwargs)
            calls.append((time.perf_counter() - begun, found))
            return found

        return with_clock

    with ExitStack() as stack:
        for owner, name in functions:
            patched = mock.patch.object(owner, name, timed(getattr(owner, name)))
            stack.enter_context(patched)
        yield calls


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(measure(parser.parse_args().quick), indent=1))


if __name__ == "__main__":
    main()
