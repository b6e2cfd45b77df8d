"""A plan's findings: the titles and sentences of a page, beside those of `words`.

A section's title is what the section shows, in one sentence with its figure. Reads a `Plan` and
computes nothing but wording.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tokenfleet.files.plain import listed, plain
from tokenfleet.plan.rows import ALL_REQUESTS, Plan, Promise, Systems, Way
from tokenfleet.report import words
from tokenfleet.report.numbers import (
    count,
    counted,
    difference,
    digits,
    exact_dollars,
    minus,
    part,
    power,
    short_dollars,
    unit_price,
)

LONGEST = 44  # characters of a name on a page
LOTS = 3  # named in the lead
# What is done with systems, what stands after them, and before the place.
_DO = {
    "buy": ("buy", "", "for"),
    "rent": ("rent", "", "in"),
    "on_demand": ("rent", " on demand", "in"),
    "spot": ("rent", " on the spot market", "in"),
    "owned": ("keep", "", "in"),
    "all_in": ("take", " at an all-in price", "in"),
}
_GET = ("get", "", "in")
_ENERGY_SHARE = 0.02  # below which energy is not worth a place in the title
_TIGHT = 0.02  # of a power limit
NO_PLAN_FOOT = "Nothing here is a plan: no system is proposed and no cost is known."
PRICED_FOOT = (
    "Nothing here is a plan: each cost is that of the best plan after the change beside it."
)
CONFLICT = "These limits cannot all hold: without any one of them there would be a plan"
INPUTS = "What beside prices would bring something into the plan, or out of it"
PRECISION = "What tokens of another precision would have to be worth"
NOT_ANSWERED = "What was not asked, or not answered, and why"
BREAK_EVEN = "Where one way to get tokens begins to cost less than another"
MEASURE = "Benchmarks whose outcome could change what is bought"
NOTEBOOK = 'plan.report("plan.html") writes the whole report; plan.table("systems") is a table.'
SELF_CONTAINED = "This file is complete: it loads nothing and runs no script."


def clip(name: str, most: int = LONGEST) -> str:
    """A name of at most so many characters, its head and its tail."""
    name = plain(name)
    if len(name) <= most:
        return name
    tail = most // 4
    return f"{name[: most - tail - 1]}…{name[-tail:]}"


def sentence(text: str) -> str:
    """The text with a capital letter in front, where it begins with a word and not with an id."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.rstrip(",:;").isalpha() else text


# The head


def proof(plan: Plan) -> str:
    """How far the plan is proven, as the terminal says it."""
    return sentence(words.status_words(plan))


def delivered(plan: Plan) -> str:
    """What a million output tokens cost, and with what."""
    sites = len({row.site for row in plan.systems})
    what = f"{counted(plan.gpus, 'accelerator')} at {counted(sites, 'site')}"
    if not plan.gpus:
        what = "Hosted APIs" if any(row.api for row in plan.routing) else "Nothing"
    price = plan.cost_per_mtok_output_usd
    if price is None:
        return what
    verb = "delivers" if what == "Nothing" or plan.gpus == 1 else "deliver"
    return f"{what} {verb} a million output tokens for {money_per_mtok(price)}"


def money_per_mtok(usd: float | None) -> str:
    """A price per million tokens; short where it is large."""
    if usd is None:
        return "–"
    if 0 < usd < 1e-4:
        return f"${digits(usd)}"
    return short_dollars(usd) if abs(usd) >= 1e5 else minus(unit_price(usd))


def what_to_do(plan: Plan) -> str:
    """What to buy, rent and keep, where; three lots, and how many smaller ones."""
    lots = _lots(plan)
    parts = lots[:LOTS]
    rest = len(lots) - LOTS
    if rest > 0:
        parts.append(counted(rest, "smaller lot"))
    apis = sorted({clip(row.api) for row in plan.routing if row.api is not None})
    if apis:
        named = listed(apis) if len(apis) <= 3 else f"{len(apis)} hosted APIs"
        parts.append(f"send {'the rest' if parts else 'everything'} to {named}")
    return f"{sentence(listed(parts))}." if parts else "Nothing needs to be bought."


