"""The scenario's JSON Schema as a page of tables: `docs/scenario.md` is its output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Node = Mapping[str, Any]
_HEAD = """# Scenario fields

A scenario is a YAML, TOML or JSON file. Unknown, zero and unlimited differ: a field left out is
*unknown* (its default says what is taken instead), `0` is zero, and the word `unlimited` is no
limit. Numbers are finite and are not written as text; unknown fields are refused with the nearest
known ones. Units are in the names.

This page is written by `tokenfleet schema --markdown`; `tokenfleet schema` writes the JSON Schema.
"""


def schema_markdown(schema: Node) -> str:
    """One table for the scenario and one for every row type that it refers to."""
    parts = [_HEAD, _section("Scenario", schema, "")]
    parts += [
        _section(name, node, node.get("description", ""))
        for name, node in sorted(schema["$defs"].items())
    ]
    return "\n".join(parts)


def _section(name: str, node: Node, meaning: str) -> str:
    row = node if "properties" in node else _object_of(node)
    required = set(row.get("required", ()))
    lines = [f"## {name}", ""]
    lines += [meaning, ""] if meaning else []
    lines += ["| field | type | unit | default | meaning |", "|---|---|---|---|---|"]
    for field, spec in row["properties"].items():
        default = "**required**" if field in required else _default(spec)
        cells = (f"`{field}`", _type(spec), spec.get("unit", ""), default, spec["description"])
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _object_of(node: Node) -> Node:
    """The row among the alternatives of a type that may also be a plain number."""
    found: Node = next(option for option in node["anyOf"] if "properties" in option)
    return found


def _default(spec: Node) -> str:
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
