"""A plan in words: sentences and names that the terminal and a page both say.

Reads a `Plan` and computes nothing but wording. Everything that a user named goes through `plain`,
so that no control character of a scenario gets out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from tokenfleet.files.plain import plain
from tokenfleet.plan.known_rows import OtherAnswer
from tokenfleet.plan.rows import Limit, Plan, Promise, Replicas, Systems
from tokenfleet.problem_data import GOALS, HOURS_PER_YEAR, KEPT
from tokenfleet.report import ages
from tokenfleet.report.numbers import (
    NBSP,
    amount,
    count,
    dollars,
    number,
    percent,
    spelled,
    unit_price,
)
from tokenfleet.schema.fields import HOURS_PER_DAY
from tokenfleet.sizing.margin import Margin

_OBTAINED = {
    "buy": "bought",
    "rent": "rented",
    "on_demand": "on demand",
    "spot": "spot",
    "owned": "owned already",
    "all_in": "at an all-in price",
}
_ITEMS = {
    "capex_annuity": "purchase, as an annuity",
    "residual_credit": "resale value",
    "api_tokens": "hosted API tokens",
    "carbon": "priced carbon",
    "water": "priced water",
    "contracted_power": "contracted power",
    "all_in": "systems at an all-in price",
}
SAME = 1e-6  # relative difference below which two plans are equal
_NOTHING = 1e-5  # of a value, below which it is not said that it was given up
_NEARLY_PROVEN = 0.005  # gap below which nothing is said of it beside another answer
_LIMITED = {"_kw": " kW", "_usd": " USD", "_kg": " kg", "_per_s": " requests/s"}  # units by key
_BINDING = 3  # limits that are named
_TIGHT = 0.01  # share of a limit below which what is left is next to nothing
_BUNDLES = 3  # kinds of systems named in the headline
_SHARE_OF_NOTE = 0.005  # smaller costs stand together


def headline(plan: Plan) -> str:
    """What to get, in one sentence."""
    bundles, names = _bundles(plan), accelerators(plan)
    parts = [_bundle(key, rows, names) for key, rows in bundles[:_BUNDLES]]
    rest = sum(row.gpus for _, rows in bundles[_BUNDLES:] for row in rows)
    if rest:
        parts.append(f"{_gpus(rest)} of {len(bundles) - _BUNDLES} other kinds")
    total = f"{_gpus(plan.gpus)}: " if plan.gpus else ""
    apis = _apis(plan)
    if apis:
        parts.append(f"hosted API {', '.join(apis)}" + (" for the rest" if parts else ""))
    return total + ("; ".join(parts) if parts else "nothing needs to be bought")


def _bundles(plan: Plan) -> list[tuple[tuple[str, str], list[Systems]]]:
    """Systems of one type and kind over all sites, largest first."""
    found: dict[tuple[str, str], list[Systems]] = defaultdict(list)
    for row in plan.systems:
        found[(row.system, row.kind)].append(row)
    return sorted(found.items(), key=lambda item: (-sum(r.gpus for r in item[1]), item[0]))


def _bundle(key: tuple[str, str], rows: Sequence[Systems], names: Mapping[str, str]) -> str:
    system, kind = key
    count = sum(row.count for row in rows)
    each = rows[0].gpus // max(rows[0].count, 1)
    sites = list(dict.fromkeys(row.site for row in rows))
    where = ", ".join(sites) if len(sites) <= 3 else f"{len(sites)} sites"
    named = f"{names[system]} ({system})" if system in names else system
    systems = "system" if count == 1 else "systems"
    how = f", {obtained(kind)}" if kind else ""
    hall = ", in the provider's hall, counted" if all(row.hosted for row in rows) else ","
    return plain(f"{count:,} {systems} of {each} {named}{how}{hall} at {where}")


def _apis(plan: Plan) -> list[str]:
    return sorted({plain(row.api) for row in plan.routing if row.api is not None})


#: Of a bound that the search alone vouches for, as over a horizon that is built whole.
OWN_BOUND = ", by the solver's own bound, which nothing else confirms"


def status_words(plan: Plan) -> str:
    """How far the plan is proven."""
    gap = None if _says_nothing(plan.gap) else percent(plan.gap or 0.0)
    goal = GOALS[plan.objective].words
    proven, own = ("proven", "") if plan.bound_check != "none" else ("found", OWN_BOUND)
    words = {
        "optimal": f"{proven}: no plan has {_better(plan)}{_than(plan)}{own}",
        "within_gap": f"{proven} within {gap} of the {goal} possible{own}",
        "feasible": f"best plan found; {_unproven(gap, goal)}",
        "feasible_time_limit": f"best plan found in time; {_unproven(gap, goal)}",
    }.get(plan.status, plan.status)
    words += simplicity(plan)
    return f"interrupted: {words}" if plan.interrupted else words


def held(confidence: float | None) -> str:
    """How sure a figure is, in the two words that plans use: expected, or held at 80 %."""
    return "expected" if confidence is None else f"held at {100 * confidence:g} %"


def certainty(plan: Plan) -> list[str]:
    """The answer held at a confidence and the expected one, beside each other."""
    if plan.other is None:
        return []
    other = plan.other
    ours = f"{held(plan.confidence)}: {_figures(plan.annual_cost_usd, plan.gpus)}"
    if other.annual_cost_usd is None:
        return [f"{ours}; {held(other.confidence)}: no plan"]
    theirs = f"{held(other.confidence)}: {_figures(other.annual_cost_usd, other.gpus)}"
    lines = [f"{ours}; {theirs}{_how_got(other)}"]
    if other.undecided is not None:
        taken, instead = (", ".join(s) for s in (other.undecided.taken, other.undecided.instead))
        lines.append(
            plain(
                f"the choice between {taken} and {instead} lies inside the model's error: "
                f"{held(other.confidence)}, the plan would take {instead}; to settle it, measure "
                f"{other.undecided.measure[0] if other.undecided.measure else 'both'}"
            )
        )
    return lines


def _how_got(other: OtherAnswer) -> str:
    """How far the answer at the other confidence is proven, where that is not nearly all."""
    parts = ["with this plan, no better one was found"] if other.same_plan else []
    if _says_nothing(other.gap):
        parts.append("nothing is proven about it")
    elif other.gap is not None and other.gap > _NEARLY_PROVEN:
        parts.append(f"gap {percent(other.gap)}")
    return f" ({', '.join(parts)})" if parts else ""


def simulated(plan: Plan) -> list[str]:
    """What the simulator says of the plan, in one line."""
    known = plan.verification
    if known is None or not known.rounds or not plan.replicas:
        return []
    last = known.rounds[-1]
    share = "" if known.judged_share is None else f" ({known.judged_share:.0%} of the GPUs)"
    what = f"simulated{share}"
    if known.holds is None:
        return [f"{what}: interrupted before it was judged"]
    if last.failed:
        worst = last.failed[0]
        row = worst.limit
        return [
            plain(
                f"{what}: a limit is missed still, {row.metric.upper()} {row.percentile} of "
                f"{worst.workload} is {number(row.simulated_ms)} of {number(row.limit_ms)} ms on "
                f"{worst.system}; --verify simulate looks further"
            )
        ]
    price = known.price_of_certainty_usd or 0.0
    raised = f"; {dollars(price)} a year of the cost are for that" if price > 0.5 else ""
    return [f"{what}: no latency limit is missed{raised}"]


def _figures(usd: float, gpus: int | None) -> str:
    return f"{dollars(usd)} a year" + (f", {_gpus(gpus)}" if gpus else "")


def _gpus(count: int) -> str:
    return f"{count:,} GPU" if count == 1 else f"{count:,} GPUs"


def simplicity(plan: Plan) -> str:
    """What was given up for a simpler plan, or for what stands; nothing of a rounding."""
    best = _given_up_from(plan)
    if best is None:
        return ""
    share = percent(abs(plan.objective_value - best) / abs(best))
    money = _given_up(plan, best)
    given = f"{money} ({share})" if money else share
    why = (
        "to keep what stands"
        if KEPT in [notice.text for notice in plan.warnings]
        else "for a simpler plan"
    )
    besides = "" if plan.status == "optimal" else "besides, "
    return f"; {besides}{given} is given up {why}"


def _given_up_from(plan: Plan) -> float | None:
    """The best value known, where some of it was given up for a simpler plan or for what stands."""
    best = plan.best_objective_value
    if best is None or abs(plan.objective_value - best) <= _NOTHING * abs(best):
        return None
    return best


def _given_up(plan: Plan, best: float) -> str:
    """How much that is; empty where it is less than a dollar, as in a plan without its money."""
    given = amount(abs(plan.objective_value - best), plan.objective_unit)
    return "" if given.startswith("$0 ") else given


def _than(plan: Plan) -> str:
    """The value that no plan betters, where that is not the plan's own."""
    best = _given_up_from(plan)
    if best is None or not _given_up(plan, best):
        return ""
    return f" than {amount(best, plan.objective_unit)}"


