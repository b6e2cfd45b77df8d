"""What was never built, counted in configurations: what is forbidden costs nothing and counts.

A reason's number is how many integers of the space it kept out: for a system all of them, for a
precision those with it, for a site those that would have been rated there too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tokenfleet.problem.axes import eligible_sites
from tokenfleet.problem.specification import Specification
from tokenfleet.problem.supply import Supply
from tokenfleet.scenario.load import LoadedScenario

_AXES = ("engines", "tp", "ep", "adp", "pp", "kv", "speculation", "batches", "class_sets")


def never_built(
    loaded: LoadedScenario, spec: Specification, supply: Supply, systems: Sequence[str]
) -> dict[str, int]:
    """Configurations kept out, by reason: what is missing of a system, quality, residency."""
    counts: Counter[str] = Counter()
    sites = loaded.scenario.sites
    for workload, axes in zip(spec.workloads, spec.data["workloads"], strict=True):
        roles = 1 + 2 * len(axes["splits"])
        one = roles * math.prod(len(axes[name]) for name in _AXES)  # one system and precision
        for system in systems:
            if system not in spec.systems:
                counts[supply.refusal(system)] += one * len(axes["precisions"])
        for refused in spec.refused:
            if refused.workload == workload.id:
                counts[refused.reason] += one * len(spec.systems)
        closed = len(sites) - len(eligible_sites(workload, sites))
        counts["residency"] += one * len(axes["precisions"]) * len(spec.systems) * closed
    return {reason: count for reason, count in sorted(counts.items()) if count}
