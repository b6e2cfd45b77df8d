"""The sheets of a plan over periods and outlooks: orders, systems, cash and power by date.

What is ordered and held is the solver's. Prices, running costs and the discount rate may be
changed: every dollar is what the plan pays, times the change of what it follows, and the worth
today of all cash is added up from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count

from tokenfleet.plan.horizon_rows import Order, OverTime, Period
from tokenfleet.plan.rows import Plan
from tokenfleet.report import over_time, sheets, words
from tokenfleet.report.labels import capital
from tokenfleet.report.workbook.book import Book, Sheet, address
from tokenfleet.report.workbook.expression import Cell, Expression, sum_of, total
from tokenfleet.report.workbook.inputs import Given, Inputs, Key
from tokenfleet.report.workbook.money import bar_chart, compared

#: Cost items that are cash of another kind, or that follow the price of an offer.
_BY_OFFER = ("capital", "rental", "maintenance")
_CENT = 0.005
_RATE: Key = ("rate",)
_FIRST_DAY = date(1899, 12, 30)  # from which spreadsheets count

_ORDERS = (
    "Order on", "There on", "System", "Offer", "Site", "How", "Number", "Price of one, USD",
    "Paid, USD", "In the plan", "Decided",
)  # fmt: skip
_HELD = (
    "No.", "Period", "Site", "System", "Offer", "How", "In service", "Ordered", "Delivered", "Gone",
    "Bought, USD", "Sold, USD", "Prepaid, USD", "Rent and maintenance, USD a year",
    "Worth at the end, USD",
)  # fmt: skip
_FOLLOWS = {  # columns of the systems that follow the price of their offer
    "bought": 10, "sold": 11, "upfront": 12, "priced": 13, "end": 14,
}  # fmt: skip
_POWER = ("Period", "Site", "Held, kW", "Limit, kW", "Left, kW", "Share held")
_CHANCE, _FROM = 2, 3  # columns of the cash flow
_FUTURES = (
    "Outlook", "Probability", "Worth today, USD", "In the plan", "Were it known, USD",
    "Regret, USD", "Requests not served",
)  # fmt: skip


def write_over_time(book: Book, summary: Sheet, horizon: OverTime) -> None:
    """All sheets that are of time; the first is there already."""
    inputs = OverTimeInputs(book.plan, horizon)
    inputs.write(book, {}, sheets.OVER_TIME_INPUTS)
    _orders(book, inputs, horizon)
    held = _Systems(book, inputs, horizon)
    cash = _CashFlow(book, inputs, horizon, held)
    _summary(book, summary, horizon, cash)
    _power(book, horizon)
    if len(horizon.outlooks) > 1:
        _futures(book, horizon, cash)


class OverTimeInputs(Inputs):
    """The discount rate, the price of each offer, and each running cost."""

    def __init__(self, plan: Plan, horizon: OverTime) -> None:
        """Collects the figures."""
        super().__init__(plan)
        self.given = [
            Given(_RATE, "Money", "Discount rate, a year", horizon.discount_rate, "percent2", ""),
            *_prices(horizon),
            *_running(horizon),
        ]

    def times(self, *key: str) -> Expression:
        """How many times the plan's a figure is now; 1 for what is no input."""
        cell, given = self.get(*key), next((g for g in self.given if g.key == key), None)
        if cell is None or given is None or not given.value:
            return Expression("1", 1.0)
        return cell / given.value


def _prices(horizon: OverTime) -> Iterator[Given]:
    """Of each offer the price at its first order; of systems by the hour how much of today's."""
    first: dict[str, Order] = {}
    for order in horizon.orders:
        first.setdefault(order.offer, order)
    kinds = {row.offer: row.kind for p in horizon.periods for row in p.systems}
    for offer in sorted({*first, *(name for name, kind in kinds.items() if kind != "owned")}):
        key = ("price", offer)
        if offer in first and first[offer].price_usd:
            order = first[offer]
            unit = "USD a year and system" if order.kind == "rent" else "USD per system"
            label = f"{offer}: {unit}, ordered on {order.order_on.isoformat()}"
            yield Given(key, "Prices", label, order.price_usd, "usd", sheets.PRICES_MOVE)
        else:
            label = f"{offer}: price, times the plan's"
            yield Given(key, "Prices", label, 1.0, "figure", sheets.PRICES_MOVE)


