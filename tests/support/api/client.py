"""The API as tests call it: in this process without a socket, or as a `lyo api` process."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from lyo.predictive.api.app import create_app
from lyo.streams.settings import Settings
from tests.support.api.tokens import Issuer
from tests.support.learners.stored import NOW
from tests.support.processes import process, wait_for

BASE = "/api/v1/predictive"
ISSUER = Issuer()


def rfc(at: int) -> str:
    """The instant as RFC 3339."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).isoformat()


def api_settings(database_url: str, jwks: Path, **more: Any) -> Settings:
    """Settings of an API whose clock stands at `NOW`, with the keys of `ISSUER` in a file."""
    jwks.write_text(json.dumps(ISSUER.jwks))
    given: dict[str, Any] = {
        "database_url": database_url,
        "clock": rfc(NOW),
        "jwt_jwks_file": str(jwks),
        "api_port": 0,
    }
    return Settings(**(given | more))


@asynccontextmanager
async def client_of(app: FastAPI, address: str = "http://api") -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app in this process; what the app raises is the test's error."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=address) as client,
    ):
        yield client


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The service in this process."""
    async with client_of(create_app(settings)) as client:
        yield client


@asynccontextmanager
async def api_process(environment: dict[str, str], log: Path) -> AsyncIterator[tuple[str, Any]]:
    """A `lyo api` process: its address and the process."""
    async with process("api", environment, log) as child:

        async def listening() -> bool:
            assert child.poll() is None
            return address_in(log) is not None

        await wait_for(listening, "the API listens")
        yield address_in(log) or "", child


def address_in(log: Path) -> str | None:
    """The address that the process wrote into its log."""
    found = re.search(r"listening on (http://\S+)\n", log.read_text())
    return None if found is None else found[1]
