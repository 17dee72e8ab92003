"""The OpenAPI document of a release is kept: operations, parameters, bodies and answers."""

from __future__ import annotations

from typing import Any

import pytest

from lyo.tools.contracts.openapi import operation_breaks


def operation(**parts: Any) -> dict[str, Any]:
    return {"responses": {"200": answer({"risk": {"type": "number"}})}} | parts


def answer(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"content": {"application/json": {"schema": schema}}}


def api(**operations: Any) -> dict[str, Any]:
    schemes = {"token": {"scheme": "bearer", "description": "A token."}}
    components = {"schemas": {"Risk": {"type": "number"}}, "securitySchemes": schemes}
    return {"paths": {"/risk": operations}, "components": components}


def guarded(**scheme: Any) -> dict[str, Any]:
    """An API whose only operation asks for a token of this scheme."""
    whole = api(get=operation(security=[TOKEN]))
    whole["components"]["securitySchemes"]["token"] |= scheme
    return whole


def waiting(**headers: Any) -> dict[str, Any]:
    return api(get=operation(responses={"429": {"headers": headers}}))


AT = {"in": "query", "name": "at", "schema": {"type": "string"}}
AT_FIRST = AT | {"schema": {"type": "string", "default": "now"}}
WHERE = {"in": "header", "name": "Where", "schema": {"type": "string"}}
TOKEN: dict[str, list[str]] = {"token": []}
AFTER = {"schema": {"type": "integer"}}
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
        (
            api(get=operation(parameters=[AT_FIRST])),
            api(get=operation(parameters=[AT | {"schema": {"type": "string", "default": "then"}}])),
            "GET /risk: parameter at (whole): default was now, is then",
        ),
        (
            api(get=operation()),
            api(get=operation(), parameters=[WHERE | {"required": True}]),
            "GET /risk: the header parameter Where is now required",
        ),
        (
            api(get=operation(), parameters=[AT]),
            api(get=operation(), parameters=[AT | {"schema": {"type": "integer"}}]),
            "GET /risk: parameter at (whole): type was string, is integer",
        ),
        (
            waiting(**{"Retry-After": AFTER}),
            waiting(),
            "GET /risk: the answer 429 no longer has the header Retry-After",
        ),
        (
            waiting(**{"Retry-After": AFTER}),
            waiting(**{"Retry-After": {"schema": {"type": "string"}}}),
            "GET /risk: answer 429 header Retry-After (whole): type was integer, is string",
        ),
        (
            waiting(**{"Retry-After": AFTER | {"required": True}}),
            waiting(**{"Retry-After": AFTER}),
            "GET /risk: the answer 429 may now lack the header Retry-After",
        ),
        (
            api(get=operation()),
            api(get=operation(security=[TOKEN])),
            "GET /risk: security was [{}], is [{'token': []}]",
        ),
        (
            api(get=operation(security=[TOKEN])),
            api(get=operation(security=[{"token": ["admin"]}])),
            "GET /risk: security was [{'token': []}], is [{'token': ['admin']}]",
        ),
        (
            api(get=operation(security=[TOKEN, {"key": []}])),
            api(get=operation()) | {"security": [TOKEN]},
            "GET /risk: security was [{'token': []}, {'key': []}], is [{'token': []}]",
        ),
        (
            guarded(),
            guarded(scheme="basic"),
            "GET /risk: the security scheme token was {'scheme': 'bearer'}, is {'scheme': 'basic'}",
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
    assert operation_breaks(waiting(), waiting(**{"Retry-After": AFTER})) == []
    assert operation_breaks(api(get=operation()), api(get=operation(), parameters=[WHERE])) == []


def test_an_api_may_ask_for_less() -> None:
    assert operation_breaks(api(get=operation(security=[TOKEN])), api(get=operation(security=[]))) == []
    either = api(get=operation(security=[{"key": []}, TOKEN]))
    assert operation_breaks(api(get=operation(security=[TOKEN])), either) == []
    assert operation_breaks(guarded(), guarded(description="The same.")) == []


def test_a_parameter_of_the_path_may_become_the_operations_own() -> None:
    shared = api(get=operation(), parameters=[WHERE | {"required": True}])
    assert operation_breaks(shared, api(get=operation(parameters=[WHERE]), parameters=[AT])) == []
