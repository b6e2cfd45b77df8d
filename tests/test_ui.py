"""The local page: what it refuses, what it writes into a scenario, and a walk through it."""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from scenarios import hall
from tokenfleet import Plan, SchemaError, optimize_fleet
from tokenfleet.ui.edit import set_value
from tokenfleet.ui.form import changes, groups, without_ids

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 180_000  # with the page, on a machine that has other things to do
Json = dict[str, Any]

SMALL = """\
name: "<script>alert(1)</script>"   # a name that must stay text
workloads:
  - id: chat
    model: llama-3.1-8b
    classes: [{id: turn, share: 1.0, input_tokens: 500, output_tokens: 100}]
    slos: [{metric: ttft, percentile: p95, limit_ms: 1000}]
    demand: {requests_per_s: 20}   # what we sell today
sites:
  - {id: hall, region: eu, power_kw: 200, power_basis: it, pue: 1.3, cooling: [air],
     electricity_usd_per_kwh: 0.1, hosting_usd_per_kw_month: 10}
systems: [h100_sxm_8]
offers:
  - id: '"><img src=x onerror=alert(1)>'
    system: h100_sxm_8
    kind: buy
    price_usd_per_system: 200000
columns:
  - {workload: chat, class: turn, system: h100_sxm_8, gpus: 1, rate_rps: 5.0}
"""


def hard() -> str:
    """A choice among equals that takes a solver all its time, and a first plan next to none."""
    rng = random.Random(3)
    systems = (
        "a100_sxm_8", "h100_sxm_8", "h200_sxm_8", "b200_sxm_8", "b300_sxm_8", "mi300x_8",
        "mi325x_8", "mi355x_8", "rtx_pro_6000_se_8",
    )  # fmt: skip
    turn = {"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}
    data = {
        "name": "hard",
        "systems": list(systems),
        "workloads": [
            {
                "id": f"w{i}", "model": "llama-3.1-8b", "classes": [turn],
                "demand": {"requests_per_s": round(rng.uniform(40, 60), 2)},
            }
            for i in range(30)
        ],
        "sites": [hall(power_kw=900, cooling=["air", "direct liquid"])],
        "offers": [
            {
                "id": system, "system": system, "kind": "rent", "hosted": False,
                "price_usd_per_gpu_h": round(rng.uniform(1.5, 2.5), 3),
            }
            for system in systems
        ],
        "columns": [
            {
                "workload": f"w{i}", "class": "turn", "system": system, "watts": 2000,
                "gpus": rng.choice([1, 2, 4]), "rate_rps": round(rng.uniform(3, 9), 2),
            }
            for i in range(30)
            for system in systems
        ],
        "solver": {"gap": 0.0, "time_limit_s": 20},
    }  # fmt: skip
    return yaml.safe_dump(data)


# Editing


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            ("workloads", 0, "demand", "requests_per_s"),
            14.0,
            "demand: {requests_per_s: 14}   # what",
        ),
        (("workloads", 0, "slos", 0, "limit_ms"), 0.5, "limit_ms: 0.5}]"),
        (
            ("workloads", 0, "demand", "peak_to_mean"),
            2.5,
            "{peak_to_mean: 2.5, requests_per_s: 20}",
        ),
        (("sites", 0, "power_kw"), "unlimited", "power_kw: unlimited, power_basis"),
        (("offers", 0, "supply"), 3.0, "  - supply: 3\n    id: '\"><img"),
        (("sites", 0, "pue"), None, "pue: , cooling"),
    ],
)
def test_a_figure_is_replaced_in_place(path: Any, value: Any, line: str) -> None:
    text = set_value(SMALL, path, value)
    assert line in text
    before, after = yaml.safe_load(SMALL), yaml.safe_load(text)
    node = after
    for step in path[:-1]:
        node = node[step]
    assert node[path[-1]] == value
    kept = before
    for step in path[:-1]:
        kept = kept[step]
    kept[path[-1]] = value
    assert before == after  # nothing else has changed
    assert len(text.splitlines()) - len(SMALL.splitlines()) in (0, 1)


