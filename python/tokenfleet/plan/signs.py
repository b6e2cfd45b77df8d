"""What an outlook says, in words: the sign by which it is known that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenfleet.schema import Outlook

_FACTORS = {
    "demand": "demand",
    "prices": "price",
    "tariff": "tariff",
    "supply": "supply",
    "power": "power",
    "efficiency": "speed",
}
_DELAYS = {"delivery_delay_months": "deliveries", "power_delay_months": "power"}


def sign_of(outlook: Outlook) -> str:
    """What it changes, and from when on.

    >>> sign_of(Outlook(id="boom", probability=0.3, **{"from": "2027-04"}, demand={"chat": 1.8}))
    'demand of chat x 1.8, from 2027-04-01'
    """
    said = list(_said(outlook)) or ["all as stated"]
    since = "" if outlook.from_ is None else f", from {outlook.from_}"
    return ", ".join(said) + since


def _said(outlook: Outlook) -> Iterator[str]:
    for field, word in _FACTORS.items():
        given = getattr(outlook, field)
        if isinstance(given, Mapping):
            yield from (f"{word} of {name} x {factor:g}" for name, factor in given.items())
        elif given != 1.0:
            yield f"{word} x {given:g}"
    for field, word in _DELAYS.items():
        for name, months in getattr(outlook, field).items():
            yield f"{word} of {name} {months:g} months later"
