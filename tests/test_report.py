"""The report of a plan: one file that says what the plan says, and nothing that it does not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from payloads import PAYLOADS, renamed
from tokenfleet import Plan, SchemaError
from tokenfleet.errors import Change, InfeasibleError, WayOut
from tokenfleet.plan.known_rows import OtherAnswer, Undecided
from tokenfleet.plan.rows import Way, Without
from tokenfleet.report import ages, words
from tokenfleet.report.findings import clip
from tokenfleet.report.numbers import (
    count,
    difference,
    digits,
    duration,
    exact_dollars,
    power,
    short_dollars,
)
from tokenfleet.report.page.render import html, html_of_error, stylesheet
from tokenfleet.report.redact import redacted, redacted_error

MONEY = re.compile(r"usd|^cost_items|objective_value|^bound$|^difference$")
ROOT = Path(__file__).parent.parent
DAY = date(2026, 7, 15)
NO_FIGURES = ("objective_value", "difference_relative", "gap", "annual_cost_usd", "capex_usd")
ACTIVE = {"script", "iframe", "object", "embed", "link", "img", "form", "a", "base", "audio"}


def golden(name: str, **changes: Any) -> Plan:
    """The plan of an example, as the golden tests keep it."""
    data = json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_text())
    return Plan.from_json({"seconds": 1.0, "origin": None, **data, **changes})


@pytest.fixture(scope="module")
def enterprise() -> Plan:
    return golden("enterprise")


class Reader(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if not self.elements or self.elements[-1] != "style":
            self.texts.append(data)


# Figures


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0.0, "$0"),
        (0.42, "$0.420"),
        (999.4, "$999"),
        (999.6, "$1.00k"),
        (323_540.28, "$324k"),
        (-13_385.6, "−$13.4k"),
        (999_499.0, "$999k"),
        (999_600.0, "$1.00M"),
        (1.2345e9, "$1.23B"),
        (1e200, "over $999Qd"),
    ],
)
def test_dollars_have_three_digits(usd: float, text: str) -> None:
    assert short_dollars(usd) == text


def test_figures_have_units_that_suit_them() -> None:
    space = "\u00a0"
    assert exact_dollars(-13_385.6) == "−$13,386"
    assert [power(kw) for kw in (0.0, 0.98, 50.1, 4992.2, 1.2e6, None)] == [
        f"0{space}kW", f"980{space}W", f"50.1{space}kW", f"4.99{space}MW", f"1.20{space}GW", "–",
    ]  # fmt: skip
    assert [duration(ms) for ms in (40.0, 2500.0, 190e3)] == [
        f"40.0{space}ms", f"2.50{space}s", f"3.17{space}min",
    ]  # fmt: skip
    assert [count(n) for n in (12, 103_438_080_000.0, 1.4658e12)] == [
        "12", f"103{space}billion", f"1.47{space}trillion",
    ]  # fmt: skip
    assert [difference(d) for d in (0.2198, -0.041, 0.0)] == ["+22%", "−4.1%", "±0%"]
    assert [digits(x) for x in (0.01234, 1.234, 1234.0, -0.5)] == [
        "0.0123", "1.23", "1,234", "−0.500",
    ]  # fmt: skip


# Age of prices


def test_a_price_is_at_least_as_old_as_its_source_says() -> None:
    on = date(2026, 7, 15)
    assert ages.age_days("2026-07-01", on) == 14
    assert ages.age_days("2026-06", on) == 15  # of the 30th
    assert ages.age_days("2025", on) == 196  # of 2025-12-31
    assert ages.age_days("2026-08", on) == 0  # not below
    assert ages.age_days(None, on) is None
    assert ages.age_days("last week", on) is None
    assert ages.age_days("2026-13", on) is None


def test_old_prices_are_told_with_their_age(enterprise: Plan) -> None:
    """The H100's price is of August 2025, the plan of 15 July 2026: 318 days."""
    assert [(row.what, row.days) for row in ages.old_prices(enterprise)] == [("h100-buy", 318)]
    assert "h100-buy (of 2025-08, at least 318 days)" in words.warnings(enterprise)[-1]
    fresh = enterprise.model_copy(update={"as_of": "2025-11-29"})  # 90 days after 2025-08-31
    assert ages.old_prices(fresh) == []
    undated = enterprise.model_copy(update={"as_of": None})
    assert [row.days for row in ages.old_prices(undated, date(2025, 12, 1))] == [92]


# The page


