"""The menu and the repairs: equal to trying every plan, and to cases worked out by hand."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import tokenfleet
from tiny_mix import Kind, Tiny, random_tiny
from tokenfleet.explanation.menu import Choosable, menu
from tokenfleet.explanation.repair import Repaired, conflict, repairs
from tokenfleet.explanation.study import Study
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import Problem
from tokenfleet.report import explained
from tokenfleet.verify.mix import verify_mix

OPTIONS = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)
SHARES = (0.01, 0.02, 0.05)


def study_of(problem: Problem) -> Study:
    return Study(problem, OPTIONS)


def at(found: list[Choosable], wish: str, share: float) -> Choosable:
    """The plan that the menu has for a wish within a share: the furthest that it allows."""
    return [item for item in found if item.wish.name == wish and item.within <= share][-1]


def counts(item: Choosable) -> tuple[int, ...]:
    problem = item.plan.problem
    return tuple(
        round(sum(n for la, n in item.plan.values.items() if getattr(la, "offer", -1) == o))
        for o in range(len(problem.offers))
    )


# Menu

#: Instance 17: A and B are bought, C is rented.
INSTANCE_17 = Tiny(
    (
        Kind(2, 21, 8, kw=10, capex=21),
        Kind(5, 51, 5, kw=20, capex=51),
        Kind(9, 96, 3, kw=30, kind="rent"),
    ),
    demand=16,
)
MENU_17 = [
    (0.01, "fewest offers", 2, 165, (3, 2, 0)),
    (0.01, "least capital", 165, 165, (3, 2, 0)),
    (0.01, "least power", 70, 165, (3, 2, 0)),
    (0.01, "most owned", 5, 165, (3, 2, 0)),
    (0.02, "fewest offers", 1, 168, (8, 0, 0)),
    (0.02, "least capital", 72, 168, (1, 1, 1)),
    (0.02, "least power", 60, 168, (1, 1, 1)),
    (0.02, "most owned", 8, 168, (8, 0, 0)),
    (0.05, "fewest offers", 1, 168, (8, 0, 0)),
    (0.05, "least capital", 72, 168, (1, 1, 1)),
    (0.05, "least power", 60, 168, (1, 1, 1)),
    (0.05, "most owned", 8, 168, (8, 0, 0)),
]


def test_instance_17_has_the_best_value_and_then_the_least_cost() -> None:
    found = list(menu(study_of(INSTANCE_17.problem()), SHARES))
    for share, wish, value, cost, systems in MENU_17:
        item = at(found, wish, share)
        said = (item.value, item.plan.annual_cost_usd)
        assert said == pytest.approx((value, cost)), (share, wish)
        assert counts(item) == systems, (share, wish)
        assert item.how == "re-solved and proven"


def test_case_k_one_vendor_costs_4_per_cent_more() -> None:
    """Two vendors 100, one vendor 104: within 2 % two, within 5 % one at 104."""
    tiny = Tiny((Kind(1, 50, 1), Kind(1, 50, 1), Kind(2, 104, 1), Kind(2, 105, 1)), demand=2)
    found = list(menu(study_of(tiny.problem()), SHARES, {f"sys{i}": "abcd"[i] for i in range(4)}))
    two, one = at(found, "fewest vendors", 0.02), at(found, "fewest vendors", 0.05)
    assert (two.value, two.plan.annual_cost_usd) == pytest.approx((2, 100))
    assert (one.value, one.plan.annual_cost_usd) == pytest.approx((1, 104))


@pytest.mark.parametrize("seed", range(20))
def test_the_menu_equals_trying_every_plan(seed: int) -> None:
    tiny = random_tiny(seed)
    if not math.isfinite(tiny.least()):
        tiny = replace(tiny, demand=4.0)
    plans, least = list(tiny.plans()), tiny.least()
    values = {
        "fewest offers": lambda n: sum(c > 0 for c in n),
        "least capital": lambda n: sum(c * k.capex for c, k in zip(n, tiny.kinds, strict=True)),
        "least power": lambda n: sum(c * k.kw for c, k in zip(n, tiny.kinds, strict=True)),
        "least dependence on one supply": max,
    }
    found = list(menu(study_of(tiny.problem()), SHARES))
    for share, (wish, value) in itertools.product(SHARES, values.items()):
        allowed = [(value(n), cost) for n, cost in plans if cost <= least * (1 + share) + 1e-9]
        item = at(found, wish, share)
        best = min(allowed)
        assert item.value == pytest.approx(best[0], abs=1e-6), (seed, share, wish)
        assert item.plan.annual_cost_usd == pytest.approx(best[1], rel=1e-6), (seed, share, wish)
        assert not verify_mix(item.plan.problem, item.plan.values)


# Repairs


def sets(found: list[Repaired]) -> dict[frozenset[tuple[str, str]], Repaired]:
    return {frozenset((c.family, c.where) for c in r.concessions): r for r in found}


def test_instance_16_has_two_repairs_by_the_buyers_prices() -> None:
    """40 kW, two kinds, demand 12: 18 kW more for 364 in all, or 4 requests/s less for 400."""
    tiny = Tiny((Kind(2, 40, 4, kw=10), Kind(5, 150, 1, kw=18)), demand=12, power_kw=40)
    prices = {("power", "s"): 3.0, ("supply", "o0"): 10.0, ("supply", "o1"): 25.0}
    prices["demand", "w"] = 60.0
    found = sets(list(repairs(study_of(tiny.problem()), prices)))
    assert set(found) == {frozenset({("power", "s")}), frozenset({("demand", "w")})}
    power, demand = found[frozenset({("power", "s")})], found[frozenset({("demand", "w")})]
    assert power.concessions[0].amount == pytest.approx(18)
    assert power.plan.annual_cost_usd + power.price_usd == pytest.approx(364)
    assert demand.concessions[0].amount == pytest.approx(4)
    assert demand.plan.annual_cost_usd + demand.price_usd == pytest.approx(400)


def test_case_h_power_110_demand_115() -> None:
    tiny = Tiny((Kind(1, 30, 9, kw=5),), demand=3, power_kw=10)
    prices = {("power", "s"): 4.0, ("demand", "w"): 55.0}
    found = [
        r.plan.annual_cost_usd + r.price_usd for r in repairs(study_of(tiny.problem()), prices)
    ]
    assert sorted(found) == pytest.approx([110, 115])


@pytest.mark.parametrize("seed", range(20))
def test_repairs_are_minimal_and_each_makes_a_plan(seed: int) -> None:
    """Every set against trying every plan: enough as it is shown, and no part of it is."""
    tiny = random_tiny(seed, tight=True)
    tiny = replace(tiny, demand=tiny.demand * 2)
    while math.isfinite(tiny.least()):
        tiny = replace(tiny, power_kw=tiny.power_kw / 3)
    found = list(repairs(study_of(tiny.problem())))
    assert found
    families = [frozenset((c.family, c.where) for c in r.concessions) for r in found]
    for i, repaired in enumerate(found):
        assert not any(families[j] <= families[i] for j in range(len(found)) if j != i)
        assert not verify_mix(repaired.problem, repaired.plan.values)
        assert _given(tiny, repaired).least() == pytest.approx(repaired.plan.annual_cost_usd)
        for gone in families[i]:
            assert not _enough(tiny, families[i] - {gone})
    every = [("power", "s"), ("demand", "w"), *(("supply", f"o{o}") for o in range(3))]
    minimal: list[frozenset[tuple[str, str]]] = []
    for n in range(1, len(every) + 1):
        for chosen in map(frozenset, itertools.combinations(every, n)):
            if not any(known <= chosen for known in minimal) and _enough(tiny, chosen):
                minimal.append(chosen)
    shown = [of for of in minimal if of != {("demand", "w")} or of in families]  # serves something
    assert len(found) >= min(len(shown), 3)


def _given(tiny: Tiny, repaired: Repaired) -> Tiny:
    for c in repaired.concessions:
        tiny = _looser(tiny, (c.family, c.where), c.amount)
    return tiny


def _enough(tiny: Tiny, keys: frozenset[tuple[str, str]]) -> bool:
    """Whether these limits are enough if they give way as far as can be."""
    for key in keys:
        tiny = _looser(tiny, key, tiny.demand if key[0] == "demand" else 200.0)
    return math.isfinite(tiny.least())


def _looser(tiny: Tiny, key: tuple[str, str], amount: float) -> Tiny:
    family, where = key
    if family == "power":
        return replace(tiny, power_kw=tiny.power_kw + amount + 1e-6)
    if family == "demand":
        return replace(tiny, demand=tiny.demand - amount - 1e-9)
    kinds = list(tiny.kinds)
    o = int(where[1:])
    more = min(round(amount), 12)
    kinds[o] = replace(kinds[o], most=kinds[o].most + more)
    return replace(tiny, kinds=tuple(kinds))


def test_a_scenario_without_a_plan_is_answered_with_repairs(tmp_path: Path) -> None:
    """8 and 6 kW hold no server: the command says so, with power for whole servers, and exits 3."""
    text = (Path(tokenfleet.__file__).parent / "examples" / "enterprise.yaml").read_text()
    text = text.replace("power_kw: 40", "power_kw: 8").replace("power_kw: 30", "power_kw: 6")
    kept = [line for line in text.splitlines() if "eu-api" not in line and "h100-rent" not in line]
    path = tmp_path / "dark.yaml"
    path.write_text("\n".join([*kept, "confidence: expected", ""]))
    command = [sys.executable, "-m", "tokenfleet", "explain", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert found["objective_value"] is None and not found["worth"]
    first = found["repairs"][0]
    assert [(c["what"], c["where"]) for c in first["concessions"]] == [("power", "eu-frankfurt")]
    assert first["concessions"][0]["after"] == pytest.approx(40.8)  # four servers of 10.2 kW


@pytest.mark.parametrize("seed", range(20))
def test_the_limits_in_conflict_allow_a_plan_without_any_one_of_them(seed: int) -> None:
    """All others gone, the conflict has no plan; without one of its limits as well, it has."""
    tiny = random_tiny(seed, tight=True)
    tiny = replace(tiny, demand=tiny.demand * 2)
    while math.isfinite(tiny.least()):
        tiny = replace(tiny, power_kw=tiny.power_kw / 3)
    found = conflict(study_of(tiny.problem()))
    kept = frozenset((c.family, c.where) for c in found.limits)
    every = {("power", "s"), ("demand", "w"), *(("supply", f"o{o}") for o in range(3))}
    assert found.minimal and kept <= every
    assert not _enough(tiny, frozenset(every - kept))
    for key in kept:
        assert _enough(tiny, frozenset(every - kept | {key})), (seed, key)


def test_a_latency_limit_that_nothing_keeps_is_raised_as_far_as_has_to_be() -> None:
    """5 ms to the first token are less than a prefill takes: the limit gives way by a round step,
    and what the step before allows is no plan. The conflict is the demand with that promise."""
    text = (Path(tokenfleet.__file__).parent / "examples" / "enterprise.yaml").read_text()
    data = yaml.safe_load(text) | {"confidence": "expected"}
    data["workloads"], data["apis"] = data["workloads"][1:], []
    data["quality"] = [row for row in data["quality"] if row["model"] == "qwen3-32b"]
    data["workloads"][0]["slos"][0]["limit_ms"] = 5
    found = tokenfleet.explain(data)
    assert [(c.what, c.where) for c in found.conflict] == [("demand", "code")]
    assert "5 ms" in found.notes[0] or "TTFT" in found.notes[0]
    (raised,) = [r for r in found.repairs if r.concessions[0].what == "TTFT limit"]
    after = raised.concessions[0].after
    assert 5 < after < 5000
    for limit, there in ((after, True), (after / 2.01, False)):  # no step is more than double
        data["workloads"][0]["slos"][0]["limit_ms"] = limit
        again = tokenfleet.explain(data, parts=["repairs"])
        assert (again.objective_value is not None) is there
        if there:
            assert again.objective_value == pytest.approx(raised.objective_value, rel=1e-4)


def test_a_promise_that_nothing_keeps_has_three_ways_out() -> None:
    """20 ms to the first token: the demand, the limit, or the API abroad that promises it gives
    way. Two regions in the scenario cost what the third way says."""
    text = (Path(tokenfleet.__file__).parent / "examples" / "enterprise.yaml").read_text()
    data = yaml.safe_load(text) | {"confidence": "expected"}
    data["workloads"][0]["slos"][0]["limit_ms"] = 20
    found = tokenfleet.explain(data)
    said = [explained.repair(row) for row in found.repairs]
    assert [line.split(": then")[0] for line in said] == [
        "demand of assistant 0 instead of 25 requests/s",
        "TTFT limit of assistant 600 instead of 20 ms",
        "residency with us of assistant as well",
    ]
    data["workloads"][0]["residency"] = ["eu", "us"]
    abroad = tokenfleet.optimize_fleet(data, compare_single=False)
    assert found.repairs[2].annual_cost_usd == pytest.approx(abroad.annual_cost_usd, rel=0.01)


def test_what_is_short_by_power_has_three_ways_out_in_whole_systems() -> None:
    """A tenth of the power and nothing to rent: two servers at either site, or no demand."""
    text = (Path(tokenfleet.__file__).parent / "examples" / "enterprise.yaml").read_text()
    data = yaml.safe_load(text)
    data["offers"] = [row for row in data["offers"] if row["id"] != "h100-rent"]
    stated = {site["id"]: site["power_kw"] * 0.1 for site in data["sites"]}
    for site in data["sites"]:
        site["power_kw"] = stated[site["id"]]
    found = tokenfleet.explain(data, parts=["repairs"])
    sets = [{(c.what, c.where) for c in row.concessions} for row in found.repairs]
    assert len(sets) >= 3
    assert not any(a <= b for a, b in itertools.permutations(sets, 2))
    for row in found.repairs:
        (given,) = row.concessions
        if given.what == "power":
            (lot,) = row.systems.items()
            for site in data["sites"]:
                own = site["id"] == given.where
                site["power_kw"] = given.after if own else stated[site["id"]]
            plan = tokenfleet.optimize_fleet(data, compare_single=False)
            assert plan.annual_cost_usd == pytest.approx(row.annual_cost_usd, rel=0.01)
            assert lot[0].endswith(given.where) and lot[1] == 2
