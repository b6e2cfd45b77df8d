"""Values of a Hugging Face `config.json`: absent, under two names, of the wrong kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet.errors import SchemaError

BY_HAND = "give the layers by hand in a catalog file"


class Values:
    """The settings of the tower that speaks, and the warnings collected on the way."""

    def __init__(self, settings: Mapping[str, Any], source: str, warnings: list[str]) -> None:
        self.c = settings
        self.source = source
        self.warnings = warnings

    def refusal(self, key: str, why: str, hint: str = BY_HAND) -> SchemaError:
        """The error about a key that must not be read over."""
        return SchemaError(f"{self.source}: key {key} {why}", hint)

    def value(self, *names: str) -> Any:
        """The first of several names of one setting; those present must agree.

        A list with an entry for every layer, all alike, is that entry.
        """
        found = {k: entry_of_all(self.c[k]) for k in names if self.c.get(k) is not None}
        if len({repr(v) for v in found.values()}) > 1:
            raise SchemaError(
                f"{self.source}: {', '.join(found)} contradict each other: {found}",
                "keep one of them",
            )
        return next(iter(found.values()), None)

    def integer(self, *names: str, default: int | None = None) -> int:
        """A count. A missing one without default is an error that names the key."""
        value = self.value(*names)
        if value is None:
            if default is not None:
                return default
            raise SchemaError(
                f"{self.source}: key {' or '.join(names)} is missing",
                "the architecture cannot be read without it",
            )
        if isinstance(value, list) and len(value) > 1 and all(type(one) is int for one in value):
            named = next(k for k in names if self.c.get(k) is not None)
            raise self.refusal(named, "differs from layer to layer, which is not modelled")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SchemaError(
                f"{self.source}: {names[0]} should be a count, got {value!r:.60}", "fix the config"
            )
        return value

    def optional(self, *names: str) -> int | None:
        """A count, or None where it is absent or null."""
        return None if self.value(*names) is None else self.integer(*names)

    def within(self, key: str) -> Values:
        """The settings of a config inside the config; empty where there is none."""
        inner = self.c.get(key) or {}
        if not isinstance(inner, Mapping):
            raise SchemaError(f"{self.source}: {key} is not an object", "fix the config")
        return Values(inner, f"{self.source}: {key}", self.warnings)

    def depth(self) -> int:
        """Layers of the model, as counted by the list that says what each is."""
        blocks = self.c.get("layers_block_type")
        default = len(blocks) if isinstance(blocks, list) else None
        return self.integer("num_hidden_layers", default=default)

    def listed(self, key: str) -> list[Any] | None:
        """A list with one entry per layer, or None; further entries may be of drafting layers."""
        value = self.c.get(key)
        if not isinstance(value, list | str) or not value:
            return None
        depth = self.depth()
        drafts = self.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", default=0)
        if not depth <= len(value) <= depth + drafts:
            raise SchemaError(
                f"{self.source}: {key} has {len(value)} entries for {depth} layers",
                "fix the config",
            )
        return list(value)[:depth]

    def numbers(self, key: str) -> list[int] | None:
        """Numbers of layers, as a list or as text with commas; None where the key is absent."""
        value = self.c.get(key)
        if isinstance(value, str):
            value = [int(part) if part.strip().isdecimal() else part for part in value.split(",")]
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(one) is int for one in value):
            raise SchemaError(
                f"{self.source}: {key} should be a list of layer numbers, got {value!r:.60}",
                "fix the config",
            )
        return value


def entry_of_all(value: Any) -> Any:
    """The entry that a list has for every layer; any other value as it is."""
    alike = isinstance(value, list) and value and all(one == value[0] for one in value)
    return value[0] if alike else value