def _running(horizon: OverTime) -> Iterator[Given]:
    for item in _items(horizon):
        label = f"{capital(words.item_name(item))}, times the plan's"
        yield Given(("item", item), "Running costs", label, 1.0, "figure", sheets.EVERY_PERIOD)


def _items(horizon: OverTime) -> list[str]:
    """Running costs that follow no offer's price."""
    found = {item for p in horizon.periods for item, usd in p.cost_items.items() if usd}
    return sorted(found - set(_BY_OFFER))


def _days(day: date | None) -> float | None:
    return None if day is None else float((day - _FIRST_DAY).days)


def _orders(book: Book, inputs: OverTimeInputs, horizon: OverTime) -> None:
    widths = (12, 12, 20, 20, 16, 12, 10, 16, 16, 16, 30)
    sheet = book.sheet("Orders", sheets.ORDERS_NOTE, widths)
    sheet.head(_ORDERS, words=6, frozen=True)
    first = sheet.row
    for order in horizon.orders:
        times = inputs.times("price", order.offer)
        sheet.number(0, _days(order.order_on), "date")
        sheet.number(1, _days(order.deliver_on), "date")
        told = (order.system, order.offer, order.site, words.obtained(order.kind))
        for column, text in enumerate(told, start=2):
            sheet.text(column, text)
        sheet.number(6, order.count, "figure")
        sheet.formula(7, Expression(f"{order.price_usd:.17g}", order.price_usd) * times, "usd")
        sheet.formula(8, Expression(f"{order.pay_usd:.17g}", order.pay_usd) * times, "usd", "bold")
        sheet.number(9, order.pay_usd, "usd", "soft")
        sheet.text(10, "now" if order.decided == "now" else over_time.sign(order), "inset")
        sheet.row += 1
    last = sheet.row - 1
    sheet.text(0, "Together, whatever comes and if", "total")
    for column in range(1, len(_ORDERS)):
        sheet.text(column, "", "total")
    if horizon.orders:
        paid = sum(order.pay_usd for order in horizon.orders)
        sheet.formula(8, sum_of(address(first, 8), address(last, 8), paid), "usd", "total")
        sheet.number(9, paid, "usd", "total")
    sheet.row += 1


class _Systems:
    """What stands in each period, and its cash that follows the price of its offer."""

    def __init__(self, book: Book, inputs: OverTimeInputs, horizon: OverTime) -> None:
        widths = (6, 18, 16, 18, 20, 12, *(10 for _ in range(4)), *(15 for _ in range(5)))
        sheet = book.sheet("Systems", sheets.SYSTEMS_NOTE, widths)
        sheet.head(_HELD, words=6, frozen=True)
        self.first, self.amounts = sheet.row, dict[tuple[str, int], float]()
        for number, period in enumerate(horizon.periods):
            for row in period.systems:
                sheet.number(0, number, "count", "soft")
                told = (period.period, row.site, row.system, row.offer, words.obtained(row.kind))
                for column, text in enumerate(told, start=1):
                    sheet.text(column, text)
                counts = (row.count, row.ordered, row.delivered, row.gone)
                for column, amount in enumerate(counts, start=6):
                    sheet.number(column, amount, "figure")
                paid = (
                    row.bought_usd, row.sold_usd, row.upfront_usd, row.priced_usd_per_year,
                    row.end_value_usd,
                )  # fmt: skip
                times = inputs.times("price", row.offer)
                for (name, column), usd in zip(_FOLLOWS.items(), paid, strict=True):
                    sheet.formula(column, Expression(f"{usd:.17g}", usd) * times, "usd")
                    known = self.amounts.get((name, number), 0.0)
                    self.amounts[name, number] = known + usd
                sheet.row += 1
        self.last = max(sheet.row - 1, self.first)

    def of(self, name: str, number: int, at: Expression) -> Expression:
        """The sum of a column over the systems of a period, whose number stands in `at`."""
        numbers, usd = (
            f"{address(self.first, c, 'Systems')}:{address(self.last, c)}"
            for c in (0, _FOLLOWS[name])
        )
        value = self.amounts.get((name, number), 0.0)
        return Expression(f"SUMIF({numbers},{at.text},{usd})", value)


