"""Whole fleets as rows: mixes evaluated a second, and the gap of a sample to HiGHS.

20 system types x 5 workloads at one site; seeded counts around what the demand needs, so that
about half of the fleets serve it. Everything that `evaluate_fleets` answers is in the time: costs,
power, headroom, utilisation and the routing, whose linear programme is solved to a certified gap.
"""

from __future__ import annotations

import sys
from typing import Any

import highspy
import numpy as np
from spread import seconds, spread

from tokenfleet.fleets import FleetEvaluator
from tokenfleet.problem_data import (
    Block,
    Candidate,
    OfferData,
    Pool,
    Problem,
    SiteData,
    WorkloadData,
)

SEED = 5
SYSTEMS, WORKLOADS, GPUS = 20, 5, 8
SIZES, QUICK = (10_000, 100_000, 1_000_000), (10_000,)
SAMPLE = 200
POWER_KW = 5_000.0
_SERVED = 1e-6  # of the demand


def problem() -> Problem:
    """Types of different speed, price and thirst; each serves every workload, some far better."""
    draw = np.random.default_rng(SEED)
    speed = draw.uniform(2.0, 20.0, (SYSTEMS, 1)) * draw.uniform(0.5, 1.5, (SYSTEMS, WORKLOADS))
    joules = draw.uniform(2e3, 8e3, (SYSTEMS, 1)) / speed * draw.uniform(0.7, 1.3, speed.shape)
    demand = draw.uniform(2_000.0, 6_000.0, WORKLOADS)
    one = np.array([1.0])
    return Problem(
        name="bench",
        blocks=(Block(8760.0),),
        workloads=tuple(
            WorkloadData(f"w{w}", ("k",), demand[w] * one[None], 300 * one, 900 * one, 0 * one)
            for w in range(WORKLOADS)
        ),
        sites=(SiteData("s", power_limit_kw=POWER_KW),),
        pools=tuple(
            Pool(f"p{s}", 0, f"s{s}", GPUS, 10.0, 2.0, pue=1.2, energy_usd_per_kwh_it=0.1)
            for s in range(SYSTEMS)
        ),
        offers=tuple(
            OfferData(f"o{s}@s", s, 200.0, {"rental": float(draw.uniform(5e4, 2e5))}, capex_usd=3e5)
            for s in range(SYSTEMS)
        ),
        candidates=tuple(
            Candidate(s * WORKLOADS + w, w, f"s{s}", 2, (0,), one / speed[s, w], one * joules[s, w])
            for s in range(SYSTEMS)
            for w in range(WORKLOADS)
        ),
    )  # fmt: skip


def mixes(evaluator: FleetEvaluator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seeded counts: the systems that mean speeds need, split at random, times 0.35 to 0.8."""
    draw = np.random.default_rng(SEED)
    case = evaluator.problem
    loads = np.array([c.load[0] * c.gpus / GPUS for c in case.candidates]).reshape(SYSTEMS, -1)
    demand = np.array([w.demand_rps[0, 0] for w in case.workloads])
    need = float((loads @ demand).mean()) / SYSTEMS
    shares = draw.dirichlet(np.ones(SYSTEMS), count) * SYSTEMS
    return np.rint(shares * need * draw.uniform(0.35, 0.8, (count, 1))) + 0.0


def exact(case: Problem, fleet: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, bool]:
    """USD of energy of the best routing by HiGHS, written anew, and whether the demand is met."""
    lp = highspy.HighsLp()
    flows = SYSTEMS * WORKLOADS
    lp.num_col_, lp.num_row_ = flows + WORKLOADS, WORKLOADS + SYSTEMS
    usd = [c.energy_j[0] / 3.6e6 * 8760 * 3600 * 0.1 for c in case.candidates]
    demand = np.array([w.demand_rps[0, 0] for w in case.workloads])
    lp.col_cost_ = np.array([*usd, *([1e4 * max(usd)] * WORKLOADS)])
    lp.col_lower_ = np.zeros(lp.num_col_)
    lp.col_upper_ = np.full(lp.num_col_, highspy.kHighsInf)
    lp.row_lower_ = np.concatenate([demand, np.full(SYSTEMS, -highspy.kHighsInf)])
    lp.row_upper_ = np.concatenate([demand, GPUS * fleet])
    matrix = lp.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.num_col_, matrix.num_row_ = lp.num_col_, lp.num_row_
    starts, places, values = [0], [], []
    for c in case.candidates:
        places += [c.workload, WORKLOADS + int(c.system[1:])]
        values += [1.0, float(c.load[0]) * c.gpus]
        starts.append(len(places))
    for w in range(WORKLOADS):
        places.append(w)
        values.append(1.0)
        starts.append(len(places))
    matrix.start_, matrix.index_ = np.array(starts, np.int32), np.array(places, np.int32)
    matrix.value_ = np.array(values)
    highs = highspy.Highs()
    highs.silent()
    highs.passModel(lp)
    highs.run()
    found = np.array(highs.getSolution().col_value)
    return float(found[:flows] @ usd), bool(found[flows:].max() <= _SERVED * demand.min())


def measure(quick: bool) -> dict[str, Any]:
    """`fleets_per_s` of the largest size with its sweep, and the sample's gap to HiGHS."""
    case = problem()
    evaluator = FleetEvaluator(case)
    sizes = QUICK if quick else SIZES
    runs = 1 if quick else 3
    fleets = mixes(evaluator, max(sizes))
    swept = {}
    for size in sizes:
        times = seconds(lambda n=size: evaluator.evaluate(fleets[:n], threads=0), runs)
        swept[size] = spread([size / t for t in times])
    sample = fleets[: SAMPLE // (10 if quick else 1)]
    answers = evaluator.evaluate(sample)
    idle = sample.sum(axis=1) * 2.0 * 8760 * 0.1
    gaps, verdicts = [0.0], 0
    for i, fleet in enumerate(sample):
        usd, served = exact(case, fleet)
        own = all(
            answers[f"unmet_w{w}_requests_per_s"][0, i]
            <= _SERVED * case.workloads[w].demand_rps[0, 0]
            for w in range(WORKLOADS)
        )
        verdicts += own != served
        if served:
            gaps.append(abs(answers["energy_usd"][0, i] - idle[i] - usd) / usd)
    return {
        "fleets_per_s": swept[max(sizes)],
        "fleets_per_s_by_size": [f"{size:,}: {v['median']:,.0f}" for size, v in swept.items()],
        "fleets_gap_to_highs": max(gaps),
        "fleets_verdicts_apart": verdicts,
        "fleets_sample": len(sample),
        "fleets_feasible_share": float(answers["feasible"].mean()),
    }


if __name__ == "__main__":
    for name, value in measure("--quick" in sys.argv).items():
        print(f"{name}: {value}")
