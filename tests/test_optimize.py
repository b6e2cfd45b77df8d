"""`optimize_fleet` and `evaluate` from scenario to answer, judged by hand where it can be done."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from scenarios import PLAN_KEYS, buy, hall
from tokenfleet import InfeasibleError, Plan, evaluate, optimize_fleet
from tokenfleet.errors import SchemaError
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem import Built, build
from tokenfleet.problem_data import EVERY_BLOCK, Flow, Replicas, Systems
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.mix import verify_mix
from tokenfleet.verify.routed import recheck

Json = dict[str, Any]
YEAR_H = 8760.0
YEAR_S = YEAR_H * 3600.0

LAYOUT_FIELDS = {
    "tp",
    "pp",
    "ep",
    "attention_dp",
    "precision",
    "engine",
    "kv_dtype",
    "batch_limit",
    "speculative_depth",
    "classes",
}


def two_classes(name: str = "chat", rps: float = 60.0, **changes: Any) -> Json:
    """A dense model with short and long requests and limits on both latencies."""
    base: Json = {
        "id": name,
        "model": "llama-3.1-8b",
        "classes": [
            {"id": "short", "share": 0.75, "input_tokens": 500, "output_tokens": 200},
            {"id": "long", "share": 0.25, "input_tokens": 3000, "output_tokens": 400},
        ],
        "slos": [
            {"metric": "ttft", "percentile": "p99", "limit_ms": 1000},
            {"metric": "tpot", "percentile": "p95", "limit_ms": 20},
        ],
        "demand": {"requests_per_s": rps, "peak_to_mean": 2.0},
    }
    return {**base, **changes}


def rent(usd_per_gpu_h: float = 2.0, kind: str = "rent", **changes: Any) -> Json:
    """H100 by the hour."""
    base = {
        "id": kind,
        "system": "h100_sxm_8",
        "kind": kind,
        "price_usd_per_gpu_h": usd_per_gpu_h,
    }
    return {**base, **changes}


def scenario(**changes: Any) -> Json:
    """Two kinds of system to buy for one workload at one site, solved to the optimum."""
    base: Json = {
        "name": "small",
        "price_vintage": "2026-06",
        "systems": ["h100_sxm_8", "mi300x_8"],
        "engines": ["vllm"],
        "finance": {
            "cost_of_capital": 0.1,
            "life_years": 5,
            "residual_fraction": 0.1,
            "maintenance_fraction_per_year": 0.05,
            "network_fraction": 0.15,
            "storage_fraction": 0.05,
            "staff_usd_per_kw_year": 100.0,
        },
        "search": {
            "tensor_parallel": [1, 2, 4],
            "pipeline_parallel": [1],
            "batch_limits": [16, 64, 128],
        },
        "workloads": [two_classes()],
        "sites": [hall()],
        "offers": [buy(), buy("mi300x_8", 170_000)],
        "solver": {"gap": 0.0, "threads": 1, "time_limit_s": 20.0},
    }
    if "columns" not in changes:  # rates that somebody measured have no reserve
        base["confidence"] = "expected"
    return {**deepcopy(base), **changes}


def plan_of(compare_single: bool = False, **changes: Any) -> Plan:
    """A proven optimum of the changed scenario."""
    plan = optimize_fleet(scenario(**changes), compare_single=compare_single)
    assert plan.status == "optimal"
    return plan


def counts(plan: Plan) -> dict[tuple[str, str], int]:
    """Systems by site and offer."""
    return {(row.site, row.offer): row.count for row in plan.systems}


def by_hand(rate_rps: float = 10.0, classes: tuple[str, ...] = ("all",), **changes: Any) -> Json:
    """Measured columns in the model's place: an H100 server serves `rate_rps` of a class.

    Every request generates 100 tokens; nothing draws power above idle.
    """
    share = 1.0 / len(classes)
    columns = [
        {"workload": "w", "class": k, "system": "h100_sxm_8", "gpus": 8, "rate_rps": rate_rps}
        for k in classes
    ]
    workload = {
        "id": "w",
        "model": "llama-3.1-8b",
        "classes": [
            {"id": k, "share": share, "input_tokens": 300, "output_tokens": 100} for k in classes
        ],
        "demand": {"requests_per_s": 10.0},
    }
    base = {"systems": ["h100_sxm_8"], "columns": columns, "workloads": [workload]}
    return scenario(**{**base, "offers": [rent()], **changes})


def workload_by_hand(**changes: Any) -> list[Json]:
    """The workload of `by_hand`, changed."""
    return [{**by_hand()["workloads"][0], **changes}]


# --- what a plan says ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The plan of the small scenario, with the best single system beside it."""
    return plan_of(compare_single=True)


