"""Operating points that vendors and benchmarks published: closed loops, and offline maxima.

Only measured ones are read; claims, charts and interpolations are not measurements. A closed loop
whose layout is not stated has as many accelerators as Little's law gives from its own figures:
requests in flight x tokens / request time / (tokens/s/GPU).
"""

from __future__ import annotations

import re
from typing import Any

from tokenfleet.backtest.run import AtCapacity, Cells, Run, Tokens, figures, number, served
from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.points.rates import Layout

COLUMNS = ("group", "kind", "system", "model", "tok_s_per_gpu", "tok_kind", "concurrency", "isl")
_SIZES = (1, 2, 4, 8)
_NEAR = 1.15  # a size this far from what Little's law gives is none
_VERSION = re.compile(r"\d[\w.-]*$")
# A layout as people write it: "TP4,PP2", "tp=4 pp=2", "TP8EP8", "DP8-EP8", "DEP8", "TEP8".
_DEGREE = re.compile(r"(?P<of>[dt]ep|tp|pp|ep|dp)[\s=:_-]*(?P<ranks>\d+)", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s,x×*/+&_-]*", re.IGNORECASE)
_MTP = re.compile(r"\bMTP(\d)?\b")
_MTP_DEPTH = 3


def read(catalog: Catalog, file: str, row: int, cells: Cells) -> tuple[Run, ...]:
    """The run of a row; raises like `serving.read`."""
    where = f"{file}: row {row}"
    _refuse(cells)
    model = names.model(catalog, cells.get("model", ""), None)
    engine = names.framework(cells.get("framework", ""))
    system = names.system(catalog, cells["system"])
    precision = names.precision(catalog, model, names.stated_format(cells), system)
    plain = served(catalog, system, model, engine, precision)
    plain["speculative_depth"] = _drafts(cells)
    isl, osl = number(cells, "isl", where), number(cells, "osl", where)
    rate = _output_rate(cells, isl, osl, where)
    times = figures(cells, {"tpot": "tpot_ms", "ttft": "ttft_ms"}, where)
    measured = {**times, "tokens_s_gpu": rate}
    closed = bool(cells.get("concurrency"))
    load = number(cells, "concurrency", where) if closed else 0.0
    routed = catalog.model(model).is_moe
    gpus = None if degrees(cells.get("parallelism", "")) else _size(measured, load, osl)
    run = Run(
        file=file,
        row=row,
        id=cells.get("row_id", ""),
        kind="closed" if closed else "offline",
        layouts=tuple(_layouts(plain, cells.get("parallelism", ""), gpus, routed)),
        load=load,
        input=Tokens(isl),
        output=Tokens(osl),
        measured=measured,
        # TensorRT-LLM's own benchmark reserves the cache of whole requests.
        at=AtCapacity(reserved=engine == "trtllm"),
        architecture=names.shape(catalog, model),
        version="".join(_VERSION.findall(cells["framework"])[:1]),
        benchmark=cells["group"],
        date=cells.get("date", ""),
        source=cells.get("source", ""),
    )
    return (run,)


def _refuse(cells: Cells) -> None:
    if cells["kind"] != "measured":
        raise UnknownNameError(f"{cells['kind']}: not a measurement")
    if cells.get("disagg") == "yes":
        raise UnknownNameError("separate pools, whose layouts are not stated")
    if cells.get("spec_decode") == "yes" and not _drafts(cells):
        raise UnknownNameError("speculative decoding, by what is not stated")
    stated = degrees(cells.get("parallelism", ""))
    if not cells.get("concurrency") and not stated:
        raise UnknownNameError("neither requests in flight nor a layout")
    if "dp" in stated and "ep" not in stated:
        raise UnknownNameError("data parallelism: ranks of one replica or copies is not stated")


def _drafts(cells: Cells) -> int:
    """Draft tokens per step of the model's own heads ("MTP1": one, "MTP" alone: three); 0: none."""
    named = _MTP.search(f"{cells.get('framework', '')}; {cells.get('notes', '')}")
    if cells.get("spec_decode") != "yes" or named is None:
        return 0
    return int(named[1] or _MTP_DEPTH)


def degrees(text: str) -> dict[str, int]:
    """Ranks by kind of parallelism; none where nothing is stated.

    Raises:
        UnknownNameError: something is stated, but not understood.
    """
    found = [(m["of"].lower(), int(m["ranks"])) for m in _DEGREE.finditer(text)]
    degrees = dict(found)
    rest = _DEGREE.sub("", text)
    if len(degrees) < len(found) or 0 in degrees.values() or not _BETWEEN.fullmatch(rest):
        raise UnknownNameError(f"layout {text} is not understood")
    for both, first in (("dep", "dp"), ("tep", "tp")):
        if both in degrees:
            ranks = degrees.pop(both)
            degrees |= {first: ranks, "ep": ranks}
    return degrees


def _output_rate(cells: Cells, isl: float, osl: float, where: str) -> float:
    """Output tokens/s/GPU, from output tokens or from all."""
    rate, kind = number(cells, "tok_s_per_gpu", where), cells.get("tok_kind", "")
    if kind.startswith("output"):
        return rate
    if kind == "total":
        return rate * osl / (isl + osl)
    raise UnknownNameError(f"tokens/s of kind {kind or 'unstated'!r}")


def _size(measured: dict[str, float], load: float, osl: float) -> int:
    if not {"tpot", "ttft"} <= set(measured):
        raise UnknownNameError("no layout, and no latencies to tell its size from")
    request_s = (measured["ttft"] + (osl - 1.0) * measured["tpot"]) / 1e3
    found = load * osl / request_s / measured["tokens_s_gpu"]
    size = min(_SIZES, key=lambda n: abs(n - found))
    if not 1 / _NEAR < found / size < _NEAR:
        raise UnknownNameError(f"no layout, and its figures give {found:.2f} accelerators")
    return size


def _layouts(
    plain: dict[str, Any], parallelism: str, gpus: int | None, routed: bool
) -> list[Layout]:
    stated = degrees(parallelism)
    if not stated:
        return _cut(plain, gpus or 1, 1, routed)
    n, stages = stated.get("tp", 1), stated.get("pp", 1)
    if "dp" in stated:
        ranks = stated["dp"]
        return [Layout(**plain, tp=n, pp=stages, attention_dp=ranks, ep=stated["ep"])]
    if "ep" in stated:
        return [Layout(**plain, tp=n, pp=stages, ep=stated["ep"] if routed else 1)]
    return _cut(plain, n, stages, routed)


def _cut(plain: dict[str, Any], n: int, stages: int, routed: bool) -> list[Layout]:
    """Tensor-parallel layouts; whether experts are cut or whole is left open."""
    cut = [Layout(**plain, tp=n, pp=stages)]
    return [*cut, Layout(**plain, tp=n, pp=stages, ep=n)] if routed and n > 1 else cut
