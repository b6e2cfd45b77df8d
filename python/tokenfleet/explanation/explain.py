"""`explain`: a plan in, why it is this plan and what would change it out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tokenfleet.compute.open import check_jobs
from tokenfleet.errors import SchemaError
from tokenfleet.explanation.about import About
from tokenfleet.explanation.over_time import OverTime, open_either
from tokenfleet.explanation.parts import PARTS, USUAL, Part, Watch
from tokenfleet.explanation.rows import Explanation
from tokenfleet.explanation.session import Session
from tokenfleet.explanation.session_over_time import SessionOverTime
from tokenfleet.optimize import standing_of
from tokenfleet.plan.rows import Plan
from tokenfleet.scenario.load import ScenarioSource


def explain(
    plan: Plan | ScenarioSource,
    *,
    scenario: ScenarioSource | None = None,
    parts: Sequence[Part] = USUAL,
    of: Sequence[str] = (),
    near: Plan | None = None,
    time_limit_s: float | None = None,
    gap: float | None = None,
    jobs: int = 1,
    watch: Watch | None = None,
    **opened: Any,
) -> Explanation:
    """What a plan's limits and prices are worth, and what would change it.

    `plan` is a `Plan`, the file of one, or a scenario (which is then planned). The scenario of a
    plan is found where it was, or given as `scenario`. `of` are names of sites, offers, system
    types, workloads and hosted APIs: worths, flip prices, ranges and inputs are of these alone, of
    all where there are none. `near` is a plan that stands, which the menu
    has plans close to. Every figure is of plans that were solved
    again, and says how far it is proven. Ctrl-C and `time_limit_s` (seconds, of all parts together)
    keep what was found until then; `interrupted` and `notes` say what is missing. `jobs` parts are
    worked out at a time, each in a thread of its own.

    Raises:
        SchemaError: no plan or scenario, one of another version, an unknown part, a name that the
            scenario lacks, or fewer jobs than one.
        InfeasibleError: the scenario has no plan, and `repairs` is not among the parts.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise SchemaError(f"unknown part {unknown[0]!r}", f"give some of {', '.join(PARTS)}")
    check_jobs(jobs)
    begun = time.perf_counter()
    seconds = float("inf") if time_limit_s is None else time_limit_s
    asked = open_either(plan, scenario, seconds=seconds, gap=gap, **opened)
    about = About.of(of, asked.built.problem)
    if isinstance(asked, OverTime):
        return SessionOverTime(asked, about, watch).explained(parts, begun)
    standing = None if near is None else standing_of(near).systems
    return Session(asked, watch, standing, about).explained(parts, begun, jobs)
