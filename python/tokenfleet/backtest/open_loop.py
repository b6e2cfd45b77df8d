"""Open-loop runs: arrivals at a rate, medians of TTFT and TPOT; past saturation, tokens/s.

Latency past saturation is the length of the run, and says nothing. What is served then is the
capacity: of each configuration the saturated run that served most counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from tokenfleet.backtest.result import Result
from tokenfleet.backtest.run import (
    AtCapacity,
    Cells,
    Run,
    Tokens,
    about,
    figures,
    number,
)
from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.points.rates import Layout

COLUMNS = ("engine", "model", "hardware", "lambda_rps", "isl_tokens_mean", "ttft_p50_ms")
_BELOW = {"tpot": "tpot_p50_ms", "ttft": "ttft_p50_ms"}
_PAST = {"tokens_s_gpu": "tok_s_output_per_gpu"}


def read(catalog: Catalog, file: str, row: int, cells: Cells) -> tuple[Run, ...]:
    """The run of a row; raises like `serving.read`."""
    where = f"{file}: row {row}"
    model = names.model(catalog, cells["model"], None)
    if number(cells, "gpus", where) != 1:
        raise UnknownNameError("several accelerators, and the layout is not stated")
    layout = Layout(
        system=names.system(catalog, cells["hardware"]),
        model=model,
        engine=names.engine(cells["engine"]),
        precision=names.precision(catalog, model, names.stated_format(cells)),
        kv="bf16",
    )
    saturated = cells.get("saturated") == "1"
    rate = number(cells, "lambda_rps", where)
    run = Run(
        file=file,
        row=row,
        id=f"{cells.get('dataset', '')} {cells.get('config', '')} {rate:g}/s".strip(),
        kind="saturated" if saturated else "open",
        layouts=(layout,),
        load=rate,
        input=Tokens(number(cells, "isl_tokens_mean", where)),
        output=Tokens(number(cells, "osl_tokens_mean", where)),
        measured=figures(cells, _PAST if saturated else _BELOW, where),
        at=AtCapacity(),
        architecture=names.shape(catalog, model),
        benchmark="open loop",
        **about(cells),
    )
    return (run,)


def most_served(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """Runs with one saturated run per configuration, the one that served most; and the others."""
    kept: list[Run] = []
    best: dict[tuple[object, ...], Run] = {}
    left: list[Run] = []
    for run in runs:
        if run.kind != "saturated":
            kept.append(run)
            continue
        key = (run.file, run.layouts, run.input, run.output)
        known = best.get(key)
        if known is None or run.measured["tokens_s_gpu"] > known.measured["tokens_s_gpu"]:
            best[key] = run
            left += [known] if known else []
        else:
            left.append(run)
    return [*kept, *best.values()], left


def open_ttft_fixed_ms(
    results: Sequence[Result], fixed_ms: Mapping[str, float]
) -> dict[str, float]:
    """Fixed part of open-loop TTFT by engine, ms, from runs at low rate: `open_ttft_fixed_ms` of
    the kernel calibration.

    At a low rate nothing waits, so what is measured beyond the predicted prompt and steps is the
    fixed part. Takes the run of lowest rate of each layout, and the median over the layouts of an
    engine. `fixed_ms` is what the predictions contain.
    """
    lowest: dict[Layout, Result] = {}
    for result in results:
        known = lowest.get(result.layout)
        if result.run.kind == "open" and (known is None or result.run.load < known.run.load):
            lowest[result.layout] = result
    rest: dict[str, list[float]] = {}
    for layout, result in lowest.items():
        beyond = result.run.measured["ttft"] - result.predicted["ttft"]
        rest.setdefault(layout.engine, []).append(fixed_ms[layout.engine] + beyond)
    return {engine: statistics.median(values) for engine, values in sorted(rest.items())}
