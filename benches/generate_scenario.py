"""Seeded planning scenarios of a chosen size: 20 sites, 20 systems, 30 workloads, 4 offers each.

    python benches/generate_scenario.py --fleet 12000 -o big
    tokenfleet plan big/scenario.json

Writes a scenario and the catalog file it names. Models and systems are those of the catalog;
lengths, limits, rates, tariffs, prices and the figures that the catalog leaves blank are drawn at
random in the range of real ones: nothing here is a fact about a product. Power is short at every
site and rented systems are scarce, so the plan must spread over systems, sites and offers: bought,
rented for one or for three years, on demand.

Demand, power and supply are drawn in proportion to a number of `units`. How many systems a unit
takes depends on all that the planner knows, so it is not a constant here: `--fleet` first plans a
probe of the same draw as a linear relaxation, in which systems grow in proportion to units, and
then writes the scenario whose relaxation holds as many systems as asked. The plan in whole systems
holds a little more.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.mix.generate.generation import relaxation, unserved
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import Label, frame_of, scale_limit
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem import build
from tokenfleet.problem_data import Problem, Systems
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema.formats import WEIGHT_FORMATS

# Accelerators per system and relative speed of one (drawn once, about its real rank).
SYSTEMS: dict[str, tuple[int, float]] = {
    "a100_sxm_8": (8, 1.0),
    "h100_sxm_8": (8, 2.2),
    "h200_sxm_8": (8, 2.7),
    "h200_nvl_8": (8, 2.3),
    "h20_sxm_8": (8, 1.5),
    "b200_sxm_8": (8, 5.5),
    "b300_sxm_8": (8, 6.2),
    "gb200_nvl72": (72, 5.8),
    "gb300_nvl72": (72, 6.6),
    "l40s_8": (8, 0.6),
    "rtx_pro_6000_se_8": (8, 1.2),
    "mi300x_8": (8, 2.4),
    "mi325x_8": (8, 2.7),
    "mi350x_8": (8, 4.4),
    "mi355x_8": (8, 4.8),
    "tpu_v5e_8": (8, 0.5),
    "tpu_v6e_8": (8, 1.2),
    "tpu7x_64": (64, 4.5),
    "gaudi3_8": (8, 1.6),
    "trn2_16": (16, 1.3),
}
# What the catalog has no sourced figure for, so that every system can be planned with.
DRAWN_FIGURES: dict[str, dict[str, Any]] = {
    "h20_sxm_8": {"system_kw": 6.5},
    "h200_nvl_8": {"system_kw": 7.4, "bf16_tflops": 835, "scale_up_gb_per_s_per_gpu": 300},
    "l40s_8": {"system_kw": 4.4},
    "mi350x_8": {"system_kw": 13.0, "bf16_tflops": 2300, "scale_up_gb_per_s_per_gpu": 450},
    "tpu_v5e_8": {"system_kw": 3.0, "cooling": "air"},
    "tpu_v6e_8": {"system_kw": 4.0, "cooling": "air"},
    "gaudi3_8": {"system_kw": 10.0},
    "trn2_16": {"system_kw": 12.0, "scale_up_gb_per_s_per_gpu": 128},
}
# Every format but integers, whether or not weights are published in it: the space stays as large as
# it can be whatever the catalog comes to know.
FORMATS = [f.id for f in WEIGHT_FORMATS.values() if not f.integer]
# Billions of parameters that one token touches.
MODELS: dict[str, float] = {
    "deepseek-r1": 37.0,
    "deepseek-v3": 37.0,
    "gpt-oss-120b": 5.1,
    "gpt-oss-20b": 3.6,
    "kimi-k2": 32.0,
    "llama-3.1-405b": 405.0,
    "llama-3.1-70b": 70.0,
    "llama-3.3-70b": 70.0,
    "llama-3.1-8b": 8.0,
    "llama-4-maverick": 17.0,
    "llama-4-scout": 17.0,
    "mixtral-8x22b": 39.0,
    "mixtral-8x7b": 13.0,
    "qwen3-235b-a22b": 22.0,
    "qwen3-30b-a3b": 3.3,
    "qwen3-32b": 32.0,
    "qwen3-coder-480b-a35b": 35.0,
}
REGIONS = ("us", "eu", "apac")
USD_PER_SPEED_YEAR = 9_000.0  # of one accelerator, all costs, before the draw
PROBE = 20_000.0  # units, so many that rounding supplies to whole systems does not matter
_DIGITS = 3  # of the units: a solver that ends at another vertex must not change them
RATE = 2.6e6  # request rate times billions of parameters times tokens, per unit


# 4 to 4,096 in powers of two, and one step between, so that 10^7 candidates are evaluated.
BATCH_LIMITS = sorted([*(2**i for i in range(2, 13)), 192])


def scenario(
    seed: int,
    units: float,
    *,
    gap: float = 0.01,
    sites: int = 20,
    systems: int = 20,
    workloads: int = 30,
) -> dict[str, Any]:
    """A scenario, without the catalog file that `catalog` makes for it."""
    rng = np.random.default_rng(seed)
    names = tuple(SYSTEMS)[:systems]
    places = [_site(rng, i, units / sites) for i in range(sites)]
    return {
        "name": f"generated-{seed}, {units:g} units",
        "as_of": "2026-07-15",
        "catalog": ["catalog.json"],
        "systems": list(names),
        "workloads": [_workload(rng, i, units / workloads) for i in range(workloads)],
        "sites": places,
        "offers": [offer for name in names for offer in _offers(rng, name, units * 20 / systems)],
        "search": {
            "max_gpus_per_replica": 32,
            "pipeline_parallel": [1],
            "batch_limits": BATCH_LIMITS,
        },
        "solver": {"gap": gap, "time_limit_s": 60, "seed": seed},
    }


def units_per_system(seed: int, **shape: int) -> float:
    """Units for each system that the relaxation of a scenario of this shape takes."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_scenario(write(Path(folder), scenario(seed, PROBE, **shape)))
    return PROBE / relaxed_systems(build(loaded).problem)