def _lots(plan: Plan) -> list[str]:
    """Lots with one verb at one place, the largest first: `buy 2 A racks and 1 B rack for x`."""
    found: dict[tuple[str, str], list[Systems]] = defaultdict(list)
    for row in plan.systems:
        found[row.kind, row.system].append(row)
    names, lots = system_names(plan), defaultdict[tuple[str, str, str], list[tuple[int, str]]](list)
    for (kind, system), rows in found.items():
        verb, how, where = _DO.get(kind, _GET)
        number = sum(row.count for row in rows)
        sites = sorted({clip(row.site) for row in rows})
        at = f"{where} {listed(sites)}" if len(sites) <= 2 else f"at {len(sites)} sites"
        what = f"{number:,} {names[system]} {noun(plan, system, number)}"
        lots[verb, how, at].append((sum(row.gpus for row in rows), what))
    texts = []
    for (verb, how, at), kinds in lots.items():
        kinds.sort(key=lambda lot: (-lot[0], lot[1]))
        shown = [what for _, what in kinds[:LOTS]]
        if len(kinds) > LOTS:
            shown.append(counted(len(kinds) - LOTS, "smaller lot"))
        texts.append((sum(gpus for gpus, _ in kinds), f"{verb} {listed(shown)}{how} {at}"))
    return [text for _, text in sorted(texts, key=lambda lot: (-lot[0], lot[1]))]


def system_names(plan: Plan) -> dict[str, str]:
    """What each system type of the plan is called: its accelerator, else its id."""
    names = words.accelerators(plan)
    return {row.system: clip(names.get(row.system, row.system)) for row in plan.systems}


def noun(plan: Plan, system: str, number: int) -> str:
    """`server`, `racks`, ...: what a system type is."""
    form = next((row.form for row in plan.hardware if row.system == system), "system")
    one = form if form in ("server", "rack") else "system"
    return one if number == 1 else f"{one}s"


def a_year(plan: Plan) -> str:
    """The yearly cost and what it delivers."""
    tokens = count(plan.tokens_per_year_output)
    return f"{exact_dollars(plan.annual_cost_usd)} a year for {tokens} output tokens."


# What to get


def to_get(plan: Plan) -> str:
    """`Keep 3 systems and buy 3, and pay a hosted API for the rest`."""
    by_kind: dict[tuple[str, str], int] = defaultdict(int)
    for row in plan.systems:
        verb, how, _ = _DO.get(row.kind, _GET)
        by_kind[verb, how] += row.count
    ordered = sorted(by_kind.items(), key=lambda item: (item[0][0] != "keep", -item[1], item[0]))
    parts = [f"{verb} {number:,}{how}" for (verb, how), number in ordered]
    if parts:
        (verb, how), number = ordered[0]
        parts[0] = f"{verb} {counted(number, 'system')}{how}"
    api = any(row.api for row in plan.routing)
    if not parts:
        return "Pay a hosted API for everything" if api else "Nothing needs to be bought"
    rest = ", and pay a hosted API for the rest" if api else ""
    return sentence(listed(parts)) + rest


def money_title(plan: Plan) -> str:
    """The largest cost, and energy where it is paid apart."""
    if plan.annual_cost_usd <= 0 or not plan.cost_items:
        return "The plan costs nothing"
    name, usd = max(plan.cost_items.items(), key=lambda item: (item[1], item[0]))
    what = {
        "capex_annuity": "Buying hardware",
        "rental": "Renting",
        "all_in": "What is paid at an all-in price",
        "api_tokens": "Paying hosted APIs",
        "energy": "Energy",
        "shortfall": "Leaving requests unserved",
    }.get(name, sentence(words.item_name(name)))
    title = f"{what} is {part(usd, plan.annual_cost_usd)} of the yearly cost"
    energy = plan.cost_items.get("energy", 0.0)
    if name != "energy" and energy >= _ENERGY_SHARE * plan.annual_cost_usd:
        title += f"; energy is {part(energy, plan.annual_cost_usd)}"
    return title


