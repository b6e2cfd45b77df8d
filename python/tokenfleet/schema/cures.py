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
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tokenfleet.schema.formats import WEIGHT_FORMATS, format_named
from tokenfleet.schema.near import did_you_mean, nearest

_MAX_PLACES = 3
_ALIKE = 0.7  # share of letters at which a word in place of a group is taken for one of its choices
_AMOUNT = re.compile(r"\s*[$€]?\s*(?P<digits>\d[\d,_ ]*(?:\.\d+)?|\.\d+)\s*(?P<unit>[^\d\s]*)\s*")
# Other units of a quantity, as a share of the field's own.
_SCALES: dict[str, dict[str, float]] = {
    "kW": {"w": 1e-3, "kw": 1.0, "mw": 1e3},
    "ms": {"us": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3, "min": 6e4},
    "s": {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0},
    "USD": {"usd": 1.0, "dollars": 1.0},
    "fraction": {"%": 0.01},
    "probability": {"%": 0.01},
    "ratio": {"%": 0.01},
}
# Units in the names of fields: what is written, what is read, and by how much its number grows.
_UNITS_OF_NAMES = tuple(
    (re.compile(written), read, factor)
    for written, read, factor in (
        (r"_mw\b", "_kw", 1e3),
        (r"_w\b", "_kw", 1e-3),
        (r"_s(ec(onds?)?)?\b", "_ms", 1e3),
        (r"_per_min(ute)?\b", "_per_s", 1 / 60),
        (r"_per_h(our)?\b", "_per_s", 1 / 3600),
        (r"_per_day\b", "_per_s", 1 / 86_400),
        (r"_per_(1?k|1000|thousand)(_?tok(ens)?)?(?=_|\b)", "_per_mtok", 1e3),
        (r"_usd_per_mwh\b", "_usd_per_kwh", 1e-3),
        (r"(?<=_)(ct|cents?)_per_", "usd_per_", 1e-2),
        (r"(?<=_)g_per_", "kg_per_", 1e-3),
        (r"_per_gpu_month\b", "_per_gpu_h", 12 / 8760),
        (r"_per_(1?m|million)(_?tok(ens)?)?(?=_|\b)", "_per_mtok", 1.0),
    )
)
_BARE = ("", "fraction", "probability", "ratio", "relative", "score")  # units that say nothing
_DATE = re.compile(r"(?:(\d{1,2})[./-](\d{1,2})[./-](\d{4})|(\d{4})[./-](\d{1,2})[./-](\d{1,2}))")
# Words that people write for a field or a choice and that are spelt nothing like it.
_MEANT = {
    "rps": "requests_per_s",
    "qps": "requests_per_s",
    "requests_per_second": "requests_per_s",
    "purchase": "buy",
    "capex": "buy",
    "price": "price_usd_per_system",
    "lease": "rent",
    "reserved": "rent",
    "rental": "rent",
    "cheapest": "least_cost",
    "cost": "least_cost",
    "tariff": "electricity_usd_per_kwh",
    "tp": "tensor_parallel",
    "pp": "pipeline_parallel",
    "ep": "expert_parallel",
    "dp": "attention_data_parallel",
    "limits": "slos",
    "sla": "slos",
    "gpus": "systems",
    "hardware": "systems",
    "budget": "annual_budget_usd",
    "type": "kind",
    "median": "p50",
    "average": "mean",
    "avg": "mean",
    "itl": "tpot",
    "tbt": "tpot",
    "inter_token_latency": "tpot",
    "time_per_output_token": "tpot",
    "time_to_first_token": "ttft",
    "e2el": "e2e",
    "latency": "slos",
    "end_to_end": "e2e",
    "quantization": "precisions",
    "dtype": "precisions",
    "redundancy": "reserve",
    "spares": "reserve",
}
# Fields that people look for and that no field is by itself: beside which one, and what to write.
_TOLD = (
    (
        r"(in|out)?(put_)?tokens_per_\w+",
        "requests_per_s",
        "requests_per_s: those tokens / tokens of one",
    ),
    (
        r"(concurrent_)?users|concurrency",
        "requests_per_s",
        "requests_per_s: users x requests of one",
    ),
    (r"growth\w*", "horizon", "horizon, and requests_per_s_by_date in each demand"),
    (
        r"(ttft|tpot|itl|e2e)\w*",
        "percentile",
        "each limit as {metric: ttft, percentile: p95, limit_ms: 1000}",
    ),
    (r"currency", "price_vintage", "money in US dollars, and leave this out"),
)