@dataclass(frozen=True)
class _Row:
    """Cells of a period that others add up."""

    period: Period
    until: Expression  # worth today of its cash and that of all periods before it
    amounts: dict[str, tuple[int, float]]  # column and value of what is averaged


class _CashFlow:
    """Cash of each period, discounted, and what it comes to."""

    def __init__(
        self, book: Book, inputs: OverTimeInputs, horizon: OverTime, held: _Systems
    ) -> None:
        items = _items(horizon)
        titles = [
            "No.", "Period", "Probability", "From", "To", "Years to it", "Years to its end",
            "Bought", "Sold", "Prepaid", "Rent and maintenance a year",
            *(f"{capital(words.item_name(item))} a year" for item in items),
            sheets.NO_INPUT, "Cash of the period", "Worth at the end", "Factor at its start",
            "Factor at its end", "Discounted years", "Worth today", "Worth until then",
            "Million tokens out", "Discounted",
        ]  # fmt: skip
        widths = (6, 20, 11, 11, 11, 8, 8, *(15 for _ in titles[7:]))
        self.sheet = book.sheet("Cash flow", sheets.OVER_TIME_CASH, widths)
        self.sheet.head(titles, words=2, frozen=True)
        self.sheet.of.fit_to_pages(2, 0)  # 22 columns on one page could not be read
        self.sheet.of.repeat_columns(0, 1)
        self.inputs, self.horizon, self.held, self.items = inputs, horizon, held, items
        self.owned = Expression(f"{horizon.owned_at_start_usd:.17g}", horizon.owned_at_start_usd)
        self.first, self.rows = self.sheet.row, dict[str, _Row]()
        start = horizon.periods[0].start
        for number, period in enumerate(horizon.periods):
            self.rows[period.period] = self._row(number, period, start)

    def _row(self, number: int, period: Period, start: date) -> _Row:
        sheet, rate, columns = self.sheet, self.inputs[_RATE], count()
        averaged: dict[str, tuple[int, float]] = {}

        def put(
            given: Expression, form: str = "usd", look: str = "plain", name: str = ""
        ) -> Expression:
            column = next(columns)
            if name:
                averaged[name] = (column, given.value)
            return sheet.formula(column, given, form, look)

        def known(value: float | None, form: str) -> Expression:
            column = next(columns)
            sheet.number(column, value, form, "soft")
            return sheet.at(column, value or 0.0)

        at = known(number, "count")
        sheet.text(next(columns), period.period)
        known(period.probability, "percent")
        known(_days(period.start), "date")
        known(_days(period.end), "date")
        begins = known(_years(start, period.start), "figure")
        ends = known(_years(start, period.end), "figure")
        bought, sold, upfront, priced = (
            put(self.held.of(name, number, at)) for name in ("bought", "sold", "upfront", "priced")
        )
        running = [
            put(Expression(f"{usd:.17g}", usd) * self.inputs.times("item", item))
            for item in self.items
            for usd in (period.cost_items.get(item, 0.0),)
        ]
        length = ends - begins
        yearly = total([priced, *running])
        stated = period.paid_usd + period.bought_usd - period.sold_usd
        explained = bought.value - sold.value + upfront.value + yearly.value * length.value
        left = stated - explained if abs(stated - explained) > _CENT else 0.0
        other = put(Expression(f"{left:.17g}", left))
        put(bought - sold + upfront + other + yearly * length, "usd", "bold", "cash")
        end = put(self.held.of("end", number, at))
        early, late = (put(_factor(rate, years), "figure", "soft") for years in (begins, ends))
        weight = put(_weight(rate, early, late, length), "figure", "soft", "weight")
        paid = (bought - sold + upfront) * early + (yearly + other / length) * weight
        worth = put(paid - end * late, name="worth")
        before = self.owned if period.after is None else self.rows[period.after].until
        until = put(before + worth, "usd", "soft")
        million = period.tokens_output / 1e6
        tokens = put(Expression(f"{million:.17g}", million), "count", "soft")
        put(tokens / length * weight, "count", "soft", "tokens")
        sheet.row += 1
        return _Row(period, until, averaged)

    def mean(self, name: str, year: int | None = None) -> Expression:
        """The sum of a column, each period at its probability; of those that begin in a year."""
        rows = list(self.rows.values())
        column = rows[0].amounts[name][0]
        used = [row for row in rows if year in (None, row.period.start.year)]
        value = sum(row.period.probability * row.amounts[name][1] for row in used)
        chance, begun, amount = (self._column(c) for c in (_CHANCE, _FROM, column))
        begins = "" if year is None else f"(YEAR({begun})={year})*"
        return Expression(f"SUMPRODUCT({begins}{chance}*{amount})", value)

    def years(self) -> list[int]:
        """Calendar years in which a period begins."""
        return sorted({row.period.start.year for row in self.rows.values()})

    def _column(self, column: int) -> str:
        last = self.first + len(self.rows) - 1
        return f"{address(self.first, column, 'Cash flow')}:{address(last, column)}"