# Alternatives


def single_title(plan: Plan) -> str:
    """The best plan of one system type beside this one."""
    single = plan.best_single_system
    if single is None:
        return "No plan of one system type meets every requirement"
    relative = single.difference_relative or 0.0
    if words.is_tie(plan, relative):
        same = {row.system for row in plan.systems} == {single.system}
        return (
            "One system type is enough"
            if same
            else "The best plan of one system type is as good, within the proven gap"
        )
    return f"The best plan of one system type {against(plan, relative)}"


def against(plan: Plan, relative: float) -> str:
    """`costs 22% more`, or the like for other goals."""
    verb = "costs" if plan.objective.startswith("least_cost") else "comes to"
    return f"{verb} {difference(abs(relative))[1:]} {'more' if relative > 0 else 'less'}"


EACH_WAY = "Each way alone"
WAYS_NOTE = (
    "Each is the best plan of one way to get the tokens, without the others and without what is "
    "owned already."
)


def ways_title(plan: Plan) -> str:
    """The best of the ways alone, beside the plan."""
    found = next((way for way in plan.ways if way.objective_value is not None), None)
    if found is None:
        return "No plan was found that gets the tokens in one way alone"
    relative = found.difference_relative or 0.0
    if words.is_tie(plan, relative):
        return sentence(plain(f"{found.name} alone is as good"))
    return sentence(plain(f"{found.name} alone {against(plan, relative)}"))


def no_way(ways: Sequence[Way]) -> list[str]:
    """Ways that have no plan alone, with what keeps them from it where that is known."""
    told = [plain(f"{sentence(way.name)} alone has no plan: {way.why}.") for way in ways if way.why]
    for impossible in (True, False):
        what = "nothing meets every requirement" if impossible else "no plan was found"
        names = [way.name for way in ways if way.impossible is impossible and not way.why]
        told += [plain(f"Alone, {what} by: {', '.join(names)}.")] if names else []
    return told


# Latency


def latency_title(rows: Sequence[Promise], confidence: float | None = None) -> str:
    """Whether limits hold, and how many likely ranges reach beyond theirs."""
    how = "as modelled" if confidence is None else f"at {part(confidence, 1.0)} confidence"
    late = [r for r in rows if r.promised_ms is not None and r.promised_ms > r.limit_ms * 1.000001]
    beyond = [r for r in rows if r.interval_ms[1] is not None and r.interval_ms[1] > r.limit_ms]
    if late:
        return f"{len(late)} of {counted(len(rows), 'latency limit')} do not hold {how}"
    if len(rows) == 1:
        title = f"The latency limit holds {how}"
        return title + ("; its likely range reaches beyond" if beyond else "")
    title = f"All {len(rows)} latency limits hold {how}"
    if not beyond:
        return title if confidence is not None else f"{title}, and so does the likely range of each"
    if len(beyond) == len(rows):
        return f"{title}; the likely range of every one reaches beyond"
    if len(beyond) == 1:
        return f"{title}; the likely range of one reaches beyond"
    return f"{title}; the likely ranges of {len(beyond)} reach beyond"


def limit_of(row: Promise) -> str:
    """Which figure of which requests is limited: `TTFT p95, completion`."""
    which = "all requests" if row.cls == ALL_REQUESTS else clip(row.cls)
    return f"{row.metric.upper()} {row.percentile}, {which}"


LATENCY_NOTE = (
    "The dot is what the model promises and the line the range that holds four of five measured "
    "runs left out of its fit. Where it passes the limit, plan again with a confidence of 90% to "
    "keep headroom, or measure first."
)


def held_note(confidence: float) -> str:
    """What the marks of a plan are that holds its limits at a confidence."""
    return (
        "The dot is what the model expects of this plan and the line the range that holds four of "
        "five measured runs left out of its fit, at the same load. The ring is the latency with "
        f"the model's errors against the plan: with a confidence of {part(confidence, 1.0)} it is "
        "no more than that. It may lie beyond the line, for a slower fleet also fills up, and no "
        "promise is earlier than it was simulated."
    )


