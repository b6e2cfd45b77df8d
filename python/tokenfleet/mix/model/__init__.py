r"""The mix as a mixed-integer linear programme (PuLP), built from `Problem` alone.

    min  sum_o items[o] x[o] + sum_b hours[b] * (energy(f, n) + rental(x) + API) + shortfall
    s.t. sum_{p, c} f[b, p, c, k] + api + short = demand[b, w, k]      `limits.meet_demand`
         sum_k load[c, k] f[b, p, c, k] <= n[b, p, c]                  `limits.respect_capacity`
         prefill = decode per site, block, class and pair             `limits.pair_phases`
         replicas stand in usable systems                             `packing.pack_pools`
         usable = x - reserve * used                                  `limits.keep_reserve`
         power, racks, supply, API rate, capex, yearly budget         `limits.limit_*`
         x, n integer; f, api, short >= 0

`index` names columns and rows, `columns` defines the unknowns and books what each costs, `packing`
and `limits` hold one function per constraint family, `objectives` one per objective. Nothing here
solves or loops.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenfleet.mix.model import limits
from tokenfleet.mix.model.collector import uncollected
from tokenfleet.mix.model.columns import FleetModel, Term, new_model, scale_limit
from tokenfleet.mix.model.frame import Frame, frame_of
from tokenfleet.mix.model.index import Label, Row
from tokenfleet.problem_data import Problem

__all__ = ["FleetModel", "Frame", "Label", "Row", "Term", "build", "frame_of", "scale_limit"]


@uncollected()
def build(
    problem: Problem,
    *,
    scale_max: float | None = None,
    relax: frozenset[str] = frozenset(),
    pairs: frozenset[tuple[int, int]] | None = None,
    pools: Iterable[int] | None = None,
    frame: Frame | None = None,
) -> FleetModel:
    """Columns and constraints of the problem, without an objective.

    `scale_max` bounds the common scale of free demand (default: as the workloads say); `relax`
    names families of `limits.FAMILIES` that get slack (those that say `gives_way`);
    `pairs` are the (pool, candidate) that get columns (default: all that may run), see
    `mix.generate`; `pools` are those that may hold systems (default: all, or those of `pairs`);
    `frame` saves work when several models of one problem are built, and then
    holds the `scale_max`.
    """
    if frame is None:
        limit = scale_limit(problem) if scale_max is None else scale_max
        frame = frame_of(problem, limit, every_system=pairs is not None)
    m = new_model(problem, frame, relax, pairs, pools)
    for family in limits.FAMILIES:
        family.add(m)
    return m
