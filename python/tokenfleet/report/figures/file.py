"""Charts as one SVG file: the drawings of a page under each other, with a stylesheet inside.

The file loads nothing and runs no script; it follows the reader's dark mode, as the page does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import escape

from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import plain
from tokenfleet.report.page.charts import BROAD, Figure, place, words
from tokenfleet.report.page.render import drawn_stylesheet

SUFFIX = ".svg"
_SIDE, _HEAD, _SPACE, _KEY = 24.0, 58.0, 34.0, 20.0
_NO_XML = re.compile("[\ufffe\uffff\ud800-\udfff]")  # what XML does not take in a text
_LETTER = 7.0  # px of a letter, at most on average
_FONT = '"Segoe UI",-apple-system,Roboto,"Helvetica Neue",Arial,"Liberation Sans",sans-serif'
_OWN = f"svg{{font-family:{_FONT}}}svg text.name{{font-size:19px;font-weight:680;fill:var(--ink)}}"


def check_plot(path: Path) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: the file is not to be an SVG.
    """
    if path.suffix.lower() != SUFFIX:
        raise SchemaError(f"{path}: cannot be drawn", f"end the name in {SUFFIX}")


def plotted(figures: Iterable[Figure], name: str) -> bytes:
    """The figures that have something to show, each under its title and key.

    Raises:
        SchemaError: none has.
    """
    shown = [(f, drawing) for f in figures if (drawing := f.draw(BROAD))]
    if not shown:
        raise SchemaError(f"{name}: there is nothing to draw", "plan for more than one load")
    body, y = [words(0, 20, plain(name), kind="name")], _HEAD
    for figure, drawing in shown:
        body += [words(0, y, figure.title, kind="strong")]
        keyed, y = _key(figure.key, y + _KEY)
        body += keyed
        body.append(f'<g transform="translate(0 {place(y)})">{drawing}</g>')
        y += figure.height + _SPACE
    wide, high = BROAD + 2 * _SIDE, y + _SIDE - _SPACE
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{place(wide)}" height="{place(high)}" '
        f'viewBox="{place(-_SIDE)} 0 {place(wide)} {place(high)}" role="img" '
        f'aria-label="{escape(plain(name))}">\n<style>{drawn_stylesheet()}{_OWN}</style>\n'
        f'<rect x="{place(-_SIDE)}" width="{place(wide)}" height="{place(high)}" '
        f'class="f-paper"/>\n{"".join(body)}\n</svg>\n'
    )
    return _NO_XML.sub("", text).encode()


def _key(pairs: Sequence[tuple[str, str]], y: float) -> tuple[list[str], float]:
    """Swatches with names, in lines as wide as the drawing; and where the drawing begins."""
    body, x = [], 0.0
    for colour, name in pairs:
        wide = 18 + _LETTER * len(name) + 18
        if x and x + wide > BROAD:
            x, y = 0.0, y + _KEY
        body.append(
            f'<rect x="{place(x)}" y="{place(y - 10)}" width="11" height="11" rx="2" '
            f'class="{colour}"/>'
        )
        body.append(words(x + 17, y, name))
        x += wide
    return body, y + (_KEY if pairs else 0.0)
