"""Worth and flip prices: equal to trying every plan, and to cases worked out by hand."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import tokenfleet as tf
from moved_prices import api_at, offers_at, priced_alone
from problems import free_problem, random_problem, workload
from test_sweep_diff_model import measured
from tiny_mix import Kind, Tiny, random_tiny, tiny_with_plans
from tokenfleet.errors import SchemaError
from tokenfleet.explanation import study as study_module
from tokenfleet.explanation.case import open_case
from tokenfleet.explanation.flip import Flip, apis, flip, offers_and_systems
from tokenfleet.explanation.knobs import discounted
from tokenfleet.explanation.prices import spend_on_api, spend_on_offers
from tokenfleet.explanation.session import Session
from tokenfleet.explanation.study import Study
from tokenfleet.explanation.worth import worths
from tokenfleet.mix.search.ratio import search_goal
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import Block, Objective, Problem, SiteData
from tokenfleet.report import explained

OPTIONS = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)
ENTERPRISE = Path(tf.__file__).parent / "examples" / "enterprise.yaml"


def study_of(problem: Problem) -> Study:
    return Study(problem, OPTIONS)


def flips(problem: Problem) -> dict[str, Flip]:
    """Flip discounts of all offers and APIs, everything that an offer costs being its price."""
    study = study_of(problem)
    parts = priced_alone(problem)
    spend = {o: spend_on_offers(study.model, parts, (o,)) for o in range(len(problem.offers))}
    sent = {a: spend_on_api(study.model, a) for a in range(len(problem.apis))}
    targets = [*offers_and_systems(study, spend), *apis(study, sent)]
    return {target.name: flip(study, target) for target in targets}


# Flip prices


def test_the_big_system_enters_at_90_and_not_at_what_its_reduced_cost_says() -> None:
    """Instance 12: 4 small ones cost 120, one of each 125, so 5 off 95; the relaxation says 15."""
    found = flips(Tiny((Kind(3, 30, 5), Kind(8, 95, 3)), demand=10).problem())["o1"]
    assert 95 * (1 - found.discount) == pytest.approx(90)
    assert (found.low, found.high) == pytest.approx((5 / 95, 5 / 95), abs=1e-6)
    assert found.how == "re-solved and proven" and not found.chosen


def with_two_in_stock() -> Problem:
    """Two boxes of the first type are owned and cost nothing; more of it, or of another, 100."""
    problem = Tiny((Kind(5, 100, 9), Kind(5, 100, 9)), demand=10).problem()
    stock = replace(
        problem.offers[0], id="stock", supply=2.0, annual_cost_items_usd={}, kind="owned"
    )
    return replace(problem, offers=(*problem.offers, stock))


def test_what_the_plan_has_for_nothing_is_in_it_whatever_its_price() -> None:
    """10 requests/s are served by two in stock; that one may buy more of the type flips nothing."""
    found = flips(with_two_in_stock())
    assert found["sys0"].needed and found["sys0"].chosen
    assert found["sys0"].plan == {"stock": 2}
    assert not found["o0"].chosen and found["o0"].low == pytest.approx(1.0)


def test_what_serves_for_nothing_when_a_site_is_lost_enters_where_it_is_paid() -> None:
    """A box for 100 $ a year serves all, also when the other site is lost, which costs an API
    nothing, for no hours are counted. Paid, it takes all of it at 100 $ and not at today's 200."""
    tiny = Tiny((Kind(10, 100, 9),), demand=10, api_usd=20)
    problem = tiny.problem()
    loss = Block(0.0, lost_site=1)
    problem = replace(
        problem,
        blocks=(*problem.blocks, loss),
        sites=(*problem.sites, SiteData("other")),
        workloads=(workload("w", [[10.0], [10.0]]),),
    )
    api = flips(problem)["api"]
    assert not api.chosen and api.discount == pytest.approx(0.5, abs=1e-6)


