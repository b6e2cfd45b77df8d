"""The workbook: recalculated by LibreOffice it is the plan, and with other prices another plan."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rich_scenarios import Draw
from scenarios import buy, hall
from test_cli import run
from tokenfleet import Plan, SchemaError, TokenfleetError, optimize_fleet
from tokenfleet.explanation.explain import explain
from tokenfleet.explanation.rows import Explanation
from tokenfleet.plan.explored import Alternative, Exploration, Relaxed, Resolved, Swing
from tokenfleet.plan.rows import Way
from tokenfleet.report.sheets import NO_RANGES, OTHER_MIX, RUN_AGAIN, STILL_BEST
from tokenfleet.report.words import item_name
from tokenfleet.report.workbook.book import Book
from tokenfleet.report.workbook.expression import Cell, Expression, sinking_fund, total
from tokenfleet.report.workbook.inputs import Inputs
from tokenfleet.report.workbook.order import Order
from tokenfleet.report.workbook.write import workbook

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("xlsxwriter")
SOFFICE = shutil.which("soffice")
SHEETS = (
    "Summary", "Inputs", "Order", "Cash flow", "Sensitivity", "Alternatives", "Latency", "Power",
    "Serving", "Routing", "Sources", "Proof",
)  # fmt: skip
EVIL = ('=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "@SUM(A1)", "{=1+1}", "-2+3", "\uff1d1+1")
Json = dict[str, Any]


def column(workload: str, system: str, rate_rps: float) -> Json:
    """A measured replica of four accelerators."""
    return {
        "workload": workload, "class": "turn", "system": system, "gpus": 4,
        "rate_rps": rate_rps, "watts": 2000,
    }  # fmt: skip


def everything() -> Json:
    """Owned, bought and rented systems at two sites, an API, and every money term."""
    turn = {"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}
    return {
        "name": "everything",
        "as_of": "2026-07-01",
        "finance": {
            "cost_of_capital": 0.08,
            "life_years": 4,
            "residual_fraction": 0.2,
            "maintenance_fraction_per_year": 0.05,
            "network_fraction": 0.1,
            "storage_fraction": 0.02,
            "integration_fraction": 0.03,
            "staff_usd_per_kw_year": 150,
            "licence_usd_per_gpu_year": 100,
        },
        "systems": ["a100_sxm_8", "h100_sxm_8", "h200_sxm_8"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [turn],
                "demand": {"requests_per_s": 150, "peak_to_mean": 2, "peak_hours_per_day": 3},
            }
        ],
        "sites": [
            hall(id="north", power_is_contracted=True, power_usd_per_kw_year=20),
            hall(id="south", electricity_usd_per_kwh=0.2, pue=1.5, hosting_usd_per_kw_month=80),
        ],
        "offers": [
            buy("h100_sxm_8", 200_000, sites=["north"], supply=2),
            {
                "id": "old", "system": "h100_sxm_8", "kind": "owned", "supply": 1,
                "sites": ["south"],
            },
            {
                "id": "lease", "system": "h200_sxm_8", "kind": "rent", "supply": 1,
                "price_usd_per_gpu_h": 0.9, "sites": ["south"],
            },
        ],
        "apis": [
            {
                "id": "api", "workload": "chat", "region": "eu", "usd_per_mtok_input": 0.5,
                "usd_per_mtok_output": 1.5, "usd_per_request": 0.00001, "slo_attested": True,
            }
        ],
        "columns": [
            column("chat", "h100_sxm_8", 20.0),
            column("chat", "h200_sxm_8", 30.0),
        ],
        "solver": {"gap": 0.0},
    }  # fmt: skip


Change = tuple[str, float, Callable[[Json], None]]


def _set(value: float, *path: Any) -> Callable[[Json], None]:
    def change(data: Json) -> None:
        at: Any = data
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


CHANGES: list[Change] = [
    ("buy h100_sxm_8: USD per system", 180_000, _set(180_000, "offers", 0, "price_usd_per_system")),
    ("Cost of capital, a year", 0.11, _set(0.11, "finance", "cost_of_capital")),
    ("north: electricity, USD per kWh", 0.13, _set(0.13, "sites", 0, "electricity_usd_per_kwh")),
    ("south: PUE", 1.25, _set(1.25, "sites", 1, "pue")),
    ("api: USD per million output tokens", 1.7, _set(1.7, "apis", 0, "usd_per_mtok_output")),
    ("lease: USD per accelerator-hour", 0.95, _set(0.95, "offers", 2, "price_usd_per_gpu_h")),
    ("Economic life, years", 3, _set(3, "finance", "life_years")),
    (
        "north: contracted power, USD per kW and year",
        30,
        _set(30, "sites", 0, "power_usd_per_kw_year"),
    ),
]


def plan_of(changes: Callable[[Json], None] | None = None) -> Plan:
    data = copy.deepcopy(everything())
    if changes is not None:
        changes(data)
    return optimize_fleet(data)


def mix(plan: Plan) -> list[tuple[str, str, int]]:
    return [(row.site, row.offer, row.count) for row in plan.systems]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of()


@pytest.fixture(scope="module")
def explained(plan: Plan) -> Explanation:
    return explain(plan, scenario=everything(), parts=["ranges"])


@pytest.fixture(scope="module")
def recalculated(
    plan: Plan, explained: Explanation, tmp_path_factory: pytest.TempPathFactory
) -> list[Any]:
    """The workbook and one with each change, calculated by LibreOffice from their formulas alone.

    openpyxl writes formulas without their values, so that every value read is a calculated one.
    """
    if SOFFICE is None:
        pytest.skip("LibreOffice is not installed")
    folder = tmp_path_factory.mktemp("books")
    (folder / "out").mkdir()
    names = []
    low, high = ends(explained)
    beyond = [(CHANGES[0][0], usd, CHANGES[0][2]) for usd in (0.999 * low, 1.001 * high)]
    for i, change in enumerate([None, *CHANGES, *beyond]):
        book = openpyxl.load_workbook(io.BytesIO(workbook(plan, explained)))
        if change is not None:
            input_row(book, change[0])[1].value = change[1]
        names.append(folder / f"{i}.xlsx")
        book.save(names[-1])
    convert(names, folder)
    return [openpyxl.load_workbook(folder / "out" / n.name, data_only=True) for n in names]


def convert(files: list[Path], folder: Path) -> None:
    """Calculates workbooks anew. With a shared profile a second LibreOffice would end silently."""
    command = [
        str(SOFFICE), f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless",
        "--convert-to", "xlsx", "--outdir", str(folder / "out"), *map(str, files),
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(folder)}
    subprocess.run(command, check=True, capture_output=True, timeout=240, env=environment)


def input_row(book: Any, label: str) -> Any:
    rows = [row for row in book["Inputs"].iter_rows() if row[0].value == label]
    assert len(rows) == 1, label
    return rows[0]


def summary(book: Any, label: str) -> Any:
    return next(row[1].value for row in book["Summary"].iter_rows() if row[0].value == label)


def test_recalculated_it_is_the_plan_to_a_cent(plan: Plan, recalculated: list[Any]) -> None:
    book = recalculated[0]
    assert summary(book, "USD a year") == pytest.approx(plan.annual_cost_usd, abs=0.005)
    assert summary(book, "Paid up front, USD") == pytest.approx(plan.capex_usd, abs=0.005)
    assert summary(book, "USD per million output tokens") == pytest.approx(
        plan.cost_per_mtok_output_usd, abs=1e-6
    )
    assert summary(book, "Figures agree with the plan") == "yes"
    for item, usd in plan.cost_items.items():
        name = item_name(item)
        assert summary(book, name[:1].upper() + name[1:]) == pytest.approx(usd, abs=0.005), item


def test_every_formula_has_the_value_that_is_stored(
    plan: Plan, explained: Explanation, recalculated: list[Any]
) -> None:
    """What a preview shows without calculating is what a calculation gives."""
    made = workbook(plan, explained)
    stored = openpyxl.load_workbook(io.BytesIO(made), data_only=True)
    formulas = openpyxl.load_workbook(io.BytesIO(made))
    compared = 0
    for sheet in formulas:
        for row in sheet.iter_rows():
            for cell in row:
                if cell.data_type == "f":
                    told = stored[sheet.title][cell.coordinate].value
                    found = recalculated[0][sheet.title][cell.coordinate].value
                    where = f"{sheet.title}!{cell.coordinate}: {cell.value}"
                    if isinstance(found, int | float):
                        assert told == pytest.approx(found, rel=1e-9, abs=1e-9), where
                    else:
                        assert (told or None) == (found or None), where
                    compared += 1
    assert compared > 150
    assert all(not str(c.value).startswith("#") for s in recalculated[0] for r in s for c in r)


@pytest.mark.parametrize("i", range(len(CHANGES)), ids=[label for label, _, _ in CHANGES])
def test_a_changed_input_gives_the_cost_of_a_fresh_plan(
    i: int, plan: Plan, recalculated: list[Any]
) -> None:
    fresh = plan_of(CHANGES[i][2])
    assert mix(fresh) == mix(plan), "the change is too large for this test: the mix is another"
    book = recalculated[i + 1]
    assert fresh.annual_cost_usd != pytest.approx(plan.annual_cost_usd, abs=1.0)
    assert summary(book, "USD a year") == pytest.approx(fresh.annual_cost_usd, abs=0.005)
    assert summary(book, "Paid up front, USD") == pytest.approx(fresh.capex_usd, abs=0.005)
    assert summary(book, "Figures agree with the plan") == "inputs changed"
    flow = {row[0].value: row[3].value for row in book["Cash flow"].iter_rows()}
    assert flow["They are equal"] == "yes"
    assert flow["The same as an annuity, USD a year"] == pytest.approx(
        fresh.annual_cost_usd, abs=0.01
    )


def test_beyond_its_range_a_price_asks_for_a_new_run(
    plan: Plan, explained: Explanation, recalculated: list[Any]
) -> None:
    """The range that stands beside the price is that of fresh plans: inside the mix is the same,
    and outside it is another, on both sides. (A plan takes a simpler mix that costs hardly more, so
    that a plan very near an end says nothing.)"""
    label = CHANGES[0][0]
    low, high = ends(explained)
    assert 0 < low < CHANGES[0][1] < 200_000 < high
    assert explained.same_systems
    for book, said in (
        (recalculated[0], None),
        (recalculated[1], STILL_BEST),
        (recalculated[-2], RUN_AGAIN),
        (recalculated[-1], RUN_AGAIN),
    ):
        row = input_row(book, label)
        assert [row[4].value, row[5].value] == pytest.approx([low, high])
        assert (row[6].value or None) == said
    for usd, same in (
        (0.97 * low, False), (1.03 * low, True), (0.97 * high, True), (1.03 * high, False),
    ):  # fmt: skip
        fresh = plan_of(_set(usd, "offers", 0, "price_usd_per_system"))
        assert (mix(fresh) == mix(plan)) == same, usd


def test_each_price_of_an_api_has_a_range(plan: Plan, explained: Explanation) -> None:
    """For output tokens up to 41 % more, and down to nothing: there fresh plans send the API the
    same requests, and beyond it fewer."""
    rows = {row.field: row for row in explained.ranges if row.kind == "api"}
    assert set(rows) == {"usd_per_mtok_input", "usd_per_mtok_output", "usd_per_request"}
    found = rows["usd_per_mtok_output"]
    assert found.low_factor == 0.0 and found.high_factor is not None
    today = sent(plan)
    for factor, same in ((0.0, True), (0.97 * found.high_factor, True),
                         (1.03 * found.high_factor, False)):  # fmt: skip
        fresh = plan_of(_set(1.5 * factor, "apis", 0, "usd_per_mtok_output"))
        assert (sent(fresh) == pytest.approx(today, rel=1e-6)) == same, factor
        assert sent(fresh) < 1.000001 * today


def sent(plan: Plan) -> float:
    return sum(row.requests_per_year for row in plan.routing if row.api is not None)


def test_without_ranges_the_sheet_says_so(plan: Plan, explained: Explanation) -> None:
    other = explained.model_copy(update={"same_systems": False})
    for why, said in ((None, NO_RANGES), (other, OTHER_MIX)):
        book = openpyxl.load_workbook(io.BytesIO(workbook(plan, why)))
        assert input_row(book, CHANGES[0][0])[4].value == "not computed"
        assert any(row[0].value == said for row in book["Inputs"].iter_rows())


def ends(explained: Explanation) -> tuple[float, float]:
    """The least and the largest price of what is bought at which the mix is the best."""
    found = next(row for row in explained.ranges if row.name.startswith("buy "))
    assert found.high_factor is not None and found.price is not None
    return found.low_factor * found.price, found.high_factor * found.price


def test_the_scenario_of_this_test_has_everything(plan: Plan) -> None:
    assert {row.kind for row in plan.systems} == {"owned", "buy", "rent"}
    assert set(plan.cost_items) >= {
        "capex_annuity", "residual_credit", "maintenance", "staff", "licences", "hosting",
        "rental", "energy", "api_tokens", "contracted_power",
    }  # fmt: skip


@pytest.mark.parametrize("seed", (7000, 7001, *range(7003, 7009), 7010, 7011))
def test_the_formulas_of_random_scenarios_are_their_plans(seed: int, tmp_path: Path) -> None:
    """Offers of every kind, spares, shortfalls and contracts: nothing is left without a formula."""
    drawn = Draw(seed)
    data = drawn.scenario()
    catalog = tmp_path / "own.json"
    catalog.write_text(json.dumps({"systems": drawn.systems}))
    data |= {"catalog": [str(catalog)], "solver": {"time_limit_s": 5}}
    try:
        found = optimize_fleet(data)
    except TokenfleetError:
        return  # what cannot be planned is another test's matter
    book = Book(found)
    inputs = Inputs(found)
    inputs.write(book, {})
    totals = Order(book, inputs).write()
    assert not {"other", "rest"} & set(totals.items)
    assert totals.annual.value == pytest.approx(found.annual_cost_usd, abs=0.005)
    assert totals.capex.value == pytest.approx(found.capex_usd, abs=0.005)


def test_what_no_input_explains_stands_apart(plan: Plan) -> None:
    """A dollar of an unknown kind is neither lost nor hidden in a formula."""
    items = {**plan.systems[0].cost_items_usd, "toll": 1234.0}
    odd = plan.systems[0].model_copy(
        update={"cost_items_usd": items, "annual_cost_usd": sum(items.values())}
    )
    more = plan.model_copy(
        update={
            "systems": (odd, *plan.systems[1:]),
            "annual_cost_usd": plan.annual_cost_usd + 1234.0,
        }
    )
    book = openpyxl.load_workbook(io.BytesIO(workbook(more)), data_only=True)
    assert summary(book, "Follows no input") == pytest.approx(1234.0)
    assert summary(book, "USD a year") == pytest.approx(more.annual_cost_usd)


def test_what_the_page_says_beside_the_plan_is_in_the_workbook(
    plan: Plan, explained: Explanation
) -> None:
    """Each way alone, what was explored, why this plan, and all that was explained."""
    way = Way(name="rent 3 years", objective_value=1.1 * plan.objective_value, gap=0.0, gpus=8,
              difference_relative=0.1, annual_cost_usd=1.0, capex_usd=0.0)  # fmt: skip
    none = way.model_copy(update={"name": "API", "objective_value": None})
    usd = plan.objective_value
    proven = "re-solved and proven"
    today = Resolved(objective_value=usd, annual_cost_usd=usd, capex_usd=0.0, systems={},
                     running_usd_per_year=usd, resale_usd_per_year=0.0,
                     cost_per_mtok_output_usd=1.0, how=proven)  # fmt: skip
    dearer = today.model_copy(update={"objective_value": 1.2 * usd})
    swing = Swing(input="price.lease", by=0.2, value_low=0.9 * usd, value_high=None,
                  swing=0.1 * usd, mix_changes_low=False, mix_changes_high=True,
                  how=proven)  # fmt: skip
    found = Exploration(
        today=today,
        alternatives=(
            Alternative(name="only buying", accelerator=None, plan=dearer, reason=None),
            Alternative(name="only renting", accelerator=None, plan=None, reason="none fits"),
        ),
        frontier=(Relaxed(factor=0.5, plan=dearer), Relaxed(factor=0.6, plan=None)),
        sensitivity=(swing,),
        notes=("2 of 9 plans were not solved in the time given",),
        seconds=1.0,
    )
    more = plan.model_copy(update={"ways": (way, none), "exploration": found})
    book = openpyxl.load_workbook(io.BytesIO(workbook(more, explained)), data_only=True)
    rows = {row[0].value: [cell.value for cell in row[1:5]] for row in book["Alternatives"]}
    unit = plan.objective_unit
    assert rows["rent 3 years alone"] == [pytest.approx(1.1 * usd), 0.1, unit, "–"]
    assert rows["API alone"][3] == "no plan was found in the time given"
    assert rows["only buying"][:2] == pytest.approx([1.2 * usd, 0.2])
    assert rows["only renting"][3] == "none fits"
    assert rows["every latency limit at 50 %"][1] == pytest.approx(0.2)
    assert rows["Price of lease, 20 % less"][1] == pytest.approx(-0.1)
    assert rows["Price of lease, 20 % more"][3] == "no plan"
    assert "2 of 9 plans were not solved in the time given" in rows
    assert any(str(name).startswith("largest cost") for name in rows)
    assert "Prices between which it stays the best" in rows
    head = [cell.value for row in book["Latency"].iter_rows(min_row=4, max_row=4) for cell in row]
    assert head[4:7] == ["Promised, ms", "Expected, ms", "Limit, ms"]


def test_names_are_never_formulas_or_links() -> None:
    data = everything()
    data["name"] = EVIL[0]
    data["sites"][0]["id"] = EVIL[1]
    data["offers"][0] |= {"sites": [EVIL[1]], "id": EVIL[3]}
    data["apis"][0]["id"] = EVIL[2]
    data["workloads"][0]["id"] = data["apis"][0]["workload"] = EVIL[4]
    data["workloads"][0]["classes"][0]["id"] = EVIL[5]
    for row in data["columns"]:
        row |= {"workload": EVIL[4], "class": EVIL[5]}
    book = openpyxl.load_workbook(io.BytesIO(workbook(optimize_fleet(data))))
    assert tuple(book.sheetnames) == SHEETS
    shown = set()
    for sheet in book:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.hyperlink is None
                shown |= {evil for evil in EVIL if evil in str(cell.value)}
                if cell.data_type == "f":
                    assert not any(evil in str(cell.value) for evil in EVIL), cell.value
    assert shown == set(EVIL)


def test_the_same_plan_gives_the_same_bytes(plan: Plan) -> None:
    assert workbook(plan) == workbook(plan)


def test_many_rows_take_no_formula_that_is_too_long(plan: Plan) -> None:
    """800 lines: a spreadsheet takes formulas of 8,192 characters, and rules for few blocks."""
    one = plan.systems[-1]
    rows = tuple(one.model_copy(update={"offer": f"o{i}"}) for i in range(800))
    made = zipfile.ZipFile(io.BytesIO(workbook(plan.model_copy(update={"systems": rows}))))
    sheets = [made.read(f"xl/worksheets/sheet{i}.xml").decode() for i in range(1, len(SHEETS) + 1)]
    assert max(len(f) for text in sheets for f in re.findall(r"<f>(.*?)</f>", text)) < 500
    assert sum(text.count("<dataValidation ") for text in sheets) < 20


def test_arithmetic_keeps_its_brackets() -> None:
    a, b, c = Cell("A1", 2.0), Cell("B1", 3.0), Cell("C1", 4.0)
    found = (a + b) * c - (a - b) / (b * c)
    assert found.text == "(A1+B1)*C1-(A1-B1)/(B1*C1)"
    assert found.value == 20.0 + 1.0 / 12.0
    assert (a - (b - c)).text == "A1-(B1-C1)" and (-(a * b)).text == "-(A1*B1)"
    assert (a / (b / c)).text == "A1/(B1/C1)" and (a * -1.5).text == "A1*(-1.5)"
    assert (a / Expression("0", 0.0)).value == 0.0
    assert total([]).value == 0.0
    # 10 % over 5 years, as in the textbook; without interest a fifth.
    assert sinking_fund(Cell("r", 0.1), Cell("n", 5.0)).value == pytest.approx(0.1637974808)
    assert sinking_fund(Cell("r", 0.0), Cell("n", 5.0)).value == 0.2


def test_the_command_writes_it_and_names_the_ending(plan: Plan, tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    saved.write_text(json.dumps(plan.to_json()))
    file = tmp_path / "plan.xlsx"
    done = run("report", saved, "-o", file)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == workbook(plan)
    assert run("report", saved, "-o", file).returncode == 2
    wrong = run("report", saved, "-o", tmp_path / "plan.doc")
    assert wrong.returncode == 2 and ".xlsx" in wrong.stderr
    with pytest.raises(SchemaError):
        plan.report(tmp_path / "plan.doc")


def test_the_command_takes_an_explanation(
    plan: Plan, explained: Explanation, tmp_path: Path
) -> None:
    saved, why = tmp_path / "plan.json", tmp_path / "why.json"
    saved.write_text(json.dumps(plan.to_json()))
    why.write_text(json.dumps(explained.to_json()))
    done = run("report", saved, "-o", tmp_path / "plan.xlsx", "--explained", why)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plan.xlsx").read_bytes() == workbook(plan, explained)
    assert run("report", saved, "-o", tmp_path / "a.xlsx", "--explained", saved).returncode == 2
