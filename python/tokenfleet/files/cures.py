"""What to write instead where YAML, JSON or TOML is broken: tabs, brackets, quotes, commas."""

from __future__ import annotations

import csv
import json
import re

import yaml

from tokenfleet.errors import SchemaError

# What the parser says, and what to do about it.
_INDENTED = "fields of one group start in the same column, and each entry of a list starts with -"
_CURES = (
    ("mapping values are not allowed", f"line {{line}} is indented too deep: {_INDENTED}"),
    ("expected ',' or", "close the {opened} of line {context}"),
    ("could not find expected ':'", "write a field as `name: value`"),
    ("did not find expected key", _INDENTED),
    ("did not find expected '-' indicator", _INDENTED),
    ("expected <block end>", _INDENTED),
    ("unexpected end of stream", "close the quotes of line {context}"),
    ("cannot start any token", "put the text in quotes"),
    ("appears twice", "keep one of them"),
    ("undefined alias", "put text that starts with * in quotes, or write out what it stands for"),
    ("another document", "keep one scenario in a file: leave out what follows ---"),
    ("a key is not a word", "write a field as `name: value`"),
    ("expected comment or line break", "put text that starts with | or > in quotes"),
    ("merge keys", "write the fields out"),
    (
        "expected <document start>",
        "write each field as `name: value`, a group's fields below its name",
    ),
)
# What stands where JSON is broken, or what its parser says there, and what to do about it.
_JSON_TEXT = (
    (r"//|#|/\*", "leave comments out: JSON has none; a .yaml file may have them"),
    (r"'", 'put names and text in double quotes: "name"'),
    (r"\Z", "the text ends too early: close its brackets and quotes"),
)
_JSON_SAID = (
    ("Illegal trailing comma", "leave out the last comma"),
    ("Expecting ','", "put a comma between entries, or close the bracket before"),
    ("Extra data", "keep one value in a file: put several into [ ]"),
    ("Invalid control", "close the quotes of this line"),
    ("Unterminated", "close the quotes of this line"),
)
_TAB = re.compile(r" *\t")
# Blanks and colons of typesetting and of other scripts, which YAML takes for letters.
_LOOKALIKE = re.compile("[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufe55\uff1a\uff0c]")
_TEMPLATE = re.compile(r"\$\{|\{\{")
_TWO_COLONS = re.compile(r":\s.*:\s")
_MERGE = re.compile(r"(<{7}|={7}|>{7})(\s|$)")
_FENCE = re.compile(r"\s*(```|~~~)")
_DASH = re.compile(r"\s*([\u2010-\u2015\u2022\u2212*])\s")  # dashes and bullets that are no hyphen
_NO_BLANK = re.compile(r"\s*-[^\s-]")
_GLUED = re.compile(r"\s*(-\s+)?[A-Za-z_]\w*:[^\s/]")
ANY_CURE = "compare it with a scenario that works: tokenfleet demo --save example.yaml"


def yaml_fault(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str]:
    """Place and nature of a fault, and its cure: ("line 6: a tab in the indentation", ...)."""
    mark, problem = error.problem_mark, str(error.problem)
    if mark is None:
        return problem, ANY_CURE
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    if _TAB.match(line):
        return f"{where}: a tab in the indentation", "indent with spaces: YAML takes no tabs"
    foreign = _foreign(lines[: mark.line + 1]) or _left_over(lines, mark.line)
    if foreign:
        return foreign
    shown = f" at {line.strip()[:60]!r}" if line.strip() else ""
    return f"{where}: {problem}{shown}", _cure(error, lines, line)


def _foreign(lines: list[str]) -> tuple[str, str] | None:
    """A character that only looks like a blank, a colon or a comma: the last one."""
    for number, line in reversed(list(enumerate(lines, start=1))):
        match = _LOOKALIKE.search(line)
        if match:
            where = f"line {number}, column {match.start() + 1}"
            code = f"U+{ord(match[0]):04X}"
            return (
                f"{where}: {code} only looks like a blank, a colon or a comma",
                "write a plain one",
            )
    return None


def _left_over(lines: list[str], at: int) -> tuple[str, str] | None:
    """What no YAML is meant to have: marks of a merge, a fence of Markdown, a dash that is none."""
    for number, line in enumerate(lines, start=1):
        if _MERGE.match(line):
            what = f"line {number}: a mark of an unfinished merge, {line[:7]}"
            return what, "keep one of the two sides and remove the marks"
    for number, line in reversed(list(enumerate(lines[: at + 1], start=1))):
        dash = _DASH.match(line)
        if dash:
            what = f"line {number}: {dash[1]!r} (U+{ord(dash[1]):04X}) in place of a hyphen"
            return what, "start an entry of a list with - and a blank"
        if _FENCE.match(line):
            return f"line {number}: a fence of Markdown", f"remove the line {line.strip()[:20]}"
    return None


def _without_blank(lines: list[str], at: int) -> str:
    """`-{id: a}` and `name:chat` are text to YAML: the nearest line above that lacks its blank."""
    for number in range(at, max(at - 2, -1), -1):
        if _NO_BLANK.match(lines[number]):
            return f"put a blank after the - of line {number + 1}"
        if _GLUED.match(lines[number]):
            return f"put a blank after the colon of line {number + 1}"
    return ""


def _cure(error: yaml.MarkedYAMLError, lines: list[str], line: str) -> str:
    assert error.problem_mark is not None
    if _TEMPLATE.search(line):
        return "write the value itself: ${ } and {{ }} are not filled in"
    glued = _without_blank(lines, min(error.problem_mark.line, len(lines) - 1))
    if glued:
        return glued
    if "mapping values" in str(error.problem) and _TWO_COLONS.search(line):
        return "put text that has a colon in quotes"
    begun = error.context_mark or error.problem_mark
    opened = lines[begun.line][begun.column : begun.column + 1] if begun.line < len(lines) else ""
    numbers = {"line": error.problem_mark.line + 1, "context": begun.line + 1}
    for said, cure in _CURES:
        if said in str(error.problem):
            return cure.format(**numbers, opened=opened or "bracket")
    return ANY_CURE


def json_cure(error: json.JSONDecodeError) -> str:
    """What to do where JSON is broken, from the text about the place."""
    before, here = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    found = (cure for text, cure in _JSON_TEXT if re.match(text, here))
    if before.endswith(",") and here.startswith(("]", "}")):
        return f"leave out the comma before {here[0]}"
    said = (cure for begun, cure in _JSON_SAID if error.msg.startswith(begun))
    return next(found, None) or next(said, 'write names as "name": and text in double quotes')


def toml_cure(said: str) -> str:
    """What to do where TOML is broken, from what its parser says."""
    if "end of document" in said or "Unclosed" in said:
        return "close its brackets and quotes"
    if "overwrite" in said or "twice" in said:
        return "keep one of them"
    return "write name = value, text in double quotes, and a group as [name]"


def broken_csv(source: object, row: int, error: csv.Error) -> SchemaError:
    """Where a CSV is broken and what to do about it, from what its parser says."""
    cure = "write the row anew: cells apart by commas, text with a comma in double quotes"
    if "unexpected end" in str(error) or "expected after" in str(error):
        cure = "close the quotes of a cell, and put nothing between them and the comma"
    return SchemaError(f"{source}: row {row}: {error}", cure)