# Power


def power_title(plan: Plan) -> str:
    """How near power is to its limits."""
    limited = [
        (row.provisioned_kw / row.power_limit_kw, row.site)
        for row in plan.sites
        if row.power_limit_kw
    ]
    if not limited:
        return "No site has a power limit"
    most, site = max(limited, key=lambda pair: pair[0])
    full = [s for share, s in limited if share >= 1.0 - _TIGHT]
    if full and len(full) == len(limited) == len(plan.sites):
        least = _of_limit(min(s for s, _ in limited))
        every = f"Every site is at {least}" + ("" if least == "100%" else " or more")
        if len(full) == 1:
            every = f"The site is at {_of_limit(most)}"
        return f"{every} of its power limit: power is what binds"
    if full:
        at = counted(len(full), "site")
        verb = "is" if len(full) == 1 else "are"
        return f"{at} of {len(plan.sites)} {verb} at the power limit: power is what binds there"
    name = clip(site) if len(limited) > 1 else "The site"
    return sentence(f"{'the fullest site, ' + name + ',' if len(limited) > 1 else name} is at ") + (
        f"{_of_limit(most)} of its power limit"
    )


def _of_limit(share: float) -> str:
    """A share of a limit that says 100% only where nothing is left."""
    if 0.99 <= share < 1.0:
        return f"{math.floor(1000 * share) / 10:.1f}%"
    return part(share, 1.0)


# Who serves what


def served_title(plan: Plan) -> str:
    """Workloads and kinds of systems, or the hours in which an API is used."""
    hours = api_hours(plan)
    total = sum(block.hours_per_year for block in plan.blocks)
    if hours and plan.systems:
        return f"The hosted API is used in {hours:,.0f} of {total:,.0f} hours"
    kinds = len({row.system for row in plan.systems})
    what = counted(kinds, "kind of system", "kinds of systems") if kinds else "hosted APIs"
    return f"{counted(len(plan.workloads), 'workload')} on {what}"


def api_hours(plan: Plan) -> float:
    """Hours of a year in which some request goes to a hosted API."""
    rates = [r.requests_per_s for r in plan.routing if r.api]
    return sum(
        block.hours_per_year for b, block in enumerate(plan.blocks) if any(of[b] for of in rates)
    )


# What it rests on


def rests_title(plan: Plan) -> str:
    """How many of the figures behind the money are not the buyer's own."""
    if not plan.inputs:
        return "Where the figures come from"
    assumed = sum(row.assumed for row in plan.inputs)
    if not assumed:
        return "Every figure behind the money is yours"
    verb = "is a typical figure" if assumed == 1 else "are typical figures"
    return f"{assumed} of {len(plan.inputs)} figures behind the money {verb}, not yours"


def tile_of_power(plan: Plan) -> tuple[str, str]:
    """Power that is held, and of how much."""
    held = words.power_held_kw(plan)
    if held is None:
        return power(held), "has no source for each system"
    limits = [row.power_limit_kw for row in plan.sites]
    sites = counted(len(plan.sites), "site")
    if not limits or any(limit is None for limit in limits):
        return power(held), f"at {sites}"
    return power(held), f"of {power(math.fsum(x or 0.0 for x in limits))} at {sites}"


def tiles_of_images(plan: Plan) -> list[tuple[str, str, str]]:
    """What a thousand images cost, of each workload of images; at most two."""
    return [
        ("Images, per thousand", unit_price(w.cost_per_thousand_images_usd), clip(w.workload, 24))
        for w in plan.workloads
        if w.images_per_year is not None and w.cost_per_thousand_images_usd is not None
    ][:2]


