"""Files of measured points to runs: which kind a file is, and what of it is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tokenfleet.backtest import mlperf, open_loop, pools, power, published, serving
from tokenfleet.backtest.run import Cells, Run, Skipped
from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.load import DATA, model_row
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.catalog.tables import read_csv
from tokenfleet.errors import SchemaError

_CONFIGS, _CONFIG = "model_configs", "_config.json"
SHIPPED = tuple(sorted((DATA / "measured").glob("*.csv")))

Reader = Callable[[Catalog, str, int, Cells], tuple[Run, ...]]
_KINDS: dict[str, tuple[Iterable[str], Reader]] = {
    "closed": (serving.COLUMNS, serving.read),
    "pools": (pools.COLUMNS, pools.read),
    "open": (open_loop.COLUMNS, open_loop.read),
    "mlperf": (mlperf.COLUMNS, mlperf.read),
    "published": (published.COLUMNS, published.read),
    "power": (power.COLUMNS, power.read),
}


@dataclass(frozen=True)
class Read:
    """What a file holds."""

    path: str
    kind: str
    rows: int
    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]


def file_kind(header: Iterable[str]) -> str:
    """`closed`, `pools`, `open`, `mlperf`, `published`, `power` or `other`, by a file's columns."""
    columns = set(header)
    for kind, (needed, _) in _KINDS.items():
        if columns.issuperset(needed):
            return kind
    return "other"


def read_file(catalog: Catalog, path: Path) -> Read:
    """Every row of a file, as a run or with the reason why it is none.

    Raises:
        SchemaError: a file that cannot be read, or a cell that is not a number; names file, row
            and column.
    """
    header, rows = read_csv(path)
    kind = file_kind(header)
    if kind == "other":
        reason = "no columns of a kind of run that is known"
        return Read(str(path), kind, len(rows), (), (Skipped(str(path), 0, "", reason),))
    runs: list[Run] = []
    skipped: list[Skipped] = []
    for line, cells in rows:
        try:
            runs += _KINDS[kind][1](catalog, str(path), line, cells)
        except UnknownNameError as reason:
            name = cells.get("id") or cells.get("row_id") or cells.get("config") or ""
            skipped.append(Skipped(str(path), line, name, str(reason)))
    runs, fewer = open_loop.most_served(runs)
    skipped += [
        Skipped(r.file, r.row, r.id, "saturated, and not the run that served most") for r in fewer
    ]
    return Read(str(path), kind, len(rows), tuple(runs), tuple(skipped))


def read_files(catalog: Catalog, paths: Sequence[str | Path] | None) -> tuple[Catalog, list[Read]]:
    """All files, without paths those shipped; and the catalog with the models found beside them."""
    files = [Path(p) for p in (SHIPPED if paths is None else paths)]
    for folder in sorted({f.parent / _CONFIGS for f in files}):
        catalog = _with_models(catalog, folder)
    return catalog, [read_file(catalog, f) for f in files]


def _with_models(catalog: Catalog, folder: Path) -> Catalog:
    """The catalog with the models of a folder of `config.json` files that it does not know."""
    models = dict(catalog.models)
    for path in sorted(folder.glob(f"*{_CONFIG}")):
        name = names.plain(path.name.removesuffix(_CONFIG).rsplit("--", 1)[-1])
        if name in models:
            continue
        with suppress(SchemaError):  # its runs are then skipped, for want of the model
            models[name] = model_row(path, name)
    return replace(catalog, models=models)
