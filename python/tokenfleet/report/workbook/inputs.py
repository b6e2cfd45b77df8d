"""The sheet of inputs: the only cells that a reader changes, and where each figure comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tokenfleet.plan.known_rows import Input
from tokenfleet.plan.rows import Plan, Systems
from tokenfleet.report import sheets
from tokenfleet.report.labels import FIELDS, capital
from tokenfleet.report.workbook.book import Book, Sheet
from tokenfleet.report.workbook.expression import Cell, Expression

Key: TypeAlias = tuple[str, ...]  # ("finance", field), ("price", offer), ("pue", site, ...)

# Factors on a price between which the mix is the best; None: however high it is.
Ends: TypeAlias = tuple[float, float | None]
_COLUMNS = ("Figure", "Your value", "In the plan", "Change", "Mix is best from", "to", "")
_WIDTHS = (46, 13, 13, 9, 13, 13, 24, 52)
_PRICED = ("price", "api")  # kinds of inputs that may have such a range
_FINANCE = {  # form of each money term
    "cost_of_capital": "percent2",
    "life_years": "figure",
    "residual_fraction": "percent",
    "maintenance_fraction_per_year": "percent",
    "network_fraction": "percent",
    "storage_fraction": "percent",
    "integration_fraction": "percent",
    "staff_usd_per_kw_year": "number",
    "licence_usd_per_gpu_year": "number",
}
_API = ("usd_per_mtok_input", "usd_per_mtok_output", "usd_per_request")
_TARIFF = "electricity_usd_per_kwh"
_MOST = {"percent": 1.0, "percent2": 1.0}


@dataclass(frozen=True)
class Given:
    """One figure that may be changed."""

    key: Key
    section: str
    label: str
    value: float
    form: str
    source: str
    what: str = ""  # its path among the plan's inputs


class Inputs:
    """Cells of the inputs by key; `get` is None for what the plan does not rest on."""

    def __init__(self, plan: Plan) -> None:
        """Collects the figures; `write` gives them their cells."""
        self._known = {row.what: row for row in plan.inputs}
        self.given = [*self._finance(), *self._prices(plan), *self._sites(plan), *self._apis(plan)]
        self._cells: dict[Key, Expression] = {}

    def get(self, *key: str) -> Expression | None:
        """The cell of an input."""
        return self._cells.get(key)

    def __getitem__(self, key: Key) -> Expression:
        """The cell of an input that is there."""
        return self._cells[key]

    def cells(self) -> Iterable[tuple[Key, Expression]]:
        """Every key with its cell."""
        return self._cells.items()

    @property
    def has_finance(self) -> bool:
        """Whether money terms are among the inputs."""
        return ("finance", "cost_of_capital") in self._cells

    def _finance(self) -> Iterator[Given]:
        for field, form in _FINANCE.items():
            row = self._known.get(f"finance.{field}")
            if row is not None and isinstance(row.value, float):
                key = ("finance", field)
                label, source = capital(FIELDS[field].with_unit()), sheets.origin(row)
                yield Given(key, "Finance", label, row.value, form, source, row.what)

    def _prices(self, plan: Plan) -> Iterator[Given]:
        for row in {row.offer: row for row in plan.systems}.values():
            hourly = row.price_usd_per_gpu_h is not None
            value = row.price_usd_per_gpu_h if hourly else row.price_usd_per_system
            field = "price_usd_per_gpu_h" if hourly else "price_usd_per_system"
            unit = FIELDS[field].unit
            what = f"offers[{row.offer}].{field}"
            if value is not None:
                label, form = f"{row.offer}: {unit}", "usd4" if hourly else "usd"
                source = self._source(what, row.price_source or "")
                yield Given(("price", row.offer), "Prices", label, value, form, source, what)
            yield from self._maintained(row)

    def _maintained(self, row: Systems) -> Iterator[Given]:
        """What maintenance is charged on, where that is not the purchase price."""
        share = self._known.get("finance.maintenance_fraction_per_year")
        usd = row.cost_items_usd.get("maintenance", 0.0)
        if row.price_usd_per_system or not usd or share is None or not row.count:
            return
        assert isinstance(share.value, float)
        label = f"{row.offer}: value that maintenance is charged on, USD per system"
        value = usd / row.count / share.value
        key = ("maintained", row.offer)
        yield Given(key, "Prices", label, value, "usd", "price book: purchase price of the system")

    def _sites(self, plan: Plan) -> Iterator[Given]:
        for site in plan.sites:
            rows = [row for row in plan.systems if row.site == site.site]
            yield from self._energy(site.site, rows)
            what = f"sites[{site.site}].hosting_usd_per_kw_month"
            found = self._known.get(what)
            pays = any(not row.hosted and "hosting" not in row.includes for row in rows)
            if pays and found is not None and isinstance(found.value, float):
                key = ("hosting", site.site)
                label = f"{site.site}: {FIELDS['hosting_usd_per_kw_month'].with_unit()}"
                yield Given(key, "Sites", label, found.value, "number", sheets.origin(found), what)
            if site.contracted_power_usd_per_year and site.power_limit_kw:
                usd = site.contracted_power_usd_per_year / site.power_limit_kw
                label = f"{site.site}: contracted power, USD per kW and year"
                key = ("contracted", site.site)
                yield Given(key, "Sites", label, usd, "number", sheets.YOURS)

    def _energy(self, site: str, rows: list[Systems]) -> Iterator[Given]:
        """Tariff, PUE, and priced carbon and water, one of each for rows that share it."""
        names = {
            "tariff": (FIELDS[_TARIFF].with_unit(), "usd4", _TARIFF),
            "pue": (FIELDS["pue"].with_unit(), "number", "pue"),
            "carbon": ("priced carbon, USD per kWh at the meter", "usd4", ""),
            "water": ("priced water, USD per kWh of IT", "usd4", ""),
        }
        for kind, (label, form, field) in names.items():
            groups: dict[Key, tuple[float, list[Systems]]] = {}
            for row in rows:
                value = rates_of(row).get(kind)
                if value is not None:
                    key = energy_key(kind, row)
                    groups.setdefault(key, (value, []))[1].append(row)
            for key, (value, of) in groups.items():
                what = f"sites[{site}].{field}"
                known = self._number(what)
                only = len(groups) == 1
                said = label if only else f"{label} ({', '.join(sorted({r.system for r in of}))})"
                if kind == "tariff" and known is None:
                    said = f"{said}, mean of the hours drawn"
                source = self._source(what, sheets.YOURS if kind != "pue" else sheets.TYPICAL)
                path = what if only and known is not None else ""
                yield Given(key, "Sites", f"{site}: {said}", value, form, source, path)

    def _apis(self, plan: Plan) -> Iterator[Given]:
        for api in sorted({row.api for row in plan.routing if row.api is not None}):
            for field in _API:
                what = f"apis[{api}].{field}"
                row = self._known.get(what)
                if row is not None and isinstance(row.value, float):
                    said, key = f"{api}: {FIELDS[field].unit}", ("api", api, field)
                    source = sheets.origin(row)
                    yield Given(key, "Hosted APIs", said, row.value, "usd4", source, what)
        for short in plan.unserved:
            if short.requests_per_year:
                key = ("unserved", short.workload, short.cls)
                label = f"{short.workload}, {short.cls}: USD per request left unserved"
                usd = short.cost_usd_per_year / short.requests_per_year
                yield Given(key, "Hosted APIs", label, usd, "usd4", sheets.YOURS)

    def _number(self, what: str) -> float | None:
        row = self._known.get(what)
        return row.value if row is not None and isinstance(row.value, float) else None

    def _source(self, what: str, otherwise: str) -> str:
        row: Input | None = self._known.get(what)
        return otherwise if row is None else sheets.origin(row)

    def write(self, book: Book, ranges: Mapping[Key, Ends], said: str = "") -> None:
        """The sheet. `ranges` has by key where the mix stays the best, and `said` what they are."""
        sheet = book.sheet("Inputs", sheets.INPUTS_NOTE, _WIDTHS)
        sheet.text(len(_COLUMNS), "Source", "head")
        sheet.head(_COLUMNS, frozen=True)
        section, begun, bounds = "", sheet.row, (0.0, 0.0)
        for given in self.given:
            if given.section != section or bounds != _bounds(given):
                _validate(sheet, begun, bounds)
                if given.section != section:
                    section = given.section
                    sheet.section(section)
                begun, bounds = sheet.row, _bounds(given)
            self._row(sheet, given, ranges.get(given.key))
        _validate(sheet, begun, bounds)
        sheet.row += 1
        sheet.text(0, said, "note")

    def _row(self, sheet: Sheet, given: Given, ends: Ends | None) -> None:
        sheet.text(0, given.label)
        sheet.number(1, given.value, given.form, "input")
        sheet.number(2, given.value, given.form, "soft")
        now = sheet.at(1, given.value)
        then = sheet.at(2, given.value)
        change = Expression(f"IF({then.text}=0,0,{now.text}/{then.text}-1)", 0.0)
        sheet.formula(3, change, "change")
        verdict = self._range(sheet, given, now, ends)
        sheet.words(6, f'IF({now.text}={then.text},"",{verdict})', "", "warn inset")
        sheet.text(7, given.source, "soft wrap")
        if given.key[0] == "finance":
            name = given.key[1]
            sheet.book.of.define_name(name, f"={now.text}")
            now = Cell(name, given.value)
        self._cells[given.key] = now
        sheet.row += 1

    @staticmethod
    def _range(sheet: Sheet, given: Given, now: Expression, ends: Ends | None) -> str:
        """The two cells of the range; and a formula that says whether the value is within it."""
        again, still = f'"{sheets.RUN_AGAIN}"', f'"{sheets.STILL_BEST}"'
        if ends is None:
            said = "not computed" if given.key[0] in _PRICED and given.value else "–"
            sheet.text(4, said, "soft right")
            sheet.text(5, said, "soft right")
            return again
        low, high = ends
        sheet.number(4, low * given.value, given.form)
        within = f"{now.text}>={sheet.at(4, low * given.value).text}"
        if high is None:
            sheet.text(5, sheets.NO_END, "soft right")
        else:
            sheet.number(5, high * given.value, given.form)
            within = f"AND({within},{now.text}<={sheet.at(5, high * given.value).text})"
        return f"IF({within},{still},{again})"


def _bounds(given: Given) -> tuple[float, float]:
    """The least and the largest value that the sheet takes."""
    return (1.0 if given.key[0] == "pue" else 0.0, _MOST.get(given.form, 1e12))


def _validate(sheet: Sheet, first: int, bounds: tuple[float, float]) -> None:
    """One rule for a run of cells: one for each cell would take a spreadsheet minutes to load."""
    if sheet.row <= first:
        return
    least, most = bounds
    rule = {
        "validate": "decimal",
        "criteria": "between",
        "minimum": least,
        "maximum": most,
        "error_title": "Out of range",
        "error_message": f"Give a number from {least:g} to {most:g}.",
    }
    sheet.of.data_validation(first, 1, sheet.row - 1, 1, rule)


def rates_of(row: Systems) -> dict[str, float]:
    """What a row pays for energy: tariff at the meter, PUE, and priced carbon and water."""
    kwh, items = row.it_kwh_per_year, row.cost_items_usd
    if not kwh or "energy" in row.includes:
        return {}
    meter = kwh * row.pue
    found = {"pue": row.pue, "tariff": items.get("energy", 0.0) / meter}
    if items.get("carbon"):
        found["carbon"] = items["carbon"] / meter
    if items.get("water"):
        found["water"] = items["water"] / kwh
    return found


def energy_key(kind: str, row: Systems) -> Key:
    """Rows of a site with one figure share its cell."""
    return (kind, row.site, f"{rates_of(row)[kind]:.9g}")
