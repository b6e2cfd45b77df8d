"""`import`: benchmark results, traces and model configs, checked and in one form."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note, say, say_json
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.options import CatalogOption, ForceOption, JsonOption, book
from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import plain
from tokenfleet.report.numbers import counted

if TYPE_CHECKING:
    from tokenfleet.importers.detect import Imported
    from tokenfleet.importers.measurements import Measurement

_SHOWN = 10


class Form(str, Enum):
    """What is written."""

    measurements = "measurements"
    points = "points"
    columns = "columns"


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Files of any known kind, or a checkpoint's folder."
        ),
    ],
    model: Annotated[str | None, typer.Option(help="Model, where the file has none.")] = None,
    system: Annotated[str | None, typer.Option(help="System, where the file has none.")] = None,
    engine: Annotated[str | None, typer.Option(help="Serving engine.")] = None,
    engine_version: Annotated[str | None, typer.Option(help="Its version.")] = None,
    precision: Annotated[str | None, typer.Option(help="Number format of the weights.")] = None,
    tp: Annotated[int | None, typer.Option(help="Tensor-parallel ranks.")] = None,
    pp: Annotated[int | None, typer.Option(help="Pipeline stages.")] = None,
    ep: Annotated[int | None, typer.Option(help="Expert-parallel ranks.")] = None,
    dp_attention: Annotated[int | None, typer.Option(help="Attention data-parallel ranks.")] = None,
    gpus: Annotated[int | None, typer.Option(help="Accelerators of the run.")] = None,
    concurrency: Annotated[float | None, typer.Option(help="Requests in flight.")] = None,
    request_rate: Annotated[float | None, typer.Option(help="Arrivals, requests/s.")] = None,
    input_tokens: Annotated[float | None, typer.Option(help="Mean prompt, tokens.")] = None,
    output_tokens: Annotated[float | None, typer.Option(help="Mean output, tokens.")] = None,
    date: Annotated[str | None, typer.Option(help="Day of the run, 2026-07-01.")] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Key of a config.json to leave out of the reading.")
    ] = None,
    catalog: CatalogOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="CSV to write; of a config.json a catalog file, of Mélange a scenario.",
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--as", help="One row a figure; or a run, for backtest or `columns`.")
    ] = Form.measurements,
    workload: Annotated[str | None, typer.Option(help="Workload of --as columns.")] = None,
    request_class: Annotated[
        str | None, typer.Option("--class", help="Class of --as columns.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import benchmark results, traces, length distributions and model configs.

    What a file says is kept; what it does not say must be given. Rows with unknown hardware, model
    or unit are rejected with their line; a file of which every row is rejected ends in exit code 2.
    """
    given = {
        "model": model, "system": system, "engine": engine, "engine_version": engine_version,
        "precision": precision, "tp": tp, "pp": pp, "ep": ep, "dp_attention": dp_attention,
        "gpus": gpus, "concurrency": concurrency, "request_rate": request_rate,
        "input_tokens": input_tokens, "output_tokens": output_tokens, "date": date,
    }  # fmt: skip
    with answering(as_json):
        refuse_existing(output, force, *files)
        found = _read(files, catalog or [], {**given, "ignore": tuple(ignore or ())})
        if output is not None and any(f.melange for f in found):
            _write_scenario(found, output, model, force)
        elif output is not None and any(f.model for f in found):
            _write_models(files, found, output, force)
        elif output is not None:
            _write(found, output, form, (workload, request_class), force)
        (_say_json if as_json else _say)(files, found)
        if any(f.rejected and not f.measurements for f in found):
            raise typer.Exit(SchemaError.exit_code)


def _read(files: Sequence[Path], catalogs: Sequence[Path], given: dict[str, Any]) -> list[Imported]:
    from tokenfleet.importers.detect import import_file

    catalog = book(list(catalogs))
    return [import_file(path, catalog, **given) for path in files]


def _write(
    found: Sequence[Imported],
    output: Path,
    form: Form,
    names: tuple[str | None, str | None],
    force: bool,
) -> None:
    measurements = [m for f in found for m in f.measurements]
    if not measurements:
        raise SchemaError(
            "there are no measurements to write",
            "a scenario names a trace under lengths",
        )
    content, left_out = _content(measurements, form, names)
    write_atomic(output, content, force)
    note(f"wrote {counted(content.count(chr(10)) - 1, 'row')} to {output}")
    for text in left_out:
        note(f"left out: {text}")


