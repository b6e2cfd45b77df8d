"""Whole fleets as rows, judged by a linear programme of HiGHS written from the equations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pytest

from problems import candidate, one_pool, priced_by_block, random_problem, workload
from reference_mix import api_usd, usd_per_kwh
from tokenfleet.errors import SchemaError
from tokenfleet.fleets import FleetEvaluator
from tokenfleet.mix.model import build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import Block, OfferData, Pool, Problem, SiteData, Systems

ROOT = Path(__file__).parent.parent
ENTERPRISE = ROOT / "examples" / "enterprise.yaml"
PENALTY = 1e7  # USD for each request/s not served, far above anything else here


class Judge:
    """min cost of routing through given systems, row by row from docs/model.md; replicas real, or
    whole."""

    def __init__(
        self, problem: Problem, counts: np.ndarray[Any, Any], *, whole: bool = False
    ) -> None:
        self.problem, self.cost, self.entries = problem, [], []
        self.whole, self.replicas = whole, set[int]()
        self.rows: list[tuple[float, float]] = []
        pools = range(len(problem.pools))
        held = [sum(counts[o] for o, x in enumerate(problem.offers) if x.pool == p) for p in pools]
        self.usable = [max(h - problem.pools[p].reserve, 0) for p, h in enumerate(held)]
        self.served: dict[tuple[int, int, int], list[int]] = {}
        self.pairs: dict[tuple[int, ...], list[tuple[int, float]]] = {}
        self.short: list[int] = []
        for p in pools:
            self.pool(p)
        self.outside()
        for (b, w, k), columns in self.served.items():
            rate = problem.workloads[w].demand_rps[b, k]
            self.row([(j, 1.0) for j in columns], rate, rate)
        for pairs in self.pairs.values():
            self.row(pairs, 0.0, 0.0)

    def column(self, cost: float) -> int:
        self.cost.append(cost)
        return len(self.cost) - 1

    def row(self, pairs: list[tuple[int, float]], low: float, high: float) -> None:
        self.entries += [(len(self.rows), j, a) for j, a in pairs]
        self.rows.append((low, high))

    def pool(self, p: int) -> None:
        problem, pool = self.problem, self.problem.pools[p]
        able = [
            c
            for c, x in enumerate(problem.candidates)
            if x.system == pool.system
            and pool.site in x.sites
            and (not pool.interruptible or problem.workloads[x.workload].interruptible)
        ]
        blocks = [b for b, x in enumerate(problem.blocks) if x.lost_site != pool.site]
        scopes = [[b] for b in blocks] if pool.elastic or problem.relayout else [blocks]
        for scope in scopes:
            usd_per_kw = sum(problem.blocks[b].hours * usd_per_kwh(pool, b) for b in scope)
            n = {c: self.column(problem.candidates[c].idle_w / 1e3 * usd_per_kw) for c in able}
            for size in {problem.candidates[c].gpus for c in able}:
                held = pool.gpus_per_system // size * size
                inside = [(n[c], float(problem.candidates[c].gpus)) for c in able
                          if problem.candidates[c].gpus >= size]  # fmt: skip
                self.row(inside, -math.inf, held * self.usable[p])
            self.replicas |= set(n.values())
            for b in scope:
                for c in able:
                    self.flows(p, b, c, n[c])

    def flows(self, p: int, b: int, c: int, n: int) -> None:
        problem, x = self.problem, self.problem.candidates[c]
        pool, loads = problem.pools[p], []
        for k, load in enumerate(x.load):
            if not math.isfinite(load):
                continue
            kwh = problem.blocks[b].hours * 3600 * x.energy_j[k] / 3.6e6
            f = self.column(kwh * usd_per_kwh(pool, b))
            loads.append((f, float(load)))
            if x.role != "prefill":
                self.served.setdefault((b, x.workload, k), []).append(f)
            if x.role != "serve":
                sign = 1.0 if x.role == "prefill" else -1.0
                place = (b, pool.site, x.workload, x.pair, k)
                self.pairs.setdefault(place, []).append((f, sign))
        self.row([*loads, (n, -1.0)], -math.inf, 0.0)

    def outside(self) -> None:
        for b, block in enumerate(self.problem.blocks):
            for a, api in enumerate(self.problem.apis):
                for k in range(api.cost_usd_per_request.shape[-1]):
                    j = self.column(api_usd(self.problem, a, b, k) * block.hours * 3600)
                    self.served.setdefault((b, api.workload, k), []).append(j)
            for w, data in enumerate(self.problem.workloads):
                for k in range(data.demand_rps.shape[1]):
                    j = self.column(PENALTY)
                    self.short.append(j)
                    self.served.setdefault((b, w, k), []).append(j)

    def solve(self) -> tuple[float, float]:
        """(cost of the routing, requests/s not served)."""
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.cost), len(self.rows)
        lp.col_cost_ = np.array(self.cost, dtype=float)
        lp.col_lower_ = np.zeros(lp.num_col_)
        lp.col_upper_ = np.full(lp.num_col_, highspy.kHighsInf)
        lp.row_lower_ = np.array([low for low, _ in self.rows], dtype=float)
        lp.row_upper_ = np.array([high for _, high in self.rows], dtype=float)
        entries = sorted(self.entries)
        matrix = lp.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.num_col_, matrix.num_row_ = lp.num_col_, lp.num_row_
        counts = np.bincount([r for r, _, _ in entries], minlength=lp.num_row_)
        matrix.start_ = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        matrix.index_ = np.array([j for _, j, _ in entries], dtype=np.int32)
        matrix.value_ = np.array([a for _, _, a in entries], dtype=float)
        if self.whole:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[j in self.replicas] for j in range(lp.num_col_)]
        highs = highspy.Highs()
        highs.silent()
        highs.setOptionValue("mip_rel_gap", 1e-9)
        highs.passModel(lp)
        highs.run()
        assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        values = np.array(highs.getSolution().col_value)
        unmet = float(values[self.short].sum())
        return float(values @ np.array(self.cost)) - PENALTY * unmet, unmet


def phases(seed: int) -> Problem:
    """Prefill and decode on two types, beside one that serves whole requests."""
    rng = np.random.default_rng(seed)
    pools = tuple(
        Pool(f"p{i}", 0, f"s{i}", 8, 5.0, 1.0, energy_usd_per_kwh_it=0.1) for i in range(3)
    )
    offers = tuple(OfferData(f"o{i}", i, annual_cost_items_usd={"rent": 9e3}) for i in range(3))
    made = [("s0", "prefill", 0), ("s1", "decode", 0), ("s1", "prefill", 1), ("s2", "decode", 1)]
    candidates = [
        candidate(
            i, 0, system, 4, rng.uniform(0.1, 0.6, 2).tolist(), role=role, pair=pair,
            energy_j=rng.uniform(50, 900, 2),
        )
        for i, (system, role, pair) in enumerate(made)
    ]  # fmt: skip
    candidates.append(candidate(4, 0, "s2", 2, [0.9, 0.8], energy_j=np.array([900.0, 990.0])))
    return Problem(
        name="phases",
        blocks=(Block(5000.0), Block(3760.0)),
        workloads=(workload("w", [[9.0, 4.0], [15.0, 9.0]]),),
        sites=(SiteData("s"),),
        pools=pools,
        offers=offers,
        candidates=tuple(candidates),
    )


CASES = [
    *(random_problem(seed, classes=1 + seed % 3, peak_rps=30.0) for seed in range(8)),
    *(replace(random_problem(seed, classes=2, peak_rps=30.0), relayout=True) for seed in range(3)),
    *(replace(random_problem(seed, classes=2, peak_rps=20.0), apis=()) for seed in range(4)),
    *(phases(seed) for seed in range(4)),
    *(priced_by_block(random_problem(seed, classes=2, peak_rps=30.0), seed) for seed in range(6)),
    *(priced_by_block(phases(seed), seed) for seed in range(2)),
]


@pytest.mark.parametrize("problem", CASES, ids=lambda p: p.name)
def test_the_routing_is_that_of_an_independent_linear_programme(problem: Problem) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 6, (12, len(problem.offers))).astype(float)
    evaluator = FleetEvaluator(problem)
    answers = evaluator.evaluate(counts)
    bare = evaluator._items
    for i, fleet in enumerate(counts):
        cost, unmet = Judge(problem, fleet).solve()
        systems = sum(float(fleet @ usd) for usd in bare.values())
        whole = answers["annual_cost_usd"][0, i]
        assert answers["feasible"][0, i] == 0 or unmet < 1e-6
        if unmet < 1e-6:
            assert whole == pytest.approx(systems + cost, rel=1e-6, abs=1e-4)
        else:
            assert answers["limits_broken"][0, i] >= 1
        shown = sum(answers[f"unmet_{w.id}_requests_per_s"][0, i] for w in problem.workloads)
        assert (shown > 1e-5) == (unmet > 1e-5)
        assert answers["routing_gap"][0, i] <= 1e-6


@pytest.mark.parametrize("problem", CASES, ids=lambda p: p.name)
def test_whole_replicas_are_those_of_an_independent_integer_programme(problem: Problem) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 5, (5, len(problem.offers))).astype(float)
    fractions, evaluator = FleetEvaluator(problem), FleetEvaluator(problem, whole_replicas=True)
    relaxed, answers = fractions.evaluate(counts), evaluator.evaluate(counts)
    for i, fleet in enumerate(counts):
        cost, unmet = Judge(problem, fleet, whole=True).solve()
        assert answers["routing_gap"][0, i] <= 1e-6
        if unmet < 1e-6:
            systems = sum(float(fleet @ usd) for usd in evaluator._items.values())
            whole = float(answers["annual_cost_usd"][0, i])
            assert whole == pytest.approx(systems + cost, rel=2e-6, abs=1e-3)
            assert whole >= relaxed["annual_cost_usd"][0, i] * (1 - 1e-6)
        else:
            assert not answers["feasible"][0, i] and answers["limits_broken"][0, i] >= 1
        shown = sum(answers[f"unmet_{w.id}_requests_per_s"][0, i] for w in problem.workloads)
        assert (shown > 1e-5) == (unmet > 1e-5)


def test_a_system_is_not_cut_between_two_models() -> None:
    """A box of 8 holds one replica of 8: two models of 4 requests/s fit half of each, not one."""
    base = one_pool([[4.0]])
    two = replace(
        base,
        workloads=(workload("a", [[4.0]]), workload("b", [[4.0]])),
        candidates=tuple(candidate(w, w, "box", 8, [0.125]) for w in range(2)),
    )
    counts = np.array([[1.0], [2.0]])
    assert FleetEvaluator(two).evaluate(counts)["feasible"].tolist() == [[True, True]]
    whole = FleetEvaluator(two, whole_replicas=True).evaluate(counts)
    assert whole["feasible"].tolist() == [[False, True]]
    assert whole["limit"][0, 0] in ("demand of a", "demand of b")
    assert whole["excess"][0, 0] == pytest.approx(4.0)
    assert whole["annual_cost_usd"][0, 1] == pytest.approx(200.0)


def test_the_idle_power_of_a_whole_replica_is_drawn() -> None:
    """1.2 requests/s need two replicas of 1/s, each of 500 W: 1 kW x 8,760 h at 0.1 $."""
    base = one_pool([[1.2]])
    problem = replace(
        base,
        pools=(replace(base.pools[0], energy_usd_per_kwh_it=0.1),),
        candidates=(replace(base.candidates[0], idle_w=500.0),),
    )
    for whole, kw in ((False, 0.6), (True, 1.0)):
        answers = FleetEvaluator(problem, whole_replicas=whole).evaluate(np.array([[1.0]]))
        assert answers["energy_usd"][0, 0] == pytest.approx(kw * 8760 * 0.1)
        assert answers["drawn_kw"][0, 0] == pytest.approx(kw)


def test_by_hand() -> None:
    # 8 replicas of 1/s in a box of $100: 3 boxes serve 20/s with 20 of 24 busy, 2 leave 4 unmet.
    problem = one_pool([[20.0]])
    answers = FleetEvaluator(problem).evaluate(np.array([[3.0], [2.0]]), routing=True)
    assert answers["feasible"].tolist() == [[True, False]]
    assert answers["annual_cost_usd"][0].tolist() == pytest.approx([300.0, 200.0])
    assert answers["utilisation"][0].tolist() == pytest.approx([20 / 24, 1.0])
    assert answers["limit"][0, 1] == "demand of w"
    assert answers["excess"][0, 1] == pytest.approx(4.0)
    # 20 requests/s of 100 output and 300 input tokens, a year long.
    tokens = 20 * 8760 * 3600 * 100
    assert answers["cost_per_mtok_output_usd"][0, 0] == pytest.approx(300 / tokens * 1e6)
    assert answers["cost_per_mtok_total_usd"][0, 0] == pytest.approx(300 / tokens / 4 * 1e6)
    assert answers.routing is not None
    assert answers.routing[0, :, 0].tolist() == pytest.approx([20.0, 16.0])
    assert answers.flows[0]["workload"] == "w"


@pytest.mark.parametrize(
    ("site", "pool", "offer", "limit", "excess"),
    [
        ({"power_limit_kw": 2.5}, {}, {}, "power of s", 0.5),
        ({"power_limit_kw": 3.5, "power_is_utility": True}, {"pue": 1.5}, {}, "power of s", 1.0),
        ({"rack_limit": 1.0}, {"systems_per_rack": 2.0}, {}, "racks of s", 1.0),
        ({}, {"reserve": 5}, {}, "demand of w", 20.0),
        ({}, {}, {"supply": 2.0}, "supply of o", 1.0),
        (
            {"power_limit_kw": 3.0, "rack_limit": 3.0},
            {"systems_per_rack": 1.0},
            {"supply": 3.0},
            "",
            0,
        ),
    ],
)
def test_what_is_broken_is_named_with_its_amount(
    site: dict[str, Any], pool: dict[str, Any], offer: dict[str, Any], limit: str, excess: float
) -> None:
    base = one_pool([[20.0]])
    problem = replace(
        base,
        sites=(replace(base.sites[0], **site),),
        pools=(replace(base.pools[0], **pool),),
        offers=(replace(base.offers[0], **offer),),
    )
    answers = FleetEvaluator(problem).evaluate(np.array([[3.0]]))
    assert answers["limit"][0, 0] == limit
    assert answers["excess"][0, 0] == pytest.approx(excess)
    assert answers["feasible"][0, 0] == (limit == "")


def test_budgets() -> None:
    base = one_pool([[20.0]])
    offer = replace(base.offers[0], capex_usd=50.0)
    objective = replace(base.objective, annual_budget_usd=299.0, capex_budget_usd=160.0)
    problem = replace(base, offers=(offer,), objective=objective)
    answers = FleetEvaluator(problem).evaluate(np.array([[3.0], [4.0]]))
    assert answers["limit"][0].tolist() == ["annual budget", "capex budget"]
    assert answers["limits_broken"][0].tolist() == [1, 2]
    assert answers["excess"][0].tolist() == pytest.approx([1.0, 40.0])


def test_cases_of_demand_and_prices() -> None:
    base = one_pool([[20.0]])
    pool = replace(base.pools[0], idle_it_kw=1.0, energy_usd_per_kwh_it=0.1)
    evaluator = FleetEvaluator(replace(base, pools=(pool,)))
    answers = evaluator.evaluate(
        np.array([[3.0]]), demand=[1.0, 1.5], energy_price=[1.0, 2.0], system_price=[1.0, 0.5]
    )
    energy = 3 * 8760 * 0.1
    assert answers["annual_cost_usd"][:, 0].tolist() == pytest.approx(
        [300 + energy, 150 + 2 * energy]
    )
    assert answers["feasible"][:, 0].tolist() == [True, False]
    with pytest.raises(SchemaError, match="cases"):
        evaluator.evaluate(np.array([[3.0]]), demand=[1.0, 1.5], energy_price=[1.0, 2.0, 3.0])
    with pytest.raises(SchemaError, match="demand: a multiplier"):
        evaluator.evaluate(np.array([[3.0]]), demand=[0.0])


@pytest.mark.parametrize("seed", range(6))
def test_the_optimal_plan_costs_what_it_said_and_no_fleet_beats_the_bound(seed: int) -> None:
    problem = random_problem(seed, classes=2, peak_rps=30.0)
    result = solve_mix(problem, SolveOptions(gap=1e-6))
    counts = np.zeros((1, len(problem.offers)))
    for label, value in result.values.items():
        if isinstance(label, Systems):
            o = label.offer
            counts[0, o] = max(counts[0, o], value)
    evaluator = FleetEvaluator(problem)
    own = evaluator.evaluate(counts)
    elastic = any(p.elastic and counts[0, o] for o, p in
                  enumerate(problem.pools[x.pool] for x in problem.offers))  # fmt: skip
    # Relaxed replicas cost no more; systems by the hour are counted for all hours here.
    assert own["feasible"][0, 0]
    if not elastic:
        assert own["annual_cost_usd"][0, 0] <= result.value * (1 + 1e-6)
    # No mix of whole systems beats the least over all small fleets, nor that the relaxed bound.
    grid = np.array(np.meshgrid(*[range(5)] * len(problem.offers))).reshape(3, -1).T.astype(float)
    answers = evaluator.evaluate(grid)
    least = answers["annual_cost_usd"][0][answers["feasible"][0]].min()
    relaxed = _relaxed_bound(problem)
    assert least >= relaxed * (1 - 1e-6)


def _relaxed_bound(problem: Problem) -> float:
    model = build(problem)
    objective.set_goal(model, "least_cost")
    return run(model.prob, SolveOptions(), mip=False).value


def test_answers_depend_on_neither_threads_nor_neighbours() -> None:
    problem = random_problem(3, classes=3, peak_rps=30.0)
    evaluator = FleetEvaluator(problem)
    counts = np.random.default_rng(2).integers(0, 6, (700, 3)).astype(float)
    one = evaluator.evaluate(counts, threads=1, routing=True)
    two = evaluator.evaluate(counts[::-1], threads=3, routing=True)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, two[name][:, ::-1])
    assert one.routing is not None and two.routing is not None
    np.testing.assert_array_equal(one.routing, two.routing[:, ::-1])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (-1.0, "row 2, column 'o': -1 is not a number of systems"),
        (0.5, "row 2, column 'o': 0.5"),
        (math.nan, "row 2, column 'o': nan"),
        (math.inf, "row 2, column 'o': inf"),
    ],
)
def test_counts_are_whole_numbers(value: float, match: str) -> None:
    with pytest.raises(SchemaError, match=match):
        FleetEvaluator(one_pool([[1.0]])).counts({"o": [1.0, value]})


def test_unknown_columns_and_free_demand_are_refused() -> None:
    evaluator = FleetEvaluator(one_pool([[1.0]]))
    with pytest.raises(SchemaError, match="unknown column 'p'"):
        evaluator.counts({"p": [1.0]})
    with pytest.raises(SchemaError, match="shape"):
        evaluator.counts([[1.0, 2.0]])
    with pytest.raises(SchemaError, match="not numbers"):
        evaluator.counts({"o": ["many"]})
    free = replace(workload("w", [[1.0]]), free=True)
    with pytest.raises(SchemaError, match="is free"):
        FleetEvaluator(replace(one_pool([[1.0]]), workloads=(free,)))
