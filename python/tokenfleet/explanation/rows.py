"""An explanation, row by row: the one declaration of its keys.

`tokenfleet explain PLAN --json` writes it, `tf.explain` returns it. Every figure says how it was
got: `re-solved and proven`, `re-solved within gap`, or `relaxation`. What is worth something is
positive, what costs something is negative, in the objective's own unit.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from tokenfleet.plan.rows import Word
from tokenfleet.problem_data import ObjectiveKind
from tokenfleet.schema.fields import Count, Flag, NonNegative, Number, about, quantity
from tokenfleet.schema.rows import Row

HowGot = Literal["re-solved and proven", "re-solved within gap", "relaxation"]
UNIT = "as in `objective_unit`"


def finite(value: float) -> float | None:
    """The number, or None where it is not finite."""
    return float(value) if math.isfinite(value) else None


class Step(Row):
    """One limit moved by so much, and the plan solved again."""

    by: Number = quantity("By how much the limit was moved", "as in `unit`")
    worth: Number | None = quantity("What that saves; null: there is no plan", UNIT)
    worth_low: Number | None = quantity("The least that it can be worth, by the bounds", UNIT)
    worth_high: Number | None = quantity("The most that it can be worth, by the bounds", UNIT)
    enough: Number | None = quantity(
        "How much of the step the plan that was solved needs: the worth stays the same from there; "
        "null where that cannot be told",
        "as in `unit`",
    )
    how: HowGot = about("How the figure was got")


class Worth(Row):
    """What one more of something is worth: a limit moved by whole steps."""

    what: Word = about("What was moved")
    where: Word = about("The site, offer, API or workload that it is of, or all")
    unit: Word = about("Unit of the amounts")
    limit: Number | None = quantity("Where it stands today; null: not a limit", "as in `unit`")
    steps: tuple[Step, ...] = about("Steps that were solved, the smallest first")
    unlimited: Number | None = quantity(
        "What it is worth to have no such limit at all; null: not asked", UNIT
    )
    marginal_usd_per_mtok_output: Number | None = quantity(
        "Of demand: cost of the tokens added, over those tokens", "USD/Mtok", default=None
    )


class FlipPrice(Row):
    """The price at which something enters a best plan, or leaves it."""

    kind: Literal["offer", "system", "api"] = about("What it is the price of")
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
    price: NonNegative | None = quantity("Price today; null: several, or none", "as in `unit`")
    flip_price: Number | None = quantity("The price at that discount", "as in `unit`")
    unit: Word | None = about("Unit of the price; null: none")
    systems_with: dict[Word, Count] = quantity(
        "The best plan that holds it at that price, by offer and site", "systems"
    )
    systems_without: dict[Word, Count] = quantity(
        "The best plan that does not hold it, by offer and site", "systems"
    )
    solves: Count = quantity("Solves that it took", "solves")
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


class RepairSet(Row):
    """A smallest set of concessions after which there is a plan: applied, and solved."""

    concessions: tuple[Concession, ...] = about("What gives way; nothing less of it is enough")
    objective_value: Number = quantity("Value of the best plan after them", UNIT)
    annual_cost_usd: Number = quantity("Cost of that plan", "USD/year")
    systems: dict[Word, Count] = quantity("Its systems, by offer and site", "systems")
    how: HowGot = about("How the figure was got")


class Explanation(Row):
    """Why this plan, and what would change it."""

    name: Word = about("Name of the scenario")
    objective: ObjectiveKind = about("What is best")
    objective_unit: Word = about("Unit of the objective")
    objective_value: Number | None = quantity(
        "Value of the plan that was explained; null: there is no plan", UNIT
    )
    bound: Number | None = quantity("No plan is better; null: nothing is proven", UNIT)
    gap: NonNegative | None = quantity("Value to bound, over the value", "1")
    proven: Flag = about("Whether the plan itself is proven within the gap that was asked for")
    worth: tuple[Worth, ...] = about("What one more of each limit is worth", default=())
    flip: tuple[FlipPrice, ...] = about("Prices at which the plan changes", default=())
    menu: tuple[MenuItem, ...] = about("Other plans that cost little more", default=())
    repairs: tuple[RepairSet, ...] = about(
        "Where there is no plan: what could give way, each set enough by itself", default=()
    )
    notes: tuple[Word, ...] = about("What was not asked, or not answered, and why", default=())
    interrupted: Flag = about("Whether Ctrl-C or the time limit ended it early", default=False)
    solves: Count = quantity("Problems that were solved", "solves", default=0)
    seconds: NonNegative = quantity("Time taken", "s", default=0.0)
    schema_version: Literal[1] = about("Version of these keys", default=1)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and finite numbers."""
        return self.model_dump(mode="json", by_alias=True)
