"""The base of every scenario row, and the one place where pydantic's errors become SchemaError."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from tokenfleet.errors import SchemaError

MAX_SHOWN = 12
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Fault:
    """One fault of the input: where (`path`), what (`message`), and what to do (`hint`)."""

    path: str
    message: str
    hint: str = ""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known names closest to `name`, best first, upper and lower case alike.

    Names that begin with `name` (three letters or more) come before those that are spelt alike.
    """
    by_key = {k.casefold(): k for k in known}
    key = name.casefold()
    begun = [k for k in by_key if len(key) >= 3 and k.startswith(key)]
    alike = difflib.get_close_matches(key, by_key, n=count, cutoff=0.5)
    return [by_key[k] for k in dict.fromkeys([*sorted(begun), *alike])][:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean a, b?`, or the first known names when none is near."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return f"did you mean {', '.join(near)}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}" if names else "none is defined"


class Row(BaseModel):
    """A frozen row: unknown keys are refused with the nearest known ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known, accepted = _keys(cls)
        if accepted.issuperset(data):
            return data
        key = str(next(key for key in data if key not in accepted))
        raise PydanticCustomError(
            "unknown_key", "unknown field", {"key": key, "hint": did_you_mean(key, known)}
        )


@cache
def _keys(cls: type[BaseModel]) -> tuple[list[str], frozenset[str]]:
    """Keys of a row as they are documented, and all that are accepted."""
    keys = [f.alias or name for name, f in cls.model_fields.items()]
    return keys, frozenset(keys) | cls.model_fields.keys()


def rejected(message: str, field: str = "", hint: str = "") -> PydanticCustomError:
    """An error for validators: `field` (relative to the row), text, and what to do."""
    text = message.replace("{", "(").replace("}", ")")
    return PydanticCustomError("rejected", text, {"key": field, "hint": hint})


def validate(model: type[_Model], data: Any, source: str, where: str = "") -> _Model:
    """Validates `data` as `model`.

    Raises:
        SchemaError: names `source` (a file), field path, row (index and id), value, and a hint.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise schema_error(source, _faults(error, data, where)) from None


def schema_error(source: str, faults: Sequence[Fault]) -> SchemaError:
    """One error that lists every fault found in `source`, the first `MAX_SHOWN` in full."""
    lines = [
        f"{source}: {p.path}: {p.message}" if p.path else f"{source}: {p.message}"
        for p in faults[:MAX_SHOWN]
    ]
    if len(faults) > MAX_SHOWN:
        lines.append(f"{source}: and {len(faults) - MAX_SHOWN} more")
    hints = list(dict.fromkeys(p.hint for p in faults[:MAX_SHOWN] if p.hint))
    return SchemaError("\n".join(lines), "; ".join(hints))


def _faults(error: ValidationError, data: Any, where: str) -> list[Fault]:
    found = []
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        if item["type"] == "cross_reference":
            found.extend(context["faults"])
            continue
        if item["type"] == "too_short" and len(item["input"]) >= context["min_length"]:
            continue  # pydantic counts valid rows only; the faulty ones are listed themselves
        loc = [p for p in item["loc"] if not (isinstance(p, str) and p.startswith("<"))]
        if context.get("key"):
            loc.append(context["key"])
        path = ".".join(p for p in (where, _path(loc, data)) if p)
        found.append(Fault(path, _message(item, context, loc, data), _hint(item, context)))
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


def _message(item: Any, context: dict[str, Any], loc: Sequence[Any], data: Any) -> str:
    message = str(item["msg"])
    message = message[0].lower() + message[1:]
    if item["type"] in ("missing", "rejected"):
        return message
    value = item["input"]
    if item["type"] == "unknown_key":
        value = value.get(context["key"]) if isinstance(value, dict) else value
    return f"{message}, got {brief(value)}"


def brief(value: Any, width: int = 60) -> str:
    """`repr` of a value, cut to `width` characters and free of control characters."""
    text = value if isinstance(value, dict | list | tuple) else repr(value)
    if not isinstance(text, str):
        text = f"{type(value).__name__} of {len(value)}"
    return text if len(text) <= width else text[: width - 3] + "..."


_HINTS = {
    "missing": "add this field",
    "float_type": "write a plain number without quotes",
    "int_type": "write a whole number without quotes",
    "finite_number": "write a finite number; for no limit write unlimited where it is allowed",
    "bool_type": "write true or false",
    "greater_than": "zero and negative values are not allowed here",
}


def _hint(item: Any, context: dict[str, Any]) -> str:
    if context.get("hint"):
        return str(context["hint"])
    if item["type"] == "greater_than_equal":
        return f"write at least {context['ge']:g}"
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        choices = [c.strip("'") for c in str(context.get("expected", "")).split(" or ")]
        flat = [p.strip().strip("'") for c in choices for p in c.split(",")]
        near = nearest(item["input"], flat)
        if near:
            return f"did you mean {near[0]}?"
        if flat == ["unlimited"]:
            return "write a number without quotes, or unlimited"
        return f"write one of {', '.join(flat)}"
    return _HINTS.get(item["type"], "")
