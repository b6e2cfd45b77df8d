"""What a plan rests on, and what an engineer needs of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tokenfleet.plan.known_rows import Input, Provenance
from tokenfleet.plan.rows import Plan
from tokenfleet.report import ages, findings, inputs, words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import NBSP, counted, percent, spelled
from tokenfleet.report.page.look import Look
from tokenfleet.report.page.parts import (
    Cell,
    Folded,
    Lines,
    Part,
    Section,
    Table,
    TableRow,
    figure,
    grid,
    row,
    text,
)

_OPEN_ROWS, _MOST_ROWS = 12, 36  # of the replicas' table: before it is folded, and shown at all
_MEASURED = ("calibrated", "measured")


def rests(look: Look) -> Section:
    """Figures behind the money, sources of everything, what was left out, every warning."""
    plan = look.plan
    parts: list[Part] = []
    if plan.inputs:
        columns = (text("Figure"), figure("Value", "value"), text("Whose", "whose"),
                   text("Source", "source"), figure("As of"))  # fmt: skip
        ordered = sorted(plan.inputs, key=lambda r: not r.assumed)
        rows = [_input(r) for r in ordered]
        parts.append(Table(grid(columns, rows), heading="Figures behind the money"))
    sources = list(_sources(look))
    if sources:
        columns = (text("Figures of"), text("How known", "how known"), text("Source", "source"),
                   figure("As of"), figure("Age"))  # fmt: skip
        parts.append(Table(grid(columns, sources), heading="Sources"))
    if plan.not_considered:
        left = tuple(sentence(line) for line in words.not_considered(plan))
        parts.append(Lines(left[:40], "Not considered"))
    warned = words.warnings(plan, look.today)
    if warned:
        parts.append(Lines(tuple(sentence(line) for line in warned[:40]), "Warnings"))
    return Section("What it rests on", findings.rests_title(plan), tuple(parts), small=True)


def _input(r: Input) -> TableRow:
    value, unit = (clip(text, 30) for text in inputs.value(r))
    source = clip(inputs.origin(r), 120) + (f"; {clip(r.note, 90)}" if r.note else "")
    tag = Cell(tag="typical", tone="warn") if r.assumed else Cell(tag="yours", tone="good")
    return row(inputs.name(r), f"{value}{NBSP}{unit}".strip(NBSP), tag, source, r.as_of or "–")


def _sources(look: Look) -> Iterator[TableRow]:
    """Hardware figures, then throughput and latency, each with its age."""
    on, before = ages.day_of(look.plan, look.today), ""
    for h in look.plan.hardware:
        tag = Cell(tag="yours" if h.own else "catalog")
        yield row(look.name(h.system), tag, clip(h.source, 200), h.as_of or "–",
                  _age(ages.age_days(h.as_of, on)))  # fmt: skip
    for p in look.plan.provenance:
        tone = "good" if p.cls in _MEASURED else "warn" if p.cls == "inherited" else ""
        source, before = clip(p.source, 200) if p.source != before else "as above", p.source
        yield row(
            sentence(clip(p.what, 90)),
            Cell(tag=p.cls, tone=tone),
            Cell(source, _known(p), under=True),
            p.as_of or "–",
            _age(ages.age_days(p.as_of, on)),
        )


def _age(days: int | None) -> str:
    return "–" if days is None else f"{days:,}{NBSP}days"


def _known(p: Provenance) -> str:
    """Runs and intervals of each model there."""
    said = [
        f"{clip(m.model)}: {m.cls}, {m.runs:,} runs, TPOT ±{m.tpot_interval80_pct:.0f}%, "
        f"TTFT ±{m.ttft_interval80_pct:.0f}%"
        for m in p.models[:3]
    ]
    if len(p.models) > 3:
        said.append(f"{len(p.models) - 3} more models")
    if p.inherited_from:
        taken = ", ".join(f"{k} of {v}" for k, v in sorted(p.inherited_from.items()))
        said.append(f"inherited: {clip(taken, 160)}")
    return "; ".join(said)


def engineers(look: Look) -> Section:
    """Replicas by workload and layout, and how the plan was found and proven."""
    plan = look.plan
    parts: list[Part] = []
    rows = list(_replicas(look))
    if rows:
        columns = (text("Workload"), text("Site", "site"), text("System", "system"),
                   text("Engine", "engine"), text("Weights", "weights"), text("Layout", "layout"),
                   figure("Batch"), text("Classes", "classes"), figure("Replicas"),
                   figure("GPUs each"), figure("Load"))  # fmt: skip
        table = grid(columns, rows, most=_MOST_ROWS)
        if len(rows) > _OPEN_ROWS:
            parts.append(Folded(counted(len(rows), "kind of replica", "kinds of replicas"), table))
        else:
            parts.append(Table(table))
    parts.append(Folded("How it was found and proven", facts=tuple(_facts(plan))))
    return Section("For engineers", "Serving configuration and proof", tuple(parts))


def _replicas(look: Look) -> Iterator[TableRow]:
    for r in look.plan.replicas:
        yield row(
            clip(r.workload),
            clip(r.site),
            look.name(r.system),
            r.engine or "measured",
            r.precision or "measured",
            words.layout(r),
            "–" if r.batch_limit is None else f"{r.batch_limit:,}",
            ", ".join(clip(c) for c in r.classes[:4]) + (" …" if len(r.classes) > 4 else ""),
            f"{r.count:,}",
            f"{r.gpus:,}",
            f"{100 * r.load_mean:.0f}%",
        )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "Status", plan.status.replace("_", " ")
    yield "Value", f"{spelled(plan.objective_value)} {plan.objective_unit}"
    if plan.bound is not None and plan.gap is not None:
        yield "Bound", f"{spelled(plan.bound)} {plan.objective_unit}; no plan is better"
        yield "Gap", percent(plan.gap)
    yield "Bound confirmed by", plan.bound_check.replace("_", " ")
    if plan.confidence is not None:
        yield "Confidence", f"{100 * plan.confidence:.0f}% of limits and rated throughput"
    if plan.candidates:
        yield (
            "Configurations",
            (
                f"{plan.candidates:,} fit memory, {plan.candidates_evaluated:,} were evaluated, "
                f"{plan.candidates_kept:,} kept for the mix"
            ),
        )
    left: dict[str, int] = defaultdict(int)
    for reason, n in plan.dropped.items():
        left[reason] += n
    if any(left.values()):
        told = [f"{reason.replace('_', ' ')} {n:,}" for reason, n in left.items() if n]
        yield "Left out", ", ".join(told)
    yield "Time taken", f"{plan.seconds:.1f}{NBSP}s in {counted(plan.rounds, 'round')}"
    if plan.origin is not None:
        yield "Scenario", clip(plan.origin.source.rsplit("/", 1)[-1])
        yield "SHA-256 of the scenario", plan.origin.scenario_sha256
        if plan.origin.model_sha256:
            yield "SHA-256 of model and catalog", plan.origin.model_sha256
    yield "Version of the plan's keys", str(plan.schema_version)
