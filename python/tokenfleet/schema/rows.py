"""The base of every scenario row, and how data become one."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from tokenfleet.schema.faults import faults_of, schema_error
from tokenfleet.schema.fields import MOST

_Model = TypeVar("_Model", bound=BaseModel)


class Row(BaseModel):
    """A frozen row: unknown keys are refused with the nearest known ones, and absurd numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known, accepted = _keys(cls)
        for name, value in data.items():
            if isinstance(value, int | float) and MOST < abs(value) < math.inf:
                text = "Input is beyond any amount of this world"
                raise PydanticCustomError("too_large", text, {"key": name})
        if accepted.issuperset(data):
            return data
        key = str(next(key for key in data if key not in accepted))
        raise PydanticCustomError("unknown_key", "unknown field", {"key": key, "known": known})


@cache
def _keys(cls: type[BaseModel]) -> tuple[list[str], frozenset[str]]:
    """Keys of a row as they are documented, and all that are accepted."""
    keys = [f.alias or name for name, f in cls.model_fields.items()]
    return keys, frozenset(keys) | cls.model_fields.keys()


def rejected(message: str, field: str, hint: str) -> PydanticCustomError:
    """An error for validators: `field` (relative to the row; "" is all of it), text, what to do."""
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
        raise schema_error(source, faults_of(error, model, data, where)) from None
