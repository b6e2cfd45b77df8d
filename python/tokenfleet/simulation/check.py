"""`verify="simulate"`: the judge that sends the optimizer back to work.

`SimulationCheck` is a re-check of `solve_mix`, whose loop is the only one. After each solve every
replica group is simulated at its routed mix, and pools of one role together with those that answer
their prompts. Where a limit fails with confidence, the load at which it holds is sought by
simulation, and the column's capacity is lowered to that. A column whose limit fails at almost no
load is as good as removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenfleet.errors import InfeasibleError
from tokenfleet.files.plain import finite, json_ready
from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.plan.known_rows import (
    Attainment,
    FailedReplicas,
    Position,
    Round,
    SimulatedLimit,
    Verification,
)
from tokenfleet.plan.rows import Plan
from tokenfleet.problem import Built
from tokenfleet.simulation import tables
from tokenfleet.simulation.arrivals import Arrivals, arrivals_in, words_of
from tokenfleet.simulation.bench import Bench
from tokenfleet.simulation.judging import Judged, Judging, hardest, hardest_crews
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.run import steps_of
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.simulation.simulate import class_attainment
from tokenfleet.simulation.standing import Crew, Group, crews_of, groups_of, peak_block
from tokenfleet.simulation.sustain import (
    Columns,
    brief_factors,
    crew_factors,
    group_factors,
)
from tokenfleet.simulation.traffic import TraceLoad

MAX_ROUNDS = 24
MAX_BRIEF_ROUNDS = 8
# Part of the half width of 95 % that is off a figure which is no earlier in four of five cases:
# Student's t of three degrees of freedom at 0.8 one-sided, 0.98, over 3.18.
_SURE = 0.31
# Engine steps of a round in brief, about: a second or two of one processor.
BRIEF_STEPS = 8e6

Note = Callable[[str], None]
LimitKey = tuple[str, str, str, str]
_DRAWN = Arrivals({}, {}, {})


@dataclass(frozen=True, eq=False)
class _Case:
    """Something that stands in a load block, under the requests that it is judged by."""

    what: Group | Crew
    judging: Judging

    @property
    def traced(self) -> bool:
        """Whether they are those of a trace."""
        return bool(self.judging.arrivals.loads)

    def judge(self) -> Judged:
        """Its limits and their verdicts."""
        if isinstance(self.what, Crew):
            return self.judging.crew(self.what)
        return self.judging.group(self.what)

    def factors(self, columns: Columns, *, brief: bool) -> Iterator[tuple[int, float]]:
        """Columns, and how many times more load a request must be on them."""
        if isinstance(self.what, Crew):
            return crew_factors(self.judging, columns, self.what)
        seek = brief_factors if brief else group_factors
        return seek(self.judging, columns, self.what)

    @property
    def gpus(self) -> int:
        """Accelerators that it is."""
        return sum(group.count * group.replica.gpus for group in self.groups)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups of equal replicas that it is."""
        return self.what.groups if isinstance(self.what, Crew) else (self.what,)

    @property
    def steps(self) -> float:
        """Engine steps that simulating it takes, about."""
        bench = self.judging.bench
        return sum(steps_of(bench.core, bench.spec, g, self.judging.settings) for g in self.groups)


