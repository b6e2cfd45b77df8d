"""The twelve sheets, in the order in which they are read."""

from __future__ import annotations

from tokenfleet.explanation.rows import Explanation
from tokenfleet.plan.rows import Plan
from tokenfleet.report import words
from tokenfleet.report.workbook.book import Book
from tokenfleet.report.workbook.inputs import Inputs
from tokenfleet.report.workbook.money import write_cash_flow, write_sensitivity, write_summary
from tokenfleet.report.workbook.order import Order
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
    inputs = Inputs(plan)
    inputs.write(book, leaving_prices(explained))
    totals = Order(book, inputs).write()
    write_summary(book, summary, inputs, totals)
    write_cash_flow(book, inputs, totals)
    write_sensitivity(book, totals)
    write_tables(book, explained)
    return book.close()


def leaving_prices(explained: Explanation | None) -> dict[str, float]:
    """By offer: the price above which it leaves the best plan."""
    return {
        row.name: row.flip_price
        for row in (explained.flip if explained else ())
        if row.kind == "offer" and row.verdict == "leaves" and row.flip_price is not None
    }