def _write_models(
    files: Sequence[Path], found: Sequence[Imported], output: Path, force: bool
) -> None:
    """A catalog file with the architectures of some configs."""
    import yaml

    from tokenfleet.importers.export import models

    if output.suffix not in (".yaml", ".yml") or not all(f.model for f in found):
        raise SchemaError(
            "a config.json becomes a model of a catalog file",
            "import configs alone, with -o NAME.yaml, and name that file under `catalog`",
        )
    rows = models([(p.name, f.model) for p, f in zip(files, found, strict=True) if f.model])
    content = yaml.safe_dump({"models": rows}, sort_keys=False, allow_unicode=True)
    write_atomic(output, content, force)
    note(f"wrote {counted(len(rows), 'model')} to {output}")


def _write_scenario(
    found: Sequence[Imported], output: Path, model: str | None, force: bool
) -> None:
    """A scenario and, beside it, the catalog and the columns that it names."""
    import yaml

    from tokenfleet.importers import melange

    data = found[0].melange
    if len(found) > 1 or data is None or output.suffix not in (".yaml", ".yml"):
        raise SchemaError(
            "a Mélange file becomes a scenario of its own",
            "import it alone, with -o NAME.yaml",
        )
    systems = output.with_name(f"{output.stem}.catalog.yaml")
    columns = output.with_name(f"{output.stem}.columns.csv")
    scenario = melange.scenario(data, output.stem, systems.name, columns.name, model)
    contents = {
        systems: yaml.safe_dump(melange.catalog_rows(data), sort_keys=False, allow_unicode=True),
        columns: melange.columns_csv(data),
        output: yaml.safe_dump(scenario, sort_keys=False, allow_unicode=True),
    }
    for path in contents:
        refuse_existing(path, force)
    for path, content in contents.items():
        write_atomic(path, content, force)
        note(f"wrote {path}")


def _content(
    measurements: Sequence[Measurement], form: Form, names: tuple[str | None, str | None]
) -> tuple[str, list[str]]:
    from tokenfleet.importers import export
    from tokenfleet.importers.measurements import to_csv

    if form is Form.measurements:
        return to_csv(measurements), []
    if form is Form.points:
        return export.points(measurements)
    workload, request_class = names
    if workload is None or request_class is None:
        raise SchemaError("columns belong to a class of a workload", "give --workload and --class")
    return export.columns(measurements, workload, request_class)


def _say_json(files: Sequence[Path], found: Sequence[Imported]) -> None:
    rows = [_record(path, f) for path, f in zip(files, found, strict=True)]
    say_json({"schema_version": 1, "files": rows})


def _record(path: Path, found: Imported) -> dict[str, Any]:
    return {
        "path": str(path),
        "kind": found.kind,
        "measurements": [m.model_dump(mode="json") for m in found.measurements],
        "requests": None if found.trace is None else len(found.trace),
        "model": None if found.model is None else found.model.architecture.model_dump(mode="json"),
        "warnings": list(found.warnings),
        "rejected": [vars(r) for r in found.rejected],
    }


def _say(files: Sequence[Path], found: Sequence[Imported]) -> None:
    for path, one in zip(files, found, strict=True):
        say(f"{path}: {one.kind}: {_summary(one)}")
        for text in one.warnings:
            note(f"warning: {text}" if text.startswith(str(path)) else f"warning: {path}: {text}")
        for row in one.rejected[:_SHOWN]:
            note(f"rejected: {path}: line {row.line}: {row.reason}")
        if len(one.rejected) > _SHOWN:
            note(f"rejected: {path}: and {len(one.rejected) - _SHOWN} more (--json lists all)")


def _summary(found: Imported) -> str:
    if found.trace is not None:
        return f"{counted(len(found.trace), 'request')} in {found.trace.span_s:,.0f} s"
    if found.lengths is not None:
        return f"length distributions of {' and '.join(found.lengths)}"
    if found.melange is not None:
        types = counted(len(found.melange.cost_usd_per_h), "type")
        return f"{types}, {counted(len(found.melange.buckets), 'bucket')} with demand"
    if found.model is not None:
        return f"architecture of {plain(found.model.architecture.id)}"
    figures = counted(len(found.measurements), "figure")
    runs = counted(len({m.run for m in found.measurements}), "run")
    return f"{figures} of {runs}, {len(found.rejected)} rejected"