def _years(start: date, day: date) -> float:
    return ((day.year - start.year) * 12 + day.month - start.month) / 12.0


def _factor(rate: Expression, years: Expression) -> Expression:
    return Expression(f"(1+{rate.text})^-{years.text}", (1.0 + rate.value) ** -years.value)


def _weight(
    rate: Expression, early: Expression, late: Expression, length: Expression
) -> Expression:
    """Discounted years of a period; its length without interest."""
    value = (early.value - late.value) / rate.value if rate.value else length.value
    text = f"IF({rate.text}=0,{length.text},({early.text}-{late.text})/{rate.text})"
    return Expression(text, value)


def _summary(book: Book, sheet: Sheet, horizon: OverTime, cash: _CashFlow) -> None:
    """What it costs now, in the plan, and the difference; what to order now; cash by year."""
    sheet.text(0, sheets.OVER_TIME_NOTE, "note")
    sheet.row += 1
    sheet.head(["", "Now", "In the plan", "Change"])
    npv, rest = cash.owned + cash.mean("worth"), 0.0
    if abs(horizon.npv_usd - npv.value) > _CENT:
        rest = horizon.npv_usd - npv.value
    npv = npv + rest
    worth = compared(sheet, "Worth today of all cash, USD", npv, "usd", "big")
    levelised = worth / cash.mean("weight")
    compared(sheet, "The same a year, levelised, USD", levelised, "usd")
    tokens = cash.mean("tokens")
    if tokens.value:
        compared(sheet, "USD per million output tokens", worth / tokens, "usd4")
    compared(sheet, "Paid over the horizon, USD", cash.mean("cash"), "usd")
    for label, usd in (
        ("Market value of what stands at the start, USD", horizon.owned_at_start_usd),
        (f"{sheets.NO_INPUT}: contracts past the horizon, USD", rest),
    ):
        if usd:
            sheet.text(0, label, "soft")
            sheet.number(1, usd, "usd", "soft")
            sheet.row += 1
    sheet.text(0, "Proof")
    sheet.text(1, words.status_words(book.plan))
    sheet.row += 1
    _agrees(sheet, worth, horizon)
    sheet.section("To be decided now")
    for line in horizon.commitments or ("order nothing",):
        sheet.text(0, line)
        sheet.row += 1
    for line in over_time.sentences(horizon):
        sheet.text(0, line, "note")
        sheet.row += 1
    sheet.section("Cash by year in which a period begins, mean of the outlooks, USD")
    sheet.head(["Year", "Now", "In the plan", "Change"])
    first = sheet.row
    for year in cash.years():
        compared(sheet, str(year), cash.mean("cash", year), "usd")
    last = sheet.row - 1
    sheet.row += 1
    bar_chart(book, sheet, first, last)


