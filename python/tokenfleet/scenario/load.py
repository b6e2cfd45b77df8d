"""Reads a scenario with its catalog, and resolves what it refers to: traces, tables, names.

A scenario's relative paths start at the folder of its file (at the working directory for plain
data).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenfleet.calibration import SHIPPED, Calibration
from tokenfleet.calibration.maturity import MATURITY
from tokenfleet.catalog import Catalog, load_catalog, merge_files
from tokenfleet.catalog.book import ADD_MODEL
from tokenfleet.catalog.load import TABLES
from tokenfleet.catalog.parts import priced_parts, with_parts
from tokenfleet.catalog.tables import csv_table, read_csv
from tokenfleet.errors import CatalogError, SchemaError
from tokenfleet.files.frames import is_frame, rows_of
from tokenfleet.files.kinds import is_plan, no_fields
from tokenfleet.files.read import load_data
from tokenfleet.importers.lengths import (
    classes_from_cdf,
    classes_from_trace,
    rate_curve,
    read_trace,
)
from tokenfleet.importers.trace import Trace
from tokenfleet.schema import (
    Api,
    Column,
    Fault,
    Quality,
    RequestClass,
    Scenario,
    SchemaWarning,
    SolverOptions,
    Workload,
    column_faults,
    did_you_mean,
    scenario_warnings,
    schema_error,
    validate,
)

# Effects of a calibration that belong to an engine version.
_VERSIONED = "version_cell"
# A price more than this factor from the price book draws a warning (a node has 4 to 16 GPUs).
_PRICE_FACTOR = 4.0


@dataclass(frozen=True)
class LoadedScenario:
    """A valid scenario, its catalog, and what its files resolved to.

    `classes` and `day_curves` are by workload id. A day curve has 24 relative rates with mean 1;
    workloads described by `peak_to_mean` have none. `calibration` holds the intervals, and the
    biases where the scenario asks for them: the file that it names, or else the shipped one.
    """

    scenario: Scenario
    catalog: Catalog
    classes: Mapping[str, tuple[RequestClass, ...]]
    day_curves: Mapping[str, tuple[float, ...]]
    warnings: tuple[SchemaWarning, ...]
    base_dir: Path
    source_name: str
    calibration: Calibration


ScenarioSource = str | Path | Mapping[str, Any] | Scenario | LoadedScenario


def load_scenario(
    scenario: ScenarioSource,
    base_dir: Path | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    catalog: Catalog | None = None,
) -> LoadedScenario:
    """Loads a scenario from a YAML, TOML or JSON file, from plain data, or as it is.

    In plain data a list of rows (`offers`, `columns`, ...) may be a DataFrame.

    `given` fields take the place of a file's own. The scenario's catalog files go on top of
    `catalog`; None is the shipped one.

    A `LoadedScenario` is returned unchanged: what it was loaded with stands.

    Raises:
        SchemaError: anything that cannot be understood; names file, field, row and value.
        CatalogError: a system, model, price vintage or distribution that is not in the catalog.
    """
    if isinstance(scenario, LoadedScenario):
        return scenario
    parsed, source, folder = _parse(scenario, base_dir, given or {})
    own = [_resolve(folder, p, source, f"catalog[{i}]") for i, p in enumerate(parsed.catalog)]
    catalog = _with_parts(merge_files(catalog or load_catalog(), own), parsed)
    table = parsed.columns if isinstance(parsed.columns, str) else None
    parsed = _with_columns(parsed, folder, source)
    parsed = _with_api_prices(_with_quality(parsed, catalog), catalog, source)
    reader = _ClassReader(catalog, folder, source)
    classes = {
        workload.id: reader.read(workload, f"workloads[{i}] (id {workload.id!r})")
        for i, workload in enumerate(parsed.workloads)
    }
    faults = list(_unknown_names(parsed, catalog, classes))
    if faults and table is not None:
        faults = _by_line(faults, folder / table)
    if faults:
        raise schema_error(source, faults)
    calibration = _calibration(parsed, folder, source)
    if parsed.calibration not in ("none", "shipped"):
        # Biases of a file are on top of its constants.
        own_kernels = catalog.kernels.with_constants(calibration.fitted_constants())
        catalog = replace(catalog, kernels=own_kernels)
    return LoadedScenario(
        scenario=parsed,
        catalog=catalog,
        classes=classes,
        day_curves=_day_curves(parsed, folder, source),
        warnings=(
            *scenario_warnings(parsed),
            *catalog.warnings,
            *reader.notes,
            *_odd_prices(parsed, catalog),
            *_unmeasured_versions(parsed, calibration),
        ),
        base_dir=folder,
        source_name=source,
        calibration=calibration,
    )


def _with_parts(catalog: Catalog, scenario: Scenario) -> Catalog:
    """The catalog with the parts of servers that the scenario names; one that names no system is
    planned over all that have a price, parts among them."""
    named = scenario.named_systems
    if not named and scenario.columns is None:
        named = priced_parts(catalog, scenario.price_vintage)
    return with_parts(catalog, named)


def with_solver(loaded: LoadedScenario, settings: Mapping[str, Any], source: str) -> LoadedScenario:
    """The scenario with solver settings, such as `{"time_limit_s": 30.0}`, over its own.

    Raises:
        SchemaError: a setting cannot be understood; `source` says where it was given.
    """
    merged = {**loaded.scenario.solver.model_dump(), **settings}
    options = validate(SolverOptions, merged, source)
    return replace(loaded, scenario=loaded.scenario.model_copy(update={"solver": options}))


def _parse(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    base_dir: Path | None,
    given: Mapping[str, Any],
) -> tuple[Scenario, str, Path]:
    if isinstance(scenario, Scenario):
        return scenario, "scenario", base_dir or Path.cwd()
    if isinstance(scenario, Mapping):
        data = {k: rows_of(v) if is_frame(v) else v for k, v in scenario.items()}
        return Scenario.parse(data, "scenario"), "scenario", base_dir or Path.cwd()
    path = Path(scenario)
    data = load_data(path)
    if not isinstance(data, dict):
        raise no_fields(path, data)
    _refuse_other_kinds(path, data)
    return Scenario.parse({**data, **given}, str(path)), str(path), base_dir or path.parent


def _refuse_other_kinds(path: Path, data: Mapping[str, Any]) -> None:
    """A plan or a catalog file given for a scenario is called one; its fields are no mistakes."""
    if is_plan(data):
        hint = "give the scenario it was made from; report, explain, simulate and diff read plans"
        raise SchemaError(f"{path}: is a plan, not a scenario", hint)
    if data and data.keys() <= set(TABLES):
        hint = "name it under `catalog` of a scenario, or look at it with tokenfleet catalog check"
        raise SchemaError(f"{path}: is a catalog file, not a scenario", hint)


def _resolve(folder: Path, name: str, source: str, where: str) -> Path:
    """The file that a scenario names in the field `where`; it must be a regular file."""
    path = folder / name
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        raise SchemaError(
            f"{source}: {where}: file {name!r} is not found from {folder}",
            "check the name; paths are relative to the folder of the scenario",
        )
    return path


def _with_columns(scenario: Scenario, folder: Path, source: str) -> Scenario:
    """Reads measured columns from their file."""
    if not isinstance(scenario.columns, str):
        return scenario
    path = _resolve(folder, scenario.columns, source, "columns")
    columns = tuple(csv_table(path, Column))
    if not columns:
        raise SchemaError(f"{path}: has no rows", "give at least one measured column")
    return scenario.model_copy(update={"columns": columns})


def _by_line(faults: Sequence[Fault], table: Path) -> list[Fault]:
    """Faults of measured columns with the line of their table in place of their number."""
    lines = [line for line, _ in read_csv(table)[1]]

    def at(match: re.Match[str]) -> str:
        return f"{table.name}: row {lines[int(match[1])]}: "

    return [replace(f, path=re.sub(r"^columns\[(\d+)\]\.", at, f.path)) for f in faults]


def _with_quality(scenario: Scenario, catalog: Catalog) -> Scenario:
    """Adds the catalog's quality rows for the scenario's models; the scenario's own win."""
    models = {w.model for w in scenario.workloads}
    own = {(q.model, q.precision) for q in scenario.quality}
    added = tuple(
        Quality(model=q.model, precision=q.precision, score=q.score, source=q.source)
        for q in catalog.quality
        if q.model in models and (q.model, q.precision) not in own
    )
    return scenario.model_copy(update={"quality": scenario.quality + added}) if added else scenario


