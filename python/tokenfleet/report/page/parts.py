"""What a page is made of: sections of tables, figures and lines, as the template takes them.

`Markup` is made in `charts` alone; every other text is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from markupsafe import Markup

from tokenfleet.report.page.charts import BROAD, NARROW, Figure

ROWS = 60  # of a table: more are in the spreadsheet, so that a page stays small
PRINTED = 26  # of them on paper, behind the first pages: the stylesheet hides the others there
PRINTED_FOLDED = 12  # of a part that is folded on a screen


@dataclass(frozen=True)
class Column:
    """A column of a table. `label` stands before its figures where tables become cards."""

    head: str
    kind: str = ""  # class: "n" a figure, "bar" a chart, "text" a text that may be narrow
    label: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell: text with something small behind or under it, a chart, or a tag."""

    text: str = ""
    small: str = ""
    key: str = ""  # class of a colour that stands before the text
    mark: Markup | None = None
    tag: str = ""
    tone: str = ""  # of the tag: good or warn
    under: bool = False  # whether what is small stands on a line of its own


@dataclass(frozen=True)
class TableRow:
    """A row; `kind` is its class: "total" or "this"."""

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of at most `ROWS` rows and the totals below; `more` says how many are left out."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    more: str = ""

    @property
    def is_long(self) -> bool:
        """Whether paper may show fewer rows of it than a screen."""
        return len(self.rows) > PRINTED

    @property
    def is_long_folded(self) -> bool:
        """The same of a table in a folded part."""
        return len(self.rows) > PRINTED_FOLDED


@dataclass(frozen=True)
class Table:
    """A table in the text. `style` "bars" is a chart whose rows are a table's."""

    kind: ClassVar[str] = "table"
    table: Grid
    style: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Folded:
    """A part that is opened by a click, and printed open."""

    kind: ClassVar[str] = "folded"
    heading: str
    table: Grid | None = None
    facts: tuple[tuple[str, str], ...] = ()
    style: str = ""
    open: bool = False


@dataclass(frozen=True)
class Hall:
    """Systems of one site, drawn."""

    name: str
    note: str
    marks: tuple[Markup, ...]
    key: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Racks:
    """The halls side by side."""

    kind: ClassVar[str] = "racks"
    figures: tuple[Hall, ...]


@dataclass(frozen=True)
class Drawn:
    """A drawn chart in two widths under its title and key, with notes beside it."""

    kind: ClassVar[str] = "drawn"
    broad: Markup
    narrow: Markup
    title: str
    key: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """Which colour is which."""

    kind: ClassVar[str] = "key"
    key: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Lines:
    """Notes under a heading."""

    kind: ClassVar[str] = "lines"
    notes: tuple[str, ...]
    heading: str = ""


@dataclass(frozen=True)
class Way:
    """One way out of an infeasible wish; its parts belong together."""

    text: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ways:
    """Numbered ways out."""

    kind: ClassVar[str] = "ways"
    ways: tuple[Way, ...]


Part: TypeAlias = Table | Folded | Racks | Drawn | Key | Lines | Ways


@dataclass(frozen=True)
class Section:
    """A section; its title is its finding."""

    label: str
    title: str
    parts: tuple[Part, ...]
    small: bool = False  # in print: what an auditor reads

    @property
    def id(self) -> str:
        """What the section is called within the page."""
        return "-".join(self.label.lower().split())


@dataclass(frozen=True)
class Tile:
    """A figure at the head of the page."""

    label: str
    figure: str
    note: str


@dataclass(frozen=True)
class Page:
    """A whole page, ready for the template."""

    name: str
    topic: str
    dated: str
    tone: str  # of the pill: good or warn
    pill: str
    heading: str
    lead: str
    foot: tuple[str, ...]
    lead_soft: str = ""
    tiles: tuple[Tile, ...] = ()
    warnings_title: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # under the tiles
    sections: tuple[Section, ...] = field(default=())


def grid(
    columns: Sequence[Column],
    rows: Sequence[TableRow],
    totals: Sequence[TableRow] = (),
    most: int = ROWS,
) -> Grid:
    """A table of the first rows; what is cut off is counted, what is a total stays."""
    cut = len(rows) - most
    more = f"{cut:,} more are in the plan." if cut > 0 else ""
    return Grid(tuple(columns), (*rows[:most], *totals), more)


def row(*cells: Cell | str, kind: str = "") -> TableRow:
    """A row of cells; a plain text is a cell of it."""
    return TableRow(tuple(c if isinstance(c, Cell) else Cell(c) for c in cells), kind)


def text(head: str, label: str = "") -> Column:
    """A column of words."""
    return Column(head, "text", label)


def figure(head: str, label: str | None = None) -> Column:
    """A column of figures, at the right."""
    return Column(head, "n", head if label is None else label)


def chart(head: str) -> Column:
    """A column whose cells are drawn."""
    return Column(head, "bar")


def drawn(of: Figure, notes: tuple[str, ...] = ()) -> list[Part]:
    """A chart under its key, as wide as a desk and as a phone; nothing where it is empty."""
    broad = of.draw(BROAD)
    if not broad:
        return []
    return [Drawn(broad, of.draw(NARROW), of.title, of.key, notes)]