@pytest.mark.parametrize("evil", ["1}\nname: x", "a: b", "- x", "# y", "yes", "[1]", "'", '"'])
def test_what_is_typed_stays_one_value(evil: str) -> None:
    text = set_value(SMALL, ("sites", 0, "power_kw"), evil)
    assert yaml.safe_load(text)["sites"][0]["power_kw"] == evil


@pytest.mark.parametrize(
    "path", [("workloads",), ("workloads", 9, "id"), ("none", "x"), ("sites", 0)]
)
def test_what_is_no_figure_is_refused(path: Any) -> None:
    with pytest.raises(SchemaError, match="text view"):
        set_value(SMALL, path, 1.0)


def test_the_form_has_figures_with_their_units() -> None:
    found = {field.id: field for group in groups(yaml.safe_load(SMALL)) for field in group.fields}
    assert found["workloads[0].demand.requests_per_s"].unit == "requests/s"
    assert found["workloads[0].slos[0].limit_ms"].label == "TTFT p95"
    assert found["offers[0].price_usd_per_system"].value == "200000"
    assert "offers[0].price_usd_per_gpu_h" not in found  # what is bought has no price by the hour
    assert groups([1]) == [] and groups({"workloads": [3]}) == []
    assert without_ids("workloads[1] (id 'a').slos[0].limit_ms") == "workloads[1].slos[0].limit_ms"


def test_changes_are_what_differs() -> None:
    before, after = yaml.safe_load(SMALL), yaml.safe_load(SMALL)
    after["workloads"][0]["demand"]["requests_per_s"] = 14
    after["sites"][0]["racks"] = 3
    assert changes(before, before) == []
    assert changes(before, after) == [
        ("workloads[0].demand.requests_per_s", "20", "14"),
        ("sites[0].racks", "–", "3"),
    ]


# The server