def _better(plan: Plan) -> str:
    goal = GOALS[plan.objective].words
    return goal.replace("least", "less").replace("most", "more")


def _says_nothing(gap: float | None) -> bool:
    """Whether a gap is none, or leaves room for a plan that costs nothing at all."""
    return gap is None or gap >= 1.0


def _unproven(gap: str | None, goal: str) -> str:
    return f"at most {gap} from the {goal} possible" if gap else "nothing is proven about it"


def reasons(plan: Plan) -> list[str]:
    """Why this plan: the alternative, what binds, where the money goes, what stands spare."""
    found = [alternative(plan), *without(plan), binding(plan), _largest_cost(plan)]
    found.append(spares(plan))
    return [text for text in found if text is not None]


def alternative(plan: Plan) -> str | None:
    """The plan of one system type beside this one; a tie within the proven gap is no win.

    Of a plan that has just that type the headline says what was given up for simplicity.
    """
    types = _types(plan)
    if not types:
        return "hosted APIs serve it all: no system is bought or rented" if _apis(plan) else None
    single = plan.best_single_system
    if single is None:
        return None
    relative = single.difference_relative or 0.0
    if types == {single.system}:
        return plain(f"one system type is enough: {single.system}")
    if is_tie(plan, relative):
        return plain(
            f"the best plan of one system type, {single.system}, is as good, within the proven gap"
        )
    more = "more" if relative > 0 else "less"
    verb = "costs" if plan.objective.startswith("least_cost") else "comes to"
    # Over a horizon the value counts risk, and is none of the costs that stand beside it.
    value = "" if plan.horizon else f": {amount(single.objective_value, plan.objective_unit)}"
    return plain(
        f"the best plan of one system type, {single.system}, {verb} {percent(abs(relative))} "
        f"{more}{value}"
    )