def _with_api_prices(scenario: Scenario, catalog: Catalog, source: str) -> Scenario:
    """Hosted APIs that name an entry of the price book, with its prices.

    Raises:
        CatalogError: there is no such entry.
    """
    if all(api.price is None for api in scenario.apis):
        return scenario
    try:
        apis = tuple(_priced(api, catalog, scenario.price_vintage) for api in scenario.apis)
    except CatalogError as error:
        raise CatalogError(f"{source}: apis: {error.message}", error.hint) from None
    return scenario.model_copy(update={"apis": apis})


def _priced(api: Api, catalog: Catalog, vintage: str | None) -> Api:
    if api.price is None:
        return api
    row = catalog.api_price(api.price, vintage)
    prices = ("usd_per_mtok_input", "usd_per_mtok_output", "usd_per_request")
    return api.model_copy(update={name: getattr(row, name) for name in prices})


# Request classes and rate curves


@dataclass
class _ClassReader:
    """Resolves where request classes come from, and collects what is worth a warning."""

    catalog: Catalog
    folder: Path
    source: str
    notes: list[SchemaWarning] = field(default_factory=list)

    def read(self, workload: Workload, where: str) -> tuple[RequestClass, ...]:
        """The classes of one workload, stated or derived."""
        lengths = workload.lengths
        if lengths is None:
            return workload.classes or ()
        rate = None if isinstance(lengths.prefix_hit_rate, str) else lengths.prefix_hit_rate
        if lengths.distribution is not None:
            if lengths.distribution not in self.catalog.lengths:
                raise _unknown_distribution(self.source, where, lengths.distribution, self.catalog)
            row = self.catalog.length(lengths.distribution)
            if rate is None and row.block_hit_rate is None:
                raise _no_prefixes(self.source, where, lengths.distribution)
            return row.request_classes(rate)
        if lengths.trace is not None and lengths.format is not None:
            path = _resolve(self.folder, lengths.trace, self.source, f"{where}.lengths.trace")
            trace = read_trace(path, lengths.format)
            return self._from_trace(trace, lengths.buckets, rate, where)
        name = str(lengths.cdf)
        if rate is None:
            raise _no_prefixes(self.source, where, name)
        path = _resolve(self.folder, name, self.source, f"{where}.lengths.cdf")
        return classes_from_cdf(path, lengths.buckets, rate)

    def _from_trace(
        self, trace: Trace, buckets: int, rate: float | None, where: str
    ) -> tuple[RequestClass, ...]:
        if rate is None and trace.blocks is None:
            raise _no_prefixes(self.source, where, trace.source)
        classes = classes_from_trace(trace, buckets, rate)
        texts = list(trace.warnings)
        if len(classes) < buckets:
            texts.append(f"equal lengths leave {len(classes)} of {buckets} classes")
        self.notes.extend(SchemaWarning(f"{where}.lengths", text) for text in texts)
        return classes


