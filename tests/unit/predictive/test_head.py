"""HEAD is answered as GET by the API, by a host of its router, and by the monitor."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from lyo.ops.monitor import app as monitor_app
from lyo.ops.monitor.monitor import Monitor
from lyo.predictive.api import routes
from lyo.predictive.api.app import create_app, openapi
from lyo.streams.settings import Settings
from tests.support.api.tokens import SECRET

SETTINGS = Settings(jwt_secret=SECRET, database_url="postgresql://postgres@127.0.0.1:1/nowhere")
GETS = [path.format(user_id=5) for path, operations in openapi()["paths"].items() if "get" in operations]


def host() -> FastAPI:
    app = FastAPI()
    app.include_router(routes.router, prefix="/api/v1")
    return app


@pytest.mark.parametrize(
    ("app", "paths"),
    [
        (create_app(SETTINGS), [*GETS, "/insights/5", "/openapi.json"]),
        (host(), [path for path in GETS if path.startswith("/api/")]),
        (
            monitor_app.create_app(Monitor(Settings())),
            ["/", "/ops", "/ops/live", "/ops/data.json", "/ops/letters/0/1", "/health", "/metrics"],
        ),
    ],
    ids=["api", "host", "monitor"],
)
async def test_head_has_status_and_type_of_get(app: FastAPI, paths: list[str]) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in paths:
            get, head = await client.get(path), await client.head(path)
            assert head.status_code == get.status_code != 405, path
            assert head.headers.get("content-type") == get.headers.get("content-type"), path
        refused = await client.put(paths[0])
    assert refused.status_code == 405


def test_openapi_lists_get_alone() -> None:
    assert GETS
    assert not any("head" in operations for operations in openapi()["paths"].values())
