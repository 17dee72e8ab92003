"""The API's metrics. Requests are counted by the route's template: paths hold learners' ids."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lyo.streams.metrics import REQUEST_SECONDS, REQUESTS, Sample

UNMATCHED: Final = "unmatched"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Running:
    """The number of running requests, and their connection pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.requests = 0
        self._engine = engine

    def samples(self) -> Iterator[Sample]:
        """Samples for Prometheus; may be called from any thread."""
        yield Sample("lyo_api_requests_running", self.requests)
        pool = self._engine.pool
        if isinstance(pool, QueuePool):
            yield Sample("lyo_api_connections", pool.checkedout(), ("held",))
            yield Sample("lyo_api_connections", pool.checkedin(), ("idle",))


class Measured:
    """Wraps an app; counts and times its answers."""

    def __init__(self, app: ASGIApp, running: Running) -> None:
        self._app, self._running = app, running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = "none", time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        self._running.requests += 1
        try:
            await self._app(scope, receive, sending)
        finally:
            self._running.requests -= 1
            route = template(scope.get("route"))
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUESTS.labels(method, route, status).inc()
            REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)


def template(route: Any) -> str:
    """The path template of a route, without the app's prefix: ``/predictive/plateaus``."""
    return str(getattr(route, "path", UNMATCHED))
