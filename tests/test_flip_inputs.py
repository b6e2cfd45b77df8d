"""Shares of the fleet, energy, speeds, terms and premiums that flip: by trying every plan."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from moved_prices import priced_alone
from test_explain import OPTIONS, study_of
from tiny_mix import Kind, Tiny, random_tiny
from tokenfleet.explanation.flip import Flip, Target, flip, offers_and_systems
from tokenfleet.explanation.precision import with_candidates
from tokenfleet.explanation.prices import spend_on_offers
from tokenfleet.explanation.share import taken
from tokenfleet.explanation.shift import Rent, by_energy, by_speed, by_term
from tokenfleet.explanation.study import Study
from tokenfleet.problem_data import Problem

Plan = tuple[float, float, bool]  # loss today, what of it follows the input, condition kept
_KWH_YEAR = 8760.0


def least_point(plans: list[Plan], start: float, most: float) -> float | None:
    """The least t in [start, most] at which one of the best plans keeps the condition, where a
    plan's loss is L - t S: the ends of the interval in which each plan is best."""
    found = []
    for loss, slope, keeps in plans:
        if not keeps:
            continue
        low, high = start, most
        for other, steep, _ in plans:
            if slope > steep + 1e-12:
                low = max(low, (loss - other) / (slope - steep))
            elif slope < steep - 1e-12:
                high = min(high, (other - loss) / (steep - slope))
            elif loss > other + 1e-9:
                high = -math.inf
        if low <= high + 1e-9:
            found.append(low)
    return min(found, default=None)


def targets(study: Study, problem: Problem) -> list[Target]:
    parts = priced_alone(problem)
    spend = {o: spend_on_offers(study.model, parts, (o,)) for o in range(len(problem.offers))}
    return offers_and_systems(study, spend)


def a_tiny(seed: int) -> Tiny:
    tiny = random_tiny(seed)
    return tiny if list(tiny.plans()) else replace(tiny, api_usd=40.0)


@pytest.mark.parametrize("seed", range(20))
def test_prices_of_a_tenth_and_of_half_equal_trying_every_plan(seed: int) -> None:
    tiny = a_tiny(seed)
    problem = tiny.problem()
    study, asked = study_of(problem), 0
    for o, target in enumerate(targets(study, problem)):
        for row in taken(study, target, flip(study, target)):
            plans = [
                (cost, n[o] * tiny.kinds[o].price, n[o] > 0 and n[o] >= row.share * sum(n) - 1e-9)
                for n, cost in tiny.plans()
            ]
            expected = least_point(plans, -math.inf, 1.0)
            if expected is None:
                assert row.found.at is None, (seed, o, row)
            else:
                assert row.found.at == pytest.approx(expected, abs=2e-6), (seed, o, row)
                assert row.found.how == "re-solved and proven"
            asked += 1
    assert asked


def test_two_big_ones_enter_together_with_a_tenth_and_half_of_the_fleet() -> None:
    """Small (2) at 20, big (5) at 60, demand 12: six small ones cost 120, one big with four small
    140, two big with one small 140. Two save twice as much by their price as one: a sixth off is
    enough, and then they are two of three systems."""
    problem = Tiny((Kind(2, 20, 9), Kind(5, 60, 9)), demand=12).problem()
    study = study_of(problem)
    big = targets(study, problem)[1]
    rows = {row.share: row.found.at for row in taken(study, big, flip(study, big))}
    assert rows == pytest.approx({0.1: 1 / 6, 0.5: 1 / 6})


def with_energy(tiny: Tiny, usd_per_kwh: float) -> tuple[Tiny, Problem]:
    """The kinds draw their kW all the year; the tiny problem's price has it in."""
    problem = tiny.problem()
    pools = tuple(
        replace(pool, idle_it_kw=kind.kw, energy_usd_per_kwh_it=usd_per_kwh)
        for pool, kind in zip(problem.pools, tiny.kinds, strict=True)
    )
    return tiny, replace(problem, pools=pools)


