"""What `catalog show` says of prices, published weights and hosted APIs: a line for each, and where
it is from below them, said once for all that have the same source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tokenfleet.cli.answer import console

if TYPE_CHECKING:
    from tokenfleet.report.grid import Grid

Row = Mapping[str, Any]


class _Sources:
    """Sources by number, in the order in which they are first named."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, row: Row) -> str:
        """`[2]`, under which the row's source and day stand below the table."""
        notes = f"; {row['notes']}" if row.get("notes") else ""
        said = f"{row['source']}{notes}"
        return f"[{self.numbers.setdefault(said, len(self.numbers) + 1)}]"

    def lines(self) -> Iterator[str]:
        """Every source with its number."""
        yield from (f"[{number}] {said}" for said, number in self.numbers.items())


def show_prices(rows: Sequence[Row], gpus: int) -> None:
    """Prices of a system of so many accelerators, the newest edition first."""
    from tokenfleet.report.grid import Grid, figures, texts

    columns = (
        *texts("edition", "how", "whose"),
        *figures("$/GPU-h", "$/h", "$ each"),
        *texts("as of", "source"),
    )
    editions = [
        list(of) for _, of in groupby(sorted(rows, key=_edition), key=lambda row: row["vintage"])
    ][::-1]
    starts = [sum(map(len, editions[:i])) for i in range(1, len(editions))]
    grid, sources = Grid("Prices", columns, sections=starts), _Sources()
    for row in (row for edition in editions for row in edition):
        hourly, each = row["price_usd_per_gpu_h"], row["price_usd_per_system"]
        grid.add(
            row["vintage"],
            _how(row),
            row["tier"].replace("_", " "),
            _usd(hourly),
            _usd(None if hourly is None else gpus * hourly),
            _usd(each),
            row["as_of"],
            sources.mark(row),
        )
    _show(grid, sources)


def show_checkpoints(rows: Sequence[Row]) -> None:
    """Where a model's weights are published in which format."""
    from tokenfleet.report.grid import Grid, texts

    grid = Grid("Published weights", texts("format", "repository", "as of", "source"))
    sources = _Sources()
    for row in rows:
        grid.add(row["precision"], row["repository"], row["as_of"], sources.mark(row))
    _show(grid, sources)


def _show(grid: Grid, sources: _Sources) -> None:
    grid.notes.extend(sources.lines())
    if grid.rows:
        console().print(grid)


def _edition(row: Row) -> tuple[str, str]:
    return str(row["valid_from"]), str(row["vintage"])


def _how(row: Row) -> str:
    """`rent 3 years`, `on demand`, `all-in`."""
    kind, years = row["kind"], row["term_years"]
    term = "" if years is None else f" {years:g} year{'s' * (years != 1)}"
    return ("all-in" if kind == "all_in" else kind.replace("_", " ")) + term


def _usd(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"
