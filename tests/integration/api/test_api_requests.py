"""What the API takes for a request and what it does not: bodies, fields, parameters, addresses."""

from __future__ import annotations

from typing import Any

import pytest

from lyo.predictive.api.app import openapi
from lyo.streams.settings import Settings
from tests.support.api.client import BASE, ISSUER, serving
from tests.support.api.operations import CONTENT, OFFERED, OUTCOME, problem
from tests.support.learners.stored import LEARNER, TENANT

pytestmark = pytest.mark.integration

METADATA = "content_metadata"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_too_large_is_not_read(api: Settings, chunked: bool) -> None:
    body = b'{"content_metadata": {"content_id": "' + b"x" * 70_000 + b'"}}'

    async def pieces() -> Any:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    headers = ISSUER.learner(LEARNER) | {"Content-Type": "application/json"}
    async with serving(api) as client:
        response = await client.post(
            f"{BASE}/struggle/predict", content=pieces() if chunked else body, headers=headers
        )
    assert "65536" in problem(response, 413)["detail"]


async def test_a_wrong_length_is_refused_whatever_is_asked_for_and_that_is_documented(api: Settings) -> None:
    async with serving(api) as client:
        for path, operations in openapi()["paths"].items():
            for method, operation in operations.items():
                for length, status in (("many", 400), ("70000", 413)):
                    response = await client.request(method, path, headers={"Content-Length": length})
                    problem(response, status)
                    assert str(status) in operation["responses"], f"{method} {path}"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"difficulty_rating": 1.1}, "difficulty_rating"),
        ({"difficulty_rating": "0.5"}, "difficulty_rating"),
        ({"prerequisites": ["a", ""]}, "prerequisites[1]"),
        ({"similar_topics": ["x"] * 51}, "similar_topics"),
        ({"content_id": "a\x00b"}, "content_id"),
        ({"content_id": "x" * 101}, "content_id"),
        ({"content_id": None}, "content_id"),
        ({"type": "x" * 51}, "type"),
    ],
)
async def test_a_bad_field_of_the_content_is_named(api: Settings, more: dict[str, Any], field: str) -> None:
    headers = ISSUER.learner(LEARNER)
    async with serving(api) as client:
        body: Any = {METADATA: CONTENT | more}
        response = await client.post(f"{BASE}/struggle/predict", json=body, headers=headers)
        assert f"{METADATA}.{field}" in [error["field"] for error in problem(response, 422)["errors"]]
        body = {"contents": [CONTENT, CONTENT | more]}
        response = await client.post(f"{BASE}/struggle/rank", json=body, headers=headers)
        assert f"contents[1].{field}" in [error["field"] for error in problem(response, 422)["errors"]]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/struggle/predict", {}, METADATA),
        ("/struggle/predict", {METADATA: {}}, "content_metadata.content_id"),
        ("/struggle/predict", [], "body"),
        ("/struggle/rank", {"contents": []}, "contents"),
        ("/struggle/rank", {"contents": [CONTENT] * 51}, "contents"),
        ("/struggle/record-outcome", {"content_id": "x"}, "struggled"),
        ("/struggle/record-outcome", OUTCOME | {"struggled": "yes"}, "struggled"),
        ("/struggle/record-outcome", OUTCOME | {"completion_time_seconds": -1}, "completion_time_seconds"),
        ("/outcomes", {"outcomes": []}, "outcomes"),
        ("/outcomes", {"outcomes": [OFFERED] * 51}, "outcomes"),
        ("/outcomes", {"outcomes": [OFFERED, OFFERED | {"kind": "guessed"}]}, "outcomes[1].kind"),
        ("/outcomes", {"outcomes": [OFFERED | {"event_id": None}]}, "outcomes[0].event_id"),
        ("/timing/check", {"current_time": "2026-01-01T12:00:00"}, "current_time"),
        ("/timing/check", {"current_time": 1_700_000_000}, "current_time"),
        ("/timing/check", {"current_time": "2026-02-30T12:00:00Z"}, "current_time"),
    ],
)
async def test_a_bad_field_is_named(api: Settings, path: str, body: Any, field: str) -> None:
    async with serving(api) as client:
        response = await client.post(BASE + path, json=body, headers=ISSUER.learner(LEARNER))
    assert field in [error["field"] for error in problem(response, 422)["errors"]]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"at": "2026-05-01T12:00:00"}, "at"),
        ({"at": "tomorrow"}, "at"),
        ({"at": "1700000000"}, "at"),
        ({"at": "2200-01-01T00:00:00Z"}, "at"),
        ({"user_id": "0"}, "user_id"),
        ({"user_id": str(2**63)}, "user_id"),
        ({"user_id": "x"}, "user_id"),
    ],
)
async def test_a_bad_parameter_is_named(api: Settings, params: dict[str, str], field: str) -> None:
    async with serving(api) as client:
        for path in ("/dropout/risk", "/timing/profile", "/plateaus", "/regressions", "/insights"):
            response = await client.get(BASE + path, params=params, headers=ISSUER.learner(LEARNER))
            assert [error["field"] for error in problem(response, 422)["errors"]] == [field]
    assert "offset" in response.text or params["at" if field == "at" else "user_id"] != "2026-05-01T12:00:00"


@pytest.mark.parametrize("path", ["/plateaus", "/regressions"])
async def test_what_has_ended_is_told_to_who_asks_for_it_in_whatever_case(api: Settings, path: str) -> None:
    async with serving(api) as client:

        async def told(**params: str) -> list[bool]:
            answer = await client.get(BASE + path, params=params, headers=ISSUER.learner(1, TENANT))
            assert answer.status_code == 200, answer.text
            return [one["is_active"] for one in answer.json()]

        active = await told()
        assert active
        assert all(active)
        for said in ("true", "True", "TRUE"):
            assert await told(active_only=said) == active
        for said in ("false", "False", "FALSE"):
            everything = await told(active_only=said)
            assert everything[: len(active)] == active
            assert False in everything
        for said in ("1", "0", "yes", "on", "off", "t", ""):
            refused = await client.get(
                BASE + path, params={"active_only": said}, headers=ISSUER.learner(1, TENANT)
            )
            assert [error["field"] for error in problem(refused, 422)["errors"]] == ["active_only"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
        (b"", "application/json", 422),
        (b"", None, 422),
    ],
)
async def test_a_body_that_is_not_json(api: Settings, content: bytes, kind: str | None, status: int) -> None:
    headers = ISSUER.learner(LEARNER) | ({} if kind is None else {"Content-Type": kind})
    async with serving(api) as client:
        response = await client.post(f"{BASE}/struggle/predict", content=content, headers=headers)
    problem(response, status)


async def test_unknown_fields_are_ignored(api: Settings) -> None:
    async with serving(api) as client:
        response = await client.post(
            f"{BASE}/timing/check", json={"later": 1}, headers=ISSUER.learner(LEARNER)
        )
    assert response.status_code == 200


async def test_an_unknown_address_or_method_is_a_problem_too(api: Settings) -> None:
    async with serving(api) as client:
        for address in (f"{BASE}/nothing", f"{BASE}/insights/", f"/insights/{LEARNER}/", "/livez/"):
            problem(await client.get(address), 404)
        response = await client.delete(f"{BASE}/insights")
        problem(response, 405)
        assert response.headers["allow"] == "GET"
