"""What `plan --explore` found around a plan: alternatives, other limits, other inputs.

Every figure is of a plan that was solved again from the same layouts, so it stands beside
`objective_value` of these rows, which was solved the same way, rather than beside the plan's own.
"""

from __future__ import annotations

from typing import Literal

from tokenfleet.schema.fields import Count, Flag, NonNegative, Number, Word, about, quantity
from tokenfleet.schema.rows import Row

HowGot = Literal["re-solved and proven", "re-solved within gap", "relaxation"]
UNIT = "as in `objective_unit`"


class Swing(Row):
    """What one input lower and higher by a share does to the value."""

    input: Word = about("The input")
    by: NonNegative = quantity("Share that it is moved each way", "1")
    value_low: Number | None = quantity("Value with less of it; null: no plan", UNIT)
    value_high: Number | None = quantity("Value with more of it; null: no plan", UNIT)
    swing: NonNegative = quantity("Between the least and the most of the values", UNIT)
    mix_changes_low: Flag = about("Whether the systems change with less of it")
    mix_changes_high: Flag = about("Whether the systems change with more of it")
    how: HowGot = about("How the figures were got")


class Resolved(Row):
    """The best plan of a changed scenario."""

    objective_value: Number = quantity("Its value", UNIT)
    annual_cost_usd: Number = quantity("Its cost", "USD/year")
    capex_usd: NonNegative = quantity("Paid up front", "USD")
    running_usd_per_year: Number = quantity(
        "Its cost without the annuity of what is bought and without its resale", "USD/year"
    )
    resale_usd_per_year: NonNegative = quantity("The resale, as a yearly credit", "USD/year")
    cost_per_mtok_output_usd: Number | None = quantity("Its cost over output tokens", "USD/Mtok")
    systems: dict[Word, Count] = quantity("Its systems, by offer and site", "systems")
    how: HowGot = about("How the figures were got")


class Alternative(Row):
    """The best plan under one more rule, as without hosted APIs."""

    name: Word = about("The rule: only buying, without hosted APIs, only a system type, ...")
    accelerator: Word | None = about("Of a rule with a system type: its accelerator; else null")
    plan: Resolved | None = about("The best plan; null: there is none")
    reason: Word | None = about("Why there is none; null: there is one, or it was not found")


class Relaxed(Row):
    """The best plan with every latency limit times a factor."""

    factor: NonNegative = quantity("Times every latency limit", "1")
    plan: Resolved | None = about("The best plan; null: there is none")


class Exploration(Row):
    """Plans beside this one; what stays as it is: stock that is owned, and all else."""

    today: Resolved = about("The plan as it is, solved in the same way")
    alternatives: tuple[Alternative, ...] = about("Under one more rule, the cheapest first")
    frontier: tuple[Relaxed, ...] = about("Under other latency limits, the tightest first")
    sensitivity: tuple[Swing, ...] = about("Inputs lower and higher, the largest swing first")
    notes: tuple[Word, ...] = about("What was not asked, or not answered, and why")
    seconds: NonNegative = quantity("Time taken", "s")
