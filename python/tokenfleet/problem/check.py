"""What a scenario would be planned over, without searching it: supply, space, what is left out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tokenfleet import _core
from tokenfleet.problem.hosted import build_apis
from tokenfleet.problem.inputs import Input, inputs
from tokenfleet.problem.load_blocks import scenario_blocks
from tokenfleet.problem.money import resolve_terms
from tokenfleet.problem.specification import build_specification
from tokenfleet.problem.supply import NotConsidered, build_supply
from tokenfleet.scenario.load import LoadedScenario

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Checked:
    """A valid scenario, counted. `space_size` counts integers, not every one of them a layout."""

    name: str
    source: str
    workloads: int
    classes: int
    sites: int
    systems: tuple[str, ...]
    offers: int
    apis: int
    space_size: int | None  # None: measured columns take the model's place
    space_units: int | None
    assumed: tuple[Input, ...]  # inputs that the scenario leaves blank
    inherited: dict[str, dict[str, str]]  # "system, engine" to what comes from which relative
    not_considered: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def check(loaded: LoadedScenario) -> Checked:
    """Counts what `loaded` would be planned over.

    Raises:
        SchemaError: an offer or figure that the plan would need and cannot have.
    """
    scenario, catalog = loaded.scenario, loaded.catalog
    terms = resolve_terms(scenario.finance, catalog)
    allowed = sorted(set(scenario.systems or catalog.systems))
    supply = build_supply(loaded, allowed, terms, scenario_blocks(loaded))
    apis, refused = build_apis(loaded)
    systems = tuple(sorted({pool.system for pool in supply.pools}))
    notes = supply.not_considered + refused
    space: _core.Space | None = None
    inherited: dict[str, dict[str, str]] = {}
    if scenario.columns is None and systems:
        specification = build_specification(loaded, systems)
        space = _core.Space(json.dumps(specification.data))
        notes += [NotConsidered(r.what, r.text) for r in specification.refused]
        inherited = {
            ", ".join(key): what for key, what in sorted(specification.inherited.notes.items())
        }
    used = supply.prices.keys() | {api.id for api in apis}
    found = inputs(loaded, terms, supply.prices, used)
    return Checked(
        name=scenario.name,
        source=loaded.source_name,
        workloads=len(scenario.workloads),
        classes=sum(len(classes) for classes in loaded.classes.values()),
        sites=len(scenario.sites),
        systems=systems,
        offers=len(supply.offers),
        apis=len(apis),
        space_size=None if space is None else space.space_size,
        space_units=None if space is None else space.unit_count,
        assumed=tuple(row for row in found if row.assumed),
        inherited=inherited,
        not_considered=tuple({"what": n.what, "reason": n.reason} for n in notes),
        warnings=tuple(str(w) for w in loaded.warnings),
    )
