"""The report in a real browser: it runs nothing, loads nothing, fits, prints and reads aloud.

Skipped only where there is no browser.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from payloads import PAYLOADS, renamed
from scenarios import buy
from test_horizon_scenario import NEWS, over, scenario
from test_report import DAY, NO_POWER, golden
from test_report_changes import PROVEN, differing, explained, flip, routes, step, swing
from tokenfleet import Plan
from tokenfleet.explanation.explore import FACTORS
from tokenfleet.explanation.rows import Concession, Limit, PriceRange, RepairSet, Worth
from tokenfleet.plan.explored import Alternative, Exploration, Relaxed, Resolved
from tokenfleet.report.page.render import html, html_of_difference, html_of_error
from tokenfleet.report.redact import redacted

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser")
NO_ELEMENTS = "script, iframe, object, embed, link, img, form, a, audio, video, base"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}
TABLET = {"width": 768, "height": 1024}


def resolved(usd: float, front: float) -> Resolved:
    return Resolved(
        objective_value=usd, annual_cost_usd=usd, capex_usd=front,
        running_usd_per_year=usd - front / 5, resale_usd_per_year=front / 50,
        cost_per_mtok_output_usd=usd / 1e5, systems={"h100-buy@eu-frankfurt": 3}, how=PROVEN,
    )  # fmt: skip


def with_everything() -> str:
    """A plan that was explored and explained: every section that a page of one year can have."""
    found = Exploration(
        today=resolved(380_000.0, 680_000.0),
        alternatives=(
            *(
                Alternative(name=name, accelerator=None, plan=resolved(usd, front), reason=None)
                for name, usd, front in (
                    ("only buying", 380_000.0, 680_000.0),
                    ("only renting", 570_000.0, 0.0),
                    ("without hosted APIs", 670_000.0, 1_200_000.0),
                )
            ),
            Alternative(name="only a100_sxm_8", accelerator="A100", plan=None, reason="x" * 400),
        ),
        frontier=tuple(
            Relaxed(factor=f, plan=None if f < 0.6 else resolved(380_000.0 / f, 1.0))
            for f in sorted((*FACTORS, 1.0))
        ),
        sensitivity=tuple(swing(f"price.o{i}", 90_000.0, 120_000.0) for i in range(12)),
        notes=("3 of 40 plans were not solved in the time given",),
        seconds=1.0,
    )
    why = explained(
        flip=tuple(flip(f"offer-{i}", 0.1 * i, "enters") for i in range(8)),
        ranges=tuple(
            PriceRange(kind="api", name="eu-api", field=field, low_factor=0.5, high_factor=None,
                       price=None, unit=None, systems_below={}, systems_above={}, how=PROVEN)
            for field in ("usd_per_mtok_input", "usd_per_mtok_output")
        ),
        worth=tuple(
            Worth(what="power", where=f"site-{i}", unit="kw", limit=40.0,
                  steps=(step(10.0, 1000.0 * i),), unlimited=1000.0 * i)
            for i in range(18)
        ),
        **routes(),
    )  # fmt: skip
    plan = golden("enterprise").model_copy(update={"exploration": found})
    return html(plan, DAY, why)


def over_time() -> Plan:
    """Two years with two outlooks."""
    data = scenario(horizon=over(2), outlooks=NEWS)
    data["offers"] = [
        buy(lead_months=3),
        {"id": "cloud", "system": "h100_sxm_8", "kind": "on_demand", "price_usd_per_gpu_h": 2.5},
    ]
    return tf.optimize_fleet(data)


NAMES = ("enterprise", "ai_factory", "hyperscaler", "unproven", "infeasible", "late", "explored",
         "horizon", "difference", "repairs", "redacted")  # fmt: skip


def with_repairs() -> str:
    """No plan: what is in conflict, and ways out with what they cost."""
    power = Concession(what="power", where="hall", before=8.0, after=40.8, unit="kw")
    racks = Concession(what="racks", where="hall", before=3, after=4, unit="racks")
    ways = tuple(
        RepairSet(concessions=given, objective_value=usd, annual_cost_usd=usd,
                  systems={"h100-buy@eu-frankfurt": 5}, how=PROVEN)
        for given, usd in (((power,), 428_254.0), ((power, racks), 301_222.0))
    )  # fmt: skip
    clash = (Limit(what="power", where="hall", limit=8.0, unit="kw"),)
    found = explained(objective_value=None, bound=None, conflict=clash, repairs=ways)
    return html_of_error(NO_POWER.to_json(), "hall", found)


def pages() -> dict[str, str]:
    late = {"type": "NoPlanError", "message": "no plan was found", "hint": "give it more time"}
    unproven = golden("enterprise").model_copy(update={"status": "feasible_time_limit"})
    return {
        "enterprise": html(golden("enterprise"), DAY),
        "ai_factory": html(golden("ai_factory"), DAY),
        "hyperscaler": html(golden("hyperscaler"), DAY),
        "unproven": html(unproven, DAY),
        "infeasible": html_of_error(NO_POWER.to_json(), "hall"),
        "late": html_of_error(late, "hall"),
        "explored": with_everything(),
        "horizon": html(over_time(), DAY),
        "difference": html_of_difference(differing(), "two plans"),
        "repairs": with_repairs(),
        "redacted": html(redacted(golden("enterprise")), DAY),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages as files."""
    at, made = tmp_path_factory.mktemp("pages"), pages()
    assert set(made) == set(NAMES)
    for name, text in made.items():
        (at / f"{name}.html").write_text(text, encoding="utf-8")
    return at


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Watched:
    """A page that counts requests and keeps what the console says."""

    def __init__(self, browser: Any, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESK, **how})
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, path: Path) -> Any:
        self.page.goto(path.as_uri())
        return self.page


