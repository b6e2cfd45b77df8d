"""The order, line by line, and what each line costs a year: every dollar follows the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenfleet.plan.rows import Systems
from tokenfleet.problem_data import HOURS_PER_YEAR
from tokenfleet.report import sheets, words
from tokenfleet.report.workbook.book import Book, Sheet, address
from tokenfleet.report.workbook.expression import Expression, sinking_fund, sum_of, total
from tokenfleet.report.workbook.inputs import Inputs, energy_key, rates_of
from tokenfleet.schema.supply import ELASTIC

_CENT = 0.005
_OTHER = "other"  # what no input explains
_PRICED = ("capex_annuity", "residual_credit", "rental", "all_in", "maintenance")
_ITEMS = (
    "capex_annuity",
    "residual_credit",
    "maintenance",
    "staff",
    "licences",
    "hosting",
    "rental",
    "all_in",
    "energy",
    "carbon",
    "water",
)
_ORDER = (
    "Line",
    "How",
    "Systems",
    "GPUs",
    "kW each",
    "Price",
    "per",
    "Up front",
    "USD a year",
    "IT kWh a year",
    "Billed hours a year",
)
_WIDTHS = (38, 12, 12, 11, 11, 11, 11, 12, 13, 12, 12, 12, 11, 12, 9)


@dataclass
class Totals:
    """Cells that the other sheets add up from."""

    capex: Expression
    items: dict[str, Expression]  # USD a year by cost item
    hardware: Expression  # USD a year that follows the price of hardware
    energy: Expression  # USD a year that follows the tariff
    annual: Expression


@dataclass(frozen=True)
class _Cells:
    """Amounts of a line that its dollars are made of."""

    count: Expression
    gpus: Expression  # of all its systems
    kw: Expression  # of one system
    kwh: Expression  # IT energy a year
    hours: Expression  # system-hours a year


@dataclass(frozen=True)
class _Costs:
    """Sums over all lines, USD a year."""

    items: dict[str, Expression]
    hardware: Expression  # what follows the price of the hardware
    together: Expression


@dataclass(frozen=True)
class _Line:
    """One row of systems with its cells."""

    row: Systems
    at: int  # its row on the sheet
    items: dict[str, Expression]


class Order:
    """Writes the sheet; `totals` has what others add up."""

    def __init__(self, book: Book, inputs: Inputs) -> None:
        """Starts the sheet."""
        self.plan, self.inputs = book.plan, inputs
        self.sheet = book.sheet("Order", sheets.ORDER_NOTE, _WIDTHS)

    def write(self) -> Totals:
        """The order, its cost, APIs and contracts, and the total beside the plan's."""
        first = self.sheet.row + 2
        lines = [self._ordered(row) for row in self._head()]
        capex = self._column(7, first, self.sheet.row - 1, self.plan.capex_usd)
        costs = self._costs(lines)
        parts = [costs.together] if lines else []
        parts += self._apis(costs.items) + self._contracts(costs.items)
        sheet = self.sheet
        sheet.row += 1
        rest = self.plan.annual_cost_usd - sum(part.value for part in parts)
        if abs(rest) > _CENT:
            sheet.text(0, sheets.NO_INPUT)
            sheet.number(8, rest, "cents")
            costs.items["rest"] = sheet.at(8, rest)
            parts.append(costs.items["rest"])
            sheet.row += 1
        sheet.text(0, "Together, USD a year", "total")
        for column in range(1, 8):
            sheet.text(column, "", "total")
        annual = sheet.formula(8, total(parts), "cents", "total")
        sheet.row += 1
        sheet.text(0, "In the plan", "soft")
        sheet.number(8, self.plan.annual_cost_usd, "cents", "soft")
        nothing = Expression("0", 0.0)
        energy = costs.items.get("energy", nothing)
        return Totals(capex if lines else nothing, costs.items, costs.hardware, energy, annual)

    # What to get

    def _head(self) -> tuple[Systems, ...]:
        if self.plan.systems:
            self.sheet.text(0, "What to get", "section")
            self.sheet.row += 1
            self.sheet.head(_ORDER, words=2)
        return self.plan.systems

    def _ordered(self, row: Systems) -> _Line:
        sheet, price = self.sheet, self.inputs.get("price", row.offer)
        sheet.text(0, sheets.order_line(row))
        sheet.text(1, words.obtained(row.kind))
        sheet.number(2, row.count, "count")
        sheet.number(3, row.gpus, "count")
        sheet.number(4, row.provisioned_it_kw, "figure")
        hourly = row.price_usd_per_gpu_h is not None
        if price is None:
            sheet.number(5, None, "usd")
        else:
            sheet.formula(5, price, "usd4" if hourly else "usd")
        sheet.text(6, "GPU-hour" if hourly else "system", "right")
        sheet.number(9, row.it_kwh_per_year, "count", "soft")
        sheet.number(10, row.billed_hours_per_year, "count", "soft")
        cells = _Cells(
            count=sheet.at(2, row.count),
            gpus=sheet.at(3, row.gpus),
            kw=sheet.at(4, row.provisioned_it_kw),
            kwh=sheet.at(9, row.it_kwh_per_year),
            hours=sheet.at(10, row.billed_hours_per_year),
        )
        capex = sheet.formula(7, self._capex(row, cells.count, None if hourly else price), "usd")
        line = _Line(row, sheet.row, self._items(row, cells, capex))
        sheet.row += 1
        return line

    def _capex(self, row: Systems, count: Expression, price: Expression | None) -> Expression:
        """Servers, network, storage and integration of a line, as `src/tco.rs` adds them."""
        if price is None or not self.inputs.has_finance:
            return Expression("0", 0.0)
        integration = self.inputs["finance", "integration_fraction"] * price
        if "network" in row.includes:
            return count * (price + integration)
        network, storage = (
            self.inputs["finance", name] for name in ("network_fraction", "storage_fraction")
        )
        servers = price / (Expression("1", 1.0) - network - storage)
        return count * (servers + integration)

    def _items(self, row: Systems, of: _Cells, capex: Expression) -> dict[str, Expression]:
        found = self._owned(row, of, capex) if self.inputs.has_finance else {}
        price = self.inputs.get("price", row.offer)
        if row.price_usd_per_gpu_h is not None and price is not None:
            name = "all_in" if row.kind == "all_in" else "rental"
            found[name] = price * (of.gpus / of.count) * of.hours
        if row.kind in ELASTIC:
            found = _by_the_hour(of, found)
        return {**found, **self._energy(row, of)}

    def _owned(self, row: Systems, of: _Cells, capex: Expression) -> dict[str, Expression]:
        terms = {key[1]: cell for key, cell in self.inputs.cells() if key[0] == "finance"}
        rate = terms["cost_of_capital"]
        fund = sinking_fund(rate, terms["life_years"])
        found = {}
        if capex.value:
            found["capex_annuity"] = capex * (fund + rate)
            found["residual_credit"] = -(capex * terms["residual_fraction"] * fund)
        base = self.inputs.get("maintained", row.offer)
        if base is None and row.price_usd_per_system:
            base = self.inputs.get("price", row.offer)
        if "maintenance" not in row.includes and base is not None:
            found["maintenance"] = of.count * terms["maintenance_fraction_per_year"] * base
        if "staff" not in row.includes:
            found["staff"] = of.count * of.kw * terms["staff_usd_per_kw_year"]
        found["licences"] = of.gpus * terms["licence_usd_per_gpu_year"]
        hosting = self.inputs.get("hosting", row.site)
        if hosting is not None and "hosting" not in row.includes and not row.hosted:
            found["hosting"] = of.count * of.kw * hosting * 12
        return found

    def _energy(self, row: Systems, of: _Cells) -> dict[str, Expression]:
        cells = {kind: self.inputs[energy_key(kind, row)] for kind in rates_of(row)}
        if not cells:
            return {}
        meter = of.kwh * cells["pue"]
        found = {"energy": meter * cells["tariff"]}
        if "carbon" in cells:
            found["carbon"] = meter * cells["carbon"]
        if "water" in cells:
            found["water"] = of.kwh * cells["water"]
        return found

    # What it costs

    def _costs(self, lines: list[_Line]) -> _Costs:
        """Each line by item, with sums; what no input explains stands in a column of its own."""
        sheet = self.sheet
        if not lines:
            return _Costs({}, Expression("0", 0.0), Expression("0", 0.0))
        used = [item for item in _ITEMS if any(item in line.items for line in lines)]
        left = [line.row.annual_cost_usd - _value(line.items) for line in lines]
        if any(abs(value) > _CENT for value in left):
            used.append(_OTHER)
            for line, value in zip(lines, left, strict=True):
                line.items[_OTHER] = Expression(f"{value:.17g}", value)
        sheet.section("What each line costs, USD a year")
        names = [words.item_name(i) if i != _OTHER else sheets.NO_INPUT for i in used]
        titles = [name[:1].upper() + name[1:] for name in names]
        ends = ["Together", "In the plan", "Check", "Follows its price"]
        sheet.head(["Line", *titles, *ends])
        first, width = sheet.row, len(used)
        follows = [self._cost_row(line, used) for line in lines]
        last = sheet.row - 1
        sheet.text(0, "Together", "total")
        sums = {}
        for column, item in enumerate(used, start=1):
            value = sum(line.items[item].value for line in lines if item in line.items)
            sums[item] = self._sum(column, first, last, value)
        together = self._sum(width + 1, first, last, sum(part.value for part in sums.values()))
        self._sum(width + 2, first, last, sum(line.row.annual_cost_usd for line in lines))
        sheet.text(width + 3, "", "total")
        hardware = self._sum(width + 4, first, last, sum(follows))
        sheet.row += 1
        return _Costs(sums, hardware, together)

    def _cost_row(self, line: _Line, used: list[str]) -> float:
        """One line by item; returns what of it follows the price of the hardware."""
        sheet, width = self.sheet, len(used)
        sheet.text(0, sheets.order_line(line.row))
        cells = {}
        for column, item in enumerate(used, start=1):
            if item in line.items:
                cells[item] = sheet.formula(column, line.items[item], "usd")
            else:
                sheet.number(column, None, "usd", "soft")
        together = sheet.formula(width + 1, total(cells.values()), "usd", "bold")
        sheet.number(width + 2, line.row.annual_cost_usd, "usd", "soft")
        planned = sheet.at(width + 2, line.row.annual_cost_usd)
        difference = f"ROUND({together.text}-{planned.text},2)"
        sheet.words(width + 3, f'IF({difference}=0,"same",{difference})', "same", "soft right")
        priced = _PRICED if line.row.price_usd_per_system else _PRICED[:-1]
        follows = total(cells[item] for item in priced if item in cells)
        sheet.formula(width + 4, follows, "usd", "soft")
        below, sheet.row = sheet.row + 1, line.at
        sheet.formula(8, together, "usd", "bold")
        sheet.row = below
        return follows.value

    def _sum(self, column: int, first: int, last: int, value: float) -> Expression:
        """The sum of a column, in the current row."""
        return self.sheet.formula(column, self._column(column, first, last, value), "usd", "total")

    @staticmethod
    def _column(column: int, first: int, last: int, value: float) -> Expression:
        return sum_of(address(first, column, "Order"), address(last, column), value)

    # What is no system

    def _apis(self, items: dict[str, Expression]) -> list[Expression]:
        sheet = self.sheet
        apis = sorted({row.api for row in self.plan.routing if row.api is not None})
        known = [api for api in apis if self.inputs.get("api", api, "usd_per_mtok_output")]
        if not known:
            return []
        sheet.section("Hosted APIs, a year")
        titles = ("API", "Million input tokens", "Million output tokens", "Requests")
        sheet.head([*titles, "", "", "", "", "USD a year"])
        first = sheet.row
        value = sum(self._api(api).value for api in known)
        items["api_tokens"] = self._column(8, first, sheet.row - 1, value)
        return [items["api_tokens"]]

    def _api(self, api: str) -> Expression:
        sheet = self.sheet
        rows = [row for row in self.plan.routing if row.api == api]
        amounts = {
            "usd_per_mtok_input": sum(row.input_tokens_per_year for row in rows) / 1e6,
            "usd_per_mtok_output": sum(row.output_tokens_per_year for row in rows) / 1e6,
            "usd_per_request": sum(row.requests_per_year for row in rows),
        }
        sheet.text(0, api)
        parts = []
        for column, (price, amount) in enumerate(amounts.items(), start=1):
            sheet.number(column, amount, "count")
            parts.append(sheet.at(column, amount) * self.inputs["api", api, price])
        cost = sheet.formula(8, total(parts), "cents")
        sheet.row += 1
        return cost

    def _contracts(self, items: dict[str, Expression]) -> list[Expression]:
        sheet = self.sheet
        power = [
            (f"Power of {site.site}", site.power_limit_kw or 0.0, "kW", price)
            for site in self.plan.sites
            if (price := self.inputs.get("contracted", site.site))
        ]
        short = [
            (f"Unserved: {row.workload}, {row.cls}", row.requests_per_year, "requests", price)
            for row in self.plan.unserved
            if (price := self.inputs.get("unserved", row.workload, row.cls))
        ]
        if power or short:
            sheet.section("Contracted power, and requests left unserved, a year")
            sheet.head(["What", "Amount", "of", "", "", "", "", "", "USD a year"])
        found = []
        for item, rows in (("contracted_power", power), ("shortfall", short)):
            if rows:
                first = sheet.row
                value = sum(self._amount(*row).value for row in rows)
                items[item] = self._column(8, first, sheet.row - 1, value)
                found.append(items[item])
        return found

    def _amount(self, name: str, amount: float, unit: str, price: Expression) -> Expression:
        sheet: Sheet = self.sheet
        sheet.text(0, name)
        sheet.number(1, amount, "count")
        sheet.text(2, unit, "right")
        cell = sheet.formula(8, sheet.at(1, amount) * price, "cents")
        sheet.row += 1
        return cell


def _by_the_hour(of: _Cells, items: Mapping[str, Expression]) -> dict[str, Expression]:
    """Everything that a system by the hour costs is rent of the hours that it is there."""
    rent = [items["rental"]] if "rental" in items else []
    yearly = [part for item, part in items.items() if item != "rental" and part.value]
    share = of.hours / (of.count * HOURS_PER_YEAR)
    return {"rental": total([*rent, *(part * share for part in yearly)])}


def _value(items: Mapping[str, Expression]) -> float:
    return sum(part.value for part in items.values())