@pytest.mark.parametrize("name", ["enterprise", "ai_factory", "hyperscaler", "big_plan"])
def test_a_page_is_one_file_that_runs_nothing(name: str) -> None:
    page = html(golden(name), DAY)
    read = Reader(page)
    assert not ACTIVE & set(read.elements)
    assert not {"style", "onclick", "href", "src"} & read.attributes
    digest = base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.replace("&#39;", "'")
    assert page.count("<style>") == 1
    assert re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1] == stylesheet()  # type: ignore[index]
    assert len(page.encode()) < (80_000 if name == "enterprise" else 300_000)


def test_the_page_says_what_the_plan_says(enterprise: Plan) -> None:
    text = Reader(html(enterprise)).text
    assert "48 accelerators at 2 sites deliver a million output tokens for $4.27" in text
    assert (
        "Buy 3 H100 SXM 80GB servers for eu-frankfurt, keep 3 A100 SXM 80GB servers in eu-dublin "
        "and send the rest to eu-api. $441,683 a year for 103 billion output tokens." in text
    )
    assert "Keep 3 systems and buy 3, and pay a hosted API for the rest" in text
    assert "Buying hardware is 41% of the yearly cost; energy is 12%" in text
    assert "The best plan of one system type costs 11% more" in text
    assert "All 4 latency limits hold at 80% confidence" in text
    assert "assistant TPOT p95, all requests 58.3 ms 37.3 ms 30.4 ms to" in text
    assert "What binds: supply of a100-stock 3 of 3; power of eu-frankfurt 30.6 of 40 kW." in text
    assert (
        "Spare: 1 a100_sxm_8 (a100-stock) at eu-dublin, 1 h100_sxm_8 (h100-buy) at eu-frankfurt."
        in text
    )
    assert "The hosted API is used in 8,760 of 8,760 hours" in text
    assert "15 of 25 figures behind the money are typical figures, not yours" in text
    for usd in enterprise.cost_items.values():  # to the dollar
        assert exact_dollars(usd).replace("$", "") in text


def test_a_plan_at_no_confidence_promises_what_is_expected(enterprise: Plan) -> None:
    text = Reader(html(enterprise.model_copy(update={"confidence": None}))).text
    assert "All 4 latency limits hold as modelled; the likely range of one reaches beyond" in text
    assert "Held at" not in text


def test_each_way_alone_stands_beside_the_plan(enterprise: Plan) -> None:
    """With its figures where one was found; of the others those that cannot be are told apart."""
    known = Way(name="rent 3 years", objective_value=487_000.0, difference_relative=0.1, gap=0.004,
                annual_cost_usd=487_000.0, capex_usd=0.0, gpus=56)  # fmt: skip
    none = Way(name="API", gpus=None, **dict.fromkeys(NO_FIGURES))
    never = none.model_copy(update={"name": "buy", "impossible": True})
    told = never.model_copy(update={"name": "on demand", "why": "workload chat: 2 of 5 requests/s"})
    text = Reader(html(enterprise.model_copy(update={"ways": (known, none, never, told)}))).text
    assert "On demand alone has no plan: workload chat: 2 of 5 requests/s." in text
    assert "Each way alone Way A year, USD" in text
    assert "Rent 3 years $487,000 +10% – 56 0.4%" in text
    assert "Alone, nothing meets every requirement by: buy." in text
    assert "Alone, no plan was found by: API." in text
    alone = enterprise.model_copy(update={"ways": (known,), "best_single_system": None})
    assert "Rent 3 years alone costs 10% more" in Reader(html(alone)).text
    assert "Each way alone" not in Reader(html(enterprise)).text


def test_why_the_plan_has_what_is_better_avoided(enterprise: Plan) -> None:
    row = Without(what="pipeline stages", workloads=("assistant",), bound=None,
                  difference_relative=0.083)  # fmt: skip
    text = Reader(html(enterprise.model_copy(update={"without": (row,)}))).text
    assert "Pipeline stages (assistant): every plan without costs at least 8.3% more." in text


def test_how_sure_it_is_stands_at_the_head(enterprise: Plan) -> None:
    """The plan held at a confidence and the expected one, as the terminal says it."""
    other = OtherAnswer(confidence=None, same_plan=False, objective_value=357_938.0, gap=0.0,
                        annual_cost_usd=357_938.0, gpus=48, systems={}, undecided=None)  # fmt: skip
    page = html(enterprise.model_copy(update={"other": other}))
    head = Reader(page.split("<section")[0]).text
    assert "Held at 80 %: $441,683 a year, 48 GPUs; expected: $357,938 a year, 48 GPUs." in head


