"""A plan in words for a person: reads a `Plan`, computes nothing but wording.

`headline`, `status_words` and `reasons` are plain text; `render` prints them with compact tables.
Everything that a user named goes through `Text`, so that neither markup nor control characters of
a scenario reach the terminal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan, Row

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
    "contracted_power": "contracted power",
    "on_demand": "on-demand hours",
}
_LIMITS = {
    "power_kw": "power",
    "racks": "racks",
    "supply_systems": "supply",
    "api_requests_per_s": "API rate",
    "capex_usd": "capex budget",
    "annual_cost_usd": "annual budget",
}
_GOALS = {
    "least_cost": "least cost",
    "least_cost_per_token": "least cost per token",
    "most_tokens": "most tokens",
    "most_value": "most value",
    "least_energy": "least energy",
    "least_carbon": "least carbon",
}
_BUNDLES = 3  # kinds of systems named in the headline
_SHOWN = 5  # rows of a list that may be long
_SHARE_OF_NOTE = 0.005  # smaller shares are not worth a reader's seconds


def render(plan: Plan, console: Console, names: Mapping[str, str] | None = None) -> None:
    """Print the answer: summary, then tables. `names` gives systems their hardware names."""
    console.print(_summary(plan, names or {}))
    for table in (_systems(plan, names or {}), _replicas(plan), _costs(plan), _promises(plan)):
        if table.row_count:
            console.print(table)
    for block in (_not_considered(plan), _warnings(plan)):
        if block is not None:
            console.print(block)


# Words


def headline(plan: Plan, names: Mapping[str, str] | None = None) -> str:
    """What to get, in one sentence."""
    bundles = _bundles(plan)
    parts = [_bundle(key, rows, names or {}) for key, rows in bundles[:_BUNDLES]]
    rest = sum(row["gpus"] for _, rows in bundles[_BUNDLES:] for row in rows)
    if rest:
        parts.append(f"{rest:,} GPUs of {len(bundles) - _BUNDLES} other kinds")
    total = f"{plan.gpus:,} GPUs: " if plan.gpus else ""
    apis = _api_names(plan)
    if apis:
        parts.append(f"hosted API {', '.join(apis)}" + (" for the rest" if parts else ""))
    return total + ("; ".join(parts) if parts else "nothing needs to be bought")


def _bundles(plan: Plan) -> list[tuple[tuple[str, str], list[Row]]]:
    """Systems of one type and kind over all sites, largest first."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in plan.systems:
        found[(row["system"], row["kind"])].append(row)
    return sorted(found.items(), key=lambda item: (-sum(r["gpus"] for r in item[1]), item[0]))


def _bundle(key: tuple[str, str], rows: Sequence[Row], names: Mapping[str, str]) -> str:
    system, kind = key
    count = sum(row["count"] for row in rows)
    each = rows[0]["gpus"] // max(rows[0]["count"], 1)
    sites = list(dict.fromkeys(row["site"] for row in rows))
    where = ", ".join(sites) if len(sites) <= 3 else f"{len(sites)} sites"
    named = f"{names[system]} ({system})" if system in names else system
    obtained = _OBTAINED.get(kind, kind)
    systems = "system" if count == 1 else "systems"
    return plain(f"{count:,} {systems} of {each} {named}, {obtained}, at {where}")


def _api_names(plan: Plan) -> list[str]:
    return sorted({plain(row["api"]) for row in plan.routing if row["api"] is not None})


def status_words(plan: Plan) -> str:
    """How far the plan is proven."""
    gap = None if plan.gap is None else percent(plan.gap)
    goal = _GOALS[plan.objective]
    words = {
        "optimal": f"proven: no plan has {_better(plan)}",
        "within_gap": f"proven within {gap} of the {goal} possible",
        "feasible_time_limit": f"best plan found in time; {_unproven(gap, goal)}",
    }.get(plan.status, plan.status)
    return f"interrupted: {words}" if plan.interrupted else words


def _better(plan: Plan) -> str:
    goal = _GOALS[plan.objective]
    return goal.replace("least", "less").replace("most", "more")


def _unproven(gap: str | None, goal: str) -> str:
    return f"at most {gap} from the {goal} possible" if gap else "nothing is proven about it"


def reasons(plan: Plan) -> list[str]:
    """Why this plan: the alternative, what binds, where the money goes."""
    found = [_alternative(plan), _binding(plan), _largest_cost(plan)]
    return [text for text in found if text is not None]