@dataclass
class SimulationCheck:
    """Simulates the plan of every round, and remembers what it found.

    `analytic` is the re-check that comes first; `as_plan` names a mix, with its configurations.
    Requests are drawn, in every load block; those workloads that have `loads` are judged under
    their traces as well, in the busiest block at their mean rate over the year (as `simulate`
    replays a trace). In `brief` only as many groups are judged as `BRIEF_STEPS` allow, the largest
    first, and a miss lowers a column's capacity by what it suggests.
    """

    built: Built
    as_plan: Callable[[MixResult], Plan]
    analytic: Callable[[MixResult], Sequence[Tightening]]
    settings: SimulationSettings = field(default_factory=SimulationSettings)
    note: Note | None = None
    loads: Mapping[int, TraceLoad] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    interrupted: bool = False
    brief: bool = False
    judged_share: float | None = None  # of the accelerators, in the last round
    # Latest that was simulated under drawn requests, ms, by workload, class, metric and percentile.
    latest_ms: dict[LimitKey, float] = field(default_factory=dict)
    _position: Position | None = None  # in the round that is not done
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
        columns = Columns(found, self.built.origins)
        tightened: dict[int, float] = {}
        judged = []
        for case in self._in_turn(self._affordable(self._cases(bench))):
            one = case.judge()
            judged.append((case, one))
            lowered = case.factors(columns, brief=self.brief) if one.failed is not None else ()
            for c, factor in lowered:
                if factor > 1.0:
                    tightened[c] = max(tightened.get(c, 1.0), factor)
        self.rounds.append(self._round(bench, columns, plan, judged, tightened))
        self.latest_ms = _latest(bench, judged)
        self._position = None
        return [Tightening(c, factor) for c, factor in sorted(tightened.items())]

    def _cases(self, bench: Bench) -> list[_Case]:
        """What is judged under drawn requests, and what under those of a trace."""
        blocks = range(len(bench.plan.blocks))
        by_block = [groups_of(bench.plan, bench.spec, block) for block in blocks]
        drawn = Judging(bench, self.settings, _DRAWN, self._known)
        cases = [_Case(what, drawn) for what in _standing(by_block)]
        if self.loads:
            peak = peak_block(bench.plan)
            groups = [g for g in by_block[peak] if g.workload in self.loads]
            paced = {g.workload for g in groups}
            arrivals = arrivals_in(bench, by_block[peak], peak, self.loads, paced)
            traced = Judging(bench, self.settings, arrivals, self._known)
            cases += [_Case(what, traced) for what in _standing([groups])]
        return cases

    def _affordable(self, cases: list[_Case]) -> list[_Case]:
        """In brief, the largest that the steps allow, one at least; else all."""
        total = sum(case.gpus for case in cases)
        if self.brief:
            left = BRIEF_STEPS
            kept: list[_Case] = []
            for case in sorted(cases, key=lambda case: -case.gpus):
                steps = case.steps
                if steps <= left or not kept:
                    kept.append(case)
                    left -= steps
            cases = kept
        self.judged_share = sum(case.gpus for case in cases) / total if total else None
        return cases

    def _in_turn(self, cases: Sequence[_Case]) -> Iterator[_Case]:
        """Says what is simulated, and remembers how far it is."""
        number, total = len(self.rounds) + 1, len(cases)
        for i, case in enumerate(cases):
            self._position = Position(round=number, groups_judged=i, groups=total)
            if self.note is not None:
                self.note(f"round {number}: simulating group {i + 1} of {total}")
            yield case

    def _open(self, plan: Plan) -> Bench:
        built = self.built
        assert built.specification is not None
        return Bench(plan, "plan", built.loaded, built.specification, built.core, self._pairs)

    def _round(
        self,
        bench: Bench,
        columns: Columns,
        plan: Plan,
        judged: Sequence[tuple[_Case, Judged]],
        tightened: dict[int, float],
    ) -> Round:
        attainment = _attainment(bench, [one for case, one in judged if not case.traced])
        traced = _attainment(bench, [one for case, one in judged if case.traced])
        partly = self.judged_share is not None and self.judged_share < 1.0
        known = {**attainment, **traced}
        good = tables.delivered(bench.plan, bench.spec, attainment, 1.0, interrupted=partly)
        on_trace = tables.delivered(bench.plan, bench.spec, known, 1.0, interrupted=partly)
        failed = tuple(
            FailedReplicas(
                **{n: getattr(group.replica, n) for n in _NAMES},
                block=group.block,
                arrivals=words_of(self.settings, case.judging.arrivals.loads),
                replicas=group.count,
                limit=SimulatedLimit(**json_ready(one.failed)),
                load_factor=tightened.get(columns.index(group)),
            )
            for case, one in judged
            if one.failed is not None
            for group in _at_fault(case.what, columns, tightened)
        )
        return Round(
            round=len(self.rounds) + 1,
            objective_value=columns.found.value,
            annual_cost_usd=plan.annual_cost_usd,
            cost_per_mtok_output_usd=plan.cost_per_mtok_output_usd,
            cost_per_mtok_good_output_usd=good["cost_per_mtok_good_output_usd"],
            gpus=plan.gpus,
            groups=len(judged),
            failed=failed,
            limits_unclear=sum(one.unclear for _, one in judged),
            good_share=good["good_share"],
            trace_good_share=on_trace["good_share"] if self.loads else None,
            attainment=tuple(
                Attainment(workload=w, cls=k, attainment=finite(share))
                for (w, k), share in sorted(attainment.items())
            ),
        )

    def verification(self) -> Verification:
        """The rounds, the price of certainty, and whether the last plan holds."""
        ends = (self.rounds[0], self.rounds[-1]) if self.rounds else (None, None)
        return Verification(
            method="brief" if self.brief else "simulate",
            judged_share=self.judged_share,
            interrupted=self._position if self.interrupted else None,
            holds=self._holds(),
            rounds=tuple(self.rounds),
            requests=self.settings.requests,
            replications=self.settings.replications,
            seed=self.settings.seed,
            trace=words_of(self.settings, self.loads) if self.loads else None,
            unverified_good_share=_figure(ends[0], "good_share"),
            verified_good_share=_figure(ends[1], "good_share"),
            unverified_trace_good_share=_figure(ends[0], "trace_good_share"),
            verified_trace_good_share=_figure(ends[1], "trace_good_share"),
            price_of_certainty_usd=_rise(ends, "annual_cost_usd"),
            price_of_certainty_per_mtok_output_usd=_rise(ends, "cost_per_mtok_output_usd"),
            price_of_certainty_objective=_rise(ends, "objective_value"),
        )

    def _holds(self) -> bool | None:
        """Whether the plan holds; None where it was not judged to the end."""
        if self.interrupted or not self.rounds:
            return None
        return not self.rounds[-1].failed

    def missing(self, error: InfeasibleError) -> InfeasibleError:
        """The error, with what simulation took away before no plan was left."""
        if not self.rounds:
            return error
        names = [
            f"{row.workload} at {row.site} on {row.system}: "
            f"{row.limit.metric.upper()} {row.limit.percentile} is "
            f"{row.limit.simulated_ms:.4g} of {row.limit.limit_ms:.4g} ms, "
            f"{row.limit.within:.1%} of requests within it"
            for r in self.rounds
            for row in r.failed
        ]
        head = f"after {len(self.rounds)} rounds of simulation no plan holds its limits"
        shown = list(dict.fromkeys(names))
        text = "; ".join(shown[:3]) + (f"; and {len(shown) - 3} more" if len(shown) > 3 else "")
        message = f"{head}: {error.message}; capacities were lowered for: {text}"
        return error.saying(message=message, conflicts=shown)


