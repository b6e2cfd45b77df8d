"""What to write instead: the cure of a fault, from the field that it is in and what was written.

`cooling: air` wants `[air]`, `cost_of_capital: 8` wants 0.08, and `demand` beside `workloads` wants
to stand below one of them. Nothing is mended silently: the cure is said, the file stays refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tokenfleet.schema.dated import has_dates, month_named, parts_of, rows_by_date
from tokenfleet.schema.formats import WEIGHT_FORMATS, format_named
from tokenfleet.schema.meant import SCALES, TOLD, in_its_unit, near
from tokenfleet.schema.near import did_you_mean

_MAX_PLACES = 3
_ALIKE = 0.7  # share of letters at which a word in place of a group is taken for one of its choices
# Signs before a number and quotes of typesetting about it say nothing that its field does not.
_AMOUNT = re.compile(
    r"[\s$€<=≤~≈“”‘’]*(?P<sign>[-−+]?)(?P<digits>\d[\d,_ ]*(?:\.\d+)?|\.\d+)"
    r"\s*(?P<unit>[^\d\s“”‘’]*)[\s“”‘’]*"
)
_GLUED = re.compile(r"#.*")  # a comment without a blank before it, which YAML takes for text
_SPARES = re.compile(r"n\s*\+\s*(\d+)", re.IGNORECASE)
_MORE = re.compile(r"[+-]\d+(\.\d+)?%")
_BARE = ("", "fraction", "probability", "ratio", "relative", "score")  # units that say nothing
_SHARES = (*_BARE[1:4], "fraction/year", "1/year")  # units of shares that people give in percent
_ALL = ("all", "any", "both", "everything", "*")
_TRUE, _FALSE = ("yes", "on", "y", "true", "1"), ("no", "off", "n", "false", "0")
_DATE = re.compile(r"(?:(\d{1,2})[./-](\d{1,2})[./-](\d{4})|(\d{4})[./-](\d{1,2})[./-](\d{1,2}))")
_DIGITS = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR = re.compile(r"(?:Q([1-4])[\s/-]*)?(\d{4})(?:[\s/-]*Q([1-4]))?", re.IGNORECASE)


def cure(item: Any, loc: Sequence[Any], model: type[BaseModel]) -> str:
    """One sentence for an error of pydantic at `loc` of a `model`; empty where there is none."""
    context = item.get("ctx", {})
    if context.get("hint"):
        return str(context["hint"])
    kind, value = item["type"], item["input"]
    field = field_at(model, loc)
    over_time = _over_time(kind, value, field, loc, model)
    if over_time or (value is None and kind not in ("unknown_key", "missing")):
        return over_time or _blank(field)
    if kind == "unknown_key":
        key, known = context["key"], context["known"]
        return _of_a_key(key, value if isinstance(value, dict) else {}, known, model)
    if kind == "missing":
        return _missing(str(loc[-1]) if loc else "", field)
    choices = _choices(item, context)
    if choices:
        return _choice(value, choices, field)
    written = _CURES.get(kind)
    return written(value, context, field, loc) if written else ""


def _blank(field: FieldInfo | None) -> str:
    needed = field is not None and field.is_required()
    return f"is blank: write a value{'' if needed else ', or leave the field out'}"


def _over_time(
    kind: str, value: Any, field: FieldInfo | None, loc: Sequence[Any], model: type[BaseModel]
) -> str:
    """Lengths of time in place of periods, and one value for rows by date."""
    periods = parts_of(value)
    if periods and "periods" in loc:
        return f"write a list: {periods}"
    if kind in ("float_type", "int_type") and loc and has_dates(value):
        by_date = f"{loc[-1]}_by_date"
        if field_at(model, [*loc[:-1], by_date]) is not field:
            return f"write rows of a date and a value: {by_date}: {rows_by_date(value)}"
    return ""


def _of_a_key(key: str, row: dict[str, Any], known: Sequence[str], model: type[BaseModel]) -> str:
    """What was meant by a field that is unknown."""
    told = (
        f"write {what}"
        for written, beside, what in TOLD
        if beside in known and re.fullmatch(written, key.casefold())
    )
    return (
        _split_by_commas(key, row)
        or next(told, "")
        or _in_its_unit(key, row.get(key), known)
        or _wrapped(key, row, known)
        or _belongs(key, known, model)
    )


def _split_by_commas(key: str, row: dict[str, Any]) -> str:
    """`{input_tokens: 1,500}` is a field and an entry 500: the number that was meant."""
    entries = [(str(name), value) for name, value in row.items()]
    names = [name for name, _ in entries]
    at = names.index(key) if key in names else 0
    if at == 0 or entries[at][1] is not None:
        return ""
    before, value = entries[at - 1]
    if key.isdigit():
        return f"write numbers without commas: {before}: {value}{key}"
    return f"write a list in brackets: {before}: [{value}, {key}]" if value is not None else ""


def _wrapped(key: str, row: dict[str, Any], known: Sequence[str]) -> str:
    """A group that nothing asked for: about a whole file, or an id with its row below it."""
    inner = row.get(key)
    if not isinstance(inner, dict) or len(row) > 1:
        return ""
    if "id" in known and "id" not in inner:
        return f"write it as a row: - {{id: {key}, ...}}"
    found = [name for name in map(str, inner) if name in known]
    return f"leave {key}: out, and begin {found[0]} in the first column" if found else ""


def field_at(model: type[BaseModel], loc: Sequence[Any]) -> FieldInfo | None:
    """The field that a path leads to; None where it leads to none."""
    models, field = [model], None
    for part in loc:
        if isinstance(part, str):
            own = (_field(m, part) for m in models)
            field = next((f for f in own if f is not None), field)
            models = list(rows_in(field.annotation)) if field else []
    return field


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    fields = model.model_fields
    return fields.get(name) or next((f for f in fields.values() if f.alias == name), None)


def rows_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Row types that an annotation names, at any depth."""
    if get_origin(annotation) is None and isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            yield annotation
    else:
        for part in get_args(annotation):
            yield from rows_in(part)


