"""Who may talk to the page: this machine's browser, with the token of this start, from the page.

A web page of somebody else can make a browser send requests to 127.0.0.1. It cannot read the
token, cannot set the name that it was reached by (`Host`), and cannot hide where it comes from
(`Origin`); a request that fails any of the three is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 4 * 1024 * 1024  # of a request


class Guard:
    """Refuses every request but the page's own, and sets what answers may load and do."""

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str], policy: str) -> None:
        """`hosts` are the names with port that the page is reached by."""
        self.app, self.token, self.hosts = app, token, frozenset(hosts)
        self.headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }

    @property
    def cookie(self) -> str:
        """Name of the cookie; ports of one machine share cookies, so it has the port."""
        return f"tokenfleet_{min(self.hosts).rpartition(':')[2]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer = self._answer(Request(scope))
        await (answer or self.app)(scope, receive, self._sending(send))

    def _answer(self, request: Request) -> Response | None:
        """A refusal, or the page's address without the token; None: go on."""
        headers = request.headers
        if headers.get("host", "") not in self.hosts:
            return _refused("this page answers to 127.0.0.1 only")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return _refused("another page may not use this one")
        given = request.query_params.get("token")
        if request.method == "GET" and request.url.path == "/" and given is not None:
            return self._welcome() if self._is_token(given) else _refused("a wrong token")
        if not self._is_token(self._of_cookie(headers)):
            return _refused("open the address that tokenfleet printed, with its token")
        return None if request.method in ("GET", "HEAD") else self._of_post(headers)

    def _of_post(self, headers: Headers) -> Response | None:
        if headers.get("origin", "") not in {f"http://{host}" for host in self.hosts}:
            return _refused("a request that does not come from the page")
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            return _refused("a request without a length, or too long")
        return None

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _of_cookie(self, headers: Headers) -> str:
        try:
            jar: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return ""
        return jar[self.cookie].value if self.cookie in jar else ""

    def _welcome(self) -> Response:
        """The token goes from the address into a cookie that no script reads."""
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
        return answer

    def _sending(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
            await send(message)

        return sending


def _refused(why: str) -> Response:
    return PlainTextResponse(f"refused: {why}\n", status_code=403)
