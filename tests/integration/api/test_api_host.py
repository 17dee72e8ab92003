"""The router in somebody else's app, included as the specification's app factory does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from lyo.predictive.api.access.caller import Caller
from lyo.predictive.api.problems import Problem
from lyo.predictive.api.routes import router as predictive_router
from lyo.predictive.api.service import Service, configure
from lyo.storage import database
from lyo.streams.settings import Settings
from tests.support.api.client import BASE, ISSUER, client_of, serving
from tests.support.api.operations import OPERATIONS, ask, problem
from tests.support.learners.stored import LEARNER, NOW, OTHER_LEARNER, TENANT

pytestmark = pytest.mark.integration


@pytest.fixture
async def engine(api: Settings) -> AsyncIterator[AsyncEngine]:
    made = database.engine(api.database_url)
    yield made
    await made.dispose()


def host() -> FastAPI:
    """The specification's app factory."""
    app = FastAPI()
    for router, prefix, tag in [(predictive_router, "/api/v1", "Predictive Intelligence")]:
        app.include_router(router, prefix=prefix, tags=[tag])
    return app


async def test_a_host_that_configures_the_router_gives_the_same_answers(
    api: Settings, engine: AsyncEngine
) -> None:
    app = host()

    async def signed_in(_: object) -> Caller:
        return Caller("anybody", LEARNER, TENANT)

    configure(app, Service(async_sessionmaker(engine), signed_in, clock=lambda: NOW))
    async with client_of(app) as client, serving(api) as ours:
        for method, path in OPERATIONS:
            if method == "GET":
                answer = await ask(client, method, path)
                assert answer.status_code == 200, answer.text
                assert answer.headers["cache-control"] == "no-store"
                same = await ask(ours, method, path, ISSUER.learner(LEARNER, TENANT))
                assert answer.json() == same.json()


async def test_a_host_that_configures_the_router_takes_what_is_recorded(engine: AsyncEngine) -> None:
    app, asked = host(), []

    async def signed_in(request: Request) -> Caller:
        asked.append((request.method, request.url.path))
        return Caller("anybody", LEARNER, TENANT)

    configure(app, Service(async_sessionmaker(engine), signed_in))
    async with client_of(app) as client:
        for method, path in OPERATIONS:
            answer = await ask(client, method, path)
            assert answer.status_code in {200, 202}, answer.text
            assert asked == [(method, answer.url.path)], "each request is signed in once"
            asked.clear()
        problem(await ask(client, "GET", "/insights", user=OTHER_LEARNER), 403)


async def test_errors_of_the_router_are_problems_in_a_host_too(engine: AsyncEngine) -> None:
    app = host()

    async def nobody(_: object) -> Caller:
        raise Problem(401, "Sign in first.", headers={"WWW-Authenticate": "Session"})

    configure(app, Service(async_sessionmaker(engine), nobody))
    async with client_of(app) as client:
        response = await client.get(f"{BASE}/insights")
        assert problem(response, 401)["detail"] == "Sign in first."
        assert response.headers["www-authenticate"] == "Session"
        response = await client.post(f"{BASE}/struggle/predict", content=b"x")
        assert problem(response, 401)["detail"] == "Sign in first."
    schema = app.openapi()["paths"][f"{BASE}/insights"]["get"]["responses"]
    assert "properties" in schema["422"]["content"]["application/problem+json"]["schema"]


async def test_a_host_that_only_includes_the_router_is_served_by_the_environment(
    api: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("database_url", "jwt_jwks_file", "clock"):
        monkeypatch.setenv(f"LYO_{name.upper()}", str(getattr(api, name)))
    app = host()
    async with client_of(app) as client, serving(api) as ours:
        for path in ("/dropout/risk", "/insights"):
            by_learner = ISSUER.learner(LEARNER, TENANT)
            answer = await ask(client, "GET", path, by_learner)
            assert answer.status_code == 200, answer.text
            assert answer.json() == (await ask(ours, "GET", path, by_learner)).json()
        problem(await client.get(f"{BASE}/dropout/risk"), 401)
    await app.state.predictive.sessions.kw["bind"].dispose()


@pytest.mark.parametrize(
    ("variables", "named"),
    [({}, "LYO_JWT_JWKS_URL"), ({"LYO_DATABASE_URL": "mysql://secret"}, "LYO_DATABASE_URL")],
)
async def test_what_a_host_has_not_set_is_a_problem_that_names_it(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with client_of(host()) as client:
        for _ in range(2):
            detail = problem(await client.get(f"{BASE}/insights"), 500)["detail"]
            assert named in detail
            assert "secret" not in detail.replace("LYO_JWT_SECRET", "")
