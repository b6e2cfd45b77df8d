"""Figures as a person reads them: the same in the terminal and on a page."""

from __future__ import annotations

import math
import re


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


_ROUNDING = 1e-9  # of a share


def percent(share: float) -> str:
    """A share with as many digits as it needs to differ from zero; what rounding leaves is none."""
    if abs(share) < _ROUNDING:
        return "0%"
    return f"{share:.1%}" if share >= 0.01 else f"{100 * share:.2g} %".replace(" %", "%")


def number(value: float | None) -> str:
    """Four significant digits below ten thousand, whole numbers above; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def amount(value: float, unit: str) -> str:
    """A value with its unit: `$394,648 a year`, `3.127 USD per million tokens`."""
    yearly, paid, basis = unit.partition("USD per year")
    if paid and not yearly:
        return f"{dollars(value)} a year{basis}"
    return f"{number(value)} {unit}"


def share(part: float, whole: float) -> str:
    """A part of a whole in percent; a dash where there is no whole."""
    return f"{part / whole:.0%}" if whole else "–"


NBSP = "\u00a0"  # between a figure and its unit, so that a line never breaks there
_STEPS = ((1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T"), (1e15, "Qd"))
_COUNTS = ((1e6, " million"), (1e9, " billion"), (1e12, " trillion"))
_MOST = 999.5e15


def minus(text: str) -> str:
    """The text with a true minus in front of a negative figure."""
    return text.replace("-$", "−$").replace("-", "−", 1) if text.startswith("-") else text


def digits(value: float) -> str:
    """Three significant digits, without an exponent: `0.0123`, `1.23`, `123`, `1,230`."""
    if abs(value) < 1e-9:
        return "0"
    if abs(value) >= 1e15:
        return "over 999 trillion" if value > 0 else "under −999 trillion"
    places = min(max(2 - math.floor(math.log10(abs(value))), 0), 9)
    return minus(f"{value:,.{places}f}")


def exact_dollars(usd: float) -> str:
    """Whole dollars with a true minus; `over $999Qd` beyond what a page can hold."""
    return short_dollars(usd) if abs(usd) >= 1e12 else minus(dollars(usd))


def short_dollars(usd: float) -> str:
    """Three digits and a letter: `$324k`, `$1.23M`, `−$13.4k`; whole dollars below a thousand."""
    sign, size = ("−" if usd < 0 else ""), abs(usd)
    if size > _MOST:
        return f"{'under −' if usd < 0 else 'over '}$999Qd"
    if size < 999.5:
        return minus(dollars(usd)) if size >= 0.5 or size == 0 else f"{sign}${digits(size)}"
    step, letter = next(((s, x) for s, x in reversed(_STEPS) if size >= 0.9995 * s))
    return f"{sign}${three(size / step)}{letter}"


def short(value: float) -> str:
    """A round figure for an axis: `0.5`, `800`, `20k`, `2.5M`."""
    return trimmed(short_dollars(value).replace("$", "") if abs(value) >= 1e3 else spelled(value))


def trimmed(figure: str) -> str:
    """A figure without the zeros that end its decimals: `2.50M` is `2.5M`, `60.0 kW` is `60 kW`."""
    return re.sub(r"\.(\d*?)0+(?!\d)", lambda m: f".{m[1]}" if m[1] else "", figure, count=1)


def counted(number: int, one: str, several: str = "") -> str:
    """`1 site`, `2 sites`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def three(value: float) -> str:
    """A figure from 1 to 999 with three digits."""
    places = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{places}f}"


def count(value: float) -> str:
    """A large count in words: `103 billion`, `1.47 trillion`; whole below a million."""
    if value > 999.5e12:
        return "over 999 trillion" if value > 1e18 else f"{value / 1e12:,.0f} trillion"
    if value < 999_500:
        return f"{value:,.0f}"
    step, word = next(((s, x) for s, x in reversed(_COUNTS) if value >= 0.9995 * s))
    return f"{three(value / step)}{word.replace(' ', NBSP)}"


def power(kw: float | None) -> str:
    """Power in the unit that suits it: `980 W`, `50.1 kW`, `4.99 MW`, `1.20 GW`."""
    if kw is None:
        return "–"
    if kw == 0:
        return f"0{NBSP}kW"
    if abs(kw) < 1e-6:
        return f"under 1{NBSP}mW"
    for least, scale, unit in ((999.5e3, 1e6, "GW"), (999.5, 1e3, "MW"), (0.9995, 1.0, "kW")):
        if abs(kw) >= least:
            return f"{digits(kw / scale)}{NBSP}{unit}" if kw < 1e12 else f"over 999,999{NBSP}GW"
    return f"{digits(kw * 1e3)}{NBSP}W"


def duration(ms: float | None) -> str:
    """A time in the unit that suits it: `40.0 ms`, `2.50 s`, `3.2 min`."""
    if ms is None:
        return "–"
    if abs(ms) < 999.5:
        return f"{digits(ms)}{NBSP}ms"
    return f"{digits(ms / 1e3)}{NBSP}s" if abs(ms) < 120e3 else f"{digits(ms / 60e3)}{NBSP}min"


def difference(relative: float) -> str:
    """A relative difference with its sign: `+22%`, `−4.1%`; `±0%` where there is none."""
    if abs(relative) < 5e-5:
        return "±0%"
    sign, size = ("+" if relative > 0 else "−"), abs(relative)
    if size > 99.99:
        return f"{sign}over 9,999%"
    return f"{sign}{100 * size:,.0f}%" if size >= 0.0995 else f"{sign}{100 * size:.1f}%"


def spelled(value: float | None) -> str:
    """As `number`, without an exponent: `0.0000012`, `0.7`, `1,234`."""
    if value is None:
        return "–"
    shown = number(value)
    return digits(value) if "e" in shown or len(shown) > 16 else minus(shown)


def part(part_of: float, whole: float) -> str:
    """A part of a whole, with a digit below ten percent: `56%`, `6.2%`, `−4.1%`."""
    if not whole:
        return "–"
    of = part_of / whole
    if abs(of) > 99.99:
        return "over 9,999%" if of > 0 else "under −9,999%"
    shown = f"{100 * of:.0f}%" if abs(of) >= 0.0995 else f"{100 * of:.1f}%"
    return minus(shown)