def _types(plan: Plan) -> set[str]:
    """Types of systems of the plan, over a horizon those of all its periods."""
    if plan.horizon is None:
        return {row.system for row in plan.systems}
    return {row.system for p in plan.horizon.periods for row in p.systems if row.count}


def is_tie(plan: Plan, relative: float) -> bool:
    """Whether another plan is as good within what was proven: a tie is no win."""
    return abs(relative) <= max(plan.gap or 0.0, SAME)


def without(plan: Plan) -> list[str]:
    """Why the plan has what people would rather do without."""
    texts = []
    for row in plan.without:
        what = f"{row.what} ({', '.join(row.workloads)})"
        verb = "costs" if plan.objective.startswith("least_cost") else "is"
        if row.difference_relative is None:
            texts.append(plain(f"{what}: no plan does without"))
        elif row.difference_relative > SAME:
            least = percent(row.difference_relative)
            worse = "more" if verb == "costs" else "worse"
            texts.append(plain(f"{what}: every plan without {verb} at least {least} {worse}"))
        else:
            texts.append(plain(f"{what}: no plan without was found in time"))
    return texts


def binding(plan: Plan) -> str | None:
    """Limits that leave no room; where none does, the closest."""
    limits, promises = tightest(plan.limits, _BINDING), tightest_promises(plan.slo)[:1]
    tight = [_limit_words(row) for row in limits if binds(plan, row)]
    tight += [_promise_words(row) for row in promises if _left(row) <= _TIGHT]
    if tight:
        return f"what binds: {'; '.join(tight)}"
    near = [_limit_words(row) for row in limits[:1]] + [_promise_words(row) for row in promises]
    return f"no limit binds; the closest: {'; '.join(near)}" if near else None


def binds(plan: Plan, row: Limit) -> bool:
    """Whether a limit leaves less than one more of the plan's systems needs, or next to nothing."""
    least = 0.0
    if row.what == "power_kw":
        utility = any(s.site == row.where and s.power_basis == "utility" for s in plan.sites)
        drawn = [
            s.provisioned_it_kw * (s.pue if utility else 1.0)
            for s in plan.systems
            if s.site == row.where and not s.hosted
        ]
        least = min(drawn, default=0.0)
    share = 1.0 if row.headroom_share is None else row.headroom_share
    return share <= _TIGHT or row.headroom < least


def _largest_cost(plan: Plan) -> str | None:
    items = sorted(plan.cost_items.items(), key=lambda item: -item[1])
    if not items or plan.annual_cost_usd <= 0:
        return None
    name, usd = items[0]
    share = usd / plan.annual_cost_usd
    return f"largest cost: {item_name(name)}, {dollars(usd)} a year ({share:.0%})"


