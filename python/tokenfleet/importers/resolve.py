"""Runs of benchmark files as measurements in the catalog's names.

What a file does not say must be given by the caller; what it says and the caller contradicts is
rejected. A model, an accelerator or a number format that the catalog does not know is rejected
with the nearest names, never replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import plain
from tokenfleet.importers.measurements import METRICS, Measurement, Parallelism
from tokenfleet.importers.readings import (
    Format,
    Reading,
    Rejected,
    Run,
    convert,
    raw_text,
)
from tokenfleet.importers.trace import RowError
from tokenfleet.schema.fields import Day, Name, Positive, PositiveCount, about, quantity
from tokenfleet.schema.formats import WEIGHT_FORMATS
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.rows import Row, validate

# Labels that mean one format beside one model and another beside the next.
_DEPENDS_ON_MODEL = ("fp8", "nvfp4", "int4")
_LAYOUT = ("tp", "pp", "ep", "dp_attention")
_NAMES = ("model", "system", "engine", "precision")
_COPIED = (
    *_LAYOUT,
    "gpus",
    "engine_version",
    "topology",
    "concurrency",
    "request_rate",
    "input_tokens",
    "output_tokens",
    "n",
    "date",
    "speculation",
)
_OPTIONS = {"model": "--model", "system": "--system", "gpus": "--tp (or --gpus)"}


class Given(Row):
    """What the caller says about runs whose file does not say it."""

    model: Name | None = about("Model of the catalog", default=None)
    system: Name | None = about("System of the catalog", default=None)
    engine: Name | None = about("Serving engine", default=None)
    engine_version: Name | None = about("Version of the engine", default=None)
    precision: Name | None = about("Number format of the weights", default=None)
    tp: PositiveCount | None = quantity("Tensor-parallel ranks", "ranks", default=None)
    pp: PositiveCount | None = quantity("Pipeline stages", "stages", default=None)
    ep: PositiveCount | None = quantity("Expert-parallel ranks", "ranks", default=None)
    dp_attention: PositiveCount | None = quantity(
        "Data-parallel ranks of the attention", "ranks", default=None
    )
    gpus: PositiveCount | None = quantity("Accelerators of the run", "GPUs", default=None)
    concurrency: Positive | None = quantity("Requests in flight", "requests", default=None)
    request_rate: Positive | None = quantity("Arrival rate", "requests/s", default=None)
    input_tokens: Positive | None = quantity("Mean prompt", "tokens", default=None)
    output_tokens: Positive | None = quantity("Mean output", "tokens", default=None)
    date: Day | None = about("Day of the run", default=None)


@dataclass
class Collected:
    """Measurements of a file, and what was not taken."""

    measurements: list[Measurement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def collect(content: str, source: str, kind: Format, given: Given, catalog: Catalog) -> Collected:
    """Every figure of a file.

    Raises:
        SchemaError: the file cannot be read, or a run lacks a fact that must then be given.
    """
    rows = kind.rows(content, source)
    found = Collected(warnings=list(rows.notes), rejected=list(rows.rejected))
    for position, (line, row) in enumerate(rows.rows, start=1):
        try:
            run = kind.run(row)
            context = _context(run.facts, given, catalog, f"{source}: line {line}")
        except RowError as error:
            found.rejected.append(Rejected(line, str(error), raw_text(row)))
            continue
        found.warnings.extend(f"line {line}: {note}" for note in run.notes)
        found.rejected.extend(Rejected(line, fault, raw_text(row)) for fault in run.faults)
        where = {"source": _clean(source[-200:]), "line": line, "run": position}
        _take(found, run, row, {**context, **where})
    found.warnings = list(dict.fromkeys(found.warnings))
    found.rejected = sorted(dict.fromkeys(found.rejected), key=lambda r: r.line)
    return found


def _take(found: Collected, run: Run, row: Any, context: Mapping[str, Any]) -> None:
    """Adds the figures of a run; a figure with a fault is rejected alone."""
    whole = raw_text(row)
    if not run.readings and not run.faults:
        found.rejected.append(Rejected(context["line"], "has no figure that is known", whole))
    for reading in run.readings:
        raw = whole if reading.raw is None else raw_text(reading.raw)
        try:
            found.measurements.append(_measurement(reading, {**context, "raw": raw}))
        except RowError as error:
            found.rejected.append(Rejected(context["line"], str(error), raw))


def _measurement(reading: Reading, context: Mapping[str, Any]) -> Measurement:
    unit = METRICS[reading.metric]
    row = {
        **context,
        "metric": reading.metric,
        "statistic": reading.statistic,
        "value": convert(reading, unit),
        "unit": unit,
        "definition": reading.definition,
    }
    try:
        return validate(Measurement, row, "figure")
    except SchemaError as error:
        raise RowError(error.message.splitlines()[0]) from None


# What is known about a run


def _context(
    facts: Mapping[str, Any], given: Given, catalog: Catalog, where: str
) -> dict[str, Any]:
    """Fields of a measurement that all figures of a run share."""
    known = _with_given(facts, given, catalog)
    known["gpus"] = known.get("gpus") or _gpus(known)
    missing = [_OPTIONS[name] for name in ("model", "system", "gpus") if not known.get(name)]
    if missing:
        lacking = ", ".join(n for n in ("model", "system", "gpus") if not known.get(n))
        raise SchemaError(
            f"{where}: the file does not say {lacking}",
            f"give {' and '.join(missing)}",
        )
    layout = {k: known.get(k) for k in (*_LAYOUT, "workers")}
    shared = {k: _clean(known.get(k)) for k in _COPIED if k not in _LAYOUT}
    return {
        **shared,
        "model": known["model"],
        "hardware": known["system"],
        "engine": _clean(known.get("engine")),
        "precision": known.get("precision"),
        "topology": known.get("topology") or "agg",
        "parallelism": _parallelism({**layout, "gpus": facts.get("layout_gpus")}),
        "prefill": _parallelism(facts["prefill"]) if facts.get("prefill") else None,
        "origin": facts.get("origin", "measured"),
    }


def _with_given(facts: Mapping[str, Any], given: Given, catalog: Catalog) -> dict[str, Any]:
    said = {name: getattr(given, name) for name in Given.model_fields}
    known = {**facts}
    for name in _NAMES:
        known[name] = _name(name, facts, said[name], known, catalog)
    for name in _COPIED:
        told, own = said.get(name), facts.get(name)
        if name in (*_LAYOUT, "gpus") and told and own and told != own:
            raise RowError(f"the file says {name} {own}, but {told} was given")
        known[name] = told if own is None else own
    return known


def _gpus(known: Mapping[str, Any]) -> int | None:
    """Ranks that the layout makes up; stages and copies that nobody states are one."""
    ranks = known.get("tp")
    if ranks is None:
        return None
    return int(ranks * (known.get("pp") or 1) * (known.get("dp_attention") or 1))


def _parallelism(layout: Mapping[str, Any]) -> Parallelism:
    return validate(Parallelism, {k: v for k, v in layout.items() if v is not None}, "layout")


def _clean(value: Any) -> Any:
    """Text on one line, without control characters, at most as long as a name may be."""
    return " ".join(plain(value).split())[:200] or None if isinstance(value, str) else value


# Names


def _name(
    what: str, facts: Mapping[str, Any], told: Any, known: Mapping[str, Any], catalog: Catalog
) -> Any:
    """A name as the catalog has it: the file's own, else the given one.

    Raises:
        RowError: unknown, or the file and the caller say different things.
    """
    resolver = _RESOLVERS[what]
    own = facts.get(what)
    mine = None if told is None else resolver(catalog, str(told), known)
    if own is None:
        return mine
    try:
        theirs = resolver(catalog, own, known)
    except RowError:
        if mine is None:
            raise
        return mine
    if mine is not None and mine != theirs:
        raise RowError(f"the file says {what} {own!r}, but {told!r} was given")
    return theirs


def _model(catalog: Catalog, name: str, facts: Mapping[str, Any]) -> str:
    for candidate in (name, facts.get("model_short")):
        if isinstance(candidate, str):
            found = _catalog_model(catalog, candidate)
            if found:
                return found
    near = did_you_mean(name.rsplit("/", 1)[-1], catalog.models)
    raise RowError(f"model {name[:80]!r} is not in the catalog; {near}")


def _catalog_model(catalog: Catalog, name: str) -> str | None:
    """The model of a serving name, else the one that differs in punctuation only."""
    try:
        return names.model(catalog, name, None)
    except UnknownNameError:
        key = _letters(name.rsplit("/", 1)[-1])
        alike = [m for m in catalog.models if _letters(m) == key]
        return alike[0] if len(alike) == 1 else None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _system(catalog: Catalog, name: str, facts: Mapping[str, Any]) -> str:
    try:
        return names.system(catalog, name)
    except UnknownNameError as error:
        raise RowError(str(error)) from None


def _engine(catalog: Catalog, name: str, facts: Mapping[str, Any]) -> str:
    """An engine that the catalog knows under its own name; others as the file has them."""
    try:
        return names.engine(name)
    except UnknownNameError:
        return name


def _precision(catalog: Catalog, name: str, facts: Mapping[str, Any]) -> str:
    model = facts.get("model")
    if name.casefold() in WEIGHT_FORMATS and name.casefold() not in _DEPENDS_ON_MODEL:
        return name.casefold()
    if model not in catalog.models:
        raise RowError("precision without a known model")
    try:
        return names.precision(catalog, str(model), name)
    except UnknownNameError as error:
        raise RowError(f"{error}; {did_you_mean(name, WEIGHT_FORMATS)}") from None


_Resolver = Callable[[Catalog, str, Mapping[str, Any]], str]
_RESOLVERS: dict[str, _Resolver] = {
    "model": _model,
    "system": _system,
    "engine": _engine,
    "precision": _precision,
}