def test_every_key_of_the_design_is_there(plan: Plan) -> None:
    shown = plan.to_json()
    assert set(shown) >= PLAN_KEYS
    for row in shown["systems"]:
        assert set(row) >= {"site", "system", "offer", "count"}
        assert row["offer"] in {"buy h100_sxm_8", "buy mi300x_8"}
    for row in shown["replicas"]:
        assert set(row) >= {"site", "workload", "count", "gpus"} | LAYOUT_FIELDS
        assert row["gpus"] == row["tp"] * row["pp"]
    for row in shown["sites"]:
        assert set(row) >= {"site", "provisioned_kw", "drawn_kw", "power_limit_kw"}
    for row in shown["limits"]:
        assert row["headroom"] == pytest.approx(row["limit"] - row["used"])
    assert shown["schema_version"] == 9
    assert shown["best_single_system"]["system"] in {"h100_sxm_8", "mi300x_8"}


def test_every_number_is_finite(plan: Plan) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [x for item in value.values() for x in numbers(item)]
        if isinstance(value, list):
            return [x for item in value for x in numbers(item)]
        return [value] if isinstance(value, float) else []

    assert all(map(math.isfinite, numbers(plan.to_json())))


def test_cost_items_sum_to_the_cost(plan: Plan) -> None:
    assert sum(plan.cost_items.values()) == pytest.approx(plan.annual_cost_usd, rel=1e-9)
    assert plan.objective_value == pytest.approx(plan.annual_cost_usd, rel=1e-6)


def test_costs_of_a_plan_by_hand(plan: Plan) -> None:
    """Everything but energy follows from the counts; the annuity is worked out in test_problem."""
    price = {"h100_sxm_8": 200_000, "mi300x_8": 170_000}
    spent = sum(price[row.system] * row.count for row in plan.systems)
    assert plan.capex_usd == pytest.approx(spent / 0.8)
    assert plan.cost_items["capex_annuity"] == pytest.approx(spent / 0.8 * 0.2637974808)
    assert plan.cost_items["residual_credit"] == pytest.approx(-spent / 0.8 * 0.01637974808)
    assert plan.cost_items["maintenance"] == pytest.approx(spent * 0.05)
    kw = sum(site.provisioned_kw for site in plan.sites)
    assert plan.cost_items["hosting"] == pytest.approx(kw * 120)
    assert plan.cost_items["staff"] == pytest.approx(kw * 100)
    meter_kw = plan.sites[0].mean_drawn_kw_with_hosted
    assert plan.cost_items["energy"] == pytest.approx(meter_kw * YEAR_H * 0.1)


def test_tokens_are_those_of_the_demand(plan: Plan) -> None:
    """45 requests/s of 200 and 15 of 400 tokens are 15,000 tokens/s."""
    assert plan.tokens_per_year_output == pytest.approx(15_000 * YEAR_S)
    assert plan.tokens_per_year_input == pytest.approx((45 * 500 + 15 * 3000) * YEAR_S)
    per_mtok = plan.annual_cost_usd / (15_000 * YEAR_S / 1e6)
    assert plan.cost_per_mtok_output_usd == pytest.approx(per_mtok)


@pytest.mark.parametrize("rps", [8.0, 20.0, 60.0])
def test_every_replica_serves_something(rps: float) -> None:
    """What fits free of charge into a server that is bought anyway is no part of the plan."""
    plan = plan_of(workloads=[two_classes(rps=rps)], offers=[buy()])
    serving = {(row.pool, row.candidate) for row in plan.routing}
    assert serving == {(row.pool, row.candidate) for row in plan.replicas}