def _unknown_distribution(source: str, where: str, name: str, catalog: Catalog) -> SchemaError:
    return schema_error(
        source,
        [
            Fault(
                f"{where}.lengths.distribution",
                f"unknown length distribution {name!r}",
                did_you_mean(name, catalog.lengths),
            )
        ],
    )


def _no_prefixes(source: str, where: str, name: str) -> SchemaError:
    return SchemaError(
        f"{source}: {where}.lengths.prefix_hit_rate: measured, but {name!r} has no prefix blocks",
        "give the rate as a number",
    )


def _day_curves(scenario: Scenario, folder: Path, source: str) -> dict[str, tuple[float, ...]]:
    curves = {}
    for i, workload in enumerate(scenario.workloads):
        load = workload.demand
        if load.day_curve is not None:
            mean = sum(load.day_curve) / len(load.day_curve)
            curves[workload.id] = tuple(v / mean for v in load.day_curve)
        elif load.trace_curve is not None:
            where = f"workloads[{i}] (id {workload.id!r}).demand.trace_curve.trace"
            path = _resolve(folder, load.trace_curve.trace, source, where)
            curves[workload.id] = rate_curve(read_trace(path, load.trace_curve.format))
    return curves


# Calibration


@lru_cache(maxsize=1)
def _shipped() -> Calibration:
    return Calibration.read(SHIPPED)


def _calibration(scenario: Scenario, folder: Path, source: str) -> Calibration:
    """The calibration of a scenario; without one the shipped one, for its intervals."""
    if scenario.calibration in ("none", "shipped"):
        return _shipped()
    return Calibration.read(_resolve(folder, scenario.calibration, source, "calibration"))


def _unmeasured_versions(scenario: Scenario, calibration: Calibration) -> Iterator[SchemaWarning]:
    """Engines whose biases cannot be applied: their version is not named, or nobody measured it."""
    if scenario.calibration == "none":
        if set(scenario.engine_versions) - set(MATURITY):
            text = "has no effect without a calibration; did you mean calibration: shipped?"
            yield SchemaWarning("engine_versions", text)
        return
    measured = sorted({e.key.split(" | ")[0] for e in calibration.effects if e.kind == _VERSIONED})
    for engine in sorted(set(scenario.engines)):
        known = [name.partition(" ")[2] for name in measured if name.split(" ")[0] == engine]
        version = scenario.engine_versions.get(engine)
        if version in known:
            continue
        what = "no version is named" if version is None else f"nobody measured version {version!r}"
        there = did_you_mean(version or "", known) if known else "the calibration has none"
        yield SchemaWarning(f"engine_versions.{engine}", f"{what}: no bias is applied; {there}")


# Names that only the catalog knows


