"""What a field says of worth is what dominance, pricing and order hold to; silence is safe."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from problems import candidate, one_pool
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import build, frame_of
from tokenfleet.mix.model.better import (
    are_unlimited,
    copy_of,
    facts,
    must_be_equal,
    numbers,
    sort_key,
)
from tokenfleet.mix.model.order import canonical_order
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import ApiData, OfferData, Pool, Problem

EXACT = SolveOptions(gap=0.0)


@dataclass(frozen=True)
class Offer(OfferData):
    """An offer with a field that nobody has told the model about."""

    embodied_kg: float = 0.0


class Embodied(NamedTuple):
    """The label of a row that nobody has told the model about."""

    family: str = "embodied"


def clean_or_cheap() -> Problem:
    """4 requests/s in one system: of 100 $ and 10 kg, or of 90 $ and 100 kg."""
    problem = one_pool([[4.0]])
    pools = (Pool("clean", 0, "A", 8, 1.0, 0.1), Pool("cheap", 0, "B", 8, 1.0, 0.1))
    offers = (
        Offer("clean", 0, annual_cost_items_usd={"rent": 100.0}, embodied_kg=10.0),
        Offer("cheap", 1, annual_cost_items_usd={"rent": 90.0}, embodied_kg=100.0),
    )
    candidates = tuple(candidate(i, 0, system, 1, [1.0]) for i, system in enumerate("AB"))
    return replace(problem, pools=pools, offers=offers, candidates=candidates)


def test_pools_that_differ_in_an_unexplained_field_are_no_copies() -> None:
    """Two hosted pools of one hall, alike but for the field; used but equal is no copy either."""
    base = one_pool([[4.0]])
    hosted = Pool("a", 0, "box", 8, 1.0, 0.0, hosted=True)
    pools = (hosted, replace(hosted, id="b"))
    for kg, others_kg, distinct in ((0.0, 0.0, 1), (0.0, 7.0, 2), (7.0, 7.0, 2)):
        offers = tuple(
            Offer(f"o{p}", p, annual_cost_items_usd={"rent": 9.0}, supply_group="hall",
                  embodied_kg=each)
            for p, each in enumerate((kg, others_kg))
        )  # fmt: skip
        problem = replace(base, pools=pools, offers=offers)
        pairs = Pairs(problem, frame_of(problem, 0.0, every_system=True))
        assert len(set(pairs.pool.tolist())) == distinct


def test_an_unexplained_field_settles_the_order_of_rows() -> None:
    problem = clean_or_cheap()
    offers = tuple(replace(o, pool=0, annual_cost_items_usd={"rent": 1.0}) for o in problem.offers)
    for given in (offers, offers[::-1]):
        order = canonical_order(replace(problem, offers=given)).offers
        assert [given[o].id for o in order] == ["clean", "cheap"]  # 10 kg before 100 kg


def test_numbers_are_the_better_the_smaller() -> None:
    """provisioned, idle, interruptible, -hosted, PUE, energy, priced carbon and water, carbon,
    -per rack, reserve, -speed, -racks brought."""
    own = Pool("p", 0, "A", 8, 3.0, 1.0, pue=1.2, energy_usd_per_kwh_it=0.1,
               carbon_kg_per_kwh_it=0.4, systems_per_rack=4.0, reserve=1)  # fmt: skip
    assert numbers(own, 1).tolist() == [3.0, 1.0, 0.0, -0.0, 1.2, 0.1, 0.0, 0.0, 0.4, -4.0, 1.0,
                                           -1.0, -0.0]  # fmt: skip
    hosted = numbers(replace(own, hosted=True), 1).tolist()
    assert hosted == [
        -math.inf,
        1.0,
        0.0,
        -1.0,
        1.2,
        0.1,
        0.0,
        0.0,
        0.4,
        -math.inf,
        1.0,
        -1.0,
        -math.inf,
    ]
    offer = OfferData(
        "o", 0, 7.0, {"rent": 5.0, "hosting": 2.0}, 0.5, 300.0, embodied_carbon_kg=20.0
    )
    # Items count by their sum; the last is whether the site needs staff for it.
    assert numbers(offer, 1).tolist() == [7.0, 0.5, 300.0, 20.0, 0.0]
    replica = candidate(0, 0, "A", 2, [0.5, math.inf], quality=0.9, idle_w=3.0)
    assert numbers(replica, 1).tolist() == [0.5, math.inf, 0.0, 0.0, -0.9, 3.0]


def test_prices_by_block_are_numbers_of_every_block() -> None:
    """One number is that of both blocks, so that the two kinds of rows can be compared."""
    same = Pool("p", 0, "A", 8, 3.0, 1.0, energy_usd_per_kwh_it=0.1)
    differs = replace(same, energy_usd_per_kwh_it=(0.2, 0.08))
    assert numbers(same, 2)[5:7].tolist() == [0.1, 0.1]
    assert numbers(differs, 2)[5:7].tolist() == [0.2, 0.08]
    assert len(numbers(same, 2)) == len(numbers(differs, 2))
    assert sort_key(same, 2, {}) < sort_key(differs, 2, {})
    api = ApiData("a", 0, np.array([0.3, 0.4]))
    assert numbers(api, 2).tolist()[:4] == [0.3, 0.4, 0.3, 0.4]
    # Classes in the order (1, 0), block by block.
    by_block = replace(api, cost_usd_per_request=np.array([[0.3, 0.4], [0.5, 0.6]]))
    assert (0.4, 0.3, 0.6, 0.5) in sort_key(by_block, 2, {}, (1, 0))


def test_a_finite_supply_counts_for_the_whole_group() -> None:
    offers = [
        OfferData("a", 0),
        OfferData("b", 0, supply=3.0),
        OfferData("c", 0, supply_group="g"),
        OfferData("d", 0, supply=3.0, supply_group="g"),
    ]
    assert are_unlimited(offers) == [True, False, False, False]
    assert copy_of(offers[1]) != copy_of(replace(offers[1], id="b2"))  # each has 3 of its own
    assert copy_of(offers[3]) == copy_of(replace(offers[3], id="d2"))  # they share the 3


def test_an_unexplained_field_in_use_equals_nothing() -> None:
    plain, used = Offer("a", 0), Offer("b", 0, embodied_kg=5.0)
    assert must_be_equal(plain) == must_be_equal(replace(plain, id="c"))
    assert must_be_equal(used) != must_be_equal(plain)
    assert must_be_equal(used) != must_be_equal(replace(used, id="c"))


def test_pools_must_agree_on_site_accelerators_and_tenure() -> None:
    pool = Pool("p", 0, "A", 8, 3.0, 1.0)
    assert must_be_equal(pool) == must_be_equal(replace(pool, id="q", system="B"))
    for change in ({"site": 1}, {"gpus_per_system": 4}, {"elastic": True}):
        assert must_be_equal(pool) != must_be_equal(replace(pool, **change))


def test_every_field_of_what_may_be_replaced_says_what_is_better() -> None:
    """Silence would be safe, but it would also switch dominance off where the field is used."""
    case = build(one_pool([[4.0]])).problem
    for row in (case.pools[0], case.offers[0], case.candidates[0]):
        assert [fact.name for fact in facts(row) if not fact.better] == []


def test_classes_are_told_apart_by_every_number() -> None:
    """Every array of a workload with an axis over its classes says so."""
    data = one_pool([[1.0, 2.0, 3.0]]).workloads[0]
    arrays = {f.name for f in fields(data) if isinstance(getattr(data, f.name), np.ndarray)}
    assert {fact.name for fact in facts(data) if fact.by_class} == arrays


def test_what_no_order_looks_at_moves_nothing() -> None:
    """Candidates that are plainer count like all others for the simplest plan."""
    problem = one_pool([[1.0]])
    system = problem.pools[0].system
    offered = tuple(candidate(i, 0, system, 1 + i % 2, [1.0 + i % 3]) for i in range(9))
    problem = replace(problem, candidates=offered)
    marked = tuple(replace(c, plainer=c.id % 2 == 0) for c in problem.candidates)
    assert canonical_order(replace(problem, candidates=marked)) == canonical_order(problem)


def test_numbers_by_class_stand_in_the_order_of_classes() -> None:
    row = candidate(0, 0, "a", 1, [3.0, 5.0, 4.0])
    by_load = {tuple(key) for key in sort_key(row, 1, {}, (2, 0, 1)) if isinstance(key, tuple)}
    assert (4.0, 3.0, 5.0) in by_load
