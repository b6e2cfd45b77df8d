"""Why a large problem has no plan: `diagnose`'s question, put to the relaxation by generation.

One family of requirements at a time gets slack, beside the demand, whose slack weighs so much that
it is the last resort; if none of it is left, that family is a cure. Amounts are those of the
relaxation: a plan in whole systems may need a little more.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.deadline import Deadline
from tokenfleet.mix.diagnose import FAMILIES, Repair, infeasible, repair_of
from tokenfleet.mix.generation import converge, unserved, weights
from tokenfleet.mix.growing import Answer
from tokenfleet.mix.highs import SolveOptions
from tokenfleet.mix.master import Master
from tokenfleet.mix.pricing import Pairs
from tokenfleet.problem_data import FloatArray

_TRIAL_S = 5.0  # for each family
_LAST_RESORT = 1e4  # weight of unmet demand beside another family
_CURED = 1e-6
_CLOSE = 1e-3  # of the slack: an explanation need not be more exact


def explain_large(
    pairs: Pairs, start: Iterable[tuple[int, int]], options: SolveOptions
) -> InfeasibleError:
    """The error that says which requirement cannot be met and by how much."""
    rows = pairs.rows_of(start).tolist()
    repairs = [_repair(pairs, rows, family, options) for family in FAMILIES]
    return infeasible([repair for repair in repairs if repair is not None])


def _repair(pairs: Pairs, rows: list[int], family: str, options: SolveOptions) -> Repair | None:
    """Least relative slack of one family in the relaxation; None if that is no cure."""
    master = Master(pairs, options, frozenset({family}))
    of = weights(master)
    if not any(label[1] == family for label in of):
        return None
    heavy = 1.0 if family == "demand" else _LAST_RESORT
    prices = master.slack_prices(
        {label: a * heavy if label[1] == "demand" else a for label, a in of.items()}
    )
    master.use(prices)
    master.add(rows)
    last: list[Answer] = []

    def close(answer: Answer, _: FloatArray, bound: float) -> bool:
        last[:] = [answer]
        return answer.value - bound <= _CLOSE * answer.value

    converge(master, prices, Deadline(_TRIAL_S), close)
    if not last or (family != "demand" and unserved(master, last[0]) > _CURED):
        return None
    slack = master.slack(last[0])
    return repair_of(pairs.problem, {la: x for la, x in slack.items() if la[1] == family})
