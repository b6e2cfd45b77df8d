"""What would change a plan, on its page; and the page of a difference of two plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from scenarios import hall
from test_assistant import SCENARIO
from test_report import ACTIVE, DAY, NO_POWER, Reader, golden
from tokenfleet import SchemaError
from tokenfleet.cli.app import app
from tokenfleet.explanation.rows import (
    BreakEven,
    Concession,
    Difference,
    Explanation,
    FlipPrice,
    MenuItem,
    Moved,
    Part,
    Premium,
    RepairSet,
    RoutePoint,
    Step,
    Worth,
)
from tokenfleet.plan.explored import Swing
from tokenfleet.report.page.render import html, html_of_difference, html_of_error
from tokenfleet.report.write import write_report

PROVEN, RELAXED = "re-solved and proven", "relaxation"


def step(by: float, worth: float | None) -> Step:
    return Step(by=by, worth=worth, worth_low=worth, worth_high=worth, enough=None, how=PROVEN)


def explained(**parts: Any) -> Explanation:
    known = {
        "name": "hall",
        "objective": "least_cost",
        "objective_unit": "USD per year",
        "objective_value": 100_000.0,
        "bound": 100_000.0,
        "gap": 0.0,
        "proven": True,
    }
    return Explanation(**{**known, **parts})


def swing(name: str, low: float | None, high: float | None) -> Swing:
    known = [v for v in (low, high, 100_000.0) if v is not None]
    return Swing(
        input=name,
        by=0.2,
        value_low=low,
        value_high=high,
        swing=max(known) - min(known),
        mix_changes_low=low is None,
        mix_changes_high=False,
        how=PROVEN,
    )


def flip(name: str, discount: float | None, verdict: str, how: str = PROVEN) -> FlipPrice:
    price = None if discount is None else 200_000.0
    return FlipPrice.model_validate(
        {
            "kind": "offer",
            "name": name,
            "chosen": verdict == "leaves",
            "verdict": verdict,
            "discount": discount,
            "discount_low": discount,
            "discount_high": discount,
            "price": price,
            "flip_price": None if discount is None else 200_000.0 * (1 - discount),
            "unit": "USD/system",
            "systems_with": {"a": 1},
            "systems_without": {"b": 2},
            "solves": 3,
            "how": how,
        }
    )


def test_a_page_shows_what_was_found() -> None:
    found = explained(
        tornado=(
            swing("tariff", 99_000.0, 101_000.0),
            swing("price.h100-buy", 80_000.0, 115_000.0),
            swing("speed", None, 95_000.0),
        ),
        flip=(flip("far", 0.5, "enters"), flip("near", -0.1, "leaves", RELAXED)),
        worth=(
            Worth(what="power", where="hall", unit="kw", limit=40.0, steps=(step(10.0, 0.0),),
                  unlimited=0.0),
            Worth(what="supply", where="a100", unit="systems", limit=3.0, steps=(step(1, 18_971),),
                  unlimited=None),
        ),
        menu=(
            MenuItem(wish="fewest layouts", within=0.05, value=3, today=5, unit="layouts",
                     more=0.03, annual_cost_usd=103_000.0, systems={"a": 1}, how=PROVEN),
        ),
    )  # fmt: skip
    page = html(golden("enterprise"), DAY, found)
    read = Reader(page)
    most = "Price of h100-buy matters most: 20% less gives $80.0k, 20% more gives $115k a year"
    assert most in read.text
    assert "$80.0k −20%" in read.text and "$115k +15%" in read.text
    assert "no plan" in read.text  # with less speed
    assert "The nearest: near leaves the plan at 10.0% more" in read.text
    assert "Supply of a100: 1 system more saves $18,971 a year" in read.text
    assert "Plans that cost little more are better at 1 thing" in read.text
    assert read.text.index("Nearly as good") < read.text.index("What it rests on")
    assert not ACTIVE & set(read.elements)
    assert 'class="tag ">relaxation' in page  # how a figure was got is never left out
    bare = Reader(html(golden("enterprise"), DAY, explained())).text
    assert "Worth of one more" not in bare and "Nearly as good" not in bare


def routes() -> dict[str, Any]:
    """What each way to get tokens costs, where two cost the same, and what was not asked."""
    points = tuple(
        RoutePoint(axis=axis, at=at, route=route, annual_cost_usd=1e6 * usd / at,
                   cost_per_mtok_output_usd=usd / at, how=PROVEN)
        for axis, places in (("volume", (0.1, 1.0, 10.0)), ("utilisation", (0.25, 0.5, 1.0)))
        for route, usd in (("buy", 4.0), ("API", 7.0))
        for at in places
    )  # fmt: skip
    even = BreakEven(axis="volume", at=0.4, cheaper_below="API", cheaper_above="buy", jump=False)
    premium = Premium(name="bf16 of chat", chosen=False, verdict="enters", premium_low=0.1,
                      premium_usd_per_mtok_output=0.12, systems_with={}, systems_without={},
                      how=PROVEN)  # fmt: skip
    notes = ("repairs are asked only where there is no plan",)
    return {"crossover": points, "break_even": (even,), "premium": (premium,), "notes": notes}


def test_routes_are_drawn_and_notes_are_said() -> None:
    page = html(golden("enterprise"), DAY, explained(**routes()))
    text = Reader(page).text
    for axis in ("volume", "utilisation"):
        title = f"What a million output tokens cost by each way, over {axis}"
        assert f'aria-label="{title}"' in page
    assert "At 0.4 times the demand: below it API costs less, above it buy." in text
    assert "bf16 of chat enters the plan where its tokens are worth $0.12 per million" in text
    assert "Repairs are asked only where there is no plan." in text


def test_repairs_are_shown_with_their_price() -> None:
    repairs = (
        RepairSet(
            concessions=(
                Concession(what="power", where="hall", before=30, after=40.8, unit="kw"),
                Concession(what="racks", where="hall", before=3, after=4, unit="racks"),
            ),
            objective_value=120_000.0,
            annual_cost_usd=120_000.0,
            systems={"a": 5},
            how=PROVEN,
        ),
    )
    found = explained(objective_value=None, proven=False, repairs=repairs)
    text = Reader(html_of_error(NO_POWER.to_json(), "hall", found)).text
    assert "Power of hall 40.8 instead of 30 kW and racks of hall 4 instead of 3 racks" in text
    assert "$120,000 a year" in text and "One way out" in text


def differing(**changes: Any) -> Difference:
    moved = Moved(what="h100 at hall", before=3, after=5, change=2)
    known = {
        "before": 100_000.0,
        "after": 130_000.0,
        "change": 30_000.0,
        "objective_unit": "USD per year",
        "parts": (
            Part(group="demand", change=40_000.0, inputs=("chat",)),
            Part(group="prices", change=-10_000.0, inputs=("h100-buy",)),
        ),
        "systems": (moved,),
        "cost_items": (Moved(what="energy", before=10, after=25, change=15),),
        "requests": (),
        "notes": (),
        "solves": 4,
        "how": PROVEN,
    }
    return Difference.model_validate({**known, **changes})


def test_a_difference_has_a_page() -> None:
    page = html_of_difference(differing(), "two plans")
    text = Reader(page).text
    assert "First plan $100k" in text and "Second plan $130k" in text and "Change $30.0k" in text
    assert "+30%" in text
    assert "The change comes from 2 groups of inputs" in text
    assert "Demand chat $40.0k" in text and "Prices h100-buy −$10.0k" in text
    assert "1 lot of systems moved" in text and "1 cost item moved" in text
    assert len(page.encode()) < 40_000
    same = differing(before=0.0, after=0.0, change=0.0, parts=(), systems=(), cost_items=())
    assert "Change $0" in Reader(html_of_difference(same, "x")).text


def test_the_command_takes_what_other_commands_print(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["report", *arguments])
        return done.exit_code, done.output

    plan, page = tmp_path / "plan.json", tmp_path / "page.html"
    plan.write_text(json.dumps(golden("enterprise").to_json()))
    explanation = tmp_path / "explanation.json"
    explanation.write_text(json.dumps(explained(flip=(flip("x", 0.1, "enters"),)).to_json()))
    assert run(str(plan), "--explained", str(explanation), "-o", str(page))[0] == 0
    assert "x enters the plan" in page.read_text()
    (tmp_path / "diff.json").write_text(json.dumps(differing().to_json()))
    assert run(str(tmp_path / "diff.json"), "-o", str(page), "--force")[0] == 0
    (tmp_path / "error.json").write_text(json.dumps({"error": NO_POWER.to_json()}))
    assert run(str(tmp_path / "error.json"), "-o", str(page), "--force")[0] == 0
    assert "All of these together" in page.read_text()
    code, said = run(str(plan), "--explained", str(plan), "-o", str(page), "--force")
    assert code == 2 and "is no explanation" in said
    code, said = run(str(plan), "-o", str(page))
    assert code == 2 and "already there" in said


def test_a_difference_is_no_spreadsheet(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no plan to calculate on"):
        write_report(differing(), tmp_path / "p.xlsx")


def test_plan_writes_the_page_of_any_answer(tmp_path: Path) -> None:
    scenario, page = tmp_path / "hall.yaml", tmp_path / "page.html"

    def run(*more: str, **changes: Any) -> tuple[int, str]:
        scenario.write_text(yaml.safe_dump({**SCENARIO, **changes}))
        arguments = ["plan", str(scenario), "--report", str(page), *more]
        done = CliRunner().invoke(app, arguments)
        return done.exit_code, done.output

    assert run()[0] == 0
    assert "What to get" in page.read_text()
    code, said = run()
    assert code == 2 and "already there" in said
    assert run("--force", sites=[hall(power_kw=1)])[0] == 3
    assert "No plan meets every requirement" in page.read_text()
    assert "one hall" in page.read_text()
    code, said = run("--force", "--report", str(tmp_path / "page.pdf"))
    assert code == 2 and "no report has this ending" in said
