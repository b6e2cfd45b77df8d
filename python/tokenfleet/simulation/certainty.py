"""`verify="simulate"`: the judge that sends the optimizer back to work.

`Certainty` is a re-check of `solve_mix`, whose loop is the only one: after each solve every
replica group is simulated at its routed mix. Where a limit fails with confidence, the load at which
it holds is sought by simulation, and the column's capacity is lowered to that. A column whose limit
fails at almost no load is as good as removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.plan import Plan
from tokenfleet.problem import Built
from tokenfleet.problem_data import FloatArray
from tokenfleet.simulation import tables
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.plan_file import read_plan
from tokenfleet.simulation.run import Simulated, SimulationSettings, simulate_group
from tokenfleet.simulation.simulate import Bench, class_attainment
from tokenfleet.simulation.standing import Group, groups_of

MAX_ROUNDS = 8
_BISECTIONS = 4
_LEAST_LOAD = 1 / 16
_NEIGHBOURS = 8  # judged beside each column that fails
# The load found is approached from below by this, for the noise of the next round's requests.
_MARGIN = 1.01

Row = dict[str, Any]
Note = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class _Judged:
    """A group in its hardest block, and what came out."""

    simulated: Simulated
    failed: Row | None  # the limit that fails worst


@dataclass
class Certainty:
    """Simulates the plan of every round, and remembers what it found.

    `analytic` is the re-check that comes first; `as_plan` names a mix, with its configurations.
    """

    built: Built
    as_plan: Callable[[MixResult], Plan]
    analytic: Callable[[MixResult], Sequence[Tightening]]
    settings: SimulationSettings = field(default_factory=SimulationSettings)
    note: Note | None = None
    rounds: list[Row] = field(default_factory=list)
    interrupted: bool = False
    not_judged: list[str] = field(default_factory=list)
    _known: dict[tuple[Any, ...], _Judged] = field(default_factory=dict)
    _pairs: dict[tuple[int, int], tuple[Pairs, ...]] = field(default_factory=dict)

    def __call__(self, found: MixResult) -> list[Tightening]:
        """Columns of which a limit fails, with the factor that their load is raised by.

        Ctrl-C ends the rounds: the plan at hand stands, and is marked.
        """
        pending = list(self.analytic(found))
        if pending or found.interrupted:
            return pending
        try:
            return self._simulate(found)
        except KeyboardInterrupt:
            self.interrupted = True
            return []

    def _simulate(self, found: MixResult) -> list[Tightening]:
        plan = self.as_plan(found)
        bench = self._open(plan)
        standing = [
            group
            for b in range(len(bench.plan.blocks))
            for group in groups_of(bench.plan, bench.spec, b)
        ]
        groups = hardest([g for g in standing if g.replica.role == "serve"])
        self.not_judged = sorted({g.name for g in standing if g.replica.role != "serve"})
        judged = []
        tightened: dict[int, float] = {}
        for i, group in enumerate(groups):
            self._say(f"round {len(self.rounds) + 1}: simulating group {i + 1} of {len(groups)}")
            one = self._judge(bench, group)
            judged.append(one)
            if one.failed is not None:
                for c, column in _columns(found, self.built.origins, group):
                    factor = self._factor(bench, column, _used(found, c, column))
                    tightened[c] = max(tightened.get(c, 1.0), factor)
        tightened = {c: factor for c, factor in tightened.items() if factor > 1.0}
        self.rounds.append(self._round(bench, found, plan, judged, tightened))
        return [Tightening(c, factor) for c, factor in sorted(tightened.items())]

    def _open(self, plan: Plan) -> Bench:
        built = self.built
        assert built.specification is not None
        parsed, name = read_plan(plan.to_json())
        specification = built.specification
        return Bench(parsed, name, built.loaded, specification, built.core, self._pairs)

    def _say(self, text: str) -> None:
        if self.note is not None:
            self.note(text)

    def _judge(self, bench: Bench, group: Group, scale: float = 1.0) -> _Judged:
        key = _key(group, scale)
        if key not in self._known:
            settings = replace(self.settings, scale=scale)
            pairs = bench.pairs(group.workload, settings.seed)
            simulated = simulate_group(bench.core, bench.spec, group, pairs, settings)
            self._known[key] = _Judged(simulated, _worst(bench, simulated))
        return self._known[key]

    def _factor(self, bench: Bench, group: Group, used: float) -> float:
        """How much more load a request must be than it was, for the limits to hold; 1 if they do.

        `used` is the part of the column's capacity that the group takes.
        """
        if self._judge(bench, group).failed is None:
            return 1.0
        low, high = _LEAST_LOAD, 1.0
        for _ in range(_BISECTIONS):
            middle = math.sqrt(low * high) if low == _LEAST_LOAD else (low + high) / 2
            if _holds(bench, self._judge(bench, group, middle).simulated):
                low = middle
            else:
                high = middle
        return _MARGIN / (low * used)

    def _round(
        self,
        bench: Bench,
        found: MixResult,
        plan: Plan,
        judged: Sequence[_Judged],
        tightened: dict[int, float],
    ) -> Row:
        simulated = [one.simulated for one in judged]
        attainment = class_attainment(bench.spec, simulated)
        good = tables.delivered(bench.plan, bench.spec, attainment, 1.0)
        failed = [
            {
                **{n: getattr(one.simulated.group.replica, n) for n in _NAMES},
                "block": one.simulated.group.block,
                "replicas": one.simulated.group.count,
                "limit": one.failed,
                "load_factor": tightened[_index(found, one.simulated.group.replica.candidate)],
            }
            for one in judged
            if one.failed is not None
        ]
        return {
            "round": len(self.rounds) + 1,
            "objective_value": found.value,
            "annual_cost_usd": plan.annual_cost_usd,
            "cost_per_mtok_output_usd": plan.cost_per_mtok_output_usd,
            "cost_per_mtok_good_output_usd": good["cost_per_mtok_good_output_usd"],
            "gpus": plan.gpus,
            "groups": len(judged),
            "failed": failed,
            "limits_unclear": sum(_unclear(bench, s) for s in simulated),
            "good_share": good["good_share"],
            "attainment": [
                {"workload": w, "class": k, "attainment": share}
                for (w, k), share in sorted(attainment.items())
            ],
        }

    def verification(self) -> Row:
        """The rounds, the price of certainty, and whether the last plan holds."""
        if not self.rounds:
            return {"method": "simulate", "holds": None, "rounds": []}
        first, last = self.rounds[0], self.rounds[-1]
        return {
            "method": "simulate",
            "holds": self._holds(last),
            "not_judged": self.not_judged,
            "rounds": list(self.rounds),
            "requests": self.settings.requests,
            "replications": self.settings.replications,
            "seed": self.settings.seed,
            "unverified_good_share": first["good_share"],
            "verified_good_share": last["good_share"],
            "price_of_certainty_usd": last["annual_cost_usd"] - first["annual_cost_usd"],
            "price_of_certainty_per_mtok_output_usd": _difference(
                last["cost_per_mtok_output_usd"], first["cost_per_mtok_output_usd"]
            ),
            "price_of_certainty_objective": last["objective_value"] - first["objective_value"],
        }

    def _holds(self, last: Row) -> bool | None:
        """Whether the plan holds; None where it was not judged to the end, or not as a whole."""
        if last["failed"]:
            return False
        return None if self.interrupted or self.not_judged else True

    def missing(self, error: InfeasibleError) -> InfeasibleError:
        """The error, with what simulation took away before no plan was left."""
        if not self.rounds:
            return error
        names = [
            f"{row['workload']} at {row['site']} on {row['system']}: "
            f"{row['limit']['metric'].upper()} {row['limit']['percentile']} is "
            f"{row['limit']['simulated_ms']:.4g} of {row['limit']['limit_ms']:.4g} ms, "
            f"{row['limit']['within']:.1%} of requests within it"
            for r in self.rounds
            for row in r["failed"]
        ]
        head = f"after {len(self.rounds)} rounds of simulation no plan holds its limits"
        shown = list(dict.fromkeys(names))
        text = "; ".join(shown[:3]) + (f"; and {len(shown) - 3} more" if len(shown) > 3 else "")
        return InfeasibleError(
            f"{head}: {error.message}; capacities were lowered for: {text}",
            (*error.conflicts, *shown),
            error.hint,
        )


_NAMES = ("workload", "site", "system", "pool", "candidate")


def _columns(
    found: MixResult, origins: Mapping[int, tuple[int, int]], group: Group
) -> Iterator[tuple[int, Group]]:
    """The group's own column, then the nearest that could take its place, each at its capacity.

    A column that fails has neighbours whose capacity rests on the same formula: judging them now
    saves a round for each. Neighbours are of the same system and admit the same classes.
    """
    candidates = found.problem.candidates
    own = _index(found, group.replica.candidate)
    yield own, group
    mix = group.rates / group.rates.sum()
    admitted = np.isfinite(candidates[own].load)

    def gpu_seconds(c: int) -> float:
        return candidates[c].gpus * float(np.sum(candidates[c].load[admitted] * mix[admitted]))

    near = [
        c
        for c, other in enumerate(candidates)
        if c != own
        and (other.workload, other.system) == (group.workload, group.replica.system)
        and other.role == "serve"
        and origins[other.id][1] == group.replica.latency_group
        and np.array_equal(np.isfinite(other.load), admitted)
    ]
    for c in sorted(near, key=lambda c: (gpu_seconds(c), c))[:_NEIGHBOURS]:
        full = 1.0 / float(np.sum(candidates[c].load[admitted] * mix[admitted]))
        count = max(1, round(group.count * candidates[own].gpus / candidates[c].gpus))
        replica = group.replica.model_copy(
            update={
                "candidate": candidates[c].id,
                "configuration": origins[candidates[c].id][0],
                "count": count,
            }
        )
        yield c, Group(group.block, group.workload, replica, count, mix * full * count)


def _used(found: MixResult, c: int, group: Group) -> float:
    """The part of a column's capacity that a group takes."""
    served = group.rates > 0
    load = found.problem.candidates[c].load[served]
    return float(np.sum(load * group.rates[served])) / group.count


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _index(found: MixResult, candidate: int) -> int:
    return next(i for i, c in enumerate(found.problem.candidates) if c.id == candidate)


