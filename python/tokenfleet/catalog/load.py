"""Reads the shipped catalog, and user files that add or override its rows.

A user's file is a CSV table (its columns tell which one), or YAML, TOML or JSON with lists under
`systems`, `models`, `checkpoints`, `prices`, `apis`, `tco`, `quality`. Keys are column names. A row
of a known id replaces the fields it gives; a model row may name a Hugging Face `config: path`, and
under `ignore` keys of it that are left out of the reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tokenfleet.catalog.book import Catalog
from tokenfleet.catalog.huggingface import read_config
from tokenfleet.catalog.kernels import parse_kernels
from tokenfleet.catalog.parts import with_parts
from tokenfleet.catalog.rows import (
    ApiRow,
    CheckpointRow,
    LengthRow,
    ModelRow,
    PointRow,
    PriceRow,
    QualityRow,
    SystemRow,
    TcoRow,
    TimelineRow,
)
from tokenfleet.catalog.tables import csv_table, label, pick_table, read_csv, typed
from tokenfleet.errors import SchemaError
from tokenfleet.files.kinds import is_plan
from tokenfleet.files.read import load_data
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.plausibility import SchemaWarning, row_warnings
from tokenfleet.schema.rows import validate

DATA = Path(__file__).parent / "data"
CALIBRATION = DATA / "calibration.json"
CSV_TABLES: dict[str, type[BaseModel]] = {
    "systems": SystemRow,
    "prices": PriceRow,
    "tco": TcoRow,
    "quality": QualityRow,
    "apis": ApiRow,
    "checkpoints": CheckpointRow,
}
TABLES = (*CSV_TABLES, "models")
_DEFAULTS: dict[str, dict[str, Any]] = {"tco": {"confidence": "user"}}


@lru_cache(maxsize=1)
def load_catalog() -> Catalog:
    """The shipped catalog."""
    models = load_data(DATA / "models.json")
    lengths = load_data(DATA / "lengths.json")
    return Catalog(
        systems={r.id: r for r in csv_table(DATA / "systems.csv", SystemRow)},
        models={r["id"]: validate(ModelRow, r, "models.json", r["id"]) for r in models},
        prices=tuple(csv_table(DATA / "prices.csv", PriceRow)),
        tco={r.parameter: r for r in csv_table(DATA / "tco_defaults.csv", TcoRow)},
        lengths={r["id"]: validate(LengthRow, r, "lengths.json", r["id"]) for r in lengths},
        points=tuple(csv_table(DATA / "published_points.csv", PointRow)),
        checkpoints=tuple(csv_table(DATA / "checkpoints.csv", CheckpointRow)),
        timeline=tuple(csv_table(DATA / "timeline.csv", TimelineRow)),
        kernels=parse_kernels(load_data(DATA / "kernels.json")).with_constants(
            (row["name"], row["engine"], row["value"])
            for row in load_data(CALIBRATION)["constants"]
        ),
    )


def merge_files(catalog: Catalog, paths: Iterable[Path]) -> Catalog:
    """The catalog with user files applied in order.

    Raises:
        SchemaError: a faulty file, row or field; names file, row, field and value.
    """
    for path in paths:
        for table, source, row in _user_rows(path):
            catalog = _apply(catalog, table, source, row, path)
    return catalog


def _user_rows(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Table, place (file and row) and values of every row of a user's file."""
    if path.suffix.lower() == ".csv":
        return _csv_rows(path)
    data = load_data(path)
    if not isinstance(data, dict):
        raise SchemaError(f"{path}: should have tables by name", f"known: {', '.join(TABLES)}")
    if "workloads" in data:
        kind = "plan" if is_plan(data) else "scenario"
        hint = f"a catalog file has tables: {', '.join(TABLES)}"
        raise SchemaError(f"{path}: is a {kind}, not a catalog file", hint)
    return [
        (table, f"{path}: {table}[{i}]{label(row)}", row)
        for table, rows in data.items()
        for i, row in _listed(path, table, rows)
    ]


