"""Summary, cash flow and sensitivity: what a finance department reads, all of it live."""

from __future__ import annotations

import math
from itertools import count

from tokenfleet.plan.rows import Plan
from tokenfleet.report import sheets, words
from tokenfleet.report.workbook.book import ACCENT, INK, LINE, Book, Sheet, address
from tokenfleet.report.workbook.expression import Expression, sinking_fund, sum_of
from tokenfleet.report.workbook.inputs import Inputs
from tokenfleet.report.workbook.order import Totals

_LEAST_YEARS = 10  # rows of the cash flow, so that a longer life can be tried
_PRICE_STEPS = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
_TARIFF_STEPS = (-0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
_CAPITAL = ("capex_annuity", "residual_credit")
_GREEN, _WHITE, _ORANGE = "#CFE8DF", "#FFFFFF", "#F3D9C8"


def write_summary(book: Book, sheet: Sheet, inputs: Inputs, totals: Totals) -> None:
    """What a token costs now, in the plan, and the difference; cost by item with a chart."""
    plan = book.plan
    sheet.of.set_row(1, 18)
    sheet.row = 3
    sheet.text(0, sheets.SUMMARY_NOTE, "note")
    sheet.row = 4
    sheet.head(["", "Now", "In the plan", "Change"])
    rows = [
        ("USD per million output tokens", _per(totals.annual, plan.tokens_per_year_output), "usd4"),
        ("USD a year", totals.annual, "usd"),
        (
            "USD per million tokens, input counted",
            _per(totals.annual, plan.tokens_per_year_total),
            "usd4",
        ),
        ("Paid up front, USD", totals.capex, "usd"),
    ]
    if inputs.has_finance:
        life = inputs["finance", "life_years"]
        rows.append(("Over the economic life, USD", totals.annual * life, "usd"))
    for i, (label, now, form) in enumerate(rows):
        if now is not None:
            compared(sheet, label, now, form, "big" if i == 0 else "plain")
    for label, value in (
        ("Output tokens a year, million", plan.tokens_per_year_output / 1e6),
        ("Accelerators", plan.gpus),
    ):
        sheet.text(0, label)
        sheet.number(1, value, "count")
        sheet.row += 1
    sheet.text(0, "Proof")
    sheet.text(1, words.status_words(plan))
    sheet.row += 1
    _agreement(sheet, totals, plan)
    _by_item(book, sheet, totals, plan)


def _per(annual: Expression, tokens: float) -> Expression | None:
    return annual / (tokens / 1e6) if tokens else None


def compared(
    sheet: Sheet, label: str, now: Expression, form: str, look: str = "plain"
) -> Expression:
    """A figure now, in the plan, and the relative change; both are equal when it is written."""
    sheet.text(0, label, "bold" if look == "big" else look)
    cell = sheet.formula(1, now, form, look)
    sheet.number(2, now.value, form, "soft" if look == "plain" else look)
    then = sheet.at(2, now.value)
    change = Expression(f"IF({then.text}=0,0,{cell.text}/{then.text}-1)", 0.0)
    sheet.formula(3, change, "change")
    sheet.row += 1
    return cell


def _agreement(sheet: Sheet, totals: Totals, plan: Plan) -> None:
    """Whether the sheet still says what the plan said: yes, inputs changed, or NO."""
    inputs = sheet.book.sheets["Inputs"]
    last = inputs.row
    now, then = (f"{address(0, c, 'Inputs')}:{address(last, c)}" for c in (1, 2))
    changed = f"SUMPRODUCT(--({now}<>{then}))>1"  # the titles of the columns differ
    same = f"ABS({totals.annual.text}-{plan.annual_cost_usd:.17g})<0.01"
    agrees = abs(totals.annual.value - plan.annual_cost_usd) < 0.01
    sheet.text(0, "Figures agree with the plan")
    formula = f'IF({changed},"inputs changed",IF({same},"yes","NO"))'
    sheet.words(1, formula, "yes" if agrees else "NO", "bold right")
    sheet.row += 1


def _by_item(book: Book, sheet: Sheet, totals: Totals, plan: Plan) -> None:
    sheet.section("Cost a year by item")
    sheet.head(["Item", "Now", "In the plan", "Change"])
    first = sheet.row
    items = sorted(totals.items.items(), key=lambda item: -item[1].value)
    shown = [(name, cell) for name, cell in items if cell.value or plan.cost_items.get(name)]
    for name, cell in shown:
        said = words.item_name(name) if name != "other" else sheets.NO_INPUT
        compared(sheet, said[:1].upper() + said[1:], cell, "usd")
    last = sheet.row - 1
    sheet.text(0, "Together", "total")
    whole = sum_of(address(first, 1), address(last, 1), sum(cell.value for _, cell in shown))
    sheet.formula(1, whole, "usd", "total")
    sheet.number(2, plan.annual_cost_usd, "usd", "total")
    sheet.text(3, "", "total")
    sheet.row += 2
    if shown:
        bar_chart(book, sheet, first, last)


def bar_chart(book: Book, sheet: Sheet, first: int, last: int) -> None:
    """Bars of the amounts in rows of the summary, beside their names."""
    chart = book.of.add_chart({"type": "bar"})
    font = {"name": "Arial", "size": 9, "color": INK}
    chart.add_series(
        {
            "name": "USD a year",
            "categories": ["Summary", first, 0, last, 0],
            "values": ["Summary", first, 1, last, 1],
            "fill": {"color": ACCENT},
            "gap": 45,
            "data_labels": {"value": True, "num_format": '"$"#,##0', "font": font},
        }
    )
    chart.set_title({"none": True})
    chart.set_legend({"none": True})
    chart.set_y_axis(
        {
            "reverse": True,
            "num_font": font,
            "line": {"color": LINE},
            "label_position": "low",
            "major_tick_mark": "none",
        }
    )
    chart.set_x_axis({"visible": False, "major_gridlines": {"visible": False}})
    chart.set_size({"width": 760, "height": 60 + 34 * (last - first + 1)})
    chart.set_chartarea({"border": {"none": True}})
    sheet.of.insert_chart(
        sheet.row, 0, chart, {"description": "Bars: the amounts of the table above"}
    )


def write_cash_flow(book: Book, inputs: Inputs, totals: Totals) -> None:
    """Year by year, discounted, and its annuity, which is the plan's yearly cost."""
    sheet = book.sheet("Cash flow", sheets.CASH_NOTE, (12, 16, 16, 16, 16, 14, 16, 16))
    running = totals.annual
    for item in _CAPITAL:
        if item in totals.items:
            running = running - totals.items[item]
    if not inputs.has_finance:
        sheet.text(0, sheets.NO_PURCHASE)
        sheet.row += 1
        sheet.text(0, "USD a year")
        sheet.formula(1, totals.annual, "cents", "bold")
        return
    life, rate = inputs["finance", "life_years"], inputs["finance", "cost_of_capital"]
    sheet.text(0, "Running cost, USD a year")
    cost = sheet.formula(3, running, "cents", "bold")
    sheet.row += 1
    sheet.text(0, "Resale at the end of life, USD")
    resale = sheet.formula(
        3, totals.capex * inputs["finance", "residual_fraction"], "cents", "bold"
    )
    sheet.row += 2
    sheet.head(
        [
            "Year",
            "Purchase",
            "Running cost",
            "Resale",
            "Together",
            "Factor",
            "Discounted",
            "Summed",
        ],
        words=0,
    )
    first, summed = sheet.row, 0.0
    years = max(_LEAST_YEARS, math.ceil(life.value))
    for year in range(years + 1):
        summed = _year(sheet, year, (totals.capex, cost, resale), (life, rate), summed)
    last = sheet.row - 1
    sheet.row += 1
    sheet.text(0, "Net present cost, USD")
    present = sheet.formula(3, sum_of(address(first, 6), address(last, 6), summed), "cents", "bold")
    sheet.row += 1
    sheet.text(0, "The same as an annuity, USD a year")
    fund = sinking_fund(rate, life)
    annuity = sheet.formula(3, present * (fund + rate), "cents", "bold")
    sheet.row += 1
    sheet.text(0, "Cost a year on Order, USD")
    order = sheet.formula(3, totals.annual, "cents", "bold")
    sheet.row += 1
    sheet.text(0, "They are equal")
    whole = f"AND({life.text}=INT({life.text}),{life.text}<={years})"
    same = f"ABS({annuity.text}-{order.text})<0.01"
    formula = f'IF({whole},IF({same},"yes","NO"),"only for a life in whole years, up to {years}")'
    is_whole = life.value == int(life.value)
    agrees = "yes" if abs(annuity.value - order.value) < 0.01 else "NO"
    said = agrees if is_whole else f"only for a life in whole years, up to {years}"
    sheet.words(3, formula, said, "bold right")
    sheet.row += 1


def _year(
    sheet: Sheet,
    year: int,
    money: tuple[Expression, Expression, Expression],
    terms: tuple[Expression, Expression],
    summed: float,
) -> float:
    """One row; returns the discounted sum up to it."""
    (capex, cost, resale), (life, rate) = money, terms
    sheet.number(0, year, "count")
    at = sheet.at(0, year)
    columns = count(1)
    bought = capex.value if year == 0 else 0.0
    runs = cost.value if 0 < year <= life.value else 0.0
    back = -resale.value if year == life.value else 0.0
    parts = [
        Expression(f"IF({at.text}=0,{capex.text},0)", bought),
        Expression(f"IF(AND({at.text}>0,{at.text}<={life.text}),{cost.text},0)", runs),
        Expression(f"IF({at.text}={life.text},-{resale.text},0)", back),
    ]
    cells = [sheet.formula(next(columns), part, "usd") for part in parts]
    together = sheet.formula(4, cells[0] + cells[1] + cells[2], "usd", "bold")
    factor_value = (1.0 + rate.value) ** -year
    factor = sheet.formula(5, Expression(f"(1+{rate.text})^-{at.text}", factor_value), "figure")
    discounted = sheet.formula(6, together * factor, "usd")
    summed += discounted.value
    before = f"{address(sheet.row - 1, 7)}+" if year else ""
    sheet.formula(7, Expression(f"{before}{discounted.text}", summed), "usd")
    sheet.row += 1
    return summed


def write_sensitivity(book: Book, totals: Totals) -> None:
    """Cost of output over changes of hardware prices and of the tariff, with the mix as it is."""
    plan = book.plan
    widths = (34, *(12 for _ in _PRICE_STEPS))
    sheet = book.sheet("Sensitivity", sheets.SENSITIVITY_NOTE, widths)
    tokens = plan.tokens_per_year_output / 1e6
    unit, form = ("USD per million output tokens", "usd4") if tokens else ("USD a year", "usd")
    amounts = (
        (
            "Output tokens a year, million",
            Expression(f"{tokens or 1.0:.17g}", tokens or 1.0),
            "number",
        ),
        ("USD a year that follow hardware prices", totals.hardware, "usd"),
        ("USD a year that follow the tariff", totals.energy, "usd"),
        ("USD a year in all", totals.annual, "usd"),
    )
    cells = []
    for label, amount, form_ in amounts:
        sheet.text(0, label)
        cells.append(sheet.formula(1, amount, form_, "bold"))
        sheet.row += 1
    million, hardware, energy, annual = cells
    sheet.section(f"{unit}: hardware prices across, tariff down")
    for column, step in enumerate(_PRICE_STEPS, start=1):
        sheet.number(column, step, "change", "head right")
    prices = [sheet.at(c, step) for c, step in enumerate(_PRICE_STEPS, start=1)]
    sheet.text(0, "", "head")
    sheet.row += 1
    first = sheet.row
    for tariff in _TARIFF_STEPS:
        sheet.number(0, tariff, "change", "right")
        at = sheet.at(0, tariff)
        for column, price in enumerate(prices, start=1):
            cost = (annual + hardware * price + energy * at) / million
            sheet.formula(column, cost, form, "bold" if price.value == tariff == 0 else "plain")
        sheet.row += 1
    sheet.of.conditional_format(
        first,
        1,
        sheet.row - 1,
        len(_PRICE_STEPS),
        {"type": "3_color_scale", "min_color": _GREEN, "mid_color": _WHITE, "max_color": _ORANGE},
    )
    sheet.row += 1
    sheet.text(0, sheets.MIX_HELD, "note")
