"""Hugging Face `config.json` (and `hf_quant_config.json`) -> `ModelArchitecture`.

Shapes are read key by key. A key that is needed and absent is an error that names it, and so is one
that is known to change the shape in a way that is not modelled (`config_keys.py`); a key that is
not known at all is reported as a warning, never guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.catalog import config_keys as keys
from tokenfleet.catalog.config_layers import LayerReader
from tokenfleet.catalog.precision import Precision
from tokenfleet.errors import SchemaError
from tokenfleet.files.read import parse_json, read_text
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.rows import validate

_MAX_LAYERS = 10_000
_TIED = "tie_word_embeddings"


@dataclass(frozen=True)
class ImportedModel:
    """An architecture and what could not be read with certainty."""

    architecture: ModelArchitecture
    warnings: tuple[str, ...]


def read_config(
    path: Path, model_id: str | None = None, ignore: Sequence[str] = ()
) -> ImportedModel:
    """Reads `config.json` (a file, or the folder that holds it) and the quantisation beside it.

    Keys of `ignore` are left out of the reading, at the caller's word.

    Raises:
        SchemaError: the file is not JSON, or lacks a key; names file and key.
    """
    file = path / "config.json" if path.is_dir() else path
    config = parse_json(read_text(file), str(file), foreign=True)
    beside = file.with_name(file.name.replace("config.json", "hf_quant_config.json"))
    quant = None
    if beside != file and beside.is_file():
        quant = parse_json(read_text(beside), str(beside))
    return import_config(config, model_id or file.parent.name, quant, str(file), ignore)


def import_config(
    config: Any,
    model_id: str,
    hf_quant: Any = None,
    source: str = "config.json",
    ignore: Sequence[str] = (),
) -> ImportedModel:
    """Architecture from the content of a `config.json`.

    Raises:
        SchemaError: a needed key is missing, of the wrong kind, contradicts another, or changes
            the shape in a way that is not modelled.
    """
    if not isinstance(config, dict):
        raise SchemaError(f"{source}: is not a JSON object", "give a Hugging Face config.json")
    return _Reader(config, model_id, hf_quant, source, ignore).read()


class _Reader(LayerReader):
    """One import: the flat text part of a config, and the warnings collected on the way."""

    def __init__(
        self,
        config: dict[str, Any],
        model_id: str,
        hf_quant: Any,
        source: str,
        ignore: Sequence[str],
    ) -> None:
        own = self.outer = config
        while (inner := _inner(own)) is not None:
            self.outer, own = {**self.outer, **own}, inner
        self.own = {k: v for k, v in own.items() if k not in ignore}
        types = (own.get("model_type"), self.outer.get("model_type"))
        named = "" if "model_type" in ignore else next((t for t in types if t), "")
        self.model_type = str(named)
        self.defaults = keys.CLASS_DEFAULTS.get(self.model_type, {})
        self.model_id = model_id
        self.hf_quant = hf_quant
        left_out = [f"key {key} was left out, as asked" for key in ignore if key in own]
        super().__init__({**self.defaults, **self.own}, source, left_out)

    def read(self) -> ImportedModel:
        self.refuse_other_shapes()
        self.note_defaults()
        groups: dict[str, dict[str, Any]] = {}
        depth = self.depth()
        if depth > _MAX_LAYERS:
            raise SchemaError(f"{self.source}: num_hidden_layers is {depth}", "fix the config")
        for layer in self.layers():
            group = groups.setdefault(repr(layer), {"count": 0, **layer})
            group["count"] += 1
        self.unknown_keys()
        row = {
            "id": self.model_id,
            "hidden": self.integer("hidden_size"),
            "vocab": self.integer("vocab_size"),
            "tied": self.tied(),
            "max_context": self.context(),
            "layers": list(groups.values()),
            "mtp_layers": self.mtp_layers(),
            **Precision(
                self.c, self.outer, self.hf_quant, self.source, self.warnings, self.depth()
            ).row(),
        }
        architecture = validate(ModelArchitecture, row, self.source)
        return ImportedModel(architecture, tuple(dict.fromkeys(self.warnings)))

    def refuse_other_shapes(self) -> None:
        """Refuses what would be read wrongly: named by its key."""
        for key, value in self.own.items():
            if keys.shapes(key, value, self.own):
                raise self.refusal(key, "changes the shape in a way that is not modelled")
        if self.model_type in keys.MISLEADING:
            raise self.refusal(
                "model_type", f"{self.model_type}: {keys.MISLEADING[self.model_type]}"
            )

    def note_defaults(self) -> None:
        """Says which values were left out of the config and taken from its class."""
        taken = {k: v for k, v in self.defaults.items() if k not in self.own and k != _TIED}
        if taken:
            text = ", ".join(f"{k} {v}" for k, v in taken.items())
            self.warnings.append(f"taken from the class of {self.model_type}: {text}")

    # The rest

    def tied(self) -> bool:
        for level in (self.own, self.outer, self.defaults):
            if isinstance(level.get(_TIED), bool):
                return bool(level[_TIED])
        self.warnings.append("tie_word_embeddings is not given: head and embedding counted apart")
        return False

    def context(self) -> int:
        """The longest request, tokens; Step-3 has names of its own for it."""
        if self.optional("max_position_embeddings") is None:
            other = self.optional("max_position_embedding", "max_seq_len")
            if other is not None:
                return other
        return self.integer("max_position_embeddings")

    def mtp_layers(self) -> int:
        if self.c.get("use_mtp") is True:
            return self.integer("num_mtp_modules") * self.integer(
                "mtp_transformer_layers", default=1
            )
        return self.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", default=0)

    def unknown_keys(self) -> None:
        for key, value in self.own.items():
            if keys.is_idle(key, value, self.own):
                continue
            if key in keys.NOTED:
                self.warnings.append(f"key {key}: {keys.NOTED[key]}")
            elif key in keys.KNOWN or keys.HARMLESS.fullmatch(key) or keys.OTHER.fullmatch(key):
                continue
            elif keys.is_named(key, value):
                self.warnings.append(f"key {key} is not known and was not used")


def _inner(config: dict[str, Any]) -> dict[str, Any] | None:
    """The config of the tower that speaks inside a config of several; None where there is none."""
    nested = (config.get(name) for name in keys.NESTED)
    return next((level for level in nested if isinstance(level, dict) and level), None)
