"""What requests write: each of the outbox's rows with all of its fields, on the topic of the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from lyo.models.events.decode import Kind
from lyo.predictive.api import examples
from lyo.storage.database import plain_url
from lyo.streams.settings import Settings
from lyo.streams.topics import Names
from tests.support.api.client import BASE, ISSUER, api_settings, rfc, serving
from tests.support.learners.stored import DAY, LEARNER, NOW, TENANT, fill, known

pytestmark = pytest.mark.integration

NAMES = Names("elsewhere.")
LATER = NOW + 120 * DAY
HEADERS = ISSUER.learner(LEARNER, TENANT)
CONTENT = {
    "content_id": "lesson_42",
    "type": "lesson",
    "difficulty_rating": 0.8,
    "prerequisites": ["ratios", "algebra"],
    "similar_topics": ["Algebra"],
}


@pytest.fixture
async def elsewhere(database_url: str, tmp_path: Path) -> Settings:
    """Settings with a prefix of topics, on a database that nobody else writes to."""
    await fill(database_url, known(), NAMES)
    return api_settings(database_url, tmp_path / "jwks.json", topic_prefix="elsewhere.")


async def written(settings: Settings) -> list[tuple[str, str, int | None, Any]]:
    """The outbox: topic, key, organization and event of each row."""
    connection = await asyncpg.connect(plain_url(settings.database_url))
    try:
        rows = await connection.fetch("SELECT topic, key, organization_id, value FROM outbox ORDER BY id")
    finally:
        await connection.close()
    return [(row["topic"], row["key"], row["organization_id"], json.loads(row["value"])) for row in rows]


def moment(at: int) -> str:
    return rfc(at).replace("+00:00", ".000Z")


async def test_outcomes_are_written_with_everything_that_was_said(elsewhere: Settings) -> None:
    said = [
        {"content_id": "a", "struggled": True, "completion_time_seconds": 3600.5, "gave_up": False},
        {"content_id": "b", "struggled": False, "completion_time_seconds": 60.0, "gave_up": True},
        {"content_id": "c", "struggled": True},
    ]
    async with serving(elsewhere) as client:
        for number, each in enumerate(said):
            body = each | {"event_id": f"outcome-{number}"}
            response = await client.post(f"{BASE}/struggle/record-outcome", json=body, headers=HEADERS)
            assert response.json() == {
                "success": True,
                "message": "Outcome recorded successfully",
                "event_id": f"outcome-{number}",
            }
    common = {"user_id": LEARNER, "organization_id": TENANT, "occurred_at": moment(NOW)}
    events = [
        {name: value for name, value in each.items() if name != "struggled"}
        | {"kind": "struggled" if each["struggled"] else "not_struggled", "event_id": f"outcome-{number}"}
        | common
        for number, each in enumerate(said)
    ]
    topic = NAMES.topic(Kind.OUTCOME)
    assert topic.startswith("elsewhere.")
    assert await written(elsewhere) == [(topic, str(LEARNER), TENANT, event) for event in events]


async def test_a_prediction_asks_the_stream_what_it_was_asked(elsewhere: Settings) -> None:
    async with serving(elsewhere) as client:
        response = await client.post(
            f"{BASE}/struggle/predict",
            json={"content_metadata": CONTENT, "request_id": "asked-once"},
            params={"at": rfc(LATER)},
            headers=HEADERS,
        )
        assert response.json()["request_id"] == "asked-once"
    question = {
        "request_id": "asked-once",
        "user_id": LEARNER,
        "organization_id": TENANT,
        "requested_at": moment(NOW),
        "content_metadata": CONTENT,
    }
    topic = NAMES.topic(Kind.STRUGGLE_REQUEST)
    assert await written(elsewhere) == [(topic, str(LEARNER), TENANT, question)]


async def test_an_erasure_is_written(elsewhere: Settings) -> None:
    async with serving(elsewhere) as client:
        address = f"{BASE}/learners/{LEARNER}"
        response = await client.delete(address, headers=ISSUER.service(TENANT))
        assert response.status_code == 202, response.text
        told = response.json()
        assert (told["status"], told["requested_at"]) == ("requested", moment(NOW))
        assert (await client.get(f"{address}/erasure", headers=HEADERS)).json() == told
        assert told.keys() == examples.ERASURE_REQUESTED.keys()
        assert told["message"] == examples.ERASURE_REQUESTED["message"]
    event = {
        "event_id": told["event_id"],
        "user_id": LEARNER,
        "organization_id": TENANT,
        "requested_at": moment(NOW),
    }
    assert await written(elsewhere) == [(NAMES.topic(Kind.ERASURE), str(LEARNER), TENANT, event)]


async def test_ranking_and_predicting_are_for_the_moment_asked_for(elsewhere: Settings) -> None:
    async with serving(elsewhere) as client:

        async def told(path: str, body: Any, **params: str) -> Any:
            response = await client.post(BASE + path, json=body, params=params, headers=HEADERS)
            assert response.status_code == 200, response.text
            return response.json()

        found: dict[int, list[Any]] = {}
        for at, params in ((NOW, {}), (LATER, {"at": rfc(LATER)})):
            predicted = await told("/struggle/predict", {"content_metadata": CONTENT}, **params)
            (ranked,) = await told("/struggle/rank", {"contents": [CONTENT]}, **params)
            found[at] = [predicted, ranked]
    for place in (0, 1):
        now, later = found[NOW][place], found[LATER][place]
        assert (now["as_of"], later["as_of"]) == (moment(NOW), moment(LATER))
        assert later["struggle_probability"] > now["struggle_probability"], "by then skills have faded"
