"""The twelve sheets, in the order in which they are read."""

from __future__ import annotations

from tokenfleet.explanation.rows import Explanation
from tokenfleet.plan.rows import Plan
from tokenfleet.report import sheets, words
from tokenfleet.report.workbook.book import Book
from tokenfleet.report.workbook.inputs import Ends, Inputs, Key
from tokenfleet.report.workbook.money import write_cash_flow, write_sensitivity, write_summary
from tokenfleet.report.workbook.order import Order
from tokenfleet.report.workbook.over_time import write_over_time
from tokenfleet.report.workbook.tables import write_tables


def workbook(plan: Plan, explained: Explanation | None = None) -> bytes:
    """The plan as an .xlsx file: the same plan gives the same bytes.

    `explained` has the prices at which the plan changes; without it the sheet says that they were
    not computed.
    """
    book = Book(plan)
    widths = (44, 18, 18, 12, 12, 12, 12)
    summary = book.sheet("Summary", words.headline(plan), widths, title=plan.name)
    summary.of.fit_to_pages(1, 1)
    if plan.horizon is not None:
        write_over_time(book, summary, plan.horizon)
        write_tables(book, explained)
        return book.close()
    inputs = Inputs(plan)
    inputs.write(book, *price_ranges(explained))
    totals = Order(book, inputs).write()
    write_summary(book, summary, inputs, totals)
    write_cash_flow(book, inputs, totals)
    write_sensitivity(book, totals)
    write_tables(book, explained)
    return book.close()


def price_ranges(explained: Explanation | None) -> tuple[dict[Key, Ends], str]:
    """By key of an input: the factors on its price between which the mix stays the best; and what
    is to be said of them."""
    proven = () if explained is None else [row for row in explained.ranges if not row.within]
    if explained is None or not proven:
        return {}, sheets.NO_RANGES
    if not explained.same_systems:
        return {}, sheets.OTHER_MIX
    found: dict[Key, Ends] = {}
    for row in proven:
        if row.kind == "offer":
            found["price", row.name] = (row.low_factor, row.high_factor)
        elif row.kind == "api" and row.field is not None:
            found["api", row.name, row.field] = (row.low_factor, row.high_factor)
    return found, sheets.PRICE_RANGES
