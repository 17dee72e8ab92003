"""The API's operations with a body for each, and what a refusal must look like."""

from __future__ import annotations

from typing import Any

import httpx

from lyo.predictive.api.app import openapi
from tests.support.api.client import BASE
from tests.support.learners.stored import LEARNER

CONTENT = {"content_id": "lesson_42", "difficulty_rating": 0.8}


OUTCOME = {"content_id": "lesson_42", "struggled": True}


OFFERED = {
    "event_id": "offered-1",
    "occurred_at": "2026-01-01T12:00:00Z",
    "kind": "help_offered",
    "content_id": "lesson_42",
}


BODIES: dict[str, Any] = {
    "/outcomes": {"outcomes": [OFFERED]},
    "/struggle/predict": {"content_metadata": CONTENT},
    "/struggle/rank": {"contents": [CONTENT]},
    "/struggle/record-outcome": OUTCOME,
    "/timing/check": {},
}


OPERATIONS = [
    (method.upper(), path.removeprefix(BASE))
    for path, operations in openapi()["paths"].items()
    if path.startswith(BASE)
    for method in operations
]


READING = [(method, path) for method, path in OPERATIONS if method == "GET" or path == "/timing/check"]


async def ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    user: int | None = None,
) -> httpx.Response:
    """A well-formed request of an operation, about `user` if one is given."""
    about_path = "{user_id}" in path
    url = BASE + path.replace("{user_id}", str(LEARNER if user is None else user))
    params = {} if user is None or about_path else {"user_id": str(user)}
    body = BODIES.get(path) if method == "POST" else None
    return await client.request(method, url, params=params, json=body, headers=headers)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of a response, which must have this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert set(found) <= {"type", "title", "status", "detail", "errors"}
    assert found["type"].startswith("urn:lyo:problem:")
    return found
