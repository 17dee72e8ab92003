"""The outermost ASGI layer of `lyo api`: security headers, the limit on bodies, an answer to every error."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lyo.predictive.api.problems import Problem, of, response
from lyo.streams import log

_log = log.logger("api")
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TRANSPORT_SECURITY: Final = "max-age=31536000; includeSubDomains"


class Guard:
    """Wraps an app.

    Args:
        app: the app.
        body_bytes: the largest body that is read.
        tls: clients reach the API over TLS, so answers demand it (HSTS).
    """

    def __init__(self, app: ASGIApp, body_bytes: int, *, tls: bool) -> None:
        self._app, self._limit = app, body_bytes
        self._headers = _HEADERS | ({"Strict-Transport-Security": _TRANSPORT_SECURITY} if tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._headers)
        try:
            self._check_length(scope)
            await self._app(scope, self._counted(receive), answer)
        except Exception as error:
            if answer.started:
                raise
            await response(_problem(error))(scope, receive, answer)

    def _check_length(self, scope: Scope) -> None:
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal():
            raise Problem(400, "The header Content-Length is not a number.")
        if int(length) > self._limit:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        """413, as the kind of error that FastAPI passes on from where it reads a body."""
        return HTTPException(413, f"The body is larger than {self._limit} bytes.", {"Connection": "close"})

    def _counted(self, receive: Receive) -> Receive:
        """Receive until the body is too large, whatever Content-Length says."""
        taken = 0

        async def counting() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self._limit:
                    raise self._too_large()
            return message

        return counting


class _Answer:
    """Sends an answer with our headers, except those that the app has set (a page has its own policy)."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers = send, headers
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)


def _problem(error: Exception) -> Problem:
    problem = of(error)
    if problem is not None:
        return problem
    _log.error("500: %s", type(error).__name__, exc_info=error)
    return Problem(500, "Something went wrong here; it has been logged.")
