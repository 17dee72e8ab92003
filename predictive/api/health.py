"""Liveness (the event loop runs) and readiness (requests can be answered)."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from lyo.predictive.api import examples
from lyo.predictive.api import schemas as s
from lyo.predictive.api.access.keys import Keys, NoKeysError
from lyo.predictive.api.documented import Responses, of_everything, shown
from lyo.predictive.api.outage import TAKES_NO_WRITES, why_away
from lyo.predictive.api.problems import RETRY_SECONDS
from lyo.predictive.head import HeadRoute
from lyo.storage.schema.revision import newest_revision, revision_of, takes_writes

router = APIRouter(
    tags=["Health"],
    route_class=HeadRoute,
    responses=of_everything(),
    generate_unique_id_function=lambda route: f"health_{route.name}",
)

CHECK_SECONDS: Final = 3.0
_ALIVE: Final = shown(200, examples.ALIVE)
_READY: Final[Responses] = shown(200, examples.READY) | {
    503: {
        "model": s.Health,
        **shown(503, examples.NOT_READY)[503],
        "description": "Not ready; `checks` says why.",
        "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
    }
}


class Readiness:
    """Checks whether requests can be answered now."""

    def __init__(self, engine: AsyncEngine, keys: Keys | None) -> None:
        self._engine, self._keys = engine, keys
        self._newest: str | None = None

    async def checks(self) -> list[s.Check]:
        """Each condition, whether it holds, and why."""
        return [*await self._database(), *await self._signing_keys()]

    async def _database(self) -> list[s.Check]:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(CHECK_SECONDS), self._engine.connect() as connection:
                writes = await takes_writes(connection)
                revision = await revision_of(connection)
        except (OSError, SQLAlchemyError) as error:
            why = why_away(error) or "The database cannot be used."
            return [s.Check(name="postgres", ok=False, why=why)]
        ms = (time.perf_counter() - began) * 1000
        why = f"answered in {ms:.0f} ms" if writes else TAKES_NO_WRITES
        return [s.Check(name="postgres", ok=writes, why=why), self._schema(revision)]

    def _schema(self, revision: str | None) -> s.Check:
        self._newest = self._newest or newest_revision()
        if revision == self._newest:
            return s.Check(name="schema", ok=True, why=f"at revision {revision}")
        have = "was never migrated" if revision is None else f"is at revision {revision}"
        return s.Check(name="schema", ok=False, why=f"{have}, not at {self._newest}: run `lyo migrate`")

    async def _signing_keys(self) -> list[s.Check]:
        if self._keys is None:
            return []
        try:
            if not self._keys.known:
                await self._keys.read()
        except NoKeysError:
            why = "The keys that sign tokens cannot be read; the log says why."
            return [s.Check(name="keys", ok=False, why=why)]
        return [s.Check(name="keys", ok=True, why=f"{self._keys.known} known")]


@router.get("/livez", summary="Is the process alive?", response_model=s.Health, responses=_ALIVE)
async def alive() -> Response:
    """Whether the event loop runs; restart the process if this does not answer."""
    began = time.perf_counter()
    await asyncio.sleep(0)
    taken = (time.perf_counter() - began) * 1000
    return _health(s.Health(status="alive", why=f"the event loop answered in {taken:.1f} ms"), 200)


@router.get("/readyz", summary="Can requests be answered?", response_model=s.Health, responses=_READY)
async def ready(request: Request) -> Response:
    """Whether Postgres takes writes, has the newest schema, and tokens can be checked."""
    readiness: Readiness = request.app.state.readiness
    checks = await readiness.checks()
    failed = [check for check in checks if not check.ok]
    if failed:
        why = "; ".join(f"{check.name}: {check.why}" for check in failed)
        return _health(s.Health(status="not ready", why=why, checks=checks), 503)
    return _health(s.Health(status="ready", why="all checks passed", checks=checks), 200)


def _health(health: s.Health, status: int) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status != 200:
        headers["Retry-After"] = str(RETRY_SECONDS)
    body: dict[str, Any] = health.model_dump(exclude_none=True)
    return Response(orjson.dumps(body), status, headers, "application/json")
