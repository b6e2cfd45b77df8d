"""A plan, or the answer that there is none, as one HTML file.

The file loads nothing and runs no script: its policy allows one stylesheet, by its hash. Names are
escaped by the template, and a value that a template misses is an error.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tokenfleet.explanation.rows import Difference, Explanation
from tokenfleet.plan.rows import Plan
from tokenfleet.report.page.changes import page_of_difference
from tokenfleet.report.page.of_error import page_of_error
from tokenfleet.report.page.of_plan import page_of
from tokenfleet.report.page.parts import Page

_FOLDER = "tokenfleet.report.page"


def html(plan: Plan, today: date | None = None, explained: Explanation | None = None) -> str:
    """The plan's report, with what its explanation found.

    Prices are judged on the plan's day; `today` stands in where it has none. The same plan gives
    the same bytes (on the same day, where the plan has none).
    """
    return render(page_of(plan, today, explained))


def html_of_difference(found: Difference, name: str) -> str:
    """The page of what moved from one plan to another."""
    return render(page_of_difference(found, name))


def html_of_error(error: Mapping[str, Any], name: str, explained: Explanation | None = None) -> str:
    """The page of an answer without a plan, with the priced repairs of its explanation.

    `error` is as `--json` prints it.
    """
    return render(page_of_error(error, name, explained))


def render(page: Page, template: str = "page.html") -> str:
    """A page through its template."""
    style = stylesheet()
    filled = (
        environment()
        .get_template(template)
        .render(page=page, style=Markup(style), policy=policy(style))
    )
    return f"{filled.rstrip()}\n"


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of the pages: everything is escaped, and nothing may be missing."""
    return Environment(
        loader=PackageLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=1)
def stylesheet() -> str:
    """The one stylesheet, shared by every page."""
    return f"{drawn_stylesheet()}\n{_template('style.css')}"


def drawn_stylesheet() -> str:
    """What of it a drawing alone needs: colours, and the classes that use them."""
    return _template("drawn.css")


def _template(name: str) -> str:
    return (files(_FOLDER) / "templates" / name).read_text(encoding="utf-8").strip()


def policy(style: str, more: str = "") -> str:
    """A content security policy that allows this stylesheet and nothing else but `more`."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    own = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return own + more
