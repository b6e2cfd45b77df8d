"""`evaluate`: operating points of the kept candidates, as a table or a file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note, say, say_json
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.grid import brief, show_grid
from tokenfleet.cli.options import (
    CatalogOption,
    ForceOption,
    InputsOption,
    JsonOption,
    NoCacheOption,
    ResumeOption,
    book,
)
from tokenfleet.cli.progress import searching
from tokenfleet.cli.where import AddressOption, EngineOption, JobsOption
from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import cell, json_ready

Columns = Mapping[str, Any]
_SHOWN = {
    "workload": "workload",
    "system": "system",
    "precision": "weights",
    "tp": "TP",
    "pp": "PP",
    "ep": "EP",
    "batch_limit": "batch",
    "classes": "classes",
    "requests_per_s_per_gpu": "req/s/GPU",
    "ttft_p95_ms": "TTFT p95 ms",
    "tpot_p95_ms": "TPOT p95 ms",
}
_MAGIC = (b"PAR1", b"ARROW1")  # of tables
_SCENARIOS = (".yaml", ".yml", ".toml", ".json")
_RANKED_BY = "requests_per_s_per_gpu"
_ASCENDING = ("_ms", "_w", "_bytes_per_gpu", "gpus")  # names of columns where less is better


def evaluate(
    scenario: Annotated[
        Path,
        typer.Argument(
            metavar="SCENARIO|TABLE",
            help="A scenario, or a table of candidates: .parquet, .arrow or .csv.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write all points to this .csv or .parquet (or .arrow) file."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=0, help="How many points to show; of a table, to keep."),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Column that ranks them.")] = None,
    select: Annotated[
        str | None,
        typer.Option(
            "--select", help="Rows of a table to keep: 'ttft_p99_ms < 500 and watts < 9e3'."
        ),
    ] = None,
    resume: ResumeOption = False,
    inputs: InputsOption = None,
    catalog: CatalogOption = None,
    engine: EngineOption = "threads",
    jobs: JobsOption = None,
    ray_address: AddressOption = None,
    force: ForceOption = False,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the layouts of a scenario, or each row of a table of candidates.

    A table has one layout, load and price in a row; its answers go to the file of `-o`.
    """
    with answering(as_json):
        if _is_table(scenario):
            from tokenfleet.cli.tables import evaluate_candidates

            given = {"select": select, "top": top, "by": by, "resume": resume, "force": force}
            given["inputs"] = inputs
            evaluate_candidates(
                scenario,
                output,
                {name: value for name, value in given.items() if value is not None},
                catalog or [],
                (engine, jobs, ray_address),
                as_json,
            )
            return
        _refuse_table_options({"--select": select, "--resume": resume})
        by, top = by or _RANKED_BY, 10 if top is None else top
        write = table_writer(output)
        refuse_existing(output, force, scenario)
        columns = _points(scenario, catalog)
        ranked = _ranked(columns, by)[:top]
        count = len(columns["workload"])
        if output is not None and write is not None:
            write_atomic(output, write(columns), force)
            note(f"wrote {count} points to {output}")
        if as_json:
            rows = [_record(columns, i) for i in ranked]
            say_json({"schema_version": 1, "count": count, "by": by, "points": rows})
        else:
            _show(columns, ranked, by)


def _is_table(path: Path) -> bool:
    """Whether a file is a table rather than a scenario, by its first bytes and its ending."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return False
    return head.startswith(_MAGIC) or path.suffix.lower() not in _SCENARIOS


def _refuse_table_options(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if value:
            raise SchemaError(
                f"{name}: is for tables of candidates", "give a .parquet, .arrow or .csv file"
            )


def _points(scenario: Path, catalog: list[Path] | None) -> Columns:
    from tokenfleet.points.kept import evaluate as evaluate_scenario
    from tokenfleet.scenario.load import load_scenario

    loaded = load_scenario(scenario, catalog=book(catalog))
    with searching("reading the points") as progress:
        columns = dict(evaluate_scenario(loaded, progress=progress))
    columns["requests_per_s_per_gpu"] = columns["requests_per_s"] / columns["gpus"]
    return columns


def _ranked(columns: Columns, by: str) -> list[int]:
    """Rows in order of a column, best first; rows without a value last."""
    from tokenfleet.schema import did_you_mean

    numeric = [name for name, values in columns.items() if values.dtype.kind in "iuf"]
    if by not in numeric:
        raise SchemaError(f"--by: unknown numeric column {by!r}", did_you_mean(by, numeric))
    sign = 1.0 if by.endswith(_ASCENDING) and not by.endswith("per_gpu") else -1.0
    values = columns[by].tolist()
    keys = [math.inf if math.isnan(v) else sign * v for v in values]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _record(columns: Columns, i: int) -> dict[str, Any]:
    return {name: json_ready(values[i]) for name, values in columns.items()}


def _show(columns: Columns, rows: Sequence[int], by: str) -> None:
    count = len(columns["workload"])
    say(f"{count:,} points kept after pruning; the best {len(rows)} by {_SHOWN.get(by, by)}:")
    shown = {**_SHOWN, by: _SHOWN.get(by, by)}
    show_grid(
        [(title, columns[name].dtype.kind in "iuf") for name, title in shown.items()],
        ([_brief(columns[name][i]) for name in shown] for i in rows),
    )


def _brief(value: Any) -> str:
    value = json_ready(value)
    return f"{value:.4g}" if isinstance(value, float) else brief(value)


def table_writer(output: Path | None) -> Any:
    """The function that writes columns in the format of the file's name.

    Raises:
        SchemaError: neither CSV nor Parquet, or the package for Parquet is missing.
    """
    if output is None:
        return None
    if output.suffix == ".csv":
        return _csv
    if output.suffix == ".parquet":
        try:
            import polars  # noqa: F401
        except ImportError:
            raise SchemaError(
                f"{output}: Parquet needs the package polars",
                "pip install 'tokenfleet[tables]', or write a .csv file",
            ) from None
        return _parquet
    raise SchemaError(f"{output}: unknown table format", "end the name in .csv or .parquet")


def _csv(columns: Columns) -> bytes:
    """Numbers stay numbers; text that a spreadsheet would run gets a quote before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    names = list(columns)
    for i in range(len(columns[names[0]])):
        record = _record(columns, i)
        writer.writerow("" if record[n] is None else cell(record[n]) for n in names)
    return text.getvalue().encode()


def _parquet(columns: Columns) -> bytes:
    import polars

    frame = polars.DataFrame({name: _series(values) for name, values in columns.items()})
    data = io.BytesIO()
    frame.write_parquet(data)
    return data.getvalue()


def _series(values: Any) -> Any:
    """A column's values; an empty one keeps its kind."""
    plain = [json_ready(v) for v in values]
    return plain if plain or values.dtype == object else values