def relaxed_systems(problem: Problem) -> float:
    """Systems of the least-cost plan in which nothing need be whole.

    Raises:
        SystemExit: demand cannot be met, so the draw is of no use.
    """
    frame = frame_of(problem, scale_limit(problem), every_system=True)
    master, answer = relaxation(Pairs(problem, frame), SolveOptions(threads=1))
    if unserved(master, answer) > 1e-6:
        raise SystemExit("this draw has no plan: power or supply is too short for its demand")
    return systems_in({label: float(answer.columns[i]) for label, i in master.base.items()})


def systems_in(values: Mapping[Label, float]) -> float:
    """Systems of a plan; those whose number differs by load block count at their peak."""
    peak: dict[int, float] = {}
    for label, value in values.items():
        if isinstance(label, Systems):
            peak[label.offer] = max(peak.get(label.offer, 0.0), value)
    return sum(peak.values())


def sized(fleet: float, per_system: float) -> float:
    """Units of a scenario whose plan holds about so many systems."""
    return float(f"{fleet * per_system:.{_DIGITS}g}")


def gap_for(fleet: float) -> float:
    """The gap to ask for: a whole system is a larger part of a smaller fleet."""
    return 0.01 if fleet >= 10_000 else 0.025


def catalog() -> dict[str, Any]:
    """Rows that fill what the catalog leaves blank."""
    rows = [{"id": name, "source": "drawn", **row} for name, row in DRAWN_FIGURES.items()]
    return {"systems": rows}


