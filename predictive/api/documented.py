"""The errors that every operation documents: status, headers, problem details."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from lyo.predictive.api import requests, schemas
from lyo.predictive.api.problems import MEDIA_TYPE
from lyo.predictive.api.schemas import FieldError, ProblemDetails

Responses = dict[int | str, dict[str, Any]]

_RETRY: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_CHALLENGE: Final = {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}}
_MEANINGS: Final[dict[int, tuple[str, dict[str, Any]]]] = {
    400: ("The body is not JSON, or its length is not a number.", {}),
    401: ("No valid token.", _CHALLENGE),
    403: ("The learner is not the caller.", {}),
    404: ("No such learner for this caller.", {}),
    413: ("The body is too large.", {}),
    415: ("The body is not application/json.", {}),
    422: ("A field is missing or wrong; `errors` names it.", {}),
    429: ("Too many requests.", _RETRY),
    503: ("The database is unavailable; try again.", _RETRY),
}


def _schema() -> dict[str, Any]:
    """The problem's schema without references, so that it is complete in any host's document."""
    schema = ProblemDetails.model_json_schema()
    schema.pop("$defs")
    item = FieldError.model_json_schema()
    schema["properties"]["errors"] = {"type": "array", "items": item}
    return schema


_CONTENT: Final = {MEDIA_TYPE: {"schema": _schema()}}
_WITH_BODY: Final = 415
_ALWAYS: Final = (400, 413)
_NAME: Final = ProblemDetails.__name__


def errors(*, body: bool = False) -> Responses:
    """The documented errors of an operation; ``body``: it takes one, so 415 is among them."""
    return _documented(status for status in _MEANINGS if body or status != _WITH_BODY)


def of_everything() -> Responses:
    """The documented errors of every path: those raised before the route is known."""
    return _documented(_ALWAYS)


def shown(status: int, example: dict[str, Any]) -> Responses:
    """An answer with this operation's own example, where several operations share a model."""
    return {status: {"content": {"application/json": {"example": example}}}}


def _documented(statuses: Iterable[int]) -> Responses:
    return {
        status: {"description": meaning, "content": _CONTENT} | ({"headers": headers} if headers else {})
        for status in statuses
        for meaning, headers in [_MEANINGS[status]]
    }


def with_shared_problem(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with one schema of the problem, to which all errors refer."""
    shared = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{_NAME}"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                if MEDIA_TYPE in answer.get("content", {}):
                    answer["content"] = shared
    document["components"]["schemas"][_NAME] = _schema()
    return document


def with_whole_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the nulls in its examples, which FastAPI leaves out."""
    for name, schema in document["components"]["schemas"].items():
        if "examples" in schema:
            schema["examples"] = (getattr(schemas, name, None) or getattr(requests, name)).model_config[
                "json_schema_extra"
            ]["examples"]
    return document
