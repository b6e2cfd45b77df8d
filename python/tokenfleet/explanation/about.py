"""What an explanation is about: everything, or some sites, offers, types, workloads and APIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenfleet.errors import SchemaError
from tokenfleet.problem_data import Problem
from tokenfleet.schema import did_you_mean


@dataclass(frozen=True)
class About:
    """Names that are asked about; none of them: everything is."""

    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Sequence[str], problem: Problem) -> About:
        """What is asked about a problem.

        Raises:
            SchemaError: a name that is not in it.
        """
        known = {site.id for site in problem.sites} | {api.id for api in problem.apis}
        known |= {workload.id for workload in problem.workloads}
        known |= {pool.system for pool in problem.pools}
        known |= {offer.stated_as for offer in problem.offers}
        for name in names:
            if name not in known:
                text = f"{name!r} is no site, offer, system type, workload or hosted API"
                raise SchemaError(text, did_you_mean(name, known))
        return cls(frozenset(names))

    def __call__(self, name: str) -> bool:
        """Whether what has the name is asked about."""
        return not self.names or name in self.names


EVERYTHING = About()
