"""An explanation or a difference to be passed on: as `redact` does with the plan beside it.

Discounts, shares, powers and counts stay; prices are left out, and money is told per 100 dollars of
the value that is explained. Notes and anything else that is free text are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tokenfleet.explanation.rows import (
    Concession,
    Difference,
    Explanation,
    FlipPrice,
    Limit,
    MenuItem,
    Moved,
    PriceRange,
    RepairSet,
    Step,
    Worth,
)
from tokenfleet.plan.explored import Swing
from tokenfleet.plan.rows import Plan
from tokenfleet.report.redact import NAME, Names
from tokenfleet.report.words import limit_kinds

_OF_INPUT = {
    "demand": "workload", "tariff": "site", "power": "site", "price": "offer", "api_price": "API",
    "speed": "system",
}  # fmt: skip
_OF_PROMISE = ("demand", "TTFT limit", "TPOT limit", "E2E limit", "quality floor")
_Row = TypeVar("_Row", Concession, Limit)


def redacted_explanation(found: Explanation, plan: Plan | None = None) -> Explanation:
    """The explanation without a user's names and without prices; names that the plan has get the
    numbers that they have there."""
    return _Redactor(Names({} if plan is None else plan.to_json()), found).explanation()


def redacted_difference(found: Difference) -> Difference:
    """The difference without a user's names, money per 100 of the first plan's value."""
    names, scale = Names({}), _per_100("USD" in found.objective_unit, found.before)
    parts = tuple(
        part.model_copy(update={"change": part.change * scale, "inputs": ()})
        for part in found.parts
    )
    update = {
        "before": found.before * scale,
        "after": found.after * scale,
        "change": found.change * scale,
        "parts": parts,
        "systems": tuple(_moved(row, names.of_lot(row.what)) for row in found.systems),
        "cost_items": tuple(_moved(row, row.what, _items_scale(found)) for row in found.cost_items),
        "requests": tuple(_moved(row, names.numbered("route", row.what)) for row in found.requests),
        "notes": (),
    }
    return found.model_copy(update=update)


def _per_100(is_money: bool, value: float | None) -> float:
    return 100.0 / abs(value) if is_money and value else 1.0


def _items_scale(found: Difference) -> float:
    """Cost items are dollars whatever is best: of another goal, per 100 of their larger sum."""
    if "USD per year" in found.objective_unit:
        return _per_100(True, found.before)
    sums = (
        sum(abs(r.before) for r in found.cost_items),
        sum(abs(r.after) for r in found.cost_items),
    )
    return _per_100(True, max(sums))


def _moved(row: Moved, name: str, scale: float = 1.0) -> Moved:
    update = {
        "what": name, "before": row.before * scale, "after": row.after * scale,
        "change": row.change * scale,
    }  # fmt: skip
    return row.model_copy(update=update)


class _Redactor:
    def __init__(self, names: Names, found: Explanation) -> None:
        self.names, self.found = names, found
        value = found.objective_value
        if value is None:
            value = min((row.objective_value for row in found.repairs), default=None)
        self.money = "USD" in found.objective_unit
        self.scale = _per_100(self.money, value)
        yearly = found.objective_unit == "USD per year"
        costs = [item.annual_cost_usd for item in found.menu]
        costs += [way.annual_cost_usd for way in found.repairs]
        dearest = max(map(abs, costs), default=0.0)
        self.usd = self.scale if yearly else _per_100(True, dearest)

    def explanation(self) -> Explanation:
        found = self.found
        update = {
            "name": NAME,
            "objective_value": self._value(found.objective_value),
            "plan_value": self._value(found.plan_value),
            "bound": self._value(found.bound),
            "flip": tuple(map(self._flip, found.flip)),
            "ranges": tuple(map(self._range, found.ranges)),
            "worth": tuple(map(self._worth, found.worth)),
            "flip_inputs": tuple(
                row.model_copy(
                    update={"name": self._named(row.kind, row.name),
                            "systems": self._lots(row.systems)}
                )
                for row in found.flip_inputs
            ),
            "premium": (),
            "menu": tuple(map(self._menu, found.menu)),
            "conflict": tuple(map(self._placed, found.conflict)),
            "repairs": tuple(map(self._repair, found.repairs)),
            "tornado": tuple(map(self._swing, found.tornado)),
            "crossover": (),
            "break_even": (),
            "measure": tuple(
                row.model_copy(
                    update={
                        "system": self.names.of("system", row.system),
                        "workload": self.names.numbered("workload", row.workload),
                        "value": row.value * self.scale,
                        "worst": self._value(row.worst),
                    }
                )
                for row in found.measure
            ),
            "notes": (),
        }  # fmt: skip
        return found.model_copy(update=update)

    def _value(self, value: float | None) -> float | None:
        return None if value is None else value * self.scale

    def _named(self, kind: str, name: str) -> str:
        if kind == "system":
            return self.names.of("system", name)
        return self.names.numbered("API" if kind == "api" else kind, name)

    def _lots(self, systems: Mapping[str, int]) -> dict[str, int]:
        return {self.names.of_lot(name): count for name, count in systems.items()}

    def _where(self, what: str, where: str) -> str:
        if where == "all":
            return where
        kind = "workload" if what in _OF_PROMISE else limit_kinds().get(what, "place")
        return self.names.numbered(kind or "place", where)

    def _worth(self, row: Worth) -> Worth:
        update = {
            "where": self._where(row.what, row.where),
            "limit": self._amount(row.limit, row.unit),
            "unlimited": self._value(row.unlimited),
            "marginal_usd_per_mtok_output": None,
            "steps": tuple(self._step(step, row.unit) for step in row.steps),
        }
        return row.model_copy(update=update)

    def _amount(self, amount: float | None, unit: str) -> float | None:
        """An amount of a limit: of money per 100 as well."""
        return amount if amount is None or unit != "usd" else amount * self.usd

    def _step(self, step: Step, unit: str) -> Step:
        worths = ("worth", "worth_low", "worth_high", "relaxed")
        update = {name: self._value(getattr(step, name)) for name in worths}
        update |= {name: self._amount(getattr(step, name), unit) for name in ("by", "enough")}
        return step.model_copy(update=update)

    def _flip(self, row: FlipPrice) -> FlipPrice:
        takes = tuple(
            of.model_copy(update={"flip_price": None, "systems": self._lots(of.systems)})
            for of in row.takes
        )
        update = {
            "name": self._named(row.kind, row.name),
            "price": None,
            "flip_price": None,
            "unit": None,
            "systems_with": self._lots(row.systems_with),
            "systems_without": self._lots(row.systems_without),
            "takes": takes,
        }
        return row.model_copy(update=update)

    def _range(self, row: PriceRange) -> PriceRange:
        update = {
            "name": self._named(row.kind, row.name),
            "price": None,
            "unit": None,
            "systems_below": self._lots(row.systems_below),
            "systems_above": self._lots(row.systems_above),
        }
        return row.model_copy(update=update)

    def _menu(self, row: MenuItem) -> MenuItem:
        times = self.usd if "USD" in row.unit else 1.0
        update = {
            "value": row.value * times,
            "today": row.today * times,
            "annual_cost_usd": row.annual_cost_usd * self.usd,
            "systems": self._lots(row.systems),
        }
        return row.model_copy(update=update)

    def _placed(self, row: _Row) -> _Row:
        amounts = {
            name: self._amount(getattr(row, name), row.unit)
            for name in ("limit", "before", "after")
            if hasattr(row, name)
        }
        if row.unit == "regions":
            where = self.names.numbered("workload", row.where)
            return row.model_copy(update={"what": "residency with one more region", "where": where})
        return row.model_copy(update={"where": self._where(row.what, row.where), **amounts})

    def _repair(self, row: RepairSet) -> RepairSet:
        update = {
            "concessions": tuple(map(self._placed, row.concessions)),
            "objective_value": row.objective_value * self.scale,
            "annual_cost_usd": row.annual_cost_usd * self.usd,
            "systems": self._lots(row.systems),
        }
        return row.model_copy(update=update)

    def _swing(self, row: Swing) -> Swing:
        what, dot, which = row.input.partition(".")
        named = self._named(_OF_INPUT.get(what, "input"), which)
        update = {
            "input": f"{what}.{named}" if dot else what,
            "value_low": self._value(row.value_low),
            "value_high": self._value(row.value_high),
            "swing": row.swing * self.scale,
        }
        return row.model_copy(update=update)
