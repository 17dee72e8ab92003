"""Keys from an address: fetched over HTTP when they are needed, kept while the address is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from lyo.streams.settings import Settings
from tests.support.api.client import BASE, ISSUER, serving
from tests.support.api.operations import problem
from tests.support.api.tokens import Issuer, bearer
from tests.support.learners.stored import LEARNER

pytestmark = pytest.mark.integration


class Publisher(ThreadingHTTPServer):
    """Publishes keys on a free port of this machine; `status` other than 200 stands for trouble."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys: list[Any] = ISSUER.jwks["keys"]
        self.status = 200
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks.json"


class _Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere.json")
        self.end_headers()
        self.wfile.write(json.dumps({"keys": self.server.keys}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    server = Publisher()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def of(api: Settings, publisher: Publisher, **more: Any) -> Settings:
    given = api.model_dump(exclude_unset=True, exclude={"jwt_jwks_file"})
    return Settings(**(given | {"jwt_jwks_url": publisher.url} | more))


async def ask(client: httpx.AsyncClient, issuer: Issuer = ISSUER) -> httpx.Response:
    return await client.get(f"{BASE}/plateaus", headers=bearer(issuer.token(sub=str(LEARNER))))


async def test_keys_are_fetched_once_for_many_at_the_same_time(api: Settings, publisher: Publisher) -> None:
    async with serving(of(api, publisher)) as client:
        answers = await asyncio.gather(*(ask(client) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert publisher.asked == ["/jwks.json"]
        publisher.status = 500
        assert (await ask(client)).status_code == 200


async def test_a_key_that_was_added_is_found(api: Settings, publisher: Publisher) -> None:
    successor = Issuer(suffix="2")
    async with serving(of(api, publisher, jwt_cooldown_seconds=0)) as client:
        assert (await ask(client)).status_code == 200
        assert problem(await ask(client, successor), 401)["detail"] == "The key is not known."
        publisher.keys = successor.jwks["keys"]
        assert (await ask(client, successor)).status_code == 200
        assert problem(await ask(client), 401)["detail"] == "The key is not known."


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_trouble_at_the_address_is_a_503_until_it_is_over(
    api: Settings, publisher: Publisher, status: int
) -> None:
    publisher.status = status
    async with serving(of(api, publisher, jwt_cooldown_seconds=0)) as client:
        problem(await ask(client), 503)
        assert (await client.get("/readyz")).status_code == 503
        assert set(publisher.asked) == {"/jwks.json"}, "redirects are not followed"
        publisher.status = 200
        assert (await client.get("/readyz")).status_code == 200
        assert (await ask(client)).status_code == 200
