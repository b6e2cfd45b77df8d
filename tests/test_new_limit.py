"""A new limit, added as CONTRIBUTING says, is honoured everywhere or refused; none is forgotten.

The limit caps the weight of the systems, a field that nobody has told the model about: one function
and one entry of the table of families, and nothing else is touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple
from unittest import mock

import numpy as np
import pytest

from problems import candidate, one_pool
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.fleets import FleetEvaluator
from tokenfleet.mix.generate import generation
from tokenfleet.mix.generate.generation import applies
from tokenfleet.mix.model import FleetModel, limits
from tokenfleet.mix.model.family import ALL, Amount, Family, StatedLimit, Unit, Usage, peak, total
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.problem_data import (
    EVERY_BLOCK,
    Flow,
    Objective,
    OfferData,
    Pool,
    Problem,
    SiteData,
    Systems,
)
from tokenfleet.report.words import reasons

EXACT = SolveOptions(gap=0.0)
CAP_KG = 50.0


@dataclass(frozen=True)
class Offer(OfferData):
    """An offer with a new field."""

    weight_kg: float = 0.0


@dataclass(frozen=True)
class Capped(Objective):
    """An objective with a new budget."""

    weight_limit_kg: float = CAP_KG


class Weight(NamedTuple):
    """Weight of all systems within the cap."""

    family: Literal["weight"] = "weight"


def kg(problem: Problem, o: int) -> float:
    offer = problem.offers[o]
    assert isinstance(offer, Offer)
    return offer.weight_kg


def cap_kg(problem: Problem) -> float:
    assert isinstance(problem.objective, Capped)
    return problem.objective.weight_limit_kg


def limit_weight(m: FleetModel) -> None:
    """sum of kg * x within the cap."""
    pairs = [(v, kg(m.problem, label.offer)) for label, v in m.of(Systems).items()]
    m.row(Weight(), pairs + m.slack(Weight()), limits.LE, cap_kg(m.problem))  # type: ignore[arg-type]


def weight_used(use: Usage, _: StatedLimit) -> Amount:
    offers = range(len(use.problem.offers))
    return peak([total(use.systems(o, b) * kg(use.problem, o) for o in offers)
                 for b in use.blocks])  # fmt: skip


WEIGHT = Family(
    "weight",
    limit_weight,
    over="systems",
    gives_way=True,
    words="weight",
    key="weight_kg",
    unit=Unit("kg", "{:g} kg"),
    field="weight_limit_kg",
    places=lambda problem: [StatedLimit(ALL, cap_kg(problem))],
    used=weight_used,
)


def light_or_cheap(requests_per_s: float = 4.0) -> Problem:
    """4 requests/s in one system: of 100 $ and 10 kg, or of 90 $ and 100 kg."""
    pools = (Pool("light", 0, "A", 8, 1.0, 0.1), Pool("cheap", 0, "B", 8, 1.0, 0.1))
    offers = (
        Offer("light", 0, annual_cost_items_usd={"rent": 100.0}, weight_kg=10.0),
        Offer("cheap", 1, annual_cost_items_usd={"rent": 90.0}, weight_kg=100.0),
    )
    candidates = tuple(candidate(i, 0, system, 1, [1.0]) for i, system in enumerate("AB"))
    base = one_pool([[requests_per_s]])
    return replace(base, pools=pools, offers=offers, candidates=candidates, objective=Capped())


@pytest.fixture
def _capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAMILIES", (*limits.FAMILIES, WEIGHT))


def test_without_the_cap_the_cheap_system_is_best() -> None:
    assert solve_mix(light_or_cheap(), EXACT).annual_cost_usd == pytest.approx(90.0)


@pytest.mark.usefixtures("_capped")
def test_the_mix_keeps_it() -> None:
    """Dominance knows nothing of the field, so it leaves the dear system in."""
    capped = solve_mix(light_or_cheap(), EXACT)
    assert capped.status == "optimal"
    assert capped.annual_cost_usd == pytest.approx(100.0)


@pytest.mark.usefixtures("_capped")
def test_plan_and_report_show_it() -> None:
    plan = plan_of(solve_mix(light_or_cheap(40.0), EXACT))  # five light systems
    (row,) = [row for row in plan.limits if row.what == "weight_kg"]
    assert (row.where, row.used, row.limit, row.headroom) == ("all", 50.0, 50.0, 0.0)
    assert "what binds: weight 50 of 50 kg" in reasons(plan)


@pytest.mark.usefixtures("_capped")
def test_the_diagnosis_says_what_is_short() -> None:
    with pytest.raises(InfeasibleError) as raised:  # six light systems of 10 kg
        solve_mix(light_or_cheap(48.0), EXACT)
    assert "weight short by 10 kg (limit 50 kg)" in raised.value.conflicts


@pytest.mark.usefixtures("_capped")
def test_evaluate_fleets_judges_it() -> None:
    fleets = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0], [6.0, 0.0]])
    answers = FleetEvaluator(light_or_cheap()).evaluate(fleets)
    assert answers["feasible"][0].tolist() == [True, False, True, False]
    assert answers["limit"][0].tolist() == ["", "weight", "", "weight"]
    assert answers["headroom_weight_kg"][0].tolist() == [40.0, -50.0, 0.0, -10.0]


def test_a_limit_that_does_not_say_how_it_is_used_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = Family("weight", limit_weight)
    monkeypatch.setattr(limits, "FAMILIES", (*limits.FAMILIES, silent))
    assert solve_mix(light_or_cheap(), EXACT).annual_cost_usd == pytest.approx(100.0)
    with pytest.raises(SchemaError, match="cannot judge the limit 'weight'"):
        FleetEvaluator(light_or_cheap())


class Floor(NamedTuple):
    """At least so many requests/s through the systems of pool 0."""

    family: Literal["floor"] = "floor"


def keep_busy(m: FleetModel) -> None:
    """sum of f through pool 0 >= 3 requests/s."""
    pairs = [(v, 1.0) for label, v in m.of(Flow).items() if label.pool == 0]
    m.row(Floor(), pairs, limits.GE, 3.0)  # type: ignore[arg-type]


def test_a_floor_on_requests_is_refused_by_fleets_and_kept_by_plans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The routing of fleets knows ceilings; a floor read as one would be the wrong way round."""
    floor = Family("floor", keep_busy, over="requests")
    monkeypatch.setattr(limits, "FAMILIES", (*limits.FAMILIES, floor))
    assert solve_mix(light_or_cheap(), EXACT).annual_cost_usd == pytest.approx(100.0)
    with pytest.raises(SchemaError, match="cannot judge the limit 'floor'"):
        FleetEvaluator(light_or_cheap())