def test_images_have_their_own_price(enterprise: Plan) -> None:
    first, *rest = enterprise.workloads
    of_images = first.model_copy(
        update={"output_tokens_per_year": 0.0, "images_per_year": 2e9,
                "cost_per_mtok_output_usd": None, "cost_per_thousand_images_usd": 0.155}
    )  # fmt: skip
    text = Reader(html(enterprise.model_copy(update={"workloads": (of_images, *rest)}))).text
    assert "Images, per thousand $0.155 assistant" in text
    assert "2.00 billion images" in text and "$0.155 per thousand images" in text


def test_a_tie_is_no_win() -> None:
    """The factory is proven within 0.1 %: one system type at 0.05 % more is as good."""
    plan = golden("ai_factory")
    assert plan.best_single_system is not None and plan.gap == pytest.approx(0.001)
    for more, tie in ((0.0005, True), (0.002, False)):
        single = plan.best_single_system.model_copy(update={"difference_relative": more})
        text = Reader(html(plan.model_copy(update={"best_single_system": single}), DAY)).text
        said = "The best plan of one system type is as good, within the proven gap" in text
        assert said == tie == ("Best single system as good" in text)


def test_an_unproven_plan_is_not_called_proven(enterprise: Plan) -> None:
    found = enterprise.model_copy(update={"status": "feasible_time_limit", "gap": 0.05})
    page = html(found)
    assert 'class="pill warn"' in page
    assert "Best plan found in time; at most 5.0% from the least cost possible" in page
    assert "Proven" not in Reader(page).text.split("Read before")[0]
    assert 'class="pill good"' in html(enterprise)
    assert 'class="pill warn"' in html(enterprise.model_copy(update={"interrupted": True}))


def test_the_same_plan_gives_the_same_bytes() -> None:
    """Under two hash seeds, in two processes."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_report import *;"
        "sys.stdout.write(hashlib.sha256(html(golden('hyperscaler'), DAY).encode()).hexdigest())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(made) == 1


# Without a plan

NO_POWER = InfeasibleError(
    "no plan meets every requirement: a; or b, c",
    ["a", "b", "c"],
    "each alternative is enough alone",
    [
        WayOut(0.36, (Change("power_kw", "eu-dublin", 10.8, 30.0, "kw", "site x: power short"),)),
        WayOut(
            1.9,
            (
                Change("demand", "code, k", 21.0, 36.0, "requests_per_s", "21 of 36 unserved"),
                Change("demand", "chat, k", 4.0, 20.0, "requests_per_s", "4 of 20 unserved"),
            ),
        ),
    ],
)


def test_changes_that_belong_together_stand_in_one_way_out() -> None:
    text = Reader(html_of_error(NO_POWER.to_json(), "hall")).text
    assert "Infeasible: proven that no plan exists No plan meets every requirement" in text
    assert "2 ways out, smallest change first Site x: power short" in text
    assert "All of these together: 21 of 36 unserved 4 of 20 unserved" in text
    assert "Nothing here is a plan" in text


def test_no_plan_in_time_is_not_infeasible() -> None:
    error = {"type": "NoPlanError", "message": "none was found", "hint": "more time"}
    text = Reader(html_of_error(error, "hall")).text
    assert "Open: no plan was found in the time given" in text
    assert "nfeasible" not in text
    failed = Reader(html_of_error({"type": "SolverError", "message": "m"}, "hall")).text
    assert "Failed: the question could not be answered" in failed


# Passed on


def test_a_redacted_plan_names_nobody_and_no_price(enterprise: Plan) -> None:
    text = html(redacted(enterprise))
    given = {row.site for row in enterprise.sites} | {row.offer for row in enterprise.systems}
    given |= {row.workload for row in enterprise.workloads} | {enterprise.name, "eu-api"}
    given |= {name for row in enterprise.replicas for name in row.classes}
    for name in given:
        assert name not in text, name
    for usd in ("190,000", "441,683", "$442k", "$681k", "$4.27", "179,647", "$0.18"):
        assert usd not in text, usd
    assert "Buying hardware is 41% of the yearly cost; energy is 12%" in text
    assert redacted(enterprise).annual_cost_usd == pytest.approx(100.0)


def test_a_redacted_plan_has_none_of_the_dollars(enterprise: Plan) -> None:
    """Of the plans beside it neither, whose values are dollars under keys without a unit."""
    other = OtherAnswer(
        confidence=None,
        same_plan=False,
        objective_value=357_938.0,
        gap=0.0,
        annual_cost_usd=357_938.0,
        gpus=48,
        systems={"a100_sxm_8": 3},
        undecided=Undecided(taken=("x",), instead=("y",), measure=("z",)),
    )
    way = Way(name="buy", objective_value=487_001.0, difference_relative=0.1, gap=0.004,
              annual_cost_usd=487_001.0, capex_usd=1_000_001.0, gpus=56)  # fmt: skip
    row = Without(what="pipeline stages", workloads=("assistant",), bound=455_555.0,
                  difference_relative=0.03)  # fmt: skip
    simpler = enterprise.objective_value / 1.001
    plan = enterprise.model_copy(
        update={"other": other, "ways": (way,), "without": (row,), "best_objective_value": simpler}
    )
    shown = redacted(plan)
    given, left = set(money(plan.to_json())), set(money(shown.to_json()))
    assert given and not {usd for usd in given if abs(usd) > 1.0} & left
    assert sum(abs(usd) > 1_000.0 for usd in left) == 0
    assert "assistant" not in str(shown.to_json()) and "z" not in str(shown.other)
    assert "0.1% is given up for a simpler plan" in html(shown)
    assert shown.ways[0].difference_relative == 0.1


def money(data: Any, key: str = "") -> Iterator[float]:
    """Every figure that is dollars, by its key."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from money(value, key if key.startswith("cost_items") else name)
    elif isinstance(data, list):
        for each in data:
            yield from money(each, key)
    elif isinstance(data, float) and MONEY.search(key):
        yield data


