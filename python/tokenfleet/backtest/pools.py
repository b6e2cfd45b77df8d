"""Closed-loop runs of separate pools: workers that read prompts, and workers that answer them."""

from __future__ import annotations

from typing import Any

from tokenfleet.backtest.run import Cells, Pools, Run, Tokens, about, count, figures, number, served
from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.points.rates import Layout

COLUMNS = ("backend", "model", "concurrency", "isl", "osl", "prefill_workers", "decode_workers")
BENCHMARK = "separate pools"
_MEASURED = {"tpot": "tpot_ms", "ttft": "ttft_ms", "tokens_s_gpu": "output_tok_s_gpu"}
_LABELLED = "labelled"


def read(catalog: Catalog, file: str, row: int, cells: Cells) -> tuple[Run, ...]:
    """The run of a row; raises like `serving.read`."""
    where = f"{file}: row {row}"
    model = names.model(catalog, cells["model"], cells.get("architecture"))
    system = names.system(catalog, cells["system"])
    precision = names.precision(catalog, model, names.stated_format(cells), system)
    engine = names.engine(cells["backend"])
    plain = served(catalog, system, model, engine, precision)
    stated = cells.get("layout_source", _LABELLED)
    if stated != _LABELLED:
        raise UnknownNameError(f"separate pools: {stated}")
    routed = catalog.model(model).is_moe
    (reads, readers), (answers, answerers) = (
        _workers(plain, cells, pool, where, routed) for pool in ("prefill", "decode")
    )
    run = Run(
        file=file,
        row=row,
        id=cells.get("id", ""),
        kind="closed",
        layouts=(answers,),
        load=number(cells, "concurrency", where),
        input=Tokens(number(cells, "isl", where)),
        output=Tokens(number(cells, "osl", where)),
        measured=figures(cells, _MEASURED, where),
        flag=cells.get("flag", ""),
        version=cells.get("backend_version", ""),
        architecture=names.shape(catalog, model),
        benchmark=BENCHMARK,
        pools=Pools(
            prefill=reads,
            prefill_workers=readers,
            decode_workers=answerers,
        ),
        **about(cells),
    )
    return (run,)


def _workers(
    plain: dict[str, Any], cells: Cells, pool: str, where: str, routed: bool
) -> tuple[Layout, int]:
    """Layout of a worker of a pool, and how many there are.

    Data parallelism of a model without experts is so many copies, each a worker of its own.
    """
    columns = (f"{pool}_{c}" for c in ("workers", "tp", "adp", "ep"))
    workers, tp, adp, ep = (count(cells, c, where) for c in columns)
    if routed:
        return Layout(**plain, tp=tp, attention_dp=adp, ep=ep), workers
    return Layout(**plain, tp=tp), workers * adp
