"""What a plan was made from: the fingerprints by which it is told whether a scenario is its own.

A plan names configurations by their number in the space, and classes by their name. Both mean
something only beside the scenario that it was made from, with the catalog of that day.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tokenfleet.problem.specification import Specification
from tokenfleet.scenario.load import LoadedScenario

Row = dict[str, Any]


def origin(loaded: LoadedScenario, specification: Specification | None) -> Row:
    """Source and SHA-256 of the scenario's own fields, and of all that the core was given.

    The second also covers the catalog's figures, the calibration and this version's model of them;
    None where the scenario brings measured columns. Solver settings are in neither.
    """
    own = {
        "scenario": loaded.scenario.model_dump(mode="json", exclude={"solver"}),
        "classes": {
            workload: [c.model_dump(mode="json") for c in classes]
            for workload, classes in loaded.classes.items()
        },
        "day_curves": {workload: list(curve) for workload, curve in loaded.day_curves.items()},
    }
    return {
        "source": loaded.source_name,
        "scenario_sha256": _sha256(own),
        "model_sha256": None if specification is None else _sha256(specification.data),
    }


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