def tightest(limits: Iterable[Limit], count: int) -> list[Limit]:
    """Limits with the smallest share left, among those that are used at all."""
    used = [(r.headroom_share, r) for r in limits if r.headroom_share is not None and r.used > 0]
    return [row for _, row in sorted(used, key=lambda pair: pair[0])[:count]]


def tightest_promises(slo: Iterable[Promise]) -> list[Promise]:
    """The tightest class of every limit of every workload, tightest first."""
    worst: dict[tuple[str, str, str], Promise] = {}
    for row in slo:
        key = (row.workload, row.metric, row.percentile)
        if key not in worst or _left(row) < _left(worst[key]):
            worst[key] = row
    return sorted(worst.values(), key=_left)


def above_range(plan: Plan) -> list[str]:
    """Why latencies that are held lie above the range beside them; nothing where none does."""
    rows = [row for row in tightest_promises(plan.slo) if _is_above_range(row)]
    if plan.confidence is None or not rows:
        return []
    names = dict.fromkeys(f"{row.metric.upper()} {row.percentile}" for row in rows)
    what = ", ".join(names)
    return [
        f"{what}: {held(plan.confidence)} lies above the 80 % at the same load, because a slower "
        "fleet also fills up, or because it came later when simulated."
    ]


def _is_above_range(row: Promise) -> bool:
    high = row.interval_ms[1]
    return row.promised_ms is not None and high is not None and row.promised_ms > high


def _left(row: Promise) -> float:
    if row.headroom_ms is None or row.limit_ms <= 0:
        return -math.inf
    return row.headroom_ms / row.limit_ms


def _limit_words(row: Limit) -> str:
    name = limit_name(row.what)
    where = "" if row.where == "all" else f" of {row.where}"
    unit = next((unit for end, unit in _LIMITED.items() if row.what.endswith(end)), "")
    return plain(f"{name}{where} {spelled(row.used)} of {spelled(row.limit)}{unit}")


def _promise_words(row: Promise) -> str:
    what = f"{row.metric.upper()} {row.percentile}"
    return plain(
        f"{what} of {row.workload} {spelled(row.promised_ms)} of {spelled(row.limit_ms)} ms"
    )


def token_price(plan: Plan) -> str:
    """What a million tokens cost: the whole cost over output, over input and over both."""
    output, given, both = (
        unit_price(usd)
        for usd in (
            plan.cost_per_mtok_output_usd,
            plan.cost_per_mtok_input_usd,
            plan.cost_per_mtok_total_usd,
        )
    )
    tokens = (
        f"{output} per million output tokens; that is {given} per million input tokens, or "
        f"{both} per million of both"
    )
    images = [
        f"{unit_price(row.cost_per_thousand_images_usd)} per thousand images of "
        f"{plain(row.workload)}"
        for row in plan.workloads
        if row.images_per_year is not None
    ]
    return "; ".join([*([tokens] if plan.tokens_per_year_total or not images else []), *images])


def money(plan: Plan) -> str:
    """What is paid up front, by the year and by the month, and for how many tokens."""
    front = f"{dollars(plan.capex_usd)} up front, " if plan.capex_usd else "nothing up front, "
    tokens = f"{count(plan.tokens_per_year_output).replace(NBSP, ' ')} output tokens a year"
    return (
        f"{front}{dollars(plan.annual_cost_usd)} a year ({dollars(plan.annual_cost_usd / 12)} a "
        f"month) for {tokens}"
    )


def paid_to_apis(plan: Plan) -> list[tuple[str, float]]:
    """Each hosted API that is used, and what it is paid, USD a year."""
    usd: dict[str, float] = defaultdict(float)
    for row in plan.routing:
        if row.api is not None:
            usd[row.api] += row.cost_usd_per_year
    return sorted(usd.items())


def power_held_kw(plan: Plan) -> float | None:
    """What all systems may draw at once, over the sites, kW; None where one's is not sourced."""
    return None if powerless(plan) else sum(site.provisioned_kw for site in plan.sites)


def powerless(plan: Plan) -> set[str]:
    """System types whose power has no source: what they draw is not known, and is in no sum."""
    return {row.system for row in plan.hardware if row.system_kw is None}


