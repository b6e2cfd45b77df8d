"""The sheets that engineers and auditors read: values with filters, no formulas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tokenfleet.explanation.rows import Explanation
from tokenfleet.plan.explored import Exploration, Resolved
from tokenfleet.plan.rows import Plan
from tokenfleet.report import explained as reasons
from tokenfleet.report import explored, inputs, sheets, words
from tokenfleet.report.workbook.book import Book, Sheet

_Row = Sequence[object]
_MOST_ROWS = 100_000


def _table(
    book: Book,
    name: str,
    note: str,
    columns: Sequence[tuple[str, float, str]],
    rows: Iterable[_Row],
) -> Sheet:
    """A sheet of one table: title, width and number format of each column (text: words)."""
    sheet = book.sheet(name, note, [width for _, width, _ in columns])
    worded = [form == "text" for _, _, form in columns]
    inset = [i > 0 and worded[i] and not worded[i - 1] for i in range(len(columns))]
    first = sheet.row
    for column, (title, _, _) in enumerate(columns):
        side = "inset" if inset[column] else "plain" if worded[column] else "right"
        sheet.text(column, title, f"head {side}")
    sheet.of.freeze_panes(first + 1, 0)
    sheet.of.repeat_rows(first)
    sheet.row += 1
    for row in list(rows)[:_MOST_ROWS]:
        for column, value in enumerate(row):
            if worded[column]:
                side = "inset" if inset[column] else "plain"
                sheet.text(column, "–" if value is None else value, side)
            else:
                assert value is None or isinstance(value, int | float)
                sheet.number(column, value, columns[column][2])
        sheet.row += 1
    sheet.of.autofilter(first, 0, max(sheet.row - 1, first), len(columns) - 1)
    return sheet


def write_tables(book: Book, explained: Explanation | None = None) -> None:
    """Alternatives, Latency, Power, Serving, Routing, Sources and Proof."""
    plan = book.plan
    _alternatives(book, plan, explained)
    _latency(book, plan)
    _power(book, plan)
    _serving(book, plan)
    _routing(book, plan)
    _sources(book, plan)
    _proof(book, plan)


def _alternatives(book: Book, plan: Plan, explained: Explanation | None) -> None:
    columns = [
        ("Alternative", 60, "text"),
        ("Value", 18, "number"),
        ("Against the plan", 16, "change"),
        ("Unit", 24, "text"),
        ("Why not", 90, "text"),
    ]
    rows: list[_Row] = [("This plan", plan.objective_value, 0.0, plan.objective_unit, None)]
    best = plan.best_single_system
    if best is not None:
        said = f"Only {best.system}, the best plan of one type of system"
        relative = best.difference_relative
        rows.append((said, best.objective_value, relative, plan.objective_unit, None))
    rows += _beside(plan)
    rows += [(row.what, None, None, None, row.reason) for row in plan.not_considered]
    sheet = _table(book, "Alternatives", sheets.ALTERNATIVES_NOTE, columns, rows)
    _told(sheet, "Why this plan", words.reasons(plan))
    if plan.exploration is not None:
        notes = (*explored.solved_anew(plan, plan.exploration), *plan.exploration.notes)
        _told(sheet, "Of the plans explored", notes)
    for title, lines in () if explained is None else reasons.sections(explained):
        _told(sheet, title, lines)


def _beside(plan: Plan) -> Iterator[_Row]:
    """Each way alone; what was explored under one more rule, other limits and other inputs."""
    unit = plan.objective_unit
    for way in plan.ways:
        why = None if way.objective_value is not None else explored.NOT_FOUND
        yield f"{way.name} alone", way.objective_value, way.difference_relative, unit, why
    found = plan.exploration
    if found is None:
        return
    for row in found.alternatives:
        yield _solved(found, explored.rule(row), row.plan, unit, row.reason)
    for relaxed in found.frontier:
        name = f"every latency limit at {100 * relaxed.factor:.0f} %"
        yield _solved(found, name, relaxed.plan, unit, "no plan")
    for swing in found.sensitivity:
        for value, how in ((swing.value_low, "less"), (swing.value_high, "more")):
            name = f"{reasons.input_name(swing.input)}, {100 * swing.by:.0f} % {how}"
            today = found.today.objective_value
            more = None if value is None or not today else value / today - 1.0
            yield name, value, more, unit, "no plan" if value is None else None


def _solved(found: Exploration, name: str, of: Resolved | None, unit: str, why: str | None) -> _Row:
    if of is None:
        return name, None, None, unit, why or explored.NOT_FOUND
    return name, of.objective_value, explored.more(found.today, of), unit, None


def _told(sheet: Sheet, title: str, lines: Iterable[str]) -> None:
    """Sentences under a title; nothing where there is none."""
    said = list(lines)
    if said:
        sheet.section(title)
    for line in said:
        sheet.text(0, line)
        sheet.row += 1


def _latency(book: Book, plan: Plan) -> None:
    columns = [
        ("Workload", 20, "text"),
        ("Class", 20, "text"),
        ("Metric", 10, "text"),
        ("Percentile", 11, "text"),
        ("Promised, ms", 14, "ms"),
        ("Expected, ms", 14, "ms"),
        ("Limit, ms", 14, "ms"),
        ("Left, ms", 14, "ms"),
        ("Likely from, ms", 15, "ms"),
        ("to, ms", 14, "ms"),
        ("How it is known", 18, "text"),
    ]
    rows = [
        (
            row.workload,
            row.cls,
            row.metric.upper(),
            row.percentile,
            row.promised_ms,
            row.expected_ms,
            row.limit_ms,
            row.headroom_ms,
            *row.interval_ms,
            row.provenance,
        )
        for row in plan.slo
    ]
    _table(book, "Latency", sheets.LATENCY_NOTE, columns, rows)


def _power(book: Book, plan: Plan) -> None:
    columns = [
        ("Site", 24, "text"),
        ("Region", 14, "text"),
        ("Held, kW", 14, "figure"),
        ("Limit, kW", 14, "figure"),
        ("Share held", 12, "percent"),
        ("Limit counts", 14, "text"),
        ("Drawn at most, kW", 18, "figure"),
        ("Mean with hosted, kW", 20, "figure"),
    ]
    rows: list[_Row] = [
        (
            site.site,
            site.region,
            site.provisioned_kw,
            site.power_limit_kw,
            site.provisioned_kw / site.power_limit_kw if site.power_limit_kw else None,
            "IT power" if site.power_basis == "it" else "the meter",
            site.drawn_kw,
            site.mean_drawn_kw_with_hosted,
        )
        for site in plan.sites
    ]
    sheet = _table(book, "Power", sheets.POWER_NOTE, columns, rows)
    sheet.section("Every stated limit")
    sheet.head(["Where", "What", "Used", "Limit", "Left"], words=2)
    for row in plan.limits:
        sheet.text(0, row.where)
        sheet.text(1, words.limit_name(row.what))
        for column, value in enumerate((row.used, row.limit, row.headroom), start=2):
            sheet.number(column, value, "figure")
        sheet.row += 1


def _serving(book: Book, plan: Plan) -> None:
    columns = [
        ("Workload", 18, "text"),
        ("Site", 18, "text"),
        ("System", 18, "text"),
        ("Engine", 10, "text"),
        ("Weights", 10, "text"),
        ("KV cache", 10, "text"),
        ("Role", 9, "text"),
        ("Replicas", 10, "count"),
        ("GPUs each", 10, "count"),
        ("TP", 6, "count"),
        ("PP", 6, "count"),
        ("EP", 6, "count"),
        ("Attention DP", 10, "count"),
        ("Batch limit", 10, "count"),
        ("Load, mean", 10, "percent"),
        ("Load, peak", 10, "percent"),
        ("Classes", 30, "text"),
    ]
    rows = [
        (
            r.workload,
            r.site,
            r.system,
            r.engine or "measured",
            r.precision or "measured",
            r.kv_dtype,
            r.role,
            r.count,
            r.gpus,
            r.tp,
            r.pp,
            r.ep,
            r.attention_dp,
            r.batch_limit,
            r.load_mean,
            r.load_peak,
            ", ".join(r.classes),
        )
        for r in plan.replicas
    ]
    _table(book, "Serving", sheets.SERVING_NOTE, columns, rows)


def _routing(book: Book, plan: Plan) -> None:
    columns = [
        ("Workload", 20, "text"),
        ("Class", 20, "text"),
        ("Served by", 50, "text"),
        ("Role", 10, "text"),
        ("Requests/s, peak", 16, "number"),
        ("Million requests a year", 18, "number"),
        ("Million input tokens", 18, "count"),
        ("Million output tokens", 18, "count"),
    ]
    rows = [
        (
            r.workload,
            r.cls,
            f"API {r.api}" if r.api is not None else r.pool,
            r.role,
            max(r.requests_per_s, default=0.0),
            r.requests_per_year / 1e6,
            r.input_tokens_per_year / 1e6,
            r.output_tokens_per_year / 1e6,
        )
        for r in plan.routing
    ]
    _table(book, "Routing", sheets.ROUTING_NOTE, columns, rows)


def _sources(book: Book, plan: Plan) -> None:
    columns = [
        ("Figure", 46, "text"),
        ("Value", 22, "text"),
        ("Unit", 14, "text"),
        ("Whose", 12, "text"),
        ("Source", 70, "text"),
        ("As of", 12, "text"),
        ("Note", 60, "text"),
    ]
    rows: list[_Row] = [
        (
            row.what,
            row.value if isinstance(row.value, str) else f"{row.value:,.10g}",
            row.unit,
            "typical" if row.assumed else "yours",
            inputs.origin(row),
            row.as_of,
            row.note,
        )
        for row in plan.inputs
    ]
    rows += [
        (
            f"{row.system}: {row.accelerator}",
            f"{row.gpus} GPUs",
            row.form,
            "yours" if row.own else "catalog",
            row.source,
            row.as_of,
            None,
        )
        for row in plan.hardware
    ]
    rows += [
        (row.what, row.system, None, row.cls, row.source, row.as_of, row.engine_version)
        for row in plan.provenance
    ]
    _table(book, "Sources", sheets.SOURCES_NOTE, columns, rows)


def _proof(book: Book, plan: Plan) -> None:
    columns = [("What", 36, "text"), ("Value", 110, "text")]
    gap = "–" if plan.gap is None else f"{plan.gap:.6%}"
    bound = "–" if plan.bound is None else f"{plan.bound:,.6f} {plan.objective_unit}"
    rows: list[_Row] = [
        ("Proof", words.status_words(plan)),
        *(("How sure", text) for text in (*words.certainty(plan), *words.simulated(plan))),
        ("Status", plan.status),
        ("Objective", plan.objective),
        ("Value", f"{plan.objective_value:,.6f} {plan.objective_unit}"),
        ("Bound: no plan is better", bound),
        ("Gap between them", gap),
        ("How the bound was checked", plan.bound_check),
        ("Configurations evaluated", f"{plan.candidates_evaluated:,}"),
        ("Kept for the mix", f"{plan.candidates_kept:,}"),
        *((f"Left out: {name}", f"{number:,}") for name, number in plan.dropped.items()),
        ("Prices of", plan.price_vintage),
        ("Day of the question", plan.as_of),
    ]
    if plan.origin is not None:
        rows += [
            ("Scenario", plan.origin.source),
            ("SHA-256 of the scenario", plan.origin.scenario_sha256),
            ("SHA-256 of the model", plan.origin.model_sha256),
        ]
    rows += [("Know before signing", text) for text in words.warnings(plan)]
    _table(book, "Proof", sheets.PROOF_NOTE, columns, rows)
