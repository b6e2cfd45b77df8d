"""A scenario built for the first time, and again with another tariff, from the cache of spaces.

    python benches/again.py

Seconds of processor time from the loaded scenario to the problem of the mix, which other programs
on the machine change little; the cache is in a folder of its own.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from generate_scenario import FORMATS
from spread import Spread, cpu_timed, spread

from tokenfleet.files.cache import VARIABLE
from tokenfleet.problem import build
from tokenfleet.scenario.load import LoadedScenario, load_scenario

SCENARIO = Path(__file__).parent.parent / "examples" / "hyperscaler.yaml"
RUNS = 5


def in_every_format(loaded: LoadedScenario) -> LoadedScenario:
    """The scenario over every format but integers, whether or not weights are published in it."""
    formats = {"precisions": tuple(FORMATS)}
    workloads = tuple(w.model_copy(update=formats) for w in loaded.scenario.workloads)
    return replace(loaded, scenario=loaded.scenario.model_copy(update={"workloads": workloads}))


def measure(quick: bool) -> dict[str, Spread]:
    """Seconds of processor time without an entry of the cache, and with one."""
    loaded = in_every_format(load_scenario(SCENARIO))
    first, again = [], []
    for run in range(1 if quick else RUNS):
        with tempfile.TemporaryDirectory() as folder:
            os.environ[VARIABLE] = folder
            first.append(cpu_timed(partial(build, loaded))[1])
            other = at_tariff(loaded, 1.1 + 0.1 * run)
            again.append(cpu_timed(partial(build, other))[1])
    os.environ[VARIABLE] = ""
    return {"build_cpu_s": spread(first), "build_again_cpu_s": spread(again)}


def at_tariff(loaded: LoadedScenario, factor: float) -> LoadedScenario:
    """The scenario with electricity at so many times 0.1 USD/kWh at every site."""
    sites = [
        site.model_copy(update={"electricity_usd_per_kwh": 0.1 * factor})
        for site in loaded.scenario.sites
    ]
    return replace(loaded, scenario=loaded.scenario.model_copy(update={"sites": sites}))


if __name__ == "__main__":
    print(json.dumps(measure(quick=False), indent=1))