@pytest.mark.parametrize("seed", range(20))
def test_energy_prices_that_flip_equal_trying_every_plan(seed: int) -> None:
    usd = 0.5 / _KWH_YEAR  # half a dollar a year for a kW
    tiny, problem = with_energy(a_tiny(seed), usd)
    study, asked = study_of(problem), 0

    def energy(n: tuple[int, ...]) -> float:
        return sum(c * k.kw * 0.5 for c, k in zip(n, tiny.kinds, strict=True))

    costs = [(n, cost + energy(n)) for n, cost in tiny.plans()]
    least = min(cost for _, cost in costs)
    if sum(abs(cost - least) < 1e-6 for _, cost in costs) > 1:
        pytest.skip("two best plans")
    today = next(n for n, cost in costs if cost == least)
    for o, target in enumerate(targets(study, problem)):
        for shift, sign, most in zip(by_energy(study, target), (1, -1), (1.0, 9.0), strict=True):
            plans = [
                (cost, sign * energy(n), (n[o] > 0) is not (today[o] > 0)) for n, cost in costs
            ]
            expected = least_point(plans, 0.0, most)
            assert shift.chosen is (today[o] > 0)
            if expected is None:
                assert shift.at is None, (seed, o, sign)
            else:
                assert shift.at == pytest.approx(1 - sign * expected, abs=1e-5), (seed, o, sign)
            asked += 1
    assert asked == 2 * len(tiny.kinds)


def faster(tiny: Tiny, o: int, factor: float) -> Tiny:
    kinds = list(tiny.kinds)
    kinds[o] = replace(kinds[o], capacity=kinds[o].capacity * factor)
    return replace(tiny, kinds=tuple(kinds))


@pytest.mark.parametrize("seed", range(20))
def test_speeds_that_flip_are_right_on_both_sides(seed: int) -> None:
    tiny = a_tiny(seed)
    problem = tiny.problem()
    study = study_of(problem)
    for o, target in enumerate(targets(study, problem)):

        def at(factor: float, o: int = o) -> Problem:
            return faster(tiny, o, factor).problem()

        shift = by_speed(study, target, at)
        without = min((cost for n, cost in tiny.plans() if n[o] == 0), default=math.inf)

        def pays(factor: float, o: int = o, without: float = without) -> bool:
            return faster(tiny, o, factor).least() < without - 1e-6

        if not math.isfinite(without):
            assert shift.chosen and shift.at is None
        elif shift.at is None:
            assert pays(shift.not_yet) is shift.chosen
        else:
            assert pays(shift.at) is not shift.chosen, (seed, o, shift)
            assert pays(shift.not_yet) is shift.chosen, (seed, o, shift)
            assert max(shift.at / shift.not_yet, shift.not_yet / shift.at) <= 1.0011


def test_terms_of_the_price_book_are_held_against_the_flip_price() -> None:
    """A rent for three years at 2, which enters at 1.5: at five years the book asks 1.4."""
    target = Target("offer", "rent", {}, {})
    rent = Rent(target, 3.0, 2.0, {1.0: 2.6, 3.0: 2.0, 5.0: 1.4})
    enters = by_term(rent, Flip(target, 0.25, 0.25, 0.25, "re-solved and proven"))
    assert enters is not None and (enters.now, enters.at) == (3.0, 5.0)
    never = by_term(rent, Flip(target, 0.4, 0.4, 0.4, "re-solved and proven"))
    assert never is not None and never.at is None
    leaves = by_term(rent, Flip(target, -0.2, -0.2, -0.2, "re-solved and proven", chosen=True))
    assert leaves is not None and leaves.at == 1.0
    alone = replace(rent, book={3.0: 2.0})
    assert by_term(alone, Flip(target, 0.25, 0.25, 0.25, "re-solved and proven")) is None


def test_a_precision_enters_at_the_premium_that_its_slower_tokens_cost() -> None:
    """A box at 100 $ a year serves 10 requests/s in 8 bits and 5 in 16; 10 are asked for. Whoever
    serves any in 16 bits needs a second box, and two serve all of them so: 100 $ over all tokens.
    """
    tiny = Tiny((Kind(10, 100, 9),), demand=10)
    problem = tiny.problem()
    slow = replace(problem.candidates[0], load=problem.candidates[0].load * 2)
    study = Study(problem, OPTIONS).beside(with_candidates(problem, [slow]))
    output = float(problem.workloads[0].output_tokens[0])
    served = {la: 1.0 for la in study.model.columns if getattr(la, "candidate", 0) == 1
              and la.tag == "flow"}  # fmt: skip
    mtok = 8760 * 3600 * output / 1e6
    target = Target("precision", "16 bits", served, dict.fromkeys(served, mtok), 1e-3)
    found = flip(study, target)
    assert not found.chosen and found.how == "re-solved and proven"
    assert found.discount == pytest.approx(100 / (10 * mtok))
