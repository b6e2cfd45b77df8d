"""What all sections of a page share: the plan, names and colours of its systems."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

from tokenfleet.plan.rows import Plan
from tokenfleet.report import findings
from tokenfleet.report.page.charts import SYSTEM_COLOURS

OTHER = "s6"  # hosted APIs, and systems beyond the colours that can be told apart


class Look:
    """A plan with names and colours of its systems: the same system looks the same everywhere."""

    def __init__(self, plan: Plan, today: date | None = None) -> None:
        self.plan, self.today = plan, today
        self.names = findings.system_names(plan)
        gpus: dict[str, int] = defaultdict(int)
        for row in plan.systems:
            gpus[row.system] += row.gpus
        ranked = sorted(gpus, key=lambda system: (-gpus[system], system))
        self._colours = {
            system: f"s{i}" if i < SYSTEM_COLOURS else OTHER for i, system in enumerate(ranked)
        }
        self.ranked = tuple(ranked)  # systems, the most accelerators first
        self.system_of_pool = {row.pool: row.system for row in plan.systems}

    def name(self, system: str) -> str:
        """What a system type is called."""
        return self.names.get(system) or findings.clip(system)

    def colour(self, system: str | None) -> str:
        """Its colour, a class of the stylesheet; grey for a hosted API."""
        return self._colours.get(system or "", OTHER)
