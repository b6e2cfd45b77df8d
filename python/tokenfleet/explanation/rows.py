"""An explanation, row by row: the one declaration of its keys.

`tokenfleet explain PLAN --json` writes it, `tf.explain` returns it. Every figure says how it was
got: `re-solved and proven`, `re-solved within gap`, or `relaxation`. What is worth something is
positive, what costs something is negative, in the objective's own unit.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from tokenfleet.files.plain import finite
from tokenfleet.plan.explored import UNIT, HowGot, Swing
from tokenfleet.problem_data import ObjectiveKind
from tokenfleet.schema.fields import Count, Flag, NonNegative, Number, Word, about, quantity
from tokenfleet.schema.rows import Row

Kind = Literal["offer", "system", "api", "precision"]


class Step(Row):
    """One limit moved by so much, and the plan solved again."""

    by: Number = quantity("By how much the limit was moved", "as in `unit`")
    worth: Number | None = quantity("What that saves; null: there is no plan", UNIT)
    worth_low: Number | None = quantity("The least that it can be worth, by the bounds", UNIT)
    worth_high: Number | None = quantity("The most that it can be worth, by the bounds", UNIT)
    relaxed: Number | None = quantity(
        "Of a problem too large to be solved whole: what the step saves where systems need not be "
        "whole, which is known exactly",
        UNIT,
        default=None,
    )
    enough: Number | None = quantity(
        "How much of the step the plan that was solved needs: the worth stays the same from there; "
        "null where that cannot be told",
        "as in `unit`",
    )
    how: HowGot = about("How the figure was got")


def step_between(
    by: float,
    before: tuple[float, float],
    after: tuple[float, float],
    *,
    noise: float,
    eases: bool | None,
    how: HowGot,
    relaxed: float | None = None,
    enough: float | None = None,
) -> Step:
    """A change and what it saves, by the value and the bound of the plans `before` and `after` it.

    Where it `eases` a limit, today's plan still stands and nothing can be lost; where it tightens
    one (False), every plan was one before and nothing can be won, whatever gaps leave open; None:
    either may be. What is within the `noise` of the solves is nothing.
    """
    least, most = 0.0 if eases else -math.inf, 0.0 if eases is False else math.inf
    (value, bound), (other, other_bound) = before, after
    worth = value - other
    worth = 0.0 if abs(worth) <= noise else min(max(worth, least), most)
    return Step(
        by=by,
        worth=worth,
        worth_low=finite(min(max(bound - other, least), worth)),
        worth_high=finite(max(min(value - other_bound, most), worth)),
        relaxed=relaxed,
        enough=enough,
        how=how,
    )


class Worth(Row):
    """What one more of something is worth: a limit moved by whole steps."""

    what: Word = about("What was moved")
    where: Word = about("The site, offer, API or workload that it is of, or all")
    unit: Word = about("Unit of the amounts")
    limit: Number | None = quantity("Where it stands today; null: not a limit", "as in `unit`")
    steps: tuple[Step, ...] = about("Steps that were solved, the smallest first")
    unlimited: Number | None = quantity(
        "What it is worth to have no such limit at all; null: not asked, or without end", UNIT
    )
    marginal_usd_per_mtok_output: Number | None = quantity(
        "Of demand: cost of the tokens added, over those tokens", "USD/Mtok", default=None
    )


class Taken(Row):
    """The price at which a best plan gives something so much of the fleet."""

    share: NonNegative = quantity(
        "Of all accelerator-hours; of a hosted API, of the output tokens of its workload", "1"
    )
    discount: Number | None = quantity(
        "Largest change of the price, as a share off it, at which a best plan gives it so much; "
        "null: not even for nothing",
        "1",
    )
    discount_low: Number | None = quantity("Below this discount, no best plan does", "1")
    flip_price: Number | None = quantity("The price at that discount", "as in `unit`")
    systems: dict[Word, Count] = quantity("The plan there, by offer and site", "systems")
    how: HowGot = about("How the figure was got")


class FlipInput(Row):
    """What beside its own price makes something enter a best plan, or leave it."""

    kind: Kind = about("What it is of")
    name: Word = about("The offer, system type or hosted API")
    input: Literal["energy", "speed", "term"] = about(
        "All tariffs, the throughput of the system type, or the term of the rent"
    )
    chosen: Flag = about("Whether today's best plan holds it")
    now: NonNegative | None = quantity("Today's value; null: not stated", "as in `unit`")
    at: NonNegative | None = quantity(
        "The value nearest to today's at which a best plan holds it, or, where it is chosen, no "
        "longer does; null: nowhere as far as was asked",
        "as in `unit`",
    )
    not_yet: NonNegative | None = quantity(
        "The value up to which it is as today; null: not known", "as in `unit`"
    )
    unit: Word = about("Unit of the values: times today's, or years")
    systems: dict[Word, Count] = quantity("The plan there, by offer and site", "systems")
    how: HowGot = about("How the figure was got")


class FlipPrice(Row):
    """The price at which something enters a best plan, or leaves it."""

    kind: Kind = about("What it is the price of")
    name: Word = about("The offer, system type or hosted API")
    chosen: Flag = about("Whether today's best plan holds it")
    verdict: Literal["enters", "leaves", "always", "never"] = about(
        "It enters the plan below the price, leaves it above the price, is in every plan at any "
        "price, or is in no best plan even for nothing"
    )
    discount: Number | None = quantity(
        "Largest change of the price, as a share off it, at which a best plan holds it; negative "
        "for a price that may rise; null without such a price",
        "1",
    )
    discount_low: Number | None = quantity("Below this discount, no best plan holds it", "1")
    discount_high: Number | None = quantity("From this discount on, one does", "1")
    relaxed: Number | None = quantity(
        "Of a problem too large to be solved whole: the discount from which on some is held where "
        "systems need not be whole, which is known exactly",
        "1",
        default=None,
    )
    price: NonNegative | None = quantity("Price today; null: several, or none", "as in `unit`")
    flip_price: Number | None = quantity("The price at that discount", "as in `unit`")
    unit: Word | None = about("Unit of the price; null: none")
    systems_with: dict[Word, Count] = quantity(
        "The best plan that holds it at that price, by offer and site", "systems"
    )
    systems_without: dict[Word, Count] = quantity(
        "The best plan that does not hold it, by offer and site", "systems"
    )
    takes: tuple[Taken, ...] = about("Prices at which it takes a tenth and half", default=())
    solves: Count = quantity("Solves that it took", "solves")
    how: HowGot = about("How the figure was got")


class FirstOrders(Row):
    """The range of a price in which the orders of the first period stay the best, whatever later
    ones do."""

    low_factor: NonNegative = quantity(
        "Times today's price from which on they are the best; 0: however low it is", "1"
    )
    high_factor: NonNegative | None = quantity(
        "Times today's price up to which they are; null: however high it is", "1"
    )
    below: dict[Word, Count] = quantity(
        "The first orders where the price is lower still, by offer and site", "systems"
    )
    above: dict[Word, Count] = quantity(
        "The first orders where it is higher still, by offer and site", "systems"
    )


class PriceRange(Row):
    """The range of a price in which today's best plan stays the best, with all else as it is; of a
    problem too large to be solved whole, in which it stays within a share of the best."""

    kind: Kind = about("What it is the price of")
    name: Word = about("The offer, system type or hosted API")
    field: Word | None = about("Which of an API's prices, as the scenario calls it; null: the only")
    low_factor: NonNegative = quantity(
        "Times today's price from which on the plan is the best; 0: however low it is", "1"
    )
    high_factor: NonNegative | None = quantity(
        "Times today's price up to which it is; null: however high it is", "1"
    )
    price: NonNegative | None = quantity("Price today; null: several, or none", "as in `unit`")
    unit: Word | None = about("Unit of the price; null: none")
    systems_below: dict[Word, Count] = quantity(
        "The best plan where the price is lower still, by offer and site", "systems"
    )
    systems_above: dict[Word, Count] = quantity(
        "The best plan where it is higher still, by offer and site", "systems"
    )
    within: NonNegative = quantity(
        "How much dearer than the best the plan is at most in the range; 0: it is the best",
        "1",
        default=0.0,
    )
    first_orders: FirstOrders | None = about(
        "Over time: the range in which the first orders stay; null: of one year", default=None
    )
    how: HowGot = about("How the figures were got")


class Premium(Row):
    """What tokens of a precision would have to be worth, or may cost, for it to enter or leave."""

    name: Word = about("The precision, and the workload")
    chosen: Flag = about("Whether today's best plan serves tokens in it")
    verdict: Literal["enters", "leaves", "always", "never"] = about(
        "It enters where its tokens are worth so much more, leaves where they cost more than so "
        "much, or is in every plan or in none"
    )
    premium_usd_per_mtok_output: Number | None = quantity(
        "The premium from which a best plan serves some in it; negative for one in use, which "
        "leaves where its tokens cost more than that",
        "USD/Mtok",
    )
    premium_low: Number | None = quantity("Below this premium, no best plan does", "USD/Mtok")
    systems_with: dict[Word, Count] = quantity(
        "The best plan that serves some in it, by offer and site", "systems"
    )
    systems_without: dict[Word, Count] = quantity(
        "The best plan that does not, by offer and site", "systems"
    )
    how: HowGot = about("How the figure was got")


class MenuItem(Row):
    """A plan that costs little more and is better at something else."""

    wish: Word = about("What it is best at")
    within: NonNegative = quantity(
        "Share of the least value, of those asked, that allows it; 0 for today's best plan, "
        "where no smaller share brings more",
        "1",
    )
    value: Number = quantity("Value of the wish", "as in `unit`")
    today: Number = quantity("Value of the wish in today's best plan", "as in `unit`")
    unit: Word = about("Unit of the wish")
    more: NonNegative = quantity("Value of the plan beyond the least, over the least", "1")
    annual_cost_usd: Number = quantity("Cost of the plan", "USD/year")
    systems: dict[Word, Count] = quantity("Its systems, by offer and site", "systems")
    how: HowGot = about("How the figure was got")


class Concession(Row):
    """A limit that gives way."""

    what: Word = about("What gives way")
    where: Word = about("The site, offer, API or workload that it is of, or all")
    before: Number = quantity("The limit, or the demand, as it was asked for", "as in `unit`")
    after: Number = quantity("What it has to be", "as in `unit`")
    unit: Word = about("Unit of the amounts")


class Limit(Row):
    """A limit, or the demand, as it was asked for."""

    what: Word = about("What is limited")
    where: Word = about("The site, offer, API or workload that it is of, or all")
    limit: Number = quantity("The limit, or the demand", "as in `unit`")
    unit: Word = about("Unit of the limit")


class RepairSet(Row):
    """A smallest set of concessions after which there is a plan: applied, and solved."""

    concessions: tuple[Concession, ...] = about("What gives way; nothing less of it is enough")
    objective_value: Number = quantity("Value of the best plan after them", UNIT)
    annual_cost_usd: Number = quantity("Cost of that plan", "USD/year")
    systems: dict[Word, Count] = quantity("Its systems, by offer and site", "systems")
    how: HowGot = about("How the figure was got")


class SweepPoint(Row):
    """The plan at one setting of a sweep."""

    factors: dict[Word, NonNegative] = quantity("Each input over what the scenario says", "1")
    feasible: Flag | None = about(
        "Whether there is a plan; null: not answered, a solve ended at its time before any"
    )
    objective_value: Number | None = quantity("Value of the plan", UNIT)
    bound: Number | None = quantity("No plan is better", UNIT)
    annual_cost_usd: Number | None = quantity("Cost", "USD/year")
    cost_per_mtok_output_usd: Number | None = quantity("Whole cost over output tokens", "USD/Mtok")
    gpus: Count = quantity("Accelerators of all systems", "accelerators")
    systems: dict[Word, Count] = quantity("Systems, by offer and site", "systems")
    api_share: NonNegative | None = quantity(
        "Share of the requests that hosted APIs serve; null: none are served, or over time",
        "1",
        default=None,
    )
    first_orders: dict[Word, Count] = quantity(
        "Over time: what is ordered in the first period, by offer and site", "systems", default={}
    )
    mix_changed: Flag = about(
        "Whether the systems, or over time the first orders, differ from those of the setting "
        "before it"
    )
    how: HowGot = about("How the figures were got")


class Part(Row):
    """A group of inputs, and its part of a difference."""

    group: Word = about("Prices, demand, limits, catalog, calibration or options")
    change: Number = quantity("Its part; the parts add up to the change", UNIT)
    inputs: tuple[Word, ...] = about("The inputs of the group that differ")


class Moved(Row):
    """A figure that differs between two plans."""

    what: Word = about("What it is of")
    before: Number = quantity("In the first plan", "as in the table")
    after: Number = quantity("In the second plan", "as in the table")
    change: Number = quantity("The second less the first", "as in the table")


class Difference(Row):
    """What moved between two plans, and why."""

    before: Number = quantity("Value of the first plan", UNIT)
    after: Number = quantity("Value of the second plan", UNIT)
    change: Number = quantity("The second less the first", UNIT)
    objective_unit: Word = about("Unit of the objective")
    parts: tuple[Part, ...] = about("The change by groups of inputs (Shapley values)")
    systems: tuple[Moved, ...] = about("Systems by offer and site that differ")
    cost_items: tuple[Moved, ...] = about("Cost items that differ, USD/year")
    requests: tuple[Moved, ...] = about(
        "Requests/s at the peak that differ, by workload and what serves them"
    )
    notes: tuple[Word, ...] = about("What to know of the parts")
    solves: Count = quantity("Plans that were solved", "plans")
    how: HowGot = about("How the figures were got")
    schema_version: Literal[1] = about("Version of these keys", default=1)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and finite numbers."""
        return self.model_dump(mode="json", by_alias=True)