def test_case_g_the_big_one_enters_at_a_price_of_40() -> None:
    """Small (2) at 20, big (5) at 60, demand 6: three small cost 60; the big one enters 20 off."""
    found = flips(Tiny((Kind(2, 20, 9), Kind(5, 60, 9)), demand=6).problem())["o1"]
    assert 60 * (1 - found.discount) == pytest.approx(40)


@pytest.mark.parametrize("seed", range(20))
def test_flip_prices_equal_trying_every_plan(seed: int) -> None:
    tiny = tiny_with_plans(seed)
    plans = list(tiny.plans())
    found = flips(tiny.problem())
    for o, kind in enumerate(tiny.kinds):
        without = min((cost for n, cost in plans if n[o] == 0), default=math.inf)
        held = [(n[o] * kind.price, cost) for n, cost in plans if n[o] > 0]
        answer = found[f"o{o}"]
        if not math.isfinite(without):
            assert answer.needed
        elif not held:
            assert not answer.possible
        else:
            least = min((cost - without) / spend for spend, cost in held)
            assert answer.discount == pytest.approx(least, abs=1e-6), (seed, o)
            assert answer.chosen == (least < -1e-9) or abs(least) < 1e-9


def test_a_flip_price_that_is_asked_again_takes_one_solve() -> None:
    """The plan that it was found by is known; what is left is the proof that none is better."""
    problem = Tiny((Kind(3, 30, 5), Kind(8, 95, 3)), demand=10).problem()
    study, spend = study_of(problem), {}
    for o in range(2):
        spend[o] = spend_on_offers(study.model, priced_alone(problem), (o,))
    big = offers_and_systems(study, spend)[1]
    once, again = flip(study, big), flip(study, big)
    assert (once.solves, again.solves) == (2, 1)
    assert again.discount == pytest.approx(once.discount) == pytest.approx(5 / 95)


@pytest.mark.parametrize("seed", range(4))
def test_a_flip_price_is_right_on_both_sides(seed: int) -> None:
    """Solved from scratch at a tenth of a per cent more and less: held, and not held."""
    problem = random_problem(seed)
    parts = priced_alone(problem)
    for name, found in flips(problem).items():
        if found.discount is None or found.discount >= 0.999:
            continue
        offers, sent = found.target.offers, found.target.apis
        for side in (-1e-3, 1e-3):
            factor = (1.0 - found.discount) * (1.0 + side)
            moved = offers_at(problem, parts, dict.fromkeys(offers, factor))
            for a in sent:
                moved = api_at(moved, a, factor)
            best = solve_mix(moved, OPTIONS, compare_single=False).values
            amount = sum(n for la, n in best.items() if getattr(la, "offer", -1) in offers)
            amount += sum(n for la, n in best.items() if getattr(la, "api", -1) in sent)
            held = amount >= found.target.least * (1.0 - 1e-6)
            assert held == (side < 0), (seed, name, found.discount, side)


# Worth


@pytest.mark.parametrize("seed", range(20))
def test_worth_times_step_is_the_difference_of_two_plans(seed: int) -> None:
    """Every step of every limit against trying every plan of the problem with that limit."""
    tiny = random_tiny(seed, api=True, tight=True)
    asked = 0
    for row in worths(study_of(tiny.problem())):
        for step in row.steps:
            moved = _moved(tiny, row.what, row.where, step.by)
            if moved is None:
                continue
            asked += 1
            assert step.worth == pytest.approx(tiny.least() - moved.least(), abs=1e-5)
            assert step.worth_low - 1e-5 <= step.worth <= step.worth_high + 1e-5
    assert asked >= 4


