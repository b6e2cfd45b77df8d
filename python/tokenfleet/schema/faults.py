"""Faults of the input: where one is, what it is, and what to do; pydantic's errors become these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError

from tokenfleet.errors import SchemaError

MAX_SHOWN = 12


@dataclass(frozen=True)
class Fault:
    """One fault of the input: where (`path`), what (`message`), and what to do (`hint`)."""

    path: str
    message: str
    hint: str = ""


def brief(value: Any, width: int = 60) -> str:
    """A value in words of a file, cut to `width` characters and free of control characters."""
    if isinstance(value, dict):
        text = f"a group of {len(value)}"
    elif isinstance(value, list | tuple):
        text = f"a list of {len(value)}"
    elif value is None:
        text = "nothing"
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = str(value) if isinstance(value, date) else repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def schema_error(source: str, faults: Sequence[Fault]) -> SchemaError:
    """One error that lists every fault found in `source`, the first `MAX_SHOWN` in full."""
    lines = [
        f"{source}: {f.path}: {f.message}" if f.path else f"{source}: {f.message}"
        for f in faults[:MAX_SHOWN]
    ]
    if len(faults) > MAX_SHOWN:
        lines.append(f"{source}: and {len(faults) - MAX_SHOWN} more")
    return SchemaError("\n".join(lines), "; ".join(_hints(faults[:MAX_SHOWN])))


def _hints(faults: Sequence[Fault]) -> list[str]:
    """Each hint once, with the place of its fault where they differ."""
    first: dict[str, str] = {}
    for fault in faults:
        first.setdefault(fault.hint, fault.path)
    told = {hint: path for hint, path in first.items() if hint}
    return [f"{path}: {hint}" if len(told) > 1 and path else hint for hint, path in told.items()]


def faults_of(
    error: ValidationError, model: type[BaseModel], data: Any, where: str = ""
) -> list[Fault]:
    """What pydantic found wrong with `data` as a `model`: each fault, its place and its cure."""
    from tokenfleet.schema.cures import cure  # noqa: PLC0415 (only where something is wrong)

    found = []
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        if item["type"] == "cross_reference":
            found.extend(context["faults"])
            continue
        if item["type"] == "too_short" and len(item["input"]) >= context["min_length"]:
            continue  # pydantic counts valid rows only; the faulty ones are listed themselves
        marks = ("<", "[key]")  # of pydantic's own: a choice between types, a name of a group
        loc = [p for p in item["loc"] if not (isinstance(p, str) and p.startswith(marks))]
        if context.get("key"):
            loc.append(context["key"])
        path = ".".join(p for p in (where, _path(loc, data)) if p)
        found.append(Fault(path, _message(item, context), cure(item, loc, model)))
    return found


def _path(loc: Sequence[Any], data: Any) -> str:
    """`workloads[1] (id 'chat').slos[0].limit_ms`."""
    text = ""
    for part in loc:
        data = _step(data, part)
        if isinstance(part, int):
            text += f"[{part}]{_row_id(data)}"
        else:
            text += f".{part}" if text else str(part)
    return text


def _step(data: Any, part: Any) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


def _row_id(row: Any) -> str:
    name = row.get("id") if isinstance(row, dict) else None
    return f" (id {name!r})" if isinstance(name, str) else ""


# Where pydantic speaks of Python's types, in words of the file.
_MESSAGES = {
    "tuple_type": "should be a list",
    "model_type": "should be a group of fields",
    "model_attributes_type": "should be a group of fields",
    "dict_type": "should be a group of fields",
    "string_type": "should be text",
    "too_short": "should have at least one entry",
}


def _message(item: Any, context: dict[str, Any]) -> str:
    message = _MESSAGES.get(item["type"], str(item["msg"]))
    if context.get("expected") == "'unlimited'":
        message = "should be a number or unlimited"
    message = message.replace("should be True", "should be true")
    message = message[0].lower() + message[1:]
    if item["type"] in ("missing", "rejected"):
        return message
    value = item["input"]
    if item["type"] in ("unknown_key", "too_large"):
        value = value.get(context["key"]) if isinstance(value, dict) else value
    return f"{message}, got {brief(value)}"