def _csv_rows(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    header, rows = read_csv(path)
    table = pick_table(path, header, CSV_TABLES)
    found = []
    for line, cells in rows:
        source = f"{path}: row {line}{label(cells)}"
        found.append((table, source, typed(CSV_TABLES[table], cells, source)))
    return found


def _listed(path: Path, table: str, rows: Any) -> list[tuple[int, dict[str, Any]]]:
    if table not in TABLES:
        raise SchemaError(
            f"{path}: unknown table {str(table)[:60]!r}", did_you_mean(str(table), TABLES)
        )
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise SchemaError(f"{path}: {table} should be a list of rows", "start each row with -")
    return list(enumerate(rows))


def _apply(catalog: Catalog, table: str, source: str, row: dict[str, Any], path: Path) -> Catalog:
    given = {"source": f"user file {path.name}", **_DEFAULTS.get(table, {}), **row}
    if table == "models":
        return _apply_model(catalog, source, given, path)
    if table in ("prices", "apis"):
        given = {**_edition(catalog, row), **given}
    model = CSV_TABLES[table]
    new = validate(model, _over(_existing(catalog, table, row), given, row), source)
    found = tuple(SchemaWarning(f"{source}.{w.path}", w.message) for w in row_warnings(new))
    _check_names(catalog, source, new)
    changed = _stored(catalog, table, new)
    return replace(changed, warnings=catalog.warnings + found)


def _edition(catalog: Catalog, row: dict[str, Any]) -> dict[str, Any]:
    """Edition of a price that does not say: the newest, or the first day of the one it names."""
    name = row.get("vintage")
    if name is None:
        name = catalog.vintage(None)
    if not isinstance(name, str):
        return {}
    first = {p.vintage: p.valid_from for p in catalog.prices}
    return {"vintage": name, "valid_from": first[name]} if name in first else {}


def _check_names(catalog: Catalog, source: str, row: BaseModel) -> None:
    """A price, a quality score or a checkpoint must be of something that is in the catalog."""
    pairs: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    if isinstance(row, PriceRow):
        pairs = ((row.system, with_parts(catalog, [row.system]).systems),)
    elif isinstance(row, QualityRow | CheckpointRow) or (
        isinstance(row, ApiRow) and row.model is not None
    ):
        pairs = ((str(row.model), catalog.models),)
    for name, known in pairs:
        if name not in known:
            hint = f"{did_you_mean(name, known)} Rows are read in order: add it first"
            raise SchemaError(f"{source}: {name!r} is not in the catalog", hint)
    if isinstance(row, TcoRow):
        _check_parameter(catalog, source, row)


def _check_parameter(catalog: Catalog, source: str, row: TcoRow) -> None:
    """A cost parameter must be one that a plan reads, in its unit."""
    if row.parameter not in catalog.tco:
        hint = did_you_mean(row.parameter, catalog.tco)
        raise SchemaError(f"{source}: no plan reads a parameter {row.parameter!r}", hint)
    unit = catalog.tco[row.parameter].unit
    if row.unit != unit:
        raise SchemaError(
            f"{source}: unit: {row.unit!r} is not the unit of {row.parameter}",
            f"give the figures in {unit}",
        )


def _existing(catalog: Catalog, table: str, row: dict[str, Any]) -> BaseModel | None:
    if table == "systems":
        return catalog.systems.get(str(row.get("id")))
    if table == "tco":
        return catalog.tco.get(str(row.get("parameter")))
    return None


def _over(old: BaseModel | None, given: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """The old row with the given fields on top; its source is kept beside the user's."""
    if old is None:
        return given
    merged = {**old.model_dump(), **row}
    if "source" not in row:
        changed = ", ".join(sorted(set(row) - {"id", "parameter"}))
        merged["source"] = f"{given['source']} ({changed}); else {merged['source']}"
    return merged


def _stored(catalog: Catalog, table: str, new: Any) -> Catalog:
    if table == "systems":
        changed = replace(catalog, systems={**catalog.systems, new.id: new})
        return _marked(changed, f"systems:{new.id}")
    if table == "tco":
        changed = replace(catalog, tco={**catalog.tco, new.parameter: new})
        return _marked(changed, f"tco:{new.parameter}")
    if table == "quality":
        kept = tuple(
            q for q in catalog.quality if (q.model, q.precision) != (new.model, new.precision)
        )
        changed = replace(catalog, quality=(*kept, new))
        return _marked(changed, f"quality:{new.model}:{new.precision}")
    if table == "checkpoints":
        others = tuple(c for c in catalog.checkpoints if c.key != new.key)
        changed = replace(catalog, checkpoints=(*others, new))
        return _marked(changed, ":".join(("checkpoints", *new.key)))
    if table == "apis":
        apis = tuple(a for a in catalog.apis if a.key != new.key)
        return _marked(replace(catalog, apis=(*apis, new)), ":".join(("apis", *new.key)))
    prices = tuple(p for p in catalog.prices if p.key != new.key)
    changed = replace(catalog, prices=(*prices, new))
    return _marked(changed, ":".join(("prices", *map(str, new.key))))


def _marked(catalog: Catalog, name: str) -> Catalog:
    return replace(catalog, user_rows=catalog.user_rows | {name})


def model_row(path: Path, name: str) -> ModelRow:
    """The model of a Hugging Face `config.json`.

    Raises:
        SchemaError: the file is not JSON, or lacks a key; names file and key.
    """
    row = {**read_config(path, name).architecture.model_dump(), "source": path.name}
    return validate(ModelRow, row, str(path), name)


def _apply_model(catalog: Catalog, source: str, row: dict[str, Any], path: Path) -> Catalog:
    """A model row: a full architecture, or `config: path` to a Hugging Face config."""
    config, ignore = row.pop("config", None), row.pop("ignore", [])
    found: tuple[str, ...] = ()
    if not isinstance(ignore, list) or not all(isinstance(key, str) for key in ignore):
        raise SchemaError(f"{source}: ignore should be a list of keys", "ignore: [key]")
    if ignore and config is None:
        raise SchemaError(f"{source}: ignore goes with config", "leave it out")
    if config is not None:
        if not isinstance(config, str) or not isinstance(row.get("id"), str):
            raise SchemaError(f"{source}: needs a text id and a path in config", "give both")
        imported = read_config(path.parent / config, row["id"], ignore)
        found = imported.warnings
        row = {**imported.architecture.model_dump(), **row}
    new = validate(ModelRow, row, source)
    old = catalog.models.get(new.id)
    if old is not None and _facts(old) != _facts(new):
        catalog, left = _without_facts(catalog, new.id)
        found = (*found, *left)
    changed = replace(
        catalog,
        models={**catalog.models, new.id: new},
        warnings=catalog.warnings + tuple(SchemaWarning(source, text) for text in found),
    )
    return _marked(changed, f"models:{new.id}")


def _facts(model: ModelRow) -> dict[str, Any]:
    """What makes a model the one whose weights were published and scored."""
    return model.model_dump(exclude={"source", "as_of", "max_context"})


def _without_facts(catalog: Catalog, model: str) -> tuple[Catalog, tuple[str, ...]]:
    """The catalog without what it knows of the weights of another model of that name; rows of a
    user's own stay."""
    own = catalog.user_rows
    checkpoints = tuple(
        c
        for c in catalog.checkpoints
        if c.model != model or ":".join(("checkpoints", *c.key)) in own
    )
    quality = tuple(
        q for q in catalog.quality if q.model != model or f"quality:{q.model}:{q.precision}" in own
    )
    left = {
        "published checkpoints": len(catalog.checkpoints) - len(checkpoints),
        "quality scores": len(catalog.quality) - len(quality),
    }
    told = " and ".join(f"{count} {what}" for what, count in left.items() if count)
    text = f"takes the place of the catalog's {model}, whose {told} are of another model: left out"
    changed = replace(catalog, checkpoints=checkpoints, quality=quality)
    return changed, (text,) if told else ()
