"""`verify="simulate"`: the judge that sends the optimizer back to work.

`Certainty` is a re-check of `solve_mix`, whose loop is the only one: after each solve every replica
group is simulated at its routed mix, and pools of one role together with those that answer their
prompts. Where a limit fails with confidence, the load at which it holds is sought by simulation,
and the column's capacity is lowered to that. A column whose limit fails at almost no load is as
good as removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.plan import Plan
from tokenfleet.problem import Built
from tokenfleet.simulation import tables
from tokenfleet.simulation.judging import Judged, Judging, hardest, hardest_crews
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.plan_file import read_plan
from tokenfleet.simulation.run import SimulationSettings
from tokenfleet.simulation.simulate import Bench, class_attainment
from tokenfleet.simulation.standing import Crew, Group, crews_of, groups_of
from tokenfleet.simulation.sustain import Columns, crew_factors, group_factors

MAX_ROUNDS = 8

Row = dict[str, Any]
Note = Callable[[str], None]


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
    _position: Row | None = None  # in the round that is not done
    _known: dict[tuple[Any, ...], Judged] = field(default_factory=dict)
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
        judging = Judging(bench, self.settings, self._known)
        columns = Columns(found, self.built.origins)
        tightened: dict[int, float] = {}
        judged = []
        for what in self._in_turn(_standing(bench)):
            if isinstance(what, Crew):
                one, factors = judging.crew(what), crew_factors(judging, columns, what)
            else:
                one, factors = judging.group(what), group_factors(judging, columns, what)
            judged.append((what, one))
            for c, factor in factors if one.failed is not None else ():
                if factor > 1.0:
                    tightened[c] = max(tightened.get(c, 1.0), factor)
        self.rounds.append(self._round(bench, columns, plan, judged, tightened))
        self._position = None
        return [Tightening(c, factor) for c, factor in sorted(tightened.items())]

    def _in_turn(self, standing: Sequence[Group | Crew]) -> Iterator[Group | Crew]:
        """Says what is simulated, and remembers how far it is."""
        number, total = len(self.rounds) + 1, len(standing)
        for i, what in enumerate(standing):
            self._position = {"round": number, "groups_judged": i, "groups": total}
            if self.note is not None:
                self.note(f"round {number}: simulating group {i + 1} of {total}")
            yield what

    def _open(self, plan: Plan) -> Bench:
        built = self.built
        assert built.specification is not None
        parsed, name = read_plan(plan.to_json())
        specification = built.specification
        return Bench(parsed, name, built.loaded, specification, built.core, self._pairs)

    def _round(
        self,
        bench: Bench,
        columns: Columns,
        plan: Plan,
        judged: Sequence[tuple[Group | Crew, Judged]],
        tightened: dict[int, float],
    ) -> Row:
        verdicts = [one for _, one in judged]
        attainment = class_attainment(
            bench.spec,
            [one.simulated for one in verdicts if one.simulated is not None],
            [one.fleet for one in verdicts if one.fleet is not None],
        )
        good = tables.delivered(bench.plan, bench.spec, attainment, 1.0)
        failed = [
            {
                **{n: getattr(group.replica, n) for n in _NAMES},
                "block": group.block,
                "replicas": group.count,
                "limit": one.failed,
                "load_factor": tightened.get(columns.index(group)),
            }
            for what, one in judged
            if one.failed is not None
            for group in _at_fault(what, columns, tightened)
        ]
        return {
            "round": len(self.rounds) + 1,
            "objective_value": columns.found.value,
            "annual_cost_usd": plan.annual_cost_usd,
            "cost_per_mtok_output_usd": plan.cost_per_mtok_output_usd,
            "cost_per_mtok_good_output_usd": good["cost_per_mtok_good_output_usd"],
            "gpus": plan.gpus,
            "groups": len(judged),
            "failed": failed,
            "limits_unclear": sum(one.unclear for one in verdicts),
            "good_share": good["good_share"],
            "attainment": [
                {"workload": w, "class": k, "attainment": share}
                for (w, k), share in sorted(attainment.items())
            ],
        }

    def verification(self) -> Row:
        """The rounds, the price of certainty, and whether the last plan holds."""
        head = {"method": "simulate", "interrupted": self._position if self.interrupted else None}
        if not self.rounds:
            return {**head, "holds": None, "rounds": []}
        first, last = self.rounds[0], self.rounds[-1]
        return {
            **head,
            "holds": self._holds(last),
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
        """Whether the plan holds; None where it was not judged to the end."""
        if self.interrupted:
            return None
        return not last["failed"]

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


def _at_fault(
    what: Group | Crew, columns: Columns, tightened: Mapping[int, float]
) -> tuple[Group, ...]:
    """Groups of what failed whose columns were tightened; all of them if none could be."""
    groups = what.groups if isinstance(what, Crew) else (what,)
    return tuple(g for g in groups if columns.index(g) in tightened) or groups


def _standing(bench: Bench) -> list[Group | Crew]:
    """What is judged: serving groups and crews, each in the blocks in which it is not outdone."""
    by_block = [groups_of(bench.plan, bench.spec, b) for b in range(len(bench.plan.blocks))]
    serving = [g for groups in by_block for g in groups if g.replica.role == "serve"]
    crews = [crew for groups in by_block for crew in crews_of(groups)]
    return [*hardest(serving), *hardest_crews(crews)]


_NAMES = ("workload", "site", "system", "pool", "role", "candidate")


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