def test_routing_adds_up_to_the_demand(plan: Plan) -> None:
    """4 h at twice the mean leave 0.8 of it for the other 20."""
    served = np.zeros((2, 2))
    for row in plan.routing:
        served[["short", "long"].index(row.cls)] += row.requests_per_s
    assert served == pytest.approx(np.array([[90.0, 36.0], [30.0, 12.0]]), rel=1e-5)


def test_promises_are_within_their_limits(plan: Plan) -> None:
    assert {(row.cls, row.metric) for row in plan.slo} == {("all", m) for m in ("ttft", "tpot")}
    workload = two_classes()
    by_class = plan_of(
        workloads=[{**workload, "slos": [{**slo, "over": "class"} for slo in workload["slos"]]}]
    )
    shown = {(row.cls, row.metric) for row in by_class.slo}
    assert shown == {(k, m) for k in ("short", "long") for m in ("ttft", "tpot")}
    assert _best(plan) <= _best(by_class) * (1 + 1e-6)
    for row in (*plan.slo, *by_class.slo):
        assert 0 < row.promised_ms <= row.limit_ms
        low, high = row.interval_ms
        assert low < row.promised_ms < high
        assert row.headroom_ms == pytest.approx(row.limit_ms - row.promised_ms)


def test_provenance_of_every_system_and_engine_used() -> None:
    """H100 kernels are fitted; those of MI300X are inherited, and the plan warns of it."""
    for system, expected in (("h100_sxm_8", "calibrated"), ("mi300x_8", "inherited")):
        plan = plan_of(systems=[system])
        rows = {row.what: row for row in plan.provenance}
        for engine in {row.engine for row in plan.replicas}:
            row = rows[f"throughput and latency of {system} under {engine}"]
            assert row.cls == expected
            assert row.source and row.as_of
        assert [row.system for row in plan.hardware] == [system]
        assert plan.systems[0].price_source == "scenario"
        warned = [(row.system, row.share) for row in plan.warnings if row.kind == "inherited"]
        assert warned == ([(system, 1.0)] if expected == "inherited" else [])


def test_evaluate_gives_a_table() -> None:
    table = evaluate(scenario())
    assert len({len(column) for column in table.values()}) == 1
    assert set(table["system"]) == {"h100_sxm_8", "mi300x_8"}
    assert all(status == "ok" for status in table["status"])
    for metric in ("ttft", "tpot"):
        levels = [table[f"{metric}_{p}_ms"] for p in ("p50", "p90", "p95", "p99")]
        assert all(np.isfinite(level).all() for level in levels)
        for lower, upper in pairwise(levels):
            assert (lower <= upper).all()
    # The worst class; together they keep the limits.
    assert (table["ttft_p99_ms"] <= 1000 * (1 + 0.05)).all()
    assert (table["tpot_p95_ms"] <= 20 * (1 + 0.05)).all()
    slos = [{**slo, "over": "class"} for slo in two_classes()["slos"]]
    table = evaluate(scenario(workloads=[two_classes(slos=slos)]))
    assert (table["ttft_p99_ms"] <= 1000 * (1 + 1e-3)).all()
    assert (table["tpot_p95_ms"] <= 20 * (1 + 1e-3)).all()


def test_measured_columns_leave_nothing_to_evaluate() -> None:
    with pytest.raises(SchemaError, match="nothing to evaluate"):
        evaluate(by_hand())


# --- two in a hundred requests are very long ----------------------------------------------------