@pytest.mark.parametrize("payload", ("SECRET", *PAYLOADS))
def test_a_redacted_answer_without_a_plan_names_nobody(payload: str) -> None:
    """Infeasible, out of time and failed: no name, amount or sentence of the question is left."""
    told = NO_POWER.to_json()
    for way in told["repairs"]:
        for change in way["changes"]:
            change |= {"where": payload, "text": payload, "unit": payload}
    secret = {"message": payload, "hint": payload, "conflicts": [payload], "name": payload}
    for error in (
        {**told, **secret},
        {**told, **secret, "repairs": []},
        {"type": "NoPlanError", **secret},
        {"type": "SolverError", **secret},
        {"type": "Interrupted", **secret},
    ):
        page = html_of_error(redacted_error(error), "redacted")
        assert clip(payload)[:20] not in Reader(page).text and payload not in page
        assert not ACTIVE & set(Reader(page).elements)
    text = Reader(html_of_error(redacted_error({**told, **secret}), "redacted")).text
    assert "Power of site 1: 36% more than its limit" in text
    assert "Demand of workload 1: 58% of it cannot be served" in text  # 21 of 36
    assert "10.8" not in text and "36 " not in text


# Files


def test_the_ending_says_what_is_written(enterprise: Plan, tmp_path: Path) -> None:
    enterprise.report(tmp_path / "plan.html")
    assert (tmp_path / "plan.html").read_text() == html(enterprise)
    with pytest.raises(SchemaError, match="no report has this ending"):
        enterprise.report(tmp_path / "plan.pdf")
    enterprise.report(tmp_path / "plan.html", redact=True)
    assert "frankfurt" not in (tmp_path / "plan.html").read_text()


# In a notebook


def test_a_notebook_shows_the_head_of_the_report(enterprise: Plan) -> None:
    fragment = enterprise._repr_html_()
    read = Reader(fragment)
    assert "48 accelerators at 2 sites deliver a million output tokens for $4.27" in read.text
    assert "Purchase, as an annuity" in read.text
    assert "Hosted API by the token eu-api – – $175,430" in read.text
    assert not ACTIVE & set(read.elements)
    assert "prefers-color-scheme" not in fragment  # the notebook's theme is not the desk's
    assert len(fragment) < 8_000
    assert repr(enterprise).startswith("Plan('enterprise") and "\n" not in repr(enterprise)


def test_tables_become_data_frames(enterprise: Plan) -> None:
    polars = pytest.importorskip("polars")
    frame = enterprise.table("systems").to_polars()
    assert isinstance(frame, polars.DataFrame)
    assert frame["count"].to_list() == [3, 3]
    for name, rows in enterprise.to_json().items():
        if isinstance(rows, list):
            assert enterprise.table(name).to_polars().height == len(rows), name
    try:
        import pandas  # noqa: F401, PLC0415
    except ImportError:
        with pytest.raises(SchemaError, match="pandas is not installed"):
            enterprise.table("systems").to_pandas()
    else:
        assert list(enterprise.table("systems").to_pandas()["count"]) == [3, 3]


