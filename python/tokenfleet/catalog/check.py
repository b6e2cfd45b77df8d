"""Catalog files held against the shipped catalog: what they add and change, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenfleet.catalog.book import Catalog
from tokenfleet.catalog.load import load_catalog, merge_files
from tokenfleet.schema.formats import WEIGHT_FORMATS


@dataclass(frozen=True)
class CheckedFiles:
    """What catalog files do, a line a row: `systems:my_box_8`."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]  # systems that no plan can use, and the figures that they lack
    unpriced: tuple[str, ...]  # systems without a price in the newest edition
    published: tuple[str, ...]  # models, and the formats that weights of them are published in
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {name: list(lines) for name, lines in asdict(self).items()}


def check_files(paths: Iterable[Path]) -> CheckedFiles:
    """Reads catalog files in order and says what they come to.

    Raises:
        SchemaError: a faulty file, row or field; names file, row, field and value.
    """
    shipped = load_catalog()
    merged = merge_files(shipped, paths)
    before = _names(shipped)
    systems = [n.split(":")[1] for n in sorted(merged.user_rows) if n.startswith("systems:")]
    missing = {s: merged.missing_figures(s) for s in systems}
    return CheckedFiles(
        added=tuple(sorted(merged.user_rows - before)),
        changed=tuple(sorted(merged.user_rows & before)),
        missing=tuple(f"{s}: {', '.join(names)}" for s, names in missing.items() if names),
        unpriced=tuple(s for s in systems if not merged.price_rows(None, s)),
        published=tuple(_published(merged)),
        warnings=tuple(str(w) for w in merged.warnings),
    )


def _published(catalog: Catalog) -> Iterator[str]:
    """Models of which a file has the shape or the weights, with their published formats."""
    rows = (name.split(":") for name in catalog.user_rows)
    for model in sorted({row[1] for row in rows if row[0] in ("models", "checkpoints")}):
        formats = catalog.published_formats(model)
        yield f"{model}: {', '.join(f for f in WEIGHT_FORMATS if f in formats)}"


def _names(catalog: Catalog) -> set[str]:
    """Every row as `user_rows` would call it."""
    return {
        *(f"systems:{name}" for name in catalog.systems),
        *(f"models:{name}" for name in catalog.models),
        *(f"tco:{name}" for name in catalog.tco),
        *(":".join(("prices", *map(str, p.key))) for p in catalog.prices),
        *(":".join(("apis", *a.key)) for a in catalog.apis),
        *(f"quality:{q.model}:{q.precision}" for q in catalog.quality),
        *(":".join(("checkpoints", *c.key)) for c in catalog.checkpoints),
    }