class RoutePoint(Row):
    """What one way to get tokens costs, at one volume or utilisation."""

    axis: Literal["volume", "utilisation"] = about("What is turned")
    at: NonNegative = quantity(
        "Times the demand; or the share of the year for which the peak lasts, the rest being idle",
        "1",
    )
    route: Word = about("Buying, renting or on demand alone, APIs alone, or the best mix")
    annual_cost_usd: Number | None = quantity("Its cost; null: it cannot serve it", "USD/year")
    cost_per_mtok_output_usd: Number | None = quantity("Its cost over output tokens", "USD/Mtok")
    how: HowGot = about("How the figures were got")


class BreakEven(Row):
    """Where two routes cost the same."""

    axis: Literal["volume", "utilisation"] = about("What is turned")
    at: NonNegative = quantity("Where, as in `crossover`", "1")
    cheaper_below: Word = about("The route that costs less before it")
    cheaper_above: Word = about("The route that costs less after it")
    jump: Flag = about("Whether one leaps over the other there: the costs are never equal")


class ToMeasure(Row):
    """A figure that is not known well, and what knowing it before signing is worth."""

    system: Word = about("System type")
    workload: Word = about("Workload whose throughput on it is not known well")
    interval80_pct: NonNegative = quantity("80 % of measured rates are within this of it", "%")
    known: Word = about("How it is known: calibrated, modelled or inherited")
    runs: Count = quantity("Measured runs behind it", "runs")
    value: NonNegative = quantity("What measuring it first saves on average", UNIT)
    worst: NonNegative | None = quantity(
        "What it saves where the truth is at the worse end; null: the plan could not be mended "
        "within its limits",
        UNIT,
    )
    changes: Flag = about("Whether the truth could change what is bought")
    how: HowGot = about("How the figures were got")