# What must survive


@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e-6, 1e6, 1e12, 1e200])
def test_figures_of_any_size_are_drawn(enterprise: Plan, factor: float) -> None:
    """Every dollar, kW, ms and token times a factor: no e-notation, NaN or infinity is shown."""
    scaled = scaled_by(enterprise, factor)
    page = html(scaled, DAY)
    text = Reader(page).text
    assert not re.search(r"\b(nan|inf)\b|\de[+-]?\d", text.split("SHA-256")[0].lower())
    for coordinate in re.findall(r'(?:x|x1|x2|width|cx)="([-\d.]+)%"', page):
        assert 0.0 <= float(coordinate) <= 100.0


def scaled_by(plan: Plan, factor: float) -> Plan:
    """The plan with floats of money, power, time and tokens times a factor, unchecked."""

    def walk(value: Any, key: str) -> Any:
        if isinstance(value, float) and re.search("usd|kw|_ms|tokens|requests|cost_items", key):
            return value * factor
        if isinstance(value, tuple):
            return tuple(walk(each, key) for each in value)
        if isinstance(value, dict):
            return {k: walk(v, key) for k, v in value.items()}
        if isinstance(value, BaseModel):
            fields = type(value).model_fields
            return value.model_copy(update={k: walk(getattr(value, k), k) for k in fields})
        return value

    found: Plan = walk(plan, "")
    return found


def test_a_plan_of_nothing_has_a_page(enterprise: Plan) -> None:
    nothing = dict.fromkeys(
        ("systems", "replicas", "placement", "hardware", "sites", "routing", "unserved", "limits",
         "workloads", "slo", "provenance", "inputs", "not_considered", "warnings"), (),
    )  # fmt: skip
    empty = enterprise.model_copy(
        update={**nothing, "cost_items": {}, "annual_cost_usd": 0.0, "gpus": 0, "capex_usd": 0.0,
                "best_single_system": None, "cost_per_mtok_output_usd": None}
    )  # fmt: skip
    text = Reader(html(empty, DAY)).text
    assert "Nothing needs to be bought." in text
    rented = [row for row in enterprise.routing if row.api is not None]
    hosted = empty.model_copy(update={"routing": tuple(rented), "cost_per_mtok_output_usd": 0.8})
    text = Reader(html(hosted, DAY)).text
    assert "Hosted APIs deliver a million output tokens for $0.800" in text
    assert "Send everything to eu-api." in text


def test_a_page_of_thousands_of_rows_is_small_and_quick(enterprise: Plan) -> None:
    many = 5_000

    def rows(name: str, *keys: str) -> tuple[Any, ...]:
        one = getattr(enterprise, name)[-1]
        return tuple(
            one.model_copy(update={key: f"{getattr(one, key)} {i}" for key in keys})
            for i in range(many)
        )

    big = enterprise.model_copy(
        update={
            "systems": rows("systems", "site", "system", "offer", "pool"),
            "replicas": rows("replicas", "workload", "site", "pool"),
            "sites": rows("sites", "site"),
            "slo": rows("slo", "workload"),
            "routing": rows("routing", "workload", "pool"),
            "workloads": rows("workloads", "workload"),
            "provenance": rows("provenance", "what"),
            "not_considered": rows("not_considered", "what", "reason"),
            "inputs": rows("inputs", "what"),
            "hardware": rows("hardware", "system"),
            "limits": rows("limits", "where"),
        }
    )
    begun = time.process_time()
    page = html(big, DAY)
    assert time.process_time() - begun < 5.0
    assert len(page.encode()) <= 300_000
    assert "more are in the plan" in page


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_stay_names(enterprise: Plan, payload: str) -> None:
    """In the page, the notebook and the redacted page."""
    plan = renamed(enterprise, payload)
    for page in (html(plan, DAY), plan._repr_html_(), html(redacted(plan), DAY)):
        read = Reader(page)
        assert not ACTIVE & set(read.elements)
        assert not any(name.startswith("on") for name in read.attributes)
        page.encode("utf-8")
    assert "49" not in html(renamed(enterprise, "{{ 7*7 }}"), DAY).split("</title>")[0]
