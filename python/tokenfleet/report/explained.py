"""An explanation in words: sentences that the terminal and a page both say.

Reads an `Explanation` and computes nothing but wording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tokenfleet.explanation.rows import (
    BreakEven,
    Concession,
    Difference,
    Explanation,
    FlipInput,
    FlipPrice,
    Limit,
    MenuItem,
    Moved,
    Part,
    Premium,
    PriceRange,
    RepairSet,
    RoutePoint,
    Step,
    SweepPoint,
    ToMeasure,
    Worth,
)
from tokenfleet.files.plain import plain
from tokenfleet.plan.explored import Swing
from tokenfleet.report.labels import field_name
from tokenfleet.report.numbers import amount, number, percent

_INPUTS = 4  # inputs of a group that are named
_WIDEST = 0.05  # the largest share that the menu asks
_TOLD = 0.001  # of the most that a step may be worth, from which the relaxations say something
_UNITS = {"kw": "kW", "usd": "USD", "requests_per_s": "requests/s", "kg": "kg"}


def status(found: Explanation) -> str:
    """What the plan comes to, what the best one does, which is explained, and how far that is
    proven.
    """
    if found.objective_value is None:
        return f"{plain(found.name)}: no plan meets every requirement"
    value = amount(found.objective_value, found.objective_unit)
    gap = "" if found.gap is None else f" within {percent(found.gap)}"
    proof = f"proven{gap}" if found.proven else f"not proven (gap{gap.replace(' within', '')})"
    if found.plan_value is None:
        return f"{plain(found.name)}: the best plan, {value}, {proof}"
    plan = amount(found.plan_value, found.objective_unit)
    best = "" if plan == value else f"{plan}; explained is the best plan, "
    return f"{plain(found.name)}: {best}{value}, {proof}"


def sections(found: Explanation) -> Iterator[tuple[str, list[str]]]:
    """Everything that was found, in words, under its titles; those without a line are empty."""
    unit = found.objective_unit
    yield "What one more is worth", [worth(row, unit) for row in found.worth]
    prices = [line for row in found.flip for line in (flip(row), *takes(row))]
    yield "Prices that change the plan", prices
    yield "Prices between which it stays the best", list(map(stays, found.ranges))
    yield "Premiums that change a precision", list(map(premium, found.premium))
    yield "Energy, speed and terms that change it", list(map(flip_input, found.flip_inputs))
    yield "Plans that cost little more", menu(found.menu)
    yield "What cannot be had together", conflict(found.conflict)
    yield "What could give way: each line is enough", list(map(repair, found.repairs))
    yield "Inputs 20 % lower and higher", [swing(row, unit) for row in found.tornado]
    yield "What to measure next", [measure(row, unit) for row in found.measure]
    yield "Where routes cost the same", list(map(break_even, found.break_even))
    yield "Notes", list(map(plain, found.notes))


def worth(row: Worth, unit: str) -> str:
    """What one more of something is worth, and one less costs."""
    where = "" if row.where == "all" else f" of {row.where}"
    of = _UNITS.get(row.unit, row.unit)
    limit = "" if row.limit is None else f" (now {_counted(row.limit, of)})"
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


def worth_nothing(rows: Sequence[Worth]) -> str:
    """Limits that nobody needs to raise: `More is worth nothing of: power of a, racks of b`."""
    named = [row.what if row.where == "all" else f"{row.what} of {row.where}" for row in rows]
    return plain(f"More is worth nothing of: {', '.join(named)}")


def _step(step: Step, of: str, unit: str) -> str:
    size = f"{_counted(abs(step.by), of)} {'more' if step.by > 0 else 'less'}"
    if step.worth is None:
        return f"with {size} there is no plan"
    relaxed = "" if step.relaxed is None else (
        f" (by the relaxations {amount(abs(step.relaxed), unit)})"
    )  # fmt: skip
    if step.worth == 0:
        if step.relaxed is not None and abs(step.relaxed) >= _TOLD * abs(step.worth_high or 0.0):
            return f"what {size} is worth cannot be told within the gap{relaxed}"
        most = step.worth_high or 0.0
        if step.how == "re-solved within gap" and most > 0:
            bounded = f"saves at most {amount(most, unit)}, by what is proven"
            return f"{size} changes nothing in the plans found and {bounded}"
        return f"{size} changes nothing"
    said = f"{size} {'saves' if step.worth > 0 else 'costs'} {amount(abs(step.worth), unit)}"
    if step.enough is not None and 0 < step.enough < step.by:
        said += f" ({number(step.enough)} {of} of it is enough)"
    return said + relaxed + _by(step.how)


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
    ends = "" if name.startswith("systems of type") else "s"  # of systems or of one offer
    verb = f"leave{ends} the plan above" if row.verdict == "leaves" else f"enter{ends} the plan at"
    beside = row.systems_without if row.verdict == "leaves" else row.systems_with
    if row.how == "relaxation":  # no plan was found that holds it
        return plain(f"{name} {verb} {change}{_by(row.how)}")
    relaxed = ""
    if row.relaxed is not None:
        share = f"{percent(abs(row.relaxed))} {'off' if row.relaxed >= 0 else 'more'}"
        relaxed = f" (by the relaxations {share})"
    return plain(f"{name} {verb} {change}{relaxed}; then {_systems(beside)}{_by(row.how)}")


def stays(row: PriceRange) -> str:
    """Between which prices a plan stays the best: `h100: from 171,000 to 214,000 USD/system`."""
    name = {"system": f"systems of type {row.name}", "api": f"API {row.name}"}.get(
        row.kind, row.name
    )
    if row.field is not None:
        name += f", {field_name(row.field).lower()}"
    unit, price = (" times its price", 1.0) if row.price is None else (f" {row.unit}", row.price)
    now = "" if row.price is None else f" (now {number(price)})"
    low = number(row.low_factor * price)
    if row.high_factor is None:
        text = f"from {low}{unit} up{now}" if row.low_factor else "whatever it costs"
    else:
        high = f"{number(row.high_factor * price)}{unit}{now}"
        text = f"from {low} to {high}" if row.low_factor else f"up to {high}"
    near = f", within {percent(row.within)} of the best" if row.within else ""
    return plain(f"{name}: {text}{_first_orders(row, unit, price)}{near}{_by(row.how)}")


def _first_orders(row: PriceRange, unit: str, price: float) -> str:
    """Over time: between which prices the first orders stay, where that is another range."""
    of = row.first_orders
    if of is None or (of.low_factor, of.high_factor) == (row.low_factor, row.high_factor):
        return ""
    low = number(of.low_factor * price)
    if of.high_factor is None:
        return (
            f"; the first orders from {low}{unit} up"
            if of.low_factor
            else ("; the first orders whatever it costs")
        )
    high = f"{number(of.high_factor * price)}{unit}"
    between = f"from {low} to {high}" if of.low_factor else f"up to {high}"
    return f"; the first orders {between}"


def premium(row: Premium) -> str:
    """What tokens of a precision would have to be worth more, or may cost more."""
    if row.verdict == "always":
        return plain(f"{row.name}: in every plan")
    if row.premium_usd_per_mtok_output is None:
        return plain(f"{row.name}: in no plan")
    usd = f"${abs(row.premium_usd_per_mtok_output):,.3g} per million output tokens"
    if row.verdict == "leaves":
        return plain(f"{row.name} leaves the plan where its tokens cost {usd} more{_by(row.how)}")
    return plain(f"{row.name} enters the plan where its tokens are worth {usd} more{_by(row.how)}")


def takes(row: FlipPrice) -> list[str]:
    """At which prices it takes a tenth and half of the fleet, where that is another price."""
    lines = []
    for of in row.takes:
        if of.discount is None:
            lines.append(f"not {of.share:.0%} of the fleet, even for nothing{_by(of.how)}")
        elif of.discount != row.discount:
            price = "" if of.flip_price is None else f" ({number(of.flip_price)} {row.unit})"
            off = of.discount
            change = f"{percent(off)} off" if off >= 0 else f"{percent(-off)} more"
            lines.append(f"{of.share:.0%} of the fleet at {change}{price}{_by(of.how)}")
    return [plain(f"  {row.name}: {line}") for line in lines]


_MOVED = {"energy": "energy", "speed": "its speed", "term": "the term"}


def flip_input(row: FlipInput) -> str:
    """The energy price, speed or term at which something enters or leaves."""
    what, verb = _MOVED[row.input], "leaves" if row.chosen else "enters"
    if row.input == "term":
        now = "" if row.now is None else f" instead of {number(row.now)}"
        at = "no term of the price book" if row.at is None else f"{number(row.at)} years{now}"
        return plain(f"{row.name} {verb} at {at}{_by(row.how)}")
    if row.at is None:
        edge = number(row.not_yet)
        stays = "stays in the plan" if row.chosen else "stays out of the plan"
        return plain(f"{row.name} {stays} up to {edge} times {what}{_by(row.how)}")
    return plain(
        f"{row.name} {verb} at {number(row.at)} times {what}; then {_systems(row.systems)}"
        f"{_by(row.how)}"
    )


_KNOBS = {
    "demand": ("demand", "demand of {}"),
    "tariff": ("electricity prices", "electricity at {}"),
    "price": ("hardware prices", "price of {}"),
    "api_price": ("hosted API prices", "price of API {}"),
    "power": ("power limits", "power limit of {}"),
    "speed": ("speed of all systems", "speed of {}"),
    "cost_of_capital": ("cost of capital", "cost of capital"),
}


def input_name(knob: str) -> str:
    """An input of a sweep in words: `price.h100-buy` is "Price of h100-buy"."""
    what, _, which = knob.partition(".")
    every, one = _KNOBS.get(what, (knob, "{}"))
    said = one.format(which) if which else every
    return plain(said[:1].upper() + said[1:])


def nearest(rows: Sequence[FlipPrice]) -> str:
    """Of prices that change the plan, that which has to move least."""
    known = [row for row in rows if row.discount is not None]
    if not known:
        return "No price changes the plan"
    row = min(known, key=lambda r: (abs(r.discount or 0.0), r.name))
    off = row.discount or 0.0
    change = f"{percent(abs(off))} {'less' if off >= 0 else 'more'}"
    verb = "leaves" if row.verdict == "leaves" else "enters"
    return plain(f"The nearest: {row.name} {verb} the plan at {change}")


def most_worth(rows: Sequence[Worth], unit: str) -> str:
    """The limit whose next step saves most."""
    steps = [
        (step.worth, row, step)
        for row in rows
        for step in row.steps
        if step.by > 0 and step.worth is not None and step.worth > 0
    ]
    if not steps:
        return "No limit is worth raising"
    saved, row, step = max(steps, key=lambda found: found[0])
    where = "" if row.where == "all" else f" of {row.where}"
    more = _counted(step.by, _UNITS.get(row.unit, row.unit))
    what = f"{row.what[:1].upper()}{row.what[1:]}{where}"
    return plain(f"{what}: {more} more saves {amount(saved, unit)}")


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


def conflict(rows: Sequence[Limit]) -> list[str]:
    """The limits that cannot all hold, as one line."""
    named = [
        f"{_of(r.what, r.where)} ({number(r.limit)} {_UNITS.get(r.unit, r.unit)})" for r in rows
    ]
    return [plain(" and ".join(named))] if named else []


def _of(what: str, where: str) -> str:
    return what if where == "all" else f"{what} of {where}"


def repair(row: RepairSet) -> str:
    """Concessions, and what the best plan after them costs."""
    given = list(map(_conceded, row.concessions))
    cost = amount(row.annual_cost_usd, "USD per year")
    return plain(f"{' and '.join(given)}: then {cost}: {_systems(row.systems)}{_by(row.how)}")


def _conceded(c: Concession) -> str:
    if c.unit == "regions":  # what names the one that is new
        return f"{_of(c.what, c.where)} as well"
    after, before = number(c.after), number(c.before)
    return f"{_of(c.what, c.where)} {after} instead of {before} {_UNITS.get(c.unit, c.unit)}"


def swing(row: Swing, unit: str) -> str:
    """What an input lower and higher does."""
    ends = [
        f"{sign}{row.by:.0%}: "
        + ("no plan" if value is None else amount(value, unit))
        + (" (other systems)" if changes and value is not None else "")
        for sign, value, changes in (
            ("-", row.value_low, row.mix_changes_low),
            ("+", row.value_high, row.mix_changes_high),
        )
    ]
    return plain(f"{row.input}: {'; '.join(ends)}{_by(row.how)}")


def measure(row: ToMeasure, unit: str) -> str:
    """What knowing a figure before signing is worth."""
    known = f"{row.known}, ±{row.interval80_pct:.0f} %, {row.runs} runs"
    what = f"{row.workload} on {row.system} ({known})"
    if not row.changes:
        return plain(f"{what}: would not change what is bought{_by(row.how)}")
    worst = "could break the plan" if row.worst is None else f"at most {amount(row.worst, unit)}"
    return plain(f"{what}: worth {amount(row.value, unit)} on average, {worst}{_by(row.how)}")


def break_even(row: BreakEven) -> str:
    """Where two routes cost the same."""
    at = f"{number(row.at)} times the demand"
    if row.axis == "utilisation":
        at = f"{percent(row.at)} utilisation"
    leaps = " (a leap)" if row.jump else ""
    below, above = row.cheaper_below, row.cheaper_above
    return plain(f"at {at}: below it {below} costs less, above it {above}{leaps}")


def routes(rows: Sequence[RoutePoint], axis: str) -> list[list[str]]:
    """Costs per million output tokens as a table: a head, then a row for each point."""
    names = list(dict.fromkeys(row.route for row in rows if row.axis == axis))
    points: dict[float, dict[str, str]] = {}
    for row in rows:
        if row.axis == axis:
            cost = number(row.cost_per_mtok_output_usd)
            points.setdefault(row.at, {})[row.route] = cost
    lines = [[number(at), *(of.get(name, "") for name in names)] for at, of in points.items()]
    return [[axis, *map(plain, names)], *lines] if lines else []


def difference(found: Difference) -> str:
    """The two values and their difference."""
    unit = found.objective_unit
    more = "more" if found.change >= 0 else "less"
    return (
        f"{amount(found.before, unit)}, then {amount(found.after, unit)}: "
        f"{amount(abs(found.change), unit)} {more}{_by(found.how)}"
    )


def part(row: Part, unit: str) -> str:
    """What one group of inputs has to do with it."""
    shown = ", ".join(row.inputs[:_INPUTS])
    rest = len(row.inputs) - _INPUTS
    others = f" and {rest} more" if rest > 0 else ""
    sign = "+" if row.change >= 0 else "-"
    return plain(f"{row.group}: {sign}{amount(abs(row.change), unit)} ({shown}{others})")


def moved(row: Moved, name: str | None = None) -> str:
    """A figure before and after, by its own name or another."""
    return plain(f"{name or row.what}: {number(row.before)} -> {number(row.after)}")


def sweep_point(row: SweepPoint) -> list[str]:
    """A setting as the cells of a table."""
    factors = [number(f) for f in row.factors.values()]
    if not row.feasible:
        said = "not answered" if row.feasible is None else "no plan"
        return [*factors, said, "", "", "", "", ""]
    first = f"; first {_systems(row.first_orders)}" if row.first_orders else ""
    return [
        *factors,
        number(row.annual_cost_usd),
        number(row.cost_per_mtok_output_usd),
        f"{row.gpus:,}",
        "–" if row.api_share is None else f"{row.api_share:.0%}",
        "changed" if row.mix_changed else "",
        plain(f"{_systems(row.systems)}{first}"),
    ]


def _counted(amount_of: float, of: str) -> str:
    """`10.2 kW`, `1 system`, `2 systems`."""
    one = amount_of == 1 and of in ("systems", "racks", "months")
    return f"{number(amount_of)} {of[:-1] if one else of}"


def _systems(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {offer}" for offer, count in counts.items()) or "no systems"


def _by(how: str) -> str:
    return "" if how == "re-solved and proven" else f" [{how}]"
