"""Comparisons of rows of the problem, made from what its fields say is better.

`problem_data` says at each field whether less or more of it is better, or that it must be equal.
Dominance, pricing and the canonical order ask here and name no field of their own, so that a new
field is compared as it says of itself, and in the safe way if it says nothing.

Example: for `OfferData` the numbers are (yearly price, hourly price, capex); an offer whose numbers
are nowhere above another's, whose must-be-equal fields are equal and whose supply is unlimited can
take the other's place.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints

import numpy as np

from tokenfleet.problem_data import About, FloatArray

Alike = tuple[Hashable, ...]  # equal for rows that are the same in what it is made of


@dataclass(frozen=True, kw_only=True)
class Fact(About):
    """A field of a table with everything that its type says about it."""

    name: str
    default: Any  # `MISSING` where every row must state the field

    @classmethod
    def of(cls, declared: Field[Any], hint: Any) -> Fact:
        """The field, its `About`s added up."""
        said = [a for a in getattr(hint, "__metadata__", ()) if isinstance(a, About)]
        words = {
            name: next((word for about in said if (word := getattr(about, name))), empty)
            for name, empty in vars(About()).items()
        }
        made = declared.default_factory
        default = declared.default if made is MISSING else made()
        return cls(**words, name=declared.name, default=default)


_KNOWN: dict[type, tuple[Fact, ...]] = {}  # by table


def facts(row: Any) -> tuple[Fact, ...]:
    """The fields of a row of a table: as declared, but those that decide the order early first."""
    table = type(row)
    if table not in _KNOWN:
        hints = get_type_hints(table, include_extras=True)
        found = [Fact.of(f, hints[f.name]) for f in fields(table)]
        _KNOWN[table] = tuple(sorted(found, key=lambda fact: fact.decides))
    return _KNOWN[table]


def numbers(row: Any, blocks: int) -> FloatArray:
    """What is better less or more, as one array in which the smaller is always the better.

    What may differ by load block is written out for all `blocks`.
    """
    values: list[float] = []
    for fact in facts(row):
        if fact.better not in ("less", "more"):
            continue
        amounts = _amounts(_written_out(fact, getattr(row, fact.name), blocks))
        if fact.unless and getattr(row, fact.unless):
            values += [-math.inf] * len(amounts)
        else:
            values += amounts if fact.better == "less" else [-amount for amount in amounts]
    return np.array(values)


def _amounts(value: Any) -> list[float]:
    """A field as numbers; of items only the sum counts."""
    if isinstance(value, dict):
        return [float(sum(value.values()))]
    if isinstance(value, np.ndarray):
        plain: list[float] = value.ravel().tolist()
        return plain
    return [float(amount) for amount in value] if isinstance(value, tuple) else [float(value)]


def _written_out(fact: Fact, value: Any, blocks: int) -> Any:
    """The value; of what may differ by load block, that of every block."""
    if not fact.by_block:
        return value
    if isinstance(value, np.ndarray):
        return np.broadcast_to(value, (blocks, value.shape[-1]))
    return value if isinstance(value, tuple) else (value,) * blocks


def must_be_equal(row: Any) -> Alike:
    """What must be the same in two rows before one can take the other's place.

    A field that says nothing and is used makes the row equal to no other.
    """
    stated = (fact for fact in facts(row) if fact.better in ("equal", ""))
    return tuple(
        _alone(row) if _unexplained(fact, row) else content(getattr(row, fact.name))
        for fact in stated
    )


def copy_of(row: Any) -> Alike:
    """Equal for rows that are copies: alike in all but names and the places they point to.

    A limit of its own makes a row a copy of no other; one that a group shares does not.
    """
    return tuple(_copied(fact, row) for fact in facts(row) if not fact.refers_to)


def hall_of(site: Any) -> Alike:
    """Equal for sites that are one to systems which stand in a provider's hall."""
    return tuple(_copied(fact, site) for fact in facts(site) if fact.unless != "hosted")


def _copied(fact: Fact, row: Any) -> Hashable:
    value = getattr(row, fact.name)
    if fact.better == "indifferent":
        return None
    if _unexplained(fact, row):
        return _alone(row)
    if fact.better == "unlimited" and math.isfinite(value):
        return value, _group(fact, row) or _alone(row)
    return content(value)


