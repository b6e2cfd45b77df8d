"""Text files from outside, parsed with limits: size, depth, aliases, duplicate keys, numbers.

Nothing is executed and no tag is honoured; a file that breaks a limit is refused before its
content is expanded.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from tokenfleet.errors import SchemaError
from tokenfleet.files.cures import ANY_CURE, json_cure, toml_cure, yaml_fault

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 40
_STRING = re.compile(r'"(?:[^"\\]+|\\.)*"?', re.DOTALL)  # of JSON, to the end where none closes it
_BRACKET = re.compile(r"[\[\]{}]")
MAX_ALIASES = 100
MAX_NODES = 200_000
MAX_DIGITS = 400
# First bytes of files that people take for text, what they are, and what to do.
_NO_TEXT = (
    (
        b"PK\x03\x04",
        "a spreadsheet or a zip archive",
        "save the sheet as CSV, or unpack it",
    ),
    (b"\x1f\x8b", "compressed by gzip", "unpack it"),
    (b"PAR1", "a Parquet file", "save it as CSV"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_YAML_TAGS = frozenset(
    f"tag:yaml.org,2002:{t}"
    for t in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp")
)


def require_file(path: Path, hint: str = "check the path") -> None:
    """Refuses a path at which no file is.

    Raises:
        SchemaError: a folder, or nothing at all.
    """
    if path.is_dir():
        raise SchemaError(f"{path}: is a folder", "name a file in it")
    if path.exists() and not path.is_file():
        raise SchemaError(f"{path}: is a device or a pipe, not a file", "name a file")
    if not path.is_file():
        raise SchemaError(f"{path}: no such file", hint)


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """The file as UTF-8 text without byte-order mark.

    Raises:
        SchemaError: not a regular file, too large, or not UTF-8.
    """
    try:
        require_file(path, "check the path; it is relative to the file that names it")
        size = path.stat().st_size
        if size > max_bytes:
            raise SchemaError(
                f"{path}: {size} bytes is over the limit of {max_bytes}",
                "split the file or leave out what is not needed",
            )
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise SchemaError(f"{str(path)!r}: cannot be read: {error}", "check the path") from None
    return decode(raw, str(path))


def decode(raw: bytes, source: str) -> str:
    """Bytes as UTF-8 text without byte-order mark; UTF-16 and NUL bytes are refused."""
    for begins, what, cure in _NO_TEXT:
        if raw.startswith(begins):
            raise SchemaError(f"{source}: is {what}", cure)
    if raw.startswith(_UTF16) or b"\x00" in raw[:4096]:
        raise SchemaError(f"{source}: is UTF-16 or binary", "save it as UTF-8 text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"{source}: byte {error.start} is not UTF-8", "save it as UTF-8 text"
        ) from None


def load_data(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Plain data from a YAML, TOML or JSON file, chosen by the file's ending.

    Raises:
        SchemaError: no file, unknown ending, unreadable text, broken syntax or a broken limit.
    """
    parsers = {".yaml": parse_yaml, ".yml": parse_yaml, ".json": parse_json, ".toml": parse_toml}
    parser = parsers.get(path.suffix.lower())
    if parser is None:
        require_file(path)
        raise SchemaError(
            f"{path}: unknown ending {path.suffix!r}", "use .yaml, .yml, .toml or .json"
        )
    return parser(read_text(path, max_bytes), str(path))


def parse_json(text: str, source: str, *, foreign: bool = False) -> Any:
    """JSON with duplicate keys, NaN, infinities and deep nesting refused.

    `foreign` files of other tools may hold the bare words `Infinity` and `NaN`, which Python's own
    writer puts there: they are read, and refused where a figure is taken from them.
    """
    _check_nesting(text, source)
    try:
        return json.loads(
            text,
            object_pairs_hook=lambda pairs: _distinct(pairs, source),
            parse_constant=float if foreign else lambda word: _refuse_number(word, source),
            parse_float=lambda digits: _finite(digits, source),
            parse_int=lambda digits: _integer(digits, source),
        )
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"{source}: line {error.lineno}, column {error.colno}: {error.msg}", json_cure(error)
        ) from None