def _alternative(plan: Plan) -> str | None:
    single = plan.best_single_system
    if single is None:
        return None
    relative = single["difference_relative"] or 0.0
    if abs(relative) < 1e-6:
        return plain(f"one system type is enough: {single['system']}")
    more = "more" if relative > 0 else "less"
    verb = "costs" if plan.objective.startswith("least_cost") else "comes to"
    value = _amount(single["objective_value"], plan.objective_unit)
    return plain(
        f"the best plan of one system type, {single['system']}, {verb} {percent(abs(relative))} "
        f"{more}: {value}"
    )


def _binding(plan: Plan) -> str | None:
    tight = [_limit_words(row) for row in tightest(plan.limits, 1)]
    tight += [_promise_words(row) for row in tightest_promises(plan.slo)[:1]]
    return f"what binds: {'; '.join(tight)}" if tight else None


def _largest_cost(plan: Plan) -> str | None:
    items = sorted(plan.cost_items.items(), key=lambda item: -item[1])
    if not items or plan.annual_cost_usd <= 0:
        return None
    name, usd = items[0]
    share = usd / plan.annual_cost_usd
    return f"largest cost: {item_name(name)}, {dollars(usd)} a year ({share:.0%})"


def tightest(limits: Iterable[Row], count: int) -> list[Row]:
    """Limits with the smallest share left, among those that are used at all."""
    used = [r for r in limits if r["headroom_share"] is not None and r["used"] > 0]
    return sorted(used, key=lambda r: r["headroom_share"])[:count]


def tightest_promises(slo: Iterable[Row]) -> list[Row]:
    """The tightest class of every limit of every workload, tightest first."""
    worst: dict[tuple[str, str, str], Row] = {}
    for row in slo:
        key = (row["workload"], row["metric"], row["percentile"])
        if key not in worst or _left(row) < _left(worst[key]):
            worst[key] = row
    return sorted(worst.values(), key=_left)


def _left(row: Row) -> float:
    return float(row["headroom_ms"] / row["limit_ms"])


def _limit_words(row: Row) -> str:
    name = _LIMITS.get(row["what"], row["what"])
    where = "" if row["where"] == "all" else f" of {row['where']}"
    return plain(f"{name}{where} {number(row['used'])} of {number(row['limit'])}")


def _promise_words(row: Row) -> str:
    what = f"{row['metric'].upper()} {row['percentile']}"
    return plain(
        f"{what} of {row['workload']} {number(row['promised_ms'])} of {number(row['limit_ms'])} ms"
    )


# Numbers


def dollars(usd: float) -> str:
    """Whole dollars, with thousands apart."""
    return f"-${-usd:,.0f}" if usd < 0 else f"${usd:,.0f}"


def unit_price(usd: float | None) -> str:
    """A price per million tokens with three significant digits, at least cents."""
    if usd is None:
        return "–"
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.3g}"


def percent(share: float) -> str:
    """A share with as many digits as it needs to differ from zero."""
    return f"{share:.1%}" if share >= 0.01 else f"{100 * share:.2g} %".replace(" %", "%")