def test_a_limit_that_gives_way_says_where_it_is_stated() -> None:
    with pytest.raises(ValueError, match="family weight: gives way"):
        replace(WEIGHT, field="")


def test_generation_of_columns_keeps_away_from_what_it_cannot_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit over systems is whole before any pair is built; of another kind that is not known."""
    assert applies(light_or_cheap())
    shipped = limits.FAMILIES
    for family, able in ((WEIGHT, True), (Family("weight", limit_weight), False)):
        monkeypatch.setattr(limits, "FAMILIES", (*shipped, family))
        assert applies(light_or_cheap()) is able


@dataclass(frozen=True)
class Site(SiteData):
    """A site at which only so many systems may stand, in the provider's hall or not."""

    system_limit: float = math.inf


class AtSite(NamedTuple):
    """Systems within the number that a site takes."""

    site: int
    family: Literal["at_site"] = "at_site"


def limit_systems(m: FleetModel) -> None:
    """sum of x at a site within its number of systems."""
    for s, site in enumerate(m.problem.sites):
        assert isinstance(site, Site)
        pools = [p for p in m.open if m.problem.pools[p].site == s]
        pairs = [(v, 1.0) for p in pools for v in m.systems(p, EVERY_BLOCK)]
        if pairs and math.isfinite(site.system_limit):
            m.row(AtSite(s), pairs, limits.LE, site.system_limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("generated", [math.inf, 0])
def test_a_limit_of_sites_holds_for_hosted_systems_however_the_mix_is_solved(
    monkeypatch: pytest.MonkeyPatch, generated: float
) -> None:
    """Five systems, three a site: two regions of one provider are no copies of each other."""
    at_site = Family("at_site", limit_systems, over="systems")
    monkeypatch.setattr(limits, "FAMILIES", (*limits.FAMILIES, at_site))
    hosted = [Pool(f"cloud{s}", s, "box", 8, 1.0, 0.0, hosted=True) for s in range(2)]
    problem = replace(
        one_pool([[40.0]]),
        sites=(Site("a", system_limit=3.0), Site("b", system_limit=3.0)),
        pools=tuple(hosted),
        offers=tuple(OfferData(f"o{s}", s, annual_cost_items_usd={"rent": 1.0}) for s in range(2)),
        candidates=(candidate(0, 0, "box", 1, [1.0], sites=(0, 1)),),
    )
    with mock.patch.object(generation, "GENERATED", generated):
        assert solve_mix(problem, EXACT).annual_cost_usd == pytest.approx(5.0)


@dataclass(frozen=True)
class ByName(Objective):
    """An objective that names system types: at most, and at least, so many of each."""

    most_of: Mapping[str, float] = field(default_factory=dict)
    least_of: Mapping[str, float] = field(default_factory=dict)


class OfType(NamedTuple):
    """Systems of one type within their number."""

    system: str
    family: Literal["of_type"] = "of_type"


def limit_types(m: FleetModel) -> None:
    """sum of x of a named system type within its numbers."""
    objective = m.problem.objective
    assert isinstance(objective, ByName)
    for sense, stated in ((limits.LE, objective.most_of), (limits.GE, objective.least_of)):
        for system, count in stated.items():
            pools = [p for p in m.open if m.problem.pools[p].system == system]
            pairs = [(v, 1.0) for p in pools for v in m.systems(p, EVERY_BLOCK)]
            m.row(OfType(f"{system} {sense}"), pairs, sense, count)  # type: ignore[arg-type]


@pytest.mark.parametrize("generated", [math.inf, 0])
@pytest.mark.parametrize(
    ("named", "usd"),
    [
        ({}, 2 * 90.0),
        ({"most_of": {"B": 1.0}}, 90.0 + 100.0),  # A may take B's place where B is full
        ({"least_of": {"A": 1.0}}, 100.0 + 90.0),
        ({"most_of": {"A": 0.0}}, 2 * 90.0),
    ],
)
def test_a_limit_by_a_systems_name_keeps_the_types_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
    generated: float,
    named: dict[str, dict[str, float]],
    usd: float,
) -> None:
    """A at 100 $ and B at 90 $ differ in nothing else: without a name in a limit A is left out."""
    of_type = Family("of_type", limit_types, over="systems")
    monkeypatch.setattr(limits, "FAMILIES", (*limits.FAMILIES, of_type))
    base = light_or_cheap(16.0)
    offers = tuple(
        OfferData(o.id, o.pool, annual_cost_items_usd=o.annual_cost_items_usd) for o in base.offers
    )
    problem = replace(base, offers=offers, objective=ByName(**named))
    with mock.patch.object(generation, "GENERATED", generated):
        assert solve_mix(problem, EXACT).annual_cost_usd == pytest.approx(usd)


def test_every_row_of_the_model_has_its_family() -> None:
    names = [f.name for f in limits.FAMILIES]
    more = {name for f in limits.FAMILIES for name in f.more_rows}  # such as `if_used`, of several
    assert len(set(names)) == len(names) and more.isdisjoint(names)
    rows = {*names, *more}
    model = FleetEvaluator(light_or_cheap()).model
    assert {row.family for row in model.rows.values()} <= rows
