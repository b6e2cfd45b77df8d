"""One value of a YAML text replaced in place: comments, order and layout stay as they are.

>>> set_value("a: 1  # one\\nb: {c: 2}\\n", ("b", "c"), 3)
'a: 1  # one\\nb: {c: 3}\\n'
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TypeAlias

import yaml

from tokenfleet.errors import SchemaError

FieldPath: TypeAlias = tuple[str | int, ...]
Scalar: TypeAlias = str | float | int


def set_value(text: str, path: Sequence[str | int], value: Scalar | None) -> str:
    """The text with a value at a path; a key that is not there yet is added to its group.

    `None` removes nothing: it writes the empty value, which a field reads as left blank.

    Raises:
        SchemaError: the text is no YAML, or the path leads nowhere in it.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise SchemaError("the text is no YAML", "mend it in the text view") from None
    for step in path[:-1]:
        node = _step(node, step)
    last = path[-1]
    found = _step(node, last)
    written = _written(value)
    if isinstance(found, yaml.ScalarNode):
        begin, end = found.start_mark.index, found.end_mark.index
        gap = " " if begin == end and text[begin - 1 : begin] == ":" else ""
        return text[:begin] + gap + written + text[end:]
    if found is not None:
        raise _nowhere(path)
    if not isinstance(node, yaml.MappingNode) or not isinstance(last, str) or not node.value:
        raise _nowhere(path)
    return _added(text, node, last, written)


def _step(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    """The node below another, or None where there is none."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step] if 0 <= step < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None


def _added(text: str, node: yaml.MappingNode, key: str, written: str) -> str:
    """A key before the first of a group: there its column is known, whatever follows."""
    first = node.value[0][0].start_mark
    after = ", " if node.flow_style else "\n" + " " * first.column
    return f"{text[: first.index]}{key}: {written}{after}{text[first.index :]}"


def _written(value: Scalar | None) -> str:
    """A scalar as YAML reads it back: text that could be more than text is quoted."""
    if value is None:
        return ""
    if isinstance(value, str):
        plain = value.isidentifier() and value.lower() not in ("true", "false", "null", "yes", "no")
        return value if plain else json.dumps(value, ensure_ascii=False)
    if not math.isfinite(value):
        return json.dumps(str(value))
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if "e" not in repr(value) else f"{value:.12f}".rstrip("0")


def _nowhere(path: Sequence[str | int]) -> SchemaError:
    named = ".".join(map(str, path))
    return SchemaError(f"{named} is no figure of this text", "change it in the text view")
