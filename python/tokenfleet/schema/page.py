"""A JSON Schema as a page of tables: `docs/scenario.md` and `docs/plan.md` are its output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Node = Mapping[str, Any]
_SCENARIO = """# Scenario fields

A scenario is a YAML, TOML or JSON file. Unknown, zero and unlimited differ: a field left out is
*unknown* (its default says what is taken instead), `0` is zero, and the word `unlimited` is no
limit. Numbers are finite and are not written as text; unknown fields are refused with the nearest
known ones. Units are in the names.

This page is written by `tokenfleet schema --markdown`; `tokenfleet schema` writes the JSON Schema.
"""
_PLAN = """# Keys of a plan

`tokenfleet plan SCENARIO -o plan.json` and `--json` write a plan, and `Plan.load("plan.json")`
reads it back. In Python every key is an attribute (`plan.systems[0].count`; `class` is `cls`).
Numbers are finite: one that does not exist is null. Units are in the names or beside them; a year
has 8,760 hours. A key that is missing, unknown or of another type is refused by name.

This page is written by `tokenfleet schema --plan --markdown`; `tokenfleet schema --plan` writes the
JSON Schema.
"""


# Fields of a scenario that a newcomer needs, in the order of the tutorial; the others come after.
_FIRST = (
    "name", "as_of", "workloads", "sites", "systems", "offers", "apis", "finance", "objective",
    "price_vintage", "catalog", "confidence", "quality", "reserve", "solver", "horizon", "outlooks",
)  # fmt: skip


def scenario_page(schema: Node) -> str:
    """The page of what is filled in: fields with their defaults, those first that come first."""
    fields = schema["properties"]
    ordered = {name: fields[name] for name in (*_FIRST, *(f for f in fields if f not in _FIRST))}
    return _page(_SCENARIO, {**schema, "properties": ordered}, "field", default=True)


def plan_page(schema: Node) -> str:
    """The page of what is written: every key is always there, and some are null."""
    return _page(_PLAN, schema, "key", default=False)


def _page(head: str, schema: Node, first: str, *, default: bool) -> str:
    """One table for the whole and one for every row type, where a reader first meets it."""
    rows = {schema["title"]: {**schema, "description": ""}}
    rows |= {name: schema["$defs"][name] for name in _met(schema["properties"], schema["$defs"])}
    sections = (_section(name, node, first, default=default) for name, node in rows.items())
    return "\n".join([head, *sections])


def _met(node: Any, rows: Node, met: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Row types in the order in which they are referred to, each before what it refers to."""
    if isinstance(node, Mapping):
        name = str(node.get("$ref", "")).rsplit("/", 1)[-1]
        if name and name not in met:
            return _met(rows[name], rows, (*met, name))
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            met = _met(each, rows, met)
    return met


def _section(name: str, node: Node, first: str, *, default: bool) -> str:
    row = node if "properties" in node else _object_of(node)
    meaning = node.get("description", "")
    titles = [first, "type", "unit", *(["default"] if default else []), "meaning"]
    lines = [f"## {name}", "", *([meaning, ""] if meaning else [])]
    lines += [_line(titles), "|" + "---|" * len(titles)]
    required = set(row.get("required", ()))
    for field, spec in row["properties"].items():
        kind = _type(spec) if default else _type(spec) + _or_null(spec)
        value = [_default(spec, field in required)] if default else []
        lines.append(_line([f"`{field}`", kind, spec.get("unit", ""), *value, spec["description"]]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _or_null(spec: Node) -> str:
    return " or null" if {"type": "null"} in spec.get("anyOf", ()) else ""


def _object_of(node: Node) -> Node:
    """The row among the alternatives of a type that may also be a plain number."""
    found: Node = next(option for option in node["anyOf"] if "properties" in option)
    return found


def _default(spec: Node, required: bool) -> str:
    if required:
        return "**required**"
    if "default" not in spec or spec["default"] in (None, [], {}):
        return ""
    value = spec["default"]
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _type(spec: Node) -> str:
    for key in ("anyOf", "oneOf"):
        if key in spec:
            options = [_type(o) for o in spec[key] if o.get("type") != "null"]
            return " or ".join(dict.fromkeys(options))
    if "$ref" in spec:
        name = spec["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in spec:
        return f"`{json.dumps(spec['const'])}`"
    if "enum" in spec:
        return ", ".join(f"`{value}`" for value in spec["enum"])
    return _plain_type(spec)


def _plain_type(spec: Node) -> str:
    kind = spec.get("type", "")
    if kind == "array":
        items = spec.get("items") or (spec.get("prefixItems") or [{}])[0]
        return f"list of {_type(items)}"
    if kind == "object":
        return f"mapping to {_type(spec.get('additionalProperties', {}))}"
    if spec.get("format") == "date":
        return "date"
    words = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    return f"{words.get(kind, kind)}{_bounds(spec)}"


def _bounds(spec: Node) -> str:
    low = _bound(spec, "exclusiveMinimum", "> ") or _bound(spec, "minimum", "≥ ")
    high = _bound(spec, "exclusiveMaximum", "< ") or _bound(spec, "maximum", "≤ ")
    if spec.get("maximum", 0) >= 10**12:
        high = ""
    found = ", ".join(text for text in (low, high) if text)
    return f" {found}" if found else ""


def _bound(spec: Node, key: str, sign: str) -> str:
    return f"{sign}{spec[key]:g}" if key in spec else ""
