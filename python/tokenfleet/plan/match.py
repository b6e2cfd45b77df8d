"""A plan and the scenario it was made from: do they belong together?

A plan names configurations by their number in the space, and classes by their name. Both mean
something only beside the scenario that it was made from, with the catalog of that day; so a plan
carries fingerprints of both (`Plan.origin`), and `check_match` holds them against a scenario.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tokenfleet.catalog import Catalog
from tokenfleet.errors import SchemaError
from tokenfleet.plan.known_rows import Origin
from tokenfleet.plan.rows import AGAIN, Plan, Replicas
from tokenfleet.problem.specification import Specification
from tokenfleet.scenario.load import LoadedScenario, ScenarioSource, load_scenario
from tokenfleet.schema.over_time import without_time


def origin_of(loaded: LoadedScenario, specification: Specification | None) -> Origin:
    """Source and SHA-256 of the scenario's own fields, and of all that the core was given.

    The second also covers the catalog's figures, the calibration and this version's model of them;
    None where the scenario brings measured columns. Solver settings are in neither.
    """
    plain = loaded.scenario.model_dump(mode="json", exclude={"solver"})
    own = {
        "scenario": plain if loaded.scenario.horizon is not None else without_time(plain),
        "classes": {
            workload: [c.model_dump(mode="json") for c in classes]
            for workload, classes in loaded.classes.items()
        },
        "day_curves": {workload: list(curve) for workload, curve in loaded.day_curves.items()},
    }
    return Origin(
        source=loaded.source_name,
        scenario_sha256=_sha256(own),
        model_sha256=None if specification is None else _sha256(specification.data),
    )


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def scenario_path(plan: Plan, name: str) -> Path:
    """Where the plan's scenario is: as it was named then, or beside the plan.

    Raises:
        SchemaError: it is in neither place.
    """
    named = Path(_origin(plan, name).source)
    for path in (named, Path(name).parent / named.name):
        if path.is_file():
            return path
    raise SchemaError(
        f"{name}: its scenario {str(named)!r} is not found",
        "say where it is: --scenario FILE",
    )


def _origin(plan: Plan, name: str) -> Origin:
    if plan.origin is None:
        raise SchemaError(f"{name}: origin: does not say which scenario it is of", AGAIN)
    return plan.origin


def scenario_of(
    plan: Plan, name: str, scenario: ScenarioSource | None, catalog: Catalog | None
) -> LoadedScenario:
    """The scenario of a plan: what is given, or the file that the plan was made from.

    A confidence that was asked for beside the file (`plan --confidence 0.9`) is asked for again.

    Raises:
        SchemaError: it is not found, or not valid.
    """
    if isinstance(scenario, LoadedScenario):
        return scenario
    source = scenario_path(plan, name) if scenario is None else scenario
    loaded = load_scenario(source, catalog=catalog)
    if loaded.scenario.sure != plan.confidence and isinstance(source, str | Path):
        asked = {"confidence": plan.confidence or "expected"}
        loaded = load_scenario(source, given=asked, catalog=catalog)
    return loaded


def check_match(
    plan: Plan, name: str, loaded: LoadedScenario, specification: Specification, core: Any
) -> None:
    """Refuses a plan that was not made from this scenario, catalog and version.

    Raises:
        SchemaError: says which of them differs, or names the replica row that was changed.
    """
    check_origin(plan, name, loaded, specification)
    for i, row in enumerate(plan.replicas):
        _check_layout(row, f"{name}: replicas[{i}]", core)


def check_origin(
    plan: Plan, name: str, loaded: LoadedScenario, specification: Specification | None
) -> None:
    """Refuses a plan whose fingerprints are not those of this scenario, catalog and version.

    Raises:
        SchemaError: says which of them differs.
    """
    then, now = _origin(plan, name), origin_of(loaded, specification)
    if now.scenario_sha256 != then.scenario_sha256:
        raise SchemaError(
            f"{name}: does not match {loaded.source_name}: the plan was made from another scenario "
            f"({then.source}), or it was changed since",
            "give the scenario of the plan with --scenario, or plan again",
        )
    if now.model_sha256 != then.model_sha256:
        raise SchemaError(
            f"{name}: does not match {loaded.source_name}: the catalog, the calibration or the "
            "version of tokenfleet changed since the plan was made",
            AGAIN,
        )


def _check_layout(row: Replicas, where: str, core: Any) -> None:
    if row.configuration is None or row.latency_group is None:
        raise SchemaError(f"{where}: has no configuration", AGAIN)
    if row.configuration >= core.space_size:
        text = f"{where}: configuration {row.configuration} is not in the scenario's space"
        raise SchemaError(text, AGAIN)
    for field, value in core.describe(row.configuration).items():
        found = getattr(row, field)
        if found != (tuple(value) if isinstance(value, list) else value):
            text = f"{where}.{field}: is {found!r}; configuration {row.configuration} has {value!r}"
            raise SchemaError(text, AGAIN)