def write(folder: Path, data: dict[str, Any]) -> Path:
    """The scenario and its catalog file in a folder; returns the scenario's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "catalog.json").write_text(json.dumps(catalog(), indent=1), encoding="utf-8")
    path = folder / "scenario.json"
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return path


def _lengths(rng: np.random.Generator, median: float) -> dict[str, float]:
    sigma = float(rng.uniform(0.4, 0.6))
    points = {"p50": 0.0, "p90": 1.2816, "p95": 1.6449, "p99": 2.3263, "max": 3.2}
    found = {name: round(median * float(np.exp(z * sigma))) for name, z in points.items()}
    return {"mean": round(median * float(np.exp(sigma**2 / 2))), **found}


def _workload(rng: np.random.Generator, i: int, units: float) -> dict[str, Any]:
    model = tuple(MODELS)[i % len(MODELS)]
    count = int(rng.integers(1, 4))
    shares = np.round(rng.dirichlet(np.full(count, 3.0)) * 1000) / 1000
    shares[-1] = 1.0 - shares[:-1].sum()
    classes = []
    work = 0.0
    for k, share in enumerate(shares):
        inputs = _lengths(rng, float(rng.uniform(300, 1200)) * (k + 1))
        outputs = _lengths(rng, float(rng.uniform(80, 500)))
        work += float(share) * (inputs["mean"] + 6.0 * outputs["mean"])
        classes.append({
            "id": f"class{k}", "share": round(float(share), 3),
            "input_tokens": inputs, "output_tokens": outputs,
            "prefix_hit_rate": round(float(rng.uniform(0.0, 0.5)), 2),
        })  # fmt: skip
    rate = RATE * units * float(rng.uniform(0.5, 1.5)) / (MODELS[model] * work)
    row: dict[str, Any] = {
        "id": f"workload{i:02d}",
        "model": model,
        "precisions": FORMATS,
        "classes": classes,
        "slos": [
            {"metric": "ttft", "percentile": "p95", "limit_ms": round(rng.uniform(2e3, 8e3))},
            {"metric": "tpot", "percentile": "p95", "limit_ms": round(rng.uniform(40, 120))},
        ],
        "demand": {
            "requests_per_s": float(f"{rate:.4g}"),
            "peak_to_mean": round(float(rng.uniform(1.2, 2.2)), 2),
        },
    }
    if rng.random() < 0.4:
        row["residency"] = sorted(rng.choice(REGIONS, int(rng.integers(1, 3)), replace=False))
    return row


def _site(rng: np.random.Generator, i: int, units: float) -> dict[str, Any]:
    return {
        "id": f"site{i:02d}",
        "region": REGIONS[i % len(REGIONS)],
        "power_kw": round(units * 9.0 * float(rng.uniform(0.5, 1.5))),
        "power_basis": "utility" if rng.random() < 0.7 else "it",
        "pue": {
            "air": round(float(rng.uniform(1.2, 1.5)), 2),
            "direct liquid": round(float(rng.uniform(1.08, 1.2)), 2),
        },
        "electricity_usd_per_kwh": round(float(rng.uniform(0.04, 0.15)), 3),
        "hosting_usd_per_kw_month": round(float(rng.uniform(100, 190))),
        "cooling": ["air", "direct liquid"] if i % 4 else ["air"],
    }


def _offers(rng: np.random.Generator, system: str, units: float) -> Sequence[dict[str, Any]]:
    gpus, speed = SYSTEMS[system]
    hourly = USD_PER_SPEED_YEAR / 8760.0 * speed * float(rng.uniform(0.85, 1.15))
    supply = max(1, round(units * 8 / gpus * float(rng.uniform(0.02, 0.06))))
    buy = {"id": f"{system}-buy", "system": system, "kind": "buy", "supply": 6 * supply,
           "price_usd_per_system": round(hourly * 8760 * 2.2 * gpus)}  # fmt: skip
    terms = {"rent1": ("rent", 1, 1.6), "rent3": ("rent", 3, 1.3), "demand": ("on_demand", None, 2)}
    rented = []
    for name, (kind, years, premium) in terms.items():
        price = round(hourly * premium * float(rng.uniform(0.95, 1.05)), 3)
        offer = {"id": f"{system}-{name}", "system": system, "kind": kind, "supply": supply,
                 "price_usd_per_gpu_h": price}  # fmt: skip
        rented.append(offer if years is None else {**offer, "term_years": years})
    return buy, *rented


def main() -> None:
    """Write one scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--fleet", type=float, default=12_000.0, help="systems of the plan, about")
    size.add_argument("--units", type=float, help="size of the draw, without a probe")
    for name, default in (("sites", 20), ("systems", 20), ("workloads", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    shape = {"sites": args.sites, "systems": args.systems, "workloads": args.workloads}
    units = args.units or sized(args.fleet, units_per_system(args.seed, **shape))
    found = scenario(args.seed, units, gap=gap_for(args.fleet), **shape)
    print(write(args.output, found), f"({units:g} units)")


if __name__ == "__main__":
    main()
