"""Ranges in which a plan stays the best: equal to trying every plan, and right on both sides."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import tokenfleet as tf
from moved_prices import priced_alone
from test_explain import OPTIONS
from tiny_mix import Kind, Tiny, tiny_with_plans
from tokenfleet.explanation.case import open_case
from tokenfleet.explanation.flip import apis, flip, offers_and_systems
from tokenfleet.explanation.knobs import Knob, turned
from tokenfleet.explanation.prices import spend_on_api, spend_on_offers
from tokenfleet.explanation.ranges import Range, price_range
from tokenfleet.explanation.study import Study, systems_by_offer

FACTORY = Path(__file__).parent.parent / "examples" / "ai_factory.yaml"


def ranges(tiny: Tiny, *, after_flips: bool = False) -> tuple[dict[str, Range], dict[str, int]]:
    """The ranges of all prices, and today's systems by offer; `after_flips`: from the plans that
    flip prices were found by."""
    problem = tiny.problem()
    study = Study(problem, OPTIONS)
    parts = priced_alone(problem)
    spend = {o: spend_on_offers(study.model, parts, (o,)) for o in range(len(problem.offers))}
    sent = {a: spend_on_api(study.model, a) for a in range(len(problem.apis))}
    targets = [*offers_and_systems(study, spend), *apis(study, sent)]
    if after_flips:
        for target in targets:
            flip(study, target)
    found = {t.name: price_range(study, t) for t in targets}
    known = {name: row for name, row in found.items() if row is not None}
    return known, systems_by_offer(problem, study.base.values)


def test_four_small_systems_are_the_best_up_to_31_67() -> None:
    """Demand 10 by systems of 3 at 30 or of 8 at 95. Four small ones cost 120. With p for a small
    one: 4 p against p + 95 (one of each) is 95/3 = 31.67, against 2 * 95 more. Below, nothing needs
    fewer than four: however low the price is, four it stays."""
    found, today = ranges(Tiny((Kind(3, 30, 5), Kind(8, 95, 3)), demand=10))
    assert today == {"o0": 4}
    assert set(found) == {"o0"}  # what is not bought has no range
    assert found["o0"].low == 0.0
    assert found["o0"].high == pytest.approx((95 / 3) / 30)
    assert found["o0"].above == {"o0": 1, "o1": 1}
    assert found["o0"].how == "re-solved and proven"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("after_flips", [False, True])
def test_ranges_equal_trying_every_plan(seed: int, after_flips: bool) -> None:
    """Where the line of today's plan over the price is crossed by that of any other."""
    tiny = tiny_with_plans(seed)
    plans = list(tiny.plans())
    found, held = ranges(tiny, after_flips=after_flips)
    today = tuple(held.get(f"o{o}", 0) for o in range(len(tiny.kinds)))
    cost = dict(plans)[today]
    assert cost == pytest.approx(tiny.least())
    for o, kind in enumerate(tiny.kinds):
        if not today[o] or not kind.price:
            assert f"o{o}" not in found
            continue
        low, high = 0.0, math.inf
        for counts, other in plans:
            more = (counts[o] - today[o]) * kind.price
            if more < 0:
                high = min(high, 1.0 + (other - cost) / -more)
            elif more > 0:
                low = max(low, 1.0 - (other - cost) / more)
        answer = found[f"o{o}"]
        assert answer.low == pytest.approx(low, abs=1e-5), (seed, o)
        assert (answer.high or math.inf) == pytest.approx(high, abs=1e-5), (seed, o)


def test_of_cost_per_token_both_sides_are_right() -> None:
    """The factory, whose demand is free: inside the range a new plan holds the same systems, a
    per cent outside it costs less per token than today's would."""
    case = open_case(FACTORY, gap=0.0)
    found = tf.explain(FACTORY, parts=["ranges"], gap=0.0)
    assert found.ranges
    today = systems_by_offer(case.study.problem, case.study.base.values)
    for row in found.ranges:
        if row.kind != "offer" or row.high_factor is None:
            continue
        for factor, same in ((0.999 * row.high_factor, True), (1.01 * row.high_factor, False)):
            best = case.study.again(turned(case, {Knob("price", row.name): factor}))
            assert best is not None
            assert (systems_by_offer(best.problem, best.values) == today) == same, row.name
