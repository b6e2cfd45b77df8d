"""What is said of a plan: each sentence follows from its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from problems import one_pool
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.plan.known_rows import Input, Notice, OtherAnswer, Round, Verification
from tokenfleet.plan.rows import BestSingle, Hardware, Limit, Plan, Promise
from tokenfleet.problem_data import ApiData, OfferData, Pool, Problem, SiteData
from tokenfleet.report import findings, inputs, words


def planned(problem: Problem) -> Plan:
    """The plan of a problem, proven."""
    return plan_of(solve_mix(problem, SolveOptions(gap=0.0)))


@pytest.fixture(scope="module")
def boxes() -> Plan:
    """Two boxes of 8 at 100 $ a year each, of 1 kW, where 5 kW may be held."""
    problem = one_pool([[16.0]])
    return planned(replace(problem, sites=(SiteData("s", power_limit_kw=5.0),)))


def hardware(system_kw: float | None) -> Hardware:
    return Hardware(
        system="box",
        vendor="v",
        accelerator="Fast 80GB",
        gpus=8,
        form="server",
        rack_units=None,
        system_kw=system_kw,
        cooling=None,
        own=False,
        source="sheet",
        as_of=None,
    )


def with_single(plan: Plan, difference: float, system: str = "box", gap: float = 0.001) -> Plan:
    """The plan beside a best plan of one system type that costs so much more."""
    single = BestSingle(
        system=system,
        objective_value=plan.objective_value * (1.0 + difference),
        bound=None,
        difference=plan.objective_value * difference,
        difference_relative=difference,
        systems_by_offer={},
    )
    return plan.model_copy(update={"best_single_system": single, "gap": gap})


def test_proven_is_said_of_a_confirmed_bound_alone(boxes: Plan) -> None:
    for status in ("optimal", "within_gap"):
        changed = {"status": status, "gap": 1e-4, "bound_check": "prices"}
        found = boxes.model_copy(update=changed)
        assert words.status_words(found).startswith("proven")
        alone = words.status_words(found.model_copy(update={"bound_check": "none"}))
        assert "proven" not in alone and alone.endswith("which nothing else confirms")


def test_a_gap_that_leaves_room_for_a_plan_at_no_cost_is_not_shown(boxes: Plan) -> None:
    found = boxes.model_copy(update={"status": "feasible_time_limit", "gap": 0.25})
    assert words.status_words(found).endswith("at most 25.0% from the least cost possible")
    for gap in (1.0, 4752.0, None):
        found = found.model_copy(update={"gap": gap})
        assert words.status_words(found) == ("best plan found in time; nothing is proven about it")
    assert words.best_so_far(200.0, -1e6, "USD per year") == "best so far $200 a year"
    assert (
        words.best_so_far(200.0, 150.0, "USD per year") == "best so far $200 a year, within 25.0%"
    )


@pytest.mark.parametrize(
    ("gap", "same", "told"),
    [
        (0.004, False, ""),
        (0.12, False, " (gap 12.0%)"),
        (0.12, True, " (with this plan, no better one was found, gap 12.0%)"),
        (None, True, " (with this plan, no better one was found, nothing is proven about it)"),
    ],
)
def test_the_other_answer_says_how_it_was_got(
    boxes: Plan, gap: float | None, same: bool, told: str
) -> None:
    other = OtherAnswer(
        confidence=None,
        same_plan=same,
        objective_value=200.0,
        gap=gap,
        annual_cost_usd=200.0,
        gpus=16,
        systems={"box": 2},
        undecided=None,
    )
    (line,) = words.certainty(boxes.model_copy(update={"confidence": 0.8, "other": other}))
    figures = "$200 a year, 16 GPUs"
    assert line == f"held at 80 %: {figures}; expected: {figures}{told}"


def test_the_headline_says_what_to_get(boxes: Plan) -> None:
    assert words.headline(boxes) == "16 GPUs: 2 systems of 8 box, at s"
    named = hardware(1.0)
    bought = boxes.systems[0].model_copy(update={"kind": "buy"})
    plan = boxes.model_copy(update={"hardware": (named,), "systems": (bought,)})
    assert words.headline(plan) == "16 GPUs: 2 systems of 8 Fast 80GB (box), bought, at s"


def test_power_without_a_source_is_no_zero(boxes: Plan) -> None:
    known = boxes.model_copy(update={"hardware": (hardware(1.0),)})
    unknown = boxes.model_copy(update={"hardware": (hardware(None),)})
    assert words.power_held_kw(known) == 2.0
    assert words.power_held_kw(unknown) is None
    assert findings.tile_of_power(unknown)[0] == "–"


def test_money_up_front_by_the_year_and_by_the_month(boxes: Plan) -> None:
    """16 requests/s of 100 tokens are 50.5 billion tokens a year."""
    text = "nothing up front, $200 a year ($17 a month) for 50.5 billion output tokens a year"
    assert words.money(boxes) == text
    plan = boxes.model_copy(update={"capex_usd": 5000.0})
    assert words.money(plan).startswith("$5,000 up front, $200 a year")


def test_a_tie_is_no_win(boxes: Plan) -> None:
    (dearer, *_) = words.reasons(with_single(boxes, 0.25, "other"))
    assert dearer == "the best plan of one system type, other, costs 25.0% more: $250 a year"
    (tie, *_) = words.reasons(with_single(boxes, 0.0005, "other"))
    assert tie == "the best plan of one system type, other, is as good, within the proven gap"
    (same, *_) = words.reasons(with_single(boxes, 0.0))
    assert same == "one system type is enough: box"


def test_two_types_are_never_called_one(boxes: Plan) -> None:
    other = boxes.systems[0].model_copy(update={"system": "other"})
    plan = with_single(boxes.model_copy(update={"systems": (*boxes.systems, other)}), 0.0)
    assert "is enough" not in words.reasons(plan)[0]


def test_a_plan_of_apis_alone_says_so() -> None:
    """The API is cheaper than the box, and there is a second type that nobody needs either."""
    problem = one_pool([[1.0]], usd=1e9)
    plan = planned(
        replace(
            problem,
            pools=(*problem.pools, Pool("q", 0, "crate", 8, 1.0, 0.0)),
            offers=(*problem.offers, OfferData("r", 1, annual_cost_items_usd={"capex": 1e9})),
            apis=(ApiData("api", 0, np.array([1e-6])),),
        )
    )
    assert not plan.systems
    assert words.headline(plan) == "hosted API api"
    assert words.reasons(plan)[0] == "hosted APIs serve it all: no system is bought or rented"


def test_a_limit_binds_only_where_no_more_fits(boxes: Plan) -> None:
    """2 of 5 kW leave room for three boxes; 4.5 of 5 kW for none, though a tenth is left."""
    assert "no limit binds; the closest: power of s 2 of 5 kW" in words.reasons(boxes)
    full = boxes.limits[0].model_copy(update={"used": 4.5, "headroom": 0.5, "headroom_share": 0.1})
    plan = boxes.model_copy(update={"limits": (full,)})
    assert "what binds: power of s 4.5 of 5 kW" in words.reasons(plan)


def test_promises_bind_within_a_hundredth(boxes: Plan) -> None:
    def promise(ms: float) -> Promise:
        return Promise(
            workload="w",
            cls="k0",
            metric="ttft",
            percentile="p95",
            promised_ms=ms,
            expected_ms=ms,
            limit_ms=500.0,
            headroom_ms=500.0 - ms,
            provenance="modelled",
            interval_ms=(ms, ms),
        )

    tight = boxes.model_copy(update={"slo": (promise(496.0),)})
    assert "what binds: TTFT p95 of w 496 of 500 ms" in words.reasons(tight)
    loose = boxes.model_copy(update={"slo": (promise(400.0),)})
    assert not any(text.startswith("what binds") for text in words.reasons(loose))


def test_a_promise_above_the_range_beside_it_is_explained(boxes: Plan) -> None:
    """The range is at the same load, and a slower fleet also fills up: 620 is above 400 to 550."""
    row = Promise(
        workload="w",
        cls="k0",
        metric="ttft",
        percentile="p99",
        promised_ms=620.0,
        expected_ms=470.0,
        limit_ms=1000.0,
        headroom_ms=380.0,
        provenance="modelled",
        interval_ms=(400.0, 550.0),
    )
    plan = boxes.model_copy(update={"slo": (row,), "confidence": 0.8})
    (text,) = words.above_range(plan)
    assert text.startswith("TTFT p99: held at 80 % lies above the 80 % at the same load")
    inside = plan.model_copy(update={"slo": (row.model_copy(update={"promised_ms": 550.0}),)})
    assert words.above_range(inside) == []


def test_small_costs_stand_together_and_the_table_adds_up(boxes: Plan) -> None:
    items = {"capex_annuity": 1000.0, "staff": 3.0, "licences": 1.0, "residual_credit": -200.0}
    plan = boxes.model_copy(update={"cost_items": items, "annual_cost_usd": 804.0})
    rows = words.cost_rows(plan)
    assert rows == [
        ("purchase, as an annuity", 1000.0),
        ("resale value", -200.0),
        ("other", 4.0),
        ("total", 804.0),
    ]


def test_systems_that_nobody_measured_share_a_sentence(boxes: Plan) -> None:
    def inherited(system: str, share: float) -> Notice:
        return Notice(kind="inherited", text=system, system=system, share=share)

    one = boxes.model_copy(update={"warnings": (inherited("a", 0.25),)})
    assert words.warnings(one) == ["a"]
    other = Notice(kind="search", text="other")
    rows = (inherited("a", 0.15), other, inherited("b", 0.6))
    first, joined = words.warnings(boxes.model_copy(update={"warnings": rows}))
    assert first == "other"
    assert joined.startswith("75% of the accelerators rest on") and "b (60%), a (15%)" in joined


def test_spares_are_named() -> None:
    problem = one_pool([[2.0]])
    plan = planned(replace(problem, pools=(replace(problem.pools[0], reserve=1),)))
    assert words.spares(plan) == "spare: 1 box (o) at s"
    assert "spare: 1 box (o) at s" in words.reasons(plan)


def test_what_was_assumed_says_figure_source_and_date() -> None:
    row = Input(
        what="finance.life_years",
        value=5.0,
        unit="years",
        assumed=True,
        source="catalog typical of gpu_depreciation_years",
        as_of="2026-05",
        note=None,
    )
    text = "finance.life_years 5 years: catalog typical of gpu_depreciation_years (2026-05)"
    assert inputs.assumed(row) == text


def test_a_limit_of_nothing_is_not_called_tight(boxes: Plan) -> None:
    none = Limit(what="racks", where="s", used=0.0, limit=0.0, headroom=0.0, headroom_share=None)
    assert words.tightest((none,), 1) == []


def test_nothing_is_said_of_a_simulation_where_apis_serve_all(boxes: Plan) -> None:
    judged = Verification.model_construct(
        rounds=(Round.model_construct(failed=()),),
        judged_share=1.0,
        holds=True,
        price_of_certainty_usd=0.0,
    )
    found = boxes.model_copy(update={"verification": judged})
    said = "simulated (100% of the GPUs): no latency limit is missed"
    assert words.simulated(found) == [said]
    assert words.simulated(found.model_copy(update={"replicas": ()})) == []


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("sites[eu].electricity_usd_per_kwh", "Electricity at eu"),
        ("engine_versions[vllm]", "Version of vllm"),
        ("gpu_memory_utilization", "Memory that an engine may fill"),
        ("workloads[chat].precisions", "Weight formats of chat"),
        ("something_new", "something_new"),
    ],
)
def test_inputs_have_names_that_people_use(what: str, name: str) -> None:
    assert inputs.name(Input.model_construct(what=what)) == name