@cache
def _places(model: type[BaseModel], above: str = "") -> dict[str, list[str]]:
    """Every field of a model by its name: where it stands ("workloads[].demand")."""
    found: dict[str, list[str]] = {}
    for name, field in model.model_fields.items():
        shown = field.alias or name
        here = f"{above}.{shown}" if above else shown
        found.setdefault(shown, []).append(here)
        listed = "[]" if "tuple[" in str(field.annotation) else ""
        for inner in rows_in(field.annotation):
            for key, paths in _places(inner, f"{here}{listed}").items():
                found.setdefault(key, []).extend(paths)
    return {key: list(dict.fromkeys(paths)) for key, paths in found.items()}


def _belongs(key: str, known: Sequence[str], model: type[BaseModel]) -> str:
    """A field that is spelt alike here, or stands elsewhere under this very name."""
    places = _places(model).get(key, [])[:_MAX_PLACES]
    alike = near(key, known)
    if not places:
        return f"did you mean {', '.join(alike)}?" if alike else did_you_mean(key, known)
    shown = (place if place != key else f"{key} at the top" for place in places)
    level = f"it is {' or '.join(shown)}: move it there"
    return f"did you mean {', '.join(alike)}? Or {level}" if alike else level


def _in_its_unit(key: str, value: Any, known: Sequence[str]) -> str:
    """`power_mw: 0.025` becomes `power_kw: 25`: a known field, named after another unit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return in_its_unit(key, value, known)


def _missing(name: str, field: FieldInfo | None) -> str:
    if field is None:
        return "add this field"
    words = _words(field)
    what = " or ".join(words) if words else _unit(field)
    meaning = f"{field.description or ''}".strip()
    return (
        f"add this field: {name}: {what} ({meaning})"
        if what
        else f"add this field: {name} ({meaning})"
    )


def _unit(field: FieldInfo | None) -> str:
    extra = field.json_schema_extra if field is not None else None
    return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else ""


def _words(field: FieldInfo | None) -> list[str]:
    """Words that a field accepts, where it accepts nothing else than words."""
    return [str(w) for w in _literals(field.annotation)] if field is not None else []


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [w for part in get_args(annotation) for w in _literals(part)]


def _choices(item: Any, context: dict[str, Any]) -> list[str]:
    if item["type"] != "literal_error":
        return []
    expected = str(context.get("expected", "")).replace(" or ", ", ")
    return [c.strip().strip("'") for c in expected.split(", ")]


def _choice(value: Any, choices: list[str], field: FieldInfo | None) -> str:
    """The word that was meant: near ones, or a number with the letter that it lacks."""
    if choices in (["unlimited"], ["expected"]):
        return f"{_number(value, field)}, or {choices[0]}"
    if f"p{value}" in choices:
        return f"write p{value}"
    meant = _meant(str(value), choices)
    if len(choices) == 1:
        return f"write {choices[0].lower()}"
    return f"did you mean {meant}?" if meant else f"write one of {', '.join(choices)}"


def _meant(word: str, choices: Sequence[str]) -> str | None:
    """The choice that is meant; of formats by their names, for spelling says nothing there."""
    if WEIGHT_FORMATS.keys() >= set(choices):
        named = format_named(word)
        return named.id if named is not None and named.id in choices else None
    return next(iter(near(word, choices)), None)


def _list(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    rows = list(rows_in(field.annotation)) if field is not None else []
    inner = next((next(iter(row.model_fields)) for row in rows), None)
    if isinstance(value, dict) and not rows and has_dates(value):
        return f"write a list: {rows_by_date(value)}"
    if isinstance(value, dict):
        needed = [
            f.alias or n for row in rows[:1] for n, f in row.model_fields.items() if f.is_required()
        ]
        shown = f", such as - {{{', '.join(f'{n}: ...' for n in needed)}}}" if needed else ""
        return f"write a list: start each entry with -{shown}"
    if inner:
        return f"write a list: start each entry with -, such as - {{{inner}: {value}, ...}}"
    words = _words(field)
    if str(value).casefold() in _ALL:
        return f"write a list: [{', '.join(words)}]" if words else "leave it out: blank allows all"
    entries = ", ".join(str(value).split("\n")).strip(", ")
    return f"write a list: [{(_meant(entries, words) if words else None) or entries}]"


def _group(value: Any, context: Any, field: FieldInfo | None, loc: Sequence[Any]) -> str:
    """`objective: least_cost` becomes `objective: {kind: least_cost}`."""
    models = list(rows_in(field.annotation)) if field is not None else []
    name = next((str(p) for p in reversed(loc) if isinstance(p, str)), "")
    name = f"{name}:" if loc and isinstance(loc[-1], str) else "-"
    inner = [(k, f) for m in models for k, f in m.model_fields.items()]
    periods = parts_of(value)
    if periods and "periods" in dict(inner):
        return f"write {name} {{start: ..., periods: {periods}}}"
    for key, own in inner:
        alike = near(value, _words(own), _ALIKE) if isinstance(value, str) else []
        if alike:
            more = "" if name.endswith(":") else ", ..."
            return f"write {name} {{{key}: {alike[0]}{more}}}"
    if not inner:
        return _of_names(value, field)
    needed = [f.alias or k for k, f in models[0].model_fields.items() if f.is_required()]
    key, own = next(((k, f) for k, f in inner if f.is_required()), inner[0])
    amount = _amount(value, own) if _unit(own) else None
    spares = _SPARES.fullmatch(value) if isinstance(value, str) else None
    if spares and key == "systems_per_pool":
        amount = spares[1]
    if _takes(models, 1.0):
        return f"write {name} {amount or 'a number'}, or a group with {', '.join(needed)}"
    shown = [f"{key}: {amount or '...'}", *(f"{k}: ..." for k in needed if k != key)]
    return f"write its fields, such as {name} {{{', '.join(shown)}}}"


def _of_names(value: Any, field: FieldInfo | None) -> str:
    """A mapping of names to values in place of one value, which some fields may be as well."""
    if isinstance(value, int | float):
        return f"write it by name: {{NAME: {value}}}"
    more = _MORE.fullmatch(value.strip()) if isinstance(value, str) else None
    if more is not None:  # of a factor, +60 % is 1.6
        return f"write {1.0 + float(more[0].rstrip('%')) / 100:g} without quotes"
    amount = _amount(value, field) if isinstance(value, str) else None
    return f"write {amount} without quotes" if amount else "write its fields below it: name: value"


def _takes(models: Sequence[type[BaseModel]], value: float) -> bool:
    """Whether a plain number may stand for the whole group, as one length does for all requests."""
    for model in models:
        try:
            model.model_validate(value)
        except ValidationError:
            continue
        return True
    return False


def _fraction(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    most = context.get("le", context.get("lt"))
    least = f"write at most {most:g}" if "le" in context else f"write less than {most:g}"
    if 0.9 < most <= 1 <= value < 2:
        return f"{least}; {value:g} % would be {value / 100:g}"
    shares = 0.9 < most <= 1 or _unit(field) in _SHARES
    if shares and most < value <= 100 and value / 100 <= most:
        return f"a share of 1, not of 100: {value:g} % is {value / 100:g}"
    return least


def _least(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    """The least that a field takes; -1 for no limit is a habit of other files."""
    told = f"write at least {context['ge']:g}"
    return f"{told}, or unlimited" if value < 0 and "unlimited" in _words(field) else told


def _more(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    """More than a field's least; of a share that falls, percent are meant below -1."""
    if not context["gt"]:
        return "zero and negative values are not allowed here"
    told = f"write more than {context['gt']:g}"
    percent = _unit(field) in _SHARES and -100 < value < -1
    return f"{told}; {value:g} % would be {value / 100:g}" if percent else told


