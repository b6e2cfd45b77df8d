"""An explanation in words: sentences that the terminal and a page both say.

Reads an `Explanation` and computes nothing but wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenfleet.explanation.rows import (
    Explanation,
    FlipPrice,
    MenuItem,
    RepairSet,
    Step,
    Worth,
)
from tokenfleet.files.plain import plain
from tokenfleet.report.numbers import amount, number, percent

_WIDEST = 0.05  # the largest share that the menu asks
_UNITS = {"kw": "kW", "usd": "USD", "requests_per_s": "requests/s", "kg": "kg"}


def status(found: Explanation) -> str:
    """What was explained, and how far it is proven."""
    if found.objective_value is None:
        return f"{plain(found.name)}: no plan meets every requirement"
    value = amount(found.objective_value, found.objective_unit)
    gap = "" if found.gap is None else f" within {percent(found.gap)}"
    proof = f"proven{gap}" if found.proven else f"not proven (gap{gap.replace(' within', '')})"
    return f"{plain(found.name)}: {value}, {proof}"


def worth(row: Worth, unit: str) -> str:
    """What one more of something is worth, and one less costs."""
    where = "" if row.where == "all" else f" of {row.where}"
    of = _UNITS.get(row.unit, row.unit)
    limit = "" if row.limit is None else f" (now {number(row.limit)} {of})"
    parts = [_step(step, of, unit) for step in row.steps]
    if row.unlimited == 0.0:
        parts = [_step(step, of, unit) for step in row.steps if step.by < 0]
        parts.append("more is worth nothing, however much")
    elif row.unlimited is not None:
        parts.append(f"no limit at all is worth {amount(row.unlimited, unit)}")
    if row.marginal_usd_per_mtok_output is not None:
        usd = row.marginal_usd_per_mtok_output
        parts.append(f"the tokens added cost ${usd:,.3g} per million output tokens")
    return plain(f"{row.what}{where}{limit}: {'; '.join(parts)}")


def _step(step: Step, of: str, unit: str) -> str:
    size = f"{number(abs(step.by))} {of} {'more' if step.by > 0 else 'less'}"
    if step.worth is None:
        return f"with {size} there is no plan"
    if step.worth == 0:
        return f"{size} changes nothing"
    said = f"{size} {'saves' if step.worth > 0 else 'costs'} {amount(abs(step.worth), unit)}"
    if step.enough is not None and 0 < step.enough < step.by:
        said += f" ({number(step.enough)} {of} of it is enough)"
    return said + _by(step.how)


def flip(row: FlipPrice) -> str:
    """At which price a plan holds something."""
    name = {"system": f"systems of type {row.name}", "api": f"API {row.name}"}.get(
        row.kind, row.name
    )
    if row.verdict == "always":
        return plain(f"{name}: in every plan, whatever it costs")
    if row.verdict == "never" or row.discount is None:
        return plain(f"{name}: in no best plan, even for nothing")
    off = row.discount
    change = f"{percent(off)} off" if off >= 0 else f"{percent(-off)} more"
    if row.flip_price is not None and row.price is not None:
        change = (
            f"{number(row.flip_price)} {row.unit} ({change} than {number(row.price)})"
            if off < 0
            else f"{number(row.flip_price)} {row.unit} ({change} {number(row.price)})"
        )
    verb = "leaves the plan above" if row.verdict == "leaves" else "enters the plan at"
    beside = row.systems_without if row.verdict == "leaves" else row.systems_with
    return plain(f"{name} {verb} {change}; then {_systems(beside)}{_by(row.how)}")


def menu(rows: Sequence[MenuItem]) -> list[str]:
    """Plans that are better at something; of what no plan near is better at, one line."""
    better = [row for row in rows if row.within > 0]
    asked = {row.wish: row for row in rows}
    none = [wish for wish in asked if not any(row.wish == wish for row in better)]
    lines = [
        plain(
            f"{row.wish}: {number(row.value)} {row.unit} instead of {number(row.today)} for "
            f"{percent(row.more)} more: {_systems(row.systems)}{_by(row.how)}"
        )
        for row in better
    ]
    if none:
        lines.append(f"no plan within {percent(_WIDEST)} is better at: {', '.join(none)}")
    return lines


def repair(row: RepairSet) -> str:
    """Concessions, and what the best plan after them costs."""
    given = [
        f"{c.what} of {c.where} {number(c.after)} instead of {number(c.before)} "
        f"{_UNITS.get(c.unit, c.unit)}"
        for c in row.concessions
    ]
    cost = amount(row.annual_cost_usd, "USD per year")
    return plain(f"{' and '.join(given)}: then {cost}: {_systems(row.systems)}{_by(row.how)}")


def _systems(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {offer}" for offer, count in counts.items()) or "no systems"


def _by(how: str) -> str:
    return "" if how == "re-solved and proven" else f" [{how}]"
