"""What stands in a load block of a plan: groups of equal replicas and their requests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.plan.rows import Plan, Replicas
from tokenfleet.problem.specification import Specification
from tokenfleet.problem_data import FloatArray

# Share of a block's requests below which a rate is the solver's tolerance, not a route.
_NOISE = 1e-6
# Replicas from which, and `E[O²]/E[O]² − 1` of the answers up to which, requests come in herds.
_HERDS_FROM, _ALIKE = 3, 0.25


@dataclass(frozen=True, eq=False)
class Group:
    """Replicas of one layout in one pool, in one load block."""

    block: int
    workload: int  # index in the specification
    replica: Replicas
    count: int
    rates: FloatArray  # (K,) requests/s of the whole group

    @property
    def name(self) -> str:
        """How messages and tables call it."""
        r = self.replica
        return f"{r.workload} at {r.site}, {r.system}, candidate {r.candidate}"

    @property
    def lanes(self) -> int:
        """Lanes of one replica: data-parallel ranks times micro-batches of the pipeline."""
        return (self.replica.attention_dp or 1) * (self.replica.pp or 1)

    @property
    def partner(self) -> tuple[str, str, str | None, float | None]:
        """Pools of one role with the same are two halves of one service: at one site, with one
        format of the cache and one split of the limit on the first token."""
        r = self.replica
        return r.workload, r.site, r.kv_dtype, r.ttft_split

    def in_herds(self, spec: Specification) -> bool:
        """Whether answers are so much alike that they end together: as many requests follow them
        to the same replica, and in thousands of requests that builds up (`docs/simulation.md`)."""
        answers = [c["output"] for c in spec.data["workloads"][self.workload]["classes"]]
        mean = self.rates @ [answer["at"][0] for answer in answers]
        square = self.rates @ [answer["m2"] for answer in answers]
        varied = square * self.rates.sum() / mean**2 - 1.0
        return self.count >= _HERDS_FROM and bool(varied <= _ALIKE)

    def seed(self, seed: int) -> int:
        """A seed of its own that does not depend on the order of the groups."""
        key = f"{seed}|{self.replica.pool}|{self.replica.configuration}|{self.block}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big")


@dataclass(frozen=True, eq=False)
class Crew:
    """Pools of one role of one workload that answer each other's prompts, in one load block."""

    groups: tuple[Group, ...]

    @property
    def workload(self) -> int:
        """Its workload, an index in the specification."""
        return self.groups[0].workload


def crews_of(groups: Sequence[Group]) -> list[Crew]:
    """Pools of one role in one block, by what belongs together."""
    found: dict[Any, list[Group]] = {}
    for group in groups:
        if group.replica.role != "serve":
            found.setdefault(group.partner, []).append(group)
    return [Crew(tuple(crew)) for crew in found.values()]


def peak_block(plan: Plan) -> int:
    """The load block with most requests/s; of equal ones the first."""
    rates = np.sum([route.requests_per_s for route in plan.routing], axis=0)
    if not plan.routing or not np.any(rates > 0):
        raise SchemaError(f"plan {plan.name!r} serves no requests", "there is nothing to simulate")
    hours = np.array([block.hours_per_year for block in plan.blocks])
    return int(np.argmax(np.where(hours > 0, rates, -1.0)))


def groups_of(plan: Plan, spec: Specification, block: int) -> list[Group]:
    """Groups that serve something in a load block, in the order of the plan.

    Raises:
        SchemaError: a block, workload or class that is not there, or requests to replicas that are
            not.
    """
    if not 0 <= block < len(plan.blocks):
        raise SchemaError(
            f"load block {block} is not there", f"the plan has blocks 0 to {len(plan.blocks) - 1}"
        )
    ids = [w.id for w in spec.workloads]
    rates: dict[tuple[str, int | None], FloatArray] = {}
    for i, route in enumerate(plan.routing):
        if route.workload not in ids:
            raise _unknown(f"routing[{i}].workload", route.workload)
        names = [c.id for c in spec.classes[ids.index(route.workload)]]
        if route.cls not in names:
            raise _unknown(f"routing[{i}].class", route.cls)
        if route.pool is not None:
            row = rates.setdefault((route.pool, route.candidate), np.zeros(len(names)))
            row[names.index(route.cls)] += route.requests_per_s[block]
    noise = _NOISE * sum(row.sum() for row in rates.values())
    groups = []
    for replica in plan.replicas:
        row = rates.pop((replica.pool, replica.candidate), np.zeros(0))
        if not row.sum() > noise:
            continue
        counts = replica.count_by_block
        count = replica.count if counts is None else counts[block]
        group = Group(block, ids.index(replica.workload), replica, count, row)
        if count == 0:
            raise _nowhere(f"{group.name}, block {block}")
        groups.append(group)
    for (pool, candidate), row in rates.items():
        if row.sum() > noise:
            raise _nowhere(f"pool {pool}, candidate {candidate}")
    return groups


def _unknown(where: str, name: str) -> SchemaError:
    return SchemaError(f"plan: {where}: {name!r} is not in the scenario", "plan again")


def _nowhere(where: str) -> SchemaError:
    return SchemaError(f"plan: {where}: requests are routed to replicas that are not there",
                       "plan again")  # fmt: skip