def cure(item: Any, loc: Sequence[Any], model: type[BaseModel]) -> str:
    """One sentence for an error of pydantic at `loc` of a `model`; empty where there is none."""
    context = item.get("ctx", {})
    if context.get("hint"):
        return str(context["hint"])
    kind, value = item["type"], item["input"]
    field = field_at(model, loc)
    if kind == "unknown_key":
        key, known = context["key"], context["known"]
        return _of_a_key(key, value if isinstance(value, dict) else {}, known, model)
    if kind == "missing":
        return _missing(str(loc[-1]) if loc else "", field)
    if value is None:
        needed = field is not None and field.is_required()
        return f"is blank: write a value{'' if needed else ', or leave the field out'}"
    choices = _choices(item, context)
    if choices:
        return _choice(value, choices, field)
    written = _CURES.get(kind)
    return written(value, context, field, loc) if written else ""


def _of_a_key(key: str, row: dict[str, Any], known: Sequence[str], model: type[BaseModel]) -> str:
    """What was meant by a field that is unknown."""
    told = (
        f"write {what}"
        for written, beside, what in _TOLD
        if beside in known and re.fullmatch(written, key.casefold())
    )
    return (
        _split_by_commas(key, row)
        or next(told, "")
        or _in_its_unit(key, row.get(key), known)
        or _belongs(key, known, model)
    )


def _split_by_commas(key: str, row: dict[str, Any]) -> str:
    """`{input_tokens: 1,500}` is a field and an entry 500: the number that was meant."""
    entries = [(str(name), value) for name, value in row.items()]
    names = [name for name, _ in entries]
    at = names.index(key) if key in names else 0
    if not key.isdigit() or at == 0 or entries[at][1] is not None:
        return ""
    before, value = entries[at - 1]
    return f"write numbers without commas: {before}: {value}{key}"


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
    near = _near(key, known)
    if not places:
        return f"did you mean {', '.join(near)}?" if near else did_you_mean(key, known)
    shown = (place if place != key else f"{key} at the top" for place in places)
    level = f"it is {' or '.join(shown)}: move it there"
    return f"did you mean {', '.join(near)}? Or {level}" if near else level