def _flag(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    word = str(value).casefold()
    if word in (*_TRUE, *_FALSE):
        return f"write {'true' if word in _TRUE else 'false'}, without quotes"
    return "write true or false"


def _below(field: FieldInfo | None) -> str:
    """The most that a field takes, where it says so."""
    stated = [m.le for m in field.metadata if hasattr(m, "le")] if field is not None else []
    unsaid = "check its unit, or write unlimited where there is no limit"
    return f"write at most {stated[0]:g}" if stated else unsaid


def _number(value: Any, field: FieldInfo | None) -> str:
    """A plain number in place of text with a unit, a sign or quotes."""
    if isinstance(value, list) and len(value) == 1 and _accepts(field, value[0]):
        return f"write one number, not a list: {value[0]}"
    unit, amount = _unit(field), _amount(value, field)
    of = "" if unit in _BARE or " " in unit else f" of {unit}"
    told = f"write a plain number{of} without quotes"
    return f"{told}: {amount}" if amount and _accepts(field, float(amount)) else told


def _accepts(field: FieldInfo | None, value: Any) -> bool:
    """Whether a field takes a value: what it would refuse next is no cure."""
    if field is None:
        return True
    whole = isinstance(value, float) and value.is_integer()
    kind: Any = field.annotation
    for constraint in field.metadata:
        kind = Annotated[kind, constraint]
    for written in (value, int(value)) if whole else (value,):
        try:
            TypeAdapter(kind).validate_python(written)
        except ValidationError:
            continue
        return True
    return False


def _whole(value: Any, field: FieldInfo | None) -> str:
    """A whole number in place of a fraction; of text a plain number."""
    if not isinstance(value, float) or not math.isfinite(value):
        return _number(value, field)
    if value.is_integer():
        return f"write it without decimals: {value:.0f}"
    return f"write a whole number: {math.floor(value)} or {math.ceil(value)}"


def _amount(value: Any, field: FieldInfo | None) -> str | None:
    """The number that "25000 W" or "$2M" is in the unit of a field; None where it is no number."""
    written_as = _GLUED.sub("", str(value))
    match = _AMOUNT.fullmatch(written_as) if isinstance(value, str | int | float) else None
    if match is None:
        return None
    unit, written = _unit(field), match["unit"].casefold()
    scales = {"": 1.0, unit.casefold(): 1.0, "rps": 1.0, "k": 1e3, "m": 1e6}
    counted = unit.split("/")[0].split(" ")[0]
    scale = {counted.casefold(): 1.0, **scales, **SCALES.get(counted, {})}.get(written)
    digits = re.sub(r"[,_ ]", "", match["digits"])
    sign = -1.0 if match["sign"] in ("-", "−") else 1.0
    return None if scale is None else f"{sign * float(digits) * scale:.12g}"


def _date(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    if loc and loc[-1] == 0 and isinstance(value, int | float) and not 1900 <= value <= 2999:
        return f"the date stands first: [2026-07, {value}]"
    first_day = month_named(str(value))
    if first_day is not None:
        return f"write year-month-day: {first_day}"
    said = _DIGITS.sub(r"\1-\2-\3", str(value).strip().partition(" ")[0])
    match = _DATE.fullmatch(str(value).strip()) or _DATE.fullmatch(said)
    if match is None:
        quarter = _YEAR.fullmatch(str(value).strip())
        if quarter is None:
            return "write year-month-day: 2026-07-01"
        month = 3 * int(quarter[1] or quarter[3] or 1) - 2
        return f"write year-month-day: {quarter[2]}-{month:02}-01"
    parts = [int(part) for part in match.groups() if part]
    first, second, year = parts if match[1] else (parts[2], parts[1], parts[0])
    days = [_day(year, second, first), *([_day(year, first, second)] if match[1] else [])]
    written = " or ".join(dict.fromkeys(d for d in days if d))
    return f"write {written}" if written else "the calendar has no such day"


def _day(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return ""


def _text(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    if isinstance(value, list):
        return "write one name, not a list"
    if isinstance(value, dict):
        return "write one name"
    return f'write it in quotes: "{str(value).lower() if isinstance(value, bool) else value}"'


_CURES: dict[str, Any] = {
    "tuple_type": _list,
    "model_type": _group,
    "model_attributes_type": _group,
    "dict_type": _group,
    "less_than_equal": _fraction,
    "less_than": _fraction,
    "iso_date": _date,
    "string_type": _text,
    "float_type": lambda value, context, field, loc: _number(value, field),
    "int_type": lambda value, context, field, loc: _whole(value, field),
    "int_from_float": lambda value, context, field, loc: _whole(value, field),
    "finite_number": lambda *_: "write a finite number; for no limit write unlimited where allowed",
    "bool_type": _flag,
    "greater_than": _more,
    "greater_than_equal": _least,
    "blank_name": lambda *_: "write a name in plain letters",
    "control_character": lambda *_: "leave characters out that nobody sees",
    "padded_name": lambda value, *_: f'write it without: "{value.strip()}"',
    "too_large": lambda value, context, field, loc: _below(field),
    "string_too_long": lambda value, context, field, loc: (
        f"write at most {context['max_length']} characters"
    ),
    "too_short": lambda *_: "give at least one entry",
    "too_long": lambda value, context, field, loc: f"give at most {context['max_length']}",
}
