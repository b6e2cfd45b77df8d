"""Questions to problems that are too large to be solved whole: asked of small ones, they are exact.

Every problem counts as large here, so that plans are searched over the pairs that relaxations ask
for and flip prices are approached from above.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from moved_prices import api_at, offers_at, priced_alone
from test_explain import OPTIONS, with_two_in_stock
from tiny_mix import Kind, Tiny, random_tiny, tiny_with_plans
from tokenfleet.explanation import flip_in_part as module
from tokenfleet.explanation import in_part
from tokenfleet.explanation.flip import Flip, Target, apis, offers_and_systems
from tokenfleet.explanation.flip_in_part import flip_in_part
from tokenfleet.explanation.prices import spend_on_api, spend_on_offers
from tokenfleet.explanation.rows import FlipPrice, Step, Worth
from tokenfleet.explanation.study import Study
from tokenfleet.explanation.worth import worths
from tokenfleet.problem_data import Problem
from tokenfleet.report import explained

SEEN = 1e-6  # of the loss, that a plan must save here


@pytest.fixture(autouse=True)
def every_problem_is_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_part, "WHOLE", 0)
    monkeypatch.setattr(module, "_SEEN", SEEN)


def flips(problem: Problem) -> dict[str, Flip]:
    study, parts = Study(problem, OPTIONS), priced_alone(problem)
    assert study.part is not None
    spend = {o: spend_on_offers(study.systems, parts, (o,)) for o in range(len(problem.offers))}
    sent = {a: spend_on_api(study.systems, a) for a in range(len(problem.apis))}

    def at(target: Target, discount: float) -> Problem:
        moved = offers_at(problem, parts, dict.fromkeys(target.offers, 1.0 - discount))
        for a in target.apis:
            moved = api_at(moved, a, 1.0 - discount)
        return moved

    targets = [*offers_and_systems(study, spend), *apis(study, sent)]
    return {t.name: flip_in_part(study, t, lambda d, t=t: at(t, d)) for t in targets}


def test_the_big_system_enters_at_90_and_the_relaxation_says_80() -> None:
    """Instance 12: 4 small ones for 120, or a big one at 90 with a small one. The relaxation takes
    10 / 3 small ones for 100, so a big one, of 8, must cost less than 80."""
    found = flips(Tiny((Kind(3, 30, 5), Kind(8, 95, 3)), demand=10).problem())["o1"]
    assert 95 * (1 - found.discount) == pytest.approx(90, rel=1e-5)
    assert 95 * (1 - found.relaxed) == pytest.approx(80, rel=1e-3)
    assert found.low <= found.discount <= found.high and not found.chosen


def test_what_the_plan_has_for_nothing_is_in_it_whatever_its_price() -> None:
    found = flips(with_two_in_stock())["sys0"]
    assert found.needed and found.chosen and found.plan == {"stock": 2}


@pytest.mark.parametrize("seed", range(20))
def test_flip_prices_equal_trying_every_plan(seed: int) -> None:
    tiny = tiny_with_plans(seed)
    plans = list(tiny.plans())
    best = min(cost for _, cost in plans)
    found = flips(tiny.problem())
    for o, kind in enumerate(tiny.kinds):
        without = min((cost for n, cost in plans if n[o] == 0), default=math.inf)
        held = [(n[o] * kind.price, cost) for n, cost in plans if n[o] > 0]
        answer = found[f"o{o}"]
        if not math.isfinite(without):
            assert answer.needed or without > best
            continue
        least = min(((cost - without) / spend for spend, cost in held), default=math.inf)
        if least >= module._HARDLY:
            assert not answer.possible
            continue
        noise = 2 * SEEN * without / kind.price + 1e-6
        assert answer.discount == pytest.approx(least, abs=noise), (seed, o)
        assert answer.low - noise <= least <= answer.high + noise
        assert answer.chosen == (least < -1e-9) or abs(least) < 1e-6


@pytest.mark.parametrize("seed", range(10))
def test_worth_is_the_difference_of_two_plans_and_the_relaxations_of_two_relaxations(
    seed: int,
) -> None:
    """Against the same question asked of the problem whole."""
    problem = random_tiny(seed, api=True, tight=True).problem()
    study = Study(problem, OPTIONS)
    rows = list(worths(study))
    in_part.WHOLE = 10**9  # the fixture puts it back
    whole = {(row.what, row.where): row for row in worths(Study(problem, OPTIONS))}
    for row in rows:
        same = {step.by: step for step in whole[row.what, row.where].steps}
        for step in row.steps:
            if step.by not in same or same[step.by].worth is None:
                continue
            assert step.worth == pytest.approx(same[step.by].worth, abs=1e-3), (row, step)
            if step.relaxed is not None and row.what in ("power", "supply"):
                assert step.relaxed * step.by >= -1e-3 * study.base.loss


def test_a_limit_that_is_worth_less_than_the_gap_is_asked_of_the_relaxations_alone() -> None:
    """A box more serves 2 requests/s, for 10 in place of 100 by the API: 90 a kW."""
    tiny = Tiny((Kind(2, 10, 6),), demand=20, power_kw=2, api_usd=50)
    study = Study(tiny.problem(), OPTIONS)
    study.base = replace(study.base, bound=-1e9)  # a gap that hides everything
    (power,) = [row for row in worths(study) if row.what == "power"]
    (step,) = power.steps
    assert (step.by, step.how, power.unlimited) == (1.0, "relaxation", None)
    assert step.relaxed == pytest.approx(90.0, rel=1e-3)


def test_what_the_gap_hides_is_told_by_the_relaxations() -> None:
    """A step that no plan was found to save anything by, a flip price without a plan."""
    hidden = Step(by=1000.0, worth=0.0, worth_low=-2e6, worth_high=5e6, relaxed=3.5e6, enough=None,
                  how="re-solved within gap")  # fmt: skip
    row = Worth(what="power", where="east", unit="kw", limit=8000.0, steps=(hidden,),
                unlimited=3e7)  # fmt: skip
    said = explained.worth(row, "USD per year")
    assert "cannot be told within the gap (by the relaxations $3,500,000 a year)" in said
    seen = hidden.model_copy(update={"worth": 3.3e6})
    said = explained.worth(row.model_copy(update={"steps": (seen,)}), "USD per year")
    assert "1000 kW more saves $3,300,000 a year (by the relaxations $3,500,000 a year)" in said
    bare = hidden.model_copy(update={"relaxed": None})
    said = explained.worth(row.model_copy(update={"steps": (bare,)}), "USD per year")
    assert "changes nothing in the plans found and saves at most $5,000,000 a year" in said
    flip = FlipPrice(
        kind="offer", name="h200", chosen=False, verdict="enters", discount=0.3, discount_low=None,
        discount_high=None, relaxed=0.3, price=2.0, flip_price=1.4, unit="USD/GPU-h",
        systems_with={}, systems_without={"b200@east": 3}, solves=9, how="relaxation",
    )  # fmt: skip
    said = explained.flip(flip)
    assert said == "h200 enters the plan at 1.4 USD/GPU-h (30.0% off 2) [relaxation]"
    found = flip.model_copy(update={"how": "re-solved within gap", "systems_with": {"h200@a": 2}})
    assert "(by the relaxations 30.0% off); then 2 h200@a" in explained.flip(found)


def test_a_plan_far_off_is_searched_for_over_more_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 requests/s: the relaxation takes 5/4 of a box of 8 for 75, of which two cost 120; one of
    them and a box of 2, which it has no use for, cost 80."""
    problem = Tiny((Kind(8, 60, 5), Kind(2, 20, 5)), demand=10).problem()
    monkeypatch.setattr(in_part, "_TRIES", ((1.0, 0),))
    assert Study(problem, OPTIONS).base.loss == pytest.approx(120)
    monkeypatch.setattr(in_part, "_TRIES", ((1.0, 0), (1.0, 2)))
    assert Study(problem, OPTIONS).base.loss == pytest.approx(80)