def tile_of_single(plan: Plan) -> tuple[str, str]:
    """What the best plan of one system type costs more."""
    single = plan.best_single_system
    if single is None:
        return "–", "no plan of one type"
    relative = single.difference_relative or 0.0
    name = clip(words.accelerators(plan).get(single.system, single.system), 24)
    if words.is_tie(plan, relative):
        return "as good", f"all {name}"
    return difference(relative), f"all {name}"


def told_beside(plan: Plan) -> tuple[str, ...]:
    """How sure the answer is: at a confidence and as expected, and what the simulator says."""
    return tuple(map(sentence, (*words.certainty(plan), *words.simulated(plan))))


def front_note(plan: Plan) -> str:
    """What is paid up front for."""
    return "servers, network, storage" if plan.capex_usd else "nothing is bought"


def read_before(plan: Plan, notes: Iterable[str]) -> tuple[str, ...]:
    """At most four warnings; the rest are further down."""
    found = [sentence(plain(text)) for text in notes]
    if len(found) <= 4:
        return tuple(found)
    return (*found[:3], f"{len(found) - 3} more stand under “What it rests on”.")


def foot(plan: Plan) -> tuple[str, ...]:
    """What the figures are."""
    return (
        f"Figures are in {plan.currency} before tax, of one year of 8,760 hours; k is thousand, M "
        "million, B billion. A million output tokens bear the whole cost, input tokens included.",
        SELF_CONTAINED,
    )


def contested(names: Mapping[str, str], single: str) -> str:
    """`Only H100 SXM 80GB`."""
    return f"Only {clip(names.get(single, single))}"


# Without a plan

INFEASIBLE = "Infeasible: proven that no plan exists"
NO_PLAN = "No plan meets every requirement"
NOT_FOUND = "Open: no plan was found in the time given"
FAILED = "Failed: the question could not be answered"
NO_ANSWER = "There is no answer yet"
TO_DO = "Change one of these in the scenario and plan again"
TO_DO_LATE = "Give the search more time, or a smaller question"
TOGETHER = "All of these together:"


def ways_out(number: int) -> str:
    """`2 ways out, smallest change first`."""
    return "One way out" if number == 1 else f"{number} ways out, smallest change first"


def priced_ways_out(number: int) -> str:
    """`4 ways out, each with what it then costs`."""
    return "One way out, and what it costs" if number == 1 else (
        f"{number} ways out, each with what it then costs"
    )  # fmt: skip


def in_the_way(number: int) -> str:
    """How many requirements are in the way, where no repair is known."""
    return "No single requirement is the cause" if not number else (
        f"{counted(number, 'requirement')} cannot be met"
    )  # fmt: skip


def lead_of_ways(number: int) -> str:
    """What the ways out are."""
    if number == 0:
        return "The requirements cannot all be met with what the scenario allows."
    if number == 1:
        return "The requirements contradict each other. This change is enough."
    return "The requirements contradict each other. Any one of these is enough alone."


# What would change a plan

SHAPLEY = (
    "The parts are Shapley values over groups of inputs: they add up to the change whatever order "
    "the inputs are changed in."
)


def matters_most(name: str, by: str, less: str, more: str, unit: str) -> str:
    """`Price of h100-buy matters most: 20% less gives $2.75, 20% more gives $3.50 per million
    tokens`."""
    told = {"USD per year": " a year"}.get(unit, f" {unit.removeprefix('USD ')}")
    return f"{name} matters most: {by} less gives {less}, {by} more gives {more}{told}"


RANGES = "Prices between which it stays the best, with all else as it is"


def menu_title(better: int) -> str:
    """How many other wishes a plan that costs little more serves."""
    if not better:
        return "No plan that costs little more is better at anything else"
    return f"Plans that cost little more are better at {counted(better, 'thing')}"


def due_to(groups: int) -> str:
    """How many groups of inputs the change comes from."""
    return f"The change comes from {counted(groups, 'group')} of inputs"


def moved_title(number: int, one: str) -> str:
    """`3 lots of systems moved`."""
    head, _, tail = one.partition(" of ")
    several = f"{head}s of {tail}" if tail else f"{one}s"
    return f"{counted(number, one, several)} moved"
