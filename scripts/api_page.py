"""Writes `docs/api.md`: every public name of the package with its signature and its docstring.

    python scripts/api_page.py [--check]

`--check` writes nothing and fails when the page is not the one that the code gives.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

import tokenfleet

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
HEAD = """# Python interface

Everything that `import tokenfleet as tf` offers. Names that are not on this page may change. Units
are in the names: `_ms`, `_kw`, `_usd_per_h`. This page is written by `python scripts/api_page.py`.
"""
KINDS = (
    ("Functions", inspect.isfunction),
    ("Classes", lambda thing: inspect.isclass(thing) and not issubclass(thing, Exception)),
    ("Errors", lambda thing: inspect.isclass(thing) and issubclass(thing, Exception)),
)


def page() -> str:
    """The whole page."""
    names = [name for name in tokenfleet.__all__ if name != "__version__"]
    things = {name: getattr(tokenfleet, name) for name in names}
    parts = [HEAD]
    for title, belongs in KINDS:
        parts.append(f"## {title}\n")
        parts += [_entry(name, thing) for name, thing in things.items() if belongs(thing)]
    return "\n".join(parts)


def _entry(name: str, thing: Any) -> str:
    lines = [f"### `{name}`", ""]
    if inspect.isfunction(thing):
        lines += ["```text", _signature(name, thing), "```", ""]
    lines += _sections(inspect.getdoc(thing) or "")
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        lines += list(_members(thing))
    return "\n".join(lines) + "\n"


def _signature(name: str, function: Any) -> str:
    """The call with one parameter a line; annotations are text, as they were written."""
    signature = inspect.signature(function)
    lines, keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("    *,")
        given = parameter.default is not inspect.Parameter.empty
        default = f" = {parameter.default!r}" if given else ""
        lines.append(f"    {parameter.name}: {parameter.annotation}{default},")
    return "\n".join([f"{name}(", *lines, f") -> {signature.return_annotation}"])


def _members(thing: Any) -> Iterator[str]:
    """Public methods and properties with the first line of what they say."""
    for name, member in vars(thing).items():
        call = inspect.isfunction(member) or isinstance(member, classmethod)
        if name.startswith("_") or not (call or isinstance(member, property)):
            continue
        said = (inspect.getdoc(member) or "").partition("\n")[0]
        if said:
            yield f"- `{name}{'()' if call else ''}`: {said}"


def _sections(text: str) -> list[str]:
    """A docstring in Google's style as Markdown: its text, then what it raises as a list."""
    lines: list[str] = []
    for section in griffe.Docstring(text, lineno=1).parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.raises:
            lines += ["Raises:", ""]
            lines += [f"- `{r.annotation}`: {_one_line(r.description)}" for r in section.value]
            lines.append("")
        elif section.kind is griffe.DocstringSectionKind.text:
            lines += [section.value, ""]
        else:
            raise ValueError(f"a section that the page cannot show yet: {section.kind.value}")
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = page()
    if parser.parse_args().check:
        same = PAGE.read_text(encoding="utf-8") == text
        print("docs/api.md is " + ("up to date" if same else "out of date"))
        return int(not same)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
