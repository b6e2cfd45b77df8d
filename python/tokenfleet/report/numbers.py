"""Figures as a person reads them: the same in the terminal and on a page."""

from __future__ import annotations


def dollars(usd: float) -> str:
    """Whole dollars, with thousands apart."""
    return f"-${-usd:,.0f}" if usd < 0 else f"${usd:,.0f}"


def unit_price(usd: float | None) -> str:
    """A price per million tokens with three significant digits, at least cents."""
    if usd is None:
        return "–"
    if usd >= 1 or usd <= 0:
        return f"-${-usd:,.2f}" if usd < 0 else f"${usd:,.2f}"
    return f"${usd:#.3g}" if usd >= 1e-4 else f"${usd:.3g}"


def percent(share: float) -> str:
    """A share with as many digits as it needs to differ from zero."""
    return f"{share:.1%}" if share >= 0.01 else f"{100 * share:.2g} %".replace(" %", "%")


def number(value: float | None) -> str:
    """Four significant digits below ten thousand, whole numbers above; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def amount(value: float, unit: str) -> str:
    """A value with its unit: `$394,648 a year`, `3.127 USD per million tokens`."""
    if unit == "USD per year":
        return f"{dollars(value)} a year"
    return f"{number(value)} {unit}"


def share(part: float, whole: float) -> str:
    """A part of a whole in percent; a dash where there is no whole."""
    return f"{part / whole:.0%}" if whole else "–"