def two_percent_long(rps: float = 60.0) -> Json:
    """98 % of 300 tokens and 2 % of 20,000; only the short ones have a limit."""
    workload = {
        "id": "chat",
        "model": "llama-3.1-8b",
        "classes": [
            {"id": "short", "share": 0.98, "input_tokens": 300, "output_tokens": 100},
            {"id": "long", "share": 0.02, "input_tokens": 20_000, "output_tokens": 100},
        ],
        "slos": [{"metric": "ttft", "percentile": "p99", "limit_ms": 600, "class": "short"}],
        "demand": {"requests_per_s": rps},
    }
    search = {
        "class_sets": "all",
        "tensor_parallel": [1],
        "pipeline_parallel": [1],
        "batch_limits": [8, 16, 32],
    }
    return scenario(workloads=[workload], search=search, systems=["h100_sxm_8"], offers=[buy()])


def short_p99_ms(built: Built, number: int, rates: list[float]) -> float:
    """p99 of the short class's TTFT on one replica at these rates; short ones come first."""
    assert built.core is not None
    ttft = built.core.recheck(number, 0, np.array(rates))["ttft_s"]
    return math.inf if ttft is None else 1e3 * float(ttft[0][4])


def test_capacity_measured_class_by_class_breaks_the_short_class() -> None:
    """The counterexample itself: the same layouts hold the limit without the long requests."""
    built = build(load_scenario(two_percent_long()))
    assert built.core is not None
    points = built.core.points(np.arange(built.core.space_size, dtype=np.uint64))
    rates: dict[tuple[Any, ...], dict[tuple[str, ...], tuple[int, float]]] = {}
    for number in np.flatnonzero([s == "ok" for s in points["status"]]):
        layout = built.core.describe(int(number))
        key = (layout["precision"], layout["kv_dtype"], layout["batch_limit"])
        sets = rates.setdefault(key, {})
        sets[tuple(layout["classes"])] = (int(number), float(points["requests_per_s"][number]))
    shared = [sets for sets in rates.values() if ("short", "long") in sets]
    assert len(shared) > 5
    for sets in shared:
        (alone, short), (_, long), (both, safe) = (
            sets[("short",)],
            sets[("long",)],
            sets[("short", "long")],
        )
        assert short_p99_ms(built, alone, [short, 0.0]) <= 600
        naive = 1.0 / (0.98 / short + 0.02 / long)
        assert short_p99_ms(built, both, [0.98 * naive, 0.02 * naive]) > 600
        assert short_p99_ms(built, both, [0.98 * safe, 0.02 * safe]) <= 600


def assert_short_class_holds(built: Built, result: MixResult) -> int:
    """Every replica at its routed mix; returns how many kinds of replica serve both classes."""
    mixed = 0
    flows: dict[tuple[int, int], list[float]] = {}
    for label, rate in result.values.items():
        if isinstance(label, Flow):
            flows.setdefault((label.pool, label.candidate), [0.0, 0.0])[label.cls] += rate
    for (p, c), total in flows.items():
        count = result.values[Replicas(EVERY_BLOCK, p, c)]
        each = [rate / count for rate in total]
        mixed += all(rate > 0 for rate in each)
        if each[0] > 0:
            assert (
                short_p99_ms(built, built.origins[result.problem.candidates[c].id][0], each) <= 600
            )
    return mixed


def test_a_plan_keeps_the_short_class_in_time() -> None:
    raw = two_percent_long()
    built = build(load_scenario(raw))
    result = solve_mix(built.problem, recheck=lambda found: recheck(built, found))
    assert_short_class_holds(built, result)
    (row,) = plan_of(**raw).slo
    assert (row.cls, row.metric, row.percentile) == ("short", "ttft", "p99")
    assert row.promised_ms <= 600


def test_a_plan_that_must_mix_keeps_the_short_class_in_time() -> None:
    """Only one replica is left, which admits both classes; it takes far more of them."""
    built = build(load_scenario(two_percent_long(rps=20.0)))
    both = next(c for c in built.problem.candidates if np.isfinite(c.load).all())
    forced = replace(built.problem, candidates=(both,))
    free = solve_mix(built.problem, compare_single=False)
    result = solve_mix(forced, recheck=lambda found: recheck(built, found), compare_single=False)
    assert not result.warnings
    assert assert_short_class_holds(built, result) > 0
    assert result.value > free.value


# --- what must never change, or never get worse -------------------------------------------------


