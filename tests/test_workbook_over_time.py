"""The workbook of a plan over time: recalculated it is the plan, and with other prices another."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from scenarios import buy
from test_horizon_scenario import NEWS, over, scenario
from test_workbook import SOFFICE, convert, input_row, summary
from tokenfleet import Plan
from tokenfleet.report.workbook.write import workbook

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("xlsxwriter")
Json = dict[str, Any]
SHEETS = [
    "Summary", "Inputs", "Orders", "Systems", "Cash flow", "Power by date", "Futures",
    "Alternatives", "Latency", "Power", "Serving", "Routing", "Sources", "Proof",
]  # fmt: skip
BOUGHT = "buy h100_sxm_8: USD per system, ordered on 2026-10-01"


def question() -> Json:
    """Two years, twice or half the demand in the second; a system to buy and one to lease."""
    data: Json = copy.deepcopy(scenario(horizon=over(2), outlooks=NEWS))
    data["offers"] = [
        buy(lead_months=3, resale=[[0, 1.0], [1, 0.82], [5, 0.1]]),
        {"id": "lease", "system": "h100_sxm_8", "kind": "rent", "term_years": 1,
         "price_usd_per_gpu_h": 1.9},
    ]  # fmt: skip
    return data


@pytest.fixture(scope="module")
def plan() -> Plan:
    return tf.optimize_fleet(question())


def dearer(by: float) -> Json:
    data = question()
    data["offers"][0]["price_usd_per_system"] *= by
    return data


def with_tariff(by: float) -> Json:
    data = question()
    data["sites"][0]["electricity_usd_per_kwh"] *= by
    return data


def with_rate(rate: float) -> Json:
    data = question()
    data["finance"]["cost_of_capital"] = rate
    return data


def orders(plan: Plan) -> list[tuple[str, float, str]]:
    assert plan.horizon is not None
    return [(o.offer, o.count, o.order_on.isoformat()) for o in plan.horizon.orders]


def npv(plan: Plan) -> float:
    assert plan.horizon is not None
    return plan.horizon.npv_usd


def test_the_sheets_and_their_stored_values_are_the_plan(plan: Plan) -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbook(plan)), data_only=True)
    assert book.sheetnames == SHEETS
    assert summary(book, "Worth today of all cash, USD") == pytest.approx(npv(plan), abs=0.01)
    assert plan.horizon is not None
    assert [row[4].value for row in book["Power by date"].iter_rows(min_row=5)] == pytest.approx(
        [site.provisioned_kw for p in plan.horizon.periods for site in p.sites]
    )
    dates = [row[0].value.date() for row in book["Orders"].iter_rows(min_row=5) if row[2].value]
    assert dates == [o.order_on for o in plan.horizon.orders]
    assert workbook(plan) == workbook(plan)


def test_recalculated_it_is_the_plan_and_with_changed_inputs_a_fresh_one(
    plan: Plan, tmp_path: Path
) -> None:
    """A purchase price with the resale and maintenance that follow it, the tariff, the discount
    rate: each to a cent what a fresh plan of the changed scenario costs, with the same orders."""
    if SOFFICE is None:
        pytest.skip("LibreOffice is not installed")
    now = input_row(openpyxl.load_workbook(io.BytesIO(workbook(plan))), BOUGHT)[1].value
    rate = question()["finance"]["cost_of_capital"]
    changes = [
        None,
        (BOUGHT, now * 0.97, dearer(0.97)),
        (BOUGHT, now * 1.02, dearer(1.02)),
        ("Energy, times the plan's", 1.2, with_tariff(1.2)),
        ("Discount rate, a year", rate + 0.01, with_rate(rate + 0.01)),
    ]
    (tmp_path / "out").mkdir()
    names = []
    for i, change in enumerate(changes):
        book = openpyxl.load_workbook(io.BytesIO(workbook(plan)))
        if change is not None:
            input_row(book, change[0])[1].value = change[1]
        names.append(tmp_path / f"{i}.xlsx")
        book.save(names[-1])
    convert(names, tmp_path)
    for change, name in zip(changes, names, strict=True):
        book = openpyxl.load_workbook(tmp_path / "out" / name.name, data_only=True)
        fresh = plan if change is None else tf.optimize_fleet(change[2])
        assert orders(fresh) == orders(plan)
        label = "Worth today of all cash, USD"
        assert summary(book, label) == pytest.approx(npv(fresh), abs=0.01), change
        assert fresh.horizon is not None
        levelised = summary(book, "The same a year, levelised, USD")
        assert levelised == pytest.approx(fresh.horizon.levelised_usd_per_year, abs=0.01)
        said = summary(book, "Figures agree with the plan")
        assert said == ("yes" if change is None else "inputs changed")
        cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
        assert not [c for c in cells if isinstance(c.value, str) and c.value.startswith("#")]
        futures = [row[2].value for row in book["Futures"].iter_rows(min_row=5)]
        assert futures[-1] == pytest.approx(npv(fresh), abs=0.01)
        assert futures[:-1] == pytest.approx([o.npv_usd for o in fresh.horizon.outlooks], abs=0.01)


def test_names_of_outlooks_are_text(tmp_path: Path) -> None:
    """An outlook and an offer whose names are formulas, and a star that would match any text."""
    data = question()
    data["outlooks"][1]["id"] = "=1+1*"
    data["offers"][1]["id"] = "=HYPERLINK(1)"
    book = openpyxl.load_workbook(io.BytesIO(workbook(tf.optimize_fleet(data))))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    named = [c for c in cells if isinstance(c.value, str) and "HYPERLINK" in c.value]
    assert named and all(cell.data_type == "s" for cell in named)
