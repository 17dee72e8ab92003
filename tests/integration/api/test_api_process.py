"""`lyo api` as a process: start, stop, and what it does while Postgres is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import make_url

from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import downgrade, upgrade
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalPostgres
from tests.support.api.client import BASE, ISSUER, api_process, api_settings, serving
from tests.support.api.operations import OPERATIONS, ask, problem
from tests.support.api.tokens import SECRET
from tests.support.learners.stored import LEARNER, TENANT, fill, known
from tests.support.processes import ROOT, Environment, wait_for

pytestmark = pytest.mark.integration

HEADERS = ISSUER.learner(LEARNER, TENANT)
CHECKS = ("postgres", "schema", "keys")
WRITING = ("/outcomes", "/struggle/predict", "/struggle/record-outcome", "/learners/{user_id}")


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", "api"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def health(client: httpx.AsyncClient, address: str, status: int) -> dict[str, Any]:
    response = await client.get(address)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    assert found["why"]
    return found


async def execute(database_url: str, sql: str) -> None:
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


# -- starting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({}, 1, "no key to check tokens with: set LYO_JWT_JWKS_URL or LYO_JWT_JWKS_FILE"),
        ({"LYO_JWT_SECRET": "short"}, 2, "LYO_JWT_SECRET: has fewer than 32 bytes"),
        ({"LYO_JWT_JWKS_FILE": "/nowhere/keys.json"}, 1, "LYO_JWT_JWKS_FILE: cannot read /nowhere/keys.json"),
        ({"LYO_JWT_SECRET": SECRET, "LYO_API_PORT": "x"}, 2, "LYO_API_PORT"),
    ],
)
def test_it_refuses_to_start_with_one_line(given: dict[str, str], code: int, says: str) -> None:
    done = run(os.environ | given)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert given.get("LYO_JWT_SECRET", "\0") not in done.stderr


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(os.environ | {"LYO_JWT_SECRET": SECRET, "LYO_API_PORT": str(port)})
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- stopping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_finishes_what_it_has_begun_and_ends_with_nothing_wrong(
    api: Settings, environment: Environment, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "api.log"
    body = json.dumps({"content_id": "lesson", "struggled": True}).encode()
    async with api_process(environment(api), log) as (address, child):
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {BASE}/struggle/record-outcome HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Authorization: {HEADERS['Authorization']}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body[:10])
        await writer.drain()
        async with httpx.AsyncClient(base_url=address) as client:
            assert (await client.get("/livez")).status_code == 200
        child.send_signal(number)

        async def closed() -> bool:
            try:
                _, another = await asyncio.open_connection(host, int(port))
            except ConnectionRefusedError:
                return True
            another.close()
            return False

        await wait_for(closed, "no new connections are taken")
        assert child.poll() is None, "it waits for the request under way"
        writer.write(body[10:])
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 OK"), answer
        assert await asyncio.to_thread(child.wait, 30) == 0
    assert "stopped" in log.read_text()


async def test_a_request_that_never_ends_does_not_keep_it(
    api: Settings, environment: Environment, tmp_path: Path
) -> None:
    settings = Settings(**(api.model_dump(exclude_unset=True) | {"api_drain_seconds": 1}))
    async with api_process(environment(settings), tmp_path / "api.log") as (address, child):
        host, port = address.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {BASE}/timing/check HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n".encode())
        writer.write(f"Authorization: {HEADERS['Authorization']}\r\n".encode())
        writer.write(b"Content-Type: application/json\r\n\r\n")
        await writer.drain()
        async with httpx.AsyncClient(base_url=address) as client:
            assert (await client.get("/livez")).status_code == 200
        child.terminate()
        assert await asyncio.to_thread(child.wait, 30) == 0
        writer.close()


# -- what it says ------------------------------------------------------------------------------------------


async def test_the_log_holds_nothing_of_learners_or_tokens(
    api: Settings, environment: Environment, tmp_path: Path
) -> None:
    log = tmp_path / "api.log"
    async with (
        api_process(environment(api), log) as (address, _),
        httpx.AsyncClient(base_url=address) as client,
    ):
        for method, path in OPERATIONS:
            assert (await ask(client, method, path, HEADERS)).status_code in {200, 202}
            assert (await ask(client, method, path, ISSUER.service(TENANT), LEARNER)).is_success
            problem(await ask(client, method, path, HEADERS, 2), 403)
            problem(await ask(client, method, path), 401)
    lines = log.read_text().splitlines()
    assert len(lines) == 2 * len(OPERATIONS) + 2
    for line in lines:
        assert str(LEARNER) not in line.partition(" lyo.")[2].replace(address, "")
        assert "lesson" not in line
        assert HEADERS["Authorization"][10:] not in line


# -- readiness ---------------------------------------------------------------------------------------------


async def test_readiness_says_why(api: Settings, database_url: str, tmp_path: Path) -> None:
    async with serving(api) as client:
        found = await health(client, "/readyz", 200)
        assert [(check["name"], check["ok"]) for check in found["checks"]] == [(n, True) for n in CHECKS]
        assert (await health(client, "/livez", 200))["status"] == "alive"
    async with serving(api_settings(database_url, tmp_path / "keys")) as client:
        found = await health(client, "/readyz", 503)
        assert "schema: was never migrated, not at phase2_" in found["why"]
        assert "lyo migrate" in found["why"]
        response = await client.get(f"{BASE}/insights", headers=HEADERS)
        assert problem(response, 503)["detail"].endswith("run `lyo migrate`.")
        await asyncio.to_thread(upgrade, database_url)
        await health(client, "/readyz", 200)
        await asyncio.to_thread(downgrade, database_url)
        await health(client, "/readyz", 503)


async def test_where_postgres_takes_no_writes_only_they_are_refused_and_it_is_not_ready(
    database_url: str, unique: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(upgrade, database_url)
    await execute(database_url, f"ALTER DATABASE {unique} SET default_transaction_read_only = on")
    async with serving(api_settings(database_url, tmp_path / "jwks.json")) as client:
        for method, path in OPERATIONS:
            response = await ask(client, method, path, HEADERS)
            if path in WRITING and method != "GET":
                assert problem(response, 503)["detail"] == "The database takes no writes now."
                assert int(response.headers["retry-after"]) > 0
            else:
                assert response.status_code == 200, response.text
        found = await health(client, "/readyz", 503)
        assert found["why"] == "postgres: The database takes no writes now."


async def test_a_role_without_privileges_is_told_of_and_it_is_not_ready(
    database_url: str, unique: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(upgrade, database_url)
    await execute(database_url, f"CREATE ROLE {unique}")
    try:
        as_role = make_url(database_url).update_query_dict({"role": unique})
        url = as_role.render_as_string(hide_password=False)
        async with serving(api_settings(url, tmp_path / "jwks.json")) as client:
            for method, path in OPERATIONS:
                response = await ask(client, method, path, HEADERS)
                assert "lacks a privilege" in problem(response, 503)["detail"]
            assert "lacks a privilege" in (await health(client, "/readyz", 503))["why"]
    finally:
        await execute(database_url, f"DROP ROLE {unique}")


async def test_without_keys_it_is_alive_and_not_ready(api: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    given = api.model_dump(exclude_unset=True) | {"jwt_jwks_file": str(broken)}
    async with serving(Settings(**given)) as client:
        assert "keys: " in (await health(client, "/readyz", 503))["why"]
        assert (await health(client, "/livez", 200))["status"] == "alive"
        problem(await client.get(f"{BASE}/insights", headers=HEADERS), 503)


# -- Postgres goes away ------------------------------------------------------------------------------------


async def test_while_postgres_is_away_it_says_when_to_come_again_and_recovers_by_itself(
    own_postgres: LocalPostgres, environment: Environment, tmp_path: Path
) -> None:
    url = own_postgres.database_url
    await fill(url, known())
    settings = api_settings(url, tmp_path / "jwks.json", api_connections=3)
    async with (
        api_process(environment(settings), tmp_path / "api.log") as (address, child),
        httpx.AsyncClient(base_url=address, timeout=30) as client,
    ):
        everything = [partial(ask, client, method, path, HEADERS) for method, path in OPERATIONS]
        for one in everything:
            assert (await one()).is_success
        # All connections of the pool, so that each is found broken afterwards.
        await asyncio.gather(*(one() for one in everything * 2))
        for stop in (own_postgres.stop, own_postgres.kill):
            await asyncio.to_thread(stop)
            for one in everything:
                response = await one()
                problem(response, 503)
                assert int(response.headers["retry-after"]) > 0
            assert (
                "postgres: The database cannot be reached." in (await health(client, "/readyz", 503))["why"]
            )
            await health(client, "/livez", 200)
            problem(await client.get(f"{BASE}/insights"), 401)
            problem(await ask(client, "GET", "/insights", HEADERS, LEARNER + 1), 403)
            await asyncio.to_thread(own_postgres.start)

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await wait_for(ready, "it is ready again")
            for one in everything:
                response = await one()
                assert response.is_success, response.text
        assert child.poll() is None


async def test_a_restart_that_nobody_noticed_costs_no_request(
    own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    url = own_postgres.database_url
    await fill(url, known())
    async with serving(api_settings(url, tmp_path / "jwks.json")) as client:
        assert (await ask(client, "GET", "/insights", HEADERS)).status_code == 200
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
        assert (await ask(client, "GET", "/insights", HEADERS)).status_code == 200


async def test_a_statement_that_takes_too_long_is_given_up(api: Settings) -> None:
    settings = Settings(**(api.model_dump(exclude_unset=True) | {"api_statement_seconds": 0.5}))
    connection = await asyncpg.connect(api.database_url)
    try:
        async with connection.transaction(), serving(settings) as client:
            await connection.execute("LOCK TABLE learner_rows")
            response = await ask(client, "GET", "/insights", HEADERS)
            assert problem(response, 503)["detail"] == "The database took too long to answer."
        async with serving(settings) as client:
            assert (await ask(client, "GET", "/insights", HEADERS)).status_code == 200
    finally:
        await connection.close()