def are_unlimited(rows: Sequence[Any]) -> list[bool]:
    """Of each row, whether no limit is set to it: not its own, nor by any row of its group."""
    limits = [
        [(f.name, _group(f, r), getattr(r, f.name)) for f in facts(r)
         if f.better == "unlimited"]
        for r in rows
    ]  # fmt: skip
    shared = {(name, group) for of in limits for name, group, most in of if math.isfinite(most)}
    shared = {(name, group) for name, group in shared if group}
    return [
        all(math.isinf(most) and (name, group) not in shared for name, group, most in of)
        for of in limits
    ]


def _group(fact: Fact, row: Any) -> str:
    return str(getattr(row, fact.shared_by)) if fact.shared_by else ""


def _alone(row: Any) -> Hashable:
    return ("alone", row.id)


def _unexplained(fact: Fact, row: Any) -> bool:
    """Whether a field that says nothing holds something other than its default."""
    if fact.better or fact.default is MISSING:
        return False
    return content(getattr(row, fact.name)) != content(fact.default)


def names_in(rows: Iterable[Any]) -> frozenset[str]:
    """Every word that a field of the rows holds, names of the rows themselves aside.

    A limit that is stated of system types by name (`most_of={"h100_sxm_8": 3}`) holds them so.
    """
    stated = (getattr(row, f.name) for row in rows for f in facts(row) if f.better != "indifferent")
    return frozenset(word for value in stated for word in _words(value))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _words(key)
            yield from _words(item)
    elif isinstance(value, (tuple, list, set, frozenset)):
        for item in value:
            yield from _words(item)


def content(value: Any) -> Hashable:
    """A value of a field, fit to be compared and hashed."""
    if isinstance(value, np.ndarray):
        return value.shape, tuple(value.ravel().tolist())
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    held: Hashable = value
    return held


# Order


def sort_key(
    row: Any, blocks: int, ranks: Mapping[str, Mapping[Any, int]], classes: Sequence[int] = ()
) -> tuple[Any, ...]:
    """What a row says, names aside, to sort it by.

    An index counts by the rank of what it points to, as far as `ranks` knows the table; numbers
    by request class stand in the order `classes`, and what may differ by load block is written
    out for all `blocks`.
    """
    key: list[Any] = []
    for fact, is_plain in _sorted_by(type(row), row, tuple(ranks)):
        value = getattr(row, fact.name)
        if is_plain and value.__class__ in _PLAIN:  # nearly all: problems have many candidates
            key.append(value)
        else:
            if fact.by_block:
                value = _written_out(fact, value, blocks)
            key.append(_sortable(fact, value, ranks, classes))
    return tuple(key)


_PLAIN = frozenset({bool, int, float, str})
_SORTED_BY: dict[tuple[type, tuple[str, ...]], tuple[tuple[Fact, bool], ...]] = {}


def _sorted_by(table: type, row: Any, ranked: tuple[str, ...]) -> tuple[tuple[Fact, bool], ...]:
    """The fields that rows are sorted by, and whether a plain value of each stands for itself."""
    known = _SORTED_BY.get((table, ranked))
    if known is None:
        known = _SORTED_BY[table, ranked] = tuple(
            (fact, not fact.refers_to and not fact.by_block and fact.default is not None)
            for fact in facts(row)
            if (fact.refers_to in ranked if fact.refers_to else fact.better != "indifferent")
        )
    return known


def _sortable(
    fact: Fact, value: Any, ranks: Mapping[str, Mapping[Any, int]], classes: Sequence[int]
) -> Any:
    if fact.refers_to:
        rank = ranks[fact.refers_to]
        if isinstance(value, tuple):
            return tuple(sorted(rank[index] for index in value))
        return rank.get(value, len(rank))
    if fact.by_class:
        return _in_order(value, classes)
    if isinstance(value, np.ndarray):
        return tuple(value.ravel().tolist())
    if isinstance(value, dict):
        return sum(value.values())
    return (value is not None, value or 0.0) if fact.default is None else value


def _in_order(value: FloatArray, classes: Sequence[int]) -> tuple[float, ...]:
    """Numbers by request class, in the order of the classes."""
    if value.ndim == 1:  # nearly all, and a list is quicker to pick from
        return tuple(map(value.tolist().__getitem__, classes))
    return tuple(value[..., list(classes)].ravel().tolist())


def class_keys(row: Any) -> list[tuple[Any, ...]]:
    """Of each request class of a workload all its numbers, and its name last."""
    tables = [getattr(row, fact.name) for fact in facts(row) if fact.by_class]
    return [
        (*(tuple(table[..., k].ravel().tolist()) for table in tables), name)
        for k, name in enumerate(row.class_ids)
    ]
