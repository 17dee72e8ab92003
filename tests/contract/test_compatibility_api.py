"""The OpenAPI document of a release is kept: operations, parameters, bodies and answers."""

from __future__ import annotations

from typing import Any

import pytest

from predictive.contracts.openapi import operation_breaks


def operation(**parts: Any) -> dict[str, Any]:
    return {"responses": {"200": answer({"risk": {"type": "number"}})}} | parts


def answer(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"content": {"application/json": {"schema": schema}}}


def api(**operations: Any) -> dict[str, Any]:
    return {"paths": {"/risk": operations}, "components": {"schemas": {"Risk": {"type": "number"}}}}


AT = {"in": "query", "name": "at", "schema": {"type": "string"}}
REFERENCE = {"$ref": "#/components/schemas/Risk"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (api(get=operation()), api(), "GET /risk: the operation is gone"),
        (api(get=operation()), {}, "GET /risk: the operation is gone"),
        (
            api(get=operation()),
            api(get={"responses": {"204": {}}}),
            "GET /risk: the answer 200 is gone",
        ),
        (
            api(get=operation()),
            api(get={"responses": {"200": answer({})}}),
            "GET /risk: answer 200 (whole): the field risk is gone",
        ),
        (
            api(get=operation(parameters=[AT])),
            api(get=operation()),
            "GET /risk: the query parameter at is gone",
        ),
        (
            api(get=operation()),
            api(get=operation(parameters=[AT | {"required": True}])),
            "GET /risk: the query parameter at is now required",
        ),
        (
            api(get=operation(parameters=[AT])),
            api(get=operation(parameters=[AT | {"schema": {"type": "integer"}}])),
            "GET /risk: parameter at (whole): type was string, is integer",
        ),
        (
            api(post=operation(requestBody=answer({}))),
            api(post=operation(requestBody=answer({"a": {}}) | {"required": True})),
            "POST /risk: a body is now required",
        ),
        (
            api(post=operation(requestBody=answer({}))),
            api(post=operation(requestBody=answer({"a": {}}))),
            "POST /risk: body (whole): the field a is now required",
        ),
        (
            api(get=operation(responses={"200": answer({"risk": REFERENCE})})),
            api(get=operation(responses={"200": answer({"risk": {"type": "string"}})})),
            "GET /risk: answer 200 .risk: type was integer or number, is string",
        ),
    ],
)
def test_an_api_that_keeps_less_is_found(old: Any, new: Any, expected: str) -> None:
    assert expected in operation_breaks(old, new)
    assert operation_breaks(old, old) == []


def test_an_api_may_grow() -> None:
    more = operation(parameters=[AT], responses={"200": answer({"risk": REFERENCE}), "404": answer({})})
    new = api(get=more, post=operation())
    assert operation_breaks(api(get=operation(responses={"200": answer({"risk": REFERENCE})})), new) == []
