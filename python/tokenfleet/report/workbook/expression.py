"""Arithmetic that is a spreadsheet formula and its value at once.

A workbook must hold the value of each formula beside it, because previews and protected views do
not calculate. Both come from one expression here, so that they cannot differ.

>>> price, count = Cell("Inputs!$B$7", 100.0), Cell("C5", 3.0)
>>> cost = count * (price + 1)
>>> cost.text, cost.value
('C5*(Inputs!$B$7+1)', 303.0)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

_SUM, _PRODUCT, _ATOM = 1, 2, 3  # how tightly a text binds


@dataclass(frozen=True)
class Expression:
    """A formula without its equals sign, and what it comes to."""

    text: str
    value: float
    binds: int = _ATOM

    def __add__(self, other: Operand) -> Expression:
        right = _of(other)
        return Expression(f"{self.text}+{right.text}", self.value + right.value, _SUM)

    def __sub__(self, other: Operand) -> Expression:
        right = _of(other)
        text = f"{self.text}-{right.at_least(_PRODUCT)}"
        return Expression(text, self.value - right.value, _SUM)

    def __mul__(self, other: Operand) -> Expression:
        right = _of(other)
        text = f"{self.at_least(_PRODUCT)}*{right.at_least(_PRODUCT)}"
        return Expression(text, self.value * right.value, _PRODUCT)

    def __truediv__(self, other: Operand) -> Expression:
        """A quotient; by zero it is 0, as the sheets show it."""
        right = _of(other)
        text = f"{self.at_least(_PRODUCT)}/{right.at_least(_ATOM)}"
        value = self.value / right.value if right.value else 0.0
        return Expression(text, value, _PRODUCT)

    def __neg__(self) -> Expression:
        return Expression(f"-{self.at_least(_ATOM)}", -self.value, _SUM)

    def at_least(self, binds: int) -> str:
        """The text, in brackets where it binds less tightly."""
        return self.text if self.binds >= binds else f"({self.text})"


Operand: TypeAlias = Expression | float | int


def Cell(address: str, value: float) -> Expression:  # noqa: N802 (reads as the thing it is)
    """A cell, by its address or its defined name."""
    return Expression(address, value)


def _of(operand: Operand) -> Expression:
    if isinstance(operand, Expression):
        return operand
    text = f"{operand:.17g}" if isinstance(operand, float) else str(operand)
    return Expression(text, float(operand), _ATOM if operand >= 0 else _SUM)


def total(parts: Iterable[Expression]) -> Expression:
    """Sum of the parts; 0 without any."""
    found = list(parts)
    if not found:
        return Expression("0", 0.0)
    result = found[0]
    for part in found[1:]:
        result = result + part
    return result


def sum_of(first: str, last: str, value: float) -> Expression:
    """SUM over a range, whose value is known."""
    return Expression(f"SUM({first}:{last})", value)


def sinking_fund(rate: Expression, years: Expression) -> Expression:
    """Yearly payment that grows to one: r/((1+r)^n-1); 1/n without interest."""
    text = f"IF({rate.text}=0,1/{years.text},{rate.text}/((1+{rate.text})^{years.text}-1))"
    r, n = rate.value, years.value
    return Expression(text, 1.0 / n if r == 0 else r / ((1.0 + r) ** n - 1.0))