def spares(plan: Plan) -> str | None:
    """Systems that hold no replica in the fullest load block of their pool."""
    systems = {row.pool: row for row in plan.systems}
    named = []
    for row in plan.placement:
        if not row.replica_gpus and row.pool in systems:
            of = systems[row.pool]
            named.append(f"{row.systems:,} {of.system} ({of.offer}) at {of.site}")
    return plain(f"spare: {', '.join(named)}") if named else None


def cost_rows(plan: Plan) -> list[tuple[str, float]]:
    """Cost items in words, the largest first, USD a year; small ones together; then the total."""
    items = sorted(plan.cost_items.items(), key=lambda item: -abs(item[1]))
    least = _SHARE_OF_NOTE * abs(plan.annual_cost_usd)
    rows = [(item_name(name), usd) for name, usd in items if abs(usd) >= least]
    small = [usd for _, usd in items if abs(usd) < least]
    if small:
        rows.append(("other", sum(small)))
    return [*rows, ("total", plan.annual_cost_usd)] if rows else []


# Names


def item_name(item: str) -> str:
    """A cost item in words."""
    return _ITEMS.get(item, item.replace("_", " "))


def limit_name(what: str) -> str:
    """What a limit is of, in words, by its key."""
    return limit_words(what)[0] or what


def limit_words(what: str) -> tuple[str, str]:
    """A limit by its key: its words, and what it is stated of (site, offer, api, or nothing)."""
    from tokenfleet.mix.model import limits  # noqa: PLC0415 (loads the solver)

    known = ((f.words, f.of) for f in limits.FAMILIES if f.key == what)
    return next(known, ("", ""))


def limit_kinds() -> dict[str, str]:
    """By the words for a limit what it is stated of: site, offer, API, or nothing."""
    from tokenfleet.mix.model import limits  # noqa: PLC0415 (loads the solver)

    return {family.words: family.of for family in limits.FAMILIES}


def accelerators(plan: Plan) -> dict[str, str]:
    """Names of the accelerators by system type."""
    return {row.system: row.accelerator for row in plan.hardware}


def obtained(kind: str) -> str:
    """How systems are obtained, in words."""
    return _OBTAINED.get(kind, kind)


def obtained_for(row: Systems) -> str:
    """How systems are obtained, and for how long where that is not all year.

    `on demand, 6 h a day`, a mean over the systems; `on demand, 6 h a day (8 billed)`.
    """
    said, hours = obtained(row.kind), row.count * HOURS_PER_YEAR / HOURS_PER_DAY
    if row.count_by_block is None or not row.count:
        return said
    there, billed = row.hours_per_year / hours, row.billed_hours_per_year / hours
    said = f"{said}, {there:.3g} h a day"
    return said if abs(billed - there) <= SAME * there else f"{said} ({billed:.3g} billed)"


def layouts(rows: Sequence[Replicas]) -> str:
    """The most used layouts: `4 x TP2 EP8`."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[layout(row)] += row.count
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{n:,} x {name}" for name, n in ranked[:3])
    return f"{shown}, …" if len(ranked) > 3 else shown


def layout(row: Replicas) -> str:
    """The parallel degrees of a replica: `TP2 EP8`."""
    degrees = {"tp": "TP", "pp": "PP", "ep": "EP", "attention_dp": "DP"}
    used = [f"{name}{n}" for key, name in degrees.items() if (n := getattr(row, key) or 1) > 1]
    if row.speculative_depth:
        used.append(f"MTP{row.speculative_depth}")
    if row.role != "serve":
        used.append(row.role)
    return " ".join(used) or f"{row.gpus} GPU"


# Notes


def not_considered(plan: Plan) -> list[str]:
    """What was left out; what shares a reason stands on one line."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in plan.not_considered:
        by_reason[row.reason].append(row.what)
    return [f"{_several(names)}: {reason}" for reason, names in by_reason.items()]


def warnings(plan: Plan, today: date | None = None) -> list[str]:
    """What to know before signing; what is said of several systems stands in one sentence.

    Prices are judged on the plan's day, else `today`.
    """
    old = old_prices(plan, today)
    return [*_joined(plan), *([old] if old else [])]


def old_prices(plan: Plan, today: date | None = None) -> str | None:
    """Prices that are older than a quarter, in one sentence."""
    found = ages.old_prices(plan, today)
    if not found:
        return None
    named = [f"{row.what} (of {row.as_of}, at least {row.days:,} days)" for row in found[:3]]
    rest = f" and {len(found) - 3} more" if len(found) > 3 else ""
    are = "price is" if len(found) == 1 else "prices are"
    return plain(
        f"{len(found)} {are} older than {ages.OLD_DAYS} days: {', '.join(named)}{rest}; ask for a "
        "quote before you sign"
    )