def _key(group: Group, scale: float) -> tuple[Any, ...]:
    rates = tuple(float(f"{rate:.9g}") for rate in group.rates * scale)
    return (group.replica.configuration, group.replica.latency_group, group.count, rates)


def hardest(groups: Sequence[Group]) -> list[Group]:
    """Groups but those that have no more of any class per replica than in another block.

    Limits that hold under more requests of every class hold under fewer.
    """
    by_column: dict[tuple[str, int], list[Group]] = {}
    for group in groups:
        by_column.setdefault((group.replica.pool, group.replica.candidate), []).append(group)
    kept = []
    for column in by_column.values():
        for i, group in enumerate(column):
            others = column[:i] + column[i + 1 :]
            if not any(_harder(o, group, first=column.index(o) < i) for o in others):
                kept.append(group)
    return kept


def _harder(a: Group, b: Group, first: bool) -> bool:
    """Whether `a` has `b`'s rates per replica or more, on no more replicas; the first of equals."""
    x, y = _each(a), _each(b)
    if a.count > b.count or np.any(x < y * (1 - 1e-9)):
        return False
    equal = a.count == b.count and np.allclose(x, y, rtol=1e-9, atol=0.0)
    return first if equal else True


def _each(group: Group) -> FloatArray:
    each: FloatArray = group.rates / group.count
    return each


def _limits(bench: Bench, s: Simulated) -> list[Row]:
    w = s.group.workload
    return [
        {"class": spec_class.id, **tables.limit_row(s, k, j, slo)}
        for k, spec_class in enumerate(bench.spec.classes[w])
        if s.offered[k] > 0
        for j, slo in enumerate(bench.spec.workloads[w].slos)
        if slo.cls in (None, spec_class.id)
    ]


def _worst(bench: Bench, s: Simulated) -> Row | None:
    failed = [row for row in _limits(bench, s) if row["verdict"] == "failed"]
    return max(failed, key=lambda row: row["simulated_ms"] / row["limit_ms"], default=None)


def _unclear(bench: Bench, s: Simulated) -> int:
    return sum(row["verdict"] == "unclear" for row in _limits(bench, s))


def _holds(bench: Bench, s: Simulated) -> bool:
    """Whether the figures themselves are on the right side of every limit."""
    for row in _limits(bench, s):
        target = row["target"]
        right = (
            row["simulated_ms"] <= row["limit_ms"] if target is None else row["within"] >= target
        )
        if s.unstable or not right:
            return False
    return True