class Explanation(Row):
    """Why this plan, and what would change it."""

    name: Word = about("Name of the scenario")
    objective: ObjectiveKind = about("What is best")
    objective_unit: Word = about("Unit of the objective")
    objective_value: Number | None = quantity(
        "Value of the best plan, which is explained; null: there is no plan", UNIT
    )
    plan_value: Number | None = quantity(
        "Value of the plan that was given: a simpler one, or one that was verified, may be a "
        "little worse than the best; null: a scenario was given",
        UNIT,
        default=None,
    )
    bound: Number | None = quantity("No plan is better; null: nothing is proven", UNIT)
    gap: NonNegative | None = quantity("Value to bound, over the value", "1")
    same_systems: Flag | None = about(
        "Whether that plan holds the systems of the plan that was given, by offer and site; null: "
        "a scenario was given, or there is no plan",
        default=None,
    )
    proven: Flag = about("Whether the plan itself is proven within the gap that was asked for")
    worth: tuple[Worth, ...] = about("What one more of each limit is worth", default=())
    flip: tuple[FlipPrice, ...] = about("Prices at which the plan changes", default=())
    ranges: tuple[PriceRange, ...] = about(
        "Prices between which the plan stays the best", default=()
    )
    flip_inputs: tuple[FlipInput, ...] = about(
        "Energy prices, speeds and terms at which the plan changes", default=()
    )
    premium: tuple[Premium, ...] = about("Premiums that change a precision", default=())
    menu: tuple[MenuItem, ...] = about("Other plans that cost little more", default=())
    conflict: tuple[Limit, ...] = about(
        "Where there is no plan: limits that cannot all hold; without any one of them, they could",
        default=(),
    )
    repairs: tuple[RepairSet, ...] = about(
        "Where there is no plan: what could give way, each set enough by itself", default=()
    )
    tornado: tuple[Swing, ...] = about("Inputs lower and higher by 20 %", default=())
    crossover: tuple[RoutePoint, ...] = about("Cost of each route by volume and use", default=())
    break_even: tuple[BreakEven, ...] = about("Where routes cost the same", default=())
    measure: tuple[ToMeasure, ...] = about("What to measure next", default=())
    notes: tuple[Word, ...] = about("What was not asked, or not answered, and why", default=())
    interrupted: Flag = about("Whether Ctrl-C or the time limit ended it early", default=False)
    solves: Count = quantity("Problems that were solved", "solves", default=0)
    seconds: NonNegative = quantity("Time taken", "s", default=0.0)
    schema_version: Literal[1] = about("Version of these keys", default=1)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and finite numbers."""
        return self.model_dump(mode="json", by_alias=True)
