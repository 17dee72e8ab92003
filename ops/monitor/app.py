"""The monitor's HTTP service: health and metrics for machines, the on-call page for people with a token."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lyo.ops.monitor import exported, quality
from lyo.ops.monitor.access import COOKIE, Access, Role
from lyo.ops.monitor.monitor import AWAY, Monitor
from lyo.ops.monitor.page import payloads, rendering
from lyo.ops.monitor.page.view import View, build
from lyo.ops.monitor.quality import Quality
from lyo.ops.monitor.snapshot import Snapshot
from lyo.predictive.head import HeadRoute
from lyo.streams.clock import Clock
from lyo.streams.log import logger
from lyo.streams.settings import Settings
from lyo.streams.topics import TopicError

LONGEST_FORM: Final = 8_192
SESSION_SECONDS: Final = 12 * 3_600
OLDEST_LOOK_SECONDS: Final = 30.0
STALE_SECONDS: Final = 15.0

log = logger("monitor")


def create_app(monitor: Monitor) -> FastAPI:
    """The service of a monitor, which looks as long as the service runs."""
    figures = quality.Looking(monitor.settings.database_url, Clock(monitor.settings.clock).now)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=_looking(monitor, figures))
    app.router.route_class = HeadRoute
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exported.Lag(lambda: monitor.newest))
    registry.register(quality.Success(lambda: figures.newest))
    ProcessCollector(registry=registry)
    _for_machines(app, monitor, registry)
    _Pages(monitor, lambda: figures.newest).add_to(app)
    app.middleware("http")(_guarded)
    return app


def _looking(
    monitor: Monitor, figures: quality.Looking
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = asyncio.create_task(monitor.run(stop), name="monitor")
        computing = asyncio.create_task(figures.run(stop), name="figures")
        try:
            yield
        finally:
            stop.set()
            await running
            computing.cancel()
            await asyncio.wait([computing])
            await monitor.close()

    return lifespan


async def _guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await call_next(request)
    for name, value in _headers().items():
        answer.headers.setdefault(name, value)
    return answer


def _headers() -> Mapping[str, str]:
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": rendering.policy(),
        "Cross-Origin-Resource-Policy": "same-origin",
        # With no-referrer a browser would send the page's own forms without an origin.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


# ------------------------------------------------------------ for machines


def _for_machines(app: FastAPI, monitor: Monitor, registry: CollectorRegistry) -> None:
    @app.get("/health")
    async def health() -> Response:
        """200 while looks are made, whatever they find; 503 if the newest is too old."""
        age = None if monitor.looked_at is None else time.monotonic() - monitor.looked_at
        limit = max(3 * monitor.settings.monitor_interval_seconds, OLDEST_LOOK_SECONDS)
        alive = age is not None and age <= limit
        why = "no look yet" if age is None else f"the newest look was made {age:.1f} s ago"
        return _json({"status": "alive" if alive else "not looking", "why": why}, 200 if alive else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Metrics for Prometheus, without data of learners."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


# ------------------------------------------------------------ for people


class _Pages:
    """The routes under ``/ops``."""

    def __init__(self, monitor: Monitor, figures: Callable[[], Quality | None]) -> None:
        self._monitor = monitor
        self._figures = figures
        self._settings: Settings = monitor.settings
        self._access = Access(monitor.settings)
        self._every_ms = round(max(self._settings.monitor_interval_seconds, 1.0) * 1000)

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        for path, methods, answer in (
            ("/", ["GET"], self._front),
            ("/ops", ["GET"], self.page),
            ("/ops/live", ["GET"], self.live),
            ("/ops/data.json", ["GET"], self.data),
            ("/ops/sign-in", ["POST"], self.sign_in),
            ("/ops/sign-out", ["POST"], self.sign_out),
            ("/ops/letters/{partition}/{offset}", ["GET"], self.dead_letter),
            ("/ops/letters/{partition}/{offset}/retry", ["POST"], self.retry),
        ):
            app.add_api_route(path, answer, methods=methods, response_model=None)

    async def _front(self) -> Response:
        return RedirectResponse("/ops", 303)

    async def page(self, request: Request) -> Response:
        """The page, or the sign-in form."""
        role = self._access.role(request)
        if role is None:
            body = rendering.sign_in(closed=not self._access.open, refused=False)
            return HTMLResponse(body, 401 if self._access.open else 403)
        if self._monitor.newest is None:
            return HTMLResponse(rendering.waiting(), 503, {"Retry-After": "2"})
        view = self._view()
        return HTMLResponse(rendering.page(view, operator=role >= Role.OPERATOR, every_ms=self._every_ms))

    async def live(self, request: Request) -> Response:
        """The current sections of the page."""
        role = self._role(request)
        view = self._view()
        return HTMLResponse(rendering.live(view, operator=role >= Role.OPERATOR))

    async def data(self, request: Request) -> Response:
        """The newest look as JSON; null means unknown."""
        self._role(request)
        return _json(self._snapshot())

    async def sign_in(self, request: Request) -> Response:
        """Exchange a token for a cookie."""
        self._same_site(request)
        role = self._access.of_token((await _form(request)).get("token", ""))
        if role is None:
            log.warning("sign-in refused")
            return HTMLResponse(rendering.sign_in(closed=not self._access.open, refused=True), 401)
        answer = RedirectResponse("/ops", 303)
        answer.set_cookie(
            COOKIE,
            self._access.cookie(role),
            max_age=SESSION_SECONDS,
            httponly=True,
            secure=self._settings.monitor_tls,
            samesite="strict",
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Delete the cookie."""
        self._same_site(request)
        answer = RedirectResponse("/ops", 303)
        answer.delete_cookie(COOKIE, httponly=True, secure=self._settings.monitor_tls, samesite="strict")
        return answer

    async def dead_letter(self, request: Request, partition: int, offset: int) -> Response:
        """A dead letter with its contents."""
        role = self._operator(request)
        payload = await self._read(partition, offset)
        log.info("dead letter shown partition=%d offset=%d", partition, offset)
        page = rendering.dead_letter(f"{partition}/{offset}", payload, form_key=self._access.form_key(role))
        return HTMLResponse(page)

    async def retry(self, request: Request, partition: int, offset: int) -> Response:
        """Send a dead letter's record again, if the form confirms it."""
        role = self._operator(request)
        self._same_site(request)
        form = await _form(request)
        if not self._access.is_form_key(role, form.get("form_key", "")):
            raise HTTPException(403, "The form is not one of this page's, or too old.")
        if form.get("confirm") != "yes":
            raise HTTPException(422, "Retrying has to be confirmed.")
        payload = await self._read(partition, offset)
        try:
            done, outcome = await payloads.retry(self._settings, payload)
        except AWAY as error:
            raise HTTPException(503, f"Kafka does not answer: {type(error).__name__}.") from None
        except TopicError as error:
            raise HTTPException(409, str(error)) from None
        log.info("dead letter retried partition=%d offset=%d outcome=%s", partition, offset, outcome)
        page = rendering.dead_letter(
            f"{partition}/{offset}", payload, form_key=self._access.form_key(role), outcome=outcome, done=done
        )
        return HTMLResponse(page)

    async def _read(self, partition: int, offset: int) -> payloads.Payload:
        try:
            payload = await payloads.read(self._settings, partition, offset)
        except AWAY:
            raise HTTPException(503, "Kafka does not answer.") from None
        if payload is None:
            raise HTTPException(404, "There is no such dead letter.")
        return payload

    def _view(self) -> View:
        return build(self._snapshot(), self._monitor.history, self._figures(), self._stale_seconds())

    def _stale_seconds(self) -> float | None:
        """The age of the newest look, if it is too old; else None."""
        age = time.monotonic() - (self._monitor.looked_at or 0.0)
        return age if age > max(5 * self._settings.monitor_interval_seconds, STALE_SECONDS) else None

    def _snapshot(self) -> Snapshot:
        if self._monitor.newest is None:
            raise HTTPException(503, "The first look is not over yet.", {"Retry-After": "2"})
        return self._monitor.newest

    def _role(self, request: Request) -> Role:
        role = self._access.role(request)
        if role is None:
            raise HTTPException(401, "No token, or a wrong one.", {"WWW-Authenticate": "Bearer"})
        return role

    def _operator(self, request: Request) -> Role:
        role = self._role(request)
        if role < Role.OPERATOR:
            raise HTTPException(403, "Contents of dead letters are for operators.")
        return role

    def _same_site(self, request: Request) -> None:
        """Refuse a form that was sent by another site's page."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "The form was sent by another site.")


async def _form(request: Request) -> dict[str, str]:
    """The first value of each field of a form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, "The form is too large.")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