def _check_nesting(text: str, source: str) -> None:
    """Refuses deep JSON before the parser recurses; brackets inside strings do not count."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise _too_deep(source)


def _too_deep(source: str) -> SchemaError:
    return SchemaError(f"{source}: nested deeper than {MAX_DEPTH} levels", "flatten the file")


def _distinct(pairs: list[tuple[str, Any]], source: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise SchemaError(
                f"{source}: key {key!r} appears twice in one object", "keep one of them"
            )
        found[key] = value
    return found


def _refuse_number(word: str, source: str) -> float:
    raise SchemaError(f"{source}: {word} is not a finite number", "write a finite number")


def _finite(digits: str, source: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise SchemaError(f"{source}: {digits} is not a finite number", "write a finite number")
    return value


def _integer(digits: str, source: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise SchemaError(f"{source}: a number has {len(digits)} digits", "write a finite number")
    return int(digits)


def parse_toml(text: str, source: str) -> Any:
    """TOML; the format itself forbids duplicate keys and knows no aliases."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        said = str(error)[:200]
        raise SchemaError(f"{source}: {said}", toml_cure(said)) from None
    _check_depth(data, source)
    return data


def _check_depth(data: Any, source: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep(source)
    if isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            _check_depth(item, source, depth + 1)


# libyaml's parser where PyYAML was built with it, as its wheels are: the same events, sooner.
_Safe: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc, valid-type]
    """A safe loader that also refuses duplicate keys and merge keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key is not a word", problem_mark=key.start_mark
                )
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem="merge keys (<<) are not allowed", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} appears twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found


# YAML 1.1 takes `no` for false, 010 for eight, 1:30 for ninety and `1e-4` for text. We read words
# and numbers as YAML 1.2 and JSON do; whatever else looks like a number is text and refused later.
_CORE = {
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    "float": (
        r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"
        r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$",
        "-+.0123456789",
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag.rsplit(":", 1)[-1] not in _CORE]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list(_first))


def _day(loader: Any, node: Any) -> Any:
    """A day, or its text where the calendar has none such: the field that wants one refuses it."""
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return loader.construct_yaml_str(node)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _day)


def parse_yaml(text: str, source: str) -> Any:
    """YAML with limits on depth, nodes and aliases, without tags, merge or duplicate keys."""
    try:
        _check_yaml_events(text, source)
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        fault, cure = yaml_fault(error, text)
        raise SchemaError(f"{source}: {fault}", cure) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SchemaError(f"{source}: {str(error)[:200]}", ANY_CURE) from None
    if _expanded_size(data, {}) > MAX_NODES:
        raise SchemaError(
            f"{source}: aliases expand to more than {MAX_NODES} values", "write the values out"
        )
    return data


def _expanded_size(data: Any, sizes: dict[int, int]) -> int:
    """Values after expanding aliases, counted without expanding them: shared parts count once
    for every use but are visited once."""
    if not isinstance(data, dict | list):
        return 1
    if id(data) not in sizes:
        sizes[id(data)] = MAX_NODES + 1  # holds for a structure that contains itself
        items = data.values() if isinstance(data, dict) else data
        sizes[id(data)] = 1 + sum(_expanded_size(item, sizes) for item in items)
    return sizes[id(data)]


def _check_yaml_events(text: str, source: str) -> None:
    """Walks the event stream, which is linear in the text, before anything is expanded."""
    depth = aliases = nodes = 0
    for event in yaml.parse(text, Loader=_Safe):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if event.tag is not None and event.tag not in _YAML_TAGS:  # type: ignore[attr-defined]
                tag, mark = str(event.tag)[:60], event.start_mark  # type: ignore[attr-defined]
                where = f"line {mark.line + 1}: " if mark else ""
                hint = "remove the tag, or put text that starts with ! in quotes"
                raise SchemaError(f"{source}: {where}tag {tag} is not allowed", hint)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _too_deep(source)
        if aliases > MAX_ALIASES or nodes > MAX_NODES:
            raise SchemaError(
                f"{source}: more than {MAX_ALIASES} aliases or {MAX_NODES} values",
                "write the values out, or make the file smaller",
            )