def _in_its_unit(key: str, value: Any, known: Sequence[str]) -> str:
    """`power_mw: 0.025` becomes `power_kw: 25`: a known field, named after another unit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    for written, read, factor in _UNITS_OF_NAMES:
        name = written.sub(read, key.casefold())
        if name != key and name in known:
            return f"write {name}: {value * factor:.6g}"
    return ""


def _near(word: str, known: Sequence[str], alike: float = 0.5) -> list[str]:
    """Known words for what was written: the one that is meant by it, else those spelt alike."""
    meant = _MEANT.get(word.casefold(), "")
    return [meant] if meant in known else nearest(word, known, alike=alike)


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
        return f"write {choices[0]}"
    return f"did you mean {meant}?" if meant else f"write one of {', '.join(choices)}"


def _meant(word: str, choices: Sequence[str]) -> str | None:
    """The choice that is meant; of formats by their names, for spelling says nothing there."""
    if WEIGHT_FORMATS.keys() >= set(choices):
        named = format_named(word)
        return named.id if named is not None and named.id in choices else None
    return next(iter(_near(word, choices)), None)


def _list(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    rows = list(rows_in(field.annotation)) if field is not None else []
    inner = next((next(iter(row.model_fields)) for row in rows), None)
    if isinstance(value, dict):
        needed = [n for row in rows[:1] for n, f in row.model_fields.items() if f.is_required()]
        shown = f", such as - {{{', '.join(f'{n}: ...' for n in needed)}}}" if needed else ""
        return f"write a list: start each entry with -{shown}"
    if inner:
        return f"write a list: start each entry with -, such as - {{{inner}: {value}, ...}}"
    meant = _meant(str(value), _words(field)) if field is not None and _words(field) else None
    return f"write a list: [{meant or value}]"


def _group(value: Any, context: Any, field: FieldInfo | None, loc: Sequence[Any]) -> str:
    """`objective: least_cost` becomes `objective: {kind: least_cost}`."""
    models = list(rows_in(field.annotation)) if field is not None else []
    name = next((str(p) for p in reversed(loc) if isinstance(p, str)), "")
    name = f"{name}:" if loc and isinstance(loc[-1], str) else "-"
    inner = [(k, f) for m in models for k, f in m.model_fields.items()]
    for key, own in inner:
        near = _near(value, _words(own), _ALIKE) if isinstance(value, str) else []
        if near:
            more = "" if name.endswith(":") else ", ..."
            return f"write {name} {{{key}: {near[0]}{more}}}"
    first = [(k, f) for k, f in inner if f.is_required()] or inner
    if not first:
        return "write its fields below it"
    key, own = first[0]
    amount = _amount(value, own) if _unit(own) else None
    if amount and any(_takes(m, float(amount)) for m in models):
        return f"write {name} {amount}"
    return f"write its fields, such as {name} {{{key}: {amount or '...'}}}"


def _takes(model: type[BaseModel], value: float) -> bool:
    """Whether a plain number may stand for the whole group, as one length does for all requests."""
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def _fraction(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    most = context["le"]
    if 0.9 < most <= 1 < value < 2:
        return f"write at most {most:g}; {value:g} % would be {value / 100:g}"
    if 0.9 < most <= 1 < value <= 100:
        return f"a share of 1, not of 100: {value:g} % is {value / 100:g}"
    return f"write at most {most:g}"


def _below(field: FieldInfo | None) -> str:
    """The most that a field takes, where it says so."""
    stated = [m.le for m in field.metadata if hasattr(m, "le")] if field is not None else []
    unsaid = "check its unit, or write unlimited where there is no limit"
    return f"write at most {stated[0]:g}" if stated else unsaid


def _number(value: Any, field: FieldInfo | None) -> str:
    """A plain number in place of text with a unit, a sign or quotes."""
    unit, amount = _unit(field), _amount(value, field)
    of = "" if unit in _BARE else f" of {unit}"
    told = f"write a plain number{of} without quotes"
    return f"{told}: {amount}" if amount else told


def _whole(value: Any, field: FieldInfo | None) -> str:
    """A whole number in place of a fraction; of text a plain number."""
    if not isinstance(value, float) or not math.isfinite(value):
        return _number(value, field)
    if value.is_integer():
        return f"write it without decimals: {value:.0f}"
    return f"write a whole number: {math.floor(value)} or {math.ceil(value)}"


def _amount(value: Any, field: FieldInfo | None) -> str | None:
    """The number that "25000 W" or "$2M" is in the unit of a field; None where it is no number."""
    match = _AMOUNT.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if match is None:
        return None
    unit, written = _unit(field), match["unit"].casefold()
    scales = {"": 1.0, unit.casefold(): 1.0, "rps": 1.0, "k": 1e3, "m": 1e6}
    scale = {**scales, **_SCALES.get(unit.split("/")[0].split(" ")[0], {})}.get(written)
    digits = re.sub(r"[,_ ]", "", match["digits"])
    return None if scale is None else f"{float(digits) * scale:.12g}"


def _date(value: Any, context: Any, field: FieldInfo | None, loc: Any) -> str:
    match = _DATE.fullmatch(str(value).strip())
    if match is None:
        return "write year-month-day: 2026-07-01"
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
    return f'write it in quotes: "{value}"' if not isinstance(value, dict) else "write one name"


_CURES: dict[str, Any] = {
    "tuple_type": _list,
    "model_type": _group,
    "model_attributes_type": _group,
    "dict_type": _group,
    "less_than_equal": _fraction,
    "iso_date": _date,
    "string_type": _text,
    "float_type": lambda value, context, field, loc: _number(value, field),
    "int_type": lambda value, context, field, loc: _whole(value, field),
    "int_from_float": lambda value, context, field, loc: _whole(value, field),
    "finite_number": lambda *_: "write a finite number; for no limit write unlimited where allowed",
    "bool_type": lambda *_: "write true or false",
    "greater_than": lambda value, context, field, loc: (
        f"write more than {context['gt']:g}"
        if context["gt"]
        else "zero and negative values are not allowed here"
    ),
    "less_than": lambda value, context, field, loc: f"write less than {context['lt']:g}",
    "greater_than_equal": lambda value, context, field, loc: f"write at least {context['ge']:g}",
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