def _agrees(sheet: Sheet, worth: Expression, horizon: OverTime) -> None:
    cents = abs(worth.value - horizon.npv_usd) < 0.01
    same = f"ABS({worth.text}-{horizon.npv_usd:.17g})<0.01"
    sheet.text(0, "Figures agree with the plan")
    sheet.words(1, f'IF({same},"yes","inputs changed")', "yes" if cents else "NO", "bold right")
    sheet.row += 1


def _power(book: Book, horizon: OverTime) -> None:
    sheet = book.sheet("Power by date", sheets.POWER_BY_DATE, (22, 22, 14, 14, 14, 12, 12, 12))
    sheet.head(["From", "To", *_POWER], words=4, frozen=True)
    sheet.of.set_column(0, 1, 12)
    sheet.of.set_column(2, 3, 22)
    for period in horizon.periods:
        for site in period.sites:
            sheet.number(0, _days(period.start), "date")
            sheet.number(1, _days(period.end), "date")
            sheet.text(2, period.period)
            sheet.text(3, site.site)
            sheet.number(4, site.provisioned_kw, "figure")
            sheet.number(5, site.limit_kw, "figure")
            if site.limit_kw is None:
                sheet.number(6, None, "figure")
                sheet.number(7, None, "percent")
            else:
                held = sheet.at(4, site.provisioned_kw)
                limit = sheet.at(5, site.limit_kw)
                sheet.formula(6, limit - held, "figure")
                share = site.provisioned_kw / site.limit_kw if site.limit_kw else 0.0
                text = f"IF({limit.text}=0,0,{held.text}/{limit.text})"
                sheet.formula(7, Expression(text, share), "percent")
            sheet.row += 1


def _futures(book: Book, horizon: OverTime, cash: _CashFlow) -> None:
    sheet = book.sheet("Futures", sheets.FUTURES_NOTE, (26, 12, 18, 18, 18, 16, 18))
    sheet.head(_FUTURES, frozen=True)
    for outlook, leaf in zip(horizon.outlooks, _leaves(horizon.periods), strict=True):
        sheet.text(0, outlook.outlook)
        sheet.number(1, outlook.probability, "percent")
        sheet.formula(2, cash.rows[leaf.period].until, "usd", "bold")
        sheet.number(3, outlook.npv_usd, "usd", "soft")
        sheet.number(4, outlook.least_npv_usd, "usd")
        sheet.number(5, outlook.regret_usd, "usd")
        sheet.number(6, outlook.unmet_requests, "count")
        sheet.row += 1
    sheet.text(0, "Mean", "total")
    chances = [outlook.probability for outlook in horizon.outlooks]
    cells = [sheet.at(2, 0.0, row=sheet.row - len(chances) + i) for i in range(len(chances))]
    mean = total(cell * chance for cell, chance in zip(cells, chances, strict=True))
    known = sum(o.probability * o.npv_usd for o in horizon.outlooks)
    sheet.text(1, "", "total")
    sheet.formula(2, Cell(mean.text, known), "usd", "total")
    sheet.number(3, known, "usd", "total")
    sheet.row += 1


def _leaves(periods: Sequence[Period]) -> list[Period]:
    """Periods that none follows, in the order of the outlooks."""
    parents = {period.after for period in periods}
    return [period for period in periods if period.period not in parents]