@dataclass
class Running:
    """A page that is up."""

    address: str  # with the token
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def ask(
        self, method: str, path: str, headers: Json | None = None, body: Json | None = None
    ) -> tuple[int, str, Json]:
        """One request with exactly these headers: status, body, headers of the answer."""
        connection = http.client.HTTPConnection(
            self.host.split(":")[0], int(self.host.split(":")[1])
        )
        content = None if body is None else json.dumps(body).encode()
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if content is not None:
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        answer = connection.getresponse()
        found = (
            answer.status,
            answer.read().decode(),
            {k.lower(): v for k, v in answer.getheaders()},
        )
        connection.close()
        return found

    def own(self, **more: str) -> Json:
        """Headers of the page's own requests."""
        port = self.host.split(":")[1]
        cookie = f"tokenfleet_{port}={self.token}"
        return {"Host": self.host, "Origin": f"http://{self.host}", "Cookie": cookie, **more}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    file = tmp_path_factory.mktemp("ui") / "small.yaml"
    file.write_text(SMALL)
    command = [sys.executable, "-m", "tokenfleet", "ui", str(file), "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        yield Running(run.stdout.readline().strip(), run)
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == 0
        assert run.stderr is not None and "error" not in run.stderr.read()
    assert file.read_text() == SMALL  # the file is never written


def test_it_listens_on_this_machine_only(page: Running) -> None:
    assert page.host.startswith("127.0.0.1:")
    assert len(page.token) >= 32


@pytest.mark.parametrize(
    ("method", "path", "change"),
    [
        ("GET", "/", {"Cookie": ""}),
        ("GET", "/?token=wrong", {"Cookie": ""}),
        ("GET", "/", {"Cookie": "tokenfleet_PORT=wrong"}),
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/", {"Host": "evil.example:PORT"}),
        ("GET", "/events", {"Host": "127.0.0.1"}),
        ("GET", "/", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", "/solve", {"Origin": "http://evil.example"}),
        ("POST", "/solve", {"Origin": ""}),
        ("POST", "/solve", {"Origin": "null"}),
        ("POST", "/stop", {"Cookie": ""}),
        ("POST", "/draft", {"Origin": "https://127.0.0.1:PORT"}),
        ("PUT", "/draft", {"Origin": "http://evil.example"}),
        ("GET", "/plans/0/xlsx", {"Cookie": ""}),
    ],
)
def test_what_is_not_its_own_is_refused(
    page: Running, method: str, path: str, change: Json
) -> None:
    port = page.host.split(":")[1]
    headers = {**page.own(), **{k: v.replace("PORT", port) for k, v in change.items()}}
    status, text, _ = page.ask(method, path, headers, {"text": SMALL} if method != "GET" else None)
    assert status == 403 and text.startswith("refused:")
    assert SMALL[:20] not in text and page.token not in text


def test_a_request_without_an_origin_or_too_long_is_refused(page: Running) -> None:
    headers = page.own()
    del headers["Origin"]
    assert page.ask("POST", "/solve", headers, {"text": SMALL})[0] == 403
    long = {**page.own(), "Content-Length": str(10**9)}
    assert page.ask("POST", "/check", long)[0] == 403


def test_its_own_requests_are_answered_under_a_policy(page: Running) -> None:
    status, _, headers = page.ask("GET", f"/?token={page.token}", {"Host": page.host})
    assert status == 303 and headers["location"] == "/"
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=strict" in headers["set-cookie"]
    status, text, headers = page.ask("GET", "/", page.own())
    assert status == 200 and page.token not in text
    assert "<script>alert" not in text and "<img" not in text
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert page.ask("GET", "/plans/99", page.own())[0] == 404
    assert page.ask("GET", "/plans/0/%2e%2e%2fsmall.yaml", page.own())[0] == 404


def test_faults_come_with_their_place(page: Running) -> None:
    path = ["workloads", 0, "slos", 0, "limit_ms"]
    body = {"text": SMALL, "path": path, "value": "-5"}
    found = json.loads(page.ask("POST", "/edit", page.own(), body)[1])
    assert [fault["place"] for fault in found["faults"]] == ["workloads[0].slos[0].limit_ms"]
    assert "greater than 0" in found["faults"][0]["message"]
    broken = json.loads(page.ask("POST", "/check", page.own(), {"text": "a: [1"})[1])
    assert broken["faults"] and broken["form"] == ""


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.is_file():
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


def overflow(tab: Any) -> int:
    return int(tab.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@dataclass
class Tab:
    """One tab, on which the walk below goes through the page."""

    of: Any
    told: list[str]  # by the console
    asked: list[str]  # addresses


@pytest.fixture
def tab(page: Running, browser: Any) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    found = Tab(context.new_page(), [], [])
    found.of.on("console", lambda message: found.told.append(message.text))
    found.of.on("pageerror", lambda error: found.told.append(str(error)))
    found.of.on("request", lambda request: found.asked.append(request.url))
    found.of.goto(page.address)
    found.of.wait_for_selector("#solve:not([disabled])")
    yield found
    assert found.told == []
    assert all(urlsplit(url).netloc == page.host for url in found.asked)
    context.close()


def change(tab: Tab, name: str, value: str) -> None:
    """Types a figure and waits until it has been judged."""
    with tab.of.expect_response("**/edit"):
        tab.of.locator(f"[name='{name}']").fill(value)


def solve(tab: Tab, until: str) -> None:
    tab.of.wait_for_selector("#solve:not([disabled])")
    tab.of.click("#solve")
    tab.of.wait_for_selector(until)


def it_is_edited_and_solved(tab: Tab) -> None:
    assert "token" not in tab.of.url
    solve(tab, ".tiles")
    assert tab.of.locator(".pill").inner_text().startswith("proven")


def a_fault_is_shown_at_its_figure(tab: Tab) -> None:
    change(tab, "workloads[0].slos[0].limit_ms", "-5")
    tab.of.wait_for_selector("input.wrong")
    assert tab.of.locator("#solve").is_disabled()
    assert "greater than 0" in tab.of.locator("#faults").inner_text()
    change(tab, "workloads[0].slos[0].limit_ms", "1000")
    tab.of.wait_for_selector("#solve:not([disabled])")
    assert tab.of.locator("input.wrong").count() == 0


def plans_are_compared(tab: Tab) -> None:
    change(tab, "workloads[0].demand.requests_per_s", "60")
    tab.of.wait_for_selector("input.changed")
    solve(tab, ".changes")
    changes = tab.of.locator(".changes").inner_text()
    assert changes == "Requests, mean of chat workloads[0].demand.requests_per_s: 20 → 60"
    more = yaml.safe_load(SMALL.replace("requests_per_s: 20", "requests_per_s: 60"))
    assert f"${optimize_fleet(more).annual_cost_usd:,.0f}" in tab.of.locator(".tiles").inner_text()
    names = [button.inner_text() for button in tab.of.locator("#plan nav button").all()]
    assert names == ["Plan 1: as given", "Plan 2: 1 change"]


def files_are_downloaded(tab: Tab, tmp_path: Path) -> None:
    for name, begins in (("xlsx", b"PK"), ("json", b"{"), ("yaml", b"name:")):
        with tab.of.expect_download() as download:
            tab.of.locator(f".files a[href$='/{name}']").click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        assert file.read_bytes().startswith(begins)
    assert Plan.load(tmp_path / "plan-2.json").systems[0].count > 1
    with tab.of.expect_download() as download:
        tab.of.click("#save")
    download.value.save_as(tmp_path / "saved.yaml")
    assert "requests_per_s: 60}   # what we sell today" in (tmp_path / "saved.yaml").read_text()


def nothing_is_wider_than_the_screen(tab: Tab, width: int) -> None:
    tab.of.set_viewport_size({"width": width, "height": 844})
    for view in ("#as-text", "#as-form"):
        tab.of.click(view)
        wider = "document.documentElement.scrollWidth - window.innerWidth"
        assert tab.of.evaluate(wider) <= 0


def no_plan_says_what_is_in_the_way(tab: Tab) -> None:
    change(tab, "sites[0].power_kw", "10")
    solve(tab, "[role=alert]")
    said = tab.of.locator("[role=alert]").inner_text()
    assert "No plan meets every requirement" in said and "power" in said.lower()
    assert tab.of.locator("[role=alert] ol > li").count() >= 1


def a_stop_keeps_the_best_plan(tab: Tab, page: Running) -> None:
    tab.of.click("#as-text")
    with tab.of.expect_response("**/check"):
        tab.of.locator("#text").fill(hard())
    tab.of.wait_for_selector("#solve:not([disabled])")
    tab.of.click("#solve")
    tab.of.get_by_text("Choosing the mix").wait_for()
    tab.of.wait_for_timeout(1500)
    assert page.ask("POST", "/solve", page.own(), {"text": SMALL})[0] == 409
    tab.of.click("#stop")
    tab.of.get_by_text("Plan 3").wait_for()
    assert tab.of.locator(".pill").inner_text().startswith("interrupted")


def it_stays_small(page: Running) -> None:
    status = Path(f"/proc/{page.process.pid}/status")
    if status.is_file():  # not on every system
        kb = int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])
        assert kb < 100_000, kb  # 69 MB alone; what loads the solver runs in a child process


def it_is_accessible(page: Running, browser: Any, scheme: str, width: int) -> None:
    axe = import_module("axe_playwright_python.sync_playwright")
    look = {"width": width, "height": 844}
    context = browser.new_context(viewport=look, color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(PATIENCE_MS)
    other = context.new_page()
    other.goto(page.address)
    other.wait_for_selector("#solve:not([disabled])")
    fill = "answer => { document.getElementById('plan').innerHTML = answer }"
    other.evaluate(fill, page.ask("GET", "/plans/1", page.own())[1])
    found = axe.Axe().run(other).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    context.close()


def test_a_walk_through_the_page(tab: Tab, page: Running, browser: Any, tmp_path: Path) -> None:
    """One test, because each step starts from the page that the one before it left."""
    it_is_edited_and_solved(tab)
    a_fault_is_shown_at_its_figure(tab)
    plans_are_compared(tab)
    files_are_downloaded(tab, tmp_path)
    for width in (1280, 390):
        nothing_is_wider_than_the_screen(tab, width)
    no_plan_says_what_is_in_the_way(tab)
    a_stop_keeps_the_best_plan(tab, page)
    it_stays_small(page)
    pytest.importorskip("axe_playwright_python.sync_playwright")
    for scheme, width in (("light", 1280), ("dark", 390)):
        it_is_accessible(page, browser, scheme, width)
