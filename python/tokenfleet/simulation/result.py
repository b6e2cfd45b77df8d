"""The answer of a simulation: tables side by side with the plan's own figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tokenfleet.files.plain import json_ready

SCHEMA_VERSION = 1
Row = dict[str, Any]


@dataclass(frozen=True)
class Simulation:
    """A plan held against the simulator in one load block.

    `latency` has one row for every class at each site and, with `site` None, over all of them;
    `limits` one for every limit on every class of every replica group, with its verdict; `fleets`
    one for every workload whose groups were simulated together, with what waited, ran, filled the
    caches and was up over time. Figures
    with a half width are means over replications with a 95 % interval.
    """

    name: str
    block: int
    scale: float
    arrivals: str
    seed: int
    replications: int
    interrupted: bool
    groups_total: int
    latency: tuple[Row, ...]
    limits: tuple[Row, ...]
    groups: tuple[Row, ...]
    sites: tuple[Row, ...]
    fleets: tuple[Row, ...]
    delivered: Row
    not_simulated: tuple[Row, ...]
    warnings: tuple[str, ...]
    seconds: float
    schema_version: int = SCHEMA_VERSION

    @property
    def held(self) -> bool:
        """Whether no limit failed with confidence and everything that can be was simulated."""
        complete = len(self.groups) == self.groups_total
        together = [lim for f in self.fleets for c in f["classes"] for lim in c["limits"]]
        fails = bool(self.failed) or any(lim["verdict"] == "failed" for lim in together)
        return complete and not self.interrupted and not fails

    @property
    def failed(self) -> tuple[Row, ...]:
        """Limits that fail with 95 % confidence, the worst first."""
        rows = [row for row in self.limits if row["verdict"] == "failed"]
        return tuple(sorted(rows, key=lambda row: row["limit_ms"] / row["simulated_ms"]))

    @property
    def unstable(self) -> bool:
        """Whether the queue of any group, or of groups together, grows without end."""
        rows = (*self.groups, *self.fleets)
        return any(2 * row["unstable_replications"] > row["replications"] for row in rows)

    def stopped(self) -> Simulation:
        """The same, marked as interrupted."""
        return replace(self, interrupted=True)

    def to_json(self) -> Row:
        """Plain lists, dicts and finite numbers; a number that does not exist is null."""
        own = {**asdict(self), "held": self.held, "unstable": self.unstable}
        plain: Row = json_ready(own)
        return plain