@pytest.mark.parametrize("name", NAMES)
def test_a_page_loads_itself_alone_and_fits(browser: Any, folder: Path, name: str) -> None:
    watched = Watched(browser, offline=True)
    page = watched.open(folder / f"{name}.html")
    try:
        for size in (DESK, TABLET, PHONE):
            page.set_viewport_size(size)
            assert page.evaluate(OVERFLOW) == 0, size
        assert page.locator(NO_ELEMENTS).count() == 0
        assert len(watched.requests) == 1
        assert watched.said == []
    finally:
        watched.context.close()


def test_a_page_is_the_same_without_scripts(browser: Any, folder: Path) -> None:
    shots = []
    for enabled in (True, False):
        watched = Watched(browser, java_script_enabled=enabled)
        shots.append(watched.open(folder / "enterprise.html").screenshot(full_page=True))
        watched.context.close()
    assert shots[0] == shots[1]


@pytest.mark.parametrize(
    ("name", "scheme", "size"),
    [
        ("enterprise", "light", DESK),
        ("enterprise", "dark", DESK),
        ("enterprise", "light", PHONE),
        ("ai_factory", "dark", PHONE),
        ("infeasible", "light", DESK),
        ("infeasible", "dark", PHONE),
        ("explored", "light", DESK),
        ("explored", "dark", PHONE),
        ("horizon", "dark", DESK),
        ("difference", "light", DESK),
        ("difference", "dark", PHONE),
        ("repairs", "light", PHONE),
    ],
)
def test_a_page_can_be_read_by_everybody(
    browser: Any, folder: Path, name: str, scheme: str, size: dict[str, int]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    watched = Watched(browser, color_scheme=scheme, bypass_csp=True)  # axe is a script
    page = watched.open(folder / f"{name}.html")
    page.set_viewport_size(size)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(page).response["violations"]
    watched.context.close()
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("unproven", "late")])
def test_a_page_prints(browser: Any, folder: Path, tmp_path: Path, name: str) -> None:
    pdfinfo = shutil.which("pdfinfo")
    if pdfinfo is None:
        pytest.skip("no PDF tools")
    watched = Watched(browser)
    page = watched.open(folder / f"{name}.html")
    page.pdf(path=tmp_path / "page.pdf", tagged=True, prefer_css_page_size=True)
    watched.context.close()
    told = subprocess.run(
        [pdfinfo, str(tmp_path / "page.pdf")], capture_output=True, text=True, check=True
    ).stdout
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    assert facts["Tagged"].strip() == "yes"
    assert int(facts["Pages"]) <= 8
    assert "A4" in facts["Page size"]


def test_folded_parts_are_printed(browser: Any, folder: Path, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("no PDF tools")
    watched = Watched(browser)
    page = watched.open(folder / "enterprise.html")
    page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    watched.context.close()
    text = subprocess.run(
        ["pdftotext", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "Bound confirmed by" in text
    first = text.split("\f", maxsplit=1)[0]
    assert "48 accelerators at 2 sites" in first and "Total a year" in first  # the board's page


def test_figures_over_time_begin_on_the_first_printed_page(
    browser: Any, folder: Path, tmp_path: Path
) -> None:
    """Rows of figures may part between pages: kept together they left most of the first empty."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no PDF tools")
    watched = Watched(browser)
    page = watched.open(folder / "horizon.html")
    page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    watched.context.close()
    command = ["pdftotext", "-l", "1", str(tmp_path / "page.pdf"), "-"]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Cash paid until then" in first


def test_names_run_nothing_and_fit(browser: Any, tmp_path: Path) -> None:
    watched = Watched(browser, viewport=PHONE, offline=True)
    plan = golden("enterprise")
    try:
        for i, payload in enumerate(PAYLOADS):
            path = tmp_path / f"{i}.html"
            path.write_text(html(renamed(plan, payload), DAY), encoding="utf-8")
            page = watched.open(path)
            assert page.locator(NO_ELEMENTS).count() == 0, payload
            assert "pwned" not in page.title().split("'")[0], payload
            assert page.evaluate(OVERFLOW) == 0, payload
            page.set_viewport_size(DESK)
            assert page.evaluate(OVERFLOW) == 0, payload
            page.set_viewport_size(PHONE)
        assert watched.said == []
        assert len(watched.requests) == len(PAYLOADS)
    finally:
        watched.context.close()
