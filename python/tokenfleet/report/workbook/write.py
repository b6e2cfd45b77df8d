"""The twelve sheets, in the order in which they are read."""

from __future__ import annotations

from tokenfleet.plan.rows import Plan
from tokenfleet.report import words
from tokenfleet.report.workbook.book import Book
from tokenfleet.report.workbook.inputs import Inputs
from tokenfleet.report.workbook.money import write_cash_flow, write_sensitivity, write_summary
from tokenfleet.report.workbook.order import Order
from tokenfleet.report.workbook.tables import write_tables


def workbook(plan: Plan) -> bytes:
    """The plan as an .xlsx file: the same plan gives the same bytes."""
    book = Book(plan)
    widths = (44, 18, 18, 12, 12, 12, 12)
    summary = book.sheet("Summary", words.headline(plan), widths, title=plan.name)
    summary.of.fit_to_pages(1, 1)
    inputs = Inputs(plan)
    inputs.write(book, stays_best(plan))
    totals = Order(book, inputs).write()
    write_summary(book, summary, inputs, totals)
    write_cash_flow(book, inputs, totals)
    write_sensitivity(book, totals)
    write_tables(book)
    return book.close()


def stays_best(plan: Plan) -> dict[str, tuple[float, float]]:
    """By path of an input: the range in which the mix of the plan stays the best one.

    Empty where the plan was made without them.
    """
    del plan  # no plan carries them yet
    return {}