@pytest.mark.parametrize("seed", range(10))
def test_a_gap_makes_no_worth_of_the_wrong_sign(seed: int) -> None:
    """Today's plan three times as dear as the best one: less of a limit saves nothing, more of it
    costs nothing, and the range holds what trying every plan says."""
    tiny = random_tiny(seed, api=True, tight=True)
    study = study_of(tiny.problem())
    study.base = replace(study.base, loss=3.0 * study.base.loss)
    for row in worths(study):
        for step in row.steps:
            moved = _moved(tiny, row.what, row.where, step.by)
            if moved is None or step.worth is None:
                continue
            true = tiny.least() - moved.least()
            assert step.worth_low - 1e-5 <= true <= step.worth_high + 1e-5
            assert step.worth_low <= step.worth <= step.worth_high
            if row.what in ("power", "supply"):
                assert step.worth * step.by >= 0
                assert (step.worth_low if step.by > 0 else -step.worth_high) >= 0


def _moved(tiny: Tiny, what: str, where: str, by: float) -> Tiny | None:
    if what == "power":
        return replace(tiny, power_kw=tiny.power_kw + by)
    if what == "demand":
        return replace(tiny, demand=tiny.demand * (1 + by / 100))
    if what == "supply":
        kinds = list(tiny.kinds)
        o = int(where[1:])
        kinds[o] = replace(kinds[o], most=kinds[o].most + round(by))
        return replace(tiny, kinds=tuple(kinds))
    return None


def test_more_of_a_limit_is_never_dearer_and_less_never_cheaper() -> None:
    for row in worths(study_of(random_problem(3))):
        if row.limit is not None and row.what in ("power", "supply", "API rate"):
            for step in row.steps:
                assert step.worth is None or step.worth * step.by >= 0


@pytest.mark.parametrize("seed", range(10))
def test_the_worth_of_capital_equals_trying_every_plan(seed: int) -> None:
    """A budget of nine tenths of what the best plan takes, beside an API."""
    tiny = random_tiny(seed, api=True)
    best = min(tiny.plans(), key=lambda plan: plan[1])[0]
    taken = sum(n * kind.capex for n, kind in zip(best, tiny.kinds, strict=True))
    tight = replace(tiny, capex_budget_usd=0.9 * taken + 1.0)
    (row,) = [r for r in worths(study_of(tight.problem())) if r.what == "capex budget"]
    for step in row.steps:
        budget = tight.capex_budget_usd + step.by
        expected = tight.least() - replace(tight, capex_budget_usd=budget).least()
        assert step.worth == pytest.approx(expected, abs=1e-5), (seed, step)
    assert row.unlimited == pytest.approx(tight.least() - tiny.least(), abs=1e-5)


def test_a_yearly_budget_is_worth_the_energy_of_the_better_box() -> None:
    """Boxes for the whole demand at 100 $ and 10 kW, or at 104 $ and 5 kW: a budget of 100 $ has
    only the first. 5 % more, of which 4 are enough, save 5 kW all the year."""
    problem = Tiny((Kind(4, 100, 1), Kind(4, 104, 1)), demand=4).problem()
    pools = [replace(q, idle_it_kw=kw) for q, kw in zip(problem.pools, (10.0, 5.0), strict=True)]
    goal = Objective(kind="least_energy", annual_budget_usd=100.0)
    rows = worths(study_of(replace(problem, pools=tuple(pools), objective=goal)))
    (budget,) = [row for row in rows if row.what == "annual budget"]
    *before, last = [step for step in budget.steps if step.by > 0]
    assert all(step.worth == 0 for step in before)
    assert (last.by, last.enough) == pytest.approx((5.0, 4.0))
    assert last.worth == budget.unlimited == pytest.approx(5 * 8760)


# The command


def test_enterprise_power_is_worth_the_difference_of_two_plans() -> None:
    """10 kW less and 10 kW more: each as much as plans that are solved anew differ by."""
    study = open_case(ENTERPRISE).study
    power = next(worths(study))
    assert (power.what, power.where) == ("power", "eu-frankfurt")
    less, more = power.steps
    assert (less.by, more.by) == (-10.2, 10.2)
    standing = _cost_with_power(study.problem, 0.0)
    for step in (less, more):
        saved = standing - _cost_with_power(study.problem, step.by)
        assert step.worth == pytest.approx(saved, abs=2e-4 * standing)
    assert less.worth < -10_000.0 < 0.0 <= more.worth
    assert power.unlimited is not None and power.unlimited >= more.worth - 1


