"""Solves every scenario that is not done yet, keeps what ends, and reports all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenfleet.batch.files import find_scenarios, result_name, write_inside
from tokenfleet.batch.manifest import NAME, Entry, Manifest
from tokenfleet.batch.solve import FAILED, Answer, Task, solve
from tokenfleet.batch.summary import summary_rows, write_summary
from tokenfleet.compute import ComputeEngine, Outcome, WorkLimits, open_engine
from tokenfleet.errors import SchemaError
from tokenfleet.schema import SolverOptions
from tokenfleet.schema.rows import validate

Row = dict[str, Any]
Progress = Callable[[int, int], None]
RESULTS = "plans"


@dataclass(frozen=True)
class BatchOptions:
    """How a batch runs. `solver` are settings over each scenario's own, `catalogs` files below its
    own catalog.

    `kill_after_s` bounds one attempt by the clock, reading and searching included.
    """

    solver: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 1
    kill_after_s: float | None = None
    force: bool = False
    catalogs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class BatchReport:
    """What a batch did. `rows` has every scenario, done now or before."""

    rows: tuple[Row, ...]
    skipped: int  # done before
    interrupted: bool


def run_batch(
    scenarios: Iterable[Path],
    output: Path,
    options: BatchOptions | None = None,
    *,
    engine: ComputeEngine | None = None,
    progress: Progress | None = None,
    work: Callable[[Task], Answer] = solve,
) -> BatchReport:
    """Plans every scenario into `output`: `plans/`, a manifest, `summary.csv` and `summary.json`.

    A scenario that fails, crashes or overruns is noted and the others go on; those that a manifest
    in the folder calls done are not solved again while their inputs are the same. Ctrl-C keeps what
    is done.

    Raises:
        SchemaError: no scenarios, a setting that none understands, a folder with other content, or
            one that another batch has.
        OSError: the folder cannot be written.
    """
    options = options or BatchOptions()
    _check(options)
    solver = tuple(sorted(options.solver.items()))
    books = tuple(str(p.absolute()) for p in options.catalogs)
    found = find_scenarios(scenarios).items()
    tasks = [Task(n, str(p.absolute()), solver, catalogs=books) for n, p in found]
    _prepare(output, options.force)
    manifest = Manifest(output)
    try:
        waiting = [t for t in tasks if options.force or not manifest.is_done(t)]
        batch = _Batch(manifest, output / RESULTS, options, work, len(tasks), progress)
        interrupted = batch.run(engine or open_engine("processes"), waiting)
        rows = summary_rows(manifest.entries, [t.name for t in tasks], output / RESULTS)
        write_summary(output, rows)
    finally:
        manifest.close()
    return BatchReport(tuple(rows), len(tasks) - len(waiting), interrupted)


def _check(options: BatchOptions) -> None:
    """Refuses at once what every scenario would refuse.

    Raises:
        SchemaError: names the setting.
    """
    validate(SolverOptions, dict(options.solver), "command line")
    limit = options.kill_after_s
    if limit is not None and not limit > 0:
        raise SchemaError(f"kill after: {limit:g} s is none", "give seconds above zero")


def _prepare(output: Path, force: bool) -> None:
    if output.exists() and not output.is_dir():
        raise SchemaError(f"{output}: is a file", "give the name of a folder")
    foreign = output.is_dir() and any(output.iterdir()) and not (output / NAME).is_file()
    if foreign and not force:
        raise SchemaError(
            f"{output}: is not empty and holds no batch", "give another folder, or --force"
        )
    for name in (NAME, RESULTS):
        if (output / name).is_symlink():
            raise SchemaError(
                f"{output / name}: is a link, and may lead out of the folder", "remove it"
            )
    (output / RESULTS).mkdir(parents=True, exist_ok=True)


@dataclass
class _Batch:
    """The scenarios that are still to be solved, in rounds: each round retries what failed."""

    manifest: Manifest
    results: Path
    options: BatchOptions
    work: Callable[[Task], Answer]
    total: int
    progress: Progress | None

    def run(self, engine: ComputeEngine, tasks: list[Task]) -> bool:
        """Whether Ctrl-C stopped it."""
        ended = self.total - len(tasks)
        try:
            for attempt in range(self.options.retries + 1):
                again: list[Task] = []
                pieces = [replace(t, attempt=attempt) for t in tasks]
                limits = WorkLimits(self.options.kill_after_s)
                for outcome in engine.run(self.work, pieces, limits):
                    task = pieces[outcome.index]
                    if outcome.kind != "done" and attempt < self.options.retries:
                        again.append(task)
                        continue
                    self._keep(task, outcome)
                    ended += 1
                    if self.progress is not None:
                        self.progress(ended, self.total)
                tasks = again
        except KeyboardInterrupt:
            return True
        return False

    def _keep(self, task: Task, outcome: Outcome[Answer]) -> None:
        entry = Entry(
            scenario=task.name,
            exit_code=FAILED,
            kind=outcome.kind,
            attempts=task.attempt + 1,
            seconds=round(outcome.seconds, 3),
            error=outcome.error,
        )
        if outcome.value is not None:
            answer = outcome.value
            data = answer.text.encode()
            name = result_name(task.name, answer.key)
            write_inside(self.results, name, data)
            entry = replace(
                entry,
                exit_code=answer.exit_code,
                key=answer.key,
                inputs=answer.inputs,
                file=name,
                sha256=hashlib.sha256(data).hexdigest(),
            )
        self.manifest.add(entry)