def two_sites_and_workloads() -> Json:
    """Two sites of unequal tariff, two workloads of unequal size, three offers; all are needed."""
    sites = [
        hall(id="north", power_kw=30),
        hall(id="south", region="us", power_kw=30, electricity_usd_per_kwh=0.25),
    ]
    slos = [{**slo, "over": "class"} for slo in two_classes()["slos"]]
    workloads = [two_classes("one", 300.0, slos=slos), two_classes("two", 100.0, slos=slos)]
    offers = [buy(), buy("mi300x_8", 170_000, supply=2), rent(1.5)]
    return {"sites": sites, "workloads": workloads, "offers": offers}


def near_plan_of(threads: int = 1, **rows: Any) -> Plan:
    """A plan proven within 0.3 %: rented systems at two sites are nearly as good as each other."""
    solver = {"gap": 0.003, "threads": threads, "time_limit_s": 60.0}
    plan = optimize_fleet(scenario(**rows, solver=solver), compare_single=False)
    assert plan.status in ("optimal", "within_gap")
    return plan


def test_the_order_of_rows_changes_nothing() -> None:
    rows = two_sites_and_workloads()
    one = near_plan_of(**rows)
    assert {offer for _, offer in counts(one)} == {offer["id"] for offer in rows["offers"]}
    backwards: Json = {name: list(reversed(table)) for name, table in rows.items()}
    two = near_plan_of(**backwards)
    assert two.objective_value == pytest.approx(one.objective_value, rel=1e-9)
    assert counts(two) == counts(one)
    assert two.cost_items == pytest.approx(one.cost_items, rel=1e-6)


def test_the_number_of_threads_changes_nothing() -> None:
    rows = two_sites_and_workloads()
    plans = [near_plan_of(threads, **rows) for threads in (1, 2)]
    # The simplest of equal plans may differ by the tolerance; the best value may not.
    best = [p.best_objective_value or p.objective_value for p in plans]
    assert best[1] == pytest.approx(best[0], rel=1e-9)


def test_three_times_the_prices_is_three_times_the_cost() -> None:
    finance = {**scenario()["finance"], "staff_usd_per_kw_year": 300.0}
    dear: Json = {
        "sites": [hall(electricity_usd_per_kwh=0.3, hosting_usd_per_kw_month=30.0)],
        "offers": [buy(usd=600_000), buy("mi300x_8", 510_000), rent(4.5)],
        "finance": finance,
    }
    one, three = plan_of(offers=[buy(), buy("mi300x_8", 170_000), rent(1.5)]), plan_of(**dear)
    assert three.annual_cost_usd == pytest.approx(3 * one.annual_cost_usd, rel=1e-6)
    assert counts(three) == counts(one)


@pytest.mark.parametrize(
    "offer", [buy("mi300x_8", 170_000), rent(1.0), rent(2.5, "on_demand"), rent(9.0, "all_in")]
)
def test_one_more_offer_never_costs_more(offer: Json) -> None:
    more = plan_of(offers=[buy(), offer])
    assert more.annual_cost_usd <= plan_of(offers=[buy()]).annual_cost_usd * (1 + 1e-6)


@pytest.mark.parametrize("left", [0, 1])
def test_one_limit_less_never_costs_more(left: int) -> None:
    tight = [
        {"metric": "ttft", "percentile": "p99", "limit_ms": 150},
        {"metric": "tpot", "percentile": "p95", "limit_ms": 9},
    ]
    both = plan_of(workloads=[two_classes(rps=200.0, slos=tight)])
    fewer = plan_of(workloads=[two_classes(rps=200.0, slos=[tight[left]])])
    assert {row.metric for row in fewer.slo} == {tight[left]["metric"]}
    assert _best(fewer) <= _best(both) * (1 + 1e-6)


def _best(plan: Plan) -> float:
    """Its value, before anything is given up for a simpler plan."""
    best = plan.best_objective_value
    return float(plan.objective_value if best is None else best)


