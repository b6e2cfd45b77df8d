"""Why a large problem has no plan: `diagnose`'s question, put to the relaxation by generation.

One family of requirements at a time gets slack, beside the demand, whose slack weighs so much that
it is the last resort; if none of it is left, that family is a cure. Amounts are those of the
relaxation: a plan in whole systems may need a little more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.generate.generation import converge, unserved, weights
from tokenfleet.mix.generate.master import Master
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import limits
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.growing import Answer
from tokenfleet.mix.why.infeasible import Repair, infeasible, repair_of
from tokenfleet.problem_data import FloatArray

_LAST_RESORT = 1e4  # weight of unmet demand beside another family
_CURED = 1e-6
_CLOSE = 1e-3  # of the slack: an explanation need not be more exact


def explain_large(
    pairs: Pairs, start: Iterable[tuple[int, int]], effort: Effort
) -> InfeasibleError:
    """The error that says which requirement cannot be met and by how much."""
    rows = pairs.rows_of(start).tolist()
    names = limits.that_give_way(pairs.problem)
    trials = [frozenset({name}) for name in names]
    found = [_repair(pairs, rows, families, effort) for families in trials]
    if not any(trial.repair for trial in found):
        found.append(_repair(pairs, rows, frozenset(names), effort))
    repairs = [trial.repair for trial in found if trial.repair is not None]
    if not repairs and not all(trial.ended for trial in found):
        return InfeasibleError(
            "no plan meets every requirement; which one is in the way was not found in the time",
            (),
            "give the solver more time, or loosen power, supply or demand",
        )
    return infeasible(repairs)


@dataclass(frozen=True)
class _Trial:
    """What slack in some families would cure, and whether that question was answered."""

    repair: Repair | None
    ended: bool


def _repair(pairs: Pairs, rows: list[int], families: frozenset[str], effort: Effort) -> _Trial:
    """Least relative slack of some families in the relaxation."""
    master = Master(pairs, effort.options, families)
    of = weights(master)
    if not any(label.row.family in families for label in of):
        return _Trial(None, True)
    prices = master.slack_prices(
        {la: a if la.row.family in families else a * _LAST_RESORT for la, a in of.items()}
    )
    master.use(prices)
    master.add(pairs.in_nodes(rows))
    last: list[Answer] = []

    def close(answer: Answer, _: FloatArray, bound: float) -> bool:
        last[:] = [answer]
        return answer.value - bound <= _CLOSE * answer.value

    ended = converge(master, prices, effort.deadline, close)
    if not last or ("demand" not in families and unserved(master, last[0]) > _CURED):
        return _Trial(None, ended)
    slack = master.slack(last[0]).items()
    repair = repair_of(pairs.problem, {la: x for la, x in slack if la.row.family in families})
    return _Trial(repair, ended)
