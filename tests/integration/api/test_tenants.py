"""What a tenant may know, record and have erased of learners who are not known to be the tenant's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lyo.models.arrays.zones import DAY, HOUR
from lyo.predictive.answers import answers
from lyo.storage.times import instant
from tests.support.api.client import BASE, ISSUER, api_settings, serving
from tests.support.api.operations import BODIES, OPERATIONS, READING, ask, problem
from tests.support.api.tokens import bearer
from tests.support.learners.building import completion, session
from tests.support.learners.stored import NOW
from tests.support.learners.stored_learners import World, world_in

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


# -- what is recorded --------------------------------------------------------------------------------------


async def test_what_a_tenant_records_of_an_unknown_learner_does_not_make_the_learner_its_own(
    world: World, api: Any
) -> None:
    async with api() as client:
        for path in BODIES:
            answer = await ask(client, "POST", path, ISSUER.service(7), NOBODY)
            assert answer.is_success, answer.text
        assert len(await world.relay()) == 3
        whose = "SELECT organization_id FROM learner_rows WHERE user_id = 9"
        assert await world.rows(whose) == [(None,)]
        await world.feed([session(NOBODY, NOW - DAY, organization_id=8)])
        assert await world.rows(whose) == [(8,)]
        assert not any(changes.rejected for changes in world.stream.changes)
        own = await ask(client, "GET", "/insights", ISSUER.learner(NOBODY, 8))
        assert own.status_code == 200
        assert own.json()["dropout_risk"]["organization_id"] == 8
        problem(await ask(client, "GET", "/insights", ISSUER.service(7), NOBODY), 404)


async def test_a_question_does_not_open_the_history_of_a_learner_without_organization(
    world: World, api: Any
) -> None:
    body = {"content_metadata": {"content_id": "c", "prerequisites": ["calc"]}, "request_id": "r1"}

    async def predicted(user: int, headers: dict[str, str]) -> Any:
        url = f"{BASE}/struggle/predict"
        answer = await client.post(url, params={"user_id": user}, json=body, headers=headers)
        return answer.json() | {"prediction_id": None}

    async with api() as client:
        unknown = await predicted(NOBODY, ISSUER.service(7))
        assert await predicted(FREE, ISSUER.service(7)) == unknown
        await world.relay()
        assert world.stream.one("struggle", f"{FREE}|c")["features"] != unknown["features"]
        assert await predicted(FREE, ISSUER.service(7)) == unknown
        for method, path in READING:
            if "{user_id}" not in path:
                theirs = await ask(client, method, path, ISSUER.service(7), FREE)
                nobodys = await ask(client, method, path, ISSUER.service(7), NOBODY)
                assert theirs.text.replace(f'"user_id":{FREE}', f'"user_id":{NOBODY}') == nobodys.text
        assert (await predicted(FREE, ISSUER.learner(FREE, 7)))["features"] != unknown["features"]


async def test_a_learner_without_organization_is_hidden_from_tenants_and_not_from_the_learner(
    world: World, api: Any
) -> None:
    async with api() as client:
        for method, path in READING:
            with_tenant = await ask(client, method, path, ISSUER.learner(FREE, 7), FREE)
            without = await ask(client, method, path, ISSUER.learner(FREE), FREE)
            assert with_tenant.json() == without.json()
        risk = (await ask(client, "GET", "/dropout/risk", ISSUER.learner(FREE, 7))).json()
        assert risk["confidence"] > 0
        page = await client.get(f"/insights/{FREE}", headers=ISSUER.learner(FREE, 7))
        assert page.text == (await client.get(f"/insights/{FREE}", headers=ISSUER.learner(FREE))).text
        assert "calc" in page.text


async def test_a_strangers_prediction_gives_way_once_the_learners_organization_is_known(
    world: World, api: Any
) -> None:
    async with api() as client:
        path = "/struggle/predict"
        theirs = (await ask(client, "POST", path, ISSUER.service(7), NOBODY)).json()
        await world.feed([session(NOBODY, NOW - DAY, organization_id=8)])
        own = (await ask(client, "POST", path, ISSUER.learner(NOBODY, 8))).json()
    assert own["prediction_id"] != theirs["prediction_id"]
    assert await world.rows("SELECT organization_id, request_id FROM struggle_predictions") == [
        (8, own["request_id"])
    ]