def _unknown_names(
    scenario: Scenario, catalog: Catalog, classes: Mapping[str, tuple[RequestClass, ...]]
) -> Iterator[Fault]:
    for path, what, name, known in _references(scenario, catalog):
        if name not in known:
            hint = did_you_mean(name, known)
            more = f" {ADD_MODEL}" if what == "model" else ""
            yield Fault(path, f"unknown {what} {name!r}", hint + more)
    columns = scenario.columns
    if columns is not None and not isinstance(columns, str):
        yield from column_faults(columns, scenario.workloads, "columns")
    yield from _unknown_classes(scenario, classes)
    yield from _unscored(scenario)


def _references(
    scenario: Scenario, catalog: Catalog
) -> Iterator[tuple[str, str, str, Mapping[str, Any] | tuple[str, ...]]]:
    if scenario.price_vintage is not None:
        yield "price_vintage", "price vintage", scenario.price_vintage, catalog.vintages
    for i, name in enumerate(scenario.systems or ()):
        yield f"systems[{i}]", "system", name, catalog.systems
    for i, workload in enumerate(scenario.workloads):
        path = f"workloads[{i}] (id {workload.id!r}).model"
        if workload.unit == "token":
            yield path, "model", workload.model, catalog.models
    for i, offer in enumerate(scenario.offers):
        yield f"offers[{i}] (id {offer.id!r}).system", "system", offer.system, catalog.systems
    if scenario.columns is not None and not isinstance(scenario.columns, str):
        for i, column in enumerate(scenario.columns):
            yield f"columns[{i}].system", "system", column.system, catalog.systems


def _unknown_classes(
    scenario: Scenario, classes: Mapping[str, tuple[RequestClass, ...]]
) -> Iterator[Fault]:
    """Limits and columns that name a class which a distribution of the catalog does not have.

    Other classes are known from the scenario alone, which has judged what names them.
    """
    derived = {w.id for w in scenario.workloads if w.class_ids is None}
    known = {name: [c.id for c in found] for name, found in classes.items() if name in derived}
    for i, workload in enumerate(scenario.workloads):
        own = known.get(workload.id)
        for j, slo in enumerate(workload.slos):
            if slo.cls is not None and own is not None and slo.cls not in own:
                path = f"workloads[{i}] (id {workload.id!r}).slos[{j}].class"
                yield Fault(path, f"unknown class {slo.cls!r}", did_you_mean(slo.cls, own))
    if scenario.columns is None or isinstance(scenario.columns, str):
        return
    for i, column in enumerate(scenario.columns):
        own = known.get(column.workload, [])
        if own and column.cls not in own:
            hint = did_you_mean(column.cls, own)
            yield Fault(f"columns[{i}].class", f"unknown class {column.cls!r}", hint)


def _unscored(scenario: Scenario) -> Iterator[Fault]:
    """Floors of quality beside which no quality is stated."""
    if scenario.columns is not None and not isinstance(scenario.columns, str):
        floors = {w.id: w.quality_floor for w in scenario.workloads}
        for i, column in enumerate(scenario.columns):
            floor = floors.get(column.workload)
            if floor is not None and column.quality is None:
                yield Fault(
                    f"columns[{i}].quality",
                    f"not stated, and workload {column.workload!r} has quality_floor {floor:g}",
                    "state the score of what was measured, or leave the floor out",
                )
        return
    scored = {q.model for q in scenario.quality}
    for i, workload in enumerate(scenario.workloads):
        if workload.quality_floor is not None and workload.model not in scored:
            yield Fault(
                f"workloads[{i}] (id {workload.id!r}).quality_floor",
                f"{workload.quality_floor:g}, but no quality row for model {workload.model!r}",
                "add rows to quality, one per precision, with their source",
            )


# Prices far from the price book


def _odd_prices(scenario: Scenario, catalog: Catalog) -> Iterator[SchemaWarning]:
    for i, offer in enumerate(scenario.offers):
        for name in ("price_usd_per_gpu_h", "price_usd_per_system"):
            price = getattr(offer, name)
            rows = catalog.price_rows(scenario.price_vintage, offer.system)
            known = [v for r in rows if (v := getattr(r, name)) is not None]
            if price is None or not known:
                continue
            path = f"offers[{i}] (id {offer.id!r}).{name}"
            if price > _PRICE_FACTOR * max(known):
                yield SchemaWarning(
                    path,
                    f"{price:g} is over {_PRICE_FACTOR:g} times the price "
                    f"book's {max(known):g}; did you mean a node price, or cents?",
                )
            elif price * _PRICE_FACTOR < min(known):
                yield SchemaWarning(
                    path,
                    f"{price:g} is under 1/{_PRICE_FACTOR:g} of the price "
                    f"book's {min(known):g}; did you mean thousands, or another "
                    "unit?",
                )
