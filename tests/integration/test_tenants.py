"""What a tenant may have erased of learners who are not known to be the tenant's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.zones import DAY, HOUR
from predictive import answers
from storage.times import instant
from tests.integration.stored_learners import World, world_in
from tests.integration.test_api_access import OPERATIONS, ask, problem
from tests.support.api import ISSUER, api_settings, serving
from tests.support.stored import NOW
from tests.support.tokens import bearer
from tests.unit.building import completion, session

pytestmark = pytest.mark.integration

MINE, FREE, NOBODY = 1, 3, 9
ERASING = [(method, path) for method, path in OPERATIONS if "{user_id}" in path]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Learner 1 of organization 7, learner 3 of none."""
    async with world_in(database_url) as made:
        days = range(1, 20)
        await made.feed(session(MINE, NOW - day * DAY, organization_id=7) for day in days)
        await made.feed(session(FREE, NOW - day * DAY) for day in days)
        await made.feed(completion(FREE, NOW - day * DAY + HOUR, "calc", score=0.1) for day in days)
        yield made


@pytest.fixture
def api(world: World, database_url: str, tmp_path: Path) -> Any:
    """Opens a client of the API on that world's database."""

    @asynccontextmanager
    async def opened(**more: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(api_settings(database_url, tmp_path / "jwks.json", **more)) as client:
            yield client

    return opened


async def asked_to_erase(world: World) -> list[int]:
    """Whose erasures wait in the outbox."""
    rows = await world.rows("SELECT value FROM outbox WHERE topic LIKE '%erasures' ORDER BY id")
    return [json.loads(value)["user_id"] for (value,) in rows]


# -- erasure -----------------------------------------------------------------------------------------------


async def test_a_tenant_has_only_learners_erased_whose_rows_name_it(world: World, api: Any) -> None:
    async with api() as client:
        for user in (FREE, NOBODY):
            for method, path in ERASING:
                found = problem(await ask(client, method, path, ISSUER.service(7), user), 404)
                assert "organization_id" in found["detail"]
        assert await asked_to_erase(world) == []
        for method, path in ERASING:
            answer = await ask(client, method, path, ISSUER.service(7), MINE)
            assert (answer.status_code, answer.json()["status"]) in ((202, "requested"), (200, "requested"))
            assert answer.json()["remaining"]["learner_rows"] == 1
    assert await asked_to_erase(world) == [MINE]


async def test_learners_and_those_who_may_see_all_have_anyone_erased(world: World, api: Any) -> None:
    everyone = bearer(ISSUER.token(sub="backend", roles=["service"]))
    async with api(jwt_single_tenant=True) as client:
        for user in (FREE, NOBODY):
            for method, path in ERASING:
                for headers in (ISSUER.learner(user, 7), everyone):
                    answer = await ask(client, method, path, headers, user)
                    assert answer.is_success, answer.text
                    assert answer.json()["remaining"].get("learner_rows", 0) == (user == FREE)
    assert set(await asked_to_erase(world)) == {FREE, NOBODY}


async def test_the_tenant_is_told_when_its_learner_is_gone_and_no_other_tenant_is(
    world: World, api: Any
) -> None:
    async with api() as client:
        path = "/learners/{user_id}/erasure"
        await ask(client, "DELETE", "/learners/{user_id}", ISSUER.service(7), MINE)
        await world.connection.execute("DELETE FROM learner_rows WHERE user_id = $1", MINE)
        problem(await ask(client, "GET", path, ISSUER.service(7), MINE), 404)
        await world.connection.execute(
            "INSERT INTO erasure_fences (user_id, organization_id, erased_at, removed) "
            "VALUES ($1, 7, $2, '{}')",
            MINE,
            instant(NOW),
        )
        assert (await ask(client, "GET", path, ISSUER.service(7), MINE)).json()["fence_at"] is not None
        problem(await ask(client, "GET", path, ISSUER.service(8), MINE), 404)
        problem(await ask(client, "DELETE", "/learners/{user_id}", ISSUER.service(7), MINE), 404)


async def test_nor_does_a_tenant_by_the_functions(world: World) -> None:
    async with world.session() as db:
        for user in (FREE, NOBODY):
            told = await answers.request_erasure(db, user_id=user, organization=7, now=NOW)
            assert (told["status"], told["remaining"]) == ("not_requested", {})
    assert await asked_to_erase(world) == []