def _joined(plan: Plan) -> list[str]:
    relatives = [row for row in plan.warnings if row.kind == "inherited"]
    if len(relatives) < 2:
        return [row.text for row in plan.warnings]
    ranked = sorted(relatives, key=lambda row: -(row.share or 0.0))
    listed = ", ".join(f"{row.system} ({_part_of_fleet(row.share)})" for row in ranked)
    joined = (
        f"{sum(row.share or 0.0 for row in relatives):.0%} of the accelerators rest on "
        f"efficiencies inherited from a relative, not measured on their own kind: {listed}; ask "
        "for a benchmark before you buy"
    )
    return [*(row.text for row in plan.warnings if row.kind != "inherited"), joined]


def _part_of_fleet(share: float | None) -> str:
    """A share of the accelerators; none stand yet of a type that comes in a later period."""
    return f"{share:.0%}" if share else "in later periods"


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return "; ".join(names[:2]) + more


# Sizing


_BARE = ("fraction", "ratio")  # units that a short list leaves out
_SIZED = {
    "cheapest": "least cost a year",
    "simplest": "one type of system; of those the least cost",
    "fastest": "no hosted API, and TPOT limited to {limit}, the least that any layout promises at "
    "half of its load",
    "least power": "no hosted API, and the least energy a year",
    "most tokens": "the most output tokens within the limits",
    "least per token": "the least cost of an output token within the limits",
}


def sized(name: str, tpot_limit_ms: float | None, conflict: str = "") -> str:
    """What an answer to a sizing question is, and why there is none."""
    limit = "none" if tpot_limit_ms is None else f"{number(tpot_limit_ms)} ms"
    said = f"{name}: {_SIZED[name].format(limit=limit)}"
    return plain(f"{said}; there is none: {conflict}" if conflict else said)


def assumed_briefly(plan: Plan) -> str | None:
    """Inputs that were left blank, in one sentence without their sources."""
    rows = [row for row in plan.inputs if row.assumed]
    if not rows:
        return None
    listed = "; ".join(
        f"{row.what} {row.value if isinstance(row.value, str) else number(row.value)} "
        f"{row.unit if row.unit not in _BARE else ''}".strip()
        for row in rows
    )
    return plain(f"assumed, because it was left blank: {listed}")


def mix(plan: Plan) -> str:
    """What to get, as short as a table needs it: `3 h100_sxm_8 bought + API eu-api`."""
    parts = [
        f"{sum(row.count for row in rows):,} {system} {obtained(kind)}"
        for (system, kind), rows in _bundles(plan)
    ]
    return plain(" + ".join([*parts, *(f"API {name}" for name in _apis(plan))]) or "nothing")


def hosted_off_site(plan: Plan, limit_kw: float | None) -> str | None:
    """That rented systems take none of a site's power, where its power was limited."""
    hosted = sum(row.count for row in plan.systems if row.hosted)
    if limit_kw is None or not hosted:
        return None
    return (
        f"{hosted:,} rented systems stand in the provider's hall and take none of the "
        f"{number(limit_kw)} kW; `--get buy` asks for your own alone"
    )


def sold(plan: Plan, sale: Margin) -> str:
    """Margin and payback of a plan whose output tokens are sold."""
    of = "" if sale.margin_share is None else f" ({sale.margin_share:.0%} of the revenue)"
    word = "margin" if sale.margin_usd >= 0 else "loss"
    said = (
        f"sold at {unit_price(sale.price_usd_per_mtok_output)} per million output tokens: revenue "
        f"{dollars(sale.revenue_usd)} a year, {word} {dollars(abs(sale.margin_usd))}{of}"
    )
    if not plan.capex_usd:
        return f"{said}; nothing is paid up front"
    if sale.payback_years is None:
        return f"{said}; what is paid up front is never earned back"
    return f"{said}; what is paid up front is earned back in {sale.payback_years:.1f} years"


# While it is solved


def best_so_far(value: float, bound: float | None, unit: str) -> str:
    """The best plan of a search that goes on: `best so far $323,540 a year, within 0.4%`."""
    said = f"best so far {amount(value, unit)}"
    if bound is None or not math.isfinite(bound):
        return said
    gap = abs(value - bound) / max(abs(value), 1e-9)
    return said if _says_nothing(gap) else f"{said}, within {percent(gap)}"
