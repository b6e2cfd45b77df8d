"""Closed-loop runs of serving engines: mean TTFT, mean TPOT, output tokens/s/GPU."""

from __future__ import annotations

from tokenfleet.backtest.power import HOST_W
from tokenfleet.backtest.run import Cells, Run, Tokens, about, count, figures, number, served
from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.points.rates import Layout

COLUMNS = ("backend", "model", "concurrency", "isl", "osl", "attn_tp", "ttft_ms", "tpot_ms")
_MEASURED = {"tpot": "tpot_ms", "ttft": "ttft_ms", "tokens_s_gpu": "output_tok_s_gpu"}
_OTHER = {"tpot": "aic_tpot_ms", "ttft": "aic_ttft_ms", "tokens_s_gpu": "aic_output_tok_s_gpu"}

# Runs of recipes that start an engine as it is installed, by what their source is called.
_RECIPES = "SGLang cookbook"


def read(catalog: Catalog, file: str, row: int, cells: Cells) -> tuple[Run, ...]:
    """The run of a row.

    Raises:
        UnknownNameError: a name without counterpart, or a figure that the row does not state.
        SchemaError: a cell that is no positive number.
    """
    where = f"{file}: row {row}"
    model = names.model(catalog, cells["model"], cells.get("architecture"))
    system = names.system(catalog, cells["system"])
    precision = names.precision(catalog, model, names.stated_format(cells), system)
    engine = names.engine(cells["backend"])
    tp, adp, gpus = (count(cells, c, where) for c in ("attn_tp", "attn_dp", "gpus"))
    if gpus != tp * adp:
        raise UnknownNameError("gpus is not attn_tp x attn_dp: the layout is not stated")
    concurrency = number(cells, "concurrency", where)
    routed = catalog.model(model).is_moe
    layout = Layout(
        **served(catalog, system, model, engine, precision),
        tp=tp,
        ep=count(cells, "ep", where) if routed else 1,
        attention_dp=adp if routed else 1,
    )
    run = Run(
        file=file,
        row=row,
        id=cells.get("id", ""),
        kind="closed",
        layouts=(layout,),
        # Data parallelism of a model without experts is so many copies, which share the requests.
        load=concurrency if routed else concurrency / adp,
        input=Tokens(number(cells, "isl", where)),
        output=Tokens(number(cells, "osl", where)),
        measured=figures(cells, _MEASURED, where) | _watts(cells, system, where),
        other=figures(cells, _OTHER, where),
        flag=cells.get("flag", ""),
        version=cells.get("backend_version", ""),
        as_installed=_RECIPES in cells.get("source", ""),
        architecture=names.shape(catalog, model),
        benchmark=cells.get("benchmark", ""),
        **about(cells),
    )
    return (run,)


def _watts(cells: Cells, system: str, where: str) -> dict[str, float]:
    """Watts of an accelerator with its share of the host, where its board was metered."""
    if not cells.get("watts_per_gpu") or system not in HOST_W:
        return {}
    return {"watts": number(cells, "watts_per_gpu", where) + HOST_W[system]}