def test_residency_moves_everything_to_where_it_may_be() -> None:
    """Energy costs nothing in the north; residency sends all requests south."""
    north = hall(id="north", region="no", electricity_usd_per_kwh=0.0, hosting_usd_per_kw_month=0.0)
    sites = [north, hall(id="south", electricity_usd_per_kwh=0.4)]
    anywhere = plan_of(sites=sites)
    bound = plan_of(sites=sites, workloads=[two_classes(residency=["eu"])])
    assert {row.site for row in (*anywhere.systems, *anywhere.routing)} == {"north"}
    assert {row.site for row in (*bound.systems, *bound.routing)} == {"south"}
    assert bound.annual_cost_usd > anywhere.annual_cost_usd


def test_spares_never_cost_less_than_one_system() -> None:
    """At least one system more in every pool that is used."""
    none, spare = plan_of(), plan_of(reserve={"systems_per_pool": 1})
    pools = {row.pool for row in spare.systems}
    assert sum(counts(spare).values()) >= sum(counts(none).values()) + len(pools)
    used: dict[str, float] = dict.fromkeys(pools, 0.0)
    for row in spare.replicas:
        used[row.pool] += row.gpus * row.count
    for row in spare.systems:
        assert used[row.pool] <= (row.count - 1) * row.gpus / row.count


def test_layouts_that_may_change_never_cost_more() -> None:
    workload = two_classes(rps=150.0, demand={"requests_per_s": 150.0, "peak_to_mean": 3.0})
    fixed, changing = plan_of(workloads=[workload]), plan_of(workloads=[workload], relayout=True)
    assert changing.annual_cost_usd <= fixed.annual_cost_usd * (1 + 1e-6)


def test_prefill_and_decode_pools_never_cost_more() -> None:
    tight = [
        {"metric": "ttft", "percentile": "p99", "limit_ms": 400},
        {"metric": "tpot", "percentile": "p99", "limit_ms": 10},
    ]
    workload = two_classes(rps=100.0, slos=tight, demand={"requests_per_s": 100.0})
    search = {"tensor_parallel": [1, 2], "pipeline_parallel": [1], "batch_limits": [32, 128]}
    together = plan_of(workloads=[workload], search=search)
    apart = plan_of(workloads=[workload], search={**search, "disaggregate": True})
    assert apart.candidates > together.candidates
    assert apart.annual_cost_usd <= together.annual_cost_usd * (1 + 1e-6)


# --- no plan, and a plan that was tampered with -------------------------------------------------


def test_too_little_power_is_named_with_its_amount() -> None:
    """30 requests/s need three servers of 10.2 kW; 25 kW hold two and miss 5.6 kW."""
    workloads = workload_by_hand(demand={"requests_per_s": 30.0})
    raw = by_hand(sites=[hall(power_kw=25)], workloads=workloads, offers=[rent(2.0, "all_in")])
    with pytest.raises(InfeasibleError) as caught:
        optimize_fleet(raw)
    assert caught.value.conflicts
    assert any(
        "site hall" in text and "power" in text and "5.6 kW" in text
        for text in caught.value.conflicts
    )
    assert "5.6 kW" in str(caught.value)


def test_verify_catches_what_was_tampered_with() -> None:
    """One system fewer, half as much again through one replica, and a wrong cost item."""
    built = build(load_scenario(scenario()))
    result = solve_mix(built.problem, SolveOptions(gap=0.0), compare_single=False)
    problem, values, items = result.problem, result.values, result.cost_items
    assert verify_mix(problem, values, items, result.value) == []

    system = next(label for label in values if isinstance(label, Systems))
    flow = max((la for la in values if isinstance(la, Flow)), key=lambda la: values[la])
    fewer = verify_mix(problem, {**values, system: values[system] - 1})
    assert {v.rule for v in fewer} == {"packing"}
    more = {v.rule for v in verify_mix(problem, {**values, flow: values[flow] * 1.5})}
    assert {"served beyond demand", "capacity"} <= more
    wrong = {**items, "energy": items["energy"] * 1.01}
    assert [v.rule for v in verify_mix(problem, values, wrong)] == ["cost item energy"]
