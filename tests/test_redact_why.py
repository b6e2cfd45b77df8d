"""Explanations and differences that are passed on: nobody is named, no price is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_report import DAY
from test_report_changes import PROVEN, differing, explained, golden
from tokenfleet.explanation.rows import (
    Concession,
    Difference,
    Explanation,
    FlipPrice,
    MenuItem,
    Moved,
    PriceRange,
    RepairSet,
    Step,
    Taken,
    ToMeasure,
    Worth,
)
from tokenfleet.plan.explored import Swing
from tokenfleet.report.page.render import html
from tokenfleet.report.redact import redacted
from tokenfleet.report.redact_why import redacted_difference, redacted_explanation
from tokenfleet.report.write import write_report

SECRETS = ("secret-offer", "secret-site", "secret-api", "secret-load")
LOTS = {"secret-offer@secret-site": 3}


def everything() -> Explanation:
    """A row of every kind, with a secret in every name; the plan costs 200,000."""
    step = Step(by=10.0, worth=50_000.0, worth_low=0.0, worth_high=60_000.0, enough=5.0, how=PROVEN)
    flip = FlipPrice(
        kind="offer", name="secret-offer", chosen=False, verdict="enters", discount=0.2,
        discount_low=0.19, discount_high=0.2, price=123_456.0, flip_price=98_764.8,
        unit="USD/system", systems_with=LOTS, systems_without=LOTS, solves=3, how=PROVEN,
        takes=(Taken(share=0.1, discount=0.3, discount_low=0.3, flip_price=86_419.2, systems=LOTS,
                     how=PROVEN),),
    )  # fmt: skip
    return explained(
        name="secret-load",
        objective_value=200_000.0,
        bound=199_000.0,
        worth=(
            Worth(what="power", where="secret-site", unit="kw", limit=100.0, steps=(step,),
                  unlimited=70_000.0),
            Worth(what="demand", where="secret-load", unit="%", limit=None, steps=(step,),
                  unlimited=None, marginal_usd_per_mtok_output=0.77),
        ),
        flip=(flip, flip.model_copy(update={"kind": "api", "name": "secret-api"})),
        ranges=(PriceRange(kind="api", name="secret-api", field="usd_per_mtok_output",
                           low_factor=0.9, high_factor=1.1, price=0.765, unit="USD/Mtok",
                           systems_below=LOTS, systems_above=LOTS, how=PROVEN),),
        menu=(MenuItem(wish="least capital", within=0.01, value=40_000.0, today=80_000.0,
                       unit="USD", more=0.004, annual_cost_usd=200_800.0, systems=LOTS,
                       how=PROVEN),),
        tornado=(Swing(input="price.secret-offer", by=0.2, value_low=180_000.0,
                       value_high=220_000.0, swing=40_000.0, mix_changes_low=False,
                       mix_changes_high=True, how=PROVEN),),
        measure=(ToMeasure(system="h100_sxm_8", workload="secret-load", interval80_pct=20.0,
                           known="modelled", runs=0, value=5_000.0, worst=9_000.0, changes=True,
                           how=PROVEN),),
        notes=("secret-site is mentioned",),
    )  # fmt: skip


def test_an_explanation_names_nobody_and_tells_no_price() -> None:
    """Its money is of each 100: half of 200,000 saved a quarter of that is 25; shares stay."""
    found = redacted_explanation(everything())
    text = json.dumps(found.to_json())
    for secret in (*SECRETS, "123456", "98764.8", "0.765", "0.77"):
        assert secret not in text, secret
    assert found.objective_value == pytest.approx(100.0) and found.bound == pytest.approx(99.5)
    assert found.worth[0].steps[0].worth == pytest.approx(25.0)
    assert (found.worth[0].where, found.worth[0].limit) == ("site 1", 100.0)
    assert found.flip[0].name == "offer 1" and found.flip[0].discount == 0.2
    assert found.flip[0].systems_with == {"offer 1@site 1": 3}
    assert found.menu[0].today == pytest.approx(40.0, rel=0.01) and found.menu[0].more == 0.004
    assert found.tornado[0].input == "price.offer 1"
    assert found.tornado[0].value_low == pytest.approx(90.0)
    assert Explanation.model_validate(found.to_json()) == found


def test_the_page_of_a_plan_and_its_explanation_has_one_number_for_each_name() -> None:
    plan = golden("enterprise")
    site, offer = plan.sites[0].site, plan.systems[0].offer
    row = (
        everything()
        .flip[0]
        .model_copy(update={"name": offer, "systems_with": {f"{offer}@{site}": 2}})
    )
    found = redacted_explanation(everything().model_copy(update={"flip": (row,)}), plan)
    hidden = redacted(plan)
    assert found.flip[0].name == hidden.systems[0].offer
    assert list(found.flip[0].systems_with) == [f"{found.flip[0].name}@{hidden.sites[0].site}"]
    page = html(hidden, DAY, found)
    for secret in (*SECRETS, *(s.site for s in plan.sites), *(s.offer for s in plan.systems)):
        assert secret not in page, secret


def test_a_repair_names_nobody() -> None:
    repair = RepairSet(
        concessions=(
            Concession(what="power", where="secret-site", before=8.0, after=40.8, unit="kw"),
            Concession(what="capex budget", where="all", before=1e6, after=2e6, unit="usd"),
        ),
        objective_value=400_000.0, annual_cost_usd=400_000.0, systems=LOTS, how=PROVEN,
    )  # fmt: skip
    found = redacted_explanation(explained(objective_value=None, bound=None, repairs=(repair,)))
    first, second = found.repairs[0].concessions
    assert (first.where, first.after) == ("site 1", 40.8)
    assert second.after == pytest.approx(500.0)  # of each 100 that the plan would cost
    assert found.repairs[0].annual_cost_usd == pytest.approx(100.0)
    assert "secret" not in json.dumps(found.to_json())


def test_a_difference_names_nobody_and_its_parts_still_add_up(tmp_path: Path) -> None:
    given = differing(
        systems=(Moved(what="secret-offer@secret-site", before=3, after=5, change=2),),
        requests=(Moved(what="secret-load on secret-api", before=3, after=5, change=2),),
        notes=("secret-site",),
    )
    found = redacted_difference(given)
    assert found.change == pytest.approx(30.0)
    assert sum(part.change for part in found.parts) == pytest.approx(found.change)
    assert found.systems[0].what == "offer 1@site 1"
    assert found.cost_items[0].change == pytest.approx(15 / 1000)
    assert "secret" not in json.dumps(found.to_json())
    assert Difference.model_validate(found.to_json()) == found
    write_report(given, tmp_path / "d.html", redact=True)
    assert "secret" not in (tmp_path / "d.html").read_text()
