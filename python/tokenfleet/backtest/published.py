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
_TP = re.compile(r"^TP(?P<tp>\d+)(?:[,x ]*PP(?P<pp>\d+))?(?:[,x ]*EP(?P<ep>\d+))?$")
_MTP = re.compile(r"\bMTP(\d)?\b")
_MTP_DEPTH = 3
_DATA_PARALLEL = re.compile(r"^DEP(\d+)$")


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
    gpus = None if _stated(cells) else _size(measured, load, osl)
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
    if not cells.get("concurrency") and not _stated(cells):
        raise UnknownNameError("neither requests in flight nor a layout")


def _drafts(cells: Cells) -> int:
    """Draft tokens per step of the model's own heads ("MTP1": one, "MTP" alone: three); 0: none."""
    named = _MTP.search(f"{cells.get('framework', '')}; {cells.get('notes', '')}")
    if cells.get("spec_decode") != "yes" or named is None:
        return 0
    return int(named[1] or _MTP_DEPTH)


def _stated(cells: Cells) -> bool:
    return bool(
        _TP.match(cells.get("parallelism", ""))
        or _DATA_PARALLEL.match(cells.get("parallelism", ""))
    )


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
    data_parallel = _DATA_PARALLEL.match(parallelism)
    if data_parallel:
        n = int(data_parallel[1])
        return [Layout(**plain, attention_dp=n, ep=n)]
    tensor = _TP.match(parallelism)
    if tensor is None:
        return _cut(plain, gpus or 1, 1, routed)
    n, stages, groups = (int(tensor[name] or 1) for name in ("tp", "pp", "ep"))
    if tensor["ep"]:
        return [Layout(**plain, tp=n, pp=stages, ep=groups if routed else 1)]
    return _cut(plain, n, stages, routed)


def _cut(plain: dict[str, Any], n: int, stages: int, routed: bool) -> list[Layout]:
    """Tensor-parallel layouts; whether experts are cut or whole is left open."""
    cut = [Layout(**plain, tp=n, pp=stages)]
    return [*cut, Layout(**plain, tp=n, pp=stages, ep=n)] if routed and n > 1 else cut
