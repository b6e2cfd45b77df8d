"""Pruning loses no optimum: pruned and unpruned problems cost the same at zero gap."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from problems import candidate, one_pool, workload
from scenarios import buy
from tokenfleet import _core
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem import Built, build
from tokenfleet.problem_data import (
    ApiData,
    Block,
    Candidate,
    Objective,
    ObjectiveKind,
    OfferData,
    Pool,
    Problem,
    Replicas,
    SiteData,
    WorkloadData,
)
from tokenfleet.scenario.load import load_scenario

EXACT = SolveOptions(gap=0.0, time_limit_s=60.0, threads=1)


def solve(problem: Problem) -> MixResult:
    """A proven optimum."""
    result = solve_mix(problem, EXACT, compare_single=False)
    assert result.status == "optimal"
    return result


def pruned(problem: Problem) -> Problem:
    """The problem with only the candidates that `_core.prune` keeps of each group."""
    groups: dict[tuple[Any, ...], list[Candidate]] = defaultdict(list)
    for c in problem.candidates:
        groups[(c.workload, c.system, c.role, c.pair, c.sites)].append(c)
    per_system = {pool.system: pool.gpus_per_system for pool in problem.pools}
    kept: list[Candidate] = []
    for (_, system, *_), group in groups.items():
        rows = _core.prune(
            [
                {
                    "load_s": list(c.load),
                    "energy_j": list(c.energy_j),
                    "gpus": c.gpus,
                    "idle_w": c.idle_w,
                    "quality": c.quality,
                }
                for c in group
            ],
            per_system[system],
        )
        kept += [group[i] for i in rows]
    return replace(problem, candidates=tuple(kept))


# --- larger random problems ---------------------------------------------------------------------


def random_candidates(
    rng: np.random.Generator, w: int, system: str, count: int, classes: int
) -> list[Candidate]:
    """Layouts of one workload on one system, most of them worse than some other; with twins.

    Load falls with size a little less than in proportion, as it does when accelerators must talk,
    or a little more, as it does when memory is short. Some are a fifth faster for more watts at
    idle. Figures are rounded, so that exact ties occur. Every third problem has a size that divides
    neither its neighbours nor the system.
    """
    speed, scaling = rng.uniform(0.6, 1.6, classes), float(rng.choice([0.9, 1.1]))
    sizes = [1, 2, 3, 4, 8] if rng.random() < 1 / 3 else [1, 2, 4, 8]
    found: list[Candidate] = []
    while len(found) < count:
        if found and rng.random() < 0.15:
            found.append(found[int(rng.integers(len(found)))])
            continue
        gpus = int(rng.choice(sizes))
        slower = 1.0 + rng.integers(0, 6) / 10.0 + rng.choice([0.0, 0.0, 0.1], classes)
        hungry = rng.random() < 0.3
        load = (speed * slower * (0.8 if hungry else 1.0) / gpus**scaling).round(2)
        joules = np.full(classes, 200.0 * (1.0 + rng.integers(0, 5) / 5.0))
        if rng.random() < 0.3:
            out = int(rng.integers(classes))
            load[out] = joules[out] = math.inf
        idle_w = gpus * float(rng.choice([100.0, 200.0])) if hungry else 0.0
        quality = float(rng.choice([0.9, 1.0, 1.0]))
        sites = (0,) if rng.random() < 0.1 else (0, 1)
        changes = {"energy_j": joules, "idle_w": idle_w, "quality": quality, "sites": sites}
        found.append(candidate(0, w, system, gpus, load.tolist(), **changes))
    return found


def split_pairs(rng: np.random.Generator, found: list[Candidate]) -> list[Candidate]:
    """Some of them as prefill and decode partners of two cache formats."""
    changed = []
    for c in found:
        role = str(rng.choice(["serve", "prefill", "decode"], p=[0.4, 0.3, 0.3]))
        pair = -1 if role == "serve" else 2 * c.workload + int(rng.integers(2))
        load = c.load if role == "serve" else c.load / 2
        changed.append(replace(c, role=role, pair=pair, load=load))  # type: ignore[arg-type]
    return changed


def random_pools(
    rng: np.random.Generator, systems: int
) -> tuple[tuple[Pool, ...], tuple[OfferData, ...]]:
    """Each system bought at one site of two; the first rented by the hour at the other as well."""
    pools, offers = [], []
    for h in range(systems):
        pools.append(
            Pool(
                f"p{h}",
                h % 2,
                f"sys{h}",
                8,
                provisioned_it_kw=float(rng.uniform(1.0, 2.0)),
                idle_it_kw=float(rng.uniform(0.1, 0.5)),
                pue=1.2,
                energy_usd_per_kwh_it=float(rng.uniform(0.05, 0.3)),
                reserve=int(rng.integers(2)) if h == 0 else 0,
            )
        )
        items = {"capex": float(rng.uniform(2_000, 9_000))}
        supply = float(rng.integers(2, 6))
        offers.append(OfferData(f"o{h}", h, supply=supply, annual_cost_items_usd=items))
    rented = replace(pools[0], id="r", site=1, elastic=True, hosted=True, reserve=0)
    pools.append(rented)
    offers.append(OfferData("r", systems, supply=3.0, hourly_usd=float(rng.uniform(0.5, 2.0))))
    return tuple(pools), tuple(offers)


def random_demand(rng: np.random.Generator, w: int, classes: int) -> WorkloadData:
    """Two blocks, a value for every request and a price for what is not served."""
    peak = rng.uniform(1.0, 4.0, classes).round(2)
    changes = {
        "value_usd_per_request": rng.uniform(1e-4, 4e-4, classes),
        "shortfall_usd_per_request": 2e-3,
    }
    return workload(f"w{w}", [peak.tolist(), (peak * 0.5).round(2).tolist()], **changes)


def larger_problem(
    seed: int, *, kind: ObjectiveKind = "least_cost", paired: bool = False, relayout: bool = False
) -> Problem:
    """40 to 120 candidates of two workloads on two or three systems under power and supply."""
    rng = np.random.default_rng(seed)
    classes, systems = int(rng.integers(2, 4)), 3 if seed % 4 == 0 else 2
    count = int(rng.integers(48, 121)) // (2 * systems) + 1
    pools, offers = random_pools(rng, systems)
    found = [
        c
        for w in range(2)
        for h in range(systems)
        for c in random_candidates(rng, w, f"sys{h}", count, classes)
    ]
    if paired:
        found = split_pairs(rng, found)
    return Problem(
        name=f"larger-{seed}",
        blocks=(Block(2760.0), Block(6000.0)),
        workloads=tuple(random_demand(rng, w, classes) for w in range(2)),
        sites=tuple(
            SiteData(f"s{i}", float(rng.uniform(3.0, 9.0)), bool(rng.integers(2))) for i in range(2)
        ),
        pools=pools,
        offers=offers,
        candidates=tuple(replace(c, id=i) for i, c in enumerate(found)),
        apis=tuple(ApiData(f"a{w}", w, rng.uniform(1e-4, 9e-4, classes)) for w in range(2)),
        objective=Objective(kind=kind),
        relayout=relayout,
    )


def assert_pruning_loses_nothing(problem: Problem, least_dropped: float) -> None:
    """Equal objectives, with at least this share of the candidates gone."""
    fewer = pruned(problem)
    assert len(fewer.candidates) <= len(problem.candidates) * (1.0 - least_dropped)
    assert solve(fewer).value == pytest.approx(solve(problem).value, rel=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_pruned_equals_unpruned(seed: int) -> None:
    problem = larger_problem(seed)
    assert 40 <= len(problem.candidates) <= 120
    assert_pruning_loses_nothing(problem, 0.3)


@pytest.mark.parametrize("seed", [102, 109])
def test_pruned_equals_unpruned_with_prefill_and_decode_pools(seed: int) -> None:
    assert_pruning_loses_nothing(larger_problem(seed, paired=True), 0.1)


@pytest.mark.parametrize("seed", [103])
def test_pruned_equals_unpruned_where_layouts_change_with_the_block(seed: int) -> None:
    assert_pruning_loses_nothing(larger_problem(seed, relayout=True), 0.3)


@pytest.mark.parametrize("seed", [105])
def test_pruned_equals_unpruned_for_value(seed: int) -> None:
    assert_pruning_loses_nothing(larger_problem(seed, kind="most_value"), 0.3)


@pytest.mark.parametrize("seed", [107, 108])
def test_pruned_equals_unpruned_for_energy(seed: int) -> None:
    """Without an API or a shortfall, which would need no energy of ours."""
    problem = larger_problem(seed, kind="least_energy")
    must = tuple(replace(w, shortfall_usd_per_request=None) for w in problem.workloads)
    sites = tuple(replace(s, power_limit_kw=20.0) for s in problem.sites)
    assert_pruning_loses_nothing(replace(problem, workloads=must, sites=sites, apis=()), 0.3)


# --- idle watts, by hand ------------------------------------------------------------------------


def frugal_and_fast(rps: float, fast_idle_w: float = 900.0) -> Problem:
    """Boxes of one replica at 1,000 $ a year: 1 request/s, or 2 with more watts at idle.

    900 W all year at 0.1 $/kWh cost 788.4 $.
    """
    problem = one_pool([[rps]], usd=1000.0)
    pool = replace(problem.pools[0], energy_usd_per_kwh_it=0.1)
    frugal = candidate(0, 0, "box", 8, [1.0])
    fast = candidate(1, 0, "box", 8, [0.5], idle_w=fast_idle_w)
    return replace(problem, pools=(pool,), candidates=(frugal, fast))


@pytest.mark.parametrize(
    ("rps", "used", "usd"),
    [
        (1.0, 0, 1000.0),  # one frugal box; a fast one costs 1,788.4
        (2.0, 1, 1788.4),  # one fast box; two frugal ones cost 2,000
        (3.0, None, 2788.4),  # one of each; three frugal ones cost 3,000
    ],
)
def test_higher_idle_watts_never_prune_what_is_cheaper_at_low_load(
    rps: float, used: int | None, usd: float
) -> None:
    problem = frugal_and_fast(rps)
    kept = pruned(problem)
    assert [c.id for c in kept.candidates] == [0, 1]
    result = solve(kept)
    assert result.value == pytest.approx(usd, rel=1e-9)
    replicas = {label.candidate for label in result.values if isinstance(label, Replicas)}
    assert replicas == ({0, 1} if used is None else {used})


def test_equal_idle_watts_let_the_faster_one_prune() -> None:
    assert [c.id for c in pruned(frugal_and_fast(1.0, fast_idle_w=0.0)).candidates] == [1]


def test_the_kept_set_does_not_depend_on_order() -> None:
    problem = larger_problem(3)
    backwards = replace(problem, candidates=tuple(reversed(problem.candidates)))

    def figures(p: Problem) -> list[tuple[Any, ...]]:
        rows = (
            (c.workload, c.system, c.sites, c.gpus, *c.load, *c.energy_j, c.idle_w, c.quality)
            for c in pruned(p).candidates
        )
        return sorted(rows)

    assert figures(problem) == figures(backwards)


# --- the whole way: every usable configuration of a real space ----------------------------------


def real_scenario() -> dict[str, Any]:
    """A dense model on H100: two classes of request, one class to a replica."""
    return {
        "name": "every configuration",
        "objective": {"simplicity_tolerance": 0},
        "price_vintage": "2026-06",
        "systems": ["h100_sxm_8"],
        "engines": ["vllm", "sglang"],
        "search": {
            "class_sets": "singles",
            "tensor_parallel": [1, 2, 4],
            "pipeline_parallel": [1, 2],
            "batch_limits": [8, 32, 128],
        },
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [
                    {"id": "short", "share": 0.7, "input_tokens": 500, "output_tokens": 150},
                    {"id": "long", "share": 0.3, "input_tokens": 6000, "output_tokens": 400},
                ],
                "slos": [
                    {"metric": "ttft", "percentile": "p99", "limit_ms": 900},
                    {"metric": "tpot", "percentile": "p90", "limit_ms": 12},
                ],
                "demand": {"requests_per_s": 60.0, "peak_to_mean": 2.0},
            }
        ],
        "sites": [
            {
                "id": "hall",
                "region": "eu",
                "power_kw": 100,
                "power_basis": "it",
                "pue": 1.3,
                "electricity_usd_per_kwh": 0.3,
                "cooling": ["air"],
            }
        ],
        "offers": [buy(id="buy")],
    }


def every_usable_configuration(built: Built) -> list[Candidate]:
    """One candidate for each integer of the space that meets its limits.

    With one class to a replica its rate at capacity is 1/load, and what it draws beyond the watts
    of any decode is rate times joules.
    """
    assert built.core is not None and built.specification is not None
    core, classes = built.core, built.problem.workloads[0].class_ids
    pool = built.problem.pools[0]
    points = core.points(np.arange(core.space_size, dtype=np.uint64))
    system = built.specification.data["systems"][0]
    found = []
    for number, status in enumerate(points["status"]):
        if status != "ok":
            continue
        k = classes.index(core.describe(number)["classes"][0])
        rate, gpus = points["requests_per_s"][number], int(points["gpus"][number])
        load, joules = np.full(2, math.inf), np.full(2, math.inf)
        load[k] = 1.0 / rate
        joules[k] = (points["drawn_w"][number] - gpus * system["active_w"]) / rate
        idle_w = gpus * (system["active_w"] - system["idle_w"])
        figures = {"energy_j": joules, "sites": (0,), "idle_w": idle_w}
        found.append(candidate(number, 0, pool.system, gpus, load.tolist(), **figures))
    return found


def test_the_kept_candidates_cost_what_all_configurations_cost() -> None:
    built = build(load_scenario(real_scenario()))
    everything = every_usable_configuration(built)
    counts = built.counts["chat"]
    assert len(everything) == counts["usable"] + counts["dominated"]
    assert len(everything) > 10 * len(built.problem.candidates)
    by_number = {c.id: c for c in everything}
    for c in built.problem.candidates:
        same = by_number[built.origins[c.id][0]]
        assert same.load == pytest.approx(c.load, rel=1e-9)
        assert same.energy_j == pytest.approx(c.energy_j, rel=1e-6)
    whole = replace(built.problem, candidates=tuple(everything))
    assert solve(built.problem).value == pytest.approx(solve(whole).value, rel=1e-7)
