"""A plan in a notebook: the head of its report, what to get, and where the money goes.

A notebook has a theme of its own: this has no background, inherits its colour and softens text by
opacity. Without any style, as some hosts show it, real tables and text remain.
"""

from __future__ import annotations

from tokenfleet.plan.rows import Plan
from tokenfleet.report import findings, words
from tokenfleet.report.findings import clip
from tokenfleet.report.numbers import exact_dollars, part
from tokenfleet.report.page import charts
from tokenfleet.report.page.of_plan import page_of
from tokenfleet.report.page.parts import Cell, Grid, figure, row, text
from tokenfleet.report.page.render import environment

_ROWS = 12  # of the order


def fragment(plan: Plan) -> str:
    """A piece of HTML for `Plan._repr_html_`."""
    template = environment().get_template("notebook.html")
    return template.render(
        page=page_of(plan), tables=(_order(plan), _money(plan)), hint=findings.NOTEBOOK
    )


def _order(plan: Plan) -> Grid:
    names = findings.system_names(plan)
    ranked = sorted(plan.systems, key=lambda s: (-s.gpus, s.site, s.offer))
    rows = [
        row(
            names[s.system],
            words.obtained(s.kind),
            clip(s.site),
            f"{s.count:,}",
            f"{s.gpus:,}",
            exact_dollars(s.annual_cost_usd),
        )
        for s in ranked[:_ROWS]
    ]
    rows += [
        row("Hosted API", "by the token", clip(api), "–", "–", exact_dollars(usd))
        for api, usd in words.paid_to_apis(plan)
    ]
    left = len(ranked) - _ROWS
    columns = (text("System"), text("How"), text("Site"), figure("Systems"), figure("GPUs"),
               figure("A year"))  # fmt: skip
    more = f"{left:,} more: plan.table('systems')" if left > 0 else ""
    return Grid(columns, tuple(rows), more)


def _money(plan: Plan) -> Grid:
    items = words.cost_rows(plan)[:-1]
    most = max((abs(usd) for _, usd in items), default=0.0) or 1.0
    rows = [
        row(
            findings.sentence(name),
            Cell(mark=charts.bare_bar(abs(usd) / most, credit=usd < 0)),
            exact_dollars(usd),
            part(usd, plan.annual_cost_usd),
        )
        for name, usd in items
    ]
    columns = (text("Cost"), text("Beside each other"), figure("A year"), figure("Share"))
    return Grid(columns, tuple(rows))