def _latest(bench: Bench, judged: Sequence[tuple[_Case, Judged]]) -> dict[LimitKey, float]:
    """The latest figure of each limit among what was judged under drawn requests, ms: no earlier
    with a confidence of 80 %, for few requests were drawn."""
    latest: dict[LimitKey, float] = {}
    for case, one in judged:
        workload = bench.spec.workloads[case.groups[0].workload].id
        for row in () if case.traced else one.limits:
            key = (workload, row["class"], row["metric"], row["percentile"])
            least = row["simulated_ms"] - _SURE * row["half_width_ms"]
            if math.isfinite(least):
                latest[key] = max(latest.get(key, 0.0), least)
    return latest


def _at_fault(
    what: Group | Crew, columns: Columns, tightened: Mapping[int, float]
) -> tuple[Group, ...]:
    """Groups of what failed whose columns were tightened; all of them if none could be."""
    groups = what.groups if isinstance(what, Crew) else (what,)
    return tuple(g for g in groups if columns.index(g) in tightened) or groups


def _standing(by_block: Sequence[Sequence[Group]]) -> list[Group | Crew]:
    """What is judged: serving groups and crews, each in the blocks in which it is not outdone."""
    serving = [g for groups in by_block for g in groups if g.replica.role == "serve"]
    crews = [crew for groups in by_block for crew in crews_of(groups)]
    return [*hardest(serving), *hardest_crews(crews)]


def _attainment(bench: Bench, verdicts: Sequence[Judged]) -> dict[tuple[str, str], float]:
    return class_attainment(
        bench.spec,
        [one.simulated for one in verdicts if one.simulated is not None],
        [one.fleet for one in verdicts if one.fleet is not None],
    )


_NAMES = ("workload", "site", "system", "pool", "role", "candidate")


def _figure(row: Round | None, name: str) -> float | None:
    """A figure of a round; None where there is no round, or it has none."""
    found: float | None = getattr(row, name, None)
    return found


def _rise(ends: tuple[Round | None, Round | None], name: str) -> float | None:
    """A figure of the last round over that of the first."""
    before, after = (_figure(row, name) for row in ends)
    return None if before is None or after is None else after - before
