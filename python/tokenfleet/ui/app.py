"""The page's addresses. Texts come with each request, files never: no path comes from a browser."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tokenfleet.errors import SchemaError, TokenfleetError
from tokenfleet.files.read import parse_yaml
from tokenfleet.plan.rows import Plan
from tokenfleet.report.page.render import stylesheet
from tokenfleet.scenario.load import load_scenario
from tokenfleet.ui.edit import FieldPath, set_value
from tokenfleet.ui.form import groups, path_text, without_ids
from tokenfleet.ui.guard import Guard
from tokenfleet.ui.solving import Solved, Solver
from tokenfleet.ui.view import plan_name, view
from tokenfleet.ui.writer import written

_FOLDER = "tokenfleet.ui"
_TICK_S = 0.25  # between looks at the solve
_MOST_PLANS = 30
_KINDS = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "yaml": "application/yaml",
}


@dataclass
class Page:
    """One scenario that is open in the browser."""

    name: str
    text: str
    folder: Path

    def __post_init__(self) -> None:
        """Nothing has been solved yet."""
        self.solver = Solver(self.folder)
        self.draft = self.text  # what was last asked to be saved

    def app(self, token: str, hosts: tuple[str, ...]) -> Guard:
        """The application behind its guard."""
        routes = [
            Route("/", self.home),
            Route("/check", self.check, methods=["POST"]),
            Route("/edit", self.edit, methods=["POST"]),
            Route("/solve", self.solve, methods=["POST"]),
            Route("/stop", self.stop, methods=["POST"]),
            Route("/events", self.events),
            Route("/plans/{number:int}", self.plan),
            Route("/plans/{number:int}/{kind}", self.download),
            Route("/draft", self.keep_draft, methods=["POST"]),
            Route("/scenario.yaml", self.saved),
        ]
        return Guard(Starlette(routes=routes, lifespan=self._lifespan), token, hosts, policy())

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await self.solver.close()

    # Edit

    async def home(self, _: Request) -> Response:
        """The page."""
        filled = template("page.html").render(
            name=self.name,
            text=self.text,
            form=Markup(self._form(self.text)),
            style=Markup(style()),
            script=Markup(script()),
        )
        return HTMLResponse(filled)

    async def check(self, request: Request) -> Response:
        """Whether a text is a scenario, where it is not, and its form."""
        text = await _text(request)
        found = await asyncio.to_thread(self._checked, text)
        return JSONResponse(found)

    async def edit(self, request: Request) -> Response:
        """The text with one figure changed, and whether it still is a scenario."""
        given = await _json(request)
        path: FieldPath = tuple(given["path"])
        try:
            text = set_value(str(given["text"]), path, _value(str(given["value"])))
        except SchemaError as error:
            return JSONResponse({"text": given["text"], "faults": [_fault(error.message, "")]})
        found = await asyncio.to_thread(self._checked, text)
        return JSONResponse({**found, "text": text})

    def _checked(self, text: str) -> dict[str, Any]:
        try:
            load_scenario(parse_yaml(text, "scenario"), base_dir=self.folder)
        except TokenfleetError as error:
            faults = [_fault(line, error.hint) for line in error.message.splitlines()]
            return {"faults": faults, "hint": error.hint, "form": self._form(text)}
        return {"faults": [], "hint": "", "form": self._form(text)}

    def _form(self, text: str) -> str:
        try:
            data = parse_yaml(text, "scenario")
        except TokenfleetError:
            return ""
        return str(template("form.html").render(groups=groups(data)))

    # Solve

    async def solve(self, request: Request) -> Response:
        """Begins a solve."""
        text = await _text(request)
        if len(self.solver.plans) >= _MOST_PLANS:
            del self.solver.plans[1]  # the first, as given, stays
        begun = self.solver.start(text)
        return JSONResponse({"begun": begun}, status_code=202 if begun else 409)

    async def stop(self, _: Request) -> Response:
        """Ends the search; the best plan so far is kept."""
        self.solver.stop()
        return JSONResponse({})

    async def events(self, _: Request) -> Response:
        """How far the solve is, as server-sent events, until it ends."""
        return StreamingResponse(self._states(), media_type="text/event-stream")

    async def _states(self) -> AsyncIterator[str]:
        last = ""
        while True:
            state = self.solver.state()
            told = json.dumps(state)
            if told != last:
                yield f"data: {told}\n\n"
                last = told
            if not state["running"]:
                return
            await asyncio.sleep(_TICK_S)

    # Plans

    def _plans(self) -> list[tuple[Any, Plan]]:
        return [(parse_yaml(s.text, "scenario"), s.plan) for s in self.solver.plans]

    def _solved(self, request: Request) -> Solved | None:
        number = int(request.path_params["number"])
        return self.solver.plans[number] if 0 <= number < len(self.solver.plans) else None

    async def plan(self, request: Request) -> Response:
        """A plan, beside the one asked for or else the first."""
        if self._solved(request) is None:
            return Response("no such plan", status_code=404)
        number, plans = int(request.path_params["number"]), self._plans()
        asked = request.query_params.get("beside", "0")
        base = int(asked) if asked.isdigit() and int(asked) < len(plans) else None
        shown = view(plans, number, None if base == number else base)
        tabs = [(i, plan_name(plans, i)) for i in range(len(plans))]
        return HTMLResponse(template("plan.html").render(view=shown, tabs=tabs, kinds=reports()))

    async def download(self, request: Request) -> Response:
        """A plan as a file: its JSON, its scenario, a spreadsheet or a report."""
        solved, kind = self._solved(request), str(request.path_params["kind"])
        if solved is None or kind not in _KINDS:
            return Response("no such file", status_code=404)
        try:
            content = await _content(solved, kind)
        except SchemaError as error:
            return Response(error.message, status_code=404)
        number = int(request.path_params["number"]) + 1
        name = f"scenario-{number}.yaml" if kind == "yaml" else f"plan-{number}.{kind}"
        return _file(content, _KINDS[kind], name)

    async def keep_draft(self, request: Request) -> Response:
        """Takes the text that is to be saved."""
        self.draft = await _text(request)
        return JSONResponse({})

    async def saved(self, _: Request) -> Response:
        """The text that was last asked to be saved, as a file."""
        return _file(self.draft.encode(), _KINDS["yaml"], "scenario.yaml")


def reports() -> list[str]:
    """Endings of the reports that can be written here."""
    from tokenfleet.report.write import endings  # noqa: PLC0415 (loads what it needs)

    return [ending for ending in endings() if ending in _KINDS]


async def _content(solved: Solved, kind: str) -> bytes:
    if kind == "yaml":
        return solved.text.encode()
    if kind == "json":
        return (json.dumps(solved.plan.to_json(), indent=2, allow_nan=False) + "\n").encode()
    return await written(solved.plan, kind)


def _file(content: bytes, kind: str, name: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    return Response(content, media_type=kind, headers={"content-disposition": disposition})


async def _json(request: Request) -> dict[str, Any]:
    found = await request.json()
    return found if isinstance(found, dict) else {}


async def _text(request: Request) -> str:
    return str((await _json(request)).get("text", ""))


def _value(shown: str) -> float | str | None:
    """What was typed into a field: a number, a word, or nothing."""
    typed = shown.strip()
    try:
        return float(typed) if typed else None
    except ValueError:
        return typed


def _fault(line: str, hint: str) -> dict[str, str]:
    """A fault with the place in the form that it is of."""
    said = line.removeprefix("scenario: ")
    place, _, message = said.rpartition(": ") if ": " in said else ("", "", said)
    for cut in range(1, said.count(": ") + 1):
        head = ": ".join(said.split(": ")[:cut])
        if "." in head or "[" in head:
            place, message = head, ": ".join(said.split(": ")[cut:])
            break
    return {"place": without_ids(place), "message": message, "said": said, "hint": hint}


# What the page is made of


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["place"] = path_text
    return found


def template(name: str) -> Any:
    """A template: everything is escaped, and nothing may be missing."""
    return _environment().get_template(name)


def _asset(name: str) -> str:
    return (files(_FOLDER) / "templates" / name).read_text(encoding="utf-8").strip()


@lru_cache(maxsize=1)
def style() -> str:
    """The stylesheet of reports, and what the page has beside them."""
    return f"{stylesheet()}\n{_asset('page.css')}"


@lru_cache(maxsize=1)
def script() -> str:
    """The page's one script."""
    return _asset("page.js")


def policy() -> str:
    """A content security policy that allows this stylesheet, this script and this server."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style(), script())
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