def number(value: float) -> str:
    """Four significant digits below ten thousand, whole numbers above."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def item_name(item: str) -> str:
    """A cost item in words."""
    return _ITEMS.get(item, item.replace("_", " "))


def _amount(value: float, unit: str) -> str:
    if unit == "USD per year":
        return f"{dollars(value)} a year"
    return f"{number(value)} {unit}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "–"


# Summary


def _summary(plan: Plan, names: Mapping[str, str]) -> Panel:
    lines: list[RenderableType] = [
        Text(headline(plan, names), style="bold"),
        Text(_price_line(plan)),
        Text(status_words(plan)),
        Text(""),
        *(Text(f"• {reason}") for reason in reasons(plan)),
    ]
    looked = f"{plan.candidates:,} configurations in {plan.seconds:.1f} s"
    return Panel(
        Group(*lines),
        title=Text(plain(plan.name)),
        subtitle=Text(looked) if plan.candidates else None,
        title_align="left",
        subtitle_align="right",
    )


def _price_line(plan: Plan) -> str:
    output = unit_price(plan.cost_per_mtok_output_usd)
    total = unit_price(plan.cost_per_mtok_total_usd)
    tokens = f"{plan.tokens_per_year_output / 1e9:,.0f} G output tokens a year"
    return (
        f"{output} per million output tokens ({total} counting input too); "
        f"{dollars(plan.annual_cost_usd)} a year for {tokens}"
    )


# Tables


def _table(title: str, *columns: tuple[str, str]) -> Table:
    table = Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
    )
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left")
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*(Text(plain(c)) for c in cells))


def _systems(plan: Plan, names: Mapping[str, str]) -> Table:
    right = "right"
    columns = (("site", ""), ("system", ""), ("offer", ""), ("", ""), ("count", right))
    table = _table("Systems", *columns, ("GPUs", right))
    for row in plan.systems:
        name = names.get(row["system"], row["system"])
        kind = _OBTAINED.get(row["kind"], row["kind"])
        _row(table, row["site"], name, row["offer"], kind, f"{row['count']:,}", f"{row['gpus']:,}")
    return table


def _replicas(plan: Plan) -> Table:
    """Replicas of one workload, system and format together; their layouts beside them."""
    right = "right"
    columns = (("workload", ""), ("system", ""), ("weights", ""), ("replicas", right))
    table = _table("Replicas", *columns, ("GPUs", right), ("layouts", ""))
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in plan.replicas:
        groups[(row["workload"], row["system"], row.get("precision") or "measured")].append(row)
    for (workload, system, precision), rows in sorted(groups.items()):
        count = sum(r["count"] for r in rows)
        gpus = sum(r["count"] * r["gpus"] for r in rows)
        _row(table, workload, system, precision, f"{count:,}", f"{gpus:,}", _layouts(rows))
    for workload, api in sorted({(r["workload"], r["api"]) for r in plan.routing if r["api"]}):
        _row(table, workload, f"API {api}", "", "", "", "")
    return table


def _layouts(rows: Sequence[Row]) -> str:
    """The most used layouts: `4 x TP2 EP8`."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[_layout(row)] += row["count"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{n:,} x {name}" for name, n in ranked[:3])
    return f"{shown}, …" if len(ranked) > 3 else shown


def _layout(row: Row) -> str:
    degrees = {"tp": "TP", "pp": "PP", "ep": "EP", "attention_dp": "DP"}
    used = [f"{name}{row[key]}" for key, name in degrees.items() if (row.get(key) or 1) > 1]
    if row.get("speculative_depth"):
        used.append(f"MTP{row['speculative_depth']}")
    if row["role"] != "serve":
        used.append(row["role"])
    return " ".join(used) or f"{row['gpus']} GPU"


def _costs(plan: Plan) -> Table:
    table = _table("Cost", ("item", ""), ("USD a year", "right"), ("share", "right"))
    for name, usd in sorted(plan.cost_items.items(), key=lambda item: -abs(item[1])):
        if abs(usd) >= _SHARE_OF_NOTE * plan.annual_cost_usd:
            _row(table, item_name(name), dollars(usd), _share(usd, plan.annual_cost_usd))
    if table.row_count:
        _row(table, "total", dollars(plan.annual_cost_usd), "100%")
    return table


def _promises(plan: Plan) -> Table:
    columns = (("workload", ""), ("tightest class", ""), ("metric", ""), ("promised", "right"))
    more = (("interval", "right"), ("limit", "right"))
    sure = "" if plan.confidence is None else f" with {plan.confidence:.0%} confidence"
    table = _table(f"Latency promised{sure}, ms", *columns, *more)
    for row in tightest_promises(plan.slo):
        low, high = row["interval_ms"]
        _row(
            table,
            row["workload"],
            row["class"],
            f"{row['metric'].upper()} {row['percentile']}",
            number(row["promised_ms"]),
            f"{number(low)}–{number(high)}",
            number(row["limit_ms"]),
        )
    return table


# Notes


def _not_considered(plan: Plan) -> Text | None:
    """What shares a reason stands on one line."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in plan.not_considered:
        by_reason[row["reason"]].append(row["what"])
    lines = [f"{_several(names)}: {reason}" for reason, names in by_reason.items()]
    return _notes("Not considered", lines, len(plan.not_considered))


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return "; ".join(names[:2]) + more


def _warnings(plan: Plan) -> Text | None:
    return _notes("Warnings", plan.warnings, len(plan.warnings))


def _notes(title: str, rows: Sequence[str], count: int) -> Text | None:
    if not rows:
        return None
    text = Text(f"{title} ({count})", style="bold")
    for row in rows[:_SHOWN]:
        text.append(f"\n  {plain(row)}", style="not bold")
    if len(rows) > _SHOWN:
        text.append(f"\n  and {len(rows) - _SHOWN} more (see --json)", style="not bold")
    return text
