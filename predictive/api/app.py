"""The HTTP service `lyo api`: the router with sessions, sign-in, limits and health around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from lyo.predictive.api import health, learner_page, routes
from lyo.predictive.api.access.auth import KeyMissingError, Verifier
from lyo.predictive.api.access.caller import Caller
from lyo.predictive.api.access.keys import from_settings
from lyo.predictive.api.access.limits import RateLimit
from lyo.predictive.api.access.middleware import Guard
from lyo.predictive.api.documented import with_shared_problem, with_whole_examples
from lyo.predictive.api.error_handlers import HEADERS_KEY
from lyo.predictive.api.problems import Problem, of, response
from lyo.predictive.api.request_metrics import Measured, Running
from lyo.predictive.api.service import Service, configure
from lyo.predictive.page.routes import token_of
from lyo.storage import database
from lyo.streams.clock import Clock
from lyo.streams.settings import Settings, describe
from lyo.streams.topics import Names

PREFIX: Final = "/api/v1"
_CONNECT_SECONDS: Final = 3.0


def create_app(settings: Settings) -> FastAPI:
    """The service; it connects to nothing before its first request.

    Raises:
        lyo.predictive.api.access.auth.KeyMissingError: no setting says how tokens are checked.
    """
    keys = from_settings(settings)
    verifier = Verifier(settings, keys)
    engine = open_engine(settings)
    app = bare_app(_closing(engine))
    app.include_router(learner_page.router())
    configure(app, _service(settings, engine, verifier))
    app.state.readiness = health.Readiness(engine, keys)
    if settings.api_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api_cors_origins.split(","),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After"],
        )
    app.add_middleware(Guard, body_bytes=settings.api_body_bytes, tls=settings.api_tls)
    app.state.running = Running(engine)
    app.add_middleware(Measured, running=app.state.running)
    return app


def bare_app(lifespan: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """An app with all operations and nothing behind them, as OpenAPI describes them."""
    app = _Documented(
        title="Lyo Predictive Intelligence",
        version="1.0.0",
        description="Predictions about learners, computed from their activity for the moment of the request.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.include_router(routes.router, prefix=PREFIX)
    app.include_router(health.router)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    return app


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, built once."""
        if not self.openapi_schema:
            self.openapi_schema = with_whole_examples(with_shared_problem(super().openapi()))
        return self.openapi_schema


def openapi() -> dict[str, Any]:
    """The OpenAPI document; needs no settings."""
    return bare_app().openapi()


def service_of_environment() -> Service:
    """The dependencies that the environment describes, for a host that configures none.

    Raises:
        Problem: 500, naming the setting that is missing or cannot be used.
    """
    try:
        settings = Settings()
        verifier = Verifier(settings, from_settings(settings))
    except ValidationError as error:
        raise Problem(500, f"The setting {describe(error)}") from None
    except KeyMissingError as error:
        raise Problem(500, f"There is {error}.") from None
    return _service(settings, open_engine(settings), verifier)


def open_engine(settings: Settings) -> AsyncEngine:
    """The connection pool; a pooled connection that has broken is replaced before it is used."""
    seconds = settings.api_statement_seconds
    engine = database.engine(
        settings.database_url,
        pool_size=settings.api_connections,
        max_overflow=0,
        pool_timeout=seconds,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": seconds + 1,
            "server_settings": {
                "application_name": "lyo api",
                "timezone": "UTC",
                "jit": "off",
                "statement_timeout": str(round(seconds * 1000)),
                # A process frozen in a transaction would hold rows that the sink waits for.
                "idle_in_transaction_session_timeout": str(round(2 * seconds * 1000)),
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _replace_if_closed)
    return engine


def _replace_if_closed(connection: Any, *_: Any) -> None:
    """Discard a closed connection. Cheaper than a ping: asyncpg knows that the server has closed it."""
    driver: asyncpg.Connection = connection.driver_connection
    if driver.is_closed():
        raise InvalidatePoolError


def _service(settings: Settings, engine: AsyncEngine, verifier: Verifier) -> Service:
    return Service(
        sessions=async_sessionmaker(engine, expire_on_commit=False),
        sign_in=_sign_in(settings, verifier),
        clock=Clock(settings.clock).now,
        names=Names(settings.topic_prefix),
    )


def _sign_in(settings: Settings, verifier: Verifier) -> Callable[[Request], Awaitable[Caller]]:
    learners, services = RateLimit(settings.api_rate_limit), RateLimit(settings.api_service_rate_limit)

    async def sign_in(request: Request) -> Caller:
        # Cookies are accepted for pages only, which change nothing: so no other site can forge a request.
        opens_page = request.url.path.startswith(learner_page.PATH)
        caller = await verifier.caller(
            token_of(request) if opens_page else request.headers.get("authorization")
        )
        limit = services if caller.service else learners
        request.scope[HEADERS_KEY] = limit.count(caller.name)
        return caller

    return sign_in


def _closing(engine: AsyncEngine) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await engine.dispose()

    return lifespan


async def _answer(_: Request, error: Exception) -> Response:
    return response(of(error) or Problem(500, "Something went wrong here."))