def _cost_with_power(problem: Problem, kw: float) -> float:
    """Least yearly cost, in USD, with `kw` more at the one site that has a limit."""
    sites = tuple(
        replace(s, power_limit_kw=s.power_limit_kw + kw) if s.id == "eu-frankfurt" else s
        for s in problem.sites
    )
    objective = replace(problem.objective, simplicity_tolerance=0.0)
    changed = replace(problem, sites=sites, objective=objective)
    return solve_mix(changed, SolveOptions(gap=1e-5)).value


def test_enterprise_flip_prices_are_right_on_both_sides() -> None:
    """Every offer, system type and API, 0.1 % off its flip price: planned from scratch it is held,
    and it is not."""
    case = open_case(ENTERPRISE)
    names = {api.id for api in case.study.problem.apis}
    targets = offers_and_systems(case.study, case.spend_on_offers())
    targets += apis(case.study, case.spend_on_apis())
    offers = {"h100-buy", "h100-rent", "h200-buy"}
    assert {t.name for t in targets} == offers | {"h100_sxm_8"} | names and names
    for target in targets:
        found = flip(case.study, target)
        assert found.discount is not None
        for side in (-1e-3, 1e-3):
            factor = (1.0 - found.discount) * (1.0 + side)
            moved = discounted(case, target, 1.0 - factor)
            # The cheapest plan, not the simplest of those that cost hardly more.
            moved = replace(moved, objective=replace(moved.objective, simplicity_tolerance=0.0))
            best = solve_mix(moved, replace(OPTIONS, gap=1e-6), compare_single=False)
            held = sum(best.values.get(la, 0.0) for la in target.amount) >= 0.999 * target.least
            assert held == (side < 0), (target.name, found.discount, side)


_ASKED = """
import json, sys
import tokenfleet as tf
tell = lambda what, solves: print(what, file=sys.stderr, flush=True)
found = tf.explain(sys.argv[1], watch=tell, **json.loads(sys.argv[2]))
print(json.dumps(found.to_json()))
"""


def pressed(**asked: object) -> dict[str, Any]:
    """An explanation of the enterprise that SIGINT ends, while the flip price of the second offer
    is worked out."""
    command = [sys.executable, "-c", _ASKED, str(ENTERPRISE), json.dumps(asked)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stderr is not None and ran.stdout is not None
        for line in ran.stderr:
            if "flip price of h100-rent" in line:
                ran.send_signal(signal.SIGINT)
                break
        found = json.loads(ran.stdout.read())
        assert ran.wait(timeout=60) == 0
    return dict(found)


def test_a_real_ctrl_c_in_the_middle_of_a_solve_keeps_what_was_found() -> None:
    found = pressed(parts=["worth", "flip"])
    assert found["interrupted"] and found["worth"]
    assert [row["name"] for row in found["flip"]] == ["h100-buy"]
    assert found["notes"][0] == "stopped by the user: flip is not complete"


def test_a_time_limit_keeps_what_was_found_and_an_unproven_plan_says_so() -> None:
    slow: dict[str, Any] = {
        "time_limit_s": 1.0,
        "watch": lambda *_: time.sleep(0.6),
    }  # of what is told
    short = tf.explain(measured(), parts=["worth", "flip", "menu"], **slow)
    assert short.interrupted and short.notes[-1].endswith("flip and menu are not complete")
    case = open_case(measured())
    case.study.base = replace(case.study.base, bound=case.study.base.loss * 0.9)
    case.study.again = lambda *_: case.study.base  # type: ignore[method-assign]
    found = Session(case, None).explained([], 0.0)
    assert not found.proven and "not proven within its gap" in found.notes[0]
    assert "not proven" in explained.status(found)


def test_a_solve_that_is_too_hard_costs_its_own_row_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third solve after the plan ends at its time with nothing: one note, all other rows."""
    parts: list[Any] = ["worth", "flip", "menu"]
    whole = tf.explain(measured(), parts=parts, jobs=1)
    solved = []

    def search(*asked: Any) -> Any:
        solved.append(asked)
        found = search_goal(*asked)
        hard = len(solved) == 4
        return replace(found, status="no_plan", values={}) if hard else found

    monkeypatch.setattr(study_module, "search_goal", search)
    found = tf.explain(measured(), parts=parts, jobs=1)
    (note,) = set(found.notes) - set(whole.notes)
    assert not found.interrupted and note.endswith(
        "is not answered: a solve ended at its time before it had a plan"
    )
    assert len(found.worth) + len(found.flip) == len(whole.worth) + len(whole.flip) - 1
    assert found.menu == whole.menu


def test_the_headline_has_the_plan_and_the_best_one_where_a_simpler_was_taken() -> None:
    plan = tf.optimize_fleet(ENTERPRISE, compare_single=False)
    assert plan.best_objective_value is not None
    assert plan.objective_value > plan.best_objective_value * 1.001
    found = tf.explain(plan, parts=[])
    assert found.plan_value == plan.objective_value
    assert found.objective_value == pytest.approx(plan.best_objective_value, rel=1e-4)
    plain, best = f"${plan.objective_value:,.0f} a year", f"${found.objective_value:,.0f} a year"
    said = explained.status(found)
    assert f": {plain}; explained is the best plan, {best}, proven" in said
    alone = explained.status(tf.explain(ENTERPRISE, parts=[]))
    assert f": the best plan, {best}, proven" in alone and plain not in alone


def test_the_headline_has_one_value_where_the_plan_is_the_best() -> None:
    plan = tf.optimize_fleet(measured())
    assert explained.status(tf.explain(plan, parts=[], scenario=measured())).count("$") == 1


def test_a_plan_of_another_scenario_is_refused(tmp_path: Path) -> None:
    plan = tf.optimize_fleet(ENTERPRISE, compare_single=False)
    other = tmp_path / "other.yaml"
    other.write_text(ENTERPRISE.read_text().replace("power_kw: 40", "power_kw: 50"))
    with pytest.raises(SchemaError, match="another scenario"):
        tf.explain(plan, scenario=other)
    with pytest.raises(SchemaError, match="unknown part 'wroth'"):
        tf.explain(plan, parts=["wroth"])  # type: ignore[list-item]


def test_the_command_prints_one_json(tmp_path: Path) -> None:
    scenario = tmp_path / "s.json"
    scenario.write_text(json.dumps(measured()))
    command = [sys.executable, "-m", "tokenfleet", "explain", str(scenario), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["proven"] and found["worth"] and found["menu"] and not found["notes"]
    rows = {(row["kind"], row["name"]): row for row in found["flip"]}
    box, api = rows["offer", "h100"], rows["api", "api"]
    assert (box["verdict"], api["verdict"]) == ("leaves", "enters")
    assert box["flip_price"] > box["price"] == 200_000


def test_an_explanation_may_be_about_some_names_alone() -> None:
    """What is asked about the hall and the box type is what the whole explanation says of them; a
    type that one offer brings is found by either name."""
    parts: list[Any] = ["worth", "flip", "ranges", "inputs"]
    whole, some = (tf.explain(measured(), parts=parts, of=of) for of in ((), ["hall"]))
    assert {row.where for row in some.worth} == {"hall"} and not some.flip and not some.ranges
    assert list(some.worth) == [row for row in whole.worth if row.where == "hall"]
    by_type = tf.explain(measured(), parts=parts, of=["h100_sxm_8"])
    assert list(by_type.flip) == [row for row in whole.flip if row.name == "h100"]
    assert [row.name for row in by_type.ranges] == ["h100"] and not by_type.worth
    assert {row.name for row in by_type.flip_inputs} == {"h100", "h100_sxm_8"}
    with pytest.raises(SchemaError, match="'hal' is no site, offer, system type, workload"):
        tf.explain(measured(), of=["hal"])


def test_a_model_with_the_numbers_of_an_earlier_one_is_not_solved_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten boxes are to be had of which one is needed: an eleventh is the same model."""
    solved = []

    def search(*asked: Any) -> Any:
        solved.append(asked)
        return search_goal(*asked)

    monkeypatch.setattr(study_module, "search_goal", search)
    tiny = Tiny((Kind(8, 95, 10),), demand=6)
    study = study_of(tiny.problem())
    eleven = study.again(replace(tiny, kinds=(Kind(8, 95, 11),)).problem())
    dearer = study.again(replace(tiny, kinds=(Kind(8, 96, 10),)).problem())
    assert study.base.loss == pytest.approx(95) and len(solved) == 2
    assert eleven is not None and eleven.loss == pytest.approx(95)
    assert dearer is not None and dearer.loss == pytest.approx(96)


def test_on_a_busy_machine_a_solve_has_as_much_work_as_on_an_idle_one() -> None:
    """Five times as many seconds where one in five is its own; not more than are left of all."""
    busy = study_of(Tiny((Kind(8, 95, 10),), demand=6).problem())
    busy.slowness = Mock(factor=lambda: 5.0)
    assert busy.effort().options.time_limit_s == 5 * OPTIONS.time_limit_s == 100.0
    late = Study(busy.problem, OPTIONS, seconds=40.0)
    late.slowness = busy.slowness
    assert late.effort().options.time_limit_s == pytest.approx(40.0, abs=1.0)


def test_a_box_stays_for_free_energy_and_at_a_quarter_of_its_speed() -> None:
    """It is nearly idle, and the API beside it costs several times as much."""
    found = tf.explain(measured(), parts=["inputs"])
    rows = {(row.name, row.input, row.at, row.not_yet) for row in found.flip_inputs}
    assert {("h100_sxm_8", "speed", None, 0.25), ("h100", "energy", None, 0.0)} <= rows
    assert len(rows) == 5 and not found.premium  # measured columns have no precisions


def test_a_box_leaves_where_the_api_costs_as_much() -> None:
    """One box of what follows its price F and of other costs E beside an API at 400,000 $ a year:
    it leaves where F (1 - d) + E is that."""
    found = tf.explain(measured(), parts=["flip"])
    box = next(row for row in found.flip if row.name == "h100")
    case = open_case(measured())
    follows = sum(case.priced[0].items_usd.values())
    other = case.study.base.annual_cost_usd - follows
    assert box.discount == pytest.approx(1 - (400_000 - other) / follows, rel=1e-6)


def test_the_model_of_a_scenario_over_time_is_refused_with_the_cure() -> None:
    over_time = {**measured(), "horizon": {"start": "2026-10-01", "periods": ["4 quarters"]}}
    with pytest.raises(SchemaError, match="one steady year"):
        tf.build_model(over_time)


def test_a_limit_without_which_there_is_no_end_still_has_steps() -> None:
    """Free demand under power alone: no power limit would sell without end, a step does not."""
    problem = replace(free_problem(1), objective=Objective(kind="most_tokens"))
    hosted = [problem.pools[offer.pool].hosted for offer in problem.offers]
    offers = tuple(
        offer if there else replace(offer, supply=math.inf)
        for offer, there in zip(problem.offers, hosted, strict=True)
    )
    rows = list(worths(study_of(replace(problem, offers=offers))))
    power = [row for row in rows if row.what == "power"]
    assert power and all(row.unlimited is None for row in power)
    assert all(step.worth is None or step.worth * step.by >= 0 for r in power for step in r.steps)
    assert any(step.worth for row in power for step in row.steps)
